//! Booked repairs. A technician is never booked twice for the same time.
//!
//! **Invariant**: one booked order per case and one per technician and instant, held by unique indexes;
//! orders that overlap are refused as they are inserted, which is safe because one writer inserts them.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::work_order::{Completed, Scheduled, Slot, State, Step};
use domain::{AssetId, CaseId, CorrelationId, EventId, TechnicianId, Timestamp, WorkOrderId};
use schemars::JsonSchema;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "work_orders")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub state: String,
        pub approval: String,
        pub case_id: Option<String>,
        pub asset: String,
        pub sensor: String,
        pub technician: String,
        pub start_at: i64,
        pub end_at: i64,
        pub score: f64,
        pub reason: String,
        pub data: String,
        pub completion: Option<String>,
        pub completed_at: Option<i64>,
        pub correlation: String,
        pub created_at: i64,
        pub event_id: String,
        pub started_at: Option<i64>,
        pub held_at: Option<i64>,
        pub held_micros: Option<i64>,
        pub last_step: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An order.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WorkOrder {
    /// How far it has come.
    pub state: State,
    /// What was booked: who, when, what for, and why so.
    #[serde(flatten)]
    pub order: Scheduled,
    /// What came of it, once it was done.
    pub completion: Option<Completed>,
    /// When work began, if it did.
    pub started_at: Option<Timestamp>,
    /// How long it rested so far, in hours, without a rest that goes on.
    pub held_hours: f64,
    /// When the rest began that goes on.
    pub held_at: Option<Timestamp>,
    /// Who moved it on last, and why.
    pub last_step: Option<LastStep>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// When it was booked (receive time).
    pub created_at: Timestamp,
    /// The event that booked it.
    pub event: EventId,
}

/// Who moved an order on, when, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastStep {
    /// When (receive time).
    pub at: Timestamp,
    /// The name of their key.
    pub by: String,
    /// In their words.
    pub reason: Option<String>,
}

const MICROS_PER_HOUR: f64 = 3_600_000_000.0;

impl WorkOrder {
    /// Hours of work if it ends at `now`: since it began, without rests. `None` if it has not begun.
    pub fn worked_hours(&self, now: Timestamp) -> Option<f64> {
        let until = self.held_at.unwrap_or(now);
        let hours = until.duration_since(self.started_at?).as_secs_f64() / 3_600.0;
        Some((hours - self.held_hours).max(0.0))
    }
}

impl TryFrom<row::Model> for WorkOrder {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            state: texts::named(&row.state)?,
            order: texts::parsed(&row.data)?,
            completion: row.completion.as_deref().map(texts::parsed).transpose()?,
            started_at: row.started_at.map(timestamp).transpose()?,
            held_hours: row.held_micros.unwrap_or(0) as f64 / MICROS_PER_HOUR,
            held_at: row.held_at.map(timestamp).transpose()?,
            last_step: row.last_step.as_deref().map(texts::parsed).transpose()?,
            correlation: CorrelationId::from(row.correlation),
            created_at: timestamp(row.created_at)?,
            event: texts::id(&row.event_id)?,
        })
    }
}

/// Which orders to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those in one state.
    pub state: Option<State>,
    /// Those of one asset.
    pub asset: Option<AssetId>,
    /// Those of one technician.
    pub technician: Option<TechnicianId>,
    /// Those that came of one request.
    pub correlation: Option<CorrelationId>,
    /// Those of one case.
    pub case: Option<CaseId>,
    /// Those that are not over.
    pub open: bool,
}

/// Orders, the one booked last first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    filter: &Filter,
    start: &Start,
    limit: usize,
) -> Result<Page<WorkOrder>, StoreError> {
    let (technician, correlation) = (filter.technician.as_ref(), filter.correlation.as_ref());
    let chosen = row::Entity::find()
        .apply_if(filter.case, |rows, case| rows.filter(row::Column::CaseId.eq(case.to_string())))
        .apply_if(filter.open.then_some(()), |rows, ()| rows.filter(is_open()))
        .apply_if(filter.state, |rows, state| rows.filter(row::Column::State.eq(state.as_str())))
        .apply_if(filter.asset.as_ref(), |rows, asset| rows.filter(row::Column::Asset.eq(asset.as_str())))
        .apply_if(technician, |rows, technician| rows.filter(row::Column::Technician.eq(technician.as_str())))
        .apply_if(correlation, |rows, correlation| rows.filter(row::Column::Correlation.eq(correlation.as_str())));
    let keys = (row::Column::CreatedAt, row::Column::Id);
    let rows = page::page(chosen, keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.created_at, id: row.id.clone() };
    Page::of(rows, limit, cursor, WorkOrder::try_from)
}

