//! What every handler may use.

use crate::access::Access;
use crate::api_error::ApiError;
use crate::rate::Rates;
use crate::request::{Pace, UnderWay};
use crate::routes::{Streams, docs, health, ml::Jobs};
use crate::trace_context;
use agents::models::Serving;
use config::ConfigError;
use domain::reading::{Incoming, Problem};
use domain::{CorrelationId, Event, EventId, Timestamp};
use persistence::redis::{Answered, Redis};
use persistence::unit::{Appended, Idempotency, Ingested, NewEvent, Refused, Repeat};
use persistence::{History, Store};
use runtime::admission::{Credits, Permit};
use runtime::intake::{Intake, Key, Submission};
use runtime::metrics::Limit;
use runtime::{Metrics, Runtime};
use serde::Deserialize;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Who says what comes in through the API.
const SOURCE: &str = "control_plane";

/// Seconds after which a client may try again when the disk is full: somebody has to make room.
const DISK_RETRY_SECONDS: u64 = 10;

/// What of `[limits]` concerns a request. What concerns a single reading is the business of the agent that
/// acquires data.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of the body of a request for one item.
    pub(crate) body_bytes_max: usize,
    /// Bytes of the body of a batch.
    pub(crate) batch_body_bytes_max: usize,
    /// Items of a batch.
    pub(crate) batch_items_max: usize,
    /// Levels of nesting of a JSON body.
    pub(crate) json_depth_max: usize,
    /// Requests with readings that are under way at once.
    pub(crate) ingest_requests_max: usize,
    /// Bytes of their bodies.
    pub(crate) ingest_bytes_max: u32,
    /// Requests with another body that are under way at once.
    pub(crate) other_requests_max: usize,
    /// Bytes of their bodies.
    pub(crate) other_bytes_max: u32,
    /// Events by which the slowest agent may be behind.
    pub(crate) lag_events_max: i64,
    /// Bytes that must be free on the disk.
    pub(crate) disk_free_bytes_min: u64,
    /// Bytes of a name.
    pub(crate) string_bytes_max: usize,
    /// Rows of a page.
    pub(crate) page_size_max: usize,
    /// Hours for which a case can be put aside.
    pub(crate) shelf_hours_max: i64,
    /// Open streams of events.
    pub(crate) streams_max: usize,
    /// Those of one caller.
    pub(crate) streams_per_key_max: usize,
}

impl Limits {
    /// Refuses limits that contradict each other.
    ///
    /// # Errors
    ///
    /// The setting and why.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, reason: &str| {
            let (key, reason) = (format!("limits.{key}"), reason.to_owned());
            Err(ConfigError::Refused { key, reason, origin: "the merged settings".to_owned() })
        };
        let largest = self.body_bytes_max.max(self.batch_body_bytes_max);
        let has_room = |bytes_max: u32| u32::try_from(largest).is_ok_and(|largest| largest <= bytes_max);
        for (key, bytes_max) in [("ingest_bytes_max", self.ingest_bytes_max), ("other_bytes_max", self.other_bytes_max)]
        {
            if !has_room(bytes_max) {
                return refused(key, "must be at least as much as the largest body");
            }
        }
        match (self.batch_items_max, self.page_size_max) {
            (0, _) => refused("batch_items_max", "must be at least 1"),
            (_, 0) => refused("page_size_max", "must be at least 1"),
            _ => Ok(()),
        }
    }
}

