//! Events that an agent could not handle.

use crate::instants::timestamp;
use crate::page::{self, Cursor, Page, Start, Way};
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
    start: &Start,
    limit: usize,
) -> Result<Page<DeadLetter>, StoreError> {
    let keys = (row::Column::Id, row::Column::Id);
    let rows = page::page(chosen(filter), keys, Way::Down, |_| None, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.id, id: String::new() };
    Page::of(rows, limit, cursor, DeadLetter::try_from)
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
    let Some(letter) = find(history.db(), id).await? else { return Ok(None) };
    let event = sql::row(history.db(), "SELECT * FROM events WHERE seq = $1", [letter.seq.0.into()]).await?;
    let event = event.as_ref().map(log::envelope).transpose()?;
    Ok(Some((letter, event)))
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: i64) -> Result<Option<DeadLetter>, StoreError> {
    row::Entity::find_by_id(id).one(db).await?.map(DeadLetter::try_from).transpose()
}

/// Numbers of the dead letters that `filter` chooses, the oldest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn numbers(history: &History, filter: &Filter, limit: usize) -> Result<Vec<i64>, StoreError> {
    let rows = chosen(filter).order_by_asc(row::Column::Id).limit(limit as u64).all(history.db()).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Somebody dealt with a dead letter that was in one of the states `from`.
pub(crate) async fn settle(tx: &impl ConnectionTrait, id: i64, from: &[State], to: State) -> Result<(), DbErr> {
    let updated = row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(to.as_str()))
        .filter(row::Column::Id.eq(id))
        .filter(row::Column::State.is_in(from.iter().map(|state| state.as_str())))
        .exec(tx)
        .await?;
    match updated.rows_affected {
        0 => Err(DbErr::Custom(format!("dead letter {id} is not there, or was dealt with before"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use domain::Event;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn a_dead_letter_is_kept_with_its_event_until_it_is_dealt_with_once() -> Outcome {
        // Given two events that two agents gave up,
        let mut story = Story::begin().await?;
        let event = story.open(0, 1, "pump-1").await?;
        let sql = "INSERT INTO dead_letters (agent, seq, attempts, error, at) VALUES ($1, $2, 5, 'it broke', 0)";
        story.run(sql, ["drift".into(), 1_i64.into()]).await?;
        story.run(sql, ["learning".into(), 99_i64.into()]).await?;
        let open = Filter { state: Some(State::Open), ..Default::default() };
        assert_eq!(count(&story.history, &open).await?, 2);
        let listed = list(&story.history, &Filter::default(), &Start::default(), 10).await?.rows;
        let agents: Vec<&str> = listed.iter().map(|letter| letter.agent.as_str()).collect();
        assert_eq!(agents, ["learning", "drift"]);
        // then each is found with its event, as far as the log still has it,
        let (letter, envelope) = get(&story.history, listed[1].id).await?.expect("it is listed");
        assert_eq!((letter.attempts, letter.error.as_str()), (5, "it broke"));
        assert_eq!(envelope.map(|envelope| envelope.id), Some(event));
        let (_, envelope) = get(&story.history, listed[0].id).await?.expect("it is listed");
        assert_eq!(envelope, None);
        // and is out of the way once somebody has dealt with it, which happens once.
        let replayed = |letter: &DeadLetter| Event::DeadLetterReplayed {
            letter: letter.id,
            agent: letter.agent.clone(),
            seq: letter.seq,
            by: "test".to_owned(),
        };
        story.tell(1, None, replayed(&letter)).await?;
        assert!(story.tell(1, None, replayed(&letter)).await.is_err());
        assert_eq!(numbers(&story.history, &open, 10).await?, [listed[0].id]);
        let drift = Filter { agent: Some("drift".to_owned()), ..Default::default() };
        assert_eq!(list(&story.history, &drift, &Start::default(), 10).await?.rows[0].state, State::Replayed);
        Ok(())
    }
}
