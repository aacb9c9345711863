//! `replay`: sends a CSV file as readings to a running node, through its ordinary batch ingestion.
//!
//! Each batch carries a key made of its content, so that a replay that broke off can simply be run again.

mod table;

use super::{Exit, output};
use anyhow::{Context as _, bail, ensure};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Seek as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use table::{Cell, Table, Wishes};

/// Longest time without any success before a replay is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Wait before a request is repeated when the node does not say how long.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest header line that is looked at for its separator.
const HEADER_BYTES_MAX: u64 = 65_536;

/// A file and how it is to be understood.
///
/// A column called timestamp, datetime, time or date tells the time (UTC, where it names no zone); each column of
/// numbers is a sensor called ASSET.COLUMN. A single column called value is a sensor named after the file. A column of
/// numbers is one in which more than half of the values in the first 200 rows are numbers; cells without one are left
/// out. What is left out is named and counted.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The file.
    file: PathBuf,
    /// Where the node listens.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Key with the scope data:ingest. [default: the secret API_KEY]
    #[arg(long)]
    api_key: Option<String>,
    /// Name of the sensor, if the file has one. [default: the file's name]
    #[arg(long)]
    sensor: Option<String>,
    /// Name of the machine that the sensors sit on. [default: the file's name, if it has several sensors]
    #[arg(long)]
    asset: Option<String>,
    /// The column that tells the time.
    #[arg(long)]
    time_column: Option<String>,
    /// What separates columns: a comma, a semicolon or a tab. [default: found out]
    #[arg(long)]
    separator: Option<char>,
    /// Take these columns only.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Leave these columns out: labels, for example.
    #[arg(long, value_delimiter = ',')]
    exclude: Vec<String>,
    /// Readings sent at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
}

impl Args {
    fn wishes(&self) -> anyhow::Result<Wishes> {
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).context("the file has no name")?;
        Ok(Wishes {
            stem: stem.to_owned(),
            sensor: self.sensor.clone(),
            asset: self.asset.clone(),
            time_column: self.time_column.clone(),
            columns: self.columns.clone(),
            exclude: self.exclude.clone(),
        })
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let path = args.file.display();
    let mut file = File::open(&args.file).with_context(|| format!("cannot open {path}"))?;
    let n_bytes = file.metadata()?.len();
    let separator = match args.separator {
        Some(separator) => u8::try_from(separator).context("a separator is a comma, a semicolon or a tab")?,
        None => separator_of(&mut file)?,
    };
    let mut table = Table::open(file, separator, &args.wishes()?).with_context(|| format!("cannot replay {path}"))?;
    let mut sender = Sender::new(&args, table.layout.columns.len())?;
    let names: Vec<&str> = table.layout.columns.iter().map(|column| column.sensor.as_str()).collect();
    output::line(format_args!("replaying {path} to {}: {}", args.url, names.join(", ")))?;
    if !table.layout.unused.is_empty() {
        output::line(format_args!("columns left out: {}", table.layout.unused.join(", ")))?;
    }

    let bar = bar(n_bytes);
    let batch = usize::from(args.batch);
    let (mut cells, mut n_rows) = (Vec::new(), 0_u64);
    loop {
        let more = table.next_row(&mut cells)?;
        n_rows += u64::from(more);
        if !more || batch <= cells.len() {
            // The last row may have filled more than one batch.
            let n_ready = if more { cells.len() - cells.len() % batch } else { cells.len() };
            for chunk in cells[..n_ready].chunks(batch) {
                sender.send(&table.layout, chunk).await?;
            }
            cells.drain(..n_ready);
            bar.set_position(table.position());
            bar.set_message(sender.rate());
        }
        if !more {
            break;
        }
    }
    bar.finish_and_clear();
    report(&sender, &table, n_rows)?;
    ensure!(0 < sender.n_accepted + sender.n_repeated, "no reading was accepted");
    Ok(Exit::Done)
}

fn report(sender: &Sender, table: &Table<File>, n_rows: u64) -> io::Result<()> {
    output::line(sender.summary(n_rows, table.layout.columns.len()))?;
    if let Some(problem) = &sender.problem {
        output::line(format_args!("the first refused reading: {problem}"))?;
    }
    let skipped = &table.skipped;
    let n_cells: u64 = skipped.cells.iter().sum();
    if 0 < n_cells + skipped.rows {
        let columns = table.layout.columns.iter().zip(&skipped.cells).filter(|(_, n_cells)| **n_cells != 0);
        let columns: Vec<String> = columns.map(|(column, n_cells)| format!("{n_cells} of {}", column.sensor)).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let example = skipped.example.as_ref().map(|example| format!(" ({example})")).unwrap_or_default();
        output::line(format_args!(
            "left out: {n_cells} cells without a number{columns}, {} rows without a time{example}",
            skipped.rows
        ))?;
    }
    Ok(())
}

fn separator_of(file: &mut File) -> anyhow::Result<u8> {
    let mut header = Vec::new();
    BufReader::new(file.by_ref().take(HEADER_BYTES_MAX)).read_until(b'\n', &mut header)?;
    file.rewind()?;
    Ok(table::separator(&String::from_utf8_lossy(&header)))
}

