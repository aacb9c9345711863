//! Ten times as much as a node can take.
//!
//! The peak is what a node takes from clients that send their next request as soon as they have an answer. It is measured
//! before the overload and after it, each for half as long, because a store that grows takes less. In between, ten times
//! as many requests a second are due at fixed times, whatever the answers are, over connections that stay open. The node
//! lets a connection that comes back sooner than told wait for its next refusal; what is due on it meanwhile is sent as
//! soon as it may.
//!
//! The node has half of the machine's cores for itself and the clients have the other half, all along: else the node
//! would lose to its own clients what they need for sending ten times as much.

use super::ledger::{Ledger, Verdict};
use super::percentile;
use crate::client::Client;
use crate::process::Process;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that find out what a node can take, and those over which it is overloaded.
const CLIENTS: [u32; 2] = [16, 512];
/// Load, as a multiple of the peak.
const TIMES: f64 = 10.0;
/// Requests that the node may have under way: what the peak needs, and half as much again. All clients come from one
/// address.
const SETTINGS: [(&str, &str); 2] = [
    ("SMART_MAINTENANCE__LIMITS__INGEST_REQUESTS_MAX", "24"),
    ("SMART_MAINTENANCE__SERVER__CONNECTIONS_PER_ADDRESS_MAX", "1024"),
];
/// Most memory that the node may hold, in bytes.
const RESIDENT_MAX: u64 = 400 << 20;
/// Parts of a phase whose rates are told.
const PARTS: usize = 6;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Readings in a request.
    pub batch: usize,
    /// Readings taken per second at the peak: before the overload and after it.
    pub peaks: [f64; 2],
    /// Readings taken per second under overload.
    pub goodput: f64,
    /// That, over the mean of the peaks.
    pub share: f64,
    /// Readings taken per second in each sixth of the three phases.
    pub course: [[u64; PARTS]; 3],
    /// Requests that were due under overload, and those that were answered, over those that are taken at the peak.
    pub due: f64,
    /// See `due`.
    pub answered: f64,
    /// Requests refused, and those of them without `Retry-After`.
    pub refused: (u64, u64),
    /// Time within which 99 of 100 requests were taken, and within which 99 of 100 were refused, under overload.
    pub answered_within: (Duration, Duration),
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
        0.9 <= self.share
            && 0 < self.refused.0
            && self.refused.1 == 0
            && self.others == 0
            && self.resident_max < RESIDENT_MAX
            && self.recovered_after < Duration::from_secs(10)
            && self.verdict.holds()
    }
}

/// What came of a phase.
#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    without_retry_after: AtomicU64,
    others: AtomicU64,
    // Leaves: nothing is awaited while they are held.
    taken_within: Mutex<Vec<Duration>>,
    refused_within: Mutex<Vec<Duration>>,
}

