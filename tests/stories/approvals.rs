//! What was approved is carried out, ended or told: it is not forgotten when an order, a technician or a setting goes.

use crate::cases::{calm, ingest};
use crate::maintenance::wish;
use crate::work_orders::{open_order, overheat};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::Client;
use tests::node::TestNode;
use tests::process::Process;

/// A press that fails in two ways, each with a sensor and a limit.
const PRESS: &str = r#"
[[asset]]
id = "press"
[[sensor]]
id = "press/bearing"
asset = "press"
type = "temperature"
unit = "celsius"
limit_high = 90
failure_mode = "bearing_damage"
[[sensor]]
id = "press/winding"
asset = "press"
type = "temperature"
unit = "celsius"
limit_high = 90
failure_mode = "overheating"
"#;

/// Settings under which nobody is asked who need not be.
const DO_NOT_ASK: [(&str, &str); 2] = [
    ("SMART_MAINTENANCE__AGENTS__HUMAN_DECISION__MODERATE_CONFIDENCE", "0.0"),
    ("SMART_MAINTENANCE__AGENTS__HUMAN_DECISION__HIGH_CONFIDENCE", "0.0"),
];

/// Takes the press over, and lets it run for ten hours.
async fn install(client: &Client) {
    let import = client.request(reqwest::Method::POST, "/api/v1/plant/import").body(PRESS);
    client.send(import).await.ok();
    for sensor in ["press/bearing", "press/winding"] {
        ingest(client, &calm(sensor, 600)).await;
    }
    client.until_idle().await.unwrap();
}

/// The newest case of the press that fails so.
async fn case(client: &Client, failure_mode: &str) -> Value {
    let cases = client.get("/api/v1/cases?asset=press").await.ok();
    let of_mode = |case: &&Value| case["failure_mode"] == failure_mode;
    cases.as_array().unwrap().iter().find(of_mode).unwrap_or_else(|| panic!("{failure_mode}: {cases:#}")).clone()
}

/// A node whose policy has approved work for both faults of the press, of which the order for the first one covers the
/// second; with that order.
async fn two_faults() -> (TestNode, String) {
    let node = TestNode::start_with(|config| {
        let config = config.with("agents.human_decision.moderate_confidence", 0.0).unwrap();
        config.with("agents.human_decision.high_confidence", 0.0).unwrap()
    })
    .await;
    let client = node.client();
    install(client).await;
    overheat(client, "press/bearing", 600, 95.0).await;
    let order = open_order(client, case(client, "bearing_damage").await["id"].as_str().unwrap()).await;
    overheat(client, "press/winding", 640, 95.0).await;
    let second = case(client, "overheating").await;
    assert_eq!(second["state"], "approved", "{second:#}");
    let orders = client.get("/api/v1/work-orders?open=true").await.ok();
    assert_eq!(orders.as_array().unwrap().len(), 1, "one order covers both: {orders:#}");
    (node, order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_an_order_covered_gets_its_own_when_that_one_is_called_off_and_a_person_is_asked_about_the_first()
{
    let (node, order) = two_faults().await;
    let client = node.client();
    client.post(&format!("{order}/cancel"), &json!({ "reason": "the wrong bearing" })).await.ok();
    let id = case(client, "overheating").await["id"].as_str().unwrap().to_owned();
    let booked = format!("/api/v1/work-orders?open=true&case={id}");
    client.until(&booked, |orders| (orders.as_array()?.len() == 1).then_some(())).await.unwrap();
    assert_eq!(case(client, "overheating").await["state"], "scheduled");
    let pending = "/api/v1/decisions/pending";
    let asked = client.until(pending, |questions| Some(questions.as_array()?.first()?.clone())).await.unwrap();
    let first = case(client, "bearing_damage").await;
    assert_eq!((&asked["proposal"]["case"], &first["state"]), (&first["id"], &json!("decision_pending")), "{asked:#}");
    let reason = asked["reason"].as_str().unwrap();
    assert!(reason.contains("called off") && reason.ends_with(": the wrong bearing"), "{reason}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_an_order_covered_ends_with_its_repair() {
    let (node, order) = two_faults().await;
    let client = node.client();
    client.post(&format!("{order}/start"), &json!({})).await.ok();
    let codes = json!({ "mode": "overheating", "cause": "lubrication", "action": "lubricated", "verified": true });
    client.post(&format!("{order}/complete"), &codes).await.ok();
    client.until_idle().await.unwrap();
    for mode in ["bearing_damage", "overheating"] {
        let ended = case(client, mode).await;
        assert_eq!((&ended["state"], &ended["resolution"]), (&json!("closed"), &json!("repaired")), "{ended:#}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_a_technician_who_is_removed_goes_to_another_one_or_waits_for_one_and_says_so() {
    // Given an order for the only technician,
    let node = TestNode::start().await;
    let client = node.client();
    let shift = json!({ "weekdays": [1, 2, 3, 4, 5, 6, 7], "from": "06:00", "to": "14:00" });
    let technician = |id: &str| json!({ "id": id, "skills": ["mechanical"], "shifts": [shift] });
    client.post("/api/v1/technicians", &technician("ana")).await.ok();
    client.post("/api/v1/maintenance/schedule", &wish("press")).await.ok();
    client.until_idle().await.unwrap();
    let order = client.get("/api/v1/work-orders?open=true").await.ok()[0].clone();
    assert_eq!(order["technician"], "ana");
    // when she is removed,
    client.post("/api/v1/technicians/ana/remove", &json!({})).await.ok();
    // then the planner is told,
    let not_booked = |list: &Value| {
        let is_it = |message: &&Value| message["subject"].as_str().is_some_and(|text| text.starts_with("Not booked"));
        Some(list.as_array()?.iter().find(is_it)?["body"].as_str()?.to_owned())
    };
    let told = client.until("/api/v1/notifications?limit=1000&channel=console", not_booked).await.unwrap();
    assert!(told.contains("is still booked for ana, who is no longer in the crew"), "{told}");
    // and whoever joins gets the same order.
    client.post("/api/v1/technicians", &technician("bea")).await.ok();
    let path = format!("/api/v1/work-orders/{}", order["work_order"].as_str().unwrap());
    let moved = client.until(&path, |order| (order["technician"] == "bea").then(|| order.clone())).await.unwrap();
    assert_eq!((&moved["state"], &moved["created_at"]), (&json!("scheduled"), &order["created_at"]), "{moved:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_though_the_log_is_read_again_with_settings_under_which_nobody_would_be_asked() {
    // Given a question, on a node that is killed,
    let folder = TempDir::new().unwrap();
    let node = Process::start(folder.path(), None, &[]).unwrap();
    let client = node.client();
    let key = client.key().unwrap().to_owned();
    ingest(client, &calm("press", 600)).await;
    overheat(client, "press", 600, 95.0).await;
    let asked = client.get("/api/v1/decisions/pending").await.ok()[0].clone();
    node.kill().unwrap();
    // when it comes back with settings under which nobody would have been asked, and the answer is given,
    let node = Process::start_with(folder.path(), Some(&key), &[], &DO_NOT_ASK).unwrap();
    let client = node.client();
    let answer = json!({ "request_id": asked["id"], "decision": "approve", "operator_id": "anna" });
    assert_eq!(client.post("/api/v1/decisions/submit", &answer).await.status, 201);
    // then it is carried out.
    let orders = format!("/api/v1/work-orders?case={}", asked["proposal"]["case"].as_str().unwrap());
    client.until(&orders, |orders| (orders.as_array()?.len() == 1).then_some(())).await.unwrap();
    node.kill().unwrap();
}
