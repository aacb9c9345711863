//! A disk that fails under a node at work: syncs, writes, room, reads.

use super::ledger::{Ledger, Verdict};
use super::machine::{Fault, Machine};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Longest time in which a fault must show, or in which it must be over with after its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the node does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It ended, with this code.
    Ended(i32),
    /// It refused requests with 503 and `Retry-After`, and took them again this long after the end of the fault.
    Refused(Duration),
    /// It noticed nothing: what was asked for was in memory.
    Unharmed,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was failing.
    pub fault: Fault,
    /// What the node did.
    pub answer: Answer,
    /// The ledger's word, after the node was started again.
    pub verdict: Verdict,
}

impl Report {
    /// As the manual declares it.
    pub fn holds(&self) -> bool {
        let declared = match (self.fault, self.answer) {
            (Fault::Sync, answer) => answer == Answer::Ended(75),
            (Fault::Write | Fault::Full, answer) => matches!(answer, Answer::Refused(_)),
            (Fault::Read, answer) => !matches!(answer, Answer::Ended(_)),
        };
        declared && self.verdict.holds() && self.verdict.dead_letters == 0
    }
}

/// Lets `fault` last for some seconds under load.
///
/// # Errors
///
/// The node does not start, or neither refuses nor ends, or does not recover.
pub async fn run(fault: Fault) -> anyhow::Result<Report> {
    let machine = Machine::build()?;
    let node = machine.start(None, &[])?;
    let key = node.client().key().map(str::to_owned);
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
    }
    let began = Instant::now();
    while ledger.acknowledged() < 30 {
        ensure!(began.elapsed() < Duration::from_secs(60), "the node takes nothing");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    machine.fail(Some(fault))?;
    let mut node = Some(node);
    let answer = watch(&mut node, &machine, fault).await?;
    stop.store(true, Ordering::SeqCst);
    senders.join_all().await;
    let node = match node {
        Some(node) => node,
        None => machine.start(key.as_deref(), &[]).context("it starts again when the disk is sound")?,
    };
    let verdict = ledger.compare(node.client()).await?;
    // What is on the disk is sound: a node that is killed now checks it before it starts again.
    node.kill()?;
    machine.start(key.as_deref(), &[]).context("the store is sound")?.kill()?;
    Ok(Report { fault, answer, verdict })
}

/// What `node` does while the fault lasts and after it. A node that ended is taken.
async fn watch(node: &mut Option<crate::process::Process>, machine: &Machine, fault: Fault) -> anyhow::Result<Answer> {
    let failing = Instant::now();
    let mut refused = false;
    while failing.elapsed() < PATIENCE {
        let running = node.as_mut().context("it was not taken yet")?;
        if let Some(status) = running.ended()? {
            machine.fail(None)?;
            *node = None;
            return Ok(Answer::Ended(status.code().context("it ended by itself")?));
        }
        let request = running.client().request(reqwest::Method::POST, "/api/v1/data/ingest");
        let request = request.json(&json!({ "sensor_id": "probe", "value": 1.0 }));
        // One that is about to end answers no more.
        if let Ok(answer) = running.client().try_send(request).await
            && answer.status == 503
        {
            ensure!(answer.headers.contains_key("retry-after"), "refused without saying when to come back");
            refused = true;
        }
        if (refused || fault == Fault::Read) && fault != Fault::Sync && Duration::from_secs(3) < failing.elapsed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    machine.fail(None)?;
    if !refused {
        ensure!(fault == Fault::Read, "a disk that fails is not noticed");
        return Ok(Answer::Unharmed);
    }
    let (sound, running) = (Instant::now(), node.as_ref().context("it runs")?);
    loop {
        let request = running.client().request(reqwest::Method::POST, "/api/v1/data/ingest");
        let request = request.json(&json!({ "sensor_id": "probe", "value": 1.0 }));
        if running.client().try_send(request).await?.status == 200 {
            return Ok(Answer::Refused(sound.elapsed()));
        }
        ensure!(sound.elapsed() < PATIENCE, "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
