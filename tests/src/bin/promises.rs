//! Proves the promises under fault, at length; the stories do it in short. `tests/promises --help` lists the proofs.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

use anyhow::ensure;
use clap::{Parser, Subcommand};
use std::time::Instant;
use tests::promises::kills;
use tests::simulation::{self, Bug, Outcome};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// Kill a node again and again under load, and compare what was acknowledged with what is there.
    Kill {
        /// How often.
        #[arg(long, default_value_t = 1_000)]
        cycles: u64,
        /// Where chance begins. The same seed makes the same choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Simulate the rules under crashes between any two steps, then with each planted bug.
    Simulate {
        /// How many histories.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let began = Instant::now();
    match Cli::parse().proof {
        Proof::Kill { cycles, seed } => {
            let report = kills::run(cycles, seed).await?;
            println!("{cycles} kills, seed {seed}: {report:?}");
            ensure!(report.verdict.holds(), "readings or effects were lost or doubled");
        }
        Proof::Simulate { seeds } => simulate(seeds)?,
    }
    println!("took {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn simulate(seeds: u64) -> anyhow::Result<()> {
    let mut total = Outcome::default();
    for seed in 0..seeds {
        total = total.and(simulation::run(seed, None).map_err(anyhow::Error::msg)?);
    }
    println!("{seeds} seeds, 0 violations: {total:?}");
    for bug in Bug::ALL {
        let found = (0..2_000).find_map(|seed| simulation::run(seed, Some(bug)).err().map(|why| (seed, why)));
        let Some((seed, why)) = found else { anyhow::bail!("{bug:?} was not found") };
        let why: String = why.chars().take(100).collect();
        println!("{bug:?}: found after {} seeds ({why})", seed + 1);
    }
    Ok(())
}
