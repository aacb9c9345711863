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

/// Which version judges a reading of `value`, and whether it is one too many.
async fn judged(client: &Client, value: f64) -> (String, u64) {
    let reading = json!({ "sensor_id": SENSOR, "sensor_type": "temperature", "unit": "celsius", "value": value });
    let body = json!({ "model_name": format!("stream_detector/{SENSOR}"), "sensor_readings": [reading] });
    let said = client.post("/api/v1/ml/detect_anomaly", &body).await.ok();
    let version = said["model_info"]["model_version"].as_str().unwrap().to_owned();
    (version, said["anomaly_count"].as_u64().unwrap())
}

async fn events(client: &Client, kind: &str) -> usize {
    client.get(&format!("/api/v1/events?type={kind}&limit=100")).await.ok()["events"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_drifts_gets_a_new_version_that_proved_itself_and_can_be_called_back() {
    // A new regime may follow the last one at once.
    let node = TestNode::start_with(|config| {
        let none = |config: config::Config, key: &str| config.with(key, 0).expect("a setting");
        let config = none(config, "agents.drift.cooldown_hours");
        none(config, "agents.retraining.cooldown_hours")
    })
    .await;
    let client = node.client();
    // Given two weeks of calm, after which the level creeps up,
    ingest(client, &moving(0, 14 * DAY, (60.0, 60.0))).await;
    client.until_idle().await.unwrap();
    let creeping = moving(14 * DAY, 70 * DAY, (60.0, 70.0));
    let n_first = live_until(client, &creeping, "1").await;
    // then a challenger was fitted, and watched beside the old detector on readings that came afterwards.
    assert!(1 <= events(client, "drift_detected").await);
    let live = client.get(&format!("/api/v1/ml/models/{DETECTOR}/live")).await.ok();
    assert!(live["reason"].as_str().unwrap().contains("200 live readings, in the shadow"), "{live}");
    // When it creeps on, the next version takes over in the same way,
    let n_second = n_first + live_until(client, &creeping[n_first..], "2").await;
    let second = client.get(&format!("/api/v1/ml/models/{DETECTOR}/live")).await.ok();
    // and the next answer is its own.
    let newest = creeping[n_second - 1]["value"].as_f64().unwrap();
    assert_eq!(judged(client, newest).await, ("2".to_owned(), 0));
    assert_eq!(judged(client, 90.0).await, ("2".to_owned(), 1));
    // One step back, and the old one answers again;
    client.post(&format!("/api/v1/ml/models/{DETECTOR}/rollback"), &json!({ "reason": "a try" })).await.ok();
    client.until_idle().await.unwrap();
    assert_eq!(judged(client, 90.0).await, ("1".to_owned(), 1));
    // and each moment keeps its own version.
    let at = |live: &Value| live["since"].as_str().unwrap().replace('+', "%2B");
    for (live, expected) in [(&live, "1"), (&second, "2")] {
        let then = client.get(&format!("/api/v1/ml/models/{DETECTOR}/live?at={}", at(live))).await.ok();
        assert_eq!(then["version"], expected, "{then}");
    }
    let now = client.get(&format!("/api/v1/ml/models/{DETECTOR}/live")).await.ok();
    assert_eq!((&now["version"], &now["reason"]), (&json!("1"), &json!("a try")));
    node.stop().await;
}