/// How many orders are not over.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count_open(history: &History) -> Result<u64, StoreError> {
    Ok(row::Entity::find().filter(is_open()).count(history.db()).await?)
}

/// One order.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: WorkOrderId) -> Result<Option<WorkOrder>, StoreError> {
    find(history.db(), id).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: WorkOrderId) -> Result<Option<WorkOrder>, StoreError> {
    row::Entity::find_by_id(id.to_string()).one(db).await?.map(WorkOrder::try_from).transpose()
}

/// The order that carries out one approval.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn of_approval(history: &History, approval: EventId) -> Result<Option<WorkOrder>, StoreError> {
    let row = row::Entity::find().filter(row::Column::Approval.eq(approval.to_string())).one(history.db()).await?;
    row.map(WorkOrder::try_from).transpose()
}

/// Booked orders of one asset, the earliest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn open_for(history: &History, asset: &AssetId, limit: usize) -> Result<Vec<WorkOrder>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Asset.eq(asset.as_str()))
        .filter(is_open())
        .order_by_asc(row::Column::StartAt)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(WorkOrder::try_from).collect()
}

/// Times after `from` at which technicians are booked, the earliest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn bookings(history: &History, from: Timestamp, limit: usize) -> Result<Vec<Slot>, StoreError> {
    let rows: Vec<(String, i64, i64)> = row::Entity::find()
        .select_only()
        .columns([row::Column::Technician, row::Column::StartAt, row::Column::EndAt])
        .filter(is_open())
        .filter(row::Column::EndAt.gt(micros(from)))
        .order_by_asc(row::Column::StartAt)
        .order_by_asc(row::Column::Technician)
        .limit(limit as u64)
        .into_tuple()
        .all(history.db())
        .await?;
    rows.into_iter()
        .map(|(technician, start_at, end_at)| {
            Ok(Slot {
                technician: TechnicianId::from(technician),
                start_at: timestamp(start_at)?,
                end_at: timestamp(end_at)?,
            })
        })
        .collect()
}

/// An order still takes its technician's time.
fn is_open() -> sea_orm::sea_query::SimpleExpr {
    row::Column::State.is_in(State::ALL.into_iter().filter(|state| state.is_open()).map(State::as_str))
}

