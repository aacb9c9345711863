//! Every agent dies in every way, under load, and nobody notices but its clock.

use super::ledger::{Ledger, Verdict};
use super::percentile;
use crate::client::Client;
use crate::node::TestNode;
use anyhow::{Context as _, ensure};
use config::Config;
use domain::case::{FailureMode, Opened, Priority};
use domain::drift::Detected;
use domain::{AssetId, CaseId, CorrelationId, Event, EventId, SensorId, Seq};
use persistence::Store;
use persistence::unit::NewEvent;
use runtime::faults::{Fault, Faults};
use runtime::{Clock, Retraced, State};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How an agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Way {
    Panic,
    Error,
    Kill,
    Abort,
    Hang,
    Block,
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 6] = [Self::Panic, Self::Error, Self::Kill, Self::Abort, Self::Hang, Self::Block];

    /// Time after which it can be noticed at all.
    fn deadline(self) -> Duration {
        if matches!(self, Self::Hang | Self::Block) { DEADLINE } else { Duration::ZERO }
    }

    /// What befalls the handler: those that are killed or aborted are waiting when it happens.
    fn fault(self) -> Fault {
        match self {
            Self::Panic => Fault::Panic,
            Self::Error => Fault::Error,
            Self::Kill | Self::Abort | Self::Hang => Fault::Hang,
            Self::Block => Fault::Block(DEADLINE * 4),
        }
    }
}

/// Time that one event may take.
const DEADLINE: Duration = Duration::from_millis(1_000);
/// Longest wait for an agent to have something to do, or to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Deaths that are told one by one.
const SLOWEST: usize = 10;

/// The next blow, and when the agent it hit was struck and was at work again.
#[derive(Debug, Default)]
struct Blows {
    armed: Option<(&'static str, Fault)>,
    struck: Option<Struck>,
    resumed: Option<Instant>,
    /// The last event at which each agent was struck. None is struck twice at one event, which would rightly give it
    /// up.
    last: HashMap<&'static str, Seq>,
}

#[derive(Clone, Copy, Debug)]
struct Struck {
    agent: &'static str,
    /// None for an agent that is called.
    event: Option<Seq>,
    at: Instant,
}

impl Blows {
    fn arm(&mut self, agent: &'static str, fault: Fault) {
        (self.armed, self.struck, self.resumed) = (Some((agent, fault)), None, None);
    }

