//! What is put aside comes back: each state survives a restart, ends as told, and no alarm is lost by it.

use crate::cases::ingest;
use crate::work_orders::{approve, open_case, open_order};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::client::Client;
use tests::node::TestNode;

/// A press that hums around 60 °C for ten hours until now.
async fn calm_until_now(client: &Client) -> Timestamp {
    let now = Timestamp::from_second(TestNode::wall_clock().as_second()).unwrap();
    let readings: Vec<Value> = (0..600).map(|minute| reading(now - minutes(600 - minute), 60.0, minute)).collect();
    ingest(client, &readings).await;
    client.until_idle().await.unwrap();
    now
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn reading(at: Timestamp, level: f64, idx: i64) -> Value {
    let noise = ((idx * 7_919) % 101) as f64 / 101.0 - 0.5;
    json!({
        "sensor_id": "press", "sensor_type": "temperature", "unit": "celsius",
        "value": level + noise, "timestamp": at.to_string(),
    })
}

/// It overheats for half an hour from `at` on.
async fn overheat(client: &Client, at: Timestamp) {
    let hot: Vec<Value> = (0..30).map(|minute| reading(at + minutes(minute), 95.0, minute)).collect();
    ingest(client, &hot).await;
    client.until_idle().await.unwrap();
}

/// What the console was told, newest first, whose subject begins with `subject`.
async fn told(client: &Client, subject: &str) -> Vec<Value> {
    let list = client.get("/api/v1/notifications?limit=1000&channel=console").await.ok();
    let list = list.as_array().unwrap().iter();
    list.filter(|message| message["subject"].as_str().unwrap().starts_with(subject)).cloned().collect()
}

/// The same node after a stop and a start.
async fn restarted(node: TestNode) -> TestNode {
    let key = node.client().key().unwrap().to_owned();
    let folder = node.stop().await.unwrap();
    let mut node = TestNode::start_in(folder.path(), Some(&key), |config| config).await;
    node.keep(folder);
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shelved_case_survives_a_restart_gathers_evidence_and_comes_back_by_itself() {
    let node = TestNode::start().await;
    let client = node.client();
    let now = calm_until_now(client).await;
    overheat(client, now).await;
    let case = open_case(client, "press").await;
    let path = format!("/api/v1/cases/{case}");

    // It is seen once, and says by whom.
    let seen = client.post(&format!("{path}/acknowledge"), &json!({ "reason": "on my way" })).await.ok();
    assert_eq!(seen["acknowledged"]["reason"], "on my way");
    let twice = client.post(&format!("{path}/acknowledge"), &json!({})).await;
    assert_eq!(twice.status, 409);
    assert!(twice.detail().ends_with("it is acknowledged already"), "{}", twice.body);

    // Shelving needs a reason, and an end that comes soon enough.
    let endless = json!({ "reason": "parts on the way", "until": "2999-01-01T00:00:00Z" });
    assert_eq!(client.post(&format!("{path}/shelve"), &endless).await.status, 422);
    let back_at = TestNode::wall_clock() + SignedDuration::from_secs(8);
    let shelf = json!({ "reason": "parts on the way", "until": back_at.to_string() });
    client.post(&format!("{path}/shelve"), &shelf).await.ok();
    assert_eq!(client.post(&format!("{path}/shelve"), &shelf).await.status, 409);
    // It gathers evidence, and tells nobody.
    overheat(client, now + minutes(30)).await;
    let n_told = told(client, "").await.len();
    let evidence = client.get(&path).await.ok()["evidence_count"].as_u64().unwrap();
    assert!(30 < evidence, "{evidence}");

    // It is still there after a restart, and so is who has seen it.
    let node = restarted(node).await;
    let client = node.client();
    let shelved = client.get("/api/v1/cases?shelved=true").await.ok();
    if let Some(still) = shelved.as_array().unwrap().first() {
        assert_eq!(still["shelved"]["reason"], "parts on the way");
        assert_eq!(still["acknowledged"]["reason"], "on my way");
    } else {
        assert!(back_at <= TestNode::wall_clock(), "it left the shelf too early");
    }

    // Then its time is over: it comes back, and the log says why and when.
    let page = client.until(&path, |page| page["shelved"].is_null().then(|| page.clone())).await.unwrap();
    assert_eq!(page["closed_at"], Value::Null, "it is still open");
    let back = page["history"].as_array().unwrap().iter().find(|step| step["type"] == "case_unshelved").unwrap();
    assert_eq!(back["by"]["kind"], "expiry");
    assert!(back_at <= back["at"].as_str().unwrap().parse::<Timestamp>().unwrap());
    // And whoever hears of cases is told, with what came meanwhile.
    client.until_idle().await.unwrap();
    let back = told(client, "Back from the shelf, still open").await;
    let body = back[0]["body"].as_str().unwrap();
    assert!(
        body.starts_with("Its time on the shelf was over. ") && body.ends_with(" anomalies came meanwhile."),
        "{body}"
    );
    assert_eq!(told(client, "").await.len(), n_told + back.len(), "nothing else was told since");
    assert_eq!(client.post(&format!("{path}/unshelve"), &json!({})).await.status, 409);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_in_maintenance_raises_nothing_until_it_is_back_and_then_nothing_is_lost() {
    let node = TestNode::start().await;
    let client = node.client();
    let now = calm_until_now(client).await;
    // Given a press that is taken out of service,
    let out = json!({ "reason": "overhaul" });
    client.post("/api/v1/assets/press/maintenance", &out).await.ok();
    let node = restarted(node).await;
    let client = node.client();
    assert_eq!(client.get("/api/v1/assets/press").await.ok()["maintenance"]["reason"], "overhaul");
    // when it overheats, then no case is opened, and each anomaly says why.
    overheat(client, now + minutes(5)).await;
    assert_eq!(client.get("/api/v1/cases").await.ok(), json!([]));
    let asset = client.get("/api/v1/assets/press").await.ok();
    assert!(0 < asset["held_alarms"].as_u64().unwrap(), "{asset:#}");
    // When it is back and still too hot, a case opens: nothing was learnt as normal meanwhile.
    client.post("/api/v1/assets/press/maintenance/end", &json!({ "reason": "done" })).await.ok();
    assert_eq!(client.post("/api/v1/assets/press/maintenance/end", &json!({})).await.status, 409);
    overheat(client, now + minutes(60)).await;
    let case = open_case(client, "press").await;

    // A repair takes it out of service for as long as it lasts, and brings it back.
    approve(client).await;
    let order = open_order(client, &case).await;
    client.post(&format!("{order}/start"), &json!({})).await.ok();
    let asset = client.get("/api/v1/assets/press").await.ok();
    assert!(order.ends_with(asset["maintenance"]["work_order"].as_str().unwrap()), "{asset:#}");
    let node = restarted(node).await;
    let client = node.client();
    let codes = json!({ "mode": "overheating", "cause": "ageing", "action": "replaced" });
    client.post(&format!("{order}/complete"), &codes).await.ok();
    assert_eq!(client.get("/api/v1/assets/press").await.ok()["maintenance"], Value::Null);
    // What was repaired is verified later, and that survives as well: a new baseline begins.
    client.post(&format!("{order}/verify"), &json!({ "reason": "runs cool" })).await.ok();
    let node = restarted(node).await;
    let client = node.client();
    assert_eq!(client.get(&order).await.ok()["state"], "verified");
    client.until_idle().await.unwrap();
    let sensor = &client.get("/api/v1/assets/press").await.ok()["sensors"][0];
    assert_eq!((&sensor["baseline_readings"], &sensor["readiness"]["trusted"]), (&json!(0), &json!(false)));
    assert!(sensor["baseline_at"].is_string(), "{sensor:#}");
    // Once it has learnt again what is normal, the same fault is a case again.
    let calm: Vec<Value> = (0..250).map(|minute| reading(now + minutes(90 + minute), 60.0, minute)).collect();
    ingest(client, &calm).await;
    overheat(client, now + minutes(340)).await;
    let again = client.get(&format!("/api/v1/cases/{}", open_case(client, "press").await)).await.ok();
    assert_eq!(again["recurrence_of"], json!(case), "{again:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_out_of_service_ends_by_itself_after_a_restart_and_what_it_held_is_told() {
    let node = TestNode::start().await;
    let client = node.client();
    let now = calm_until_now(client).await;
    let until = TestNode::wall_clock() + SignedDuration::from_secs(8);
    let out = json!({ "reason": "overhaul", "until": until.to_string() });
    client.post("/api/v1/assets/press/maintenance", &out).await.ok();
    // What is measured while it lasts raises no alarm.
    let hot: Vec<Value> =
        (0..30).map(|second| reading(now + SignedDuration::from_millis(8_000 + second), 95.0, second)).collect();
    ingest(client, &hot).await;
    client.until_idle().await.unwrap();
    let node = restarted(node).await;
    let client = node.client();
    let path = "/api/v1/assets/press";
    client.until(path, |asset| asset["maintenance"].is_null().then_some(())).await.unwrap();
    assert!(until <= TestNode::wall_clock(), "it ended too early");
    client.until_idle().await.unwrap();
    assert_eq!(client.get("/api/v1/cases").await.ok(), json!([]));
    let back = told(client, "Back in service: press").await;
    let body = back[0]["body"].as_str().unwrap();
    assert!(body.starts_with("Its time out of service was over. 30 anomalies of that time raised no alarm"), "{body}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_a_case_survives_a_restart_and_says_nothing_of_the_next_one() {
    let node = TestNode::start().await;
    let client = node.client();
    let now = calm_until_now(client).await;
    overheat(client, now).await;
    let case = open_case(client, "press").await;
    let path = format!("/api/v1/cases/{case}");
    client.post(&format!("{path}/acknowledge"), &json!({ "reason": "on my way" })).await.ok();
    let node = restarted(node).await;
    let client = node.client();
    assert_eq!(client.get(&path).await.ok()["acknowledged"]["reason"], "on my way");
    assert_eq!(client.get("/api/v1/cases?open=true&acknowledged=false").await.ok(), json!([]));
    // It ends with the case: what comes after the repair is told anew, and nobody has seen it.
    approve(client).await;
    let order = open_order(client, &case).await;
    client.post(&format!("{order}/start"), &json!({})).await.ok();
    let codes = json!({ "mode": "overheating", "cause": "ageing", "action": "replaced" });
    client.post(&format!("{order}/complete"), &codes).await.ok();
    client.until_idle().await.unwrap();
    let n_opened = told(client, "Case opened again").await.len();
    overheat(client, now + minutes(60)).await;
    let next = client.get(&format!("/api/v1/cases/{}", open_case(client, "press").await)).await.ok();
    assert_eq!((&next["recurrence_of"], &next["acknowledged"]), (&json!(case), &Value::Null), "{next:#}");
    assert!(n_opened < told(client, "Case opened again").await.len());
    assert_eq!(client.get(&path).await.ok()["acknowledged"]["reason"], "on my way", "the record stays");
    node.stop().await;
}
