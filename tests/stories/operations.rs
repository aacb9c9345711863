//! What those see who keep the node running.

use config::Config;
use runtime::faults::{Fault, Faults};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tests::node::TestNode;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_shows_twelve_agents_and_what_holds_them_up() {
    let node = TestNode::start().await;
    let client = node.client();
    client.until_idle().await.unwrap();
    let tree = client.get("/api/v1/agents").await.ok();
    let agents = tree["agents"].as_array().unwrap();
    let count = |kind: &[&str]| agents.iter().filter(|agent| kind.contains(&agent["kind"].as_str().unwrap())).count();
    // Somebody may have added agents of their own.
    assert!(12 <= count(&["agent", "called"]), "{tree:#}");
    assert!(3 <= count(&["worker"]), "{tree:#}");
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

/// A wish for maintenance of `asset`, which is booked at once.
fn wish(asset: &str) -> Value {
    json!({
        "sensor_id": asset,
        "equipment_id": asset,
        "predicted_failure_date": "2031-01-01T00:00:00Z",
        "time_to_failure_days": 12.5,
    })
}

/// Harms each event of `agent` in the same way until told to stop.
fn harming(agent: &'static str, fault: Fault) -> (Faults, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&on);
    (Faults::planned(move |name, _| (name == agent && still.load(Ordering::SeqCst)).then_some(fault)), on)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_node_refuses_readings_and_says_when_to_come_back() {
    let folder = TempDir::new().unwrap();
    let (faults, on) = harming("drift", Fault::Hang);
    let change = |config: Config| {
        config.with("limits.lag_events_max", 3).unwrap().with("supervision.handle_deadline_seconds", 2.0).unwrap()
    };
    let node = TestNode::start_harmed(folder.path(), None, change, faults).await;
    let client = node.client();
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
    on.store(false, Ordering::SeqCst);
    client.until_idle().await.unwrap();
    assert_eq!(client.post("/api/v1/data/ingest", &body).await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_behind_one_that_blocks_its_agent_is_taken_by_the_next_incarnation() {
    let folder = TempDir::new().unwrap();
    // Given an agent that blocks its thread at the first request,
    let blocked = Arc::new(AtomicBool::new(false));
    let first = Arc::clone(&blocked);
    let faults = Faults::planned(move |name, _| {
        let strikes = name == "data_acquisition" && !first.swap(true, Ordering::SeqCst);
        strikes.then_some(Fault::Block(Duration::from_secs(6)))
    });
    let change = |config: Config| config.with("supervision.handle_deadline_seconds", 0.5).unwrap();
    let node = TestNode::start_harmed(folder.path(), None, change, faults).await;
    let post = |value: f64| {
        let client = node.client().clone();
        async move { client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s", "value": value })).await.status }
    };
    let mut struck = JoinSet::new();
    struck.spawn(post(1.0));
    while !blocked.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    // when another one comes behind it, then it is answered while the first one is still in the agent's hands,
    assert_eq!(post(2.0).await, 200);
    assert!(struck.try_join_next().is_none(), "the thread is blocked");
    // and the first one is, once it lets go.
    assert_eq!(struck.join_next().await.unwrap().unwrap(), 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_called_is_restarted_too() {
    let node = TestNode::start().await;
    let client = node.client();
    client.post("/api/v1/agents/data_acquisition/restart", &json!({})).await.ok();
    let is_back = |tree: &Value| {
        let mut agents = tree["agents"].as_array().unwrap().iter();
        let agent = agents.find(|agent| agent["name"] == "data_acquisition").unwrap();
        (agent["state"] == "running" && agent["restarts"] == 1).then_some(())
    };
    client.until("/api/v1/agents", is_back).await.unwrap();
    client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s", "value": 1.0 })).await.ok();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_rests_stops_nobody_and_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let change = |config: Config| config.with("limits.lag_events_max", 3).unwrap();
    let node = TestNode::start_in(folder.path(), None, change).await;
    let client = node.client();
    let key = client.key().unwrap().to_owned();
    let body = json!({ "sensor_id": "s", "value": 1.0 });
    client.post("/api/v1/data/ingest", &body).await.ok();
    // What would queue up is told first, and nothing is done by asking.
    let outlook = client.post("/api/v1/agents/drift/drain?dry_run=true", &json!({})).await.ok();
    assert_eq!(outlook["hears"]["readings_accepted"], 1, "{outlook}");
    assert!(0.0 < outlook["per_minute"].as_f64().unwrap(), "{outlook}");
    assert_eq!(client.get("/api/v1/agents/drift").await.ok()["state"], "running");
    // Drained, it handles what is there and then rests,
    client.post("/api/v1/agents/drift/drain", &json!({})).await.ok();
    client.until("/api/v1/agents/drift", |agent| (agent["state"] == "paused").then_some(())).await.unwrap();
    // while readings go on, far beyond the lag that an agent at work may have,
    for _ in 0..20 {
        let answer = client.post("/api/v1/data/ingest", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    node.stop().await;
    // also after the node was started again.
    let node = TestNode::start_in(folder.path(), Some(&key), change).await;
    let client = node.client();
    let outlook = client.get("/api/v1/agents/drift").await.ok();
    assert_eq!(outlook["state"], "paused");
    assert!(20 <= outlook["waiting"].as_i64().unwrap(), "{outlook}");
    client.post("/api/v1/agents/drift/resume", &json!({})).await.ok();
    client.until_idle().await.unwrap();
    // Each step is an event that says by whom.
    let events = client.get("/api/v1/events?limit=1000").await.ok();
    let controls: Vec<_> =
        events["events"].as_array().unwrap().iter().filter(|e| e["type"] == "agent_controlled").collect();
    let told: Vec<_> = controls.iter().map(|event| event["data"]["action"].as_str().unwrap()).collect();
    assert_eq!(told, ["drain", "pause", "resume"]);
    assert_eq!(controls[1]["data"]["by"], "drain");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_looked_at_replayed_once_or_discarded() {
    let folder = TempDir::new().unwrap();
    let (faults, on) = harming("maintenance_log", Fault::Panic);
    let node = TestNode::start_harmed(folder.path(), None, |config| config, faults).await;
    let client = node.client();
    // Given three bookings at which the maintenance log fails,
    for asset in ["pump-1", "pump-2", "pump-3"] {
        client.post("/api/v1/maintenance/schedule", &wish(asset)).await.ok();
    }
    let letters = client
        .until("/api/v1/dead-letters?state=open", |letters| letters.as_array().filter(|all| all.len() == 3).cloned())
        .await
        .unwrap();
    // when one is looked at, it tells the event, why it was given up, and what led to it.
    let id = |idx: usize| letters[idx]["id"].as_i64().unwrap();
    let letter = client.get(&format!("/api/v1/dead-letters/{}", id(0))).await.ok();
    assert_eq!((&letter["agent"], &letter["attempts"]), (&json!("maintenance_log"), &json!(5)));
    assert!(letter["error"].as_str().unwrap().contains("a planned panic"), "{letter}");
    assert_eq!(letter["event"]["type"], "maintenance_scheduled");
    let causes: Vec<_> =
        letter["causes"].as_array().unwrap().iter().map(|cause| cause["type"].as_str().unwrap()).collect();
    assert_eq!(causes[0], "maintenance_approved");
    // Replayed while the fault lasts, it is a dead letter again,
    client.post(&format!("/api/v1/dead-letters/{}/replay", id(0)), &json!({})).await.ok();
    client
        .until("/api/v1/dead-letters?state=open", |all| all.as_array().filter(|all| all.len() == 3).map(|_| ()))
        .await
        .unwrap();
    // and once the fault is mended, each replay has its effect, once.
    on.store(false, Ordering::SeqCst);
    let again = client.post(&format!("/api/v1/dead-letters/{}/replay", id(0)), &json!({})).await;
    assert_eq!(again.status, 409, "it was replayed before");
    client.post(&format!("/api/v1/dead-letters/{}/discard", id(1)), &json!({})).await.ok();
    let replayed = client.post("/api/v1/dead-letters/replay", &json!({ "agent": "maintenance_log" })).await.ok();
    assert_eq!(replayed["settled"].as_array().unwrap().len(), 2, "{replayed}");
    assert_eq!(replayed["open"], 0);
    client.until_idle().await.unwrap();
    let log = client.get("/api/v1/maintenance/log").await.ok();
    let mut assets: Vec<_> =
        log["entries"].as_array().unwrap().iter().map(|line| line["asset"].as_str().unwrap()).collect();
    assets.sort_unstable();
    assert_eq!(assets.len(), 2, "{log}");
    assets.dedup();
    assert_eq!(assets.len(), 2, "one line each: {log}");
    assert_eq!(client.get("/api/v1/dead-letters/77").await.status, 404);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_too_many_dead_letters_rests_instead_of_dropping_any() {
    let folder = TempDir::new().unwrap();
    let (faults, on) = harming("maintenance_log", Fault::Error);
    let change = |config: Config| config.with("supervision.dead_letters_max", 2).unwrap();
    let node = TestNode::start_harmed(folder.path(), None, change, faults).await;
    let client = node.client();
    for asset in ["pump-1", "pump-2", "pump-3"] {
        client.post("/api/v1/maintenance/schedule", &wish(asset)).await.ok();
    }
    client.until("/api/v1/agents/maintenance_log", |agent| (agent["state"] == "paused").then_some(())).await.unwrap();
    assert_eq!(client.get("/api/v1/dead-letters").await.ok().as_array().unwrap().len(), 2);
    on.store(false, Ordering::SeqCst);
    // Once some are dealt with, the one that was held back finds its place among them,
    client.post("/api/v1/dead-letters/replay", &json!({ "agent": "maintenance_log" })).await.ok();
    client.post("/api/v1/agents/maintenance_log/resume", &json!({})).await.ok();
    client
        .until("/api/v1/dead-letters?state=open", |all| all.as_array().filter(|all| all.len() == 1).map(|_| ()))
        .await
        .unwrap();
    client.post("/api/v1/dead-letters/replay", &json!({ "agent": "maintenance_log" })).await.ok();
    client.until_idle().await.unwrap();
    assert_eq!(client.get("/api/v1/maintenance/log").await.ok()["entries"].as_array().unwrap().len(), 3);
    node.stop().await;
}
