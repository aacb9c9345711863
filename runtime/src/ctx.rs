//! An agent's voices, and what it may know about the event at hand.

use crate::Failure;
use domain::reading::{Accepted, Reading};
use domain::{CorrelationId, Envelope, Event, EventId, ReadingNo, Seq, Timestamp, TraceParent};
use persistence::Log;
use persistence::unit::{NewEvent, TimerChange};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// The event at hand and what is said about it.
///
/// `emit` and `wake_at` are the only voices, `now` is the only clock.
#[derive(Debug)]
pub struct Ctx {
    agent: &'static str,
    readings: ReadingSource,
    seq: Seq,
    event: EventId,
    correlation: CorrelationId,
    traceparent: Option<TraceParent>,
    now: Timestamp,
    ids: u32,
    said: Said,
}

/// What an agent said about one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) events: Vec<NewEvent>,
    pub(crate) timers: Vec<TimerChange>,
}

impl Said {
    pub(crate) fn append(&mut self, more: Self) {
        self.events.extend(more.events);
        self.timers.extend(more.timers);
    }
}

/// Names of the events, for the log.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, new) in self.events.iter().enumerate() {
            let comma = if idx == 0 { "" } else { ", " };
            write!(f, "{comma}{}", new.event.name())?;
        }
        Ok(())
    }
}

/// Where readings come from.
#[derive(Clone)]
pub(crate) enum ReadingSource {
    /// The log of a running node.
    Log(Log),
    /// The batches that a bench was fed.
    Bench(Arc<Mutex<HashMap<ReadingNo, Arc<[Reading]>>>>),
}

impl fmt::Debug for ReadingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "Log",
            Self::Bench(_) => "Bench",
        })
    }
}

impl Ctx {
    pub(crate) fn new(agent: &'static str, readings: ReadingSource, envelope: &Envelope) -> Self {
        Self {
            agent,
            readings,
            seq: envelope.seq,
            event: envelope.id,
            correlation: envelope.correlation.clone(),
            traceparent: envelope.traceparent.clone(),
            now: envelope.at,
            ids: 0,
            said: Said::default(),
        }
    }

    /// When the event at hand was received.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Place of the event at hand in the log.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Id of the event at hand.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The request that the event at hand came of.
    pub fn correlation(&self) -> &CorrelationId {
        &self.correlation
    }

    /// A new id. The same event gives the same ids again, so that replay ends in the same state.
    pub fn id(&mut self) -> Uuid {
        self.ids += 1;
        let mut hash = Sha256::new();
        hash.update(self.agent.as_bytes());
        hash.update(self.event.0.as_bytes());
        hash.update(self.ids.to_le_bytes());
        let digest = hash.finalize();
        let bytes: [u8; 16] = digest[..16].try_into().expect("a SHA-256 digest has 32 bytes");
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Says that `event` happened, because of the event at hand. Returns its id.
    pub fn emit(&mut self, event: Event) -> EventId {
        let id = EventId(self.id());
        self.said.events.push(NewEvent {
            id,
            cause: Some(self.event),
            correlation: self.correlation.clone(),
            source: self.agent.into(),
            at: self.now,
            traceparent: self.traceparent.clone(),
            event,
        });
        id
    }

    /// Asks for `TimerDue` with `key` at `at`. A timer with that key is moved.
    pub fn wake_at(&mut self, key: impl Into<String>, at: Timestamp) {
        self.said.timers.push(TimerChange::Set {
            key: key.into(),
            at,
            cause: self.event,
            correlation: self.correlation.clone(),
        });
    }

    /// Forgets the timer with `key`, if there is one.
    pub fn cancel_wake(&mut self, key: impl Into<String>) {
        self.said.timers.push(TimerChange::Cancel { key: key.into() });
    }

    /// The readings of a batch, in order of arrival.
    ///
    /// # Errors
    ///
    /// [`Failure::Unavailable`] when the store cannot be read.
    pub async fn readings(&self, accepted: &Accepted) -> Result<Arc<[Reading]>, Failure> {
        match &self.readings {
            ReadingSource::Log(log) => Ok(log.readings(accepted).await?),
            ReadingSource::Bench(batches) => {
                let batches = batches.lock().expect("no test panics while it holds the lock");
                let batch = batches.get(&accepted.first).expect("the bench was fed this batch");
                Ok(Arc::clone(batch))
            }
        }
    }

    pub(crate) fn into_said(self) -> Said {
        self.said
    }
}
