//! Events that an agent could not handle.

use crate::instants::timestamp;
use crate::{History, StoreError, log, sql, texts};
use domain::{Envelope, Seq, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "dead_letters")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub agent: String,
        pub seq: i64,
        pub attempts: i32,
        pub error: String,
        pub at: i64,
        pub state: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for somebody to look at it.
    Open,
    /// Its event was given to the agent once more.
    Replayed,
    /// Somebody decided that it need not be handled.
    Discarded,
}

impl State {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// An event that an agent gave up.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The agent.
    pub agent: String,
    /// The event's place in the log.
    pub seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed, cause chain included.
    pub error: String,
    /// When it was given up (receive time).
    pub at: Timestamp,
    /// What became of it.
    pub state: State,
}

impl TryFrom<row::Model> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            agent: row.agent,
            seq: Seq(row.seq),
            attempts: row.attempts.unsigned_abs(),
            error: row.error,
            at: timestamp(row.at)?,
            state: texts::named(&row.state)?,
        })
    }
}

/// Which dead letters to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one agent.
    pub agent: Option<String>,
    /// Those in one state.
    pub state: Option<State>,
}

/// Dead letters, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    filter: &Filter,
    limit: usize,
    offset: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = chosen(filter)
        .order_by_desc(row::Column::Id)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// How many dead letters there are.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count(history: &History, filter: &Filter) -> Result<u64, StoreError> {
    Ok(chosen(filter).count(history.db()).await?)
}

fn chosen(filter: &Filter) -> sea_orm::Select<row::Entity> {
    row::Entity::find()
        .apply_if(filter.agent.as_deref(), |rows, agent| rows.filter(row::Column::Agent.eq(agent)))
        .apply_if(filter.state, |rows, state| rows.filter(row::Column::State.eq(state.as_str())))
}

/// One dead letter and its event.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: i64) -> Result<Option<(DeadLetter, Option<Envelope>)>, StoreError> {
    let Some(row) = row::Entity::find_by_id(id).one(history.db()).await? else { return Ok(None) };
    let letter = DeadLetter::try_from(row)?;
    let event = sql::row(history.db(), "SELECT * FROM events WHERE seq = $1", [letter.seq.0.into()]).await?;
    let event = event.as_ref().map(log::envelope).transpose()?;
    Ok(Some((letter, event)))
}

/// Somebody dealt with a dead letter.
pub(crate) async fn settle(tx: &impl ConnectionTrait, id: i64, state: State) -> Result<(), DbErr> {
    let updated = row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(state.as_str()))
        .filter(row::Column::Id.eq(id))
        .exec(tx)
        .await?;
    if updated.rows_affected == 0 { Err(DbErr::Custom(format!("no dead letter has the number {id}"))) } else { Ok(()) }
}
