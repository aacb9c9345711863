//! The optional Redis server.
//!
//! It holds only what can be lost or rebuilt, so that nothing here ever stands in the way of a reading.

use crate::StoreError;
use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, InfoDict, RedisError};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// For each attempt to connect and for each answer. A Redis that takes longer is as good as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);
/// For a whole question, connecting included.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Attempts after the first, before the next question starts over.
const RETRIES: usize = 4;

/// A connection that mends itself. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    manager: ConnectionManager,
}

/// How Redis is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RedisHealth {
    /// It answered.
    pub ping: bool,
    /// Memory it uses, for people.
    pub memory_used_human: String,
    /// Clients that are connected to it.
    pub connected_clients: u64,
}

impl Redis {
    /// A connection to the server at `url`, which is made when it is needed first; see [`warm_up`](Self::warm_up).
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsafe`] when `url` is none of Redis.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        // The reason does not repeat the address, which may hold a password.
        let refused = |error: RedisError| StoreError::Unsafe(format!("address of Redis: {}", error.category()));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_number_of_retries(RETRIES)
            .set_min_delay(RETRY_DELAY)
            .set_max_delay(RETRY_DELAY);
        let client = Client::open(url).map_err(refused)?;
        Ok(Self { manager: ConnectionManager::new_lazy_with_config(client, config).map_err(refused)? })
    }

    /// Connects now, with up to five attempts that are a second apart. To be run in the background at start.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none of them succeeded; later questions try again.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let mut manager = self.manager.clone();
        ::redis::cmd("PING").query_async::<String>(&mut manager).await.map_err(unavailable)?;
        Ok(())
    }

    /// Asks the server how it is; takes half a second at most.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it does not answer.
    pub async fn health(&self) -> Result<RedisHealth, StoreError> {
        let mut manager = self.manager.clone();
        let mut questions = ::redis::pipe();
        questions.cmd("PING").cmd("INFO").arg("memory").cmd("INFO").arg("clients");
        let answers = questions.query_async::<(String, InfoDict, InfoDict)>(&mut manager);
        let (pong, memory, clients) = tokio::time::timeout(QUESTION_TIMEOUT, answers)
            .await
            .map_err(|_| StoreError::Unavailable("redis did not answer in time".to_owned()))?
            .map_err(unavailable)?;
        let missing = |what| StoreError::Unavailable(format!("redis did not tell {what}"));
        Ok(RedisHealth {
            ping: pong == "PONG",
            memory_used_human: memory.get("used_memory_human").ok_or_else(|| missing("used_memory_human"))?,
            connected_clients: clients.get("connected_clients").ok_or_else(|| missing("connected_clients"))?,
        })
    }
}

fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(format!("redis: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn a_redis_that_is_gone_is_told_in_time() -> Result<(), StoreError> {
        // Given an address where nobody listens,
        let redis = Redis::connect("redis://127.0.0.1:1/")?;
        let begun = Instant::now();
        // when it is asked, it is told to be gone, and soon.
        assert!(matches!(redis.health().await, Err(StoreError::Unavailable(_))));
        assert!(begun.elapsed() < Duration::from_secs(1));
        Ok(())
    }

    #[tokio::test]
    async fn an_address_of_something_else_is_refused_without_its_password() {
        let Err(StoreError::Unsafe(reason)) = Redis::connect("http://me:secret@localhost/") else {
            panic!("http is none of Redis");
        };
        assert!(!reason.contains("secret"), "{reason}");
    }
}
