//! The optional Redis server: what nodes share beside the store.
//!
//! It holds only what can be lost or rebuilt, so that nothing here ever stands in the way of a reading. Every question
//! has a time-out, and after one that failed no other is asked for a second: whoever asks goes on without.

use crate::StoreError;
use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, Cmd, FromRedisValue, InfoDict, RedisError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long nothing is asked after a question that failed.
const REST: Duration = Duration::from_secs(1);
/// Keys of one kind begin with this.
const RATE: &str = "smart-maintenance:rate";
const ANSWER: &str = "smart-maintenance:idempotency";

/// The generic cell rate algorithm on the server's own clock, which all nodes share. One key holds when the bucket will
/// be full again. Times are microseconds: the interval between two requests, and how many of them the bucket holds.
///
/// Gives whether the request is let in, how many more are, and how long to wait.
const TAKE: &str = "
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local wait = full - interval * burst - now
if wait > 0 then return {0, 0, wait} end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, math.floor(-wait / interval), 0}";

/// `[redis]`: how the server is used. Where it is stands in the secret `REDIS_URL`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connections at once. At least 1.
    pub connections_max: usize,
    /// Attempts to connect when the node starts.
    pub start_tries: u32,
    /// Seconds between two of them.
    pub start_retry_seconds: f64,
    /// Milliseconds for an answer.
    pub answer_timeout_ms: u64,
    /// Seconds for which the answer to a request with an `Idempotency-Key` is kept there.
    pub idempotency_seconds: u64,
}

/// Connections that mend themselves. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    config: ConnectionManagerConfig,
    settings: Settings,
    /// Connections that nobody uses. The one that was used last is used next, so that few are open at rest.
    free: Mutex<Vec<ConnectionManager>>,
    slots: Semaphore,
    /// Nothing is asked before so many milliseconds after `begun`.
    rests_until: AtomicU64,
    begun: Instant,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

/// How Redis is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RedisHealth {
    /// It answered.
    pub ping: bool,
    /// Memory it uses, for people.
    pub memory_used_human: String,
    /// Clients that are connected to it.
    pub connected_clients: u64,
}

/// How a caller stands with a limit that nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Requests left at once.
    pub remaining: u32,
    /// Until the next request is let in; zero if this one was.
    pub wait: Duration,
}

/// The answer to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Digest of the request's body.
    pub body_sha256: [u8; 32],
    /// The first event that came of it.
    pub event: String,
    /// What was answered.
    pub response: String,
}

