//! Ten times as much as a node can take.

use super::ledger::{Ledger, Verdict};
use crate::client::Client;
use crate::process::Process;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Readings in a request.
const BATCH: usize = 50;
/// Clients that find out what a node can take; ten times as many overload it.
const CLIENTS: usize = 16;
/// Overload is answered by the limits that are set for it, so they are set to what the peak needs.
const SETTINGS: [(&str, &str); 2] = [
    ("SMART_MAINTENANCE__SERVER__CONNECTIONS_PER_ADDRESS_MAX", "4096"),
    ("SMART_MAINTENANCE__LIMITS__INGEST_REQUESTS_MAX", "32"),
];

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Readings taken per second at the peak.
    pub peak: f64,
    /// Readings taken per second under overload.
    pub goodput: f64,
    /// Requests per second that were sent under overload, over those that are sustained.
    pub offered: f64,
    /// Requests refused, and those of them without `Retry-After`.
    pub refused: (u64, u64),
    /// Answers that are neither taken nor refused, and requests without an answer.
    pub others: u64,
    /// Largest resident set of the node, in bytes.
    pub resident_max: u64,
    /// From the end of the overload to the first request that was taken.
    pub recovered_after: Duration,
    /// The ledger's word.
    pub verdict: Verdict,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    without_retry_after: AtomicU64,
    others: AtomicU64,
}

/// Measures the peak for `seconds`, then sends ten times as much for `seconds`.
///
/// # Errors
///
/// The node does not start, or does not come to rest in the end.
pub async fn run(seconds: u64) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let node = Process::start_with(folder.path(), None, &[], &SETTINGS)?;
    let client = node.client().clone();
    let body: Arc<str> = body().into();
    let phase = Duration::from_secs(seconds);
    let peak = press(&client, &body, CLIENTS, phase.min(Duration::from_secs(20)), None).await;
    let peak_requests = peak.0;
    let resident = Arc::new(AtomicU64::new(0));
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut beside = JoinSet::new();
    beside.spawn(ledger.clone().send(client.clone(), Arc::clone(&stop)));
    let overload = press(&client, &body, CLIENTS * 10, phase, Some((node.id(), Arc::clone(&resident)))).await;
    let ended = Instant::now();
    while !matches!(post(&client, &body).await, Some((200, _))) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let recovered_after = ended.elapsed();
    stop.store(true, Ordering::SeqCst);
    beside.join_all().await;
    let verdict = ledger.compare(&client).await?;
    let counts = overload.1;
    let sent = |counts: &Counts| {
        [&counts.taken, &counts.refused, &counts.others].iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>()
    };
    Ok(Report {
        peak: peak_requests * BATCH as f64,
        goodput: overload.0 * BATCH as f64,
        offered: sent(&counts) as f64 / phase.as_secs_f64() / peak_requests.max(1.0),
        refused: (counts.refused.load(Ordering::SeqCst), counts.without_retry_after.load(Ordering::SeqCst)),
        others: counts.others.load(Ordering::SeqCst),
        resident_max: resident.load(Ordering::SeqCst),
        recovered_after,
        verdict,
    })
}

fn body() -> String {
    let readings: Vec<Value> = (0..BATCH).map(|no| json!({ "sensor_id": format!("s-{no}"), "value": 1.0 })).collect();
    Value::Array(readings).to_string()
}

/// Requests taken per second by `n_clients` that send without a pause.
async fn press(
    client: &Client,
    body: &Arc<str>,
    n_clients: usize,
    phase: Duration,
    watched: Option<(u32, Arc<AtomicU64>)>,
) -> (f64, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let until = Instant::now() + phase;
    let mut clients = JoinSet::new();
    for _ in 0..n_clients {
        let (client, body, counts) = (client.clone(), Arc::clone(body), Arc::clone(&counts));
        clients.spawn(async move {
            while Instant::now() < until {
                match post(&client, &body).await {
                    Some((200, _)) => counts.taken.fetch_add(1, Ordering::SeqCst),
                    Some((429 | 503, told)) => {
                        counts.without_retry_after.fetch_add(u64::from(!told), Ordering::SeqCst);
                        counts.refused.fetch_add(1, Ordering::SeqCst)
                    }
                    _ => counts.others.fetch_add(1, Ordering::SeqCst),
                };
            }
        });
    }
    if let Some((process, most)) = watched {
        while Instant::now() < until {
            most.fetch_max(resident(process).unwrap_or(0), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    clients.join_all().await;
    (counts.taken.load(Ordering::SeqCst) as f64 / phase.as_secs_f64(), counts)
}

/// The status, and whether the answer says when to come back.
async fn post(client: &Client, body: &Arc<str>) -> Option<(u16, bool)> {
    let request = client
        .request(reqwest::Method::POST, "/api/v1/data/ingest/batch")
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = client.try_send(request).await.ok()?;
    Some((answer.status.as_u16(), answer.headers.contains_key("retry-after")))
}

/// Bytes of memory that the process holds.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}
