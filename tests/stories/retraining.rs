//! From drift to a new version: a sensor that moves to a new normal gets a detector that knows it.

use super::cases::ingest;
use serde_json::{Value, json};
use tests::client::Client;
use tests::node::TestNode;

const SENSOR: &str = "press";
/// The detector's name, as it stands in a path.
const DETECTOR: &str = "stream_detector%2Fpress";
const HALF_HOUR: u32 = 30 * 60;
const DAY: u32 = 48;

fn noise(at: u32) -> f64 {
    f64::from((at * 7_919) % 101) / 101.0 - 0.5
}

/// A reading each half hour from the one numbered `from`, whose level goes evenly from one value to another.
fn moving(from: u32, n: u32, levels: (f64, f64)) -> Vec<Value> {
    let level = |step: u32| levels.0 + (levels.1 - levels.0) * f64::from(step) / f64::from(n);
    let reading = |step: u32| {
        let at = from + step;
        json!({
            "sensor_id": SENSOR, "sensor_type": "temperature", "unit": "celsius", "value": level(step) + noise(at),
            "timestamp": f64::from(1_767_225_600 + at * HALF_HOUR),
        })
    };
    (0..n).map(reading).collect()
}

/// Sends days one after the other, each when the one before has been dealt with; gives how many readings there were
/// when version `wanted` was put in use.
async fn live_until(client: &Client, readings: &[Value], wanted: &str) -> usize {
    for (day, own) in readings.chunks(DAY as usize).enumerate() {
        ingest(client, own).await;
        client.until_idle().await.unwrap();
        let live = client.get(&format!("/api/v1/ml/models/{DETECTOR}/live")).await;
        if live.status.is_success() && live.body["version"] == wanted {
            return (day + 1) * DAY as usize;
        }
    }
    let models = client.get(&format!("/api/v1/ml/models/{DETECTOR}/versions")).await;
    let cases = client.get("/api/v1/cases").await;
    panic!("version {wanted} was never put in use: {} {}", models.body, cases.body);
}

async fn events(client: &Client, kind: &str) -> Vec<Value> {
    client.get(&format!("/api/v1/events?type={kind}&limit=100")).await.ok()["events"].as_array().unwrap().clone()
}

/// A node on which a new regime may follow the last one at once.
async fn without_cooldowns() -> TestNode {
    TestNode::start_with(|config| {
        let none = |config: config::Config, key: &str| config.with(key, 0).expect("a setting");
        let config = none(config, "agents.drift.cooldown_hours");
        none(config, "agents.retraining.cooldown_hours")
    })
    .await
}

async fn live(client: &Client, at: Option<&Value>) -> Value {
    let at = at.map_or(String::new(), |at| format!("?at={}", at.as_str().unwrap().replace('+', "%2B")));
    client.get(&format!("/api/v1/ml/models/{DETECTOR}/live{at}")).await.ok()
}

/// The version that judges a reading of that value, and how many anomalies it finds in it.
async fn judged(client: &Client, value: f64) -> (Value, Value) {
    let reading = json!({
        "sensor_id": SENSOR, "sensor_type": "temperature", "unit": "celsius", "value": value,
        "timestamp": f64::from(1_767_225_600 + 29 * DAY * HALF_HOUR),
    });
    let body = json!({ "model_name": "stream_detector/press", "sensor_readings": [reading] });
    let said = client.post("/api/v1/ml/detect_anomaly", &body).await.ok();
    (said["model_info"]["model_version"].clone(), said["anomaly_count"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_drifts_gets_a_version_that_proved_itself_and_a_person_can_take_it_back() {
    let node = without_cooldowns().await;
    let client = node.client();
    // Given two weeks of calm, after which the level creeps up,
    ingest(client, &moving(0, 14 * DAY, (60.0, 60.0))).await;
    client.until_idle().await.unwrap();
    live_until(client, &moving(14 * DAY, 14 * DAY, (60.0, 62.0)), "2").await;
    // then one challenger, fitted after the first days of it, was no better than what the detector learns by itself; the
    // next was fitted to a whole week of it, watched beside the old detector on readings that came afterwards, and put in use.
    assert!(!events(client, "drift_detected").await.is_empty());
    let second = live(client, None).await;
    assert!(second["reason"].as_str().unwrap().contains("200 live readings, in the shadow"), "{second}");
    assert_eq!(second["chosen_by"], "retraining");
    // What is judged next names the new version, for which the new level is normal.
    assert_eq!(judged(client, 61.0).await, (json!("2"), json!(0)));
    // Until it was put in use, what the detector had learnt by itself answered.
    let versions = client.get(&format!("/api/v1/ml/models/{DETECTOR}/versions")).await.ok();
    let told: Vec<_> =
        versions["versions"].as_array().unwrap().iter().map(|one| (&one["version"], &one["alias"])).collect();
    assert_eq!(told.last().unwrap().0, "0", "{versions}");
    assert!(told.contains(&(&json!("2"), &json!("champion"))), "{versions}");
    let first = &events(client, "model_trained").await[0];
    assert_eq!(live(client, Some(&first["at"])).await["version"], "0");

    // When a person takes it back in one step,
    let path = format!("/api/v1/ml/models/{DETECTOR}/rollback");
    let back = client.post(&path, &json!({ "reason": "the fan was off" })).await.ok();
    client.until_idle().await.unwrap();
    // then the old one answers, for which the new level is none;
    assert_eq!((&back["version"], &back["reason"]), (&json!("0"), &json!("the fan was off")));
    assert_eq!(judged(client, 62.0).await, (json!("0"), json!(1)));
    // who did it and when stands in the log;
    let events = events(client, "model_promoted").await;
    let event = events.iter().find(|event| event["data"]["by"] == back["chosen_by"]).expect("a person's event");
    assert_eq!(event["data"]["reason"], "the fan was off");
    // and each moment names its own version.
    let now = live(client, None).await;
    assert_eq!((&now["version"], &now["chosen_by"]), (&json!("0"), &back["chosen_by"]));
    assert_eq!(live(client, Some(&second["since"])).await["version"], "2");
    assert_eq!(live(client, Some(&event["at"])).await["version"], "0");
    node.stop().await;
}
