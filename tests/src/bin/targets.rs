//! Response times while readings come in at half the rate that the node can take, against the targets.
//!
//! Build the program first: `cargo build --release -p control-plane`.

use anyhow::{Context as _, ensure};
use clap::Parser;
use reqwest::Method;
use serde_json::json;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::process::Process;
use tests::slow::quantile;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Clients that send readings.
const N_SENDERS: u64 = 32;

/// Measures how long answers take under load.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds for which the peak is looked for, and for which answers are timed.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// Clients that wait for answers share one address here, which a node would not let them elsewhere.
const SETTINGS: [(&str, &str); 1] = [("SMART_MAINTENANCE__SERVER__CONNECTIONS_PER_ADDRESS_MAX", "4096")];

/// What is asked, and how much of it must be answered in how many milliseconds.
const TARGETS: [(&str, Method, f64, u64); 8] = [
    ("/health", Method::GET, 0.99, 20),
    ("/api/v1/sensors/readings?limit=100", Method::GET, 0.95, 200),
    ("/api/v1/sensors/sensors", Method::GET, 0.95, 200),
    ("/api/v1/decisions", Method::GET, 0.95, 200),
    ("/api/v1/decisions/submit", Method::POST, 0.95, 200),
    ("/api/v1/maintenance/scheduled", Method::GET, 0.95, 200),
    ("/api/v1/ml/predict", Method::POST, 0.95, 1_500),
    ("/api/v1/ml/check_drift", Method::POST, 0.99, 5_000),
];
/// The target for ingestion, of 95 in 100.
const INGEST_P95: Duration = Duration::from_millis(50);

async fn send(client: &Client, sender: u64, no: u64) -> anyhow::Result<Duration> {
    let body = json!({
        "sensor_id": format!("load-{}", (sender + no) % 100),
        "value": 20.0 + (no % 17) as f64 / 10.0,
        "sensor_type": "temperature",
        "unit": "C",
    });
    let began = Instant::now();
    let answer = client.try_send(client.request(Method::POST, "/api/v1/data/ingest").json(&body)).await?;
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.body);
    Ok(began.elapsed())
}

/// Requests a second that the node takes when each sender sends the next as soon as the last is answered.
async fn peak(client: &Client, during: Duration) -> anyhow::Result<f64> {
    let sent = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..N_SENDERS {
        let (client, sent) = (client.clone(), Arc::clone(&sent));
        senders.spawn(async move {
            let began = Instant::now();
            while began.elapsed() < during {
                send(&client, sender, sent.fetch_add(1, Ordering::Relaxed)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(sent.load(Ordering::Relaxed) as f64 / during.as_secs_f64())
}

/// Sends `rate` requests a second, whether or not the ones before were answered, and times them from when they were
/// due.
async fn load(client: &Client, rate: f64, during: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let mut took = Vec::new();
    let began = Instant::now();
    let mut no = 0;
    while began.elapsed() < during {
        let due = Instant::from(ticks.tick().await);
        let client = client.clone();
        no += 1;
        under_way.spawn(async move { send(&client, no, no).await.map(|_| due.elapsed()) });
        while let Some(ended) = under_way.try_join_next() {
            took.push(ended??);
        }
    }
    while let Some(ended) = under_way.join_next().await {
        took.push(ended??);
    }
    took.sort_unstable();
    Ok(took)
}

/// Asks for `path` again and again; gives how long it took, sorted, or the status that refused it.
async fn probe(
    client: &Client,
    method: Method,
    path: &str,
    during: Duration,
) -> anyhow::Result<Result<Vec<Duration>, u16>> {
    // Members that a route does not know are ignored.
    let body = json!({
        "model_name": "ai4i_classifier_randomforest_baseline",
        "features": {
            "Air_temperature_K": 302.0, "Process_temperature_K": 309.5, "Rotational_speed_rpm": 1300, "Torque_Nm": 55.0,
            "Tool_wear_min": 50,
        },
        "sensor_id": "load-1",
        "request_id": "load",
        "decision": "approved",
        "operator_id": "load",
    });
    if path.ends_with("predict") {
        // The first question trains the model.
        client.try_send(client.request(method.clone(), path).json(&body)).await?;
    }
    // Ten a minute are allowed.
    let pause = Duration::from_millis(if path.ends_with("check_drift") { 6_500 } else { 50 });
    let mut took = Vec::new();
    let began = Instant::now();
    while began.elapsed() < during {
        let mut request = client.request(method.clone(), path);
        if method == Method::POST {
            request = request.json(&body);
        }
        let asked = Instant::now();
        let answer = client.try_send(request).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer.status.as_u16()));
        }
        took.push(asked.elapsed());
        tokio::time::sleep(pause).await;
    }
    took.sort_unstable();
    Ok(Ok(took))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let during = Duration::from_secs(Args::parse().seconds);
    let folder = tempfile::tempdir()?;
    let node = Process::start_with(folder.path(), None, &[], &SETTINGS)?;
    let client = node.client().clone();
    let mut out = std::io::stdout().lock();
    let peak = peak(&client, during).await.context("the node takes readings")?;
    client.until_idle().await?;
    writeln!(out, "peak: {peak:.0} requests/s with one reading each; now {:.0}/s", peak / 2.0)?;
    let mut probes = JoinSet::new();
    for (path, method, share, target) in TARGETS {
        let client = client.clone();
        probes.spawn(async move { (path, share, target, probe(&client, method, path, during).await) });
    }
    let ingest = load(&client, peak / 2.0, during).await?;
    let mut missed = Vec::new();
    let p95 = quantile(&ingest, 0.95);
    writeln!(
        out,
        "ingest: p50 {:.2?}, p95 {p95:.2?} (target {INGEST_P95:?}), p99 {:.2?}",
        quantile(&ingest, 0.5),
        quantile(&ingest, 0.99)
    )?;
    if INGEST_P95 < p95 {
        missed.push("ingest".to_owned());
    }
    while let Some(probed) = probes.join_next().await {
        let (path, share, target, took) = probed?;
        match took? {
            Err(status) => {
                writeln!(out, "{path}: answered {status}, so it was not timed")?;
                missed.push(path.to_owned());
            }
            Ok(took) => {
                let (reached, target) = (quantile(&took, share), Duration::from_millis(target));
                writeln!(
                    out,
                    "{path}: {} answers, p{:.0} {reached:.2?} (target {target:?})",
                    took.len(),
                    share * 100.0
                )?;
                if target < reached {
                    missed.push(path.to_owned());
                }
            }
        }
    }
    ensure!(missed.is_empty(), "targets missed: {}", missed.join(", "));
    Ok(())
}
