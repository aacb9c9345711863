//! A store that holds what a test puts there.

use config::Config;
use domain::reading::Sensor;
use domain::{CorrelationId, Event, EventId, Timestamp};
use persistence::admin::Change;
use persistence::unit::{Ingest, NewEvent, NewReading};
use persistence::{History, Store};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A store in a folder of its own, which goes away with it.
pub(crate) struct Stored {
    store: Store,
    _folder: TempDir,
}

impl Stored {
    /// Holds `readings`, numbered from 1 in order, and what follows from `events`.
    pub(crate) async fn with(readings: &[(Arc<Sensor>, Timestamp, f64)], events: Vec<Event>) -> Self {
        Self::holding(readings, Vec::new(), events).await
    }

    /// The same with artefacts, each under the digest of its bytes.
    pub(crate) async fn holding(
        readings: &[(Arc<Sensor>, Timestamp, f64)],
        artefacts: Vec<(String, Vec<u8>)>,
        events: Vec<Event>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data_dir = folder.path().to_str().expect("a folder with a plain name");
        let config = Config::defaults().with("store.data_dir", data_dir).expect("a setting");
        let store = Store::open(&config.section("store").expect("a section")).await.expect("a store");
        let submitted = async {
            if !readings.is_empty() {
                ingest(&store, readings).await;
            }
            for (sha256, bytes) in artefacts {
                store.admin(Change::KeepArtefact { sha256, bytes }).await.expect("bytes can be kept");
            }
            for event in events {
                store.append(vec![new(event)], None).await.expect("the event makes sense");
            }
            store.close();
        };
        let ((), written) = tokio::join!(submitted, store.run_writer());
        written.expect("the store can be written to");
        Self { store, _folder: folder }
    }

    pub(crate) fn history(&self) -> History {
        self.store.history()
    }
}

async fn ingest(store: &Store, readings: &[(Arc<Sensor>, Timestamp, f64)]) {
    let (reply, stored) = oneshot::channel();
    let readings: Vec<NewReading> = readings
        .iter()
        .map(|(sensor, taken_at, value)| NewReading {
            sensor: Arc::clone(sensor),
            value: *value,
            quality: 1.0,
            taken_at: *taken_at,
            extra: None,
        })
        .collect();
    let received_at = readings[readings.len() - 1].taken_at;
    let unit = Ingest {
        readings,
        rejected: None,
        event: EventId(Uuid::new_v4()),
        correlation: CorrelationId::from("test"),
        traceparent: None,
        received_at,
        idempotency: None,
        reply,
    };
    store.ingest(unit).expect("the store is open");
    stored.await.expect("the writer answers").expect("the readings are stored");
}

fn new(event: Event) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::new_v4()),
        cause: None,
        correlation: CorrelationId::from("test"),
        traceparent: None,
        source: "test".into(),
        at: Timestamp::UNIX_EPOCH,
        event,
    }
}
