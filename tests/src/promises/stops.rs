//! Starts and stops: of a node under load, and of one that holds millions of readings.

use super::chance;
use super::ledger::{Ledger, Verdict};
use crate::client::Client;
use crate::process::Process;
use anyhow::{Context as _, ensure};
use rand::RngExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Readings in a request that fills the store.
const BATCH: u64 = 5_000;
/// Sensors that they are of.
const SENSORS: u64 = 200;
/// Longest time from the start of the process until it is ready.
const START_MAX: Duration = Duration::from_secs(5);
/// Longest time from being told to stop until the process is gone.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What stops under load showed.
#[derive(Clone, Debug)]
pub struct Stops {
    /// The slowest.
    pub stop_max: Duration,
    /// Requests that were half sent when the node was told to stop, and those of them that were answered 200.
    pub under_way: (usize, usize),
    /// The ledger's word.
    pub verdict: Verdict,
}

impl Stops {
    /// As promised.
    pub fn holds(&self) -> bool {
        self.stop_max < STOP_MAX && self.under_way.0 == self.under_way.1 && self.verdict.holds()
    }
}

/// Tells a node `times` times to stop, under load and with a request half sent.
///
/// # Errors
///
/// The node does not do as it should, or ends with a code other than 0.
pub async fn under_load(times: usize, seed: u64) -> anyhow::Result<Stops> {
    let folder = TempDir::new()?;
    let mut chance = chance(seed);
    let ledger = Ledger::default();
    let (mut key, mut stop_max, mut answered): (Option<String>, _, _) = (None, Duration::ZERO, 0);
    for _ in 0..times {
        let node = Process::start(folder.path(), key.as_deref(), &[])?;
        key = node.client().key().map(str::to_owned);
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(100..600))).await;
        let half = Half::send(node.client()).await?;
        let asked = node.ask_to_stop()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        answered += usize::from(half.rest().await? == 200);
        let status = asked.wait(STOP_MAX)?;
        stop_max = stop_max.max(status.1);
        ensure!(status.0.success(), "the node ended with {}", status.0);
        stop.store(true, Ordering::SeqCst);
        senders.join_all().await;
    }
    let node = Process::start(folder.path(), key.as_deref(), &[])?;
    let verdict = ledger.compare(node.client()).await?;
    Ok(Stops { stop_max, under_way: (times, answered), verdict })
}

/// What starts with many readings showed: from the start of the process to its being ready.
#[derive(Clone, Debug)]
pub struct Starts {
    /// Readings that are stored.
    pub readings: u64,
    /// Bytes of the database.
    pub store_bytes: u64,
    /// After an orderly stop.
    pub after_stop: Duration,
    /// After `kill -9` under load.
    pub after_kill: Duration,
    /// How long the orderly stop took.
    pub stop: Duration,
}

impl Starts {
    /// As promised.
    pub fn holds(&self) -> bool {
        self.after_stop <= START_MAX && self.after_kill <= START_MAX && self.stop < STOP_MAX
    }
}

/// Starts a node that holds `n` readings.
///
/// # Errors
///
/// The node does not do as it should.
pub async fn with_readings(n: u64) -> anyhow::Result<Starts> {
    let folder = TempDir::new()?;
    let node = Process::start(folder.path(), None, &[])?;
    let key = node.client().key().map(str::to_owned);
    fill(node.client(), n).await?;
    caught_up(node.client()).await?;
    let (status, stop) = node.ask_to_stop()?.wait(STOP_MAX)?;
    ensure!(status.success(), "the node ended with {status}");
    let (node, after_stop) = ready(&folder, key.as_deref()).await?;
    let (ledger, halt, mut senders) = (Ledger::default(), Arc::new(AtomicBool::new(false)), JoinSet::new());
    senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&halt)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    node.kill()?;
    halt.store(true, Ordering::SeqCst);
    senders.join_all().await;
    let (node, after_kill) = ready(&folder, key.as_deref()).await?;
    let store_bytes = std::fs::metadata(folder.path().join("store.sqlite"))?.len();
    node.kill()?;
    Ok(Starts { readings: n, store_bytes, after_stop, after_kill, stop })
}

async fn ready(folder: &TempDir, key: Option<&str>) -> anyhow::Result<(Process, Duration)> {
    let began = Instant::now();
    let node = Process::start(folder.path(), key, &[])?;
    while node.client().get("/readyz").await.status != 200 {
        ensure!(began.elapsed() < Duration::from_secs(60), "the node does not get ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((node, began.elapsed()))
}

/// Sends `n` calm readings.
async fn fill(client: &Client, n: u64) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        let (client, next) = (client.clone(), Arc::clone(&next));
        senders.spawn(async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::SeqCst);
                if n <= first {
                    return anyhow::Ok(());
                }
                let reading = |no: u64| {
                    let noise = no.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
                    json!({ "sensor_id": format!("s-{}", no % SENSORS), "value": 20.0 + noise as f64 / 1_024.0 })
                };
                let body = Value::Array((first..n.min(first + BATCH)).map(reading).collect());
                loop {
                    let request = client.request(reqwest::Method::POST, "/api/v1/data/ingest/batch").json(&body);
                    match client.try_send(request).await?.status.as_u16() {
                        200 => break,
                        429 | 503 => tokio::time::sleep(Duration::from_millis(200)).await,
                        other => anyhow::bail!("readings are answered {other}"),
                    }
                }
            }
        });
    }
    senders.join_all().await.into_iter().collect()
}

/// Waits until the agents have handled what was sent, which takes them longer than taking it.
async fn caught_up(client: &Client) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let agents = client.get("/api/v1/agents").await.ok();
        let agents = agents["agents"].as_array().context("a list of agents")?;
        if agents.iter().all(|agent| agent["lag"] == 0) {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(3_600), "the agents do not catch up");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A request of which the second half is still to come.
struct Half {
    stream: TcpStream,
    rest: String,
}

impl Half {
    async fn send(client: &Client) -> anyhow::Result<Self> {
        let body = json!({ "sensor_id": "half", "value": 1.0 }).to_string();
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST /api/v1/data/ingest HTTP/1.1\r\nhost: node\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{first}",
            client.key().context("a key")?,
            body.len()
        );
        let mut stream = TcpStream::connect(client.base().strip_prefix("http://").context("plain HTTP")?).await?;
        stream.write_all(head.as_bytes()).await?;
        // The node has begun with it when the stop comes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Self { stream, rest: rest.to_owned() })
    }

    /// Sends the second half; the status of the answer.
    async fn rest(mut self) -> anyhow::Result<u16> {
        self.stream.write_all(self.rest.as_bytes()).await?;
        let mut answer = [0; 12];
        self.stream.read_exact(&mut answer).await?;
        Ok(std::str::from_utf8(&answer[9..])?.parse()?)
    }
}
