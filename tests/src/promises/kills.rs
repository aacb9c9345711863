//! A node that is killed again and again under load.

use super::ledger::{Ledger, Verdict};
use crate::process::Process;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Clients at once.
const SENDERS: usize = 4;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The ledger's word.
    pub verdict: Verdict,
    /// From the start of a process until it listens: half of the starts were faster.
    pub start_p50: Duration,
    /// The slowest.
    pub start_max: Duration,
    /// How long it took in all.
    pub took: Duration,
}

/// Kills a node `cycles` times, each time after more was acknowledged and a part of `life` that nobody chose.
///
/// # Errors
///
/// The node cannot be started or killed, or does not come to rest in the end.
pub async fn run(cycles: u64, life: Duration, seed: u64) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let mut chance = Pcg64Mcg::seed_from_u64(seed);
    let ledger = Ledger::default();
    let mut key: Option<String> = None;
    let mut starts = Vec::new();
    let all_began = Instant::now();
    for _ in 0..cycles {
        let began = Instant::now();
        let node = Process::start(folder.path(), key.as_deref(), &[])?;
        starts.push(began.elapsed());
        key = node.client().key().map(str::to_owned);
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
        }
        let wanted = ledger.acknowledged() + chance.random_range(1..17);
        let end = Instant::now() + chance.random_range(Duration::ZERO..life);
        let given_up = Instant::now() + Duration::from_secs(60);
        while ledger.acknowledged() < wanted {
            anyhow::ensure!(Instant::now() < given_up, "the node takes nothing any more");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
        node.kill()?;
        stop.store(true, Ordering::SeqCst);
        senders.join_all().await;
    }
    let node = Process::start(folder.path(), key.as_deref(), &[])?;
    let verdict = ledger.compare(node.client()).await?;
    starts.sort_unstable();
    let start_p50 = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let start_max = starts.last().copied().unwrap_or_default();
    Ok(Report { verdict, start_p50, start_max, took: all_began.elapsed() })
}
