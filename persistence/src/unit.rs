//! What can be submitted to the writer. Each unit is committed as a whole or refused as a whole;
//! the writer answers through the unit's own reply port after the commit.

use crate::in_hand::Held;
use crate::seen::Seen;
use domain::reading::{Rejected, Sensor};
use domain::{CorrelationId, Event, EventId, ReadingNo, Seq, Timestamp, TraceParent};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where a unit's outcome is told.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Why a unit was not committed. One variant per reaction of the submitter.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Another incarnation has taken over: end.
    #[error("incarnation {epoch} of {agent} is fenced")]
    Fenced {
        /// The agent.
        agent: String,
        /// The incarnation that submitted the unit.
        epoch: i64,
    },
    /// The unit contradicts what is stored (a unique index, a foreign key): rebuild from the log, decide again.
    #[error("conflict: {0}")]
    Conflict(String),
    /// What the unit rests on is no longer so: look again.
    #[error("it has changed since it was seen")]
    Changed,
    /// The idempotency key was used for another body: the caller's mistake.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// The store cannot be written to now: wait, try again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}

/// An event before it has a place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The event's own id.
    pub id: EventId,
    /// The event it answers.
    pub cause: Option<EventId>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// Who says it.
    pub source: Cow<'static, str>,
    /// Receive time.
    pub at: Timestamp,
    /// The request's step of its caller's trace.
    pub traceparent: Option<TraceParent>,
    /// What happened.
    pub event: Event,
}

/// A reading before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReading {
    /// The sensor as the reading describes it; the first reading of an unknown sensor registers it.
    pub sensor: Arc<Sensor>,
    /// Finite, in the sensor's unit.
    pub value: f64,
    /// 0 to 1.
    pub quality: f64,
    /// Source time.
    pub taken_at: Timestamp,
    /// What else the sender told (metadata, a unit or type other than the sensor's), as a JSON object.
    pub extra: Option<Box<serde_json::Map<String, serde_json::Value>>>,
}

/// A promise that a request is carried out once.
#[derive(Clone, Debug, PartialEq)]
pub struct Idempotency {
    /// Who and where: key name and route.
    pub scope: String,
    /// The caller's key.
    pub key: String,
    /// Digest of the body.
    pub body_sha256: [u8; 32],
    /// The answer that a repeat gets, as it will be sent.
    pub response: String,
    /// When it was first used.
    pub at: Timestamp,
}

/// Readings of one request.
#[derive(Debug)]
pub struct Ingest {
    /// In order of arrival; at least one, or `rejected` is set.
    pub readings: Vec<NewReading>,
    /// Items that were refused, if any.
    pub rejected: Option<Rejected>,
    /// Id of the `ReadingsAccepted` event, or of the `ReadingsRejected` when nothing is acceptable.
    pub event: EventId,
    /// The request.
    pub correlation: CorrelationId,
    /// Its step of its caller's trace.
    pub traceparent: Option<TraceParent>,
    /// Receive time of all of them.
    pub received_at: Timestamp,
    /// Set when the caller gave a key.
    pub idempotency: Option<Idempotency>,
    /// Told after the commit.
    pub reply: Reply<Ingested>,
}

/// What became of an [`Ingest`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ingested {
    /// The readings are on disk.
    Stored {
        /// The `ReadingsAccepted` event (or `ReadingsRejected` when nothing was acceptable).
        event: EventId,
        /// Number of the first reading; 0 when nothing was acceptable.
        first: ReadingNo,
    },
    /// The key was used before with the same body.
    Repeat(Repeat),
}

/// A request that was carried out before.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// The first event of the first time.
    pub event: EventId,
    /// The answer of the first time.
    pub response: String,
}

/// Events that do not come from an agent: requests of clients.
#[derive(Debug)]
pub struct Append {
    /// In order; at least one.
    pub events: Vec<NewEvent>,
    /// What must still be so when they are committed, if they rest on something.
    pub seen: Option<Seen>,
    /// Set when the caller gave a key.
    pub idempotency: Option<Idempotency>,
    /// Told after the commit.
    pub reply: Reply<Appended>,
}

/// What became of an [`Append`].
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// The events are in the log; this is the last one's place.
    Stored(Seq),
    /// The key was used before with the same body.
    Repeat(Repeat),
}

/// A change to an agent's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum TimerChange {
    /// Wake the agent with `key` at `at`; a timer with that key is moved.
    Set {
        /// The agent's own key.
        key: String,
        /// When.
        at: Timestamp,
        /// The event that set it.
        cause: EventId,
        /// The request that event came of.
        correlation: CorrelationId,
    },
    /// Forget the timer with that key.
    Cancel {
        /// The agent's own key.
        key: String,
    },
}

/// An event that an agent could not handle.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The event.
    pub seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed, cause chain included.
    pub error: String,
    /// Receive time of its burial.
    pub at: Timestamp,
}

/// What an agent made of the events after `from` up to `to`.
#[derive(Debug)]
pub struct AgentUnit {
    /// The agent.
    pub agent: &'static str,
    /// Its incarnation.
    pub epoch: i64,
    /// Its cursor before.
    pub from: Seq,
    /// Its cursor after.
    pub to: Seq,
    /// Attempts already spent on the event after `to`.
    pub attempts: u32,
    /// What it said, in order.
    pub events: Vec<NewEvent>,
    /// Its timers' changes, in order.
    pub timers: Vec<TimerChange>,
    /// The event at `to`, if it is given up.
    pub dead_letter: Option<DeadLetter>,
    /// Told after the commit.
    pub reply: Reply<()>,
}

