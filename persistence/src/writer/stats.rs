//! What the writer did so far, in numbers.

use crate::database;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes in which commits are counted, in seconds.
pub const COMMIT_SECONDS_BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What the writer did since the store was opened, and how things stand.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterStats {
    /// Groups committed.
    pub commits: u64,
    /// Units committed.
    pub units: u64,
    /// Units refused, for whatever reason.
    pub units_refused: u64,
    /// Events committed.
    pub events: u64,
    /// Readings committed.
    pub readings: u64,
    /// Groups that were applied unit by unit, because one of theirs was refused.
    pub groups_rerun: u64,
    /// Times the store could not be written to.
    pub failures: u64,
    /// Units waiting.
    pub queue_depth: usize,
    /// Seconds that all commits took, from the begin of the transaction to its end.
    pub commit_seconds_sum: f64,
    /// Seconds that the newest commit took.
    pub commit_seconds_last: f64,
    /// Commits up to each of [`COMMIT_SECONDS_BOUNDS`] and above the one before; the last class has no bound.
    pub commit_counts: [u64; COMMIT_SECONDS_BOUNDS.len() + 1],
    /// Size of the WAL.
    pub wal_bytes: u64,
    /// Size of the database without the WAL.
    pub file_bytes: u64,
}

/// Counters that the writer moves and anybody reads.
#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    units: AtomicU64,
    units_refused: AtomicU64,
    events: AtomicU64,
    readings: AtomicU64,
    groups_rerun: AtomicU64,
    failures: AtomicU64,
    commit_microseconds_sum: AtomicU64,
    commit_microseconds_last: AtomicU64,
    commit_counts: [AtomicU64; COMMIT_SECONDS_BOUNDS.len() + 1],
}

impl Counters {
    pub(crate) fn committed(&self, n_units: usize, n_refused: usize, n_events: usize, n_readings: usize) {
        add(&self.commits, 1);
        add(&self.units, n_units);
        add(&self.units_refused, n_refused);
        add(&self.events, n_events);
        add(&self.readings, n_readings);
    }

    pub(crate) fn commit_took(&self, elapsed: Duration) {
        let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.commit_microseconds_sum.fetch_add(microseconds, Ordering::Relaxed);
        self.commit_microseconds_last.store(microseconds, Ordering::Relaxed);
        let class = COMMIT_SECONDS_BOUNDS.partition_point(|bound| *bound < elapsed.as_secs_f64());
        add(&self.commit_counts[class], 1);
    }

    pub(crate) fn rerun(&self) {
        add(&self.groups_rerun, 1);
    }

    pub(crate) fn failed(&self, n_units: usize) {
        add(&self.failures, 1);
        add(&self.units_refused, n_units);
    }

    pub(crate) fn stats(&self, queue_depth: usize, dir: &Path) -> WriterStats {
        WriterStats {
            commits: read(&self.commits),
            units: read(&self.units),
            units_refused: read(&self.units_refused),
            events: read(&self.events),
            readings: read(&self.readings),
            groups_rerun: read(&self.groups_rerun),
            failures: read(&self.failures),
            queue_depth,
            commit_seconds_sum: seconds(read(&self.commit_microseconds_sum)),
            commit_seconds_last: seconds(read(&self.commit_microseconds_last)),
            commit_counts: std::array::from_fn(|class| read(&self.commit_counts[class])),
            wal_bytes: n_bytes(&database::wal(dir)),
            file_bytes: n_bytes(&database::file(dir)),
        }
    }
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}

fn n_bytes(path: &Path) -> u64 {
    // A WAL that is not there is empty.
    std::fs::metadata(path).map_or(0, |file| file.len())
}
