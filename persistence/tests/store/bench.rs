//! A store in a folder of its own, and things to put into it.

use domain::case::{FailureMode, Opened, Priority};
use domain::drift::Detected;
use domain::event::Control;
use domain::reading::{Accepted, Reading, Sensor, SensorType};
use domain::{AssetId, CaseId, CorrelationId, Envelope, Event, EventId, SensorId, Seq, Timestamp};
use persistence::unit::{AgentUnit, Idempotency, Ingest, Ingested, NewEvent, NewReading, Refused, Reply};
use persistence::{Settings, Store, StoreError};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use std::borrow::Cow;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A store and its writer.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    dir: TempDir,
    writer: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Bench {
    /// A new store, whose writer does not run: what is submitted waits, and is then committed as one group.
    pub(crate) async fn idle() -> Self {
        Self::with(|_| {}).await
    }

    /// A new store at work.
    pub(crate) async fn running() -> Self {
        let mut bench = Self::idle().await;
        bench.run();
        bench
    }

    /// A new store with other settings, whose writer does not run.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = TempDir::new().expect("there is room for a folder");
        let mut settings = Settings {
            data_dir: dir.path().join("data"),
            readers: 2,
            group_units_max: 512,
            group_readings_max: 20_000,
            tail_events_max: 1_000,
            tail_bytes_max: 64 << 20,
            idempotency_days: 7,
            size_bytes_max: 1 << 30,
        };
        change(&mut settings);
        let store = Store::open(&settings).await.expect("a new store opens");
        Self { store, settings, dir, writer: None }
    }

    /// Lets the writer run.
    #[expect(clippy::disallowed_methods, reason = "the bench itself ends the writer")]
    pub(crate) fn run(&mut self) {
        let store = self.store.clone();
        self.writer = Some(tokio::spawn(async move { store.run_writer().await }));
    }

    /// Waits until the writer ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), StoreError> {
        self.writer.take().expect("the writer was started").await.expect("the writer does not panic")
    }

    /// Ends the writer wherever it is.
    pub(crate) async fn kill(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abort();
            drop(writer.await);
        }
    }

    /// Drops the store without closing it, and opens it again, at work.
    pub(crate) async fn reopened(mut self) -> Self {
        self.kill().await;
        drop(self.store);
        let store = Store::open(&self.settings).await.expect("a store that was dropped opens again");
        let mut bench = Self { store, settings: self.settings, dir: self.dir, writer: None };
        bench.run();
        bench
    }

    /// A connection that the store knows nothing of.
    pub(crate) async fn stranger(&self) -> DatabaseConnection {
        let file = self.settings.data_dir.join("store.sqlite");
        Database::connect(format!("sqlite:{}", file.display())).await.expect("the file can be opened by others")
    }

    /// Submits readings; what became of them is told through the receiver.
    pub(crate) fn ingest(
        &self,
        readings: Vec<NewReading>,
        idempotency: Option<Idempotency>,
    ) -> oneshot::Receiver<Result<Ingested, Refused>> {
        let (reply, answer) = oneshot::channel();
        self.store.ingest(unit(readings, idempotency, reply)).expect("the store is open");
        answer
    }

    /// Submits readings and waits for the commit.
    pub(crate) async fn stored(&self, readings: Vec<NewReading>) -> Ingested {
        self.ingest(readings, None).await.expect("the writer answers").expect("the readings are stored")
    }

    /// Everything in the log.
    pub(crate) async fn events(&self) -> Vec<Envelope> {
        self.after(Seq(0)).await
    }

    /// Everything in the log after `cursor`.
    pub(crate) async fn after(&self, cursor: Seq) -> Vec<Envelope> {
        let events = self.store.log().after(cursor, usize::MAX).await.expect("the log can be read");
        events.iter().map(|envelope| Envelope::clone(envelope)).collect()
    }

    /// Every reading that the log tells of, batch by batch.
    pub(crate) async fn readings(&self) -> Vec<Reading> {
        let mut readings = Vec::new();
        for envelope in self.events().await {
            if let Event::ReadingsAccepted(accepted) = &envelope.event {
                readings.extend(self.batch(accepted).await.iter().cloned());
            }
        }
        readings
    }

    pub(crate) async fn batch(&self, accepted: &Accepted) -> Arc<[Reading]> {
        self.store.log().readings(accepted).await.expect("the readings can be read")
    }
}

