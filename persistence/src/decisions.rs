//! Questions to people, and their answers as an audit trail.
//!
//! Every answer is kept, also one to a question that nobody asked, and a second one to the same question.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::decision::{Expired, Meaning, OnExpiry, Proposal, Received, Requested, Required};
use domain::{CaseId, CorrelationId, DecisionRequestId, EventId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "decisions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: String,
        pub request_id: String,
        pub decision: String,
        pub meaning: String,
        pub operator_id: String,
        pub key: Option<String>,
        pub justification: Option<String>,
        pub timestamp: i64,
        pub confidence: f64,
        pub additional_notes: Option<String>,
        pub correlation_id: String,
        pub at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod request_row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "decision_requests")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub state: String,
        pub case_id: Option<String>,
        pub asset: String,
        pub proposal: String,
        pub options: String,
        pub reason: String,
        pub deadline: i64,
        pub on_expiry: String,
        pub escalations: i64,
        pub created_at: i64,
        pub settled_at: Option<i64>,
        pub correlation: String,
        pub event_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An answer. The first eight fields are the old contract's.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Decision {
    /// The question; `maintenance_request_<event>` when maintenance was asked for outright.
    pub request_id: DecisionRequestId,
    /// The answer's own words.
    pub decision: String,
    /// Who answered, as they said.
    pub operator_id: String,
    /// Why, in their words.
    pub justification: Option<String>,
    /// When they decided (source time).
    pub timestamp: Timestamp,
    /// How sure they are, 0 to 1.
    pub confidence: f64,
    /// Anything else.
    pub additional_notes: Option<String>,
    /// The request it came of.
    pub correlation_id: CorrelationId,
    /// What the answer means.
    pub meaning: Meaning,
    /// The key they used, by its name.
    pub key: Option<String>,
    /// The event that made it known.
    pub event_id: EventId,
    /// When we learnt of it.
    pub received_at: Timestamp,
}

impl TryFrom<row::Model> for Decision {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            request_id: DecisionRequestId::from(row.request_id),
            decision: row.decision,
            operator_id: row.operator_id,
            justification: row.justification,
            timestamp: timestamp(row.timestamp)?,
            confidence: row.confidence,
            additional_notes: row.additional_notes,
            correlation_id: CorrelationId::from(row.correlation_id),
            meaning: texts::named(&row.meaning)?,
            key: row.key,
            event_id: texts::id(&row.event_id)?,
            received_at: timestamp(row.at)?,
        })
    }
}

/// Which answers to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one person.
    pub operator: Option<String>,
    /// Those to one question.
    pub request: Option<DecisionRequestId>,
    /// Those that came of one request.
    pub correlation: Option<CorrelationId>,
    /// Decided at this instant or later.
    pub from: Option<Timestamp>,
    /// Decided at this instant or earlier.
    pub to: Option<Timestamp>,
}

/// Answers, newest decision first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    filter: &Filter,
    start: &Start,
    limit: usize,
) -> Result<Page<Decision>, StoreError> {
    let (request, correlation) = (filter.request.as_ref(), filter.correlation.as_ref());
    let chosen = row::Entity::find()
        .apply_if(filter.operator.as_deref(), |rows, operator| rows.filter(row::Column::OperatorId.eq(operator)))
        .apply_if(request, |rows, request| rows.filter(row::Column::RequestId.eq(request.as_str())))
        .apply_if(correlation, |rows, correlation| rows.filter(row::Column::CorrelationId.eq(correlation.as_str())))
        .apply_if(filter.from, |rows, from| rows.filter(row::Column::Timestamp.gte(micros(from))))
        .apply_if(filter.to, |rows, to| rows.filter(row::Column::Timestamp.lte(micros(to))));
    // Ids of events are in the order of time.
    let keys = (row::Column::Timestamp, row::Column::EventId);
    let rows = page::page(chosen, keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.timestamp, id: row.event_id.clone() };
    Page::of(rows, limit, cursor, Decision::try_from)
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// It waits for an answer.
    Pending,
    /// It was approved.
    Approved,
    /// It was declined.
    Declined,
    /// Nobody answered in time.
    Expired,
    /// Another question took its place, or its case ended.
    Superseded,
}

