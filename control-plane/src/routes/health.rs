//! `/health…`, `/livez`, `/readyz`: how the node is.

use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants;
use crate::reply::Reply;
use crate::request::Call;
use persistence::StoreError;
use persistence::redis::RedisHealth;
use runtime::{AgentStatus, Kind, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use warp::http::StatusCode;

/// A database that takes longer to answer a small question is as good as gone.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("GET", "/health") }, health),
        mount(app, const { entry("GET", "/readyz") }, ready),
        mount(app, const { entry("GET", "/livez") }, live),
        mount(app, const { entry("GET", "/health/db") }, database),
        mount(app, const { entry("GET", "/health/redis") }, redis),
        mount(app, const { entry("GET", "/health/detailed") }, detailed),
    ])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    status: &'static str,
    database: &'static str,
    redis: &'static str,
    timestamp: String,
}

/// What is told with 503 where `[health]` says so, in the form of the old contract.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Unhealthy {
    detail: Health,
}

/// `[health]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// A dependency that does not answer is a 503.
    enforce_dependencies: bool,
}

async fn health(app: App, _: Call) -> Result<Reply, ApiError> {
    let health = overall(&app).await;
    if app.health.enforce_dependencies && health.status != "ok" {
        return Ok(later(Reply::json(&Unhealthy { detail: health })?));
    }
    Reply::json(&health)
}

async fn overall(app: &App) -> Health {
    let database = if ask_database(app).await.is_ok() { "ok" } else { "failed" };
    let redis = match ask_redis(app).await {
        None => "not_configured",
        Some(Ok(_)) => "ok",
        Some(Err(_)) => "failed",
    };
    let status = if [database, redis].contains(&"failed") { "degraded" } else { "ok" };
    Health { status, database, redis, timestamp: instants::naive(app.now()) }
}

/// The same with 503, and when it is worth asking again.
fn later(reply: Reply) -> Reply {
    reply.status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "1")
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Live {
    status: &'static str,
}

async fn live(_: App, _: Call) -> Result<Reply, ApiError> {
    Reply::json(&Live { status: "alive" })
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness {
    status: &'static str,
    /// Children of the tree that are not at work, and how they are.
    impaired: Vec<Impaired>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Impaired {
    name: &'static str,
    state: State,
}

async fn ready(app: App, _: Call) -> Result<Reply, ApiError> {
    let agents = app.runtime.status().await?;
    let impaired = |agent: &&AgentStatus| agent.state != State::Running;
    let serves =
        !app.stopping.is_cancelled() && !agents.iter().filter(impaired).any(|agent| agent.kind == Kind::Essential);
    let impaired: Vec<Impaired> =
        agents.iter().filter(impaired).map(|agent| Impaired { name: agent.name, state: agent.state }).collect();
    let status = match (serves, impaired.is_empty()) {
        (false, _) => "unavailable",
        (true, false) => "degraded",
        (true, true) => "ready",
    };
    let reply = Reply::json(&Readiness { status, impaired })?;
    Ok(if serves { reply } else { later(reply) })
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Database {
    db_status: &'static str,
}

async fn database(app: App, _: Call) -> Result<Reply, ApiError> {
    ask_database(&app).await.map_err(|error| {
        tracing::warn!(%error, "database check failed");
        ApiError::unavailable("Database connection failed")
    })?;
    Reply::json(&Database { db_status: "connected" })
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Redis {
    status: &'static str,
    /// Absent when there is no Redis.
    #[serde(flatten)]
    figures: Option<RedisFigures>,
}

#[derive(Serialize, JsonSchema)]
struct RedisFigures {
    ping: bool,
    memory_used: String,
    connected_clients: u64,
}

impl From<RedisHealth> for RedisFigures {
    fn from(health: RedisHealth) -> Self {
        Self { ping: health.ping, memory_used: health.memory_used_human, connected_clients: health.connected_clients }
    }
}

async fn redis(app: App, _: Call) -> Result<Reply, ApiError> {
    match ask_redis(&app).await {
        None => Reply::json(&Redis { status: "not configured", figures: None }),
        Some(Ok(health)) => Reply::json(&Redis { status: "healthy", figures: Some(health.into()) }),
        Some(Err(error)) => {
            tracing::warn!(%error, "redis check failed");
            Err(ApiError::unavailable("Redis connection failed"))
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Detailed {
    #[serde(flatten)]
    health: Health,
    agents: Vec<AgentStatus>,
    writer: Writer,
}

/// The writer in numbers.
#[derive(Serialize, JsonSchema)]
struct Writer {
    commits: u64,
    events: u64,
    readings: u64,
    queue_depth: usize,
    commit_seconds_mean: Option<f64>,
    commit_seconds_last: f64,
    wal_bytes: u64,
    file_bytes: u64,
}

async fn detailed(app: App, _: Call) -> Result<Reply, ApiError> {
    let stats = app.store.stats();
    Reply::json(&Detailed {
        health: overall(&app).await,
        agents: app.runtime.status().await?,
        writer: Writer {
            commits: stats.commits,
            events: stats.events,
            readings: stats.readings,
            queue_depth: stats.queue_depth,
            commit_seconds_mean: (stats.commits != 0).then(|| stats.commit_seconds_sum / stats.commits as f64),
            commit_seconds_last: stats.commit_seconds_last,
            wal_bytes: stats.wal_bytes,
            file_bytes: stats.file_bytes,
        },
    })
}

async fn ask_database(app: &App) -> Result<(), StoreError> {
    match tokio::time::timeout(DATABASE_TIMEOUT, app.store.log().consumers()).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(StoreError::Unavailable("no answer in time".to_owned())),
    }
}

async fn ask_redis(app: &App) -> Option<Result<RedisHealth, StoreError>> {
    Some(app.redis.as_ref()?.health().await)
}
