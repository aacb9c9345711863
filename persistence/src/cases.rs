//! Cases: episodes of evidence for one failure mode of one asset, at most one open at a time.
//!
//! **Invariant**: a partial unique index, not a check before the insert, keeps a second open case out.

mod trace;

pub use trace::{EVIDENCE_MAX, Evidence, STEPS_MAX, Trace, trace};
pub(crate) use trace::{note, of_event};

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::unit::NewEvent;
use crate::{History, StoreError, anomalies, texts};
use domain::anomaly::Validated;
use domain::case::{
    Acknowledged, Closed, FailureMode, Opened, Priority, Resolution, Shelved, Standing, Unshelved, Updated,
};
use domain::decision::By;
use domain::reading::SensorType;
use domain::{AssetId, CaseId, CorrelationId, EventId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "cases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub asset: String,
        pub failure_mode: String,
        pub sensor: String,
        pub priority: String,
        pub state: String,
        pub reason: String,
        pub resolution: Option<String>,
        pub resolution_reason: Option<String>,
        pub opened_at: i64,
        pub first_evidence_at: i64,
        pub last_evidence_at: i64,
        pub evidence_count: i64,
        pub recurrence_of: Option<String>,
        pub closed_at: Option<i64>,
        pub correlation: String,
        pub event_id: String,
        pub detector: Option<String>,
        pub sensor_type: Option<String>,
        pub acknowledged_at: Option<i64>,
        pub acknowledgement: Option<String>,
        pub shelved_until: Option<i64>,
        pub shelf: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// How far a case has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is evidence.
    Open,
    /// There is a prognosis.
    Predicted,
    /// A person is asked.
    DecisionPending,
    /// Maintenance may be planned.
    Approved,
    /// Maintenance will not be.
    Declined,
    /// It is booked.
    Scheduled,
    /// Somebody is at work, or was and rests.
    InProgress,
    /// It ended.
    Closed,
}

impl State {
    /// Every state, in the order in which a case passes them.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Predicted,
        Self::DecisionPending,
        Self::Approved,
        Self::Declined,
        Self::Scheduled,
        Self::InProgress,
        Self::Closed,
    ];

    /// The name as it stands in JSON and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Predicted => "predicted",
            Self::DecisionPending => "decision_pending",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Scheduled => "scheduled",
            Self::InProgress => "in_progress",
            Self::Closed => "closed",
        }
    }

    /// The states from which a case comes to this one. A later prognosis does not undo an approval.
    fn reached_from(self) -> &'static [Self] {
        match self {
            // Back to where it began when its order is called off.
            Self::Open => &[Self::Scheduled, Self::InProgress],
            Self::InProgress => &[Self::Scheduled],
            Self::Closed => &[],
            Self::Predicted => &[Self::Open],
            Self::DecisionPending => &[Self::Open, Self::Predicted, Self::Declined],
            Self::Approved | Self::Declined | Self::Scheduled => {
                &[Self::Open, Self::Predicted, Self::DecisionPending, Self::Approved, Self::Declined]
            }
        }
    }
}

/// One episode.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Case {
    /// The case.
    pub id: CaseId,
    /// What seems to fail.
    pub asset: AssetId,
    /// How.
    pub failure_mode: FailureMode,
    /// The sensor whose evidence opened it.
    pub sensor: SensorId,
    /// How urgent it is.
    pub priority: Priority,
    /// How far it has come.
    pub state: State,
    /// Why it was opened, or made more urgent, in words.
    pub reason: String,
    /// Why it ended.
    pub resolution: Option<Resolution>,
    /// In words.
    pub resolution_reason: Option<String>,
    /// When it was opened (receive time).
    pub opened_at: Timestamp,
    /// Source time of the oldest evidence.
    pub first_evidence_at: Timestamp,
    /// Source time of the newest evidence.
    pub last_evidence_at: Timestamp,
    /// How many anomalies are evidence of it.
    pub evidence_count: u64,
    /// The earlier case that it repeats.
    pub recurrence_of: Option<CaseId>,
    /// When it ended (receive time).
    pub closed_at: Option<Timestamp>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// The event that opened it.
    pub event: EventId,
    /// The detector that reported the evidence.
    pub detector: Option<String>,
    /// What the sensor measures.
    pub sensor_type: Option<SensorType>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledgement>,
    /// Who put it aside, and for how long.
    pub shelved: Option<Shelf>,
}