/// Where an agent that is new to a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With the next event.
    Now,
    /// With the first one.
    Beginning,
}

/// The start of an incarnation: one durable write, `epoch + 1` and `attempts + 1`.
#[derive(Debug)]
pub struct Begin {
    /// The agent.
    pub agent: &'static str,
    /// Where it begins if the log does not know it.
    pub origin: Origin,
    /// Whether this start counts as an attempt at the event after the cursor. It does not when the
    /// previous incarnation ended only because the store was unavailable.
    pub charged: bool,
    /// The event that an incarnation had in hand when it ended, if there was one.
    pub held: Option<Held>,
    /// Told after the commit.
    pub reply: Reply<Incarnation>,
}

/// An agent's durable place as its incarnation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// This incarnation; older ones are fenced.
    pub epoch: i64,
    /// Events up to here are done.
    pub cursor: Seq,
    /// Attempts at the event after the cursor, the coming one included.
    pub attempts: u32,
    /// The last event that was in hand at an end that nobody saw, of this incarnation's predecessor or of an earlier
    /// one: events up to there are to be handled one at a time.
    pub alone_until: Seq,
}

/// A snapshot of an agent's state after the event at `cursor`.
#[derive(Debug)]
pub struct Checkpoint {
    /// The agent.
    pub agent: &'static str,
    /// Its incarnation.
    pub epoch: i64,
    /// The cursor the state belongs to.
    pub cursor: Seq,
    /// Version of the state's form.
    pub version: u16,
    /// The state.
    pub state: Vec<u8>,
    /// Told after the commit.
    pub reply: Reply<()>,
}

/// A unit on its way to the writer.
#[derive(Debug)]
pub(crate) enum Unit {
    /// Readings of one request.
    Ingest(Ingest),
    /// Events of a client's request.
    Append(Append),
    /// What an agent made of some events.
    Agent(AgentUnit),
    /// The start of an incarnation.
    Begin(Begin),
    /// The orderly end of one: the next start is a clean one.
    Rest {
        /// The agent.
        agent: &'static str,
        /// Its incarnation.
        epoch: i64,
        /// Told after the commit.
        reply: Reply<()>,
    },
    /// A snapshot of an agent's state.
    Checkpoint(Checkpoint),
    /// Append `TimerDue` for what is due at `now`, and delete those timers.
    FireTimers {
        /// Receive time.
        now: Timestamp,
        /// Told how many were due.
        reply: Reply<usize>,
    },
    /// A change of settings kept in the store.
    Admin {
        /// The change.
        change: crate::admin::Change,
        /// What is said of it.
        events: Vec<NewEvent>,
        /// Told after the commit.
        reply: Reply<()>,
    },
}

/// What became of a committed unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Done {
    /// Of an [`Ingest`].
    Ingested(Ingested),
    /// Of an [`Append`].
    Appended(Appended),
    /// Of a [`Begin`].
    Begun(Incarnation),
    /// Of [`Unit::FireTimers`].
    Fired(usize),
    /// Of any other unit.
    Nothing,
}

impl Unit {
    /// Readings that the unit brings.
    pub(crate) fn n_readings(&self) -> usize {
        match self {
            Self::Ingest(unit) => unit.readings.len(),
            _ => 0,
        }
    }

    /// The key that the unit uses, if any, and the first event of what it is used for.
    pub(crate) fn idempotency(&self) -> Option<(&Idempotency, EventId)> {
        match self {
            Self::Ingest(unit) => Some((unit.idempotency.as_ref()?, unit.event)),
            Self::Append(unit) => Some((unit.idempotency.as_ref()?, unit.events.first()?.id)),
            _ => None,
        }
    }

    /// Tells the submitter that the unit was not committed, and why.
    pub(crate) fn refuse(self, why: Refused) {
        match self {
            Self::Ingest(unit) => tell(unit.reply, Err(why)),
            Self::Append(unit) => tell(unit.reply, Err(why)),
            Self::Begin(unit) => tell(unit.reply, Err(why)),
            Self::FireTimers { reply, .. } => tell(reply, Err(why)),
            Self::Agent(AgentUnit { reply, .. })
            | Self::Rest { reply, .. }
            | Self::Checkpoint(Checkpoint { reply, .. })
            | Self::Admin { reply, .. } => tell(reply, Err(why)),
        }
    }

    /// Tells the submitter what became of the unit, which has been committed.
    pub(crate) fn answer(self, done: Done) {
        match (self, done) {
            (Self::Ingest(unit), Done::Ingested(ingested)) => tell(unit.reply, Ok(ingested)),
            (Self::Append(unit), Done::Appended(appended)) => tell(unit.reply, Ok(appended)),
            (Self::Begin(unit), Done::Begun(incarnation)) => tell(unit.reply, Ok(incarnation)),
            (Self::FireTimers { reply, .. }, Done::Fired(n_timers)) => tell(reply, Ok(n_timers)),
            (Self::Agent(AgentUnit { reply, .. }), Done::Nothing)
            | (Self::Rest { reply, .. }, Done::Nothing)
            | (Self::Checkpoint(Checkpoint { reply, .. }), Done::Nothing)
            | (Self::Admin { reply, .. }, Done::Nothing) => tell(reply, Ok(())),
            (unit, done) => unreachable!("{done:?} is not what becomes of {unit:?}"),
        }
    }
}

fn tell<T>(reply: Reply<T>, outcome: Result<T, Refused>) {
    // Who asked may have gone away; what was committed stays committed.
    drop(reply.send(outcome));
}
