//! Measures what the shipped code makes of public data sets, a module each, and holds it against what it must reach.
//!
//! Every module runs the functions and the settings that a node runs, prints its figures beside the published ones,
//! and notes what falls short. Data come from a folder that is told; none belong to the product.

mod ai4i;
mod cmapss;
mod drift;
mod forecast;
mod nab;
mod report;
mod skab;
mod spine;
mod tep;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use report::{Report, say};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures the shipped code on public data sets; fails below what it must reach")]
struct Arguments {
    /// Folder with a folder for each data set. With `--only nab` also a folder laid out like `nab` itself.
    #[arg(long)]
    data: PathBuf,
    /// Measures this alone; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Writes the scores of the NAB series into this folder, as NAB lays them out; its figures are then printed and
    /// held against nothing, since the folder may hold any series.
    #[arg(long)]
    scores: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The detector of single sensors on the Numenta Anomaly Benchmark.
    Nab,
    /// The detector of an asset on the Skoltech water circuit.
    Skab,
    /// The detector of an asset on the Tennessee Eastman process.
    Tep,
    /// The comparison of two samples.
    Drift,
    /// Failures of the AI4I milling machine.
    Ai4i,
    /// Remaining life of the turbofan engines of C-MAPSS.
    Cmapss,
    /// Forecasts of transformer temperatures and of the hourly series of the M4 competition.
    Forecast,
    /// A whole node: real histories through HTTP, and the cases that come of them.
    Spine,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { data, only, scores } = Arguments::parse();
    ensure!(data.is_dir(), "{}: no such folder", data.display());
    let mut report = Report::default();
    for part in Part::value_variants() {
        if !only.is_empty() && !only.contains(part) {
            continue;
        }
        match part {
            Part::Nab => nab::run(&data, scores.as_deref(), &mut report)?,
            Part::Skab => skab::run(&data, &mut report)?,
            Part::Tep => tep::run(&data, &mut report)?,
            Part::Drift => drift::run(&mut report)?,
            Part::Ai4i => ai4i::run(&data, &mut report)?,
            Part::Cmapss => cmapss::run(&data, &mut report)?,
            Part::Forecast => forecast::run(&data, &mut report)?,
            Part::Spine => spine::run(&data, &mut report).await?,
        }
    }
    let shortfalls = report.shortfalls();
    if shortfalls.is_empty() {
        say("quality: passed")?;
        return Ok(ExitCode::SUCCESS);
    }
    for shortfall in shortfalls {
        say(&format!("quality: falls short: {shortfall}"))?;
    }
    Ok(ExitCode::FAILURE)
}
