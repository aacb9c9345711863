//! The event log: what was committed, in order. Read from memory where it is recent, from the table where it is not.

use crate::consumers::{self, ConsumerRow};
use crate::instants::timestamp;
use crate::registry::{Known, Registry};
use crate::tail::{Committed, Tail};
use crate::{Settings, StoreError, checkpoints, sql};
use domain::reading::{Accepted, Reading};
use domain::{CorrelationId, Envelope, Event, EventId, ReadingNo, Seq, TraceParent};
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Value};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// The event log. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    db: DatabaseConnection,
    registry: Arc<Registry>,
    tail: Arc<Tail>,
    head: watch::Sender<Seq>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) async fn open(
        db: DatabaseConnection,
        registry: Arc<Registry>,
        settings: &Settings,
    ) -> Result<Self, StoreError> {
        let (head, _) = watch::channel(head(&db).await?);
        let tail = Arc::new(Tail::new(settings.tail_events_max, settings.tail_bytes_max));
        Ok(Self { db, registry, tail, head })
    }

    /// Place of the newest committed event.
    pub fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Sees the [`head`](Self::head) after each commit; commits in quick succession may show as one.
    pub fn changes(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Up to `limit` events after `cursor`, in log order; none at the head.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn after(&self, cursor: Seq, limit: usize) -> Result<Vec<Arc<Envelope>>, StoreError> {
        let head = self.head();
        if head <= cursor || limit == 0 {
            return Ok(Vec::new());
        }
        if let Some(events) = self.tail.after(cursor, limit) {
            return Ok(events);
        }
        // Not past the head that others are told, even if the table is ahead of it by a moment.
        let rows = self
            .events("WHERE $1 < seq AND seq <= $2 ORDER BY seq LIMIT $3", [cursor.0.into(), head.0.into(), rows(limit)])
            .await?;
        rows.iter().map(|row| envelope(row).map(Arc::new)).collect()
    }

    /// The readings of a batch, in order of arrival; without those that were deleted since.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn readings(&self, accepted: &Accepted) -> Result<Arc<[Reading]>, StoreError> {
        if let Some(readings) = self.tail.readings(accepted) {
            return Ok(readings);
        }
        let end = accepted.first.0 + i64::from(accepted.count);
        let select = "SELECT no, taken_at, sensor, value, quality, received_at FROM readings \
                      WHERE $1 <= no AND no < $2 ORDER BY no";
        let values = [accepted.first.0.into(), end.into()];
        let rows = sql::rows(&self.db, select, values).await?;
        let known = self.registry.known();
        rows.iter().map(|row| reading(row, &known)).collect()
    }

    /// The first `limit` events that came of one request, in log order.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn by_correlation(&self, correlation: &CorrelationId, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let values = [correlation.as_str().into(), rows(limit)];
        let rows = self.events("WHERE correlation = $1 ORDER BY seq LIMIT $2", values).await?;
        rows.iter().map(envelope).collect()
    }

    /// Up to `limit` events after `cursor` of one type, of one request, or both, in log order.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn matching(
        &self,
        type_name: Option<&str>,
        correlation: Option<&CorrelationId>,
        cursor: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Envelope>>, StoreError> {
        let wanted = [("type", type_name), ("correlation", correlation.map(CorrelationId::as_str))];
        let mut values: Vec<Value> = vec![cursor.0.into(), self.head().0.into()];
        let mut rest = "WHERE $1 < seq AND seq <= $2".to_owned();
        for (column, value) in wanted {
            if let Some(value) = value {
                values.push(value.into());
                rest.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        values.push(rows(limit));
        rest.push_str(&format!(" ORDER BY seq LIMIT ${}", values.len()));
        self.events(&rest, values).await?.iter().map(|row| envelope(row).map(Arc::new)).collect()
    }

    /// The event of that id.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn by_id(&self, id: EventId) -> Result<Option<Envelope>, StoreError> {
        self.events("WHERE id = $1", [id.to_string().into()]).await?.first().map(envelope).transpose()
    }

    /// The newest `limit` events of a type, newest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn last_of(&self, type_name: &str, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        let values = [type_name.into(), rows(limit)];
        let rows = self.events("WHERE type = $1 ORDER BY seq DESC LIMIT $2", values).await?;
        rows.iter().map(envelope).collect()
    }

    /// An agent's newest snapshot of that version, with the cursor it belongs to.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn checkpoint(&self, agent: &str, version: u16) -> Result<Option<(Seq, Vec<u8>)>, StoreError> {
        checkpoints::find(&self.db, agent, version).await
    }

    /// Events after `cursor` that an agent gave up.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn buried(&self, agent: &str, cursor: Seq) -> Result<HashSet<Seq>, StoreError> {
        let select = "SELECT seq FROM dead_letters WHERE agent = $1 AND $2 < seq";
        let values = [agent.into(), cursor.0.into()];
        let rows = sql::rows(&self.db, select, values).await?;
        rows.iter().map(|row| Ok(Seq(row.try_get("", "seq")?))).collect()
    }

    /// Where each agent stands, by name.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn consumers(&self) -> Result<Vec<ConsumerRow>, StoreError> {
        consumers::list(&self.db).await
    }

    /// Makes committed events visible.
    pub(crate) fn publish(&self, committed: Vec<Committed>) {
        let Some(newest) = committed.last() else { return };
        let head = newest.envelope.seq;
        self.tail.push(committed);
        self.head.send_replace(head);
    }

    /// Goes to `head` when events up to there were committed by a writer that could not tell any more.
    pub(crate) fn catch_up(&self, head: Seq) {
        if self.head() != head {
            self.tail.clear();
            self.head.send_replace(head);
        }
    }

    async fn events(
        &self,
        rest: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let select = format!(
            "SELECT seq, id, cause, correlation, type, source, at, version, data, traceparent FROM events {rest}"
        );
        Ok(sql::rows(&self.db, select, values).await?)
    }
}

