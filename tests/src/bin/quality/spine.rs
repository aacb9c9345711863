//! Replays labelled histories through the HTTP ingestion of a fresh node and holds its cases against the labels.
//!
//! What counts: a case covers a labelled window when its evidence overlaps it. The room and every file of the water
//! circuit's first valve are asked for; its other disturbances, and its hours without any, are shown beside them.

use crate::report::{Report, say};
use anyhow::{Context, ensure};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::process::{Process, program};

/// Cases that may lie outside every labelled window of the room's history.
const OUTSIDE_MAX: usize = 6;
/// Readings a second that a replay must reach.
const RATE_MIN: f64 = 5_000.0;

/// One history with what is known about it.
struct History {
    file: PathBuf,
    asset: String,
    arguments: Vec<String>,
    windows: Vec<(Timestamp, Timestamp)>,
    asked: Asked,
}

/// What its cases must be like.
enum Asked {
    /// A window covered, and at most [`OUTSIDE_MAX`] cases elsewhere.
    FewOutside,
    /// Every window covered, and no case before the first.
    NoneBefore,
    /// They are shown.
    Nothing,
}

struct Case {
    id: String,
    asset: String,
    failure_mode: String,
    first: Timestamp,
    last: Timestamp,
}

/// Replays the room's history and those of the water circuit, and says what became of them.
///
/// # Errors
///
/// A file is missing, or the node fails.
pub(crate) async fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut histories = vec![ambient(data)?];
    for part in ["valve1", "other", "anomaly-free"] {
        for file in files(&data.join("skab").join(part))? {
            histories.push(skab(file, part)?);
        }
    }

    let folder = tempfile::tempdir()?;
    let node = Process::start(folder.path(), None, &[])?;
    let client = node.client();
    let mut readings = 0;
    let mut elapsed = Duration::ZERO;
    for history in &histories {
        let (count, took) = replay(history, client)?;
        readings += count;
        elapsed += took;
    }
    let began = Instant::now();
    client.until_idle().await?;
    let rate = readings as f64 / elapsed.as_secs_f64();
    say(&format!(
        "{readings} readings in {:.2} s: {rate:.0} readings/s acknowledged; all agents done {:.2} s later",
        elapsed.as_secs_f64(),
        began.elapsed().as_secs_f64()
    ))?;
    if rate < RATE_MIN {
        report.shortfall(format!("{rate:.0} readings/s, at least {RATE_MIN} are asked for"));
    }

    approve_what_waits(client).await?;
    client.until_idle().await?;
    let cases = cases(client).await?;
    say("history                              cases  windows covered  outside  before onset")?;
    for history in &histories {
        let own: Vec<&Case> = cases.iter().filter(|case| case.asset == history.asset).collect();
        let covers = |case: &Case, (from, to): &(Timestamp, Timestamp)| case.first <= *to && *from <= case.last;
        let covered = history.windows.iter().filter(|window| own.iter().any(|case| covers(case, window))).count();
        let outside = own.iter().filter(|case| !history.windows.iter().any(|window| covers(case, window))).count();
        let onset = history.windows.iter().map(|(from, _)| *from).min().unwrap_or(Timestamp::MAX);
        let early: Vec<&&Case> = own.iter().filter(|case| case.first < onset).collect();
        say(&format!(
            "{:<36} {:>5} {:>12}/{:<3} {:>8} {:>13}",
            history.asset,
            own.len(),
            covered,
            history.windows.len(),
            outside,
            early.len()
        ))?;
        for case in &early {
            say(&format!("    {} from {} to {}", case.failure_mode, case.first, case.last))?;
        }
        match history.asked {
            Asked::Nothing => (),
            Asked::FewOutside => {
                if covered == 0 {
                    report.shortfall(format!("{}: no labelled window is covered by a case", history.asset));
                }
                if OUTSIDE_MAX < outside {
                    let asset = &history.asset;
                    report.shortfall(format!("{asset}: {outside} cases outside, at most {OUTSIDE_MAX} may be"));
                }
            }
            Asked::NoneBefore => {
                if covered < history.windows.len() {
                    report.shortfall(format!("{}: no case covers the disturbance", history.asset));
                }
                if !early.is_empty() {
                    report.shortfall(format!("{}: {} cases before the disturbance", history.asset, early.len()));
                }
            }
        }
    }

    let events = consequences(client, &cases).await?;
    say(&format!(
        "what came of it: {} predictions, {} decisions, {} work orders",
        events.predictions, events.decisions, events.work_orders
    ))?;
    if events.predictions == 0 || events.decisions == 0 || events.work_orders == 0 {
        report.shortfall("at least one prediction, one decision and one work order must come of it".to_owned());
    }
    Ok(())
}

/// A room whose cooling fails twice.
fn ambient(data: &Path) -> anyhow::Result<History> {
    const NAME: &str = "realKnownCause/ambient_temperature_system_failure.csv";
    let file = existing(data.join("nab/data").join(NAME))?;
    let labels: Value = serde_json::from_str(&std::fs::read_to_string(existing(data.join("nab/windows.json"))?)?)?;
    let windows = labels[NAME].as_array().context("the labels name the history")?;
    let windows = windows
        .iter()
        .map(|window| Ok((utc(window[0].as_str().context("a time")?)?, utc(window[1].as_str().context("a time")?)?)))
        .collect::<anyhow::Result<_>>()?;
    let asset = "ambient_temperature_system_failure".to_owned();
    Ok(History { file, asset, arguments: Vec::new(), windows, asked: Asked::FewOutside })
}

