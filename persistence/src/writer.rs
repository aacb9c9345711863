//! The writer: takes units from the queue in groups and commits each group with one sync to disk.
//!
//! A group is applied optimistically. If one of its units is refused, it is rolled back and applied again with a
//! savepoint per unit, so that no unit can harm another. After any other error nothing more is applied: SQLite has then
//! ended the transaction behind the driver's back, and further statements would be committed one by one.
//!
//! **Invariant**: memory (log, registry, heads) learns of a unit, and its submitter is answered, after the commit.

mod apply;
pub(crate) mod queue;
mod stage;
pub(crate) mod stats;
mod verdict;

use crate::audit::{self, Chain};
use crate::idempotency::Claim;
use crate::store::Shared;
use crate::unit::{Done, Refused, Unit};
use crate::{StoreError, database, log};
use apply::Applier;
use queue::Intake;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use stage::{Became, Heads, Stage};
use std::slice;
use std::time::Instant;
use verdict::Trouble;

/// Commits what comes through the queue until that is closed and empty.
///
/// # Errors
///
/// The store could not be written to; everything in hand and waiting has been answered.
pub(crate) async fn run(shared: &Shared) -> Result<(), StoreError> {
    let mut intake = shared.queue.take().await;
    let outcome = work(shared, &mut intake).await;
    if let Err(error) = &outcome {
        intake.fail(&error.to_string());
    }
    disconnect(shared).await?;
    if outcome.is_ok() {
        // Nothing will be written any more, so another node may have the folder.
        shared.lock.unlock().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    }
    outcome
}

async fn work(shared: &Shared, intake: &mut Intake<'_>) -> Result<(), StoreError> {
    // An interrupted writer may still be in the middle of a commit, whose numbers are not to be given twice.
    disconnect(shared).await?;
    let db = database::writer(&shared.settings).await?;
    *shared.writer.lock().await = Some(db.clone());
    let mut writer = Writer::start(shared, db).await?;
    intake.open();
    while let Some(group) = intake.group(shared.settings.group_units_max, shared.settings.group_readings_max).await {
        writer.commit(group).await?;
    }
    database::checkpoint(&writer.db).await
}

/// Waits for the end of the writing connection, and of whatever it is doing.
async fn disconnect(shared: &Shared) -> Result<(), StoreError> {
    let mut connection = shared.writer.lock().await;
    if let Some(db) = &*connection {
        // Forgotten only when it is closed: this wait may be interrupted too.
        db.close_by_ref().await?;
        *connection = None;
    }
    Ok(())
}

/// One outcome per unit of a group, in the group's order.
type Outcomes = Vec<Result<Done, Refused>>;

struct Writer<'a> {
    shared: &'a Shared,
    /// One connection.
    db: DatabaseConnection,
    heads: Heads,
    /// The chain holds what its anchor says. An anchor that speaks of more is left as it is, for people to see.
    anchored: bool,
}

impl<'a> Writer<'a> {
    /// Catches up with what an earlier writer may have committed without telling.
    async fn start(shared: &'a Shared, db: DatabaseConnection) -> Result<Self, StoreError> {
        // After a failed sync, frames in the WAL may stand behind a hole; nothing may be added after them.
        database::checkpoint(&db).await?;
        shared.registry.load(&db).await?;
        let audit = Chain::open(&db, shared.audit_key).await?;
        let heads = Heads {
            seq: log::head(&db).await?,
            reading: log::last_reading(&db).await?,
            sensor: shared.registry.known().last_no(),
            audit,
        };
        shared.log.catch_up(heads.seq);
        let anchored = audit::is_anchored(&db, &shared.settings.data_dir).await?;
        if !anchored {
            tracing::error!("the audit chain does not reach its anchor: its end is missing, or it was taken back");
        }
        Ok(Self { shared, db, heads, anchored })
    }

