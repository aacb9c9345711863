//! A child's place in the tree: it stays while incarnations come and go.

use crate::rules::restart::{Bequest, Exit};
use crate::rules::wake::Wake;
use arc_swap::ArcSwapOption;
use domain::{Event, Seq, Timestamp};
use ractor::ActorRef;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The node cannot do without it.
    Essential,
    /// Hears events.
    Agent,
    /// Is called.
    Called,
    /// Carries out intents in the world outside.
    Worker,
}

/// How a child is, as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// At work, or ready for it.
    Running,
    /// Between two incarnations.
    Restarting,
    /// Held by an operator.
    Paused,
    /// Finishing, takes nothing new.
    Draining,
    /// Failed too often; tried again once a minute.
    Quarantined,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Running, Self::Restarting, Self::Paused, Self::Draining, Self::Quarantined];

    /// The name as it stands in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What.
    pub error: String,
}

/// Message to a host: work is announced, never carried.
#[derive(Debug)]
pub(crate) enum HostMessage {
    /// The log has grown, or the agent may go on.
    Wake,
    /// Commit, take a checkpoint, end.
    Finish,
}

#[derive(Debug)]
struct Condition {
    state: State,
    last_error: Option<LastError>,
    bequest: Bequest,
}

/// No event.
const NEVER: i64 = i64::MAX;

/// A state is being saved.
const UNDER_WAY: u64 = u64::MAX;

/// A child's place in the tree.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it hears an event.
    pub(crate) accepts: fn(&Event) -> bool,
    started: Instant,
    // A leaf lock: held for a field's copy, never across an await.
    condition: Mutex<Condition>,
    pub(crate) restarts: AtomicU64,
    pub(crate) mailbox: AtomicU64,
    /// Events up to here were seen, whether or not the cursor has been stored.
    pub(crate) scanned: AtomicI64,
    pub(crate) paused: AtomicBool,
    /// It is drained: it rests after this event. `NEVER` when it is not.
    drain_to: AtomicI64,
    /// The incarnation that may work; hosts of older ones end.
    pub(crate) generation: AtomicU64,
    wake: Wake,
    /// Milliseconds after `started` at which the event at hand must be done; 0 between events.
    due_ms: AtomicU64,
    /// Microseconds that it took to save its state the last time.
    saving_us: AtomicU64,
    door: ArcSwapOption<ActorRef<HostMessage>>,
}

impl Slot {
    pub(crate) fn new(name: &'static str, kind: Kind, accepts: fn(&Event) -> bool) -> Self {
        Self {
            name,
            kind,
            accepts,
            started: Instant::now(),
            condition: Mutex::new(Condition {
                state: State::Restarting,
                last_error: None,
                bequest: Bequest::default(),
            }),
            restarts: AtomicU64::new(0),
            mailbox: AtomicU64::new(0),
            scanned: AtomicI64::new(0),
            paused: AtomicBool::new(false),
            drain_to: AtomicI64::new(NEVER),
            generation: AtomicU64::new(0),
            wake: Wake::default(),
            due_ms: AtomicU64::new(0),
            saving_us: AtomicU64::new(0),
            door: ArcSwapOption::empty(),
        }
    }

    fn condition(&self) -> std::sync::MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The state as the operator sees it.
    pub(crate) fn state(&self) -> State {
        let state = self.condition().state;
        match state {
            State::Running if self.paused.load(Ordering::SeqCst) => State::Paused,
            State::Running if self.drain_to().is_some() => State::Draining,
            state => state,
        }
    }

    /// The last event to handle before it rests, if it is drained.
    pub(crate) fn drain_to(&self) -> Option<Seq> {
        Some(self.drain_to.load(Ordering::SeqCst)).filter(|seq| *seq != NEVER).map(Seq)
    }

    /// Lets it rest, go on, or rest after an event.
    pub(crate) fn hold(&self, paused: bool, drain_to: Option<Seq>) {
        self.paused.store(paused, Ordering::SeqCst);
        self.drain_to.store(drain_to.map_or(NEVER, |seq| seq.0), Ordering::SeqCst);
    }

    pub(crate) fn set_state(&self, state: State) {
        self.condition().state = state;
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.condition().last_error.clone()
    }

    pub(crate) fn note_error(&self, at: Timestamp, error: String) {
        self.condition().last_error = Some(LastError { at, error });
    }

    /// Leaves word why this incarnation is about to end.
    pub(crate) fn leave(&self, exit: Exit) {
        self.condition().bequest.leave(exit);
    }

    /// Whether the start that follows is a further attempt at an event that failed.
    pub(crate) fn charged(&self) -> bool {
        self.condition().bequest.charged()
    }

    /// Up to where events are taken one at a time, since what was said about several was refused.
    pub(crate) fn singly_until(&self) -> Seq {
        self.condition().bequest.singly_until()
    }

    /// The start was stored, with the attempt if it was one.
    pub(crate) fn settle(&self) {
        self.condition().bequest.settle();
    }

    /// Why the last incarnation ended; asked once.
    pub(crate) fn take_exit(&self) -> Exit {
        self.condition().bequest.take_exit()
    }

    /// Opens the door to a new incarnation.
    pub(crate) fn open(&self, host: ActorRef<HostMessage>) {
        self.door.store(Some(std::sync::Arc::new(host)));
        // Only now: a wake-up that went to the old door counts as under way no longer.
        self.wake.clear();
    }

    /// Tells the host that there may be work. At most one such message is under way.
    pub(crate) fn wake(&self) {
        if !self.wake.ask() {
            return;
        }
        let sent = self.door.load().as_ref().is_some_and(|host| host.cast(HostMessage::Wake).is_ok());
        if sent {
            self.mailbox.store(1, Ordering::SeqCst);
        } else {
            self.wake.clear();
        }
    }

    /// The host has taken the wake-up; from now on another one may be sent.
    pub(crate) fn woken(&self) {
        self.mailbox.store(0, Ordering::SeqCst);
        self.wake.clear();
    }

    /// Asks the host to finish. False if there is none.
    pub(crate) fn finish(&self) -> bool {
        self.door.load().as_ref().is_some_and(|host| host.cast(HostMessage::Finish).is_ok())
    }

    /// Whether the incarnation that was started as `generation` is still the one that may work.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::SeqCst) == generation
    }

    /// The host begins with an event that may take `deadline`.
    pub(crate) fn busy(&self, deadline: Duration) {
        let due = self.started.elapsed() + deadline;
        self.due_ms.store(u64::try_from(due.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::SeqCst);
    }

    /// The host is between events.
    pub(crate) fn idle(&self) {
        self.due_ms.store(0, Ordering::SeqCst);
    }

    /// A state begins to be saved.
    pub(crate) fn saves(&self) {
        self.saving_us.store(UNDER_WAY, Ordering::SeqCst);
    }

    /// The state was saved, or could not be, which took so long.
    pub(crate) fn saved(&self, took: Duration) {
        self.saving_us.store(u64::try_from(took.as_micros()).unwrap_or(UNDER_WAY - 1), Ordering::SeqCst);
    }

    /// Time that it took to save a state the last time; `None` while one is being saved.
    pub(crate) fn saving(&self) -> Option<Duration> {
        Some(self.saving_us.load(Ordering::SeqCst)).filter(|us| *us != UNDER_WAY).map(Duration::from_micros)
    }

    /// Whether the event at hand is overdue by more than `grace`.
    pub(crate) fn stuck(&self, grace: Duration) -> bool {
        let due = self.due_ms.load(Ordering::SeqCst);
        due != 0 && Duration::from_millis(due) + grace < self.started.elapsed()
    }
}
