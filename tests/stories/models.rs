//! `/api/v1/ml`: models that answer, are explained, replaced and called back.

use super::cases::{calm, ingest};
use serde_json::{Value, json};
use tests::client::Client;
use tests::node::TestNode;

const FOREST: &str = "ai4i_classifier_randomforest_baseline";
const PUMP: &str = "pump_classifier_randomforest";

fn milling() -> Value {
    json!({
        "Air_temperature_K": 302.0, "Process_temperature_K": 309.5, "Rotational_speed_rpm": 1300,
        "Torque_Nm": 55.0, "Tool_wear_min": 50,
    })
}

async fn pump(client: &Client) -> Value {
    let features = json!({
        "flow_m3h": 100.0, "discharge_pressure_bar": 6.2, "power_kw": 20.0, "vibration_mm_s": 1.8,
        "bearing_temperature_c": 60.0, "vane_pass_share": 0.3,
    });
    let body = json!({ "model_name": PUMP, "features": features, "explain": false });
    client.post("/api/v1/ml/predict", &body).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prediction_names_its_model_explains_itself_and_is_kept() {
    let node = TestNode::start().await;
    let client = node.client();
    // Given the features that clients of the old system send,
    let body = json!({ "model_name": FOREST, "model_version": "auto", "features": milling() });
    let said = client.post("/api/v1/ml/predict", &body).await.ok();
    // then the answer says which version it is of,
    assert_eq!(said["model_info"]["model_name"], FOREST);
    assert_eq!(
        (&said["model_info"]["model_version"], &said["model_info"]["loaded_from"]),
        (&json!("1"), &json!("embedded"))
    );
    assert!(said["model_info"]["feature_adaptation"].as_str().unwrap().contains('5'), "{said}");
    // its explanation sums to the probability,
    let values: f64 = said["shap_values"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
    let probability = said["probability"].as_f64().unwrap();
    assert!((said["base_value"].as_f64().unwrap() + values - probability).abs() < 1e-9, "{said}");
    assert_eq!(said["prediction"], json!([if 0.5 <= probability { 1.0 } else { 0.0 }]), "{said}");
    // and it is kept with the model's hash and the digest of what was asked.
    let path = format!("/api/v1/ml/predictions/{}", said["request_id"].as_str().unwrap());
    let kept = client.get(&path).await.ok();
    assert_eq!(kept["predictions"][0]["sha256"], said["model_info"]["sha256"]);
    assert_eq!(kept["predictions"][0]["probability"], said["probability"]);
    assert_eq!(kept["predictions"][0]["input_sha256"].as_str().unwrap().len(), 64);
    // The old smoke script's flag is understood.
    let quiet = json!({ "model_name": FOREST, "features": milling(), "include_explainability": false });
    assert_eq!(client.post("/api/v1/ml/predict", &quiet).await.ok()["shap_values"], Value::Null);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_never_made_up() {
    let node = TestNode::start().await;
    let client = node.client();
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut features = milling();
        change(&mut features);
        let body = json!({ "model_name": FOREST, "features": features });
        let answer = client.post("/api/v1/ml/predict", &body).await;
        assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
        answer.detail().to_owned()
    };
    let missing = refused(&|features| drop(features.as_object_mut().unwrap().remove("Torque_Nm"))).await;
    assert!(missing.contains("features → torque_nm: Field required"), "{missing}");
    let leaking = refused(&|features| features["TWF"] = json!(1)).await;
    assert!(leaking.contains("features → TWF: Unknown feature"), "{leaking}");
    let text = refused(&|features| features["Torque_Nm"] = json!("hot")).await;
    assert!(text.contains("Torque_Nm: Input should be a finite number"), "{text}");
    let unknown = client.post("/api/v1/ml/predict", &json!({ "model_name": "nobody", "features": {} })).await;
    assert_eq!((unknown.status.as_u16(), unknown.detail()), (404, "There is no model \"nobody\""));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_version_answers_once_it_is_promoted_and_the_old_one_after_a_rollback() {
    let node = TestNode::start().await;
    let client = node.client();
    let version = |said: &Value| said["model_info"]["model_version"].as_str().unwrap().to_owned();
    assert_eq!(version(&pump(client).await), "1");
    let model = |action: &str| format!("/api/v1/ml/models/{PUMP}/{action}");
    // The same rows make the same version, once more or not;
    let again = client.post(&model("train"), &json!({})).await.ok();
    assert_eq!((&again["version"], &again["is_new"]), (&json!("1"), &json!(false)));
    // from other rows comes a further one, which waits,
    let trained = client.post(&model("train"), &json!({ "seed": 7 })).await.ok();
    assert_eq!((&trained["version"], &trained["is_new"]), (&json!("2"), &json!(true)));
    let data = trained["card"]["data"].as_str().unwrap();
    assert!(data.starts_with("simulated with seed 7: "), "{data}");
    assert_eq!(version(&pump(client).await), "1");
    // answers once somebody wants it,
    client.post(&model("promote"), &json!({ "version": "2", "reason": "a try" })).await.ok();
    assert_eq!(version(&pump(client).await), "2");
    let second = client.get(&model("live")).await.ok();
    assert_eq!((&second["version"], &second["reason"]), (&json!("2"), &json!("a try")));
    // and no longer after one step back; each moment keeps its own.
    client.post(&model("rollback"), &json!({})).await.ok();
    assert_eq!(version(&pump(client).await), "1");
    let at = second["since"].as_str().unwrap().replace('+', "%2B");
    assert_eq!(client.get(&format!("{}?at={at}", model("live"))).await.ok()["version"], "2");
    assert_eq!(client.get(&model("live")).await.ok()["version"], "1");
    let stages: Vec<Value> = client.get(&model("versions")).await.ok()["versions"].as_array().unwrap().clone();
    let stages: Vec<&str> = stages.iter().map(|version| version["current_stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["Archived", "Production"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_lists_forecasts_and_judges() {
    let node = TestNode::start().await;
    let client = node.client();
    let listed = client.get("/api/v1/ml/models").await.ok();
    assert!(17 <= listed["count"].as_u64().unwrap(), "{listed}");
    assert_eq!(client.get("/api/v1/ml/models/list").await.ok()["count"], listed["count"]);
    let suited = client.get("/api/v1/ml/models/recommendations?sensor_type=SensorType.VIBRATION").await.ok();
    assert_eq!(
        (&suited["sensor_type"], &suited["models"][0]),
        (&json!("vibration"), &json!("vibration_anomaly_isolationforest"))
    );
    assert_eq!(client.get("/api/v1/ml/health").await.ok()["test_model_loaded"], true);

    ingest(client, &calm("press", 300)).await;
    let asked =
        json!({ "sensor_id": "press", "model_name": "prophet_forecaster_enhanced_sensor-001", "horizon_steps": 6 });
    let said = client.post("/api/v1/ml/forecast", &asked).await.ok();
    assert_eq!(
        (&said["cadence_minutes"], &said["horizon_steps"], &said["history_points"]),
        (&json!(1), &json!(6), &json!(288))
    );
    for point in said["forecast"].as_array().unwrap() {
        let [value, low, high] =
            ["predicted_value", "lower_bound", "upper_bound"].map(|name| point[name].as_f64().unwrap());
        assert!((59.0..61.0).contains(&value) && low < value && value < high, "{point}");
    }
    let nowhere = json!({ "sensor_id": "nobody", "model_name": "prophet_forecaster_enhanced_sensor-001" });
    assert_eq!(client.post("/api/v1/ml/forecast", &nowhere).await.status.as_u16(), 404);

    let reading = |value: f64| {
        json!({
            "sensor_id": "press", "sensor_type": "temperature", "unit": null, "value": value,
            "timestamp": 1_767_225_600.0 + 300.0 * 60.0,
        })
    };
    let judged = client.post("/api/v1/ml/detect_anomaly", &json!({ "sensor_readings": [reading(95.0)] })).await.ok();
    assert_eq!(
        (&judged["anomaly_count"], &judged["model_info"]["sensitivity"]),
        (&json!(1), &json!("0.500")),
        "{judged}"
    );
    let judged = client.post("/api/v1/ml/detect_anomaly", &json!({ "sensor_readings": [reading(60.1)] })).await.ok();
    assert_eq!(judged["anomaly_count"], 0, "{judged}");
    assert_eq!(
        client.post("/api/v1/ml/detect_anomaly", &json!({ "sensor_readings": [] })).await.ok()["anomaly_count"],
        0
    );

    let drift = client.post("/api/v1/ml/check_drift", &json!({ "sensor_id": "press", "min_samples": 10 })).await.ok();
    assert_eq!((&drift["insufficient_data"], &drift["drift_detected"]), (&json!(true), &json!(false)));
    assert!(drift["notes"].as_str().unwrap().contains("baseline=0, recent=0, required=10"), "{drift}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_are_explained_in_the_background() {
    let node = TestNode::start().await;
    let client = node.client();
    let rows: Vec<Value> = (0..600).map(|_| milling()).collect();
    let begun = client.post("/api/v1/ml/explanations", &json!({ "model_name": FOREST, "rows": rows })).await;
    assert_eq!(begun.status.as_u16(), 202, "{}", begun.body);
    let path = begun.body["poll"].as_str().unwrap().to_owned();
    let began = std::time::Instant::now();
    let done = loop {
        let told = client.get(&path).await.ok();
        if told["status"] != "running" {
            break told;
        }
        assert!(began.elapsed() < tests::client::PATIENCE, "{told}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((&done["status"], done["explanations"].as_array().unwrap().len()), (&json!("complete"), 600));
    node.stop().await;
}
