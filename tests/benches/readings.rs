//! How long a page of readings takes when a million are stored, wherever in the list it lies.
//!
//! `cargo bench -p tests --bench readings`. Ends with an error when a page takes too long.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::node::TestNode;

const READINGS: usize = 1_000_000;
const BATCH: usize = 5_000;
const SENSORS: usize = 1_000;
const REQUESTS: usize = 1_000;
/// Longest time for 99 of 100 pages.
const P99_MAX: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    tokio::runtime::Runtime::new().unwrap().block_on(run())
}

async fn run() -> ExitCode {
    let node = TestNode::start_with(|config| config.with("limits.lag_events_max", 10_000_000).unwrap()).await;
    let client = node.client();
    // Nobody analyses: the pages are measured, not the agents.
    let tree = client.get("/api/v1/agents").await.ok();
    for agent in tree["agents"].as_array().unwrap().iter().filter(|agent| agent["kind"] == "agent") {
        let path = format!("/api/v1/agents/{}/pause", agent["name"].as_str().unwrap());
        client.post(&path, &json!({})).await.ok();
    }
    for first in (0..READINGS).step_by(BATCH) {
        let lines: Vec<String> = (first..first + BATCH).map(line).collect();
        let request = client.request(Method::POST, "/api/v1/data/ingest/batch");
        let request = request.header("content-type", "application/x-ndjson").body(lines.join("\n"));
        assert_eq!(client.send(request).await.ok()["accepted"], BATCH);
    }
    let (mut slow, mut out) = (false, std::io::stdout());
    for depth in [0, 1_000, 100_000, 500_000, 999_000] {
        let path = cursor_at(client, depth).await;
        let (median, p99) = measured(client, &path).await;
        slow |= P99_MAX <= p99;
        let told = format!("readings?limit=100 after {depth:>7} of {READINGS}: median {median:?}, p99 {p99:?}");
        writeln!(out, "{told}").unwrap();
    }
    node.stop().await;
    ExitCode::from(u8::from(slow))
}

fn line(idx: usize) -> String {
    let at = 1_750_000_000.0 + idx as f64 / 10.0;
    format!(r#"{{"sensor_id":"sensor-{}","value":{}.5,"timestamp":{at}}}"#, idx % SENSORS, idx % 97)
}

/// The path of the page that begins after so many readings.
async fn cursor_at(client: &Client, depth: usize) -> String {
    const PAGE: &str = "/api/v1/sensors/readings?limit=100";
    if depth == 0 {
        return PAGE.to_owned();
    }
    let before = client.get(&format!("/api/v1/sensors/readings?limit=1&offset={}", depth - 1)).await;
    let link = before.headers["link"].to_str().unwrap();
    let cursor = link.split(['?', '&', '>']).find_map(|part| part.strip_prefix("after=")).unwrap();
    format!("{PAGE}&after={cursor}")
}

/// Median and 99th percentile of the time for the page at `path`.
async fn measured(client: &Client, path: &str) -> (Duration, Duration) {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        let page = client.get(path).await.ok();
        times.push(began.elapsed());
        assert_eq!(page.as_array().map(Vec::len), Some(100), "{}", page.get(0).unwrap_or(&Value::Null));
    }
    times.sort_unstable();
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}