/// That somebody has seen a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    /// When (receive time).
    pub at: Timestamp,
    /// The name of their key.
    pub by: String,
    /// A note, in their words.
    pub reason: Option<String>,
}

/// That somebody put a case aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shelf {
    /// When (receive time).
    pub at: Timestamp,
    /// The name of their key.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// When it comes back by itself.
    pub until: Timestamp,
}

impl Case {
    /// How it stands with the people who look after it.
    pub fn standing(&self) -> Standing {
        Standing {
            closed: self.closed_at.is_some(),
            acknowledged: self.acknowledged.is_some(),
            shelved: self.shelved.is_some(),
        }
    }
}

impl TryFrom<row::Model> for Case {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: texts::id(&row.id)?,
            asset: AssetId::from(row.asset),
            failure_mode: FailureMode(row.failure_mode),
            sensor: SensorId::from(row.sensor),
            priority: texts::named(&row.priority)?,
            state: texts::named(&row.state)?,
            reason: row.reason,
            resolution: row.resolution.as_deref().map(texts::named).transpose()?,
            resolution_reason: row.resolution_reason,
            opened_at: timestamp(row.opened_at)?,
            first_evidence_at: timestamp(row.first_evidence_at)?,
            last_evidence_at: timestamp(row.last_evidence_at)?,
            evidence_count: row.evidence_count.unsigned_abs(),
            recurrence_of: texts::id_or_none(row.recurrence_of.as_deref())?,
            closed_at: row.closed_at.map(timestamp).transpose()?,
            correlation: CorrelationId::from(row.correlation),
            event: texts::id(&row.event_id)?,
            detector: row.detector,
            sensor_type: row.sensor_type.as_deref().map(texts::named).transpose()?,
            acknowledged: row.acknowledgement.as_deref().map(texts::parsed).transpose()?,
            shelved: row.shelf.as_deref().map(texts::parsed).transpose()?,
        })
    }
}

/// Which cases to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those in one state.
    pub state: Option<State>,
    /// Those that have not ended, or those that have.
    pub open: Option<bool>,
    /// Those of one asset.
    pub asset: Option<AssetId>,
    /// Those of one failure mode.
    pub failure_mode: Option<FailureMode>,
    /// Those that somebody has seen, or those that nobody has.
    pub acknowledged: Option<bool>,
    /// Those on the shelf, or those that are not.
    pub shelved: Option<bool>,
}

/// Cases, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, filter: &Filter, start: &Start, limit: usize) -> Result<Page<Case>, StoreError> {
    let keys = (row::Column::OpenedAt, row::Column::Id);
    let rows = page::page(chosen(filter), keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.opened_at, id: row.id.clone() };
    Page::of(rows, limit, cursor, Case::try_from)
}

/// How many cases there are.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count(history: &History, filter: &Filter) -> Result<u64, StoreError> {
    Ok(chosen(filter).count(history.db()).await?)
}

/// How many cases have not ended.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count_open(history: &History) -> Result<u64, StoreError> {
    count(history, &Filter { open: Some(true), ..Filter::default() }).await
}

fn chosen(filter: &Filter) -> sea_orm::Select<row::Entity> {
    let mode = filter.failure_mode.as_ref();
    row::Entity::find()
        .apply_if(filter.state, |rows, state| rows.filter(row::Column::State.eq(state.as_str())))
        .apply_if(filter.open, |rows, open| rows.filter(set(row::Column::ClosedAt, !open)))
        .apply_if(filter.acknowledged, |rows, acknowledged| rows.filter(set(row::Column::AcknowledgedAt, acknowledged)))
        .apply_if(filter.shelved, |rows, shelved| rows.filter(set(row::Column::ShelvedUntil, shelved)))
        .apply_if(filter.asset.as_ref(), |rows, asset| rows.filter(row::Column::Asset.eq(asset.as_str())))
        .apply_if(mode, |rows, mode| rows.filter(row::Column::FailureMode.eq(mode.0.as_str())))
}

/// Whether `column` holds anything.
fn set(column: row::Column, set: bool) -> sea_orm::sea_query::SimpleExpr {
    if set { column.is_not_null() } else { column.is_null() }
}

