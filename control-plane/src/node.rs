//! A whole node: store, agents, and the edge. A value: two of them can live in one process.

use crate::access::{self, Access};
use crate::app::{App, Limits, Parts};
use crate::request::UnderWay;
use crate::routes::ml::Jobs;
use crate::{crew, routes, server, training};
use agents::models::Serving;
use anyhow::Context as _;
use config::Config;
use persistence::Store;
use persistence::redis::Redis;
use runtime::admission::Credits;
use runtime::faults::Faults;
use runtime::{Child, Clock, Fatal, Metrics, Runtime};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time beyond the edge's own that everything else gets at the end.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// A running node.
pub struct Node {
    app: App,
    address: SocketAddr,
    first_key: Option<String>,
    stop_deadline: Duration,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node with those settings. It answers requests when this returns.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used ([`config::ConfigError`] in the chain), a store that cannot be opened
    /// ([`persistence::StoreError`] in the chain), an address that is taken.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::start_as(config, clock, Faults::default(), Vec::new()).await
    }

    /// The same with agents beside those that the program has.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub async fn start_with(config: Config, clock: Clock, more: Vec<Child>) -> anyhow::Result<Self> {
        Self::start_as(config, clock, Faults::default(), more).await
    }

    /// Starts a node that is harmed by `faults`: for fault tests.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub async fn start_harmed(config: Config, clock: Clock, faults: Faults) -> anyhow::Result<Self> {
        Self::start_as(config, clock, faults, Vec::new()).await
    }

    async fn start_as(config: Config, clock: Clock, faults: Faults, more: Vec<Child>) -> anyhow::Result<Self> {
        let settings: server::Settings = config.section("server")?;
        settings.check()?;
        let limits: Limits = config.section("limits")?;
        limits.check()?;
        let access_settings: access::Settings = config.section("access")?;
        let metrics_settings: access::MetricsSettings = config.section("metrics")?;
        let demo = config.section("demo")?;
        let training_settings: training::Settings = config.section("models")?;
        let docs = config.section("docs")?;
        let static_keys = access::static_keys()?;
        let redis = config::secret("REDIS_URL")?.map(|url| Redis::connect(&url)).transpose()?;

        let store = Store::open(&config.section("store")?).await.context("the store cannot be opened")?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let metrics = Metrics::new();
        let secrets = secrets()?;
        let (tree, intake) = agents::tree(&config, &store, &clock, &secrets)?;
        let examples = agents::scheduling::examples(&config)?;
        let runtime = Runtime::start(
            tree.agents(more).harmed_by(faults),
            store.clone(),
            clock.clone(),
            config.section("supervision")?,
            metrics.clone(),
        )
        .await?;
        let history = store.history();
        let serving_store = store.clone();
        let app = App::new(Parts {
            access: Access::new(&access_settings, &metrics_settings, &static_keys, history.clone(), clock),
            credits: Credits::new(limits.ingest_requests_max, limits.ingest_bytes_max),
            runtime: runtime.clone(),
            store,
            history,
            intake,
            metrics,
            redis,
            streams: routes::Streams::new(limits.streams_max, limits.streams_per_key_max),
            limits,
            demo,
            warm_up_readings: config.section("agents.anomaly_detection.stream.warm_up_readings")?,
            docs,
            under_way: UnderWay::default(),
            serving: Serving::new(serving_store, training::rows),
            jobs: Jobs::default(),
            body_timeout: Duration::from_secs_f64(settings.body_read_timeout_seconds),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        let stop_deadline = Duration::from_secs_f64(settings.drain_seconds) + STOP_MARGIN;
        warm_up(&app);
        training::begin(&app, &training_settings);
        let first_key = access::first_key(&app).await.context("the first key cannot be made")?;
        let declared = crew::declare(&app, examples).await;
        declared.map_err(|error| anyhow::anyhow!("the crew cannot be declared: {error:?}"))?;
        routes::demo::resume(&app).await.context("demo runs cannot be resumed")?;
        runtime.add(server::part(settings, app.clone(), listener))?;
        tracing::info!(%address, "listening on http://{address}");
        Ok(Self { app, address, first_key, stop_deadline })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that was made because nobody could have got in without one. It is told nowhere else.
    pub fn first_key(&self) -> Option<&str> {
        self.first_key.as_deref()
    }

    /// What its routes use.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// What it runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.app.runtime
    }

    /// Waits until a part without which it cannot go on has failed for good.
    pub async fn failed(&self) -> Fatal {
        self.app.runtime.failed().await
    }

    /// Stops it: requests under way are answered, agents finish, what was taken is on disk.
    pub async fn stop(self) {
        self.app.stopping.cancel();
        self.app.tasks.close();
        if tokio::time::timeout(STOP_MARGIN, self.app.tasks.wait()).await.is_err() {
            tracing::warn!("background work did not end in time");
        }
        self.app.runtime.stop(self.stop_deadline).await;
        tracing::info!("node stopped");
    }
}

/// Names of the agents that this program has.
///
/// # Errors
///
/// Settings that cannot be used.
pub fn agent_names(config: &Config, store: &Store) -> anyhow::Result<Vec<&'static str>> {
    let secrets = secrets()?;
    let (tree, _) = agents::tree(config, store, &Clock::System, &secrets)?;
    Ok(tree.names())
}

fn secrets() -> anyhow::Result<agents::Secrets> {
    Ok(agents::Secrets { webhook: config::secret("WEBHOOK_SECRET")?, smtp: config::secret("SMTP_PASSWORD")? })
}

/// Connects to Redis without waiting for it.
fn warm_up(app: &App) {
    let Some(redis) = app.redis.clone() else { return };
    let stopping = app.stopping.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            connected = redis.warm_up() => match connected {
                Ok(()) => tracing::info!("redis connected"),
                Err(error) => tracing::warn!(%error, "redis cannot be reached; the node goes on without it"),
            },
        }
    });
}
