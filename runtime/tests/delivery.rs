//! Delivery, retries and supervision on a whole runtime with one small agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use config::Config;
use domain::drift::Detected;
use domain::event::Control;
use domain::model::{TrainingFailed, TrainingRequested};
use domain::{CorrelationId, Event, EventId, SensorId, Seq};
use persistence::Store;
use persistence::unit::NewEvent;
use runtime::{Agent, Clock, Ctx, Failure, Fatal, Metrics, Part, Runtime, State, Tree, hosted};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// Numbers what it hears; what it hears may harm it.
struct Numbering {
    attempts: Arc<AtomicU32>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Heard {
    count: u32,
}

impl Agent for Numbering {
    const NAME: &'static str = "numbering";
    type Settings = ();
    type Deps = ();
    type State = Heard;
    type Message = String;

    fn start((): (), (): ()) -> anyhow::Result<Self> {
        Ok(Self { attempts: Arc::default() })
    }

    fn accept(event: &Event) -> Option<String> {
        match event {
            Event::TrainingRequested(request) => Some(request.reason.clone()),
            _ => None,
        }
    }

    async fn handle(&self, heard: &mut Heard, reason: String, ctx: &mut Ctx) -> Result<(), Failure> {
        heard.count += 1;
        let attempt = || self.attempts.fetch_add(1, Ordering::SeqCst);
        match reason.as_str() {
            "panic" => {
                attempt();
                panic!("a bad event");
            }
            "error" => {
                attempt();
                return Err(anyhow::anyhow!("a bad event").into());
            }
            "hang" => {
                attempt();
                std::future::pending::<()>().await;
            }
            "unstorable" => {
                attempt();
                let drift = Detected {
                    sensor: SensorId::from("s"),
                    as_of: ctx.now(),
                    ks_statistic: f64::NAN,
                    p_value: 0.0,
                    psi: 0.0,
                    effect_size: 0.0,
                    spread_ratio: None,
                    n_baseline: 0,
                    n_recent: 0,
                };
                ctx.emit(Event::DriftDetected(drift));
            }
            "block once" if attempt() == 0 => std::thread::sleep(Duration::from_secs(3)),
            _ => {}
        }
        let reason = format!("{} {reason}", heard.count);
        ctx.emit(Event::TrainingFailed(TrainingFailed { sensor: SensorId::from("s"), reason }));
        Ok(())
    }
}

struct Node {
    runtime: Runtime,
    attempts: Arc<AtomicU32>,
}

impl Node {
    async fn start(folder: &Path) -> Self {
        Self::start_with(folder, |config| config).await
    }

    async fn start_with(folder: &Path, change: impl FnOnce(Config) -> Config) -> Self {
        let config = Config::defaults().with("store.data_dir", folder.to_string_lossy().into_owned()).unwrap();
        let config = config.with("supervision.handle_deadline_seconds", 0.3).unwrap();
        let config = change(config);
        let store = Store::open(&config.section("store").unwrap()).await.unwrap();
        let agent = Numbering { attempts: Arc::default() };
        let attempts = Arc::clone(&agent.attempts);
        let tree = Tree::new().agents([hosted(agent)]);
        let settings = config.section("supervision").unwrap();
        let runtime = Runtime::start(tree, store, Clock::System, settings, Metrics::new()).await.unwrap();
        Self { runtime, attempts }
    }

    async fn ask(&self, reasons: &[&str]) {
        let events = reasons
            .iter()
            .map(|reason| NewEvent {
                id: EventId(Uuid::now_v7()),
                cause: None,
                correlation: CorrelationId::from("test"),
                traceparent: None,
                source: "test".into(),
                at: self.runtime.clock().now(),
                event: Event::TrainingRequested(TrainingRequested {
                    sensor: SensorId::from("s"),
                    as_of: self.runtime.clock().now(),
                    reason: (*reason).to_owned(),
                }),
            })
            .collect();
        self.runtime.store().append(events, None).await.unwrap();
    }

