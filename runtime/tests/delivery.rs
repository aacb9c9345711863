//! Delivery, retries and supervision on a whole runtime with one small agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use config::Config;
use domain::event::Control;
use domain::model::{TrainingFailed, TrainingRequested};
use domain::{CorrelationId, Event, EventId, SensorId, Seq};
use persistence::Store;
use persistence::unit::NewEvent;
use runtime::{Agent, Clock, Ctx, Failure, Metrics, Runtime, State, Tree, hosted};
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
        let config = Config::defaults().with("store.data_dir", folder.to_string_lossy().into_owned()).unwrap();
        let config = config.with("supervision.handle_deadline_seconds", 0.3).unwrap();
        let config = config.with("supervision.watchdog_seconds", 0.1).unwrap();
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

    async fn stop(self) {
        self.runtime.stop(Duration::from_secs(10)).await;
    }
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