/// `[demo]`: the pace of the golden path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Demo {
    /// How long a person has to decide before the demo operator does.
    pub(crate) decision_wait_seconds: f64,
    /// After how long a run that is not complete has failed.
    pub(crate) timeout_seconds: f64,
}

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// What [`App`] gives access to.
pub(crate) struct Parts {
    pub(crate) runtime: Runtime,
    /// The address for clients on this machine, with the scheme.
    pub(crate) base: String,
    pub(crate) store: Store,
    pub(crate) history: History,
    pub(crate) intake: Intake,
    /// Room for readings.
    pub(crate) ingest_credits: Credits,
    /// Room for other bodies.
    pub(crate) other_credits: Credits,
    pub(crate) access: Access,
    pub(crate) rates: Rates,
    pub(crate) metrics: Metrics,
    pub(crate) redis: Option<Redis>,
    pub(crate) limits: Limits,
    pub(crate) demo: Demo,
    /// Readings after which a sensor's detector knows what is normal.
    pub(crate) warm_up_readings: u64,
    pub(crate) docs: docs::Settings,
    pub(crate) health: health::Settings,
    /// Room for open streams of events.
    pub(crate) streams: Streams,
    /// Keys of requests that are being carried out.
    pub(crate) under_way: UnderWay,
    /// Models that clients ask by name.
    pub(crate) serving: Serving,
    /// Explanations under way.
    pub(crate) jobs: Jobs,
    /// How fast a body must come.
    pub(crate) body_pace: Pace,
    /// Work that goes on after its request was answered. It should end soon after `stopping`.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the node stops.
    pub(crate) stopping: CancellationToken,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What became of readings that were submitted.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For each item, in order: acceptable, or what is wrong with it.
    pub(crate) items: Vec<Result<(), Problem>>,
    /// What the writer did. It has been committed.
    pub(crate) ingested: Ingested,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.runtime.clock().now()
    }

    /// An event as the control plane says it, now.
    pub(crate) fn event(&self, correlation: &CorrelationId, event: Event) -> NewEvent {
        NewEvent {
            id: EventId(Uuid::now_v7()),
            cause: None,
            correlation: correlation.clone(),
            traceparent: trace_context::current(),
            source: SOURCE.into(),
            at: self.now(),
            event,
        }
    }

    /// Appends `events` to the log and awaits the commit.
    pub(crate) async fn append(
        &self,
        events: Vec<NewEvent>,
        idempotency: Option<Idempotency>,
    ) -> Result<Appended, ApiError> {
        let promise = idempotency.as_ref().map(|promise| Key {
            scope: promise.scope.clone(),
            key: promise.key.clone(),
            body_sha256: promise.body_sha256,
        });
        if let Some(repeat) = self.recalled(promise.as_ref()).await? {
            return Ok(Appended::Repeat(repeat));
        }
        let first = events.first().map(|event| event.id);
        let response = idempotency.as_ref().map_or_else(String::new, |promise| promise.response.clone());
        let appended = self.store.append(events, idempotency).await?;
        if let (Appended::Stored(_), Some(event)) = (&appended, first) {
            self.remember(promise, event, response).await;
        }
        Ok(appended)
    }

    /// The answer to a request that a node which shares our Redis carried out. Ours is in the store as well, which is
    /// asked whenever Redis does not know.
    async fn recalled(&self, promise: Option<&Key>) -> Result<Option<Repeat>, ApiError> {
        let (Some(redis), Some(promise)) = (&self.redis, promise) else { return Ok(None) };
        let Some(answered) = redis.recall(&promise.scope, &promise.key).await else { return Ok(None) };
        if answered.body_sha256 != promise.body_sha256 {
            return Err(Refused::KeyReused.into());
        }
        let event = answered.event.parse().map_err(ApiError::internal)?;
        Ok(Some(Repeat { event, response: answered.response }))
    }

    /// Tells the nodes that share our Redis what a request was answered.
    async fn remember(&self, promise: Option<Key>, event: EventId, response: String) {
        if let (Some(redis), Some(Key { scope, key, body_sha256 })) = (&self.redis, promise) {
            redis.remember(&scope, &key, &Answered { body_sha256, event: event.to_string(), response }).await;
        }
    }

    /// Credit for a body of `bytes` that brings no readings. It has room of its own: a flood of readings keeps nobody
    /// from taking a decision.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Permit, ApiError> {
        self.credit(&self.other_credits, bytes, Limit::OtherRequests, Limit::OtherBytes)
    }

    fn credit(&self, credits: &Credits, bytes: usize, by_count: Limit, by_bytes: Limit) -> Result<Permit, ApiError> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        credits.take(wanted).ok_or_else(|| {
            let (requests_left, _) = credits.left();
            self.metrics.limit_reached(if requests_left == 0 { by_count } else { by_bytes });
            ApiError::unavailable("Too many requests are under way; try again")
        })
    }

    /// Credit for `bytes` of readings, unless the agents are too far behind or the disk is nearly full.
    pub(crate) fn admit_readings(&self, bytes: usize) -> Result<Permit, ApiError> {
        if self.limits.lag_events_max < self.runtime.lag() {
            self.metrics.limit_reached(Limit::LagEvents);
            return Err(ApiError::unavailable("The agents are too far behind to take more readings; try again"));
        }
        if self.store.free_bytes()? < self.limits.disk_free_bytes_min {
            self.metrics.limit_reached(Limit::DiskFree);
            return Err(ApiError::Unavailable {
                detail: "The disk is nearly full; readings are taken again when there is room".to_owned(),
                retry_after_seconds: DISK_RETRY_SECONDS,
            });
        }
        self.credit(&self.ingest_credits, bytes, Limit::IngestRequests, Limit::IngestBytes)
    }

    /// Hands readings to the agent that acquires data and awaits their commit.
    pub(crate) async fn submit(
        &self,
        items: Vec<Result<Incoming, Problem>>,
        correlation: &CorrelationId,
        key: Option<Key>,
        permit: Permit,
    ) -> Result<Outcome, ApiError> {
        let promise = key.clone();
        if let Some(repeat) = self.recalled(promise.as_ref()).await? {
            // Only what was accepted as a whole is kept there.
            return Ok(Outcome { items: vec![Ok(()); items.len()], ingested: Ingested::Repeat(repeat) });
        }
        let (reply, judged) = oneshot::channel();
        let (correlation, traceparent) = (correlation.clone(), trace_context::current());
        let submission = Submission { items, correlation, traceparent, key, permit, reply };
        let paused = |_| ApiError::unavailable("Readings are not taken now: data_acquisition is paused or restarting");
        self.intake.send(submission).map_err(paused)?;
        // Either end of these channels is dropped only when an agent or the writer ends in the middle.
        let interrupted = |_| {
            ApiError::unavailable(
                "The request was interrupted and may have been stored; try again with the same Idempotency-Key",
            )
        };
        let judged = judged.await.map_err(interrupted)?;
        let ingested = judged.committed.await.map_err(interrupted)??;
        if let Ingested::Stored { event, .. } = ingested {
            let n_rejected = judged.items.iter().filter(|item| item.is_err()).count();
            self.metrics.ingested((judged.items.len() - n_rejected) as u64, n_rejected as u64);
            if n_rejected == 0 {
                let response = format!("{{\"accepted\":{},\"rejected\":0,\"items\":[]}}", judged.items.len());
                self.remember(promise, event, response).await;
            }
        }
        Ok(Outcome { items: judged.items, ingested })
    }
}
