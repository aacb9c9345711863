//! A clock of the wall that jumps under a node at work.

use super::ledger::{Ledger, Verdict};
use super::machine::Machine;
use anyhow::ensure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
/// By how much the clock is wrong, one after the other.
const JUMPS: [i64; 6] = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 1, 0];

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The ledger's word.
    pub verdict: Verdict,
    /// Panics in the node's log.
    pub panics: usize,
}

impl Report {
    /// Nothing lost, doubled, given up or broken.
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.verdict.dead_letters == 0 && self.panics == 0
    }
}

/// Lets the clock jump while readings come in, which must go on after each jump.
///
/// # Errors
///
/// The node takes nothing any more.
pub async fn run() -> anyhow::Result<Report> {
    let machine = Machine::build()?;
    let node = machine.start(None, &[])?;
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
    }
    for jump in JUMPS {
        machine.set_clock_wrong_by(jump)?;
        let (wanted, jumped) = (ledger.acknowledged() + 30, Instant::now());
        while ledger.acknowledged() < wanted {
            ensure!(jumped.elapsed() < Duration::from_secs(30), "nothing is taken with a clock wrong by {jump} s");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    senders.join_all().await;
    let verdict = ledger.compare(node.client()).await?;
    let panics = node.log().iter().filter(|line| line.to_string().contains("panicked")).count();
    node.kill()?;
    Ok(Report { verdict, panics })
}