impl Redis {
    /// Connections to the server at `url`, which are made when they are needed first; see
    /// [`warm_up`](Self::warm_up). Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsafe`] when `url` is none of Redis.
    pub fn connect(url: &str, settings: Settings) -> Result<Self, StoreError> {
        // The reason does not repeat the address, which may hold a password.
        let refused = |error: RedisError| StoreError::Unsafe(format!("address of Redis: {}", error.category()));
        let answer = Duration::from_millis(settings.answer_timeout_ms);
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(answer))
            .set_response_timeout(Some(answer))
            .set_number_of_retries(1)
            .set_min_delay(answer)
            .set_max_delay(answer);
        let client = Client::open(url).map_err(refused)?;
        Ok(Self(Arc::new(Inner {
            client,
            config,
            slots: Semaphore::new(settings.connections_max.max(1)),
            settings,
            free: Mutex::default(),
            rests_until: AtomicU64::new(0),
            begun: Instant::now(),
        })))
    }

    /// Connects, with as many attempts as the settings allow. To be run in the background at start.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none of them succeeded; later questions try again.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let Settings { start_tries, start_retry_seconds, .. } = self.0.settings;
        let pause = Duration::try_from_secs_f64(start_retry_seconds).unwrap_or(REST);
        for _ in 1..start_tries {
            if self.ask::<String>(&::redis::cmd("PING")).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
        self.ask::<String>(&::redis::cmd("PING")).await.map(|_| ())
    }

    /// Asks the server how it is, also while others go on without it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when it does not answer.
    pub async fn health(&self) -> Result<RedisHealth, StoreError> {
        let pong: String = self.ask(&::redis::cmd("PING")).await?;
        let memory: InfoDict = self.ask(::redis::cmd("INFO").arg("memory")).await?;
        let clients: InfoDict = self.ask(::redis::cmd("INFO").arg("clients")).await?;
        let missing = |what| StoreError::Unavailable(format!("redis did not tell {what}"));
        Ok(RedisHealth {
            ping: pong == "PONG",
            memory_used_human: memory.get("used_memory_human").ok_or_else(|| missing("used_memory_human"))?,
            connected_clients: clients.get("connected_clients").ok_or_else(|| missing("connected_clients"))?,
        })
    }

    /// Takes one request from the bucket that `who` has under `policy`, which holds `limit` and is filled within
    /// `window`. `None` when the server cannot be asked.
    pub async fn take(&self, policy: &str, who: &str, limit: u32, window: Duration) -> Option<Taken> {
        let interval = u64::try_from(window.as_micros()).unwrap_or(u64::MAX) / u64::from(limit.max(1));
        let mut question = ::redis::cmd("EVAL");
        question.arg(TAKE).arg(1).arg(format!("{RATE}:{policy}:{who}")).arg(interval).arg(limit);
        let (_, remaining, wait): (u8, u32, u64) = self.ask_in_passing(&question).await?;
        Some(Taken { remaining, wait: Duration::from_micros(wait) })
    }

    /// The answer that was kept for the request with that key.
    pub async fn recall(&self, scope: &str, key: &str) -> Option<Answered> {
        let found: Option<String> = self.ask_in_passing(::redis::cmd("GET").arg(name_of(scope, key))).await?;
        serde_json::from_str(&found?).ok()
    }

    /// Keeps the answer to a request that was committed, for the next node that is asked the same.
    pub async fn remember(&self, scope: &str, key: &str, answered: &Answered) {
        let text = serde_json::to_string(answered).expect("texts and bytes are JSON");
        let mut question = ::redis::cmd("SET");
        question.arg(name_of(scope, key)).arg(text).arg("EX").arg(self.0.settings.idempotency_seconds);
        self.ask_in_passing::<()>(&question).await;
    }

    /// Asks, unless a question failed a moment ago.
    async fn ask_in_passing<T: FromRedisValue>(&self, question: &Cmd) -> Option<T> {
        let now = self.elapsed_ms();
        if now < self.0.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        match self.ask(question).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
                self.0.rests_until.store(self.elapsed_ms().saturating_add(rest), Ordering::Relaxed);
                tracing::warn!(%error, "redis cannot be asked; the node goes on without it");
                None
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, StoreError> {
        // Connecting and answering have a time-out each; this covers both, and the wait for a connection.
        let within = 2 * Duration::from_millis(self.0.settings.answer_timeout_ms);
        let asking = async {
            let _slot = self.0.slots.acquire().await.map_err(|_| gone("closed"))?;
            let mut manager = self.connection().await?;
            let answer = question.query_async::<T>(&mut manager).await.map_err(unavailable);
            self.0.free.lock().unwrap_or_else(PoisonError::into_inner).push(manager);
            answer
        };
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_| Err(gone("no answer in time")))
    }

    async fn connection(&self) -> Result<ConnectionManager, StoreError> {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(manager) => Ok(manager),
            None => ConnectionManager::new_lazy_with_config(self.0.client.clone(), self.0.config.clone())
                .map_err(unavailable),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn name_of(scope: &str, key: &str) -> String {
    format!("{ANSWER}:{}:{scope}:{key}", scope.len())
}

fn gone(reason: &str) -> StoreError {
    StoreError::Unavailable(format!("redis: {reason}"))
}

fn unavailable(error: RedisError) -> StoreError {
    // Its text may repeat the address.
    StoreError::Unavailable(format!("redis: {}", error.category()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            connections_max: 50,
            start_tries: 2,
            start_retry_seconds: 0.01,
            answer_timeout_ms: 250,
            idempotency_seconds: 600,
        }
    }

    #[tokio::test]
    async fn a_redis_that_is_gone_is_told_in_time_and_not_asked_again_at_once() -> Result<(), StoreError> {
        // Given an address where nobody listens,
        let redis = Redis::connect("redis://127.0.0.1:1/", settings())?;
        let begun = Instant::now();
        // when it is asked, it is told to be gone, and soon;
        assert!(matches!(redis.health().await, Err(StoreError::Unavailable(_))));
        assert!(redis.warm_up().await.is_err());
        assert_eq!(redis.take("p", "w", 1, REST).await, None);
        assert!(begun.elapsed() < Duration::from_secs(3));
        // and then it is left alone for a while.
        let begun = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(redis.take("p", "w", 1, REST).await, None);
        }
        assert!(begun.elapsed() < Duration::from_millis(500));
        Ok(())
    }

    #[tokio::test]
    async fn an_address_of_something_else_is_refused_without_its_password() {
        let Err(StoreError::Unsafe(reason)) = Redis::connect("http://me:secret@localhost/", settings()) else {
            panic!("http is none of Redis");
        };
        assert!(!reason.contains("secret"), "{reason}");
    }
}