    /// Commits a group and answers its units.
    async fn commit(&mut self, group: Vec<Unit>) -> Result<(), StoreError> {
        let started = Instant::now();
        match self.transact(&group).await {
            Ok((stage, outcomes)) => {
                self.shared.counters.commit_took(started.elapsed());
                self.publish(stage, group, outcomes);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, n_units = group.len(), "commit failed");
                self.shared.counters.failed(group.len());
                for unit in group {
                    unit.refuse(Refused::Unavailable(error.to_string()));
                }
                Err(error)
            }
        }
    }

    /// Everything between begin and commit.
    async fn transact(&self, group: &[Unit]) -> Result<(Stage, Outcomes), StoreError> {
        let tx = self.begin().await?;
        let (tx, stage, outcomes) = match self.together(&tx, group).await {
            Ok((stage, outcomes)) => (tx, stage, outcomes),
            Err(Trouble::Refused(_)) => {
                self.shared.counters.rerun();
                tx.rollback().await?;
                let tx = self.begin().await?;
                let (stage, outcomes) = self.one_by_one(&tx, group).await?;
                (tx, stage, outcomes)
            }
            Err(Trouble::Store(error)) => return Err(error),
        };
        tx.commit().await?;
        Ok((stage, outcomes))
    }

    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
        self.db
            .begin_with_options(TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() })
            .await
    }

    /// Applies all units, or none if one is refused. A key used for another body refuses its unit without harm.
    async fn together(&self, tx: &DatabaseTransaction, group: &[Unit]) -> Result<(Stage, Outcomes), Trouble> {
        let applier = self.applier(tx);
        let mut stage = Stage::after(self.heads);
        let mut outcomes = Vec::with_capacity(group.len());
        for (unit, claim) in group.iter().zip(applier.claims(group).await?) {
            outcomes.push(match applier.apply(unit, claim, &mut stage).await {
                Ok(done) => Ok(done),
                Err(Trouble::Refused(Refused::KeyReused)) => Err(Refused::KeyReused),
                Err(trouble) => return Err(trouble),
            });
        }
        stage.insert(tx).await?;
        Ok((stage, outcomes))
    }

    /// Applies each unit within its own savepoint.
    async fn one_by_one(&self, tx: &DatabaseTransaction, group: &[Unit]) -> Result<(Stage, Outcomes), StoreError> {
        let mut stage = Stage::after(self.heads);
        let mut outcomes = Vec::with_capacity(group.len());
        for unit in group {
            let savepoint = tx.begin().await?;
            let mut own = stage.next();
            outcomes.push(match self.alone(&savepoint, unit, &mut own).await {
                Ok(done) => {
                    savepoint.commit().await?;
                    stage.absorb(own);
                    Ok(done)
                }
                Err(Trouble::Refused(why)) => {
                    savepoint.rollback().await?;
                    Err(why)
                }
                Err(Trouble::Store(error)) => return Err(error),
            });
        }
        Ok((stage, outcomes))
    }

    /// Applies one unit and inserts its rows.
    async fn alone(&self, tx: &DatabaseTransaction, unit: &Unit, stage: &mut Stage) -> Result<Done, Trouble> {
        let applier = self.applier(tx);
        let claim = applier.claims(slice::from_ref(unit)).await?.pop().unwrap_or(Claim::Fresh);
        let done = applier.apply(unit, claim, stage).await?;
        stage.insert(tx).await?;
        Ok(done)
    }

    fn applier<'t>(&'t self, tx: &'t DatabaseTransaction) -> Applier<'t> {
        Applier { tx, registry: &self.shared.registry, idempotency_days: self.shared.settings.idempotency_days }
    }

    /// Makes a commit known: to memory first, then to those who follow the log, then to the submitters.
    fn publish(&mut self, stage: Stage, group: Vec<Unit>, outcomes: Outcomes) {
        let has_links = self.heads.audit.n_links() != stage.heads.audit.n_links();
        self.heads = stage.heads;
        if has_links
            && self.anchored
            && let Err(error) = self.heads.audit.anchor(&self.shared.settings.data_dir)
        {
            tracing::warn!(%error, "the audit chain's end was not anchored");
        }
        let timers_changed = stage.timers_changed;
        let Became { sensors, earlier, committed, n_readings } = stage.into_committed();
        let n_refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        self.shared.counters.committed(group.len() - n_refused, n_refused, committed.len(), n_readings);
        self.shared.registry.add(sensors, earlier);
        self.shared.log.publish(committed);
        if timers_changed {
            self.shared.timers_changed.notify_one();
        }
        for (unit, outcome) in group.into_iter().zip(outcomes) {
            match outcome {
                Ok(done) => unit.answer(done),
                Err(why) => unit.refuse(why),
            }
        }
    }
}
