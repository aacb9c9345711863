//! What each kind of unit changes.

use super::stage::Stage;
use super::verdict::Trouble;
use crate::admin::{self, Change};
use crate::idempotency::{self, Claim};
use crate::instants::micros;
use crate::registry::Registry;
use crate::unit::{AgentUnit, Append, Appended, Checkpoint, Done, Ingest, Ingested, NewEvent, Refused, Unit};
use crate::{checkpoints, consumers, projections, sensors, sql, timers};
use domain::{Event, EventId, ReadingNo, Seq, Timestamp};
use futures_util::FutureExt;
use sea_orm::{DatabaseTransaction, DbErr};
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use uuid::Uuid;

/// Who says that readings arrived.
const ACQUISITION: &str = "data_acquisition";

/// Who says that a timer ran out.
const TIMERS: &str = "timers";

/// Applies units to one transaction.
pub(super) struct Applier<'a> {
    pub(super) tx: &'a DatabaseTransaction,
    pub(super) registry: &'a Registry,
    pub(super) idempotency_days: u32,
}

impl Applier<'_> {
    /// Claims the keys that `units` use; one claim per unit, fresh for one that uses none.
    pub(super) async fn claims(&self, units: &[Unit]) -> Result<Vec<Claim>, Trouble> {
        let requests: Vec<_> = units.iter().filter_map(Unit::idempotency).collect();
        let mut claims = idempotency::claim(self.tx, &requests, self.idempotency_days).await?.into_iter();
        let claim = |unit: &Unit| unit.idempotency().and_then(|_| claims.next()).unwrap_or(Claim::Fresh);
        Ok(units.iter().map(claim).collect())
    }

    /// Makes the unit's changes, those in bulk excepted, which `stage` gathers. A repeat and a key that was used for
    /// another body change nothing.
    pub(super) async fn apply(&self, unit: &Unit, claim: Claim, stage: &mut Stage) -> Result<Done, Trouble> {
        match (claim, unit) {
            (Claim::Fresh, _) => {}
            (Claim::Repeat(repeat), Unit::Ingest(_)) => return Ok(Done::Ingested(Ingested::Repeat(repeat))),
            (Claim::Repeat(repeat), _) => return Ok(Done::Appended(Appended::Repeat(repeat))),
            (Claim::Reused, _) => return Err(Refused::KeyReused.into()),
        }
        match unit {
            Unit::Ingest(unit) => self.ingest(unit, stage).await.map(Done::Ingested),
            Unit::Append(unit) => self.append(unit, stage).await.map(Done::Appended),
            Unit::Agent(unit) => self.agent(unit, stage).await,
            Unit::Begin(begin) => Ok(Done::Begun(consumers::begin(self.tx, begin, stage.heads.seq).await?)),
            Unit::Rest { agent, epoch, .. } => {
                guard(agent, *epoch, consumers::rest(self.tx, agent, *epoch).await?)?;
                Ok(Done::Nothing)
            }
            Unit::Checkpoint(Checkpoint { agent, epoch, cursor, version, state, .. }) => {
                guard(agent, *epoch, consumers::holds(self.tx, agent, *epoch, *cursor).await?)?;
                checkpoints::save(self.tx, agent, *cursor, *version, state).await?;
                Ok(Done::Nothing)
            }
            Unit::FireTimers { now, .. } => self.fire_timers(*now, stage).await.map(Done::Fired),
            // Sixteen clients that are answered at once are one statement, as readings are.
            Unit::Admin { change: Change::KeepPredictions(predicted), events, .. } if events.is_empty() => {
                stage.predicted(predicted);
                Ok(Done::Nothing)
            }
            Unit::Admin { change, events, .. } => {
                caught("the change", admin::apply(self.tx, change)).await?;
                for event in events {
                    self.record(event, stage).await?;
                }
                Ok(Done::Nothing)
            }
        }
    }

    async fn ingest(&self, unit: &Ingest, stage: &mut Stage) -> Result<Ingested, Trouble> {
        let said = |id, event| NewEvent {
            id,
            cause: None,
            correlation: unit.correlation.clone(),
            source: Cow::Borrowed(ACQUISITION),
            at: unit.received_at,
            traceparent: unit.traceparent.clone(),
            event,
        };
        let mut first = None;
        if !unit.readings.is_empty() {
            let (accepted, readings) = stage.readings(&unit.readings, unit.received_at, &self.registry.known());
            first = Some(accepted.first);
            let accepted = said(unit.event, Event::ReadingsAccepted(accepted));
            stage.batch_event(&accepted, encode(&accepted.event)?, readings);
            self.project(&accepted).await?;
        }
        if let Some(rejected) = &unit.rejected {
            let id = if first.is_some() { EventId(Uuid::now_v7()) } else { unit.event };
            let rejected = said(id, Event::ReadingsRejected(rejected.clone()));
            self.record(&rejected, stage).await?;
        } else if first.is_none() {
            return Err(Refused::Conflict("neither accepted nor rejected readings".to_owned()).into());
        }
        Ok(Ingested::Stored { event: unit.event, first: first.unwrap_or(ReadingNo(0)) })
    }

    async fn append(&self, unit: &Append, stage: &mut Stage) -> Result<Appended, Trouble> {
        if unit.events.is_empty() {
            return Err(Refused::Conflict("no event".to_owned()).into());
        }
        if let Some(seen) = &unit.seen
            && !seen.holds(self.tx).await.map_err(Trouble::Store)?
        {
            return Err(Refused::Changed.into());
        }
        for event in &unit.events {
            self.record(event, stage).await?;
        }
        Ok(Appended::Stored(stage.heads.seq))
    }

    async fn agent(&self, unit: &AgentUnit, stage: &mut Stage) -> Result<Done, Trouble> {
        let moved = consumers::advance(self.tx, unit.agent, unit.epoch, unit.from, unit.to, unit.attempts).await?;
        guard(unit.agent, unit.epoch, moved)?;
        for change in &unit.timers {
            timers::change(self.tx, unit.agent, change).await?;
            stage.timers_changed = true;
        }
        if let Some(letter) = &unit.dead_letter {
            // The same event may have been given up before, and replayed.
            let insert = "INSERT INTO dead_letters (agent, seq, attempts, error, at) VALUES ($1, $2, $3, $4, $5) \
                          ON CONFLICT (agent, seq) DO NOTHING";
            let values = [
                unit.agent.into(),
                letter.seq.0.into(),
                i64::from(letter.attempts).into(),
                letter.error.as_str().into(),
                micros(letter.at).into(),
            ];
            sql::execute(self.tx, insert, values).await?;
        }
        for event in &unit.events {
            self.record(event, stage).await?;
        }
        Ok(Done::Nothing)
    }

    async fn fire_timers(&self, now: Timestamp, stage: &mut Stage) -> Result<usize, Trouble> {
        let due = timers::take_due(self.tx, now).await?;
        let n_due = due.len();
        for timer in due {
            let event = NewEvent {
                id: EventId(Uuid::now_v7()),
                cause: Some(timer.cause),
                correlation: timer.correlation,
                source: Cow::Borrowed(TIMERS),
                at: now,
                traceparent: None,
                event: Event::TimerDue { agent: timer.agent, key: timer.key },
            };
            self.record(&event, stage).await?;
            stage.timers_changed = true;
        }
        idempotency::forget(self.tx, now, self.idempotency_days).await?;
        Ok(n_due)
    }

    async fn record(&self, new: &NewEvent, stage: &mut Stage) -> Result<Seq, Trouble> {
        let seq = stage.event(new, encode(&new.event)?);
        if let Event::SensorDeclared { sensor, .. } = &new.event {
            let (no, earlier) = stage.declared(&sensor.sensor, &self.registry.known());
            caught(new.event.name(), async {
                sensors::declared(self.tx, new, no, sensor).await?;
                match &earlier {
                    Some(earlier) => sensors::described_before(self.tx, earlier).await,
                    None => Ok(()),
                }
            })
            .await?;
        }
        self.project(new).await?;
        Ok(seq)
    }

    async fn project(&self, new: &NewEvent) -> Result<(), Trouble> {
        if projections::has(&new.event) {
            caught(new.event.name(), projections::apply(self.tx, new)).await?;
        }
        Ok(())
    }
}

