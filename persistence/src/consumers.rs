//! Where each agent stands in the log, and which of its incarnations may move it.

use crate::in_hand::Held;
use crate::instants::timestamp;
use crate::unit::{Begin, Incarnation, Origin};
use crate::{StoreError, sql};
use domain::event::Control;
use domain::{Seq, Timestamp};
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;

/// Agents that are listed at most; there are far fewer.
const LIST_MAX: i64 = 1_000;

/// An agent's durable place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConsumerRow {
    /// The agent.
    pub name: String,
    /// Events up to here are done.
    pub cursor: Seq,
    /// Its newest incarnation.
    pub epoch: i64,
    /// Attempts at the event after the cursor.
    pub attempts: u32,
    /// An operator paused it.
    pub paused: bool,
    /// An operator drains it: it rests after this event.
    pub drain_to: Option<Seq>,
    /// Receive time of the event after the cursor, if there is one.
    pub oldest_unhandled_at: Option<Timestamp>,
}

/// What is stored of an agent's last incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Events up to here are done.
    pub cursor: Seq,
    /// The incarnation.
    pub epoch: i64,
    /// Attempts at the event after the cursor.
    pub attempts: u32,
    /// It ended in an orderly way.
    pub clean: bool,
    /// The last event that was in hand at an end that nobody saw.
    pub alone_until: Seq,
}

impl Stored {
    /// The incarnation that follows; it counts as an attempt if it is `charged`. `head` is the newest event; `held`
    /// was in hand at the end of an incarnation.
    pub fn next(&self, charged: bool, head: Seq, held: Option<Held>) -> Incarnation {
        // What an earlier one had in hand was held against it when this one began.
        let held = held.filter(|held| !self.clean && held.epoch == self.epoch).map(|held| held.seq);
        let held = held.filter(|seq| self.cursor < *seq && *seq <= head);
        // With no event after the cursor there is nothing that the attempts so far could be held against.
        let spent = if self.cursor < head { self.attempts } else { 0 };
        Incarnation {
            epoch: self.epoch + 1,
            cursor: self.cursor,
            // One that is not charged makes the attempt that its predecessor was charged for.
            attempts: (spent + u32::from(charged || held.is_some())).max(1),
            alone_until: held.map_or(self.alone_until, |held| self.alone_until.max(held)),
        }
    }
}

/// Starts the incarnation that `begin` asks for; `head` is the newest event.
pub(crate) async fn begin(tx: &impl ConnectionTrait, begin: &Begin, head: Seq) -> Result<Incarnation, DbErr> {
    let Begin { agent, origin, charged, held, .. } = *begin;
    let select = "SELECT cursor, epoch, attempts, clean, alone_until FROM consumers WHERE name = $1";
    let found = sql::row(tx, select, [agent.into()]).await?;
    let (incarnation, statement) = match found {
        Some(row) => {
            let stored = Stored {
                cursor: Seq(row.try_get("", "cursor")?),
                epoch: row.try_get("", "epoch")?,
                attempts: attempts(row.try_get("", "attempts")?)?,
                clean: row.try_get("", "clean")?,
                alone_until: Seq(row.try_get("", "alone_until")?),
            };
            let update = "UPDATE consumers SET epoch = $2, attempts = $4, clean = $5, alone_until = $6 \
                          WHERE name = $1 AND cursor = $3";
            (stored.next(charged, head, held), update)
        }
        None => {
            let cursor = match origin {
                Origin::Now => head,
                Origin::Beginning => Seq(0),
            };
            let incarnation = Incarnation { epoch: 1, cursor, attempts: 1, alone_until: Seq(0) };
            let insert = "INSERT INTO consumers (name, epoch, cursor, attempts, clean, alone_until) \
                          VALUES ($1, $2, $3, $4, $5, $6)";
            (incarnation, insert)
        }
    };
    let values = [
        agent.into(),
        incarnation.epoch.into(),
        incarnation.cursor.0.into(),
        i64::from(incarnation.attempts).into(),
        false.into(),
        incarnation.alone_until.0.into(),
    ];
    sql::execute(tx, statement, values).await?;
    Ok(incarnation)
}