/// One case.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: CaseId) -> Result<Option<Case>, StoreError> {
    find(history.db(), id).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: CaseId) -> Result<Option<Case>, StoreError> {
    row::Entity::find_by_id(id.to_string()).one(db).await?.map(Case::try_from).transpose()
}

/// The case of one failure mode of one asset that has not ended.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn open_for(history: &History, asset: &AssetId, mode: &FailureMode) -> Result<Option<Case>, StoreError> {
    newest(history, asset, mode, true).await
}

/// The case of one failure mode of one asset that ended last.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn last_closed_for(
    history: &History,
    asset: &AssetId,
    mode: &FailureMode,
) -> Result<Option<Case>, StoreError> {
    newest(history, asset, mode, false).await
}

async fn newest(
    history: &History,
    asset: &AssetId,
    mode: &FailureMode,
    open: bool,
) -> Result<Option<Case>, StoreError> {
    let filter =
        Filter { open: Some(open), asset: Some(asset.clone()), failure_mode: Some(mode.clone()), ..Filter::default() };
    let row = chosen(&filter)
        .order_by_desc(row::Column::ClosedAt)
        .order_by_desc(row::Column::OpenedAt)
        .one(history.db())
        .await?;
    row.map(Case::try_from).transpose()
}

/// Cases of the same failure mode, newest first, without `except`.
pub(crate) async fn of_mode(
    history: &History,
    mode: &FailureMode,
    except: CaseId,
    limit: usize,
) -> Result<Vec<Case>, StoreError> {
    let judged =
        [State::Approved, State::Declined, State::Scheduled, State::InProgress, State::Closed].map(State::as_str);
    let rows = row::Entity::find()
        .filter(row::Column::FailureMode.eq(mode.0.as_str()))
        .filter(row::Column::Id.ne(except.to_string()))
        .filter(row::Column::State.is_in(judged))
        .order_by_desc(row::Column::OpenedAt)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Case::try_from).collect()
}

