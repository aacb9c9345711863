//! The log: JSON lines on standard output, and one id from a request through every agent that worked on it.

use crate::cases::{calm, ingest};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;
use tempfile::TempDir;
use tests::process::Process;

/// Readings before the fault, more than a sensor needs before it is judged.
const N_CALM: u32 = 600;

/// The agents that a reading is followed through here, from the edge to whoever tells people.
const CHAIN: [&str; 6] =
    ["data_acquisition", "anomaly_detection", "validation", "prediction", "human_decision", "notification"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_request_is_in_the_log_of_every_agent_that_worked_on_it_and_in_each_event() {
    let folder = TempDir::new().unwrap();
    let verbose = [("SMART_MAINTENANCE__LOGGING__LEVEL", "debug")];
    let node = Process::start_with(folder.path(), None, &[], &verbose).unwrap();
    let client = node.client();

    // Given a sensor that hums,
    ingest(client, &calm("press", N_CALM)).await;
    client.until_idle().await.unwrap();

    // when hot readings come, each under an id of its own, until one of them opens a case,
    let mut opened = None;
    for n in 0..60 {
        let id = format!("plant-gateway-{n}");
        let taken_at = 1_767_225_600 + (N_CALM + n) * 60;
        let body = json!({ "sensor_id": "press", "value": 95.0, "timestamp": f64::from(taken_at) });
        let request = client.request(Method::POST, "/api/v1/data/ingest").header("X-Request-ID", &id).json(&body);
        let answer = client.send(request).await;
        assert_eq!(answer.headers["x-request-id"], id);
        assert_eq!(answer.ok()["correlation_id"], id, "the request's id is the correlation id");
        client.until_idle().await.unwrap();
        let events = client.get(&format!("/api/v1/events?correlation_id={id}&limit=1000")).await.ok();
        if events["events"].as_array().unwrap().iter().any(|event| event["type"] == "case_opened") {
            opened = Some((id, events));
            break;
        }
    }
    let (id, events) = opened.expect("a case is opened");

    // then each event that came of that one bears its id,
    let events = events["events"].as_array().unwrap();
    let sources: BTreeSet<&str> = events.iter().map(|event| event["source"].as_str().unwrap()).collect();
    for agent in CHAIN {
        assert!(sources.contains(agent), "{agent} said something: {sources:?}");
    }
    // and so does a line of the log of each agent that said something.
    let log = node.log();
    let of_agents: BTreeSet<&str> = log
        .iter()
        .filter(|line| line["correlation_id"] == id.as_str())
        .filter_map(|line| line["agent"].as_str())
        .collect();
    assert!(sources.is_subset(&of_agents), "events of {sources:?}, log lines of {of_agents:?}");
    assert!(log.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
    let key = client.key().unwrap();
    assert!(log.iter().all(|line| !line.to_string().contains(key)), "the key stands in no line");
}
