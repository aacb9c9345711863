//! Proves the promises under fault, at length; the stories do it in short. `tests/promises --help` lists the proofs.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

use anyhow::ensure;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::AGENTS;
use tests::promises::deaths::{self, Way};
use tests::promises::machine::Fault;
use tests::promises::{clock, disk, faults, fuzz, kills, overload, poison, power, stops};
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
        /// Longest life of the node after it listens, in milliseconds.
        #[arg(long, default_value_t = 1_500)]
        life_ms: u64,
    },
    /// Look at disks as a power cut may have left them.
    PowerCut {
        #[arg(long, default_value_t = 2_000)]
        images: usize,
    },
    /// Let syncs, writes and reads of the store fail, and its disk be full, under a node.
    Faults,
    /// Let the clock jump under a node.
    Clock,
    /// Tell a node under load to stop, and start one that holds many readings.
    Stops {
        #[arg(long, default_value_t = 20)]
        times: usize,
        #[arg(long, default_value_t = 10_000_000)]
        readings: u64,
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
        /// Readings in a request.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
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

fn main() -> anyhow::Result<()> {
    // What the nodes in this process run on is what the program runs on.
    control_plane::node::executor()?.block_on(prove(Cli::parse()))
}

async fn prove(Cli { seed, proof }: Cli) -> anyhow::Result<()> {
    let began = Instant::now();
    match proof {
        Proof::Poisoned { folder, n } => return poison::serve(&folder, n).await,
        Proof::Kill { cycles, life_ms } => {
            let report = kills::run(cycles, Duration::from_millis(life_ms), seed).await?;
            println!("{cycles} kills, seed {seed}: {report:?}");
            ensure!(report.verdict.holds(), "readings or effects were lost or doubled");
        }
        Proof::PowerCut { images } => {
            let (kept, careless) = power::run(images, seed).await?;
            println!("log synced before the answer, seed {seed}: {kept:?}");
            println!("log not synced (as synchronous=NORMAL): {careless:?}");
            ensure!(kept.holds(), "a power cut does harm");
            ensure!(0 < careless.with_losses, "this proof would not notice a loss");
        }
        Proof::Faults => {
            for fault in [Fault::Sync, Fault::Write, Fault::Full, Fault::Read] {
                let report = faults::run(fault).await?;
                println!("{report:?}");
                ensure!(report.holds(), "not as the manual says");
            }
        }
        Proof::Clock => {
            let report = clock::run().await?;
            println!("{report:?}");
            ensure!(report.holds(), "a clock that jumps does harm");
        }
        Proof::Stops { times, readings } => {
            let stops = stops::under_load(times, seed).await?;
            println!("{times} stops under load, seed {seed}: {stops:?}");
            ensure!(stops.holds(), "a stop does harm or takes too long");
            let starts = stops::with_readings(readings).await?;
            println!("{starts:?}");
            ensure!(starts.holds(), "a start or a stop takes too long");
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
            for (agent, way, took) in &report.slowest {
                println!("    among the slowest: {agent} after {way:?}: {took:?}");
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
        Proof::Overload { seconds, batch } => {
            let report = overload::run(seconds, batch).await?;
            println!("{report:#?}");
            ensure!(report.holds(), "too little is taken, too much is held, or something was refused without a word");
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