/// A case began. The anomalies that led to it become its evidence.
pub(crate) async fn opened(tx: &impl ConnectionTrait, event: &NewEvent, opened: &Opened) -> Result<(), DbErr> {
    let judged = anomalies::adopted(tx, opened.case, &opened.evidence).await?;
    let earlier = opened.evidence.iter().map(|id| (*id, "anomaly_detected"));
    let earlier: Vec<_> = earlier.chain(judged.into_iter().map(|id| (id, "anomaly_validated"))).collect();
    note(tx, opened.case, &earlier).await?;
    let row = row::Model {
        id: opened.case.to_string(),
        asset: opened.asset.as_str().to_owned(),
        failure_mode: opened.failure_mode.0.clone(),
        sensor: opened.sensor.as_str().to_owned(),
        priority: opened.priority.as_str().to_owned(),
        state: State::Open.as_str().to_owned(),
        reason: opened.reason.clone(),
        resolution: None,
        resolution_reason: None,
        opened_at: micros(event.at),
        first_evidence_at: micros(opened.first_evidence_at),
        last_evidence_at: micros(opened.last_evidence_at),
        // Those that led to it, and the one that opened it if it was told of before.
        evidence_count: anomalies::n_of_case(tx, opened.case).await?,
        recurrence_of: opened.recurrence_of.map(|case| case.to_string()),
        closed_at: None,
        correlation: event.correlation.as_str().to_owned(),
        event_id: event.id.to_string(),
        detector: opened.detector.clone(),
        sensor_type: opened.sensor_type.map(|kind| kind.as_str().to_owned()),
        acknowledged_at: None,
        acknowledgement: None,
        shelved_until: None,
        shelf: None,
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// A case became more, or less, urgent.
pub(crate) async fn updated(tx: &impl ConnectionTrait, updated: &Updated) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::Priority, Expr::value(updated.priority.as_str()))
        .col_expr(row::Column::Reason, Expr::value(updated.reason.as_str()))
        .filter(row::Column::Id.eq(updated.case.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

/// A case ended.
pub(crate) async fn closed(tx: &impl ConnectionTrait, event: &NewEvent, closed: &Closed) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(State::Closed.as_str()))
        .col_expr(row::Column::Resolution, Expr::value(closed.resolution.as_str()))
        .col_expr(row::Column::ResolutionReason, Expr::value(closed.reason.as_str()))
        .col_expr(row::Column::ClosedAt, Expr::value(micros(event.at)))
        .col_expr(row::Column::ShelvedUntil, Expr::value(None::<i64>))
        .col_expr(row::Column::Shelf, Expr::value(None::<String>))
        .filter(row::Column::Id.eq(closed.case.to_string()))
        .filter(row::Column::ClosedAt.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Somebody has seen a case.
///
/// # Errors
///
/// [`DbErr::Custom`] when somebody had before.
pub(crate) async fn acknowledged(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    Acknowledged { case, by, reason }: &Acknowledged,
) -> Result<(), DbErr> {
    let seen = Acknowledgement { at: event.at, by: by.clone(), reason: reason.clone() };
    let done = row::Entity::update_many()
        .col_expr(row::Column::AcknowledgedAt, Expr::value(micros(event.at)))
        .col_expr(row::Column::Acknowledgement, Expr::value(texts::json(&seen)?))
        .filter(row::Column::Id.eq(case.to_string()))
        .filter(row::Column::AcknowledgedAt.is_null())
        .exec(tx)
        .await?;
    one(done.rows_affected, *case)
}

/// Somebody put a case aside.
///
/// # Errors
///
/// [`DbErr::Custom`] when it is not open, or on the shelf already.
pub(crate) async fn shelved(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    Shelved { case, by, reason, until }: &Shelved,
) -> Result<(), DbErr> {
    let shelf = Shelf { at: event.at, by: by.clone(), reason: reason.clone(), until: *until };
    let done = row::Entity::update_many()
        .col_expr(row::Column::ShelvedUntil, Expr::value(micros(*until)))
        .col_expr(row::Column::Shelf, Expr::value(texts::json(&shelf)?))
        .filter(row::Column::Id.eq(case.to_string()))
        .filter(row::Column::ClosedAt.is_null())
        .filter(row::Column::ShelvedUntil.is_null())
        .exec(tx)
        .await?;
    one(done.rows_affected, *case)
}

/// A case is back from the shelf.
///
/// # Errors
///
/// [`DbErr::Custom`] when a person takes back what is not there. The end of its time may come too late.
pub(crate) async fn unshelved(tx: &impl ConnectionTrait, Unshelved { case, by, .. }: &Unshelved) -> Result<(), DbErr> {
    let done = row::Entity::update_many()
        .col_expr(row::Column::ShelvedUntil, Expr::value(None::<i64>))
        .col_expr(row::Column::Shelf, Expr::value(None::<String>))
        .filter(row::Column::Id.eq(case.to_string()))
        .filter(row::Column::ShelvedUntil.is_not_null())
        .exec(tx)
        .await?;
    match by {
        By::Person(_) => one(done.rows_affected, *case),
        By::Policy | By::Expiry => Ok(()),
    }
}

fn one(n_rows: u64, case: CaseId) -> Result<(), DbErr> {
    if n_rows == 1 { Ok(()) } else { Err(DbErr::Custom(format!("case {case} does not stand so"))) }
}

/// A case came further, unless it is beyond `state` already.
pub(crate) async fn advanced(tx: &impl ConnectionTrait, case: CaseId, state: State) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(state.as_str()))
        .filter(row::Column::Id.eq(case.to_string()))
        .filter(row::Column::State.is_in(state.reached_from().iter().map(|from| from.as_str())))
        .exec(tx)
        .await?;
    Ok(())
}

/// One more anomaly is evidence of a case.
pub(crate) async fn evidence(tx: &impl ConnectionTrait, case: CaseId, validated: &Validated) -> Result<(), DbErr> {
    let taken_at = micros(validated.anomaly.taken_at);
    let first = Expr::case(Expr::col(row::Column::FirstEvidenceAt).gt(taken_at), taken_at)
        .finally(Expr::col(row::Column::FirstEvidenceAt));
    let last = Expr::case(Expr::col(row::Column::LastEvidenceAt).lt(taken_at), taken_at)
        .finally(Expr::col(row::Column::LastEvidenceAt));
    row::Entity::update_many()
        .col_expr(row::Column::FirstEvidenceAt, first.into())
        .col_expr(row::Column::LastEvidenceAt, last.into())
        .col_expr(row::Column::EvidenceCount, Expr::col(row::Column::EvidenceCount).add(1))
        .filter(row::Column::Id.eq(case.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
