//! Timers that agents set: rows that become events when they are due.

use crate::instants::{micros, timestamp};
use crate::log::event_id;
use crate::unit::TimerChange;
use crate::{StoreError, sql};
use domain::{CorrelationId, EventId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr};

/// Timers that fire in one unit at most.
pub(crate) const BATCH_MAX: i64 = 1_000;

/// A timer that ran out, no longer in the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Due {
    pub(crate) agent: String,
    pub(crate) key: String,
    pub(crate) cause: EventId,
    pub(crate) correlation: CorrelationId,
}

/// Sets or cancels one of `agent`'s timers.
pub(crate) async fn change(tx: &impl ConnectionTrait, agent: &str, change: &TimerChange) -> Result<(), DbErr> {
    match change {
        TimerChange::Set { key, at, cause, correlation } => {
            let upsert = "INSERT INTO timers (agent, key, due_at, cause, correlation) VALUES ($1, $2, $3, $4, $5) \
                          ON CONFLICT (agent, key) DO UPDATE \
                          SET due_at = excluded.due_at, cause = excluded.cause, correlation = excluded.correlation";
            let values = [
                agent.into(),
                key.as_str().into(),
                micros(*at).into(),
                cause.to_string().into(),
                correlation.as_str().into(),
            ];
            sql::execute(tx, upsert, values).await?;
        }
        TimerChange::Cancel { key } => {
            let delete = "DELETE FROM timers WHERE agent = $1 AND key = $2";
            sql::execute(tx, delete, [agent.into(), key.as_str().into()]).await?;
        }
    }
    Ok(())
}

/// Deletes up to [`BATCH_MAX`] timers that are due at `now` and tells them, the earliest first.
pub(crate) async fn take_due(tx: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<Due>, DbErr> {
    let delete = "DELETE FROM timers WHERE (agent, key) IN \
                  (SELECT agent, key FROM timers WHERE due_at <= $1 ORDER BY due_at, agent, key LIMIT $2) \
                  RETURNING agent, key, due_at, cause, correlation";
    let values = [micros(now).into(), BATCH_MAX.into()];
    let rows = sql::rows(tx, delete, values).await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        let timer = Due {
            agent: row.try_get("", "agent")?,
            key: row.try_get("", "key")?,
            cause: event_id(&row.try_get::<String>("", "cause")?).map_err(|error| DbErr::Type(error.to_string()))?,
            correlation: CorrelationId::from(row.try_get::<String>("", "correlation")?),
        };
        due.push((row.try_get::<i64>("", "due_at")?, timer));
    }
    // What is returned has no order of its own.
    due.sort_by(|(at, a), (bt, b)| (at, &a.agent, &a.key).cmp(&(bt, &b.agent, &b.key)));
    Ok(due.into_iter().map(|(_, timer)| timer).collect())
}

/// When the next timer is due.
pub(crate) async fn next_at(db: &impl ConnectionTrait) -> Result<Option<Timestamp>, StoreError> {
    let select = "SELECT MIN(due_at) AS due_at FROM timers";
    let row = sql::row(db, select, []).await?;
    let due_at: Option<i64> = row.map_or(Ok(None), |row| row.try_get("", "due_at"))?;
    due_at.map(timestamp).transpose()
}
