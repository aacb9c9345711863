//! Bad input gets a 4xx that names the field, and harms nothing else.

use reqwest::Method;
use serde_json::{Value, json};
use tests::node::TestNode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_names_the_field_that_is_wrong() {
    let node = TestNode::start().await;
    let client = node.client();
    let cases: Vec<(Method, &str, Option<Value>, &str)> = vec![
        (Method::POST, "/api/v1/data/ingest", Some(json!({ "value": 1.0 })), "body → sensor_id"),
        (Method::POST, "/api/v1/data/ingest", Some(json!({ "sensor_id": "s", "value": "warm" })), "body → value"),
        (Method::POST, "/api/v1/data/ingest", Some(json!({ "sensor_id": 7, "value": 1.0 })), "body → sensor_id"),
        (
            Method::POST,
            "/api/v1/data/ingest",
            Some(json!({ "sensor_id": "s", "value": 1.0, "quality": 1.5 })),
            "body → quality",
        ),
        (
            Method::POST,
            "/api/v1/data/ingest",
            Some(json!({ "sensor_id": "s", "value": 1.0, "quality": null })),
            "body → quality",
        ),
        (
            Method::POST,
            "/api/v1/data/ingest",
            Some(json!({ "sensor_id": "s", "value": 1.0, "sensor_type": "current" })),
            "body → sensor_type",
        ),
        (
            Method::POST,
            "/api/v1/data/ingest",
            Some(json!({ "sensor_id": "s", "value": 1.0, "timestamp": "noon" })),
            "body → timestamp",
        ),
        (
            Method::POST,
            "/api/v1/data/ingest",
            Some(json!({ "sensor_id": "s", "value": 1.0, "correlation_id": "x" })),
            "body → correlation_id",
        ),
        (Method::POST, "/api/v1/data/ingest", Some(json!({ "sensor_id": " ", "value": 1.0 })), "sensor_id"),
        (Method::GET, "/api/v1/sensors/readings?limit=0", None, "query → limit"),
        (Method::GET, "/api/v1/sensors/readings?offset=-1", None, "query → offset"),
        (Method::GET, "/api/v1/sensors/readings?start_ts=noon", None, "query → start_ts"),
        (
            Method::POST,
            "/api/v1/decisions/submit",
            Some(json!({ "request_id": "r", "decision": "approve" })),
            "body → operator_id",
        ),
        (
            Method::POST,
            "/api/v1/decisions/submit",
            Some(json!({ "request_id": "r", "decision": "a", "operator_id": "o", "confidence": 2 })),
            "body → confidence",
        ),
        (Method::GET, "/api/v1/decisions?limit=501", None, "query → limit"),
        (Method::GET, "/api/v1/decisions?start_date=soon", None, "query → start_date"),
        (
            Method::POST,
            "/api/v1/maintenance/schedule",
            Some(json!({ "sensor_id": "s", "time_to_failure_days": 3 })),
            "body → predicted_failure_date",
        ),
        (
            Method::POST,
            "/api/v1/maintenance/schedule",
            Some(json!({ "sensor_id": "s", "time_to_failure_days": -1, "predicted_failure_date": "2030-01-01" })),
            "body → time_to_failure_days",
        ),
        (Method::GET, "/api/v1/maintenance/scheduled?limit=101", None, "query → limit"),
        (Method::POST, "/api/v1/reports/generate", Some(json!({})), "body → report_type"),
        (Method::POST, "/api/v1/simulate/drift-event", Some(json!({ "num_samples": -1 })), "num_samples"),
        (Method::POST, "/api/v1/simulate/anomaly-event?num_anomalies=none", None, "num_anomalies"),
        (Method::POST, "/api/v1/demo/golden-path?sensor_events=201", None, "query → sensor_events"),
        (Method::GET, "/api/v1/cases?limit=0", None, "query → limit"),
        (Method::GET, "/api/v1/events?limit=0", None, "query → limit"),
    ];
    for (method, path, body, field) in cases {
        let mut request = client.request(method.clone(), path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = client.send(request).await;
        assert_eq!(answer.status, 422, "{method} {path} {body:?}: {}", answer.body);
        assert!(answer.detail().contains(field), "{method} {path} {body:?}: {}", answer.body);
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_item_harms_no_neighbour() {
    let node = TestNode::start().await;
    let client = node.client();
    let lines = [
        r#"{"sensor_id":"a","value":1.5}"#,
        r#"{"sensor_id":"a","value":"#,
        r#"{"sensor_id":"","value":2}"#,
        r#"{"sensor_id":"a","value":NaN}"#,
        r#"{"sensor_id":"a"}"#,
        r#"{"sensor_id":"a","value":"2.5"}"#,
    ];
    let request = client
        .request(Method::POST, "/api/v1/data/ingest/batch")
        .header("Content-Type", "application/x-ndjson")
        .body(lines.join("\n"));
    let answer = client.send(request).await.ok();
    assert_eq!((answer["accepted"].as_u64(), answer["rejected"].as_u64()), (Some(2), Some(4)), "{answer:#}");
    let refused: Vec<u64> =
        answer["items"].as_array().unwrap().iter().map(|item| item["index"].as_u64().unwrap()).collect();
    assert_eq!(refused, [1, 2, 3, 4]);
    for item in answer["items"].as_array().unwrap() {
        assert!(item["field"].is_string() && item["detail"].is_string(), "{item}");
    }
    let stored = client.get("/api/v1/sensors/readings?sensor_id=a").await.ok();
    let values: Vec<f64> =
        stored.as_array().unwrap().iter().map(|reading| reading["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [2.5, 1.5], "newest first");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_json_unknown_paths_and_wrong_methods_are_told_apart() {
    let node = TestNode::start().await;
    let client = node.client();
    let raw = |content: &'static str, body: &'static str| {
        client.request(Method::POST, "/api/v1/data/ingest").header("Content-Type", content).body(body)
    };
    let broken = client.send(raw("application/json", "{")).await;
    assert_eq!(broken.status, 422);
    assert!(broken.detail().contains("JSON decode error"), "{}", broken.body);
    assert_eq!(client.send(raw("text/plain", r#"{"sensor_id":"s","value":1}"#)).await.status, 422);
    let missing = client.get("/api/v1/nothing").await;
    assert_eq!((missing.status.as_u16(), missing.detail()), (404, "Not Found"));
    let wrong = client.get("/api/v1/data/ingest").await;
    assert_eq!((wrong.status.as_u16(), wrong.detail()), (405, "Method Not Allowed"));
    let large = client
        .send(
            client
                .request(Method::POST, "/api/v1/data/ingest")
                .header("Content-Type", "application/json")
                .body(vec![b' '; 2 << 20]),
        )
        .await;
    assert_eq!(large.status, 413);
    node.stop().await;
}
