//! What those see who keep the node running.

use serde_json::json;
use tests::node::TestNode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_shows_twelve_agents_and_what_holds_them_up() {
    let node = TestNode::start().await;
    let client = node.client();
    client.until_idle().await.unwrap();
    let tree = client.get("/api/v1/agents").await.ok();
    let agents = tree["agents"].as_array().unwrap();
    let count = |kind: &[&str]| agents.iter().filter(|agent| kind.contains(&agent["kind"].as_str().unwrap())).count();
    assert_eq!(count(&["agent", "called"]), 12, "{tree:#}");
    assert_eq!(count(&["worker"]), 2);
    assert_eq!(count(&["essential"]), 4);
    for agent in agents {
        assert_eq!(agent["state"], "running", "{agent}");
        for field in ["restarts", "mailbox", "oldest_seconds", "lag"] {
            assert!(agent[field].is_number(), "{field}: {agent}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_the_parts_apart() {
    let node = TestNode::start().await;
    let client = node.client();
    let health = client.get("/health").await.ok();
    assert_eq!((&health["status"], &health["database"]), (&json!("ok"), &json!("ok")));
    assert_eq!(client.get("/health/db").await.ok()["db_status"], "connected");
    assert!(client.get("/health/redis").await.body.to_string().contains("not configured"));
    assert_eq!(client.get("/readyz").await.status, 200);
    client.post("/api/v1/agents/drift/pause", &json!({})).await.ok();
    assert_eq!(client.get("/readyz").await.ok()["status"], "degraded");
    assert_eq!(client.post("/api/v1/agents/nobody/pause", &json!({})).await.status, 404);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_readings_requests_and_agents() {
    let node = TestNode::start().await;
    let client = node.client();
    client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s", "value": 1.0 })).await.ok();
    let text = client.get("/metrics").await.ok();
    let text = text.as_str().unwrap();
    for line in [
        "smart_maintenance_ingest_accepted_readings_total 1",
        "smart_maintenance_agent_up{agent=\"validation\"} 1",
        "http_requests_total{handler=\"/api/v1/data/ingest\",method=\"POST\",status=\"200\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_node_refuses_readings_and_says_when_to_come_back() {
    let node = TestNode::start_with(|config| config.with("limits.lag_events_max", 3).unwrap()).await;
    let client = node.client();
    client.post("/api/v1/agents/drift/pause", &json!({})).await.ok();
    let body = json!({ "sensor_id": "s", "value": 1.0 });
    let mut refused = None;
    for _ in 0..10 {
        let answer = client.post("/api/v1/data/ingest", &body).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the lag is noticed");
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    client.post("/api/v1/agents/drift/resume", &json!({})).await.ok();
    client.until_idle().await.unwrap();
    assert_eq!(client.post("/api/v1/data/ingest", &body).await.status, 200);
    node.stop().await;
}