impl Counts {
    fn all(&self) -> u64 {
        [&self.taken, &self.refused, &self.others].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

/// A phase that is over.
struct Phase {
    counts: Arc<Counts>,
    /// Requests taken in each part of it.
    parts: [u64; PARTS],
    took: Duration,
    /// Largest resident set of the node, in bytes.
    resident_max: u64,
}

impl Phase {
    /// Requests taken per second.
    fn rate(&self) -> f64 {
        self.counts.taken.load(Ordering::SeqCst) as f64 / self.took.as_secs_f64()
    }

    /// Readings taken per second in each part, in requests of `batch`.
    fn course(&self, batch: usize) -> [u64; PARTS] {
        let part = self.took.as_secs_f64() / PARTS as f64;
        self.parts.map(|taken| (taken as f64 * batch as f64 / part).round() as u64)
    }
}

/// Measures the peak with requests of `batch` readings, sends ten times as much for `seconds`, and measures the peak
/// once more. Confines the whole calling process to the clients' cores.
///
/// # Errors
///
/// The machine has but one core, the node does not start, or does not come to rest in the end.
pub async fn run(seconds: u64, batch: usize) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let n_cores = std::thread::available_parallelism()?.get();
    ensure!(2 <= n_cores, "node and clients need a core each");
    let node = Process::start_on(&format!("0-{}", n_cores / 2 - 1), folder.path(), &SETTINGS)?;
    confine(&format!("{}-{}", n_cores / 2, n_cores - 1))?;
    let client = node.client().clone();
    let request: Arc<[u8]> = request(&client, batch)?.into();
    let phase = Duration::from_secs(seconds);
    // Once in vain, so that sensors are known and detectors warm.
    press(&client, &request, CLIENTS[0], phase / 6, None, &node).await?;
    let before = press(&client, &request, CLIENTS[0], phase / 2, None, &node).await?;
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut beside = JoinSet::new();
    beside.spawn(ledger.clone().send(client.clone(), Arc::clone(&stop)));
    let over = press(&client, &request, CLIENTS[1], phase, Some(TIMES * before.rate()), &node).await?;
    let ended = Instant::now();
    let mut probe = Wire::open(&client).await?;
    while probe.send(&request).await?.status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let recovered_after = ended.elapsed();
    let after = press(&client, &request, CLIENTS[0], phase / 2, None, &node).await?;
    stop.store(true, Ordering::SeqCst);
    beside.join_all().await;
    let verdict = ledger.compare(&client).await?;
    let peak = (before.rate() + after.rate()) / 2.0;
    let within =
        |times: &Mutex<Vec<Duration>>| percentile(&mut times.lock().unwrap_or_else(PoisonError::into_inner), 0.99);
    let counts = &over.counts;
    Ok(Report {
        batch,
        peaks: [&before, &after].map(|phase| phase.rate() * batch as f64),
        goodput: over.rate() * batch as f64,
        share: over.rate() / peak.max(1.0),
        course: [&before, &over, &after].map(|phase| phase.course(batch)),
        due: TIMES,
        answered: counts.all() as f64 / over.took.as_secs_f64() / before.rate().max(1.0),
        refused: (counts.refused.load(Ordering::SeqCst), counts.without_retry_after.load(Ordering::SeqCst)),
        answered_within: (within(&counts.taken_within), within(&counts.refused_within)),
        others: counts.others.load(Ordering::SeqCst),
        resident_max: [&before, &over, &after].iter().map(|phase| phase.resident_max).max().unwrap_or_default(),
        recovered_after,
        verdict,
    })
}

/// Keeps this process, with all its threads, on these of the machine's cores.
fn confine(cores: &str) -> anyhow::Result<()> {
    let confined = Command::new("taskset")
        .args(["--all-tasks", "--pid", "--cpu-list", cores, &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status()
        .context("taskset is missing: install util-linux")?;
    ensure!(confined.success(), "the clients cannot be confined to cores {cores}");
    Ok(())
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
async fn press(
    client: &Client,
    request: &Arc<[u8]>,
    n_connections: u32,
    phase: Duration,
    per_second: Option<f64>,
    node: &Process,
) -> anyhow::Result<Phase> {
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
                let sent = Instant::now();
                let answer = wire.send(&request).await;
                let within = |times: &Mutex<Vec<Duration>>| {
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(sent.elapsed());
                };
                let count = match answer {
                    Ok(Told { status: 200, .. }) => {
                        within(&counts.taken_within);
                        &counts.taken
                    }
                    Ok(Told { status: 429 | 503, retry_after }) => {
                        within(&counts.refused_within);
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
    let (mut resident_max, mut ends) = (0, [0; PARTS]);
    for (no, end) in (1..).zip(&mut ends) {
        while began.elapsed() < phase.mul_f64(f64::from(no) / PARTS as f64) {
            resident_max = resident_max.max(resident(node.id())?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        *end = counts.taken.load(Ordering::SeqCst);
    }
    for ended in clients.join_all().await {
        ended?;
    }
    let took = began.elapsed();
    let mut parts = ends;
    for idx in 1..PARTS {
        parts[idx] = ends[idx] - ends[idx - 1];
    }
    Ok(Phase { counts, parts, took, resident_max })
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
