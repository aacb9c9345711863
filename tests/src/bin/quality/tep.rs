//! The detector of an asset on the Tennessee Eastman process: 52 variables of a simulated plant, every three minutes.
//!
//! Each run is judged by a detector that has read the rows of normal operation (`d00.dat`) before it. A fault sets in at
//! row 160 of its file; the rows before and those of `d00_te.dat` are normal.

use crate::report::{Must, Report, say};
use agents::anomaly_detection::Settings;
use analytics::joint::Detector;
use anyhow::{Context, ensure};
use std::path::Path;

/// The row at which a fault sets in.
const ONSET: usize = 160;
/// Faults that leave no trace which any published method finds above its false alarms.
const INVISIBLE: [u32; 3] = [3, 9, 15];

/// Judges the normal run and every fault below `data/tep`.
///
/// # Errors
///
/// A file is missing, or does not hold what it should.
pub(crate) fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let settings: Settings = config::Config::defaults().section("agents.anomaly_detection")?;
    let folder = data.join("tep");
    let normal = upright(read(&folder.join("d00.dat"))?);
    let mut trained = Detector::new(normal.first().map_or(0, Vec::len));
    for row in &normal {
        trained.observe(&settings.joint, row, true);
    }
    let judge = |file: &Path| -> anyhow::Result<Vec<bool>> {
        let mut detector = trained.clone();
        Ok(read(file)?.iter().map(|row| detector.observe(&settings.joint, row, true).abnormal).collect())
    };
    let share = |called: &[bool]| called.iter().filter(|called| **called).count() as f64 / called.len() as f64;

    say(&format!("\nTennessee Eastman: the same settings as for every asset: {:?}", settings.joint))?;
    let calm = judge(&folder.join("d00_te.dat"))?;
    let mut before_onset = Vec::new();
    let mut detected = Vec::new();
    for fault in 1..=21 {
        let file = folder.join(format!("d{fault:02}_te.dat"));
        if !file.is_file() {
            continue;
        }
        let called = judge(&file)?;
        ensure!(ONSET < called.len(), "{}: ends before the fault sets in", file.display());
        before_onset.extend_from_slice(&called[..ONSET]);
        let found = share(&called[ONSET..]);
        let note = if INVISIBLE.contains(&fault) { "  (left out)" } else { "" };
        say(&format!(
            "  fault {fault:>2}: {found:.3} of its rows, false alarms before it {:.3}{note}",
            share(&called[..ONSET])
        ))?;
        if !INVISIBLE.contains(&fault) {
            detected.push(found);
        }
    }
    ensure!(!detected.is_empty(), "{}: no fault", folder.display());
    report.table("Tennessee Eastman")?;
    let mean = detected.iter().sum::<f64>() / detected.len() as f64;
    report.figure(
        "share of fault rows, mean over the faults",
        mean,
        Must::AtLeast(0.85),
        ">= 0.90",
        "dynamic PCA 0.80",
    )?;
    report.figure("false-alarm rate, normal run", share(&calm), Must::AtMost(0.021), "<= 0.01", "dynamic PCA 0.021")?;
    let before = share(&before_onset);
    report.figure("false-alarm rate, before the faults", before, Must::AtMost(0.021), "<= 0.01", "")
}

/// Numbers separated by blanks, line by line.
fn read(file: &Path) -> anyhow::Result<Vec<Vec<f64>>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: no such file", file.display()))?;
    let rows = text.lines().filter(|line| !line.trim().is_empty());
    rows.map(|line| line.split_whitespace().map(|number| Ok(number.parse()?)).collect()).collect()
}

/// The normal run is stored lying on its side: a line for each variable.
fn upright(rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let width = rows.first().map_or(0, Vec::len);
    if width <= rows.len() {
        return rows;
    }
    (0..width).map(|idx| rows.iter().map(|row| row[idx]).collect()).collect()
}