/// The recordings in a folder, in order of their names.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}: no such folder", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    ensure!(!files.is_empty(), "{}: no recordings", folder.display());
    files.sort_by_key(|file| (file.as_os_str().len(), file.clone()));
    Ok(files)
}

/// A water circuit with eight sensors, disturbed once or not at all.
fn skab(file: PathBuf, part: &str) -> anyhow::Result<History> {
    let mut rows = csv::ReaderBuilder::new().delimiter(b';').from_path(&file)?;
    let header = rows.headers()?.clone();
    let column = |name: &str| header.iter().position(|found| found == name);
    let time = column("datetime").with_context(|| format!("{}: no column datetime", file.display()))?;
    let mut disturbed = Vec::new();
    if let Some(anomaly) = column("anomaly") {
        for row in rows.records() {
            let row = row?;
            if row[anomaly].parse::<f64>()? == 1.0 {
                disturbed.push(utc(&row[time])?);
            }
        }
    }
    let windows: Vec<_> = disturbed.first().copied().zip(disturbed.last().copied()).into_iter().collect();
    let mut arguments = ["--separator", ";"].map(str::to_owned).to_vec();
    if !windows.is_empty() {
        arguments.extend(["--exclude", "anomaly,changepoint"].map(str::to_owned));
    }
    let asked = if part == "valve1" { Asked::NoneBefore } else { Asked::Nothing };
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    Ok(History { asset: format!("{part}-{name}"), file, arguments, windows, asked })
}

fn existing(path: PathBuf) -> anyhow::Result<PathBuf> {
    ensure!(path.is_file(), "{}: no such file", path.display());
    Ok(path)
}

fn utc(text: &str) -> anyhow::Result<Timestamp> {
    let time: DateTime = text.replace(' ', "T").parse().with_context(|| format!("{text}: not a time"))?;
    Ok(time.to_zoned(TimeZone::UTC)?.timestamp())
}

/// Sends a history through the program's own `replay`; gives readings and time.
fn replay(history: &History, client: &Client) -> anyhow::Result<(u64, Duration)> {
    let key = client.key().context("the node gave a key")?;
    let began = Instant::now();
    let output = Command::new(program()?)
        .arg("replay")
        .arg(&history.file)
        .args(["--url", client.base(), "--api-key", key, "--asset", &history.asset])
        .args(&history.arguments)
        .output()?;
    let took = began.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let file = history.file.display();
    ensure!(output.status.success(), "replay of {file}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let summary = text.lines().last().context("replay ends with a summary")?;
    let mut words = summary.split_whitespace().rev();
    let accepted = words.by_ref().find(|word| word.starts_with("accepted")).and_then(|_| words.next());
    let readings = accepted.and_then(|count| count.parse().ok()).with_context(|| format!("no count in {summary:?}"))?;
    Ok((readings, took))
}

/// Answers every open question as an operator would who trusts the prognosis.
async fn approve_what_waits(client: &Client) -> anyhow::Result<()> {
    let pending = client.get("/api/v1/decisions/pending").await.ok();
    for question in pending.as_array().context("a list of questions")? {
        let answer = serde_json::json!({
            "request_id": question["id"],
            "decision": "approve",
            "operator_id": "quality",
        });
        client.post("/api/v1/decisions/submit", &answer).await.ok();
    }
    Ok(())
}

/// Every case, newest first, page by page.
async fn cases(client: &Client) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut next = Some("/api/v1/cases?limit=100".to_owned());
    while let Some(path) = next {
        let page = client.get(&path).await;
        let link = page.headers.get("link").and_then(|link| link.to_str().ok());
        next = link.and_then(|link| link.split_once('<')?.1.split_once('>').map(|(path, _)| path.to_owned()));
        for case in page.ok().as_array().context("a list of cases")? {
            let text = |field: &str| case[field].as_str().with_context(|| format!("no {field} in {case}"));
            cases.push(Case {
                id: text("id")?.to_owned(),
                asset: text("asset")?.to_owned(),
                failure_mode: text("failure_mode")?.to_owned(),
                first: text("first_evidence_at")?.parse()?,
                last: text("last_evidence_at")?.parse()?,
            });
        }
    }
    Ok(cases)
}

struct Consequences {
    predictions: usize,
    decisions: usize,
    work_orders: usize,
}

async fn consequences(client: &Client, cases: &[Case]) -> anyhow::Result<Consequences> {
    let mut found = Consequences { predictions: 0, decisions: 0, work_orders: 0 };
    for case in cases {
        let trace = client.get(&format!("/api/v1/cases/{}", case.id)).await.ok();
        let count = |part: &str, kind: &str| {
            let steps = trace[part].as_array().into_iter().flatten();
            steps.filter(|step| step["type"] == kind).count()
        };
        found.predictions += count("predictions", "maintenance_predicted");
        found.decisions += count("decisions", "maintenance_approved");
        found.work_orders += count("work_orders", "maintenance_scheduled");
    }
    Ok(found)
}
