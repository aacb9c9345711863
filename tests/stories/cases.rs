//! `/api/v1/cases`: one episode of evidence, one case.

use config::Config;
use serde_json::{Value, json};
use tests::client::Client;
use tests::node::TestNode;
use tokio::task::JoinSet;

/// A healthy history: a slow swing with a little noise, one reading a minute.
pub(crate) fn calm(sensor: &str, count: u32) -> Vec<Value> {
    (0..count)
        .map(|minute| {
            let noise = f64::from((minute * 7_919) % 101) / 101.0 - 0.5;
            json!({
                "sensor_id": sensor,
                "sensor_type": "temperature",
                "unit": "celsius",
                "value": 60.0 + noise,
                "timestamp": f64::from(1_767_225_600 + minute * 60),
            })
        })
        .collect()
}

pub(crate) async fn ingest(client: &Client, readings: &[Value]) {
    for chunk in readings.chunks(500) {
        client.post("/api/v1/data/ingest/batch", &json!(chunk)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_identical_anomalies_at_once_are_one_case_with_sixty_four_pieces_of_evidence_and_one_work_order() {
    // As many connections as there are anomalies, and those that a client opens beside them.
    let roomy = |config: Config| config.with("server.connections_per_address_max", 256).expect("a known setting");
    let node = TestNode::start_with(roomy).await;
    let client = node.client();
    ingest(client, &calm("press", 600)).await;
    client.until_idle().await.unwrap();

    let hot = json!({
        "sensor_id": "press",
        "sensor_type": "temperature",
        "unit": "celsius",
        "value": 95.0,
        "timestamp": 1_767_225_600.0 + 600.0 * 60.0,
    });
    let mut posts = JoinSet::new();
    for _ in 0..64 {
        let (client, hot) = (client.clone(), hot.clone());
        posts.spawn(async move { client.post("/api/v1/data/ingest", &hot).await });
    }
    for answer in posts.join_all().await {
        assert_eq!(answer.ok()["status"], "event_published");
    }
    client.until_idle().await.unwrap();
    // Whoever is asked approves, so that work follows.
    for question in client.get("/api/v1/decisions/pending").await.ok().as_array().unwrap() {
        let answer = json!({ "request_id": question["id"], "decision": "approve", "operator_id": "anna" });
        client.post("/api/v1/decisions/submit", &answer).await.ok();
    }
    client.until_idle().await.unwrap();

    let cases = client.get("/api/v1/cases").await.ok();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 1, "{cases:#?}");
    assert_eq!(cases[0]["evidence_count"], 64);
    let trace = client.get(&format!("/api/v1/cases/{}", cases[0]["id"].as_str().unwrap())).await.ok();
    assert_eq!(trace["work_orders"].as_array().unwrap().len(), 1, "{trace:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_shows_its_whole_trace() {
    let node = TestNode::start().await;
    let client = node.client();
    let started = client.post("/api/v1/demo/golden-path", &json!({})).await.ok();
    let url = started["status_url"].as_str().unwrap().to_owned();
    client.until(&url, |status| (status["status"] == "complete").then_some(())).await.unwrap();
    client.until_idle().await.unwrap();
    let cases = client.get("/api/v1/cases").await.ok();
    let case = &cases[0];
    for field in
        ["first_evidence_at", "last_evidence_at", "asset", "failure_mode", "priority", "state", "evidence_count"]
    {
        assert!(!case[field].is_null(), "{field}: {case:#}");
    }
    let trace = client.get(&format!("/api/v1/cases/{}", case["id"].as_str().unwrap())).await.ok();
    for part in ["anomalies", "predictions", "decisions", "work_orders", "log", "history"] {
        let entries = trace[part].as_array().unwrap_or_else(|| panic!("no {part}: {trace:#}"));
        assert!(!entries.is_empty(), "{part}: {trace:#}");
        for entry in entries {
            for field in ["agent", "version", "event_id", "at"] {
                assert!(!entry[field].is_null(), "{part}.{field}: {entry:#}");
            }
        }
    }
    assert!(trace["anomalies"][0]["expected"]["low"].is_number());
    assert!(trace["anomalies"][0]["attribution"].is_array());
    assert!(trace["anomalies"][0]["validation"]["reasons"].is_array());
    let approved = trace["decisions"].as_array().unwrap().iter().any(|step| step["type"] == "maintenance_approved");
    assert!(approved, "{trace:#}");
    assert_eq!(client.get("/api/v1/cases/3f8c0a4e-7a4e-4a55-9d1e-0d5f3f3c1b11").await.status, 404);
    node.stop().await;
}
