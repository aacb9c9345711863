//! The tree as the defaults build it.

use config::{Config, DEFAULT_TOML};
use domain::reading::Incoming;
use domain::{CorrelationId, Event, Seq};
use persistence::Store;
use runtime::admission::Credits;
use runtime::intake::{Intake, Submission};
use runtime::{Clock, Kind, Metrics, Runtime};
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

struct Node {
    runtime: Runtime,
    intake: Intake,
    /// Goes last: the store is in it.
    _folder: TempDir,
}

async fn node() -> Node {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().to_str().expect("a Unicode path");
    let config = Config::defaults().with("store.data_dir", data_dir).expect("a known setting");
    let store = Store::open(&config.section("store").expect("the store's settings")).await.expect("a new store");
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().expect("a valid time"));
    let (tree, intake) = agents::tree(&config, &store, &clock, &agents::Secrets::default())
        .expect("every agent starts from the defaults");
    let supervision = config.section("supervision").expect("the settings of supervision");
    let runtime = Runtime::start(tree, store, clock, supervision, Metrics::new()).await.expect("the tree starts");
    Node { runtime, intake, _folder: folder }
}

#[tokio::test]
async fn an_agent_has_one_name_for_its_file_its_section_and_itself() {
    let Node { runtime, _folder, .. } = node().await;
    let agents = runtime.status().await.expect("the store can be read");
    let agents: Vec<&str> =
        agents.iter().filter(|agent| agent.kind != Kind::Essential).map(|agent| agent.name).collect();
    let names: BTreeSet<&str> = agents.iter().copied().collect();
    assert_eq!(names.len(), agents.len(), "a name stands for one agent: {agents:?}");

    let lib = include_str!("../src/lib.rs").lines();
    let modules: BTreeSet<&str> = lib.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    // The models that clients ask by name are no agent: nothing of them hears the log.
    let modules: BTreeSet<&str> = modules.into_iter().filter(|module| *module != "models").collect();
    assert_eq!(names, modules);

    let sections = DEFAULT_TOML.lines().filter_map(|line| line.strip_prefix("[agents.")?.strip_suffix(']'));
    let sections: BTreeSet<&str> = sections.filter(|section| !section.contains('.')).collect();
    assert_eq!(names, sections);
    runtime.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_reading_that_was_handed_in_is_in_the_log_when_the_answer_comes() {
    let Node { runtime, intake, _folder } = node().await;
    let (reply, judged) = oneshot::channel();
    let reading = Incoming {
        sensor: "pump-1/t".to_owned(),
        value: 21.5,
        taken_at: None,
        sensor_type: None,
        unit: None,
        quality: 1.0,
        metadata: serde_json::Map::new(),
    };
    let permit = Credits::new(1, 1).take(1).expect("there is credit");
    let correlation = CorrelationId::from("handed-in");
    let mut submission =
        Submission { items: vec![Ok(reading)], correlation, traceparent: None, key: None, permit, reply };
    let handed_in = async {
        // The door opens when the agent has started.
        while let Err(refused) = intake.send(submission) {
            submission = refused;
            tokio::task::yield_now().await;
        }
        judged.await.expect("the items are judged").committed.await.expect("the writer answers")
    };
    let committed = tokio::time::timeout(Duration::from_secs(30), handed_in).await.expect("an answer in time");
    committed.expect("the reading is stored");
    let log = runtime.store().log().after(Seq(0), 1).await.expect("the log can be read");
    assert!(matches!(log[0].event, Event::ReadingsAccepted(_)), "{log:?}");
    runtime.stop(Duration::from_secs(10)).await;
}
