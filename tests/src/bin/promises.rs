//! Proves the promises under fault, at length; the stories do it in short. `tests/promises --help` lists the proofs.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

use anyhow::ensure;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Instant;
use tests::promises::deaths::{self, AGENTS, Way};
use tests::promises::{disk, fuzz, kills, overload, poison};
use tests::simulation::{self, Bug, Outcome};

#[derive(Parser)]
struct Cli {
    /// Where chance begins. The same seed makes the same choices.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// Kill a node again and again under load, and compare what was acknowledged with what is there.
    Kill {
        #[arg(long, default_value_t = 1_000)]
        cycles: u64,
    },
    /// Simulate the rules under crashes between any two steps, then with each planted bug.
    Simulate {
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
    },
    /// Let each agent die in each way under load.
    Deaths {
        #[arg(long, default_value_t = 10)]
        times: usize,
        /// Only this agent.
        #[arg(long)]
        agent: Option<String>,
    },
    /// Handle events of which 1 % panic, 0.1 % hang and a few abort the process.
    Poison {
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// Send ten times as much as a node can take.
    Overload {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Fill the disk under a node, and make room again. Needs root, for a small file system.
    DiskFull,
    /// Feed every parser with mutated bytes.
    Fuzz {
        /// In all.
        #[arg(long, default_value_t = 10_000_000)]
        executions: u64,
    },
    /// What `poison` starts.
    #[command(hide = true)]
    Poisoned { folder: PathBuf, n: u64 },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { seed, proof } = Cli::parse();
    let began = Instant::now();
    match proof {
        Proof::Poisoned { folder, n } => return poison::serve(&folder, n).await,
        Proof::Kill { cycles } => {
            let report = kills::run(cycles, seed).await?;
            println!("{cycles} kills, seed {seed}: {report:?}");
            ensure!(report.verdict.holds(), "readings or effects were lost or doubled");
        }
        Proof::Simulate { seeds } => simulate(seeds)?,
        Proof::Deaths { times, agent } => {
            let chosen = |name: &&'static str| agent.as_deref().is_none_or(|wanted| wanted == *name);
            let agents: Vec<_> = AGENTS.into_iter().filter(chosen).collect();
            let report = deaths::run(&agents, &Way::ALL, times).await?;
            println!("{} deaths of {} agents", report.deaths, agents.len());
            for (way, p50, p99, max) in &report.resumed {
                println!("  {way:?}: at work again after {p50:?} (half), {p99:?} (99 %), {max:?} (all)");
            }
            println!("  siblings that ended too: {}", report.siblings_harmed);
            println!("  readings: {:?}", report.verdict);
            for history in &report.retraced {
                println!(
                    "  {}: {} events handled, {} said too little, {} too much, state {}",
                    history.agent,
                    history.handled,
                    history.missing.len(),
                    history.surplus.len(),
                    match history.remembers {
                        Some(true) => "equal to an uninterrupted run's",
                        Some(false) => "DIFFERENT from an uninterrupted run's",
                        None => "not compared",
                    }
                );
            }
            ensure!(report.holds(), "something was lost, doubled, late or harmed");
        }
        Proof::Poison { events } => {
            let report = poison::run(events, &std::env::current_exe()?).await?;
            println!("{report:?}");
            ensure!(report.holds(), "a good event was harmed or a bad one was not buried");
        }
        Proof::Overload { seconds } => {
            let report = overload::run(seconds).await?;
            println!("{report:#?}");
            ensure!(report.verdict.holds() && report.refused.1 == 0, "overload did harm");
        }
        Proof::DiskFull => {
            for reserve in [0, 16 << 20] {
                let report = disk::run(reserve).await?;
                println!("{reserve} bytes kept free: {report:?}");
                ensure!(report.verdict.holds() && report.refused, "a full disk did harm");
            }
        }
        Proof::Fuzz { executions } => {
            let per_target = executions.div_ceil(control_plane::fuzz::TARGETS.len() as u64);
            let (n, findings) = fuzz::run(per_target, seed)?;
            println!("{n} executions, {} findings", findings.len());
            for finding in &findings {
                println!("{}: {}: {:?}", finding.target, finding.what, String::from_utf8_lossy(&finding.input));
            }
            ensure!(findings.is_empty(), "a parser panics or is slow");
        }
    }
    println!("took {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn simulate(seeds: u64) -> anyhow::Result<()> {
    let mut total = Outcome::default();
    for seed in 0..seeds {
        total = total.and(simulation::run(seed, None).map_err(anyhow::Error::msg)?);
    }
    println!("{seeds} seeds: 0 violations; {total:?}");
    for bug in Bug::ALL {
        let found = (0..2_000).find_map(|seed| simulation::run(seed, Some(bug)).err().map(|why| (seed, why)));
        let Some((seed, why)) = found else { anyhow::bail!("{bug:?} was not found") };
        let why: String = why.chars().take(100).collect();
        println!("{bug:?}: found after {} seeds ({why})", seed + 1);
    }
    Ok(())
}
