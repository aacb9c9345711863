//! Changes of what is kept in the store beside the log: keys, paused agents.

use crate::{dead_letters, keys, sql};
use domain::Timestamp;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Keep a new API key.
    CreateKey(keys::ApiKey),
    /// Take an API key back.
    RevokeKey {
        /// The key.
        id: Uuid,
        /// When.
        at: Timestamp,
    },
    /// Let an agent rest, or go on.
    SetPaused {
        /// The agent.
        agent: String,
        /// Whether it rests.
        paused: bool,
    },
    /// Say what became of a dead letter.
    SettleDeadLetter {
        /// Its number.
        id: i64,
        /// What became of it.
        state: dead_letters::State,
    },
}

/// Carries out `change`.
///
/// # Errors
///
/// What the database says; [`DbErr::Custom`] when `change` names something that is not there.
pub(crate) async fn apply(tx: &impl ConnectionTrait, change: &Change) -> Result<(), DbErr> {
    match change {
        Change::CreateKey(key) => keys::create(tx, key).await,
        Change::RevokeKey { id, at } => keys::revoke(tx, *id, *at).await,
        Change::SetPaused { agent, paused } => set_paused(tx, agent, *paused).await,
        Change::SettleDeadLetter { id, state } => dead_letters::settle(tx, *id, *state).await,
    }
}

async fn set_paused(tx: &impl ConnectionTrait, agent: &str, paused: bool) -> Result<(), DbErr> {
    // An agent that is called hears no events, so only its pause makes it a row.
    let upsert = "INSERT INTO consumers (name, cursor, epoch, attempts, clean, paused) VALUES ($1, 0, 0, 0, TRUE, $2) \
                  ON CONFLICT (name) DO UPDATE SET paused = excluded.paused";
    sql::execute(tx, upsert, [agent.into(), paused.into()]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::State;
    use crate::story::{Story, second};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    async fn change(story: &Story, change: Change) -> Result<(), DbErr> {
        apply(story.history.db(), &change).await
    }

    fn key(id: u128, name: &str) -> keys::ApiKey {
        keys::ApiKey {
            id: Uuid::from_u128(id),
            name: name.to_owned(),
            prefix: format!("sm_{id}"),
            hash: [7; 32],
            scopes: vec!["data:read".to_owned()],
            created_at: second(i64::try_from(id).expect("small")),
            expires_at: Some(second(1_000)),
            revoked_at: None,
        }
    }

    #[tokio::test]
    async fn keys_are_found_by_what_they_show_and_can_be_taken_back() -> Outcome {
        let story = Story::begin().await?;
        assert_eq!(keys::count(&story.history).await?, 0);
        change(&story, Change::CreateKey(key(1, "shift"))).await?;
        change(&story, Change::CreateKey(key(2, "robot"))).await?;
        assert_eq!(keys::find_by_prefix(&story.history, "sm_1").await?, Some(key(1, "shift")));
        assert_eq!(keys::find_by_prefix(&story.history, "sm_9").await?, None);
        // Names are unique as long as the key holds.
        assert!(change(&story, Change::CreateKey(key(3, "shift"))).await.is_err());
        let id = Uuid::from_u128(1);
        for at in [50, 60] {
            change(&story, Change::RevokeKey { id, at: second(at) }).await?;
        }
        change(&story, Change::CreateKey(key(3, "shift"))).await?;
        let listed = keys::list(&story.history, 10, 0).await?;
        let listed: Vec<_> = listed.iter().map(|key| (key.prefix.as_str(), key.revoked_at)).collect();
        assert_eq!(listed, [("sm_3", None), ("sm_2", None), ("sm_1", Some(second(50)))]);
        assert!(change(&story, Change::RevokeKey { id: Uuid::from_u128(9), at: second(1) }).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn an_agent_is_paused_by_name() -> Outcome {
        let story = Story::begin().await?;
        let sql = "INSERT INTO consumers (name, cursor, epoch, attempts, clean) VALUES ($1, 0, 1, 0, true)";
        story.run(sql, ["drift".into()]).await?;
        let paused = |agent: &str| Change::SetPaused { agent: agent.to_owned(), paused: true };
        change(&story, paused("drift")).await?;
        let row = sql::row(story.history.db(), "SELECT paused FROM consumers", []).await?.expect("there is one");
        assert!(row.try_get::<bool>("", "paused")?);
        change(&story, paused("data_acquisition")).await?;
        let row =
            sql::row(story.history.db(), "SELECT paused FROM consumers WHERE name = 'data_acquisition'", []).await?;
        assert!(row.expect("a pause makes a row").try_get::<bool>("", "paused")?);
        Ok(())
    }

    #[tokio::test]
    async fn a_dead_letter_is_kept_with_its_event_and_settled() -> Outcome {
        // Given two events that two agents gave up,
        let mut story = Story::begin().await?;
        let event = story.open(0, 1, "pump-1").await?;
        let sql = "INSERT INTO dead_letters (agent, seq, attempts, error, at) VALUES ($1, $2, 5, 'it broke', 0)";
        story.run(sql, ["drift".into(), 1_i64.into()]).await?;
        story.run(sql, ["learning".into(), 99_i64.into()]).await?;
        let open = dead_letters::Filter { state: Some(State::Open), ..Default::default() };
        assert_eq!(dead_letters::count(&story.history, &open).await?, 2);
        let listed = dead_letters::list(&story.history, &dead_letters::Filter::default(), 10, 0).await?;
        let agents: Vec<&str> = listed.iter().map(|letter| letter.agent.as_str()).collect();
        assert_eq!(agents, ["learning", "drift"]);
        // then each is found with its event, as far as the log still has it,
        let (letter, envelope) = dead_letters::get(&story.history, listed[1].id).await?.expect("it is listed");
        assert_eq!((letter.attempts, letter.error.as_str()), (5, "it broke"));
        assert_eq!(envelope.map(|envelope| envelope.id), Some(event));
        let (_, envelope) = dead_letters::get(&story.history, listed[0].id).await?.expect("it is listed");
        assert_eq!(envelope, None);
        // and is out of the way once somebody has dealt with it.
        change(&story, Change::SettleDeadLetter { id: letter.id, state: State::Replayed }).await?;
        assert_eq!(dead_letters::count(&story.history, &open).await?, 1);
        let drift = dead_letters::Filter { agent: Some("drift".to_owned()), ..Default::default() };
        assert_eq!(dead_letters::list(&story.history, &drift, 10, 0).await?[0].state, State::Replayed);
        assert!(change(&story, Change::SettleDeadLetter { id: 77, state: State::Discarded }).await.is_err());
        Ok(())
    }
}
