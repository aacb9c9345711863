//! Messages and what became of them.

use crate::instants::{micros, timestamp};
use crate::page::{Cursor, Page, Start};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::notification::{Channel, Failed, Requested, Sent, Try};
use domain::{CaseId, CorrelationId, NotificationId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "notifications")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        pub recipient: String,
        pub priority: String,
        pub subject: String,
        pub body: String,
        pub state: String,
        pub attempts: i64,
        pub error: Option<String>,
        pub case_id: Option<String>,
        pub correlation: String,
        pub requested_at: i64,
        pub updated_at: i64,
        pub tries: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Newest tries that are kept of a message.
const TRIES_MAX: usize = 50;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is to be sent.
    Requested,
    /// It was delivered.
    Sent,
    /// It could not be.
    Failed,
}

impl State {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Notification {
    /// What is to be told, to whom and how.
    #[serde(flatten)]
    pub message: Requested,
    /// What became of it.
    pub state: State,
    /// How often delivery succeeded or was given up.
    pub attempts: u32,
    /// Why it failed last, in words.
    pub error: Option<String>,
    /// The case it is about, if any.
    pub case: Option<CaseId>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// When it was asked for (receive time).
    pub requested_at: Timestamp,
    /// When its state changed last.
    pub updated_at: Timestamp,
    /// The newest tries to deliver it, oldest first.
    pub tries: Vec<Try>,
}

impl TryFrom<row::Model> for Notification {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            message: Requested {
                notification: texts::id(&row.id)?,
                channel: texts::named(&row.channel)?,
                recipient: row.recipient,
                priority: texts::named(&row.priority)?,
                subject: row.subject,
                body: row.body,
            },
            state: texts::named(&row.state)?,
            attempts: u32::try_from(row.attempts).map_err(|error| StoreError::Corrupt(error.to_string()))?,
            error: row.error,
            case: texts::id_or_none(row.case_id.as_deref())?,
            correlation: CorrelationId::from(row.correlation),
            requested_at: timestamp(row.requested_at)?,
            updated_at: timestamp(row.updated_at)?,
            tries: row.tries.as_deref().map(texts::parsed).transpose()?.unwrap_or_default(),
        })
    }
}

/// Which messages to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one channel; the console's own are its inbox.
    pub channel: Option<Channel>,
    /// Those in one state.
    pub state: Option<State>,
    /// Those about one case.
    pub case: Option<CaseId>,
}

/// Messages, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    filter: &Filter,
    start: &Start,
    limit: usize,
) -> Result<Page<Notification>, StoreError> {
    let chosen = row::Entity::find()
        .apply_if(filter.channel, |rows, channel| rows.filter(row::Column::Channel.eq(channel.as_str())))
        .apply_if(filter.state, |rows, state| rows.filter(row::Column::State.eq(state.as_str())))
        .apply_if(filter.case, |rows, case| rows.filter(row::Column::CaseId.eq(case.to_string())))
        .order_by_desc(row::Column::RequestedAt)
        .order_by_desc(row::Column::Id)
        .order_by_asc(row::Column::Channel)
        .limit(limit.saturating_add(1) as u64);
    let rows = match start {
        Start::Offset(offset) => chosen.offset(*offset as u64),
        Start::After(last) => {
            // One message goes to several channels.
            let (id, channel) = last.id.split_once('.').unwrap_or((&last.id, ""));
            let same_message = row::Column::Id.eq(id).and(row::Column::Channel.gt(channel));
            let same_instant = row::Column::RequestedAt.eq(last.at).and(row::Column::Id.lt(id).or(same_message));
            chosen
                .filter(row::Column::RequestedAt.lte(last.at))
                .filter(row::Column::RequestedAt.lt(last.at).or(same_instant))
        }
    };
    let cursor = |row: &row::Model| Cursor { at: row.requested_at, id: format!("{}.{}", row.id, row.channel) };
    Page::of(rows.all(history.db()).await?, limit, cursor, Notification::try_from)
}

