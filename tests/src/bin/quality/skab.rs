//! The detector of an asset on the Skoltech water circuit: eight sensors at 1 Hz, disturbed once in each file.
//!
//! Rows 0 to 399 of each file are read without their labels, as the published figures have it; the rest is judged one
//! row after the other. Counts are pooled over the files. A rate of false alarms stands beside each F1, since calling
//! every row anomalous scores 0.70.

use crate::report::{Must, Report, say};
use agents::anomaly_detection::Settings;
use analytics::joint::{self, Detector};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// Rows of each file that are read before the first one that counts.
const TRAINING: usize = 400;
const LABELS: [&str; 2] = ["anomaly", "changepoint"];

/// Rows by what they are and what they are called.
#[derive(Clone, Copy, Default)]
struct Counts {
    hits: f64,
    false_alarms: f64,
    misses: f64,
    quiet: f64,
}

impl Counts {
    fn f1(self) -> f64 {
        2.0 * self.hits / (2.0 * self.hits + self.false_alarms + self.misses)
    }

    fn false_alarm_rate(self) -> f64 {
        self.false_alarms / (self.false_alarms + self.quiet)
    }

    fn missed_rate(self) -> f64 {
        self.misses / (self.hits + self.misses)
    }

    fn count(&mut self, anomalous: bool, called: bool) {
        *match (anomalous, called) {
            (true, true) => &mut self.hits,
            (true, false) => &mut self.misses,
            (false, true) => &mut self.false_alarms,
            (false, false) => &mut self.quiet,
        } += 1.0;
    }
}

/// Judges every labelled file below `data/skab`.
///
/// # Errors
///
/// There is none, or it does not hold what it should.
pub(crate) fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let settings: Settings = config::Config::defaults().section("agents.anomaly_detection")?;
    let files = files(&data.join("skab"))?;
    say(&format!("\nSKAB: {} files; the same settings for all: {:?}", files.len(), settings.joint))?;
    say("  file                                   F1  false alarms  missed")?;
    let mut pooled = Counts::default();
    for file in &files {
        let (rows, labels) = read(file)?;
        let mut counts = Counts::default();
        for (called, anomalous) in judge(&settings.joint, &rows).into_iter().zip(&labels).skip(TRAINING) {
            counts.count(*anomalous, called);
            pooled.count(*anomalous, called);
        }
        let name = file.strip_prefix(data).unwrap_or(file).display().to_string();
        let (f1, false_alarms) = (counts.f1(), counts.false_alarm_rate());
        say(&format!("  {name:<34} {f1:>6.3} {false_alarms:>13.3} {:>7.3}", counts.missed_rate()))?;
    }
    report.table("SKAB, pooled over the files")?;
    report.figure("F1", pooled.f1(), Must::AtLeast(0.82), ">= 0.87", "Conv-AE 0.78, T2+Q PCA 0.76, iForest 0.29")?;
    let (false_alarms, missed) = (pooled.false_alarm_rate(), pooled.missed_rate());
    report.figure("false-alarm rate", false_alarms, Must::AtMost(0.15), "<= 0.10", "Conv-AE 0.136, PCA 0.266")?;
    report.figure("missed-alarm rate", missed, Must::Shown, "", "Conv-AE 0.280, PCA 0.249")
}

/// Whether each row is called abnormal.
fn judge(settings: &joint::Settings, rows: &[Vec<f64>]) -> Vec<bool> {
    let mut detector = Detector::new(rows.first().map_or(0, Vec::len));
    rows.iter().map(|row| detector.observe(settings, row, true).abnormal).collect()
}

/// Every file with labels below `folder`.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("{}: no such folder", folder.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    for part in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&part)? {
            if file.extension().is_some_and(|extension| extension == "csv")
                && csv::ReaderBuilder::new()
                    .delimiter(b';')
                    .from_path(&file)?
                    .headers()?
                    .iter()
                    .any(|name| name == LABELS[0])
            {
                found.push(file);
            }
        }
    }
    ensure!(!found.is_empty(), "{}: no labelled file", folder.display());
    found.sort();
    Ok(found)
}

/// The rows of a file, a value for each sensor, and whether each is anomalous.
fn read(file: &Path) -> anyhow::Result<(Vec<Vec<f64>>, Vec<bool>)> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_path(file)?;
    let header = reader.headers()?.clone();
    let label = header.iter().position(|name| name == LABELS[0]).context("a column of labels")?;
    let sensors: Vec<usize> = (1..header.len()).filter(|idx| !LABELS.contains(&&header[*idx])).collect();
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for row in reader.records() {
        let row = row?;
        rows.push(sensors.iter().map(|idx| row[*idx].parse()).collect::<Result<_, _>>()?);
        labels.push(row[label].parse::<f64>()? == 1.0);
    }
    Ok((rows, labels))
}
