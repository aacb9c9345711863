//! A whole node: store, agents, and the edge. A value: two of them can live in one process.

use crate::access::{self, Access};
use crate::app::{App, Limits, Parts};
use crate::rate::{self, Rates};
use crate::request::{Pace, UnderWay};
use crate::routes::ml::Jobs;
use crate::server::Listeners;
use crate::tls::{self, Tls};
use crate::{crew, routes, server, training};
use agents::models::{Mlflow, Remote, Serving, mlflow};
use anyhow::Context as _;
use config::Config;
use persistence::Store;
use persistence::redis::Redis;
use runtime::admission::Credits;
use runtime::faults::Faults;
use runtime::{Child, Clock, Fatal, Metrics, Runtime};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time beyond the edge's own that everything else gets at the end.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// The sections whose numbers are limits.
const LIMITED: [&str; 5] = ["server", "tls", "limits", "rate_limits", "sessions"];
/// Limits among the numbers of other sections.
const LIMITED_BESIDE: [&str; 9] = [
    "supervision.handle_deadline_seconds",
    "supervision.attempts_max",
    "supervision.attempts_fatal_max",
    "supervision.chunk_events_max",
    "supervision.dead_letters_max",
    "store.size_bytes_max",
    "store.tail_events_max",
    "store.tail_bytes_max",
    "webhook.timeout_seconds",
];

/// `[audit]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditSettings {
    /// Seconds between two checks of the chain.
    verify_seconds: f64,
}

/// Threads beyond one for each core, so that agents which block theirs leave enough for everything else.
const SPARE_THREADS: usize = 4;