/// A repair was booked, or one that nobody has begun was moved.
pub(crate) async fn scheduled(tx: &impl ConnectionTrait, event: &NewEvent, order: &Scheduled) -> Result<(), DbErr> {
    let overlapping = row::Entity::find()
        .filter(row::Column::Technician.eq(order.technician.as_str()))
        .filter(is_open())
        .filter(row::Column::StartAt.lt(micros(order.end_at)))
        .filter(row::Column::EndAt.gt(micros(order.start_at)))
        .filter(row::Column::Id.ne(order.work_order.to_string()))
        .count(tx)
        .await?;
    if 0 < overlapping {
        let (technician, start_at, end_at) = (&order.technician, order.start_at, order.end_at);
        return Err(DbErr::Custom(format!("{technician} has another order between {start_at} and {end_at}")));
    }
    let moved = row::Entity::update_many()
        .col_expr(row::Column::Technician, Expr::value(order.technician.as_str()))
        .col_expr(row::Column::StartAt, Expr::value(micros(order.start_at)))
        .col_expr(row::Column::EndAt, Expr::value(micros(order.end_at)))
        .col_expr(row::Column::Score, Expr::value(order.score))
        .col_expr(row::Column::Reason, Expr::value(order.reason.as_str()))
        .col_expr(row::Column::Data, Expr::value(texts::json(order)?))
        .col_expr(row::Column::EventId, Expr::value(event.id.to_string()))
        .filter(row::Column::Id.eq(order.work_order.to_string()))
        .filter(row::Column::Approval.eq(order.approval.to_string()))
        .filter(row::Column::State.eq(State::Scheduled.as_str()))
        .exec(tx)
        .await?;
    if 0 < moved.rows_affected {
        return Ok(());
    }
    let row = row::Model {
        id: order.work_order.to_string(),
        state: State::Scheduled.as_str().to_owned(),
        approval: order.approval.to_string(),
        case_id: order.proposal.case.map(|case| case.to_string()),
        asset: order.proposal.asset.as_str().to_owned(),
        sensor: order.proposal.sensor.as_str().to_owned(),
        technician: order.technician.as_str().to_owned(),
        start_at: micros(order.start_at),
        end_at: micros(order.end_at),
        score: order.score,
        reason: order.reason.clone(),
        data: texts::json(order)?,
        completion: None,
        completed_at: None,
        correlation: event.correlation.as_str().to_owned(),
        created_at: micros(event.at),
        event_id: event.id.to_string(),
        started_at: None,
        held_at: None,
        held_micros: None,
        last_step: None,
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// `by` takes `step` with an order, and says why.
///
/// # Errors
///
/// [`DbErr::Custom`] when the order cannot take it as it is.
pub(crate) async fn moved(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    id: WorkOrderId,
    step: Step,
    (by, reason): (&str, Option<&str>),
) -> Result<(), DbErr> {
    let now = micros(event.at);
    let last = LastStep { at: event.at, by: by.to_owned(), reason: reason.map(str::to_owned) };
    let order = row::Entity::find_by_id(id.to_string()).one(tx).await?;
    let refused = |why: String| DbErr::Custom(format!("work order {id}: {why}"));
    let order = order.ok_or_else(|| refused("there is none".to_owned()))?;
    let state: State = texts::named(&order.state).map_err(|error| DbErr::Type(error.to_string()))?;
    let next = state.after(step).map_err(|refusal| refused(refusal.to_string()))?;
    let rested = order.held_at.map_or(0, |held_at| now - held_at) + order.held_micros.unwrap_or(0);
    let held_at = (next == State::OnHold).then_some(now);
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(next.as_str()))
        .col_expr(row::Column::LastStep, Expr::value(texts::json(&last)?))
        .col_expr(row::Column::StartedAt, Expr::value(order.started_at.or((step == Step::Start).then_some(now))))
        .col_expr(row::Column::HeldAt, Expr::value(held_at))
        .col_expr(row::Column::HeldMicros, Expr::value(rested))
        .filter(row::Column::Id.eq(id.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

/// A repair was done.
///
/// # Errors
///
/// [`DbErr::Custom`] when it had not begun.
pub(crate) async fn completed(tx: &impl ConnectionTrait, event: &NewEvent, completed: &Completed) -> Result<(), DbErr> {
    let by = completed.by.as_deref().unwrap_or(completed.technician.as_str());
    moved(tx, event, completed.work_order, Step::Complete, (by, Some(&completed.notes))).await?;
    row::Entity::update_many()
        .col_expr(row::Column::Completion, Expr::value(texts::json(completed)?))
        .col_expr(row::Column::CompletedAt, Expr::value(micros(completed.completed_at)))
        .filter(row::Column::Id.eq(completed.work_order.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

/// What came of the last repair of each of `cases` that had one.
pub(crate) async fn completions(history: &History, cases: &[CaseId]) -> Result<HashMap<CaseId, Completed>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::CaseId.is_in(cases.iter().map(CaseId::to_string)))
        .filter(row::Column::Completion.is_not_null())
        .order_by_asc(row::Column::CreatedAt)
        .all(history.db())
        .await?;
    rows.into_iter()
        .filter_map(|row| Some((row.case_id?, row.completion?)))
        .map(|(case, completion)| Ok((texts::id(&case)?, texts::parsed(&completion)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, completed, order, scheduled, second, started};
    use domain::Event;
    use domain::work_order::{Cancelled, Held};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    async fn book(story: &mut Story, scheduled: Scheduled) -> Result<EventId, DbErr> {
        story.tell(scheduled.start_at.as_second() % 1_000, None, Event::MaintenanceScheduled(scheduled)).await
    }

    #[tokio::test]
    async fn a_technician_is_not_booked_twice() -> Outcome {
        // Given an order from 100 to 200,
        let mut story = Story::begin().await?;
        book(&mut story, scheduled(1, Some(1), "tech-1", 100, 200)).await?;
        // then the same technician gets no other that overlaps it,
        for (start, end) in [(100, 200), (50, 101), (199, 300), (120, 130), (0, 500)] {
            let again = book(&mut story, scheduled(2, Some(2), "tech-1", start, end)).await;
            assert!(again.is_err(), "{start} to {end}");
        }
        // but those beside it, and somebody else gets one.
        book(&mut story, scheduled(3, Some(3), "tech-1", 200, 300)).await?;
        book(&mut story, scheduled(4, Some(4), "tech-1", 50, 100)).await?;
        book(&mut story, scheduled(5, Some(5), "tech-2", 100, 200)).await?;
        // When the order is done, its time is free again.
        story.tell(0, None, started(1, Some(case(1)))).await?;
        assert!(book(&mut story, scheduled(6, Some(6), "tech-1", 150, 200)).await.is_err(), "it is under way");
        story.tell(0, None, completed(1, Some(case(1)), 150, true)).await?;
        book(&mut story, scheduled(6, Some(6), "tech-1", 150, 200)).await?;
        let booked = bookings(&story.history, second(101), 10).await?;
        let booked: Vec<_> = booked.iter().map(|slot| (slot.technician.as_str(), slot.start_at)).collect();
        assert_eq!(booked, [("tech-2", second(100)), ("tech-1", second(150)), ("tech-1", second(200))]);
        Ok(())
    }

    #[tokio::test]
    async fn a_case_and_an_approval_have_one_order() -> Outcome {
        let mut story = Story::begin().await?;
        book(&mut story, scheduled(1, Some(1), "tech-1", 100, 200)).await?;
        // A second order for the case is refused, also with another technician,
        assert!(book(&mut story, scheduled(2, Some(1), "tech-2", 300, 400)).await.is_err());
        // and a second one that carries out the same approval;
        let approval = scheduled(1, None, "tech-1", 0, 1).approval;
        let again = Scheduled { approval, ..scheduled(3, None, "tech-2", 300, 400) };
        assert!(book(&mut story, again).await.is_err());
        // orders without a case do not stand in each other's way.
        book(&mut story, scheduled(4, None, "tech-2", 300, 400)).await?;
        book(&mut story, scheduled(5, None, "tech-2", 400, 500)).await?;
        assert_eq!(list(&story.history, &Filter::default(), &Start::Offset(0), 10).await?.rows.len(), 3);
        Ok(())
    }

    #[tokio::test]
    async fn an_order_that_nobody_has_begun_can_be_moved() -> Outcome {
        // Given an order of somebody who leaves,
        let mut story = Story::begin().await?;
        book(&mut story, scheduled(1, Some(1), "tech-1", 100, 200)).await?;
        book(&mut story, scheduled(2, None, "tech-2", 300, 400)).await?;
        // when it is booked again for somebody else,
        let taken = scheduled(1, Some(1), "tech-2", 350, 450);
        assert!(book(&mut story, taken).await.is_err(), "not for a time that is taken");
        let moved = scheduled(1, Some(1), "tech-2", 150, 250);
        let event = book(&mut story, moved.clone()).await?;
        // then it is the same order, and theirs,
        let known = get(&story.history, order(1)).await?.expect("it was booked");
        assert_eq!((known.order, known.event, known.state), (moved, event, State::Scheduled));
        let of = |technician: &str| Filter { technician: Some(technician.into()), ..Filter::default() };
        assert_eq!(list(&story.history, &of("tech-1"), &Start::Offset(0), 10).await?.rows, []);
        assert_eq!(list(&story.history, &of("tech-2"), &Start::Offset(0), 10).await?.rows.len(), 2);
        // and once it has begun it stays where it is.
        story.tell(0, None, started(1, Some(case(1)))).await?;
        assert!(book(&mut story, scheduled(1, Some(1), "tech-3", 500, 600)).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn orders_are_kept_as_they_were_booked() -> Outcome {
        let mut story = Story::begin().await?;
        let first = scheduled(1, Some(1), "tech-1", 100, 200);
        let event = story.tell(5, None, Event::MaintenanceScheduled(first.clone())).await?;
        story.tell(6, None, Event::MaintenanceScheduled(scheduled(2, None, "tech-2", 100, 200))).await?;
        assert!(story.tell(90, None, completed(1, Some(case(1)), 180, false)).await.is_err(), "it has not begun");
        story.tell(100, None, started(1, Some(case(1)))).await?;
        story.tell(190, None, completed(1, Some(case(1)), 180, false)).await?;

        let known = get(&story.history, order(1)).await?.expect("it was booked");
        assert_eq!((known.state, known.event, known.created_at), (State::Completed, event, second(5)));
        assert_eq!(known.order, first);
        assert_eq!(known.completion.map(|completion| completion.fault_found), Some(false));
        assert_eq!(of_approval(&story.history, first.approval).await?.map(|order| order.event), Some(event));

        let all = list(&story.history, &Filter::default(), &Start::Offset(0), 10).await?.rows;
        assert_eq!(all.iter().map(|known| known.order.work_order).collect::<Vec<_>>(), [order(2), order(1)]);
        let of = |correlation: &str| Filter { correlation: Some(correlation.into()), ..Filter::default() };
        assert_eq!(list(&story.history, &of("corr-1"), &Start::Offset(0), 10).await?.rows.len(), 2);
        assert_eq!(list(&story.history, &of("corr-2"), &Start::Offset(0), 10).await?.rows.len(), 0);
        let open = open_for(&story.history, &AssetId::from("pump-1"), 10).await?;
        assert_eq!(open.iter().map(|known| known.order.work_order).collect::<Vec<_>>(), [order(2)]);
        Ok(())
    }

    #[tokio::test]
    async fn work_rests_and_goes_on_and_is_timed_without_its_rests() -> Outcome {
        let mut story = Story::begin().await?;
        book(&mut story, scheduled(1, Some(1), "tech-1", 100, 200)).await?;
        let held = || {
            Event::WorkOrderHeld(Held {
                work_order: order(1),
                case: Some(case(1)),
                asset: "pump-1".into(),
                by: "shift".to_owned(),
                reason: "no seal in stock".to_owned(),
            })
        };
        assert!(story.tell(0, None, held()).await.is_err(), "it has not begun");
        for (at, event) in [(0, started(1, Some(case(1)))), (3_600, held()), (9_000, started(1, Some(case(1))))] {
            story.tell(at, None, event).await?;
        }
        let known = get(&story.history, order(1)).await?.expect("it was booked");
        assert_eq!((known.state, known.started_at, known.held_hours), (State::InProgress, Some(second(0)), 1.5));
        assert_eq!(known.worked_hours(second(10_800)), Some(1.5));
        story.tell(10_000, None, held()).await?;
        let known = get(&story.history, order(1)).await?.expect("it was booked");
        assert_eq!(known.last_step.clone().and_then(|last| last.reason), Some("no seal in stock".to_owned()));
        assert_eq!(known.worked_hours(second(99_999)), known.worked_hours(second(10_000)));
        let called_off = Cancelled {
            work_order: order(1),
            case: Some(case(1)),
            asset: "pump-1".into(),
            by: "shift".to_owned(),
            reason: "the pump is replaced".to_owned(),
        };
        story.tell(11_000, None, Event::WorkOrderCancelled(called_off)).await?;
        assert_eq!(
            list(&story.history, &Filter { open: true, ..Filter::default() }, &Start::Offset(0), 10).await?.rows,
            []
        );
        // The case and the technician's time are free again.
        book(&mut story, scheduled(2, Some(1), "tech-1", 100, 200)).await?;
        Ok(())
    }
}
