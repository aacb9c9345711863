//! What the routes of models answer: in the form that clients of the old system know, and as the document tells.

use super::{Document, like, problem};
use control_plane::routes::ROUTES;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::node::TestNode;

const FOREST: &str = "ai4i_classifier_randomforest_baseline";
const FORECASTER: &str = "prophet_forecaster_enhanced_sensor-001";
const DETECTOR: &str = "anomaly_detector_refined_v2";

fn milling() -> Value {
    json!({
        "Air_temperature_K": 302.0, "Process_temperature_K": 309.5, "Rotational_speed_rpm": "1300",
        "Torque_Nm": 55.0, "Tool_wear_min": 50,
    })
}

fn info() -> Value {
    json!({
        "model_name": "<text>", "model_version": "<text>", "loaded_from": "embedded", "feature_adaptation": "<text>",
        "sha256": "<text>", "stage": "Production",
    })
}

/// A reading as the page of the old system sends it: with nulls where it knows nothing.
fn reading(value: f64) -> Value {
    json!({
        "sensor_id": "press", "sensor_type": "temperature", "unit": null, "quality": null, "value": value,
        "timestamp": 1_767_225_600.0 + 300.0 * 60.0,
    })
}

/// Method, pattern, path, body, status, and what comes back.
type Case = (&'static str, &'static str, String, Option<Value>, u16, Value);

