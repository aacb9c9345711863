//! An agent of one's own, as the manual has it: in the tree, in the metrics, and where it begins on old data.

use crate::cases::{calm, ingest};
use config::Config;
use domain::Event;
use runtime::{Agent, Child, Ctx, Failure, Origin, hosted};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::Client;
use tests::node::TestNode;
use tests::process;
use tests::urgency::{Settings, Urgency};

const MANUAL: &str = include_str!("../../control-plane/manual/add-an-agent.md");
const EXAMPLE: &str = include_str!("../src/urgency.rs");

/// An agent that only wants to know what comes from now on.
struct Latecomer;

impl Agent for Latecomer {
    const NAME: &'static str = "latecomer";
    const ORIGIN: Origin = Origin::Now;
    type Settings = ();
    type Deps = ();
    type State = ();
    type Message = ();

    fn start((): (), (): ()) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn accept(event: &Event) -> Option<()> {
        matches!(event, Event::AnomalyValidated(_)).then_some(())
    }

    async fn handle(&self, (): &mut (), (): (), _: &mut Ctx) -> Result<(), Failure> {
        Err(Failure::Failed(anyhow::anyhow!("what was before is none of its business")))
    }
}

fn urgency() -> Child {
    hosted(Urgency::start(Settings { evidence_max: 2 }, ()).unwrap())
}

async fn agent(client: &Client, name: &str) -> Value {
    let tree = client.get("/api/v1/agents").await.ok();
    tree["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == name).cloned().unwrap_or_default()
}

/// What `source` said.
async fn said(client: &Client, source: &str) -> Vec<Value> {
    let (mut said, mut after) = (Vec::new(), 0);
    loop {
        let page = client.get(&format!("/api/v1/events?limit=1000&after={after}")).await.ok();
        let events = page["events"].as_array().unwrap();
        let Some(last) = events.last() else { return said };
        after = last["seq"].as_i64().unwrap();
        said.extend(events.iter().filter(|event| event["source"] == source).cloned());
    }
}

#[test]
fn the_manual_shows_the_example_that_is_compiled() {
    assert!(MANUAL.contains(EXAMPLE), "control-plane/manual/add-an-agent.md must hold tests/src/urgency.rs as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_ones_own_is_supervised_measured_and_begins_where_it_says() {
    // Given a node with a case, which knows nothing of the new agents,
    let folder = TempDir::new().unwrap();
    let as_shipped = |config: Config| config;
    let node = TestNode::start_in(folder.path(), None, as_shipped).await;
    let key = node.client().key().unwrap().to_owned();
    ingest(node.client(), &calm("press", 400)).await;
    let hot = |n: i64| json!({ "sensor_id": "press", "value": 95.0, "timestamp": 1_767_225_600 + (400 + n) * 60 });
    ingest(node.client(), &(0..10).map(hot).collect::<Vec<_>>()).await;
    node.client().until_idle().await.unwrap();
    node.stop().await;

    // when the program has them,
    let with = vec![urgency(), hosted(Latecomer)];
    let node = TestNode::start_in_with(folder.path(), Some(&key), as_shipped, with).await;
    let client = node.client();
    client.until_idle().await.unwrap();
    // then one learns what was before, and says so once; the other begins at the end, and is not troubled.
    assert_eq!(agent(client, "urgency").await["state"], "running");
    let urgent = said(client, "urgency").await;
    assert_eq!(urgent.len(), 1, "{urgent:?}");
    assert_eq!((&urgent[0]["type"], &urgent[0]["data"]["priority"]), (&json!("case_updated"), &json!("critical")));
    assert_eq!(agent(client, "latecomer").await["restarts"], 0);
    let metrics = client.get("/metrics").await.ok();
    for line in [
        r#"smart_maintenance_agent_up{agent="urgency"} 1"#,
        r#"smart_maintenance_agent_handling_seconds_count{agent="urgency"}"#,
    ] {
        assert!(metrics.as_str().unwrap().contains(line), "{line} is missing");
    }
    node.stop().await;

    // When the program has them no more, then they are listed, and forgotten when told so; no other is.
    let cursors = |arguments: &[&str]| {
        let command = std::process::Command::new(process::program().unwrap())
            .args(["cursors"])
            .args(arguments)
            .arg("--data-dir")
            .arg(folder.path())
            .output()
            .unwrap();
        (command.status.success(), String::from_utf8(command.stdout).unwrap())
    };
    let left = |list: &str| -> Vec<String> {
        let gone = list.lines().filter(|line| line.ends_with("not in this program"));
        gone.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    let (_, list) = cursors(&["list"]);
    assert_eq!(left(&list), ["latecomer", "urgency"], "{list}");
    assert!(!cursors(&["drop", "validation"]).0, "an agent of the program keeps its place");
    assert!(!cursors(&["drop", "nobody"]).0);
    assert!(cursors(&["drop", "urgency"]).0);
    let (_, list) = cursors(&["list"]);
    assert_eq!(left(&list), ["latecomer"], "{list}");
}