/// A message is to be sent; one that is asked for again is to be sent again.
pub(crate) async fn requested(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    message: &Requested,
    case: Option<CaseId>,
) -> Result<(), DbErr> {
    let row = row::Model {
        id: message.notification.to_string(),
        channel: message.channel.as_str().to_owned(),
        recipient: message.recipient.clone(),
        priority: message.priority.as_str().to_owned(),
        subject: message.subject.clone(),
        body: message.body.clone(),
        state: State::Requested.as_str().to_owned(),
        attempts: 0,
        error: None,
        case_id: case.map(|case| case.to_string()),
        correlation: event.correlation.as_str().to_owned(),
        requested_at: micros(event.at),
        updated_at: micros(event.at),
        tries: None,
    };
    row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::columns([row::Column::Id, row::Column::Channel])
                .update_columns([row::Column::State, row::Column::UpdatedAt])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// A message was delivered.
pub(crate) async fn sent(tx: &impl ConnectionTrait, event: &NewEvent, sent: &Sent) -> Result<(), DbErr> {
    tried(tx, event, (sent.notification, sent.channel), State::Sent, None, &sent.tries).await
}

/// A message could not be delivered.
pub(crate) async fn failed(tx: &impl ConnectionTrait, event: &NewEvent, failed: &Failed) -> Result<(), DbErr> {
    let error = Some(failed.error.clone());
    tried(tx, event, (failed.notification, failed.channel), State::Failed, error, &failed.tries).await
}

async fn tried(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    (id, channel): (NotificationId, Channel),
    state: State,
    error: Option<String>,
    tries: &[Try],
) -> Result<(), DbErr> {
    let key = (id.to_string(), channel.as_str().to_owned());
    let Some(known) = row::Entity::find_by_id(key).one(tx).await? else { return Ok(()) };
    let corrupt = |error: StoreError| DbErr::Custom(error.to_string());
    let mut told: Vec<Try> =
        known.tries.as_deref().map(texts::parsed).transpose().map_err(corrupt)?.unwrap_or_default();
    told.extend_from_slice(tries);
    told.drain(..told.len().saturating_sub(TRIES_MAX));
    row::Entity::update_many()
        .col_expr(row::Column::Tries, Expr::value(texts::json(&told)?))
        .col_expr(row::Column::State, Expr::value(state.as_str()))
        .col_expr(row::Column::Attempts, Expr::col(row::Column::Attempts).add(1))
        .col_expr(row::Column::Error, Expr::value(error))
        .col_expr(row::Column::UpdatedAt, Expr::value(micros(event.at)))
        .filter(row::Column::Id.eq(id.to_string()))
        .filter(row::Column::Channel.eq(channel.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, second};
    use domain::Event;
    use domain::case::Priority;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_message_tells_what_became_of_it() -> Result<(), Box<dyn std::error::Error>> {
        // Given a message about a case that goes two ways,
        let mut story = Story::begin().await?;
        let opened = story.open(0, 1, "pump-1").await?;
        let id = NotificationId(Uuid::from_u128(1));
        let message = |channel| Requested {
            notification: id,
            channel,
            recipient: "operators".to_owned(),
            priority: Priority::High,
            subject: "pump-1 is hot".to_owned(),
            body: "look at it".to_owned(),
        };
        for channel in [Channel::Console, Channel::Webhook] {
            story.tell(1, Some(opened), Event::NotificationRequested(message(channel))).await?;
        }
        // when one arrives, and the other fails twice,
        story
            .tell(
                2,
                None,
                Event::NotificationSent(Sent { notification: id, channel: Channel::Console, tries: Vec::new() }),
            )
            .await?;
        for error in ["no route", "refused"] {
            let one = Try { at: second(3), elapsed_seconds: 0.5, answer: None, error: Some(error.to_owned()) };
            let (channel, error) = (Channel::Webhook, error.to_owned());
            let failed = Failed { notification: id, channel, error, is_final: false, tries: vec![one] };
            story.tell(3, None, Event::NotificationFailed(failed)).await?;
        }
        // then each says so.
        let inbox = Filter { channel: Some(Channel::Console), ..Filter::default() };
        let inbox = list(&story.history, &inbox, &Start::Offset(0), 10).await?.rows;
        assert_eq!(inbox.len(), 1);
        assert_eq!((inbox[0].state, inbox[0].attempts, inbox[0].case), (State::Sent, 1, Some(case(1))));
        assert_eq!((inbox[0].requested_at, inbox[0].updated_at), (second(1), second(2)));
        assert_eq!(inbox[0].message, message(Channel::Console));
        let failed = Filter { state: Some(State::Failed), case: Some(case(1)), ..Filter::default() };
        let failed = list(&story.history, &failed, &Start::Offset(0), 10).await?.rows;
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].attempts, failed[0].error.as_deref()), (2, Some("refused")));
        let errors: Vec<_> = failed[0].tries.iter().filter_map(|one| one.error.as_deref()).collect();
        assert_eq!(errors, ["no route", "refused"], "each try is kept");
        Ok(())
    }
}
