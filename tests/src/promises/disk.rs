//! A disk that fills up and has room again.

use super::ledger::{Ledger, Verdict};
use crate::process::Process;
use anyhow::{Context as _, ensure};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A small file system in memory. Gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(on: &Path, mebibytes: u32) -> anyhow::Result<Self> {
        let options = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options.as_str(), "tmpfs"]).arg(on).status()?;
        ensure!(mounted.success(), "a small file system is needed: run this as root (mount -t tmpfs was refused)");
        Ok(Self(on.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a node that is being killed may still be in it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The ledger's word.
    pub verdict: Verdict,
    /// Whether requests were refused while the disk was full, each with `Retry-After`.
    pub refused: bool,
    /// From the moment when there was room again to the first acknowledgement.
    pub recovered_after: Duration,
}

/// Fills the disk under a node at work, makes room again, and compares. `reserve` is what the node keeps free:
/// 0 runs into the end of the disk itself.
///
/// # Errors
///
/// No small file system can be mounted, or the node does not do as it should.
pub async fn run(reserve: u64) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let small = Small::mount(folder.path(), 48)?;
    let reserve_setting = reserve.to_string();
    let settings = [("SMART_MAINTENANCE__LIMITS__DISK_FREE_BYTES_MIN", reserve_setting.as_str())];
    let node = Process::start_with(folder.path(), None, &[], &settings)?;
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
    }
    let started = Instant::now();
    while ledger.acknowledged() < 50 {
        ensure!(started.elapsed() < Duration::from_secs(30), "the node takes nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Somebody else fills the disk.
    let filler = folder.path().join("filler");
    let mut file = std::fs::File::create(&filler)?;
    let block = vec![0_u8; 65_536];
    while file.write_all(&block).is_ok() {}
    drop(file);
    let body = serde_json::json!({ "sensor_id": "probe", "value": 1.0 });
    let probe = async || {
        let request = node.client().request(reqwest::Method::POST, "/api/v1/data/ingest").json(&body);
        node.client().try_send(request).await
    };
    let full = Instant::now();
    let refusal = loop {
        let answer = probe().await?;
        if answer.status != 200 {
            break answer;
        }
        ensure!(full.elapsed() < Duration::from_secs(30), "a full disk is not noticed");
    };
    let refused = refusal.status == 503 && refusal.headers.contains_key("retry-after");
    // It stays full for a while, and reads go on.
    while full.elapsed() < Duration::from_secs(3) {
        let health = node.client().get("/health").await;
        ensure!(health.status == 200, "reads go on: {}", health.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::remove_file(&filler)?;
    let room = Instant::now();
    while probe().await?.status != 200 {
        ensure!(room.elapsed() < Duration::from_secs(60), "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recovered_after = room.elapsed();
    stop.store(true, Ordering::SeqCst);
    senders.join_all().await;
    let verdict = ledger.compare(node.client()).await?;
    // What is on the disk is sound: a node that is killed now checks it before it starts again.
    let key = node.client().key().map(str::to_owned);
    node.kill()?;
    let again = Process::start_with(folder.path(), key.as_deref(), &[], &settings).context("the store is sound")?;
    again.kill()?;
    drop(small);
    Ok(Report { verdict, refused, recovered_after })
}
