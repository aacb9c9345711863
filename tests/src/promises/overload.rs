//! Ten times as much as a node can take.
//!
//! The peak is what a node takes from clients that send their next request as soon as they have an answer. Then ten
//! times as many requests a second are sent at fixed times, whatever the answers are, over connections that stay open.
//! The clients share the machine's cores with the node, so they do no more than they must: their requests are made
//! once, and of an answer they read its status and whether it says when to come back.

use super::ledger::{Ledger, Verdict};
use crate::client::Client;
use crate::process::Process;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that find out what a node can take, and those over which it is overloaded.
const CLIENTS: [u32; 2] = [16, 128];
/// Load, as a multiple of the peak.
const TIMES: f64 = 10.0;
/// What a request may use of the limits that are set: what the peak needs, and half as much again.
const REQUESTS_MAX: &str = "24";
/// Most memory that the node may hold, in bytes.
const RESIDENT_MAX: u64 = 400 << 20;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Readings in a request.
    pub batch: usize,
    /// Readings taken per second at the peak.
    pub peak: f64,
    /// Readings taken per second under overload.
    pub goodput: f64,
    /// Requests per second that were sent under overload, over those of the peak.
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

impl Report {
    /// As promised.
    pub fn holds(&self) -> bool {
        0.9 * self.peak <= self.goodput
            && 0.9 * TIMES <= self.offered
            && 0 < self.refused.0
            && self.refused.1 == 0
            && self.others == 0
            && self.resident_max < RESIDENT_MAX
            && self.recovered_after < Duration::from_secs(10)
            && self.verdict.holds()
    }
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    without_retry_after: AtomicU64,
    others: AtomicU64,
}

impl Counts {
    fn all(&self) -> u64 {
        [&self.taken, &self.refused, &self.others].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

/// Measures the peak with requests of `batch` readings for a third of `seconds`, then sends ten times as much for
/// `seconds`.
///
/// # Errors
///
/// The node does not start, or does not come to rest in the end.
pub async fn run(seconds: u64, batch: usize) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let settings = [("SMART_MAINTENANCE__LIMITS__INGEST_REQUESTS_MAX", REQUESTS_MAX)];
    let node = Process::start_with(folder.path(), None, &[], &settings)?;
    let client = node.client().clone();
    let request: Arc<[u8]> = request(&client, batch)?.into();
    let phase = Duration::from_secs(seconds);
    // Once in vain, so that sensors are known and detectors warm.
    press(&client, &request, CLIENTS[0], phase / 6, None, &node).await?;
    let (counts, _) = press(&client, &request, CLIENTS[0], phase / 3, None, &node).await?;
    let peak = counts.taken.load(Ordering::SeqCst) as f64 / (phase / 3).as_secs_f64();
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut beside = JoinSet::new();
    beside.spawn(ledger.clone().send(client.clone(), Arc::clone(&stop)));
    let (counts, resident_max) = press(&client, &request, CLIENTS[1], phase, Some(TIMES * peak), &node).await?;
    let ended = Instant::now();
    let mut probe = Wire::open(&client).await?;
    while probe.send(&request).await?.status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let recovered_after = ended.elapsed();
    stop.store(true, Ordering::SeqCst);
    beside.join_all().await;
    let verdict = ledger.compare(&client).await?;
    Ok(Report {
        batch,
        peak: peak * batch as f64,
        goodput: counts.taken.load(Ordering::SeqCst) as f64 / phase.as_secs_f64() * batch as f64,
        offered: counts.all() as f64 / phase.as_secs_f64() / peak.max(1.0),
        refused: (counts.refused.load(Ordering::SeqCst), counts.without_retry_after.load(Ordering::SeqCst)),
        others: counts.others.load(Ordering::SeqCst),
        resident_max,
        recovered_after,
        verdict,
    })
}

/// A whole request, ready to be sent again and again.
fn request(client: &Client, batch: usize) -> anyhow::Result<Vec<u8>> {
    let reading = |no| json!({ "sensor_id": format!("s-{}", no % 50), "value": 1.0 });
    let body = Value::Array((0..batch).map(reading).collect()).to_string();
    let head = format!(
        "POST /api/v1/data/ingest/batch HTTP/1.1\r\nhost: node\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        client.key().context("a key")?,
        body.len()
    );
    Ok([head.into_bytes(), body.into_bytes()].concat())
}

/// Sends for `phase` over `n_connections`: `per_second` in all at fixed times, or each as soon as it has an answer.
/// Tells what came of it, and the largest resident set of `node`.
async fn press(
    client: &Client,
    request: &Arc<[u8]>,
    n_connections: u32,
    phase: Duration,
    per_second: Option<f64>,
    node: &Process,
) -> anyhow::Result<(Arc<Counts>, u64)> {
    let counts = Arc::new(Counts::default());
    let (began, pause) =
        (Instant::now(), per_second.map(|rate| Duration::from_secs_f64(f64::from(n_connections) / rate)));
    let mut clients = JoinSet::new();
    for no in 0..n_connections {
        let (client, request, counts) = (client.clone(), Arc::clone(request), Arc::clone(&counts));
        clients.spawn(async move {
            let mut wire = Wire::open(&client).await?;
            let mut due = began + pause.unwrap_or_default().mul_f64(f64::from(no) / f64::from(n_connections));
            while began.elapsed() < phase {
                tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
                due += pause.unwrap_or_default();
                let count = match wire.send(&request).await {
                    Ok(Told { status: 200, .. }) => &counts.taken,
                    Ok(Told { status: 429 | 503, retry_after }) => {
                        counts.without_retry_after.fetch_add(u64::from(!retry_after), Ordering::SeqCst);
                        &counts.refused
                    }
                    _ => &counts.others,
                };
                count.fetch_add(1, Ordering::SeqCst);
                if !wire.is_open {
                    wire = Wire::open(&client).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    let mut resident_max = 0;
    while began.elapsed() < phase {
        resident_max = resident_max.max(resident(node.id())?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for ended in clients.join_all().await {
        ended?;
    }
    Ok((counts, resident_max))
}

/// What an answer says.
#[derive(Clone, Copy, Debug)]
struct Told {
    status: u16,
    retry_after: bool,
}

/// A connection over which one request after the other is sent.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_open: bool,
}

impl Wire {
    async fn open(client: &Client) -> anyhow::Result<Self> {
        let address = client.base().strip_prefix("http://").context("plain HTTP")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 65_536], is_open: true })
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<Told> {
        let told = self.exchange(request).await;
        self.is_open &= told.is_ok();
        told
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Told> {
        self.stream.write_all(request).await?;
        let mut n_read = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[n_read..]).await?;
            ensure!(0 < more, "closed without an answer");
            n_read += more;
            let read = &self.buffer[..n_read];
            let Some(n_head) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&read[..n_head])?;
            let field =
                |name: &str| head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name);
            let Some((_, n_body)) = field("content-length") else { bail!("an answer without a length: {head}") };
            if n_read < n_head + 4 + n_body.parse::<usize>()? {
                continue;
            }
            self.is_open = field("connection").is_none_or(|(_, value)| value != "close");
            let status = head.get(9..12).context("a status")?.parse()?;
            return Ok(Told { status, retry_after: field("retry-after").is_some() });
        }
    }
}

/// Bytes of memory that the process holds.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}