/// Moves the cursor; false when another incarnation did, or may.
pub(crate) async fn advance(
    tx: &impl ConnectionTrait,
    agent: &str,
    epoch: i64,
    from: Seq,
    to: Seq,
    attempts: u32,
) -> Result<bool, DbErr> {
    let update = "UPDATE consumers SET cursor = $1, attempts = $2 WHERE name = $3 AND epoch = $4 AND cursor = $5";
    let values = [to.0.into(), i64::from(attempts).into(), agent.into(), epoch.into(), from.0.into()];
    Ok(sql::execute(tx, update, values).await? == 1)
}

/// Marks the end of an incarnation as an orderly one; false when another has taken over.
pub(crate) async fn rest(tx: &impl ConnectionTrait, agent: &str, epoch: i64) -> Result<bool, DbErr> {
    let update = "UPDATE consumers SET clean = $1 WHERE name = $2 AND epoch = $3";
    let values = [true.into(), agent.into(), epoch.into()];
    Ok(sql::execute(tx, update, values).await? == 1)
}

/// Whether `epoch` is the agent's newest incarnation and events up to `cursor` are done.
pub(crate) async fn holds(tx: &impl ConnectionTrait, agent: &str, epoch: i64, cursor: Seq) -> Result<bool, DbErr> {
    let select = "SELECT 1 FROM consumers WHERE name = $1 AND epoch = $2 AND $3 <= cursor";
    let values = [agent.into(), epoch.into(), cursor.0.into()];
    Ok(sql::row(tx, select, values).await?.is_some())
}

/// An operator lets an agent rest, go on, or rest after an event.
pub(crate) async fn controlled(
    tx: &impl ConnectionTrait,
    agent: &str,
    action: Control,
    up_to: Option<Seq>,
) -> Result<(), DbErr> {
    let (paused, drain_to) = match action {
        Control::Pause => (true, None),
        Control::Resume => (false, None),
        Control::Drain => (false, up_to),
        Control::Restart => return Ok(()),
    };
    // An agent that is called hears no events, so only its pause makes it a row.
    let upsert = "INSERT INTO consumers (name, cursor, epoch, attempts, clean, paused, drain_to) \
                  VALUES ($1, 0, 0, 0, TRUE, $2, $3) \
                  ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, drain_to = excluded.drain_to";
    sql::execute(tx, upsert, [agent.into(), paused.into(), drain_to.map(|seq| seq.0).into()]).await?;
    Ok(())
}

/// Every agent, by name.
pub(crate) async fn list(db: &impl ConnectionTrait) -> Result<Vec<ConsumerRow>, StoreError> {
    let select = "SELECT name, cursor, epoch, attempts, paused, drain_to, \
                  (SELECT at FROM events WHERE consumers.cursor < seq ORDER BY seq LIMIT 1) AS oldest_unhandled_at \
                  FROM consumers ORDER BY name LIMIT $1";
    let rows = sql::rows(db, select, [LIST_MAX.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(ConsumerRow {
                name: row.try_get("", "name")?,
                cursor: Seq(row.try_get("", "cursor")?),
                epoch: row.try_get("", "epoch")?,
                attempts: attempts(row.try_get("", "attempts")?)?,
                paused: row.try_get("", "paused")?,
                drain_to: row.try_get::<Option<i64>>("", "drain_to")?.map(Seq),
                oldest_unhandled_at: row
                    .try_get::<Option<i64>>("", "oldest_unhandled_at")?
                    .map(timestamp)
                    .transpose()?,
            })
        })
        .collect()
}

fn attempts(stored: i32) -> Result<u32, DbErr> {
    u32::try_from(stored).map_err(|_| DbErr::Type(format!("{stored} attempts")))
}
