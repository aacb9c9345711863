//! What nodes share through Redis, and that nothing depends on it.

use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tests::client::Client;
use tests::installed;
use tests::process::Process;

const KEY: &str = "a-key-of-the-environment";

/// A Redis server of the test's own.
struct Server(Child);

impl Server {
    fn start(folder: &Path, port: u16) -> Self {
        let child = Command::new(installed::program("redis-server", "redis-server"))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--requirepass", "pass", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn node(folder: &Path, port: u16) -> Process {
    let url = format!("redis://:pass@127.0.0.1:{port}/");
    let env = [
        ("REDIS_URL", url.as_str()),
        ("API_KEY", KEY),
        ("SMART_MAINTENANCE__RATE_LIMITS__REPORTS_PER_MINUTE_MAX", "4"),
    ];
    Process::start_with(folder, Some(KEY), &[], &env).expect("the node starts")
}

async fn until_redis(client: &Client, healthy: bool) {
    let is = |answer: &Value| (answer["status"] == "healthy") == healthy;
    client.until("/health/redis", |answer| is(answer).then_some(())).await.expect("redis is noticed");
}

async fn ingest(client: &Client, key: &str, value: f64) -> (u16, Value) {
    let request = client.request(Method::POST, "/api/v1/data/ingest").header("Idempotency-Key", key);
    let answer = client.send(request.json(&json!({ "sensor_id": "s", "value": value }))).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_limits_and_answers_and_go_on_without_redis() {
    // Given two nodes with stores of their own, and one Redis,
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let port = installed::free_port();
    let server = Server::start(folders[2].path(), port);
    let nodes = [node(folders[0].path(), port), node(folders[1].path(), port)];
    let [first, second] = [nodes[0].client(), nodes[1].client()];
    for client in [first, second] {
        until_redis(client, true).await;
        let health = client.get("/health/redis").await.ok();
        assert_eq!(health["ping"], true);
        assert!(1 <= health["connected_clients"].as_u64().unwrap(), "{health}");
        assert!(health["memory_used"].as_str().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit())));
    }
    // when one has carried a request out, then the other knows its answer, and refuses the key for another body;
    let (status, told) = ingest(first, "k1", 1.0).await;
    assert_eq!((status, &told["status"]), (200, &json!("event_published")), "{told}");
    let (status, again) = ingest(second, "k1", 1.0).await;
    assert_eq!((status, &again["status"], &again["event_id"]), (200, &json!("duplicate_ignored"), &told["event_id"]));
    assert_eq!(ingest(second, "k1", 2.0).await.0, 422);
    // and what one lets in counts for the other.
    let report = json!({ "report_type": "anomaly_summary" });
    let mut statuses = Vec::new();
    for client in [first, first, second, second, first, second] {
        let answer = client.post("/api/v1/reports/generate", &report).await;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after") && answer.headers.contains_key("ratelimit"));
        }
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 2, "{statuses:?}");
    // When Redis is gone, then everything goes on, and the key is still good for one effect.
    drop(server);
    until_redis(first, false).await;
    let (status, again) = ingest(first, "k1", 1.0).await;
    assert_eq!((status, &again["status"]), (200, &json!("duplicate_ignored")));
    assert_eq!(ingest(first, "k2", 1.0).await.1["status"], "event_published");
    assert_eq!(first.get("/readyz").await.ok()["status"], "ready");
    // When it is back, with nothing in it, then it is used again.
    let _server = Server::start(folders[2].path(), port);
    until_redis(first, true).await;
    assert_eq!(ingest(first, "k2", 1.0).await.1["status"], "duplicate_ignored");
}
