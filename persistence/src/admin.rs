//! Changes of what is kept in the store beside the log: keys, artefacts of models and what those said.

use crate::unit::Idempotency;
use crate::{idempotency, keys, models, sql};
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
    /// Keep the answer of a request for its repeats.
    KeepAnswer(Idempotency),
    /// Forget an agent that is no longer there: its place in the log, its state and its timers. What it said stays.
    ForgetAgent {
        /// The agent.
        agent: String,
    },
    /// Keep the artefact of a model.
    KeepArtefact {
        /// Digest of `bytes` in hexadecimal digits.
        sha256: String,
        /// The artefact.
        bytes: Vec<u8>,
    },
    /// Keep what models said.
    KeepPredictions(Vec<models::Predicted>),
    /// Keep a key in the place of another, which goes on working for a while.
    RotateKey {
        /// The other one.
        id: Uuid,
        /// The new one.
        successor: keys::ApiKey,
        /// When the other one ends.
        ends_at: Timestamp,
    },
    /// Note that a key was used.
    KeyUsed {
        /// The key.
        id: Uuid,
        /// When.
        at: Timestamp,
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
        Change::KeepAnswer(answer) => idempotency::keep(tx, answer).await,
        Change::ForgetAgent { agent } => forget(tx, agent).await,
        Change::KeepArtefact { sha256, bytes } => models::keep_artefact(tx, sha256, bytes).await,
        Change::KeepPredictions(predictions) => models::keep_predictions(tx, predictions).await,
        Change::RotateKey { id, successor, ends_at } => keys::rotate(tx, *id, successor, *ends_at).await,
        Change::KeyUsed { id, at } => keys::used(tx, *id, *at).await,
    }
}

async fn forget(tx: &impl ConnectionTrait, agent: &str) -> Result<(), DbErr> {
    for statement in [
        "DELETE FROM consumers WHERE name = $1",
        "DELETE FROM checkpoints WHERE agent = $1",
        "DELETE FROM timers WHERE agent = $1",
    ] {
        sql::execute(tx, statement, [agent.into()]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Start;
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
            last_used_at: None,
            replaced_by: None,
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
        let listed = keys::list(&story.history, &Start::default(), 10).await?.rows;
        let listed: Vec<_> = listed.iter().map(|key| (key.prefix.as_str(), key.revoked_at)).collect();
        assert_eq!(listed, [("sm_3", None), ("sm_2", None), ("sm_1", Some(second(50)))]);
        assert!(change(&story, Change::RevokeKey { id: Uuid::from_u128(9), at: second(1) }).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn a_key_and_its_successor_bear_one_name() -> Outcome {
        let story = Story::begin().await?;
        change(&story, Change::CreateKey(key(1, "shift"))).await?;
        let rotate =
            |id, to| Change::RotateKey { id: Uuid::from_u128(id), successor: key(to, "shift"), ends_at: second(500) };
        change(&story, rotate(1, 2)).await?;
        // Only the newest has a successor, and none that was taken back.
        assert!(change(&story, rotate(1, 3)).await.is_err());
        change(&story, Change::KeyUsed { id: Uuid::from_u128(1), at: second(60) }).await?;
        let old = keys::find(&story.history, Uuid::from_u128(1)).await?.expect("it is kept");
        assert_eq!((old.expires_at, old.replaced_by), (Some(second(500)), Some(Uuid::from_u128(2))));
        assert_eq!(old.last_used_at, Some(second(60)));
        change(&story, rotate(2, 3)).await?;
        change(&story, Change::RevokeKey { id: Uuid::from_u128(3), at: second(70) }).await?;
        assert!(change(&story, rotate(3, 4)).await.is_err());
        Ok(())
    }
}
