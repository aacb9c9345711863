//! The newest part of the log, kept in memory for those who follow it.
//!
//! Bounded by count and bytes; whoever is further behind reads the table. It holds committed things only.

use domain::reading::{Accepted, Reading};
use domain::{Envelope, Event, ReadingNo, Seq};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// Rough size of an envelope without its event, and of the bookkeeping around it.
const ENVELOPE_BYTES: usize = 256;

/// A committed event as the writer hands it over.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The event with its place.
    pub envelope: Arc<Envelope>,
    /// The readings that a `ReadingsAccepted` stands for.
    pub readings: Option<Arc<[Reading]>>,
    /// Length of the event's JSON.
    pub n_bytes: usize,
}

impl Committed {
    fn weight(&self) -> usize {
        let readings = self.readings.as_ref().map_or(0, |readings| size_of_val(&readings[..]));
        ENVELOPE_BYTES + self.n_bytes + readings
    }
}

/// The newest events, without gaps.
#[derive(Debug)]
pub struct Tail {
    events_max: usize,
    bytes_max: usize,
    // A leaf: nothing is awaited and nothing else is locked while it is held.
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Committed>,
    /// Readings by the number of the first of each batch, ascending.
    batches: VecDeque<(ReadingNo, Arc<[Reading]>)>,
    n_bytes: usize,
}

impl Tail {
    /// An empty tail that keeps at most that much.
    pub fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events_max, bytes_max, kept: RwLock::default() }
    }

    /// Appends what was committed, in log order, and forgets the oldest beyond the limits.
    pub fn push(&self, committed: Vec<Committed>) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        for event in committed {
            kept.n_bytes += event.weight();
            if let (Event::ReadingsAccepted(accepted), Some(readings)) = (&event.envelope.event, &event.readings) {
                kept.batches.push_back((accepted.first, Arc::clone(readings)));
            }
            kept.events.push_back(event);
        }
        while self.events_max < kept.events.len() || self.bytes_max < kept.n_bytes {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.n_bytes -= oldest.weight();
            if oldest.readings.is_some() {
                kept.batches.pop_front();
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }

    /// Up to `limit` events after `cursor`, in log order; `None` when the event after `cursor` is not kept.
    pub fn after(&self, cursor: Seq, limit: usize) -> Option<Vec<Arc<Envelope>>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let first = kept.events.front()?.envelope.seq;
        let skipped = usize::try_from(cursor.0 + 1 - first.0).ok()?;
        Some(kept.events.iter().skip(skipped).take(limit).map(|event| Arc::clone(&event.envelope)).collect())
    }

    /// The batch, if it is kept.
    pub fn readings(&self, accepted: &Accepted) -> Option<Arc<[Reading]>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let batch_idx = kept.batches.binary_search_by_key(&accepted.first, |(first, _)| *first).ok()?;
        Some(Arc::clone(&kept.batches[batch_idx].1))
    }
}
