//! `/api/v1/maintenance`, `/api/v1/decisions`, `/api/v1/reports`: asked for, decided, booked, written down, counted.

use runtime::Clock;
use serde_json::{Value, json};
use tests::node::TestNode;

/// What a caller asks for outright.
pub(crate) fn wish(sensor: &str) -> Value {
    json!({
        "sensor_id": sensor,
        "equipment_id": sensor,
        "predicted_failure_date": "2031-01-01T00:00:00Z",
        "time_to_failure_days": 12.5,
        "correlation_id": format!("wish-{sensor}"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_its_callers_approval_and_is_booked_and_no_slot_is_given_twice() {
    let node = TestNode::start().await;
    let client = node.client();
    let mut slots = Vec::new();
    for sensor in ["a", "b", "c"] {
        let booked = client.post("/api/v1/maintenance/schedule", &wish(sensor)).await.ok();
        assert_eq!(booked["status"], "Scheduled", "{booked:#}");
        assert!(booked["report_summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{booked:#}");
        slots.push((booked["assigned_technician_id"].clone(), booked["scheduled_start_time"].clone()));
    }
    for (idx, slot) in slots.iter().enumerate() {
        assert!(!slots[..idx].contains(slot), "{slot:?} is given twice: {slots:?}");
    }
    let decisions = client.get("/api/v1/decisions?correlation_id=wish-a").await.ok();
    assert_eq!(decisions[0]["decision"], "approved", "{decisions:#}");
    let scheduled = client.get("/api/v1/maintenance/scheduled?correlation_id=wish-b").await.ok();
    assert_eq!(scheduled.as_array().unwrap().len(), 1);
    assert_eq!(scheduled[0]["equipment_id"], "b");
    client.until_idle().await.unwrap();
    let log = client.get("/api/v1/maintenance/log").await.ok();
    assert_eq!(log["entries"].as_array().unwrap().len(), 3, "{log:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_in_free_text_is_kept_as_audit() {
    let node = TestNode::start().await;
    let client = node.client();
    let answer = json!({ "request_id": "unknown", "decision": "let us see", "operator_id": "anna", "correlation_id": "free text" });
    let submitted = client.post("/api/v1/decisions/submit", &answer).await;
    assert_eq!(submitted.status, 201);
    assert_eq!(submitted.body["confidence"], 1.0);
    let kept = client.get("/api/v1/decisions?request_id=unknown").await.ok();
    assert_eq!((&kept[0]["decision"], &kept[0]["operator_id"]), (&json!("let us see"), &json!("anna")));
    assert!(client.get("/api/v1/maintenance/scheduled").await.ok().as_array().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_what_is_stored() {
    let node = TestNode::start().await;
    let client = node.client();
    client.post("/api/v1/maintenance/schedule", &wish("a")).await.ok();
    let report = client.post("/api/v1/reports/generate", &json!({ "report_type": "maintenance_overview" })).await.ok();
    assert!(report["error_message"].is_null(), "{report:#}");
    let content: Value = serde_json::from_str(report["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["total_maintenance_tasks"], 1, "{content:#}");
    assert_eq!(content["completed_tasks"], 0, "{content:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shift_handover_tells_what_happened_and_what_is_open() {
    let node = TestNode::start().await;
    let client = node.client();
    client.post("/api/v1/maintenance/schedule", &wish("a")).await.ok();
    client.post("/api/v1/data/ingest", &json!({ "sensor_id": "press", "value": 1.0 })).await.ok();
    client.post("/api/v1/assets/press/maintenance", &json!({ "reason": "overhaul" })).await.ok();
    let wanted = json!({ "report_type": "shift_handover", "report_id": "late-shift" });
    let report = client.post("/api/v1/reports/generate", &wanted).await.ok();
    assert!(report["error_message"].is_null(), "{report:#}");
    let content: Value = serde_json::from_str(report["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&content["readings"], &content["open_work_orders"], &content["open_cases"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(content["open_work_orders_list"].as_array().unwrap().len(), 1, "{content:#}");
    assert_eq!(content["assets_out_of_service"][0]["maintenance"]["reason"], "overhaul", "{content:#}");
    let from: jiff::Timestamp = content["time_range"]["start"].as_str().unwrap().parse().unwrap();
    let to: jiff::Timestamp = content["time_range"]["end"].as_str().unwrap().parse().unwrap();
    assert_eq!(to.duration_since(from).as_hours(), 8, "one shift, when nobody says");
    // As text it is for people: a line for each thing, without a bracket.
    let wanted = json!({ "report_type": "shift_handover", "format": "text" });
    let text = client.post("/api/v1/reports/generate", &wanted).await.ok();
    let text = text["content"].as_str().unwrap();
    assert!(text.contains("\nOpen cases list: none\n") && text.contains("\nOpen work orders list:\n- a by "), "{text}");
    assert!(text.contains("\nAssets out of service:\n- press: overhaul\n") && !text.contains(['[', '{']), "{text}");
    // It can be read again.
    let kept = client.get("/api/v1/reports/late-shift").await.ok();
    assert_eq!((&kept["state"], &kept["content"]), (&json!("ready"), &report["content"]));
    let made = client.get("/api/v1/reports").await.ok();
    assert!(made.as_array().unwrap().iter().any(|report| report["id"] == "late-shift"), "{made:#}");
    assert_eq!(client.get("/api/v1/reports/none").await.status, 404);
    // Another one does not take its place.
    let other = json!({ "report_type": "system_health", "report_id": "late-shift" });
    let refused = client.post("/api/v1/reports/generate", &other).await;
    assert_eq!(refused.status, 409);
    assert!(refused.detail().starts_with("There is a report called \"late-shift\" already"), "{}", refused.detail());
    assert_eq!(client.get("/api/v1/reports/late-shift").await.ok(), kept);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_shift_ends_its_handover_is_told_to_whoever_hears_of_it() {
    // Given somebody who works from six to two, at noon,
    let clock = Clock::manual("2026-01-05T12:00:00Z".parse().unwrap());
    let node = TestNode::start_at(clock.clone()).await;
    let client = node.client();
    let shift = json!({ "weekdays": [1, 2, 3, 4, 5], "from": "06:00", "to": "14:00" });
    let ana = json!({ "id": "ana", "skills": ["mechanical"], "shifts": [shift] });
    client.post("/api/v1/technicians", &ana).await.ok();
    client.post("/api/v1/maintenance/schedule", &wish("press")).await.ok();
    client.until_idle().await.unwrap();
    // when it is two o'clock,
    clock.set("2026-01-05T14:00:00Z".parse().unwrap());
    // then the operator and the supervisor are told what the next shift takes over.
    let path = "/api/v1/notifications?limit=1000&channel=console";
    let handovers = |list: &Value| -> Option<Vec<Value>> {
        let all = list.as_array()?.iter();
        let is_handover = |message: &&Value| message["subject"] == "Shift handover at Mon 2026-01-05 14:00 UTC";
        let handovers: Vec<Value> = all.filter(is_handover).cloned().collect();
        (!handovers.is_empty()).then_some(handovers)
    };
    client.until(path, handovers).await.unwrap();
    client.until_idle().await.unwrap();
    let told = handovers(&client.get(path).await.ok()).unwrap();
    let mut roles: Vec<&str> = told.iter().map(|message| message["recipient"].as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["maintenance_supervisor", "operator"]);
    let body = told[0]["body"].as_str().unwrap();
    assert!(body.starts_with("From Mon 2026-01-05 06:00 UTC to Mon 2026-01-05 14:00 UTC: "), "{body}");
    assert!(body.contains("\nOpen work orders: 1\n- press by ana at "), "{body}");
    // The report that it names can be read.
    let report = body.rsplit_once("The whole report is ").unwrap().1.trim_end_matches('.');
    let report = client.get(&format!("/api/v1/reports/{report}")).await.ok();
    assert_eq!((&report["report_type"], &report["state"]), (&json!("shift_handover"), &json!("ready")));
    assert_eq!((&report["from"], &report["to"]), (&json!("2026-01-05T06:00:00Z"), &json!("2026-01-05T14:00:00Z")));
    node.stop().await;
}