fn cases(prediction: &str, job: &str) -> Vec<Case> {
    let get = |pattern: &'static str, path: &str, reply: Value| ("GET", pattern, path.to_owned(), None, 200, reply);
    let post = |pattern: &'static str, body: Value, reply: Value| {
        ("POST", pattern, pattern.replace("{name}", FOREST), Some(body), 200, reply)
    };
    let listed = json!({
        "models": [{
            "name": "<text>", "description": "<text>", "latest_version": "<text>", "creation_timestamp": "<number?>",
            "last_updated_timestamp": "<number?>", "tags": "<object>", "version_tags": "<object>",
            "current_stage": "<text>", "run_id": "<text>", "registry": "embedded",
        }],
        "count": "<number>",
        "registry": { "mlflow": { "status": "not_configured" } },
    });
    let enthroned = json!({
        "model_name": FOREST, "version": "<text>", "current_stage": "Production", "chosen_by": "<text>",
        "reason": "<text>",
    });
    vec![
        get("/api/v1/ml/models", "/api/v1/ml/models", listed.clone()),
        get("/api/v1/ml/models/list", "/api/v1/ml/models/list?limit=3", listed),
        get(
            "/api/v1/ml/models/recommendations",
            "/api/v1/ml/models/recommendations?sensor_type=SensorType.PUMP",
            json!({ "sensor_type": "pump", "models": ["<text>"] }),
        ),
        get(
            "/api/v1/ml/models/{name}/versions",
            &format!("/api/v1/ml/models/{FOREST}/versions"),
            json!({
                "model_name": FOREST,
                "versions": [{
                    "version": "1", "current_stage": "Production", "status": "READY", "creation_timestamp": "<number>",
                    "id": "<uuid>", "alias": "champion", "sha256": "<text>", "comparison": null, "reason": "<text?>",
                    "card": "<object>",
                }],
            }),
        ),
        get(
            "/api/v1/ml/models/{name}/latest",
            &format!("/api/v1/ml/models/{FOREST}/latest"),
            json!({
                "model_name": FOREST, "resolved_version": "1", "current_stage": "Production", "status": "READY",
                "card": "<object>",
            }),
        ),
        get(
            "/api/v1/ml/models/{name}/live",
            &format!("/api/v1/ml/models/{FOREST}/live"),
            json!({
                "model_name": FOREST, "at": "<time>", "version": "1", "id": "<uuid>", "sha256": "<text>",
                "since": "<time>", "chosen_by": "<text>", "reason": "<text>",
            }),
        ),
        get(
            "/api/v1/ml/health",
            "/api/v1/ml/health",
            json!({
                "status": "healthy", "mlflow_connection": "<text>", "model_registry": "accessible",
                "loaded_from": "embedded", "test_model_loaded": true, "test_model_version": "<text>",
                "timestamp": "<time>",
            }),
        ),
        post(
            "/api/v1/ml/predict",
            json!({ "model_name": FOREST, "model_version": "", "features": milling(), "sensor_id": "press" }),
            json!({
                "prediction": ["<number>"], "confidence": "<number>", "probability": "<number>", "probabilities": "<object>",
                "score": null,
                "interval": "<list>", "model_info": info(), "sensor_id": "press", "timestamp": "<time>",
                "request_id": "<uuid>", "base_value": "<number>", "feature_importance": "<object>",
                "shap_values": "<object>",
            }),
        ),
        post(
            "/api/v1/ml/predict",
            json!({
                "model_name": FOREST, "model_version": "LATEST", "features": milling(), "include_explainability": "off",
            }),
            json!({ "prediction": ["<number>"], "shap_values": null, "feature_importance": null, "…": null }),
        ),
        get(
            "/api/v1/ml/predictions/{id}",
            &format!("/api/v1/ml/predictions/{prediction}"),
            json!({
                "request_id": prediction,
                "predictions": [{
                    "request": prediction, "row": 0, "name": FOREST, "version": "1", "sha256": "<text>",
                    "input_sha256": "<text>", "prediction": "<number>", "probability": "<number>", "at": "<time>",
                }],
            }),
        ),
        (
            "POST",
            "/api/v1/ml/explanations",
            "/api/v1/ml/explanations".to_owned(),
            Some(json!({ "model_name": FOREST, "rows": [milling()] })),
            202,
            json!({ "job_id": "<uuid>", "status": "running", "rows": 1, "poll": "<text>" }),
        ),
        get(
            "/api/v1/ml/explanations/{id}",
            &format!("/api/v1/ml/explanations/{job}"),
            json!({
                "job_id": job, "status": "complete", "rows": 1, "rows_done": 1, "begun_at": "<time>",
                "model_info": info(), "error": null,
                "explanations": [{
                    "prediction": "<number>", "probability": "<number>", "base_value": "<number>",
                    "shap_values": "<object>",
                }],
            }),
        ),
        post(
            "/api/v1/ml/forecast",
            json!({ "sensor_id": "press", "model_name": FORECASTER, "horizon_steps": "2", "cadence_minutes": 0 }),
            json!({
                "sensor_id": "press", "model_name": FORECASTER, "model_version": "<text>", "model_info": "<object>",
                "generated_at": "<naive>", "history_points": 288, "horizon_steps": 2, "cadence_minutes": 5,
                "forecast": [{
                    "timestamp": "<naive>", "predicted_value": "<number>", "lower_bound": "<number?>",
                    "upper_bound": "<number?>",
                }],
                "method": "<text>", "interval_level": 0.9,
                "trials": [{ "method": "<text>", "mean_absolute_error": "<number>" }],
                "metrics": {
                    "history_start": "<naive>", "history_end": "<naive>", "history_points": 288, "cadence_minutes": 5,
                },
            }),
        ),
        post(
            "/api/v1/ml/detect_anomaly",
            json!({ "sensor_readings": [reading(95.0)], "sensitivity": 0.75 }),
            json!({
                "anomalies_detected": [{
                    "id": "<uuid>", "sensor_id": "press", "anomaly_type": "<text>", "severity": 5,
                    "confidence": "<number>", "description": "<text>",
                    "evidence": {
                        "sensor_value": 95.0, "sensor_unit": null, "sensor_type": "temperature", "quality_score": 1.0,
                        "score": "<number>", "feature_vector": "<object>",
                    },
                    "recommended_actions": ["<text>"], "created_at": "<time>", "reading_timestamp": "<time>",
                    "status": "open",
                }],
                "total_readings_analyzed": 1, "readings_with_enough_history": 1, "anomaly_count": 1,
                "model_info": {
                    "model_name": DETECTOR, "model_version": "<text>", "sensitivity": "0.750",
                    "loaded_from": "embedded", "sha256": "<text>",
                },
                "analysis_timestamp": "<time>", "request_id": "<uuid>",
            }),
        ),
        post(
            "/api/v1/ml/check_drift",
            json!({ "sensor_id": "press", "min_samples": "10", "window_minutes": 30.0, "unknown": true }),
            json!({
                "sensor_id": "press", "recent_count": 0, "baseline_count": 0, "window_minutes": 30,
                "ks_statistic": null, "p_value": null, "p_value_threshold": 0.05, "drift_detected": false,
                "insufficient_data": true, "request_id": "<uuid>", "evaluated_at": "<naive>", "notes": "<text>",
            }),
        ),
        post(
            "/api/v1/ml/models/{name}/train",
            json!({ "seed": "7" }),
            json!({ "model_name": FOREST, "version": "2", "id": "<uuid>", "is_new": true, "card": "<object>" }),
        ),
        post("/api/v1/ml/models/{name}/promote", json!({ "version": "2", "reason": "a try" }), enthroned.clone()),
        post("/api/v1/ml/models/{name}/rollback", json!({}), enthroned),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_of_models_answers_in_the_form_that_clients_know() {
    let node = TestNode::start().await;
    let client = node.client();
    super::super::cases::ingest(client, &super::super::cases::calm("press", 300)).await;
    let asked = json!({ "model_name": FOREST, "features": milling() });
    let said = client.post("/api/v1/ml/predict", &asked).await.ok();
    let begun =
        client.post("/api/v1/ml/explanations", &json!({ "model_name": FOREST, "rows": [milling()] })).await.ok();
    let done = |job: &Value| (job["status"] != "running").then_some(());
    client.until(begun["poll"].as_str().unwrap(), done).await.unwrap();
    let mut document = Document::of(client).await;
    let mut asked = BTreeSet::new();
    let (prediction, job) = (said["request_id"].as_str().unwrap(), begun["job_id"].as_str().unwrap());
    for (method, pattern, path, body, status, expected) in cases(prediction, job) {
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let answer = client.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        like(&expected, &answer.body, &format!("{method} {path}")).unwrap();
        document.hold(method, pattern, &answer);
        asked.insert((method, pattern));
    }
    // A line of features each, answered by a line each.
    let batch = "/api/v1/ml/predict/batch";
    let lines = format!("{}\n{{}}\n{{\"Torque_Nm\":\n7\n{}\n", milling(), milling());
    let request = client.request(Method::POST, &format!("{batch}?model_name={FOREST}"));
    let answer = client.send(request.header("content-type", "application/x-ndjson").body(lines)).await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        answer.ok().as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    like(&json!({ "row": 0, "prediction": "<number>", "probability": "<number>", "…": null }), &lines[0], "0").unwrap();
    like(&json!({ "row": 1, "error": "<text>", "feature": "<text>" }), &lines[1], "1").unwrap();
    // One that cannot be read does no harm to those after it.
    assert_eq!(lines[2], json!({ "row": 2, "error": "JSON decode error", "feature": null }));
    assert_eq!(lines[3], json!({ "row": 3, "error": "Input should be a valid dictionary", "feature": null }));
    assert_eq!(lines[4]["prediction"], lines[0]["prediction"]);
    asked.insert(("POST", batch));
    let left_out: Vec<_> = ROUTES
        .iter()
        .map(|route| (route.method, route.pattern))
        .filter(|route| route.1.starts_with("/api/v1/ml/") && !asked.contains(route))
        .collect();
    assert_eq!(left_out, [], "routes without a contract test");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_say_why_they_cannot_answer() {
    let node = TestNode::start().await;
    let client = node.client();
    let mut document = Document::of(client).await;
    let ingested = super::super::cases::calm("short", 5);
    super::super::cases::ingest(client, &ingested).await;
    let mut hot = milling();
    hot["Torque_Nm"] = json!("hot");
    let none = json!({ "model_name": FOREST, "features": { "flavour": 1 } });
    let unknown = json!({
        "model_name": "nobody", "features": {}, "sensor_id": "short", "sensor_readings": [], "rows": [], "version": "1",
    });
    let forecast = |sensor: &str| json!({ "sensor_id": sensor, "model_name": FORECASTER });
    let refusals = [
        ("POST", "/api/v1/ml/predict", unknown.clone(), 404, "no model \"nobody\""),
        ("POST", "/api/v1/ml/predict", json!({ "model_name": FOREST, "model_version": "9", "features": {} }), 404, "9"),
        ("POST", "/api/v1/ml/predict", json!({ "model_name": FOREST, "features": hot }), 422, "Torque_Nm"),
        ("POST", "/api/v1/ml/predict", none, 422, "torque_nm: Field required; (+1 more validation issues)"),
        ("POST", "/api/v1/ml/explanations", unknown.clone(), 404, "no model \"nobody\""),
        ("POST", "/api/v1/ml/explanations", json!({ "model_name": FOREST, "rows": [{}] }), 422, "rows → 0"),
        ("POST", "/api/v1/ml/forecast", unknown.clone(), 404, "no model \"nobody\""),
        ("POST", "/api/v1/ml/forecast", forecast("nobody"), 404, "no readings"),
        ("POST", "/api/v1/ml/forecast", forecast("short"), 400, "Not enough data"),
        ("POST", "/api/v1/ml/detect_anomaly", unknown.clone(), 404, "no model \"nobody\""),
        ("POST", "/api/v1/ml/check_drift", json!({ "sensor_id": "s", "min_samples": 5 }), 422, "min_samples"),
        ("POST", "/api/v1/ml/check_drift", json!({ "sensor_id": "s", "p_value_threshold": 1 }), 422, "less than 1"),
        ("GET", "/api/v1/ml/models/{name}/versions", Value::Null, 404, "nobody"),
        ("GET", "/api/v1/ml/models/{name}/latest", Value::Null, 404, "nobody"),
        ("GET", "/api/v1/ml/models/{name}/live", Value::Null, 404, "nobody"),
        ("POST", "/api/v1/ml/models/{name}/promote", unknown.clone(), 404, "nobody"),
        ("POST", "/api/v1/ml/models/{name}/rollback", json!({}), 404, "nobody"),
        ("POST", "/api/v1/ml/models/{name}/train", json!({}), 404, "nobody"),
        ("POST", "/api/v1/ml/models/{name}/train", json!({ "seed": -1 }), 422, "seed"),
        ("GET", "/api/v1/ml/predictions/{id}", Value::Null, 404, "nobody"),
        ("GET", "/api/v1/ml/explanations/{id}", Value::Null, 404, "nobody"),
    ];
    for (method, pattern, body, status, told) in refusals {
        let path = pattern.replace("{name}", "nobody").replace("{id}", "nobody");
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let answer = client.send(if body.is_null() { request } else { request.json(&body) }).await;
        let at = format!("{method} {path} {body}");
        assert_eq!(answer.status.as_u16(), status, "{at}: {}", answer.body);
        like(&problem(status), &answer.body, &at).unwrap();
        assert!(answer.detail().contains(told), "{at}: {}", answer.body);
        document.hold(method, pattern, &answer);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_checked_ten_times_a_minute_and_what_is_refused_before_does_not_count() {
    let node = TestNode::start().await;
    let client = node.client();
    let mut document = Document::of(client).await;
    let path = "/api/v1/ml/check_drift";
    let body = json!({ "sensor_id": "s" });
    for no in 0..10 {
        let answer = client.post(path, &body).await;
        assert_eq!(answer.status.as_u16(), 200, "{no}: {}", answer.body);
    }
    let refused = client.post(path, &body).await;
    assert_eq!(refused.status.as_u16(), 429);
    // In the words that the pages of the old system look for.
    for words in ["Rate limit exceeded", "10 per 1 minute"] {
        assert!(refused.detail().contains(words), "{}", refused.body);
    }
    assert_eq!(refused.headers["ratelimit-policy"], "\"check_drift_per_minute_max\";q=10;w=60");
    document.hold("POST", path, &refused);
    // Another caller has a budget of their own; whoever is not let in uses none up.
    assert_eq!(client.with_key(Some("nobody")).post(path, &body).await.status.as_u16(), 403);
    let made = client.post("/api/v1/keys", &json!({ "name": "other", "scopes": ["ml:drift"] })).await.ok();
    assert_eq!(client.with_key(made["key"].as_str()).post(path, &body).await.status.as_u16(), 200);
    node.stop().await;
}