/// A bar over the bytes of the file; none where nobody would see it.
fn bar(n_bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left").expect("the template is right");
    ProgressBar::new(n_bytes).with_style(style)
}

/// What the node says of a batch.
#[derive(Debug, Default, Deserialize)]
struct Verdict {
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    rejected: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
}

/// A reading that was refused.
#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// Sends batches and counts what became of them.
struct Sender {
    client: Client,
    url: String,
    api_key: Option<String>,
    /// Sensors whose asset the node knows.
    known: Vec<bool>,
    n_batches: u64,
    n_accepted: u64,
    n_rejected: u64,
    n_repeated: u64,
    problem: Option<String>,
    started: Instant,
}

impl Sender {
    fn new(args: &Args, n_sensors: usize) -> anyhow::Result<Self> {
        let api_key = match &args.api_key {
            Some(key) => Some(key.clone()),
            None => config::secret("API_KEY")?,
        };
        Ok(Self {
            client: Client::builder().timeout(REQUEST_TIMEOUT).build()?,
            url: format!("{}/api/v1/data/ingest/batch", args.url.trim_end_matches('/')),
            api_key,
            known: vec![false; n_sensors],
            n_batches: 0,
            n_accepted: 0,
            n_rejected: 0,
            n_repeated: 0,
            problem: None,
            started: Instant::now(),
        })
    }

    /// Sends `cells` until the node has answered for good.
    async fn send(&mut self, layout: &table::Layout, cells: &[Cell]) -> anyhow::Result<()> {
        let body = table::ndjson(layout, cells, &self.known)?;
        // Equal batches at two places of a file are two batches.
        let key = Sha256::new().chain_update(self.n_batches.to_le_bytes()).chain_update(&body).finalize();
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let verdict = self.deliver(&key, &body).await?;
        self.n_batches += 1;
        if verdict.duplicate {
            self.n_repeated += verdict.accepted;
        } else {
            self.n_accepted += verdict.accepted;
        }
        let n_rejected = verdict.rejected.max(verdict.items.len() as u64);
        self.n_rejected += n_rejected;
        if let Some(item) = verdict.items.first() {
            let told = [item.field.clone(), item.detail.clone()].into_iter().flatten().collect::<Vec<_>>();
            self.problem.get_or_insert_with(|| told.join(": "));
        }
        if n_rejected == 0 {
            cells.iter().for_each(|cell| self.known[cell.column] = true);
        }
        Ok(())
    }

    async fn deliver(&self, key: &str, body: &[u8]) -> anyhow::Result<Verdict> {
        let patient_until = Instant::now() + PATIENCE;
        loop {
            let mut request = self
                .client
                .post(&self.url)
                .header(CONTENT_TYPE, "application/x-ndjson")
                .header("idempotency-key", key)
                .body(body.to_vec());
            if let Some(api_key) = &self.api_key {
                request = request.header("x-api-key", api_key);
            }
            let (wait, why) = match request.send().await {
                Ok(response) if response.status().is_success() => {
                    return response.json().await.context("the node's answer is not understood");
                }
                Ok(response) => match retry_wait(&response) {
                    Some(wait) => (wait, format!("the node answers {}", response.status())),
                    None => return refused(response).await,
                },
                Err(error) => (RETRY_WAIT, format!("{:#}", anyhow::Error::from(error))),
            };
            if patient_until < Instant::now() + wait {
                bail!("given up after {} s: {why}", PATIENCE.as_secs());
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn rate(&self) -> String {
        let n_readings = self.n_accepted + self.n_rejected + self.n_repeated;
        let rate = n_readings as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        format!("{n_readings} readings, {rate:.0}/s")
    }

    fn summary(&self, n_rows: u64, n_sensors: usize) -> String {
        format!(
            "{} from {n_rows} rows, {n_sensors} sensors, in {:.1} s: {} accepted, {} refused, {} were there already",
            self.rate(),
            self.started.elapsed().as_secs_f64(),
            self.n_accepted,
            self.n_rejected,
            self.n_repeated,
        )
    }
}

/// How long to wait before the request is repeated; `None` when that would not help.
fn retry_wait(response: &Response) -> Option<Duration> {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
            let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Some(told.map_or(RETRY_WAIT, Duration::from_secs))
        }
        _ => None,
    }
}

/// A batch of which nothing was accepted is a verdict too; anything else ends the replay.
async fn refused(response: Response) -> anyhow::Result<Verdict> {
    let status = response.status();
    let verdict: Verdict = response.json().await.unwrap_or_default();
    let detail = verdict.detail.as_deref().unwrap_or("no reason given");
    match status {
        StatusCode::UNPROCESSABLE_ENTITY if !verdict.items.is_empty() => Ok(verdict),
        StatusCode::FORBIDDEN => bail!("{detail} (give a key with --api-key)"),
        StatusCode::PAYLOAD_TOO_LARGE => bail!("{detail} (choose a smaller --batch)"),
        _ => bail!("the node answers {status}: {detail}"),
    }
}