impl RequestState {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
        }
    }
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Request {
    /// The question.
    pub request: DecisionRequestId,
    /// What became of it.
    pub state: RequestState,
    /// What is proposed.
    pub proposal: Proposal,
    /// Possible answers.
    pub options: Vec<String>,
    /// Why a person must decide, in words.
    pub reason: String,
    /// When the answer is due.
    pub deadline: Timestamp,
    /// What happens then.
    pub on_expiry: OnExpiry,
    /// How often it was asked before.
    pub escalations: u32,
    /// When it was asked last (receive time).
    pub created_at: Timestamp,
    /// When it no longer waited.
    pub settled_at: Option<Timestamp>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// The event that asked it last.
    pub event: EventId,
}

impl TryFrom<request_row::Model> for Request {
    type Error = StoreError;

    fn try_from(row: request_row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            request: DecisionRequestId::from(row.id),
            state: texts::named(&row.state)?,
            proposal: texts::parsed(&row.proposal)?,
            options: texts::parsed(&row.options)?,
            reason: row.reason,
            deadline: timestamp(row.deadline)?,
            on_expiry: texts::parsed(&row.on_expiry)?,
            escalations: u32::try_from(row.escalations).map_err(|error| StoreError::Corrupt(error.to_string()))?,
            created_at: timestamp(row.created_at)?,
            settled_at: row.settled_at.map(timestamp).transpose()?,
            correlation: CorrelationId::from(row.correlation),
            event: texts::id(&row.event_id)?,
        })
    }
}

/// Questions that wait for an answer, the most pressing deadline first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn pending(history: &History, start: &Start, limit: usize) -> Result<Page<Request>, StoreError> {
    let waiting = request_row::Entity::find().filter(request_row::Column::State.eq(RequestState::Pending.as_str()));
    let keys = (request_row::Column::Deadline, request_row::Column::Id);
    let rows = page::page(waiting, keys, Way::Up, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &request_row::Model| Cursor { at: row.deadline, id: row.id.clone() };
    Page::of(rows, limit, cursor, Request::try_from)
}

/// How many questions wait for an answer.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count_pending(history: &History) -> Result<u64, StoreError> {
    let state = request_row::Column::State.eq(RequestState::Pending.as_str());
    Ok(request_row::Entity::find().filter(state).count(history.db()).await?)
}

/// When the question that has waited longest was asked.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn oldest_pending_at(history: &History) -> Result<Option<Timestamp>, StoreError> {
    let asked: Option<i64> = request_row::Entity::find()
        .select_only()
        .column(request_row::Column::CreatedAt)
        .filter(request_row::Column::State.eq(RequestState::Pending.as_str()))
        .order_by_asc(request_row::Column::CreatedAt)
        .into_tuple()
        .one(history.db())
        .await?;
    asked.map(timestamp).transpose()
}

/// Questions, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn requests(
    history: &History,
    state: Option<RequestState>,
    limit: usize,
    offset: usize,
) -> Result<Vec<Request>, StoreError> {
    let rows = request_row::Entity::find()
        .apply_if(state, |rows, state| rows.filter(request_row::Column::State.eq(state.as_str())))
        .order_by_desc(request_row::Column::CreatedAt)
        .order_by_desc(request_row::Column::Id)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Request::try_from).collect()
}

/// One question.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn request(history: &History, id: &DecisionRequestId) -> Result<Option<Request>, StoreError> {
    request_row::Entity::find_by_id(id.as_str()).one(history.db()).await?.map(Request::try_from).transpose()
}

