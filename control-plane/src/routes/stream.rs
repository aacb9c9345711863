//! `/api/v1/stream`: what happens, as it happens, as server-sent events.
//!
//! Each stream reads the log from a place of its own, like an agent. A client that is slow falls behind there and
//! misses nothing; one that comes back with `Last-Event-ID` goes on where it was.

use super::{Mounted, Route, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use bytes::Bytes;
use dashmap::DashMap;
use domain::{CorrelationId, Envelope, Seq};
use runtime::metrics::Limit;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub(crate) const EVENT_STREAM: &str = "text/event-stream";

const STREAM: &Route = entry("GET", "/api/v1/stream");

/// Events read at once.
const CHUNK: usize = 256;
/// Messages that wait for the client.
const MESSAGES_MAX: usize = 256;
/// Without an event for so long, a comment keeps proxies from closing the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;
/// Types of events that one client names at most, in bytes.
const TOPICS_BYTES_MAX: usize = 4_096;

/// Room for open streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    slots: Arc<Semaphore>,
    per_key: Arc<DashMap<String, usize>>,
    per_key_max: usize,
}

/// An open stream's share of the room. Given back when dropped.
struct Place {
    key: String,
    per_key: Arc<DashMap<String, usize>>,
    _slot: OwnedSemaphorePermit,
}

impl Streams {
    /// Room for `max` streams, and for `per_key_max` of one caller.
    pub(crate) fn new(max: usize, per_key_max: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(max)), per_key: Arc::default(), per_key_max }
    }

    fn place(&self, key: &str) -> Result<Place, Limit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Limit::Streams)?;
        let mut open = self.per_key.entry(key.to_owned()).or_default();
        if self.per_key_max <= *open {
            return Err(Limit::StreamsPerKey);
        }
        *open += 1;
        drop(open);
        Ok(Place { key: key.to_owned(), per_key: Arc::clone(&self.per_key), _slot: slot })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.per_key.entry(self.key.clone()).and_modify(|open| *open -= 1);
        self.per_key.remove_if(&self.key, |_, open| *open == 0);
    }
}

pub(crate) fn routes(app: &App) -> Mounted {
    mount(app, STREAM, stream)
}

/// What a client wants to hear.
struct Wanted {
    topics: HashSet<String>,
    correlation: Option<CorrelationId>,
}

impl Wanted {
    fn has(&self, envelope: &Envelope) -> bool {
        (self.topics.is_empty() || self.topics.contains(envelope.event.name()))
            && self.correlation.as_ref().is_none_or(|correlation| *correlation == envelope.correlation)
    }
}

async fn stream(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let topics = query.optional("topics", lax::string_max(TOPICS_BYTES_MAX)).unwrap_or_default();
    let correlation = query.optional("correlation_id", lax::string_max(TOPICS_BYTES_MAX)).map(CorrelationId::from);
    let after = query.optional("after", lax::int_in(0, i64::MAX));
    query.finish()?;
    let last = match call.headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().trim()) {
        None | Some("") => None,
        Some(text) => {
            let refused = || ApiError::invalid("header → Last-Event-ID", "Input should be the id of an event");
            Some(text.parse().ok().filter(|seq| 0 <= *seq).ok_or_else(refused)?)
        }
    };
    let topics = topics.split(',').map(|topic| topic.trim().to_owned()).filter(|topic| !topic.is_empty()).collect();
    let place = app.streams.place(&call.caller.id).map_err(|limit| {
        app.metrics.limit_reached(limit);
        ApiError::unavailable("Too many streams are open; try again")
    })?;
    let cursor = last.or(after).map_or_else(|| app.store.log().head(), Seq);
    let (send, parts) = mpsc::channel(MESSAGES_MAX);
    let follow = follow(app.clone(), Wanted { topics, correlation }, cursor, send);
    let stopping = app.stopping.clone();
    app.tasks.spawn(async move {
        let _place = place;
        tokio::select! {
            () = stopping.cancelled() => {}
            () = follow => {}
        }
    });
    Ok(Reply::parts(EVENT_STREAM, parts))
}

/// Sends what is wanted until the client has gone, or the log cannot be read: then it may come back.
async fn follow(app: App, wanted: Wanted, mut cursor: Seq, send: mpsc::Sender<Result<Bytes, crate::reply::Broken>>) {
    let log = app.store.log();
    let mut changes = log.changes();
    let mut message = format!("retry: {RETRY_MS}\n\n");
    loop {
        if !message.is_empty() && send.send(Ok(message.into())).await.is_err() {
            return;
        }
        // What is committed from here on shows as another change.
        changes.mark_unchanged();
        let events = match log.after(cursor, CHUNK).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "a stream ended because the log cannot be read");
                return;
            }
        };
        message = events.iter().filter(|envelope| wanted.has(envelope)).filter_map(|event| told(event)).collect();
        match events.last() {
            Some(last) => cursor = last.seq,
            None => tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = send.closed() => return,
                () = tokio::time::sleep(KEEP_ALIVE) => message = ":\n\n".to_owned(),
            },
        }
    }
}

/// An event as a message. JSON has no line breaks, so it is one line.
fn told(envelope: &Envelope) -> Option<String> {
    match serde_json::to_string(envelope) {
        Ok(data) => Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", envelope.seq.0, envelope.event.name())),
        Err(error) => {
            tracing::error!(%error, seq = envelope.seq.0, "an event cannot be told");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_in_all_and_per_key() {
        let streams = Streams::new(3, 2);
        let first = streams.place("a").ok();
        let second = streams.place("a").ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(streams.place("a").err(), Some(Limit::StreamsPerKey));
        let third = streams.place("b").ok();
        assert_eq!(streams.place("c").err(), Some(Limit::Streams));
        drop((first, third));
        assert!(streams.place("a").is_ok());
    }
}
