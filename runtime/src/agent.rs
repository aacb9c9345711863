//! What an agent is: a function from its state, an event and a time to events.

use crate::Ctx;
use domain::{Event, Timestamp};
use persistence::unit::Origin;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::time::Duration;

/// One agent. The host delivers events to it, commits what it says together with its cursor, and
/// rebuilds its state from the log when an incarnation ends.
///
/// The value itself holds settings and dependencies and never changes; everything that changes is in
/// [`Agent::State`], so that no agent writes restore code.
pub trait Agent: Sized + Send + Sync + 'static {
    /// The one name: file, settings section, metric label, log field.
    const NAME: &'static str;
    /// Raised when [`Agent::State`] changes its form; older checkpoints are then ignored.
    const STATE_VERSION: u16 = 1;
    /// Where an agent that is new to a log begins.
    const ORIGIN: Origin = Origin::Beginning;
    /// How it treats the world outside.
    const EFFECTS: Effects = Effects::None;

    /// Its section of the settings, `[agents.NAME]`.
    type Settings: DeserializeOwned;
    /// The outside world it may touch: read access, a mailer, mostly nothing.
    type Deps;
    /// What it remembers: a cache of the log.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it hears.
    type Message: Send;

    /// Makes the agent. Does no I/O; runs when the tree is built.
    ///
    /// # Errors
    ///
    /// Settings that make no sense.
    fn start(settings: Self::Settings, deps: Self::Deps) -> anyhow::Result<Self>;

    /// Subscription and conversion in one place: `None` skips the event.
    fn accept(event: &Event) -> Option<Self::Message>;

    /// Handles one event. What it says through `ctx` is committed only if this returns `Ok`.
    ///
    /// It depends only on settings, state, message and `ctx.now()`. Reads of history are bounded by
    /// the event's position, or influence emissions only, never state.
    fn handle(
        &self,
        state: &mut Self::State,
        message: Self::Message,
        ctx: &mut Ctx,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How an agent treats the world outside the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// It has none: its state is rebuilt by replay.
    None,
    /// It carries out intents, at least once each: no state, no replay, and this long for one.
    Outside {
        /// Time that one intent may take.
        deadline: Duration,
        /// Whether one may take the process with it, as one that needs much memory may. The end of a process is held
        /// against such an intent as against an event. Any other is carried out again until it has an outcome,
        /// however often the process ends: it mostly waits for somebody else, so that its time is as good as any for
        /// a process to be killed.
        may_end_process: bool,
    },
}

/// Why an event could not be handled. One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something it needs is gone for now: wait, try again, do not count.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It did not work: try again a few times, then give the event up.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl From<persistence::StoreError> for Failure {
    fn from(error: persistence::StoreError) -> Self {
        match error {
            persistence::StoreError::Corrupt(_) => Self::Failed(error.into()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// An agent that is called instead of hearing events: it hands work to the writer with the caller's
/// reply port and takes the next request at once.
pub trait Called: Sized + Send + Sync + 'static {
    /// The one name.
    const NAME: &'static str;
    /// Its section of the settings, `[agents.NAME]`.
    type Settings: DeserializeOwned;
    /// The outside world it may touch.
    type Deps;
    /// What it is asked. Carries the caller's reply port; a request that is dropped tells the caller
    /// that its outcome is unknown.
    type Request: Send + 'static;

    /// Makes the agent. Does no I/O.
    ///
    /// # Errors
    ///
    /// Settings that make no sense.
    fn start(settings: Self::Settings, deps: Self::Deps) -> anyhow::Result<Self>;

    /// Takes one request. Never waits.
    fn call(&self, request: Self::Request, now: Timestamp);
}
