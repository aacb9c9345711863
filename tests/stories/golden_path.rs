//! `/api/v1/demo/golden-path`: seven stages, each done by its agent.

use serde_json::Value;
use tests::AGENTS;
use tests::client::Client;
use tests::node::TestNode;

const STAGES: [(&str, &str); 7] = [
    ("ingestion", "data_acquisition"),
    ("processing", "anomaly_detection"),
    ("anomaly_detection", "anomaly_detection"),
    ("validation", "validation"),
    ("prediction", "prediction"),
    ("human_decision", "human_decision"),
    ("maintenance", "scheduling"),
];

async fn begin(client: &Client, query: &str) -> String {
    let started = client.post(&format!("/api/v1/demo/golden-path{query}"), &serde_json::json!({})).await.ok();
    assert_eq!(started["status"], "started");
    started["status_url"].as_str().unwrap().to_owned()
}

async fn finished(client: &Client, url: &str) -> Value {
    client.until(url, |status| (status["status"] != "running").then(|| status.clone())).await.unwrap()
}

fn assert_complete(status: &Value) {
    assert_eq!(status["status"], "complete", "{status:#}");
    for (stage, agent) in STAGES {
        let step = status["steps"].as_array().unwrap().iter().find(|step| step["name"] == stage);
        let step = step.unwrap_or_else(|| panic!("no stage {stage}: {status:#}"));
        assert_eq!(step["status"], "complete", "{stage}");
        assert_eq!(step["agent"], agent, "{stage}");
        assert!(step["duration_ms"].is_number(), "{stage}: {step}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stage_is_done_by_its_agent_and_policy_approves() {
    let node = TestNode::start().await;
    let url = begin(node.client(), "").await;
    let status = finished(node.client(), &url).await;
    assert_complete(&status);
    let correlation = status["correlation_id"].as_str().unwrap();
    let events = node.client().get(&format!("/api/v1/events?limit=1000&correlation_id={correlation}")).await.ok();
    let types: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    for expected in [
        "readings_accepted",
        "anomaly_detected",
        "case_opened",
        "maintenance_predicted",
        "maintenance_scheduled",
        "log_entry_written",
    ] {
        assert!(types.contains(&expected), "{expected} is missing in {types:?}");
    }
    let approved =
        events["events"].as_array().unwrap().iter().find(|event| event["type"] == "maintenance_approved").unwrap();
    assert_eq!(approved["data"]["by"]["kind"], "policy", "{approved:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_asked_decides() {
    let node = TestNode::start().await;
    let url = begin(node.client(), "?include_decision=true").await;
    let correlation = url.rsplit('/').next().unwrap().to_owned();
    let request = node
        .client()
        .until("/api/v1/decisions/pending", |pending| {
            let question =
                pending.as_array()?.iter().find(|question| question["correlation_id"] == correlation.as_str())?;
            Some(question["id"].as_str()?.to_owned())
        })
        .await
        .unwrap();
    let answer = serde_json::json!({ "request_id": request, "decision": "approved", "operator_id": "anna" });
    assert_eq!(node.client().post("/api/v1/decisions/submit", &answer).await.status, 201);
    let status = finished(node.client(), &url).await;
    assert_complete(&status);
    let events = node.client().get(&format!("/api/v1/events?limit=1000&correlation_id={correlation}")).await.ok();
    let approved =
        events["events"].as_array().unwrap().iter().find(|event| event["type"] == "maintenance_approved").unwrap();
    assert_eq!(approved["data"]["by"], serde_json::json!({ "kind": "person", "name": "anna" }));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_and_the_demo_operator_does_and_says_so() {
    let node = TestNode::start_with(|config| config.with("demo.decision_wait_seconds", 0).unwrap()).await;
    let url = begin(node.client(), "?include_decision=true").await;
    let status = finished(node.client(), &url).await;
    assert_complete(&status);
    let decisions = node.client().get("/api/v1/decisions?operator_id=demo_operator").await.ok();
    assert_eq!(decisions.as_array().unwrap().len(), 1, "{decisions:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_any_one_agent_in_the_middle_does_not_change_the_outcome() {
    let node = TestNode::start().await;
    for agent in AGENTS {
        let url = begin(node.client(), "").await;
        assert!(node.node().runtime().kill(agent).await, "{agent} can be killed");
        let status = finished(node.client(), &url).await;
        assert_complete(&status);
        node.client().until_idle().await.unwrap();
        let correlation = status["correlation_id"].as_str().unwrap();
        let events = node.client().get(&format!("/api/v1/events?limit=1000&correlation_id={correlation}")).await.ok();
        let count =
            |kind: &str| events["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind).count();
        assert_eq!(count("maintenance_scheduled"), 1, "{agent} killed: one repair is booked");
        // A false alarm on the history, which the budget allows now and then, has ended by itself.
        assert_eq!(count("case_opened") - count("case_closed"), 1, "{agent} killed: one case is open: {events:#}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_agent_is_named_when_the_run_times_out() {
    let node = TestNode::start_with(|config| config.with("demo.timeout_seconds", 2).unwrap()).await;
    node.client().post("/api/v1/agents/prediction/pause", &serde_json::json!({})).await.ok();
    let url = begin(node.client(), "").await;
    let status = finished(node.client(), &url).await;
    assert_eq!(status["status"], "failed");
    let errors = status["errors"].to_string();
    assert!(errors.contains("prediction") && errors.contains("paused"), "{errors}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_survives_a_restart() {
    let node = TestNode::start().await;
    let key = node.client().key().unwrap().to_owned();
    let url = begin(node.client(), "").await;
    finished(node.client(), &url).await;
    node.client().until_idle().await.unwrap();
    let before = node.client().get(&url).await.ok();
    let folder = node.stop().await.unwrap();
    let node = TestNode::start_in(folder.path(), Some(&key), |config| config).await;
    let after = node.client().get(&url).await.ok();
    assert_eq!(after["steps"], before["steps"]);
    assert_eq!(after["status"], "complete");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_run_is_not_found_and_bad_numbers_are_named() {
    let node = TestNode::start().await;
    let unknown = node.client().get("/api/v1/demo/golden-path/status/3f8c0a4e-7a4e-4a55-9d1e-0d5f3f3c1b11").await;
    assert_eq!(unknown.status, 404);
    let few = node.client().post("/api/v1/demo/golden-path?sensor_events=4", &serde_json::json!({})).await;
    assert_eq!(few.status, 422);
    assert!(few.detail().contains("query → sensor_events"), "{}", few.detail());
    node.stop().await;
}