/// Runs `statement` on `db`.
pub(crate) async fn execute(db: &DatabaseConnection, statement: &str) {
    db.execute_unprepared(statement).await.expect("a statement of the test's own works");
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("the test writes instants as they should be")
}

pub(crate) fn now() -> Timestamp {
    at("2026-11-21T08:00:00.123456789Z")
}

pub(crate) fn id() -> EventId {
    EventId(Uuid::new_v4())
}

pub(crate) fn sensor(name: &str) -> Arc<Sensor> {
    Arc::new(Sensor {
        id: SensorId::from(name),
        asset: AssetId::from("press"),
        sensor_type: SensorType::Temperature,
        unit: Some("degC".to_owned()),
        limit_high: Some(90.1),
        limit_low: None,
    })
}

pub(crate) fn reading(name: &str, value: f64) -> NewReading {
    NewReading { sensor: sensor(name), value, quality: 1.0, taken_at: at("2026-11-21T07:59:59.5Z"), extra: None }
}

pub(crate) fn unit(readings: Vec<NewReading>, idempotency: Option<Idempotency>, reply: Reply<Ingested>) -> Ingest {
    Ingest {
        readings,
        rejected: None,
        event: id(),
        correlation: CorrelationId::from("request"),
        traceparent: None,
        received_at: now(),
        idempotency,
        reply,
    }
}

pub(crate) fn key(key: &str, body: u8) -> Idempotency {
    Idempotency {
        scope: "plant/ingest".to_owned(),
        key: key.to_owned(),
        body_sha256: [body; 32],
        response: format!("answer to {body}"),
        at: now(),
    }
}

/// An event that touches no read model.
pub(crate) fn note(action: Control) -> NewEvent {
    said(Event::AgentControlled { agent: "drift".to_owned(), action, by: "test".to_owned(), up_to: None })
}

pub(crate) fn said(event: Event) -> NewEvent {
    NewEvent {
        id: id(),
        cause: None,
        correlation: CorrelationId::from("request"),
        traceparent: None,
        source: Cow::Borrowed("test"),
        at: now(),
        event,
    }
}

/// A case of a sensor that is stuck.
pub(crate) fn opened(case: CaseId) -> NewEvent {
    said(Event::CaseOpened(Opened {
        case,
        asset: "press".into(),
        failure_mode: FailureMode::sensor_fault(),
        sensor: "T1".into(),
        priority: Priority::High,
        first_evidence_at: at("2026-11-21T07:00:00Z"),
        last_evidence_at: at("2026-11-21T07:30:00Z"),
        reason: "stuck".to_owned(),
        evidence: Vec::new(),
        recurrence_of: None,
        detector: None,
        sensor_type: None,
    }))
}

/// An event that holds numbers.
pub(crate) fn drift(statistic: f64) -> NewEvent {
    said(Event::DriftDetected(Detected {
        sensor: SensorId::from("T1"),
        as_of: Timestamp::UNIX_EPOCH,
        ks_statistic: statistic,
        p_value: 1e-300,
        psi: statistic / 3.0,
        effect_size: -0.1 - 0.2,
        spread_ratio: None,
        n_baseline: 512,
        n_recent: 128,
    }))
}

/// A unit of `drift`, which handled the events after `from` up to `to`.
pub(crate) fn handled(epoch: i64, from: Seq, to: Seq, events: Vec<NewEvent>) -> impl FnOnce(Reply<()>) -> AgentUnit {
    move |reply| AgentUnit {
        agent: "drift",
        epoch,
        from,
        to,
        attempts: 0,
        events,
        timers: Vec::new(),
        dead_letter: None,
        reply,
    }
}