    /// What the agent said, once it has said `n` things.
    async fn said(&self, n: usize) -> Vec<String> {
        let mut changes = self.runtime.store().log().changes();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                let said = self.all_said().await;
                if n <= said.len() {
                    return said;
                }
                changes.changed().await.unwrap();
            }
        };
        let Ok(said) = tokio::time::timeout(Duration::from_secs(20), waiting).await else {
            panic!("{n} answers expected, got {:?}; {:?}", self.all_said().await, self.runtime.status().await);
        };
        said
    }

    async fn all_said(&self) -> Vec<String> {
        let mut said = Vec::new();
        let mut cursor = Seq(0);
        loop {
            let events = self.runtime.store().log().after(cursor, 256).await.unwrap();
            let Some(last) = events.last() else { return said };
            cursor = last.seq;
            said.extend(events.iter().filter_map(|envelope| match &envelope.event {
                Event::TrainingFailed(failed) => Some(failed.reason.clone()),
                _ => None,
            }));
        }
    }

    /// Waits until the event at `seq` is given up.
    async fn until_buried(&self, seq: Seq) {
        let waiting = async {
            while !self.runtime.store().log().buried("numbering", Seq(0)).await.unwrap().contains(&seq) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "never given up; {:?}", self.runtime.status().await);
    }

    /// Waits until the agent is in `state` after so many restarts.
    async fn until(&self, state: State, restarts: u64) {
        let waiting = async {
            loop {
                let status = self.runtime.status().await.unwrap();
                let numbering = status.iter().find(|status| status.name == "numbering").unwrap();
                if (numbering.state, numbering.restarts) == (state, restarts) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never {state:?}"));
    }

    async fn stop(self) {
        self.runtime.stop(Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_of_one_name_are_refused_since_they_would_share_a_cursor() {
    let folder = TempDir::new().unwrap();
    let config = Config::defaults().with("store.data_dir", folder.path().to_string_lossy().into_owned()).unwrap();
    let store = Store::open(&config.section("store").unwrap()).await.unwrap();
    let twice = [(); 2].map(|()| hosted(Numbering { attempts: Arc::default() }));
    let settings = config.section("supervision").unwrap();
    let started = Runtime::start(Tree::new().agents(twice), store, Clock::System, settings, Metrics::new()).await;
    let refusal = started.unwrap_err().to_string();
    assert!(refusal.contains("\"numbering\""), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_answered_once_although_the_agent_is_killed_again_and_again() {
    let folder = TempDir::new().unwrap();
    let node = Node::start(folder.path()).await;
    for _ in 0..5 {
        node.ask(&["a"; 40]).await;
        node.runtime.kill("numbering").await;
    }
    let said = node.said(200).await;
    let expected: Vec<String> = (1..=200).map(|n| format!("{n} a")).collect();
    assert_eq!(said, expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_becomes_a_dead_letter_after_five_attempts_and_harms_no_other() {
    for harm in ["panic", "error", "hang"] {
        let folder = TempDir::new().unwrap();
        let node = Node::start(folder.path()).await;
        node.ask(&["a", "b", harm, "c"]).await;
        assert_eq!(node.said(3).await, ["1 a", "2 b", "3 c"], "{harm}: the state forgets the bad event");
        assert_eq!(node.attempts.load(Ordering::SeqCst), 5, "{harm}");
        let buried = node.runtime.store().log().buried("numbering", Seq(0)).await.unwrap();
        assert_eq!(buried.into_iter().collect::<Vec<_>>(), [Seq(3)], "{harm}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_refuses_speaks_against_the_event_that_it_was_said_about() {
    // Among others nobody knows which it is, until they are taken one at a time.
    for (before, attempts) in [(&["a", "b"][..], 6), (&[], 5)] {
        let folder = TempDir::new().unwrap();
        let node = Node::start(folder.path()).await;
        node.ask(&[before, &["unstorable"]].concat()).await;
        node.until_buried(Seq(before.len() as i64 + 1)).await;
        assert_eq!(node.attempts.load(Ordering::SeqCst), attempts);
        node.ask(&["c"]).await;
        let expected: Vec<String> =
            [before, &["c"]].concat().iter().zip(1..).map(|(a, n)| format!("{n} {a}")).collect();
        assert_eq!(node.said(expected.len()).await, expected);
        node.until(State::Running, u64::from(attempts)).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_restarts_an_agent_as_often_as_needed_and_out_of_quarantine() {
    let folder = TempDir::new().unwrap();
    let node = Node::start(folder.path()).await;
    let restart = async || node.runtime.control("numbering", Control::Restart, "test").await.unwrap();
    for restarts in 1..=8 {
        assert!(restart().await);
        node.until(State::Running, restarts).await;
    }
    for restarts in 9..=14 {
        node.until(State::Running, restarts - 1).await;
        assert!(node.runtime.kill("numbering").await);
    }
    node.until(State::Quarantined, 14).await;
    assert!(restart().await);
    node.until(State::Running, 14).await;
    node.ask(&["a"]).await;
    assert_eq!(node.said(1).await, ["1 a"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_agent_that_blocks_its_thread_is_abandoned_and_fenced() {
    let folder = TempDir::new().unwrap();
    let node = Node::start(folder.path()).await;
    node.ask(&["a", "block once", "b"]).await;
    assert_eq!(node.said(3).await, ["1 a", "2 block once", "3 b"]);
    // The abandoned incarnation wakes up after a while and finds itself fenced.
    node.ask(&["c"]).await;
    assert_eq!(node.said(4).await[3], "4 c");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handled_is_committed_after_a_while_although_more_is_in_hand() {
    let folder = TempDir::new().unwrap();
    let change = |config: Config| config.with("supervision.chunk_seconds_max", 0.0).unwrap();
    let node = Node::start_with(folder.path(), change).await;
    node.ask(&["a", "b", "hang"]).await;
    while node.attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.all_said().await, ["1 a", "2 b"], "a kill would not take these away");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_took_long_to_rebuild_is_saved_before_the_next_attempt() {
    let folder = TempDir::new().unwrap();
    let change = |config: Config| config.with("supervision.replay_events_max", 10).unwrap();
    let node = Node::start_with(folder.path(), change).await;
    let (good, after) = (["a"; 20], ["b"; 5]);
    node.ask(&[&good[..], &["hang"], &after].concat()).await;
    let log = node.runtime.store().log();
    let saved = loop {
        if let Some((cursor, _)) = log.checkpoint("numbering", 1).await.unwrap() {
            break cursor;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(saved, Seq(20), "not only once the bad event is behind");
    assert_eq!(node.said(25).await[24], "25 b");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_again_and_again_is_quarantined_and_tried_once_more_later() {
    let folder = TempDir::new().unwrap();
    let change = |config: Config| {
        let config = config.with("supervision.backoff_first_ms", 1).unwrap();
        config.with("supervision.quarantine_probe_seconds", 1.0).unwrap()
    };
    let node = Node::start_with(folder.path(), change).await;
    for restarts in 0..6 {
        node.until(State::Running, restarts).await;
        assert!(node.runtime.kill("numbering").await);
    }
    node.until(State::Quarantined, 6).await;
    node.ask(&["a"]).await;
    assert_eq!(node.runtime.lag(), 0, "nobody waits for it");
    node.until(State::Running, 6).await;
    assert_eq!(node.said(1).await, ["1 a"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_without_which_nothing_goes_ends_the_node_when_it_fails_again_and_again() {
    let folder = TempDir::new().unwrap();
    let change = |config: Config| config.with("supervision.backoff_first_ms", 1).unwrap();
    let node = Node::start_with(folder.path(), change).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let hopeless = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { anyhow::bail!("it never works") }
    };
    node.runtime.add(Part::new("hopeless", hopeless, || {})).unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(20), node.runtime.failed()).await.unwrap();
    assert_eq!(failed, Fatal { part: "hopeless", disk: false });
    assert_eq!(runs.load(Ordering::SeqCst), 6, "five restarts are allowed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_goes_on_where_it_stopped() {
    let folder = TempDir::new().unwrap();
    let node = Node::start(folder.path()).await;
    node.ask(&["a", "b"]).await;
    node.said(2).await;
    node.stop().await;
    let node = Node::start(folder.path()).await;
    node.ask(&["c"]).await;
    assert_eq!(node.said(3).await, ["1 a", "2 b", "3 c"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_agent_hears_nothing_until_it_is_resumed_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let node = Node::start(folder.path()).await;
    assert!(node.runtime.control("numbering", Control::Pause, "test").await.unwrap());
    node.ask(&["a"]).await;
    node.stop().await;
    let node = Node::start(folder.path()).await;
    let status = node.runtime.status().await.unwrap();
    let numbering = status.iter().find(|status| status.name == "numbering").unwrap();
    assert_eq!((numbering.state, 0 < numbering.lag), (State::Paused, true));
    assert!(node.all_said().await.is_empty());
    assert!(node.runtime.control("numbering", Control::Resume, "test").await.unwrap());
    assert_eq!(node.said(1).await, ["1 a"]);
    assert!(!node.runtime.control("nobody", Control::Pause, "test").await.unwrap());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_live_in_one_process() {
    let (left, right) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (left, right) = (Node::start(left.path()).await, Node::start(right.path()).await);
    left.ask(&["left"]).await;
    right.ask(&["right"]).await;
    assert_eq!((left.said(1).await, right.said(1).await), (vec!["1 left".to_owned()], vec!["1 right".to_owned()]));
    left.stop().await;
    right.stop().await;
}
