//! The mechanism that agents run on: hosts, supervision, delivery, retries. It knows no agent by
//! name, and no other crate names the actor library.
#![warn(missing_docs)]
#![cfg_attr(panic = "abort", doc = "Supervision needs unwinding.")]

pub mod admission;
pub mod agent;
mod background;
pub mod bench;
mod called;
mod clock;
mod control;
mod ctx;
pub mod faults;
mod host;
pub mod intake;
pub mod metrics;
mod part;
mod retrace;
pub mod rules;
mod settings;
mod slot;
mod status;
mod supervisor;
mod tree;

pub use agent::{Agent, Called, Effects, Failure};
pub use background::background;
pub use called::Port;
pub use clock::Clock;
pub use control::Outlook;
pub use ctx::Ctx;
pub use metrics::Metrics;
pub use part::Part;
pub use persistence::unit::Origin;
pub use retrace::Retraced;
pub use settings::Settings;
pub use slot::{Kind, LastError, State};
pub use status::AgentStatus;
pub use tree::{Child, Tree, called, child, hosted};

use domain::Seq;
use faults::Faults;
use persistence::Store;
use ractor::{Actor, ActorRef};
use slot::Slot;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use supervisor::{Death, Message, Supervisor};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(panic = "abort")]
compile_error!("supervision needs unwinding: do not set panic = \"abort\"");

/// Longest wait for a wake-up that was lost.
const POLL: Duration = Duration::from_secs(1);

/// What all children of a node share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    pub(crate) tasks: TaskTracker,
    pub(crate) faults: Faults,
    fatal: watch::Sender<Option<Fatal>>,
}

/// Why a node cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The part that failed for good.
    pub part: &'static str,
    /// Whether it was the disk, so that a start elsewhere, or after a repair, makes sense.
    pub disk: bool,
}

impl Shared {
    /// The node cannot go on without `part`.
    pub(crate) fn fail(&self, part: &'static str, disk: bool) {
        self.fatal.send_if_modified(|fatal| fatal.is_none() && fatal.replace(Fatal { part, disk }).is_none());
    }
}

/// A running node. A value: two of them can live in one process.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
    // A leaf lock: held while the list is copied, never across an await.
    slots: Arc<RwLock<Vec<Arc<Slot>>>>,
    supervisor: ActorRef<Message>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts the writer, the timers and delivery, then `tree` in its order.
    ///
    /// # Errors
    ///
    /// Two children of one name, which would share a cursor; a store that cannot be read.
    pub async fn start(
        tree: Tree,
        store: Store,
        clock: Clock,
        settings: Settings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            store,
            clock,
            settings,
            metrics,
            started: Instant::now(),
            tasks: TaskTracker::new(),
            faults: tree.faults,
            fatal: watch::Sender::new(None),
        });
        let slots: Arc<RwLock<Vec<Arc<Slot>>>> = Arc::default();
        let essential = [writer(&shared), timers(&shared), delivery(&shared, &slots)];
        let children: Vec<Child> = essential.into_iter().map(tree::essential).chain(tree.children).collect();
        let mut names = HashSet::new();
        if let Some(twice) = children.iter().find(|child| !names.insert(child.slot.name)) {
            anyhow::bail!("two parts of the tree are called {:?}: each needs a name of its own", twice.slot.name);
        }
        let mut consumers = shared.store.log().consumers().await?;
        for child in &children {
            if let Some(idx) = consumers.iter().position(|row| row.name == child.slot.name) {
                let row = consumers.swap_remove(idx);
                child.slot.hold(row.paused, row.drain_to);
                child.slot.scanned.store(row.cursor.0, Ordering::SeqCst);
            }
        }
        slots
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .extend(children.iter().map(|child| Arc::clone(&child.slot)));
        let (supervisor, _) = Actor::spawn(None, Supervisor, (Arc::clone(&shared), children)).await?;
        Ok(Self { shared, slots, supervisor })
    }

    /// Adds an essential part that starts last and stops first: the edge.
    ///
    /// # Errors
    ///
    /// The node has ended.
    pub fn add(&self, part: Part) -> anyhow::Result<()> {
        let child = tree::essential(part);
        self.slots.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(Arc::clone(&child.slot));
        self.supervisor.cast(Message::Add(child)).map_err(|_| anyhow::anyhow!("the node has ended"))
    }

    /// The node's store.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The node's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The node's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The tree as it is now, in start order.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn status(&self) -> Result<Vec<AgentStatus>, persistence::StoreError> {
        let slots = self.slots.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut agents = Vec::with_capacity(slots.len());
        for slot in slots {
            agents.push(self.status_of(&slot).await?);
        }
        Ok(agents)
    }

    async fn status_of(&self, slot: &Slot) -> Result<AgentStatus, persistence::StoreError> {
        let log = self.shared.store.log();
        let cursor = slot.scanned.load(Ordering::SeqCst);
        let hears = matches!(slot.kind, Kind::Agent | Kind::Worker);
        let lag = if hears { (log.head().0 - cursor).max(0) } else { 0 };
        let oldest = if 0 < lag { log.after(Seq(cursor), 1).await?.into_iter().next() } else { None };
        let now = self.shared.clock.now();
        Ok(AgentStatus {
            name: slot.name,
            kind: slot.kind,
            state: slot.state(),
            restarts: slot.restarts.load(Ordering::SeqCst),
            mailbox: slot.mailbox.load(Ordering::SeqCst),
            oldest_seconds: oldest.map_or(0.0, |event| now.duration_since(event.at).as_secs_f64().max(0.0)),
            lag,
            cursor: if hears { cursor } else { 0 },
            last_error: slot.last_error(),
        })
    }

    /// Largest lag of an agent that is at work or about to be, in events.
    ///
    /// One that an operator holds, or that is quarantined, does not count: its events wait in the log, and the disk
    /// is what bounds them.
    pub fn lag(&self) -> i64 {
        let head = self.shared.store.log().head().0;
        let slots = self.slots.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited_for =
            |slot: &&Arc<Slot>| slot.kind == Kind::Agent && !matches!(slot.state(), State::Paused | State::Quarantined);
        let behind = |slot: &Arc<Slot>| head - slot.scanned.load(Ordering::SeqCst);
        slots.iter().filter(waited_for).map(behind).max().unwrap_or(0)
    }

    /// Ends the child called `name` at its next wait, as a fault would: a hook for fault tests.
    pub async fn kill(&self, name: &str) -> bool {
        self.end(name, Death::Kill).await
    }

    /// Takes the task of the child called `name` away from under it: a hook for fault tests.
    pub async fn abort(&self, name: &str) -> bool {
        self.end(name, Death::Abort).await
    }

    async fn end(&self, name: &str, death: Death) -> bool {
        let ended = ractor::call!(self.supervisor, |reply| Message::End { name: name.to_owned(), death, reply });
        ended.unwrap_or(false)
    }

    /// Waits until an essential part has failed for good.
    pub async fn failed(&self) -> Fatal {
        let mut fatal = self.shared.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(fatal) => fatal.expect("waited for it"),
            Err(_) => Fatal { part: "supervisor", disk: false },
        }
    }

    /// Stops everything in reverse order: the edge first, the writer last.
    pub async fn stop(&self, deadline: Duration) {
        let stopped = ractor::call!(self.supervisor, |reply| Message::Stop { deadline, reply });
        if let Err(error) = stopped {
            tracing::warn!(%error, "the supervisor had ended before it was stopped");
        }
        self.shared.tasks.close();
        if tokio::time::timeout(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("background tasks did not finish in time");
        }
    }
}

