//! Power cuts: what a disk may hold after one, at any moment of a node's work, and whether that is enough.
//!
//! A node works, is killed, and works on, while every write and sync of its store is recorded. From the record, disks
//! are made as a power cut could have left them: what was synced is there; of what was not, nothing, or any part, in
//! sectors. Each is opened, checked, and compared with what had been acknowledged by then.

use super::chance;
use super::ledger::{Ledger, SENSOR};
use super::machine::{Done, Machine, Stored, passing_folder};
use anyhow::ensure;
use config::Config;
use domain::SensorId;
use persistence::page::Start;
use persistence::{Store, StoreError, readings};
use rand::RngExt as _;
use rand_pcg::Pcg64Mcg;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Lives of the node in a record.
const LIVES: usize = 3;
/// Batches acknowledged in each.
const BATCHES: usize = 70;
/// Smallest piece of a write that is on the disk as a whole.
const SECTORS: [usize; 2] = [512, 4_096];

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Disks that were looked at.
    pub images: usize,
    /// Batches that were acknowledged in all.
    pub acknowledged: usize,
    /// Disks that are damaged.
    pub damaged: usize,
    /// Disks on which something is missing that had been acknowledged.
    pub with_losses: usize,
    /// Disks on which a reading is twice.
    pub with_doubles: usize,
}

impl Report {
    /// Nothing lost, nothing doubled, nothing damaged.
    pub fn holds(&self) -> bool {
        0 < self.images && self.damaged + self.with_losses + self.with_doubles == 0
    }
}

/// Looks at `images` disks that a power cut may have left; and at as many that one would leave if the log were not
/// synced before the answer, as with `synchronous=NORMAL`.
///
/// # Errors
///
/// The node does not do as it should.
pub async fn run(images: usize, seed: u64) -> anyhow::Result<(Report, Report)> {
    let record = Record::make().await?;
    let kept = record.look(images, seed, true).await?;
    let careless = record.look(images.div_ceil(10), seed, false).await?;
    Ok((kept, careless))
}

/// A record of work, and what was acknowledged when.
struct Record {
    machine: Machine,
    /// The files before the work.
    before: [Vec<u8>; 2],
    done: Vec<(u64, Stored, Done)>,
    /// Batches, each with how much had been done at the latest when it was acknowledged.
    acknowledged: Vec<(u64, u64)>,
}

