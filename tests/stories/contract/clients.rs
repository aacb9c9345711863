//! What the clients of the old system send, each in its own way, is taken as it was.

use reqwest::Method;
use serde_json::{Value, json};
use tests::node::TestNode;

/// Method, path, JSON body (null for none), and the status that the client takes for success.
type Sent = (&'static str, &'static str, Value, u16);

/// The page in the browser, which fills forms in and shows what comes back.
fn page() -> Vec<Sent> {
    let forecaster = "prophet_forecaster_enhanced_sensor-001";
    let history = json!({
        "sensor_id": "SENSOR_001", "sensor_type": "temperature", "value": 25.5, "unit": null, "quality": null,
        "timestamp": "2026-01-01T12:00:00", "sensor_metadata": null, "ingestion_timestamp": "2026-01-01T12:00:01Z",
    });
    vec![
        ("GET", "/health", Value::Null, 200),
        (
            "POST",
            "/api/v1/data/ingest",
            json!({ "sensor_id": "SENSOR_001", "value": 25.5, "sensor_type": "temperature", "unit": "C" }),
            200,
        ),
        ("GET", "/api/v1/sensors/readings?limit=1&offset=0&sensor_id=SENSOR_001", Value::Null, 200),
        (
            "GET",
            "/api/v1/sensors/readings?limit=25&sensor_id=&start_ts=2026-01-01T00:00:00&end_ts=2026-01-02",
            Value::Null,
            200,
        ),
        ("GET", "/api/v1/sensors/sensors", Value::Null, 200),
        ("GET", "/api/v1/ml/models", Value::Null, 200),
        ("GET", "/api/v1/ml/health", Value::Null, 200),
        (
            "POST",
            "/api/v1/ml/forecast",
            json!({ "sensor_id": "SENSOR_001", "model_name": forecaster, "history_window": 48, "horizon_steps": 1 }),
            // One reading is not enough, which the page shows.
            400,
        ),
        (
            "POST",
            "/api/v1/ml/detect_anomaly",
            json!({ "sensor_readings": [history], "model_name": "anomaly_detector_refined_v2", "sensitivity": 0.5 }),
            200,
        ),
        (
            "POST",
            "/api/v1/decisions/submit",
            json!({
                "request_id": "r", "operator_id": "log_op_01", "decision": "escalated", "justification": "",
                "timestamp": "2026-01-01T12:00:00.123456", "correlation_id": "any text",
            }),
            201,
        ),
        (
            "GET",
            "/api/v1/decisions?limit=25&offset=0&operator_id=log_op_01&request_id=r&start_date=2026-01-01&end_date=2026-01-31",
            Value::Null,
            200,
        ),
        (
            "POST",
            "/api/v1/maintenance/schedule",
            json!({
                "sensor_id": "SENSOR_001", "sensor_type": "temperature", "predicted_failure_date": "2099-01-01T00:00:00",
                "time_to_failure_days": 0.1, "prediction_confidence": 0.82, "model_metrics": { "mae": 1 },
                "recommended_actions": [], "metadata": {}, "include_report": "no",
            }),
            200,
        ),
        ("GET", "/api/v1/maintenance/scheduled?limit=15", Value::Null, 200),
        (
            "POST",
            "/api/v1/reports/generate",
            json!({
                "report_type": "ingestion_activity", "format": "json", "time_range_start": "2026-01-01T00:00:00",
                "time_range_end": "2026-01-31T23:59:59", "include_charts": true, "equipment_id": "any",
            }),
            200,
        ),
        (
            "POST",
            "/api/v1/simulate/drift-event",
            json!({ "sensor_id": null, "drift_magnitude": 2, "num_samples": 5, "base_value": 25, "noise_level": 1 }),
            200,
        ),
        ("POST", "/api/v1/simulate/anomaly-event", json!({ "num_anomalies": 1, "anomaly_magnitude": 5.0 }), 200),
        ("POST", "/api/v1/simulate/normal-data", json!({ "num_samples": 5, "duration_minutes": 60 }), 200),
        ("POST", "/api/v1/simulate/anomaly-event?num_anomalies=1&anomaly_magnitude=5.0", Value::Null, 200),
        ("POST", "/api/v1/simulate/normal-data?num_samples=5&duration_minutes=60&sensor_id=d", Value::Null, 200),
        ("POST", "/api/v1/demo/golden-path?sensor_events=20&include_decision=false", Value::Null, 200),
        ("GET", "/metrics", Value::Null, 200),
    ]
}

/// The load scripts, which have no key.
fn load() -> Vec<Sent> {
    let side_by_side = json!({
        "sensor_id": "load_1", "timestamp": 1_759_406_400.25, "temperature": 25.1, "pressure": 1012.0,
        "vibration": 0.1, "humidity": 40.0, "load_test": true,
    });
    let features = json!({ "sensor_id": "load_1", "features": [1.0] });
    vec![
        ("GET", "/health/db", Value::Null, 200),
        ("GET", "/health/redis", Value::Null, 200),
        ("GET", "/health/detailed", Value::Null, 200),
        ("POST", "/api/v1/data/ingest", side_by_side, 200),
        (
            "POST",
            "/api/v1/ml/check_drift",
            json!({
                "sensor_id": "drift_sensor_load_test", "window_minutes": 30, "p_value_threshold": 0.05,
                "min_samples": 10,
            }),
            200,
        ),
        ("GET", "/api/v1/ml/models/list", Value::Null, 200),
        // Routes that never were there: the scripts take that for success too.
        ("POST", "/api/v1/ml/predict/anomaly", features.clone(), 404),
        ("POST", "/api/v1/ml/predict/failure", features, 404),
        ("GET", "/api/v1/metrics/system", Value::Null, 404),
        ("GET", "/api/v1/status", Value::Null, 404),
        ("GET", "/api/v1/data/sensor/load_1/recent", Value::Null, 404),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_of_the_old_system_is_answered_as_before() {
    // Given a node that lets strangers in, as the old system did,
    let node = TestNode::start_with(|config| config.with("access.anonymous", true).unwrap()).await;
    let stranger = node.client().with_key(None);
    for (method, path, body, status) in page().into_iter().chain(load()) {
        // when a client asks as it always did, then it is answered as it was.
        let request = stranger.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
        let request = request.header("accept", "application/json");
        let answer = stranger.send(if body.is_null() { request } else { request.json(&body) }).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
        assert!(answer.headers.contains_key("x-request-id"), "{method} {path}");
        assert!(answer.status.is_success() || answer.body["detail"].is_string(), "{method} {path}: {}", answer.body);
    }
    // Each of the metrics side by side became a reading,
    let stored = stranger.get("/api/v1/sensors/sensors").await.ok();
    let stored: Vec<&str> = stored.as_array().unwrap().iter().filter_map(|row| row["sensor_id"].as_str()).collect();
    for metric in ["temperature", "pressure", "vibration", "humidity"] {
        assert!(stored.contains(&format!("load_1.{metric}").as_str()), "{metric}: {stored:?}");
    }
    // whoever asks for JSON gets the metrics as text all the same,
    let metrics = stranger.send(stranger.request(Method::GET, "/metrics").header("accept", "application/json")).await;
    assert!(metrics.body.as_str().is_some_and(|text| text.contains("http_requests_total")), "{}", metrics.body);
    // and a wrong key is refused although none is needed.
    assert_eq!(stranger.with_key(Some("wrong")).get("/api/v1/sensors/sensors").await.status, 403);
    node.stop().await;
}
