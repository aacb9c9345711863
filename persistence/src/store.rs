//! The store as the rest of the program sees it: submit, read, count.

use crate::database;
use crate::idempotency;
use crate::in_hand::{Held, InHand};
use crate::registry::Registry;
use crate::seen::Seen;
use crate::timers;
use crate::unit::{
    AgentUnit, Append, Appended, Begin, Checkpoint, Idempotency, Incarnation, Ingest, NewEvent, Origin, Refused, Reply,
    Unit,
};
use crate::writer::queue::Queue;
use crate::writer::stats::{Counters, WriterStats};
use crate::{History, Log, StoreError, admin, audit, writer};
use domain::reading::Sensor;
use domain::{SensorId, Seq, Timestamp};
use sea_orm::DatabaseConnection;
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, oneshot};

const CLOSED: &str = "the store is closed";

/// Where the store is and how much it may use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the database. Created if missing, readable by its owner only.
    pub data_dir: PathBuf,
    /// Connections that read. At least 1.
    pub readers: u32,
    /// Units committed together at most.
    pub group_units_max: usize,
    /// Readings after which no further unit joins a group.
    pub group_readings_max: usize,
    /// Events kept in memory for those who follow the log.
    pub tail_events_max: usize,
    /// Bytes that these events and their readings may take.
    pub tail_bytes_max: usize,
    /// Days for which an idempotency key is remembered.
    pub idempotency_days: u32,
    /// Size of the database at which nothing more is accepted.
    pub size_bytes_max: u64,
}

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the clones of a store and its writer share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) queue: Queue,
    pub(crate) log: Log,
    pub(crate) registry: Arc<Registry>,
    pub(crate) timers_changed: Notify,
    pub(crate) counters: Counters,
    /// The connection of the newest writer, so that the next one can wait for its end.
    pub(crate) writer: Mutex<Option<DatabaseConnection>>,
    readers: DatabaseConnection,
    history: History,
    /// Held until the writer has ended for good, at the latest for as long as the store lives.
    pub(crate) lock: File,
    /// The key of the audit chain.
    pub(crate) audit_key: [u8; 32],
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("data_dir", &self.shared.settings.data_dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Whether there is a store in its folder.
    pub fn exists(settings: &Settings) -> bool {
        database::file(&settings.data_dir).exists()
    }

    /// Opens the store in its folder, or creates it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] when another store has the folder, [`StoreError::Unsafe`] when durability cannot be
    /// promised or the settings make no sense, [`StoreError::Corrupt`] when the database is damaged.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        if settings.readers == 0 {
            return Err(StoreError::Unsafe("readers must be at least 1".to_owned()));
        }
        let lock = database::take(&settings.data_dir)?;
        database::prepare(settings).await?;
        let readers = database::readers(settings).await?;
        let audit_key = audit::key(&readers, &settings.data_dir).await?;
        let registry = Arc::new(Registry::default());
        registry.load(&readers).await?;
        let log = Log::open(readers.clone(), Arc::clone(&registry), settings).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                settings: settings.clone(),
                queue: Queue::default(),
                log,
                registry,
                timers_changed: Notify::new(),
                counters: Counters::default(),
                writer: Mutex::new(None),
                history: History::new(readers.clone()),
                readers,
                lock,
                audit_key,
            }),
        })
    }

    /// Commits what is submitted, in groups, until [`close`](Self::close). Only one of several concurrent calls works;
    /// the others wait for it to end.
    ///
    /// May be called again after an error, a panic or a cancellation; the queue is the store's own.
    ///
    /// # Errors
    ///
    /// The store could not be written to. All units in hand or waiting have been answered with
    /// [`Refused::Unavailable`], and new ones are until the next call is under way.
    pub async fn run_writer(&self) -> Result<(), StoreError> {
        writer::run(&self.shared).await
    }

    /// Takes no more units; [`run_writer`](Self::run_writer) commits what is waiting and returns.
    pub fn close(&self) {
        self.shared.queue.close();
    }

    /// What the plant declares of the sensor called `id`, if it declares it; from memory.
    pub fn declared(&self, id: &SensorId) -> Option<Arc<Sensor>> {
        let known = self.shared.registry.known();
        known.by_id(id).filter(|known| known.is_declared).map(|known| Arc::clone(&known.sensor))
    }

    /// Hands readings over without awaiting their commit; `unit.reply` is told after it.
    ///
    /// # Errors
    ///
    /// The unit comes back when the store is closed.
    #[expect(clippy::result_large_err, reason = "the unit comes back whole")]
    pub fn ingest(&self, unit: Ingest) -> Result<(), Ingest> {
        self.shared.queue.submit(Unit::Ingest(unit)).map_err(|unit| match unit {
            Unit::Ingest(unit) => unit,
            _ => unreachable!("the queue gives back what it was given"),
        })
    }

    /// Hands an agent's unit over without awaiting its commit; `unit.reply` is told after it, or at once when the
    /// store is closed.
    pub fn submit_agent(&self, unit: AgentUnit) {
        if let Err(unit) = self.shared.queue.submit(Unit::Agent(unit)) {
            unit.refuse(Refused::Unavailable(CLOSED.to_owned()));
        }
    }

    /// Commits the unit that `unit` makes of a reply port.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn commit(&self, unit: impl FnOnce(Reply<()>) -> AgentUnit) -> Result<(), Refused> {
        self.submit(|reply| Unit::Agent(unit(reply))).await
    }

    /// Appends `events`, at least one, to the log.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn append(&self, events: Vec<NewEvent>, idempotency: Option<Idempotency>) -> Result<Appended, Refused> {
        self.submit(|reply| Unit::Append(Append { events, seen: None, idempotency, reply })).await
    }

    /// Appends `events`, at least one, to the log, provided that what was `seen` still stands so in the same commit.
    ///
    /// # Errors
    ///
    /// [`Refused::Changed`] when it does not; see [`Refused`].
    pub async fn append_if(&self, seen: Option<Seen>, events: Vec<NewEvent>) -> Result<Appended, Refused> {
        self.submit(|reply| Unit::Append(Append { events, seen, idempotency: None, reply })).await
    }

    /// Starts an incarnation of `agent`; the ones before are fenced from now on. It counts as an attempt at the event
    /// after the cursor if it is `charged`. `held` was in hand when an incarnation ended.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn begin(
        &self,
        agent: &'static str,
        origin: Origin,
        charged: bool,
        held: Option<Held>,
    ) -> Result<Incarnation, Refused> {
        self.submit(|reply| Unit::Begin(Begin { agent, origin, charged, held, reply })).await
    }

    /// What `agent` has in hand, or had when it ended.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it cannot be written down.
    pub fn in_hand(&self, agent: &'static str) -> Result<InHand, StoreError> {
        InHand::open(&self.shared.settings.data_dir, agent)
    }

    /// Marks the end of an incarnation as an orderly one.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn rest(&self, agent: &'static str, epoch: i64) -> Result<(), Refused> {
        self.submit(|reply| Unit::Rest { agent, epoch, reply }).await
    }

    /// Saves an agent's state as it is after the event at `cursor`.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn checkpoint(
        &self,
        agent: &'static str,
        epoch: i64,
        cursor: Seq,
        version: u16,
        state: Vec<u8>,
    ) -> Result<(), Refused> {
        self.submit(|reply| Unit::Checkpoint(Checkpoint { agent, epoch, cursor, version, state, reply })).await
    }

    /// Turns timers that are due at `now` into `TimerDue` events, the earliest first, and tells how many.
    /// At most 1,000 at once.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn fire_timers(&self, now: Timestamp) -> Result<usize, Refused> {
        self.submit(|reply| Unit::FireTimers { now, reply }).await
    }

    /// When the next timer is due, if there is one.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn next_timer_at(&self) -> Result<Option<Timestamp>, StoreError> {
        timers::next_at(&self.shared.readers).await
    }

    /// Told after each commit that changed a timer. Meant for one waiter.
    pub fn timers_changed(&self) -> &Notify {
        &self.shared.timers_changed
    }

    /// Changes settings kept in the store.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn admin(&self, change: admin::Change) -> Result<(), Refused> {
        self.admin_told(change, Vec::new()).await
    }

    /// Changes settings kept in the store, and appends `events` in the same commit.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn admin_told(&self, change: admin::Change, events: Vec<NewEvent>) -> Result<(), Refused> {
        self.submit(|reply| Unit::Admin { change, events, reply }).await
    }

    /// Looks whether the audit chain holds.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn verify_audit(&self) -> Result<audit::Verdict, StoreError> {
        audit::verify_open(&self.shared.history, &self.shared.settings.data_dir, self.shared.audit_key).await
    }

    /// Digest and answer of an earlier request that used that key, unless that was too long ago at `now`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn earlier_answer(
        &self,
        scope: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(Vec<u8>, String)>, StoreError> {
        let days = self.shared.settings.idempotency_days;
        Ok(idempotency::find(&self.shared.readers, scope, key, now, days).await?)
    }

    /// The event log.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Readings and read models.
    pub fn history(&self) -> History {
        self.shared.history.clone()
    }

    /// Bytes that are free on the disk of the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the file system does not tell.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        database::free_bytes(&self.shared.settings.data_dir)
    }

    /// What the writer did so far.
    pub fn stats(&self) -> WriterStats {
        self.shared.counters.stats(self.shared.queue.depth(), &self.shared.settings.data_dir)
    }

    async fn submit<T>(&self, unit: impl FnOnce(Reply<T>) -> Unit) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        if self.shared.queue.submit(unit(reply)).is_err() {
            return Err(Refused::Unavailable(CLOSED.to_owned()));
        }
        // The writer went away with the unit in hand: it may have been committed or not.
        answer.await.unwrap_or_else(|_| Err(Refused::Unavailable("the writer was interrupted".to_owned())))
    }
}