/// Place of the newest event in the table, or of the newest that a consumer saw there.
///
/// # Errors
///
/// See [`StoreError`].
pub(crate) async fn head(db: &impl ConnectionTrait) -> Result<Seq, StoreError> {
    // Consumers count, so that no number is given twice after all events were deleted for their age.
    let select = "SELECT COALESCE(MAX(seq), 0) AS head FROM \
                  (SELECT MAX(seq) AS seq FROM events UNION ALL SELECT MAX(cursor) AS seq FROM consumers) AS places";
    let row = sql::row(db, select, []).await?;
    row.map_or(Ok(Seq(0)), |row| Ok(Seq(row.try_get("", "head")?)))
}

/// Number of the newest reading in the table, or of the newest that the log knows of.
///
/// # Errors
///
/// See [`StoreError`].
pub(crate) async fn last_reading(db: &impl ConnectionTrait) -> Result<ReadingNo, StoreError> {
    let select = "SELECT COALESCE(MAX(no), 0) AS no FROM readings";
    let row = sql::row(db, select, []).await?;
    let in_table: i64 = row.map_or(Ok(0), |row| row.try_get("", "no"))?;
    // So that no number is given twice after all readings were deleted for their age.
    let select = "SELECT data FROM events WHERE type = 'readings_accepted' ORDER BY seq DESC LIMIT 1";
    let in_log = match sql::row(db, select, []).await? {
        Some(row) => match decode(&row.try_get::<String>("", "data")?)? {
            Event::ReadingsAccepted(accepted) => accepted.first.0 + i64::from(accepted.count) - 1,
            other => return Err(StoreError::Corrupt(format!("{} in place of readings_accepted", other.name()))),
        },
        None => 0,
    };
    Ok(ReadingNo(in_table.max(in_log)))
}

/// The envelope in a row with the columns `seq, id, cause, correlation, type, source, at, version, data, traceparent`.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when it cannot be read.
pub(crate) fn envelope(row: &QueryResult) -> Result<Envelope, StoreError> {
    let version: i32 = row.try_get("", "version")?;
    Ok(Envelope {
        seq: Seq(row.try_get("", "seq")?),
        id: event_id(&row.try_get::<String>("", "id")?)?,
        cause: row.try_get::<Option<String>>("", "cause")?.as_deref().map(event_id).transpose()?,
        correlation: CorrelationId::from(row.try_get::<String>("", "correlation")?),
        at: timestamp(row.try_get("", "at")?)?,
        source: row.try_get("", "source")?,
        version: u16::try_from(version).map_err(|_| StoreError::Corrupt(format!("event version {version}")))?,
        traceparent: row.try_get::<Option<String>>("", "traceparent")?.map(TraceParent::from),
        event: decode(&row.try_get::<String>("", "data")?)?,
    })
}

/// The event id in `text`.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when there is none.
pub(crate) fn event_id(text: &str) -> Result<EventId, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("event id {text}: {error}")))
}

fn decode(data: &str) -> Result<Event, StoreError> {
    serde_json::from_str(data).map_err(|error| StoreError::Corrupt(format!("event: {error}")))
}

fn reading(row: &QueryResult, known: &Known) -> Result<Reading, StoreError> {
    let (no, sensor) = (ReadingNo(row.try_get_by_index(0)?), row.try_get_by_index(2)?);
    Ok(Reading {
        no,
        taken_at: timestamp(row.try_get_by_index(1)?)?,
        sensor: known
            .of_reading(sensor, no)
            .map(Arc::clone)
            .ok_or_else(|| StoreError::Corrupt(format!("a reading of sensor {sensor}, which is not registered")))?,
        value: row.try_get_by_index(3)?,
        quality: row.try_get_by_index(4)?,
        received_at: timestamp(row.try_get_by_index(5)?)?,
    })
}

fn rows(limit: usize) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}