impl Record {
    async fn make() -> anyhow::Result<Self> {
        let machine = Machine::build()?;
        let node = machine.start(None, &[])?;
        let key = node.client().key().map(str::to_owned);
        node.kill()?;
        let skipped = machine.done_so_far();
        let before = ["store.sqlite", "store.sqlite-wal"].map(|name| read(&machine.folder.path().join(name)));
        let ledger = Ledger::default();
        let mut acknowledged = Vec::new();
        for _ in 0..LIVES {
            let node = machine.start(key.as_deref(), &[])?;
            let stop = Arc::new(AtomicBool::new(false));
            let mut senders = JoinSet::new();
            for _ in 0..4 {
                senders.spawn(ledger.clone().send(node.client().clone(), Arc::clone(&stop)));
            }
            let (wanted, began) = (acknowledged.len() + BATCHES, Instant::now());
            while acknowledged.len() < wanted {
                ensure!(began.elapsed() < Duration::from_secs(60), "the node takes nothing");
                let by_now = ledger.acknowledged_since(acknowledged.len());
                // Asked after the answer was seen, so that it is late rather than early.
                let done = machine.done_so_far();
                acknowledged.extend(by_now.into_iter().map(|batch| (done, batch)));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            node.kill()?;
            stop.store(true, Ordering::SeqCst);
            senders.join_all().await;
        }
        let done = machine.done_since(skipped)?;
        Ok(Self { machine, before, done, acknowledged })
    }

    /// Looks at `images` disks; those that are not `obedient` sync the log only when pages are moved from it.
    async fn look(&self, images: usize, seed: u64, obedient: bool) -> anyhow::Result<Report> {
        let mut chance = chance(seed);
        let mut moments: Vec<usize> = (0..images).map(|_| chance.random_range(0..=self.done.len())).collect();
        moments.sort_unstable();
        let mut disk = self.before.clone().map(Disk::of);
        let mut report = Report { images, acknowledged: self.acknowledged.len(), ..Report::default() };
        let mut at = 0;
        for moment in moments {
            for idx in at..moment {
                let (_, stored, done) = &self.done[idx];
                // Before pages are moved from the log into the database, the log is synced either way.
                let moves = self.done.get(idx + 1).is_some_and(|(_, next, _)| *next == Stored::Database);
                disk[*stored as usize].apply(done, obedient || moves || *stored == Stored::Database);
            }
            at = moment;
            let position = self.done[..moment].last().map_or(0, |(end, _, _)| *end);
            let left = [disk[0].left(&mut chance), disk[1].left(&mut chance)];
            self.judge(left, position, &mut report).await?;
        }
        Ok(report)
    }

    /// Opens what a power cut left when so much had been done.
    async fn judge(&self, left: [Vec<u8>; 2], position: u64, report: &mut Report) -> anyhow::Result<()> {
        let folder = passing_folder()?;
        for entry in std::fs::read_dir(self.machine.folder.path())? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_file() && !name.to_string_lossy().starts_with("store.sqlite") {
                std::fs::copy(entry.path(), folder.path().join(name))?;
            }
        }
        std::fs::write(folder.path().join("store.sqlite"), &left[0])?;
        std::fs::write(folder.path().join("store.sqlite-wal"), &left[1])?;
        let settings = Config::defaults().with("store.data_dir", folder.path().to_string_lossy().into_owned())?;
        let store = match Store::open(&settings.section("store")?).await {
            Ok(store) => store,
            Err(StoreError::Corrupt(_)) => {
                report.damaged += 1;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut times: HashMap<u64, usize> = HashMap::new();
        let (filter, mut start) =
            (readings::Filter { sensor: Some(SensorId::from(SENSOR)), from: None, to: None }, Start::default());
        loop {
            let page = readings::list(&store.history(), &filter, &start, 1_000).await?;
            for entry in &page.rows {
                *times.entry(entry.reading.value as u64).or_default() += 1;
            }
            let Some(next) = page.next else { break };
            start = Start::After(next);
        }
        let due = self.acknowledged.iter().filter(|(done, _)| *done <= position);
        let lost = due.flat_map(|(_, batch)| Ledger::readings(*batch)).any(|number| !times.contains_key(&number));
        report.with_losses += usize::from(lost);
        report.with_doubles += usize::from(times.values().any(|times| 1 < *times));
        Ok(())
    }
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_default()
}

/// A file, as far as it is on the disk, and what is on its way there.
#[derive(Debug)]
struct Disk {
    synced: Vec<u8>,
    pending: Vec<Done>,
}

impl Disk {
    fn of(synced: Vec<u8>) -> Self {
        Self { synced, pending: Vec::new() }
    }

    fn apply(&mut self, done: &Done, heeds: bool) {
        match done {
            Done::Sync if heeds => self.pending.drain(..).for_each(|done| carry_out(&mut self.synced, &done)),
            Done::Sync => {}
            other => self.pending.push(other.clone()),
        }
    }

    /// What a power cut leaves: nothing of what was not synced, all of it, or sectors of it.
    fn left(&self, chance: &mut Pcg64Mcg) -> Vec<u8> {
        let mut file = self.synced.clone();
        let (sector, share) = (SECTORS[chance.random_range(0..SECTORS.len())], chance.random_range(0..=4_u32));
        for done in &self.pending {
            match done {
                Done::Write { offset, bytes } => {
                    for (idx, piece) in bytes.chunks(sector).enumerate() {
                        if chance.random_range(0..4) < share {
                            let offset = offset + (idx * sector) as u64;
                            carry_out(&mut file, &Done::Write { offset, bytes: piece.to_vec() });
                        }
                    }
                }
                other if chance.random_range(0..4) < share => carry_out(&mut file, other),
                _ => {}
            }
        }
        file
    }
}

fn carry_out(file: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Write { offset, bytes } => {
            let begin = usize::try_from(*offset).expect("a file fits in memory");
            let end = begin + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[begin..end].copy_from_slice(bytes);
        }
        Done::Truncate(size) => file.resize(usize::try_from(*size).expect("a file fits in memory"), 0),
        Done::Remove => file.clear(),
        Done::Sync => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_left_and_of_the_rest_any_sectors() {
        let mut disk = Disk::of(Vec::new());
        let write = |offset, byte| Done::Write { offset, bytes: vec![byte; 8_192] };
        for done in [write(0, 1), Done::Sync, write(0, 2)] {
            disk.apply(&done, true);
        }
        let mut chance = chance(1);
        let left: Vec<Vec<u8>> = (0..50).map(|_| disk.left(&mut chance)).collect();
        assert!(left.iter().any(|file| file.iter().all(|byte| *byte == 1)), "nothing of it");
        assert!(left.iter().any(|file| file.iter().all(|byte| *byte == 2)), "all of it");
        assert!(left.iter().any(|file| file.contains(&1) && file.contains(&2)), "some of it");
        assert!(left.iter().all(|file| file.len() == 8_192));
    }
}