/// What a node's tasks run on.
///
/// # Errors
///
/// The system gives no threads.
pub fn executor() -> io::Result<tokio::runtime::Runtime> {
    let n_cores = std::thread::available_parallelism()?.get();
    tokio::runtime::Builder::new_multi_thread().worker_threads(n_cores + SPARE_THREADS).enable_all().build()
}

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
        let tls_settings: tls::Settings = config.section("tls")?;
        tls_settings.check()?;
        settings.check(&tls_settings)?;
        let tls = Tls::open(&tls_settings)?;
        let limits: Limits = config.section("limits")?;
        limits.check()?;
        let access_settings: access::Settings = config.section("access")?;
        let metrics_settings: access::MetricsSettings = config.section("metrics")?;
        let demo = config.section("demo")?;
        let training_settings: training::Settings = config.section("models")?;
        let docs = config.section("docs")?;
        let health = config.section("health")?;
        let static_keys = access::static_keys()?;
        let rate_settings: rate::Settings = config.section("rate_limits")?;
        rate_settings.check()?;
        let session_settings: access::SessionSettings = config.section("sessions")?;
        let redis_settings: persistence::redis::Settings = config.section("redis")?;
        let audit_settings: AuditSettings = config.section("audit")?;
        let connect = |url: String| Redis::connect(&url, redis_settings);
        let redis = config::secret("REDIS_URL")?.map(connect).transpose()?;

        let remote = remote(&config)?;

        let store_settings: persistence::Settings = config.section("store")?;
        let store = Store::open(&store_settings).await.context("the store cannot be opened")?;
        let owner = listen_to_owner(&store_settings.data_dir);
        let listener = listen(&settings).with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let metrics = Metrics::new();
        for section in LIMITED {
            let settings: BTreeMap<String, serde_json::Value> = config.section(section)?;
            let numbers = settings.iter().filter_map(|(name, value)| Some((name, value.as_f64()?)));
            numbers.for_each(|(name, value)| metrics.limit(&format!("{section}.{name}"), value));
        }
        for name in LIMITED_BESIDE {
            metrics.limit(name, config.section(name)?);
        }
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
        let tasks = TaskTracker::new();
        let rates = Rates::new(&rate_settings, redis.clone(), metrics.clone());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let app = App::new(Parts {
            base: format!("{scheme}://{address}"),
            access: Access::new(access::Parts {
                settings: &access_settings,
                metrics: &metrics_settings,
                sessions: session_settings,
                is_secure: tls.is_some() || settings.behind_proxy,
                static_keys: &static_keys,
                store: store.clone(),
                clock,
                rates: rates.clone(),
                notes: tasks.clone(),
            }),
            rates,
            ingest_credits: Credits::new(limits.ingest_requests_max, limits.ingest_bytes_max),
            other_credits: Credits::new(limits.other_requests_max, limits.other_bytes_max),
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
            health,
            under_way: UnderWay::default(),
            serving: Serving::new(serving_store, training::rows, remote),
            jobs: Jobs::default(),
            body_pace: Pace::of(&settings),
            tasks,
            stopping: CancellationToken::new(),
        });
        let stop_deadline = Duration::from_secs_f64(settings.drain_seconds) + STOP_MARGIN;
        if let Some(tls) = tls.clone() {
            app.tasks.spawn(tls.follow(app.stopping.clone()));
        }
        warm_up(&app);
        training::begin(&app, &training_settings);
        app.tasks.spawn(follow_audit(app.clone(), audit_settings));
        let first_key = access::first_key(&app).await.context("the first key cannot be made")?;
        let declared = crew::declare(&app, examples).await;
        declared.map_err(|error| anyhow::anyhow!("the crew cannot be declared: {error:?}"))?;
        routes::demo::resume(&app).await.context("demo runs cannot be resumed")?;
        runtime.add(server::part(settings, app.clone(), Listeners { network: listener, owner }, tls))?;
        let node = Self { app, address, first_key, stop_deadline };
        tracing::info!("listening on {}", node.base());
        Ok(node)
    }

    /// Refuses settings with which no node would start.
    ///
    /// # Errors
    ///
    /// [`config::ConfigError`], which names the setting.
    pub async fn check(config: &Config) -> anyhow::Result<()> {
        let tls: tls::Settings = config.section("tls")?;
        tls.check()?;
        config.section::<server::Settings>("server")?.check(&tls)?;
        config.section::<Limits>("limits")?.check()?;
        config.section::<rate::Settings>("rate_limits")?.check()?;
        config.section::<access::Settings>("access")?;
        config.section::<access::MetricsSettings>("metrics")?;
        config.section::<access::SessionSettings>("sessions")?;
        config.section::<AuditSettings>("audit")?;
        config.section::<runtime::Settings>("supervision")?;
        config.section::<training::Settings>("models")?;
        config.section::<persistence::redis::Settings>("redis")?;
        access::static_keys()?;
        remote(config)?;
        Tls::open(&tls)?;
        agents::scheduling::examples(config)?;
        // Agents look at their settings when they are made, which takes a store.
        let folder = tempfile::tempdir()?;
        let mut store: persistence::Settings = config.section("store")?;
        store.data_dir = folder.path().to_owned();
        agents::tree(config, &Store::open(&store).await?, &Clock::System, &secrets()?)?;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for clients on this machine, with the scheme.
    pub fn base(&self) -> String {
        self.app.base.clone()
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

/// The MLflow server whose models are served, if one is named and not switched off.
fn remote(config: &Config) -> anyhow::Result<Remote> {
    let settings: mlflow::Settings = config.section("mlflow")?;
    if settings.disabled {
        return Ok(Remote::Disabled);
    }
    let Some(uri) = config::secret("MLFLOW_TRACKING_URI")? else { return Ok(Remote::Unset) };
    Mlflow::new(&settings, &uri, config::secret("MLFLOW_TRACKING_TOKEN")?)
        .map(|server| Remote::Server(Box::new(server)))
}

/// A socket that takes connections, whose memory for what a client leaves unread is bounded.
fn listen(settings: &server::Settings) -> io::Result<TcpListener> {
    let socket = if settings.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(settings.send_buffer_bytes)?;
    socket.bind(settings.listen)?;
    socket.listen(BACKLOG)
}

/// The socket through which whoever owns `data_dir` may do everything. Without it the node goes on.
fn listen_to_owner(data_dir: &Path) -> Option<UnixListener> {
    let place = data_dir.join(server::OWNER_SOCKET);
    // One that a node left behind: the folder is ours, so nobody listens there.
    drop(std::fs::remove_file(&place));
    UnixListener::bind(&place)
        .inspect_err(|error| tracing::warn!(%error, "keys cannot be changed from the command line while the node runs"))
        .ok()
}

/// Looks at the audit chain now and then.
async fn follow_audit(app: App, settings: AuditSettings) {
    let pause = Duration::try_from_secs_f64(settings.verify_seconds).unwrap_or(Duration::MAX);
    loop {
        let Some(verdict) = app.stopping.run_until_cancelled(app.store.verify_audit()).await else { return };
        match verdict {
            Ok(verdict) => {
                app.metrics.audit_chain(verdict.fault.is_none());
                if let Some(fault) = verdict.fault {
                    tracing::error!(fault, links = verdict.n_links, "the audit chain is broken");
                }
            }
            Err(error) => tracing::warn!(%error, "the audit chain cannot be checked now"),
        }
        if app.stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
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