    /// What befalls `agent`, which is about to handle `event`.
    fn befall(&mut self, agent: &'static str, event: Option<Seq>) -> Option<Fault> {
        if let Some((target, fault)) = self.armed
            && target == agent
            && event.is_none_or(|event| self.last.get(agent).is_none_or(|last| *last < event))
        {
            self.armed = None;
            self.last.extend(event.map(|event| (agent, event)));
            self.struck = Some(Struck { agent, event, at: Instant::now() });
            return Some(fault);
        }
        // Events before the one at which it was struck are handled once more to find its state: that is no work.
        let at_work = |struck: Struck| struck.agent == agent && struck.event <= event;
        if self.resumed.is_none() && self.struck.is_some_and(at_work) {
            self.resumed = Some(Instant::now());
        }
        None
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// Deaths.
    pub deaths: usize,
    /// From a death to the agent being at work again, by way: half of them, 99 of 100, all.
    pub resumed: Vec<(Way, Duration, Duration, Duration)>,
    /// Those that took longest beyond what they may, longest first.
    pub slowest: Vec<(&'static str, Way, Duration)>,
    /// Incarnations that ended without having been struck.
    pub siblings_harmed: u64,
    /// The ledger's word on readings.
    pub verdict: Verdict,
    /// Each agent's history beside one without interruptions.
    pub retraced: Vec<Retraced>,
}

impl Report {
    /// Whether what must hold did.
    pub fn holds(&self) -> bool {
        let in_time =
            |(way, _, p99, _): &(Way, Duration, Duration, Duration)| *p99 <= way.deadline() + Duration::from_secs(1);
        self.verdict.holds()
            && self.verdict.dead_letters == 0
            && self.siblings_harmed == 0
            && self.resumed.iter().all(in_time)
            && self.retraced.iter().all(|history| history.is_the_same() && history.remembers == Some(true))
    }
}

/// Lets each of `agents` die in each of `ways`, `times` times.
///
/// # Errors
///
/// An agent never gets anything to do, or does not come back.
pub async fn run(agents: &[&'static str], ways: &[Way], times: usize) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let blows = Arc::new(Mutex::new(Blows::default()));
    let faults = Faults::planned({
        let blows = Arc::clone(&blows);
        move |agent, envelope| {
            let event = envelope.map(|envelope| envelope.seq);
            blows.lock().unwrap_or_else(PoisonError::into_inner).befall(agent, event)
        }
    });
    let change = |config: Config| {
        // Each death is to be a first one, not the sixth within a minute.
        let config = config.with("supervision.intensity_restarts_max", 1_000_000).expect("the setting is there");
        let config = config.with("supervision.backoff_max_ms", 100).expect("the setting is there");
        let config = config.with("rate_limits.reports_per_minute_max", 1_000_000).expect("the setting is there");
        let config = config.with("rate_limits.changes_per_minute_max", 1_000_000).expect("the setting is there");
        config.with("supervision.handle_deadline_seconds", DEADLINE.as_secs_f64()).expect("the setting is there")
    };
    let node = TestNode::start_harmed(folder.path(), None, change, faults).await;
    let client = node.client().clone();
    let ledger = Ledger::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    load.spawn(ledger.clone().send(client.clone(), Arc::clone(&stop)));
    load.spawn(failing_machines(client.clone(), Arc::clone(&stop)));
    load.spawn(people(client.clone(), Arc::clone(&stop)));
    load.spawn(drifts(node.node().runtime().store().clone(), Arc::clone(&stop)));

    let runtime = node.node().runtime();
    let restarts =
        async || -> anyhow::Result<u64> { Ok(runtime.status().await?.iter().map(|agent| agent.restarts).sum()) };
    let mut deaths = 0;
    let mut slowest = Vec::new();
    let mut resumed: Vec<(Way, Vec<Duration>)> = ways.iter().map(|way| (*way, Vec::new())).collect();
    for _ in 0..times {
        for agent in agents {
            for (way, resumed) in &mut resumed {
                blows.lock().unwrap_or_else(PoisonError::into_inner).arm(agent, way.fault());
                let look = || {
                    let blows = blows.lock().unwrap_or_else(PoisonError::into_inner);
                    (blows.struck.map(|struck| struck.at), blows.resumed)
                };
                let struck = until(|| look().0).await.with_context(|| format!("{agent} has nothing to do"))?;
                match way {
                    Way::Kill => ensure!(runtime.kill(agent).await, "{agent} cannot be killed"),
                    Way::Abort => ensure!(runtime.abort(agent).await, "{agent} cannot be aborted"),
                    _ => {}
                }
                let back = until(|| look().1).await.with_context(|| format!("{agent} did not come back: {way:?}"))?;
                resumed.push(back - struck);
                slowest.push((*agent, *way, back - struck));
                deaths += 1;
            }
        }
    }
    let siblings_harmed = restarts().await?.saturating_sub(deaths as u64);
    stop.store(true, Ordering::SeqCst);
    load.join_all().await;
    let verdict = ledger.compare(&client).await?;
    ensure!(runtime.status().await?.iter().all(|agent| agent.state == State::Running), "all are at work in the end");
    node.stop().await;
    let retraced = retrace(folder.path()).await?;
    slowest.sort_by_key(|(_, way, took)| Reverse(took.saturating_sub(way.deadline())));
    slowest.truncate(SLOWEST);
    let resumed = resumed
        .into_iter()
        .map(|(way, mut times)| {
            let p50 = percentile(&mut times, 0.5);
            let p99 = percentile(&mut times, 0.99);
            (way, p50, p99, percentile(&mut times, 1.0))
        })
        .collect();
    Ok(Report { deaths, resumed, slowest, siblings_harmed, verdict, retraced })
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(began.elapsed() < PATIENCE, "waited for {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Each agent's history in `folder` beside one without interruptions.
async fn retrace(folder: &std::path::Path) -> anyhow::Result<Vec<Retraced>> {
    let config = Config::defaults().with("store.data_dir", folder.to_string_lossy().into_owned())?;
    let store = Store::open(&config.section("store")?).await?;
    let (tree, _) = agents::tree(&config, &store, &Clock::System, &agents::Secrets::default())?;
    tree.retrace(&store).await
}

/// Machines whose sensors are calm at first and then leave all bounds, one after the other.
async fn failing_machines(client: Client, stop: Arc<AtomicBool>) {
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        let readings: Vec<Value> = (n..n + 50)
            .map(|no| {
                let (machine, at) = (no / 1_500, no % 1_500);
                let noise = (no.wrapping_mul(2_654_435_761) % 1_000) as f64 / 1_000.0;
                let value = if at < 400 { 50.0 + noise } else { 60.0 + (at - 400) as f64 * 0.05 + noise };
                json!({ "sensor_id": format!("machine-{machine}.temperature"), "value": value })
            })
            .collect();
        let request = client
            .request(reqwest::Method::POST, "/api/v1/data/ingest/batch")
            .header("Idempotency-Key", format!("machine-{n}"))
            .json(&readings);
        if client.try_send(request).await.is_ok_and(|answer| answer.status == 200) {
            n += 50;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// People who wish for maintenance and reports.
async fn people(client: Client, stop: Arc<AtomicBool>) {
    for no in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let wish = json!({
            "sensor_id": format!("asset-{no}"),
            "equipment_id": format!("asset-{no}"),
            "predicted_failure_date": "2031-01-01T00:00:00Z",
            "time_to_failure_days": 12.5,
        });
        let wish = client.request(reqwest::Method::POST, "/api/v1/maintenance/schedule").json(&wish);
        let report = json!({ "report_type": "maintenance_overview" });
        let report = client.request(reqwest::Method::POST, "/api/v1/reports/generate").json(&report);
        // Whether they are answered in time is not what is looked at here.
        drop(tokio::join!(client.try_send(wish), client.try_send(report)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sensors that drift and have a case, each once.
async fn drifts(store: Store, stop: Arc<AtomicBool>) {
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let detected = Detected {
            sensor: SensorId::from(format!("drifting-{n}")),
            as_of: Clock::System.now(),
            ks_statistic: 0.5,
            p_value: 1e-6,
            psi: 0.5,
            effect_size: 1.0,
            spread_ratio: None,
            n_baseline: 1_000,
            n_recent: 1_000,
        };
        let opened = Opened {
            case: CaseId(Uuid::new_v4()),
            asset: AssetId::from(format!("drifting-{n}")),
            failure_mode: FailureMode("abnormal_temperature".to_owned()),
            sensor: SensorId::from(format!("drifting-{n}")),
            priority: Priority::Medium,
            first_evidence_at: Clock::System.now(),
            last_evidence_at: Clock::System.now(),
            reason: "test".to_owned(),
            evidence: Vec::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        };
        let events = [Event::DriftDetected(detected), Event::CaseOpened(opened)].map(|event| NewEvent {
            id: EventId(Uuid::now_v7()),
            cause: None,
            correlation: CorrelationId::from("deaths"),
            traceparent: None,
            source: "test".into(),
            at: Clock::System.now(),
            event,
        });
        drop(store.append(events.into(), None).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
