//! The detector of single sensors on the Numenta Anomaly Benchmark: one pass, no look-ahead, one threshold.
//!
//! What is scored is the detector's novelty, which speaks at the onset of a change and only then, as the benchmark wants
//! it. A series is read from its first row to its last by a detector that knows nothing of it beforehand, with the
//! settings of the product. The published figures sweep for the best threshold on the series that are scored; what a
//! threshold found on some categories is worth on another one is shown beside it.

mod benchmark;

use crate::report::{Must, Report, say};
use agents::anomaly_detection::Settings;
use analytics::stream::Detector;
use anyhow::{Context, ensure};
use benchmark::{Marked, Profile, Weights};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Start and end of each labelled window, by series.
type Labels = BTreeMap<String, Vec<(f64, f64)>>;

/// One series: seconds since the epoch and values, in the order of the file.
struct Series {
    name: String,
    rows: Vec<(f64, f64)>,
}

/// Scores every series below `data/nab/data`, or below `data/data` when `data` is laid out like `nab` itself.
///
/// With `out`, the scores are written there and the figures held against nothing; labels may then be missing.
///
/// # Errors
///
/// A file is missing or does not hold what it should.
pub(crate) fn run(data: &Path, out: Option<&Path>, report: &mut Report) -> anyhow::Result<()> {
    let folder = if data.join("data").is_dir() { data.to_owned() } else { data.join("nab") };
    let settings: Settings = config::Config::defaults().section("agents.anomaly_detection")?;
    let series = series(&folder)?;
    let mut took = Duration::ZERO;
    let mut largest = 0;
    let mut scores = BTreeMap::new();
    for series in &series {
        let mut detector = Detector::new(0);
        let began = Instant::now();
        let marks: Vec<f64> = series
            .rows
            .iter()
            .map(|(at, value)| detector.observe(&settings.stream, *at, *value, true).novelty)
            .collect();
        took += began.elapsed();
        largest = largest.max(detector.size());
        if let Some(out) = out {
            write(out, &folder, &series.name, &marks)?;
        }
        scores.insert(series.name.as_str(), marks);
    }
    let n_rows: usize = series.iter().map(|series| series.rows.len()).sum();
    let rate = n_rows as f64 / took.as_secs_f64();
    say(&format!("\nNAB: {} series, {n_rows} rows, {rate:.0} readings/s on one core", series.len()))?;
    say(&format!("  the same settings for all: {:?}", settings.stream))?;
    say(&format!("  the largest detector occupies {:.1} KiB; 64 are allowed", largest as f64 / 1_024.0))?;

    let labels_file = folder.join("windows.json");
    if out.is_some() && !labels_file.is_file() {
        return Ok(());
    }
    let labels = labels(&labels_file)?;
    let profiles = Profile::all(&folder.join("profiles.json"))?;
    let mut marked = Vec::new();
    for series in series.iter().filter(|series| labels.contains_key(&series.name)) {
        let times: Vec<f64> = series.rows.iter().map(|(at, _)| *at).collect();
        marked.push(Marked::new(&series.name, &times, &scores[series.name.as_str()], &labels[&series.name])?);
    }
    figures(&marked, &profiles, out.is_none(), report)
}