/// The event's JSON, if the event can be read back from it.
fn encode(event: &Event) -> Result<String, Refused> {
    let unstorable = |error: serde_json::Error| Refused::Conflict(format!("{} as JSON: {error}", event.name()));
    let json = serde_json::to_string(event).map_err(unstorable)?;
    // A number that is not finite becomes `null`, over which every reader of the log would stumble for ever.
    serde_json::from_str::<Event>(&json).map_err(unstorable)?;
    Ok(json)
}

/// Waits for `change`; a panic in it speaks against the unit, not against the writer.
async fn caught(what: &str, change: impl Future<Output = Result<(), DbErr>>) -> Result<(), Trouble> {
    match AssertUnwindSafe(change).catch_unwind().await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Refused::Conflict(format!("{what} made the store panic")).into()),
    }
}

fn guard(agent: &str, epoch: i64, holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused::Fenced { agent: agent.to_owned(), epoch }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::SensorId;
    use domain::drift::Detected;

    #[tokio::test]
    async fn a_panic_speaks_against_the_unit_only() {
        let panicking = async { Err(DbErr::Custom(format!("{}", Vec::<u8>::new()[0]))) };
        let trouble = caught("drift_detected", panicking).await;
        assert!(matches!(trouble, Err(Trouble::Refused(Refused::Conflict(_)))), "{trouble:?}");
    }

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        for value in [0.1 + 0.2, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1.0 / 3.0, 123_456_789.012_345_67] {
            let event = Event::DriftDetected(Detected {
                sensor: SensorId::from("T1"),
                as_of: Timestamp::UNIX_EPOCH,
                ks_statistic: value,
                p_value: value,
                psi: value,
                effect_size: -value,
                spread_ratio: None,
                n_baseline: 0,
                n_recent: 0,
            });
            let json = encode(&event).expect("the value is finite");
            assert_eq!(serde_json::from_str::<Event>(&json).expect("it was written just now"), event);
        }
    }
}