fn writer(shared: &Arc<Shared>) -> Part {
    let (run, stop) = (shared.store.clone(), shared.store.clone());
    Part::new(
        "writer",
        move || {
            let store = run.clone();
            async move { Ok(store.run_writer().await?) }
        },
        move || stop.close(),
    )
}

/// Fires what is due, and sleeps until the next timer or a change of timers.
fn timers(shared: &Arc<Shared>) -> Part {
    let stop = CancellationToken::new();
    let (shared, stopped) = (Arc::clone(shared), stop.clone());
    Part::new(
        "timers",
        move || {
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            async move {
                loop {
                    let changed = shared.store.timers_changed().notified();
                    let now = shared.clock.now();
                    let next = shared.store.next_timer_at().await?;
                    if next.is_some_and(|at| at <= now) {
                        shared.store.fire_timers(now).await?;
                        continue;
                    }
                    let until =
                        next.map_or(POLL, |at| Duration::try_from(at.duration_since(now)).unwrap_or(POLL).min(POLL));
                    tokio::select! {
                        () = stopped.cancelled() => return Ok(()),
                        () = changed => {}
                        () = tokio::time::sleep(until) => {}
                    }
                }
            }
        },
        move || stop.cancel(),
    )
}

/// Tells every host that the log has grown; the poll covers a wake-up that was lost.
fn delivery(shared: &Arc<Shared>, slots: &Arc<RwLock<Vec<Arc<Slot>>>>) -> Part {
    let stop = CancellationToken::new();
    let (shared, slots, stopped) = (Arc::clone(shared), Arc::clone(slots), stop.clone());
    Part::new(
        "delivery",
        move || {
            let (shared, slots, stopped) = (Arc::clone(&shared), Arc::clone(&slots), stopped.clone());
            async move {
                let mut changes = shared.store.log().changes();
                loop {
                    tokio::select! {
                        () = stopped.cancelled() => return Ok(()),
                        changed = changes.changed() => changed?,
                        () = tokio::time::sleep(POLL) => {}
                    }
                    changes.mark_unchanged();
                    let slots = slots.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                    slots
                        .iter()
                        .filter(|slot| matches!(slot.kind, Kind::Agent | Kind::Worker))
                        .for_each(|slot| slot.wake());
                }
            }
        },
        move || stop.cancel(),
    )
}