fn figures(marked: &[Marked], profiles: &[Profile], held: bool, report: &mut Report) -> anyhow::Result<()> {
    report.table("NAB, normalised scores at the best single threshold")?;
    let all: Vec<&Marked> = marked.iter().collect();
    let mut standard = 0.0;
    for Profile { name, weights } in profiles {
        let (score, threshold) = benchmark::best(&all, *weights);
        let (must, aim, published) = match name.as_str() {
            "standard" => (Must::AtLeast(65.0), "> 74.9", "ARTime 74.85, HTM 70.10, CAD OSE 69.90, RCF 51.7"),
            "reward_low_FP_rate" => (Must::Shown, "> 67.0", "ARTime 65.15, HTM 63.12, CAD OSE 66.98, RCF 38.4"),
            _ => (Must::Shown, "", "ARTime 80.36, HTM 74.32, CAD OSE 73.18, RCF 59.8"),
        };
        report.figure(name, score, if held { must } else { Must::Shown }, aim, published)?;
        if name == "standard" {
            standard = score;
            say(&format!("    at threshold {threshold:.4}; 1.0 is the product's"))?;
            let at_one = benchmark::at(&all, *weights, 1.0);
            report.figure("standard at the product's threshold", at_one, Must::Shown, "", "")?;
            let left_out = leave_one_category_out(&all, *weights);
            report.figure("standard, each category at the others' best", left_out, Must::Shown, "", "")?;
            let lost = standard - left_out;
            let must = if held { Must::AtMost(8.0) } else { Must::Shown };
            report.figure("  lost by that", lost, must, "<= 3.2", "ARTime 3.2, HTM 1.1, RCF 0.2 on the other half")?;
        }
    }
    ensure!(0.0 != standard, "profiles.json has no profile \"standard\"");
    say("  by category, at the best threshold of all (windows found, alarms outside)")?;
    let weights = profiles.iter().find(|profile| profile.name == "standard").map(|profile| profile.weights);
    let weights = weights.context("a profile \"standard\"")?;
    let (_, threshold) = benchmark::best(&all, weights);
    for category in categories(&all) {
        let own: Vec<&Marked> = all.iter().filter(|series| series.category() == category).copied().collect();
        let (found, windows, outside) = benchmark::counts(&own, threshold);
        let score = benchmark::at(&own, weights, threshold);
        say(&format!("    {category:<24} {score:>8.2}   {found}/{windows}, {outside}"))?;
    }
    Ok(())
}

fn categories<'a>(all: &[&'a Marked]) -> BTreeSet<&'a str> {
    all.iter().map(|series| series.category()).collect()
}

/// The score when each category is judged at the threshold that is best for all others.
fn leave_one_category_out(all: &[&Marked], weights: Weights) -> f64 {
    let parts = categories(all).into_iter().map(|category| {
        let (own, others): (Vec<&Marked>, Vec<&Marked>) =
            all.iter().copied().partition(|series| series.category() == category);
        let (_, threshold) = benchmark::best(&others, weights);
        benchmark::raw(&own, weights, threshold)
    });
    benchmark::normalised(parts.sum(), all, weights)
}

/// Every series below `folder/data`, in the order of their names, which are `category/file.csv`.
fn series(folder: &Path) -> anyhow::Result<Vec<Series>> {
    let root = folder.join("data");
    let mut found = Vec::new();
    for category in entries(&root)?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&category)? {
            if file.extension().is_some_and(|extension| extension == "csv") {
                let name = file.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
                found.push(Series { name, rows: rows(&file)? });
            }
        }
    }
    ensure!(!found.is_empty(), "{}: no series", root.display());
    Ok(found)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}: no such folder", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn rows(file: &Path) -> anyhow::Result<Vec<(f64, f64)>> {
    let mut rows = Vec::new();
    for row in csv::Reader::from_path(file)?.records() {
        let row = row?;
        let value = row.get(1).context("a row has a time and a value")?;
        rows.push((seconds(&row[0])?, value.parse().with_context(|| format!("{}: {value}", file.display()))?));
    }
    Ok(rows)
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    let time: DateTime = text.replace(' ', "T").parse().with_context(|| format!("{text}: not a time"))?;
    Ok(time.to_zoned(TimeZone::UTC)?.timestamp().as_second() as f64)
}

fn labels(file: &Path) -> anyhow::Result<Labels> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: no such file", file.display()))?;
    let windows: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text)?;
    windows
        .into_iter()
        .map(|(name, spans)| {
            let spans = spans.iter().map(|(from, to)| Ok((seconds(from)?, seconds(to)?)));
            Ok((name, spans.collect::<anyhow::Result<_>>()?))
        })
        .collect()
}

/// Copies a series with its scores to `out`, in the columns that the benchmark reads.
fn write(out: &Path, folder: &Path, name: &str, marks: &[f64]) -> anyhow::Result<()> {
    let to = out.join(name);
    std::fs::create_dir_all(to.parent().context("a category")?)?;
    let mut from = csv::Reader::from_path(folder.join("data").join(name))?;
    let mut writer = csv::Writer::from_path(&to)?;
    writer.write_record(["timestamp", "value", "anomaly_score"])?;
    for (row, mark) in from.records().zip(marks) {
        let row = row?;
        writer.write_record([&row[0], &row[1], &mark.to_string()])?;
    }
    Ok(writer.flush()?)
}