/// A person must decide. A question that is asked again waits again; a newer one about the same case
/// takes the place of the older.
pub(crate) async fn required(tx: &impl ConnectionTrait, event: &NewEvent, required: &Required) -> Result<(), DbErr> {
    if let Some(case) = required.proposal.case {
        supersede(tx, event, case).await?;
    }
    let row = request_row::Model {
        id: required.request.as_str().to_owned(),
        state: RequestState::Pending.as_str().to_owned(),
        case_id: required.proposal.case.map(|case| case.to_string()),
        asset: required.proposal.asset.as_str().to_owned(),
        proposal: texts::json(&required.proposal)?,
        options: texts::json(&required.options)?,
        reason: required.reason.clone(),
        deadline: micros(required.deadline),
        on_expiry: texts::json(&required.on_expiry)?,
        escalations: i64::from(required.escalations),
        created_at: micros(event.at),
        settled_at: None,
        correlation: event.correlation.as_str().to_owned(),
        event_id: event.id.to_string(),
    };
    request_row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(request_row::Column::Id)
                .update_columns([
                    request_row::Column::State,
                    request_row::Column::Proposal,
                    request_row::Column::Options,
                    request_row::Column::Reason,
                    request_row::Column::Deadline,
                    request_row::Column::OnExpiry,
                    request_row::Column::Escalations,
                    request_row::Column::CreatedAt,
                    request_row::Column::SettledAt,
                    request_row::Column::EventId,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Questions about `case` no longer wait: another took their place, or the case ended.
pub(crate) async fn supersede(tx: &impl ConnectionTrait, event: &NewEvent, case: CaseId) -> Result<(), DbErr> {
    settle(event, RequestState::Superseded)
        .filter(request_row::Column::CaseId.eq(case.to_string()))
        .filter(request_row::Column::State.eq(RequestState::Pending.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

/// A question was approved or declined.
pub(crate) async fn settled(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    request: &DecisionRequestId,
    state: RequestState,
) -> Result<(), DbErr> {
    settle(event, state).filter(request_row::Column::Id.eq(request.as_str())).exec(tx).await?;
    Ok(())
}

/// Nobody answered a question in time.
pub(crate) async fn expired(tx: &impl ConnectionTrait, event: &NewEvent, expired: &Expired) -> Result<(), DbErr> {
    settle(event, RequestState::Expired)
        .filter(request_row::Column::Id.eq(expired.request.as_str()))
        .filter(request_row::Column::State.eq(RequestState::Pending.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

fn settle(event: &NewEvent, state: RequestState) -> sea_orm::UpdateMany<request_row::Entity> {
    request_row::Entity::update_many()
        .col_expr(request_row::Column::State, Expr::value(state.as_str()))
        .col_expr(request_row::Column::SettledAt, Expr::value(micros(event.at)))
}

/// Somebody answered.
pub(crate) async fn received(tx: &impl ConnectionTrait, event: &NewEvent, received: &Received) -> Result<(), DbErr> {
    let row = row::Model {
        event_id: event.id.to_string(),
        request_id: received.request.as_str().to_owned(),
        decision: received.decision.clone(),
        meaning: name(received.meaning).to_owned(),
        operator_id: received.operator.clone(),
        key: received.key.clone(),
        justification: received.justification.clone(),
        timestamp: micros(received.decided_at),
        confidence: received.confidence,
        additional_notes: received.notes.clone(),
        correlation_id: event.correlation.as_str().to_owned(),
        at: micros(event.at),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// Somebody asked for maintenance outright, which is their approval.
pub(crate) async fn asked_outright(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    requested: &Requested,
) -> Result<(), DbErr> {
    let answer = Received {
        request: DecisionRequestId::from(format!("maintenance_request_{}", event.id)),
        decision: "approved".to_owned(),
        meaning: Meaning::Approve,
        operator: requested.by.clone(),
        key: None,
        justification: Some("maintenance was requested outright".to_owned()),
        confidence: 1.0,
        notes: None,
        decided_at: event.at,
    };
    received(tx, event, &answer).await
}

/// The case that a question is about.
pub(crate) async fn case_of(tx: &impl ConnectionTrait, request: &DecisionRequestId) -> Result<Option<CaseId>, DbErr> {
    let row = request_row::Entity::find_by_id(request.as_str()).one(tx).await?;
    let case = row.and_then(|row| row.case_id);
    case.map(|case| case.parse().map_err(|_| DbErr::Type(format!("case id {case:?}")))).transpose()
}

fn name(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Approve => "approve",
        Meaning::Decline => "decline",
        Meaning::Defer => "defer",
        Meaning::Escalate => "escalate",
        Meaning::Note => "note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, answered, declined, proposal, required, second};
    use domain::Event;
    use domain::decision::{Approved, By};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn answers_are_chosen_by_the_old_contracts_filters() -> Outcome {
        // Given answers of two people, one to a question that nobody asked, one twice,
        let mut story = Story::begin().await?;
        story.tell(100, None, answered("q-1", "ana", "approved", 10)).await?;
        story.tell(101, None, answered("q-1", "ana", "Rejected", 30)).await?;
        story.tell(102, None, answered("q-2", "bo", "modify", 20)).await?;
        let of = async |filter: Filter| -> Result<Vec<String>, StoreError> {
            let found = list(&story.history, &filter, &Start::Offset(0), 10).await?.rows;
            Ok(found.into_iter().map(|decision| decision.decision).collect())
        };
        // then the newest decision comes first, whenever it was told,
        assert_eq!(of(Filter::default()).await?, ["Rejected", "modify", "approved"]);
        // and every filter is exact, its bounds included.
        let any = Filter::default;
        assert_eq!(of(Filter { operator: Some("bo".to_owned()), ..any() }).await?, ["modify"]);
        assert_eq!(of(Filter { operator: Some("b".to_owned()), ..any() }).await?, [""; 0]);
        assert_eq!(of(Filter { request: Some("q-1".into()), ..any() }).await?, ["Rejected", "approved"]);
        assert_eq!(of(Filter { correlation: Some("corr-1".into()), ..any() }).await?.len(), 3);
        assert_eq!(of(Filter { correlation: Some("corr-2".into()), ..any() }).await?.len(), 0);
        let days = Filter { from: Some(second(10)), to: Some(second(20)), ..any() };
        assert_eq!(of(days).await?, ["modify", "approved"]);
        let page = list(&story.history, &any(), &Start::Offset(1), 1).await?.rows;
        assert_eq!(page.len(), 1);
        assert_eq!((page[0].operator_id.as_str(), page[0].meaning), ("bo", Meaning::Note));
        assert_eq!((page[0].timestamp, page[0].received_at), (second(20), second(102)));
        assert_eq!(page[0].key.as_deref(), Some("shift"));
        Ok(())
    }

    #[tokio::test]
    async fn maintenance_that_is_asked_for_outright_is_an_approval() -> Outcome {
        let mut story = Story::begin().await?;
        let wish =
            Requested { proposal: proposal(None, "pump-1"), by: "planner".to_owned(), context: Default::default() };
        let event = story.tell(5, None, Event::MaintenanceRequested(wish)).await?;
        let found = list(&story.history, &Filter::default(), &Start::Offset(0), 10).await?.rows;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].request_id.as_str(), format!("maintenance_request_{event}"));
        assert_eq!((found[0].decision.as_str(), found[0].operator_id.as_str()), ("approved", "planner"));
        assert_eq!((found[0].timestamp, found[0].event_id), (second(5), event));
        Ok(())
    }

    #[tokio::test]
    async fn a_question_waits_until_it_is_settled() -> Outcome {
        let mut story = Story::begin().await?;
        let state = async |story: &Story, id: &str| -> Result<Option<RequestState>, StoreError> {
            Ok(request(&story.history, &id.into()).await?.map(|request| request.state))
        };
        // Given two questions, the later one more pressing,
        story.tell(0, None, required("q-1", 1, 90)).await?;
        story.tell(1, None, required("q-2", 2, 60)).await?;
        let waiting = pending(&story.history, &Start::default(), 10).await?.rows;
        let names: Vec<&str> = waiting.iter().map(|request| request.request.as_str()).collect();
        assert_eq!(names, ["q-2", "q-1"]);
        assert_eq!((waiting[0].deadline, waiting[0].on_expiry), (second(60), OnExpiry::Escalate));
        // when one is declined and the other expires, neither waits,
        story.tell(2, None, declined("q-2", 2)).await?;
        story
            .tell(90, None, Event::DecisionExpired(Expired { request: "q-1".into(), outcome: OnExpiry::Escalate }))
            .await?;
        assert_eq!(state(&story, "q-2").await?, Some(RequestState::Declined));
        assert_eq!(state(&story, "q-1").await?, Some(RequestState::Expired));
        assert_eq!(count_pending(&story.history).await?, 0);
        // until it is asked again;
        story.tell(91, None, required("q-1", 1, 200)).await?;
        assert_eq!(state(&story, "q-1").await?, Some(RequestState::Pending));
        // another question about the same case takes its place,
        story.tell(92, None, required("q-3", 1, 200)).await?;
        assert_eq!(state(&story, "q-1").await?, Some(RequestState::Superseded));
        // an approval settles that one, and the end of a case what still waits.
        let approved = Approved {
            request: Some("q-3".into()),
            proposal: proposal(Some(1), "pump-1"),
            by: By::Person("ana".to_owned()),
            reason: "do it".to_owned(),
        };
        story.tell(93, None, Event::MaintenanceApproved(approved)).await?;
        assert_eq!(state(&story, "q-3").await?, Some(RequestState::Approved));
        story.open(94, 4, "pump-1").await?;
        story.tell(95, None, required("q-4", 4, 200)).await?;
        story.close(96, 4).await?;
        assert_eq!(state(&story, "q-4").await?, Some(RequestState::Superseded));
        assert_eq!(requests(&story.history, Some(RequestState::Superseded), 10, 0).await?.len(), 2);
        assert_eq!(state(&story, "q-5").await?, None);
        Ok(())
    }
}
