//! `/api/v1/data/ingest`: acknowledged means stored, repeated means once.

use reqwest::Method;
use serde_json::json;
use tests::node::TestNode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_under_the_same_key_is_ignored_also_after_a_restart() {
    let node = TestNode::start().await;
    let key = node.client().key().unwrap().to_owned();
    let body = json!({ "sensor_id": "s", "value": 1.0, "sensor_type": "temperature" });
    let post = async |client: &tests::client::Client, body: &serde_json::Value| {
        client.send(client.request(Method::POST, "/api/v1/data/ingest").header("Idempotency-Key", "k").json(body)).await
    };
    let first = post(node.client(), &body).await.ok();
    assert_eq!(first["status"], "event_published");
    let again = post(node.client(), &body).await.ok();
    assert_eq!(again["status"], "duplicate_ignored");
    assert_eq!(again["event_id"], first["event_id"]);
    assert_ne!(again["correlation_id"], first["correlation_id"], "it is the correlation of this request");

    let folder = node.stop().await.unwrap();
    let node = TestNode::start_in(folder.path(), Some(&key), |config| config).await;
    let again = post(node.client(), &body).await.ok();
    assert_eq!((&again["status"], &again["event_id"]), (&json!("duplicate_ignored"), &first["event_id"]));
    let other = post(node.client(), &json!({ "sensor_id": "s", "value": 2.0 })).await;
    assert_eq!(other.status, 422);
    assert!(other.detail().contains("Idempotency-Key"), "{}", other.body);
    let stored = node.client().get("/api/v1/sensors/readings?sensor_id=s").await.ok();
    assert_eq!(stored.as_array().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_once() {
    let node = TestNode::start().await;
    let refused = node.client().post("/api/v1/data/ingest", &json!({ "value": 1 })).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.detail(), "Request validation failed: body → sensor_id: Field required");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readings_of_one_sensor_at_one_instant_are_both_kept_in_order_of_arrival() {
    let node = TestNode::start().await;
    let client = node.client();
    for value in [1.0, 2.0, 2.0] {
        let body = json!({ "sensor_id": "s", "value": value, "timestamp": "2026-01-01T00:00:00Z" });
        client.post("/api/v1/data/ingest", &body).await.ok();
    }
    let stored = client.get("/api/v1/sensors/readings?sensor_id=s").await.ok();
    let values: Vec<f64> =
        stored.as_array().unwrap().iter().map(|reading| reading["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [2.0, 2.0, 1.0], "newest first");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_coercions_are_taken() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!({
        "sensor_id": "s", "value": "21.5", "timestamp": 1_767_225_600, "quality": "0.5", "unit": "C",
        "metadata": { "line": 4 }, "unknown_field": true,
    });
    client.post("/api/v1/data/ingest", &body).await.ok();
    let stored = client.get("/api/v1/sensors/readings?sensor_id=s").await.ok();
    let reading = &stored[0];
    assert_eq!(reading["value"], 21.5);
    assert_eq!(reading["quality"], 0.5);
    assert_eq!(reading["unit"], "C");
    assert_eq!(reading["sensor_type"], "general");
    assert_eq!(reading["sensor_metadata"]["line"], 4);
    assert!(reading["timestamp"].as_str().unwrap().starts_with("2026-01-01T00:00:00"));
    let sensors = client.get("/api/v1/sensors/sensors").await.ok();
    assert_eq!((&sensors[0]["sensor_id"], &sensors[0]["reading_count"]), (&json!("s"), &json!(1)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_repeated_with_the_same_answer() {
    let node = TestNode::start().await;
    let client = node.client();
    let body = json!([{ "sensor_id": "s", "value": 1.0 }, { "sensor_id": "", "value": 1.0 }]);
    let send = || client.request(Method::POST, "/api/v1/data/ingest/batch").header("Idempotency-Key", "b").json(&body);
    let first = client.send(send()).await.ok();
    let again = client.send(send()).await.ok();
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    for field in ["accepted", "rejected", "items", "event_id"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    assert_eq!(client.get("/api/v1/sensors/readings?sensor_id=s").await.ok().as_array().unwrap().len(), 1);
    node.stop().await;
}
