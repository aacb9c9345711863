//! A data folder that an earlier version wrote: its log is read, its agents remember, and it goes on from there.

use crate::cases::{calm, ingest};
use crate::work_orders::{open_case, overheat};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::installed;
use tests::node::TestNode;

/// What nodes of earlier versions left behind after a golden path, by the last step of the tables that they knew; each
/// without its keys. A version that changes the tables or the events adds one, and changes none.
const FOLDERS: [(&str, &str); 1] = [("m2026_11_21_initial", include_str!("earlier/m2026_11_21_initial.sql"))];

/// Makes the database that `dump` describes.
fn restore(folder: &Path, dump: &str) {
    let mut sqlite = Command::new(installed::program("sqlite3", "sqlite3"))
        .arg(folder.join("store.sqlite"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sqlite.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    assert!(sqlite.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_earlier_version_is_read_and_the_node_goes_on_from_there() {
    for (version, dump) in FOLDERS {
        // Given the folder of an earlier version,
        let folder = TempDir::new().unwrap();
        restore(folder.path(), dump);
        let n_events = dump.lines().filter(|line| line.starts_with("INSERT INTO events ")).count();
        // when this one runs on it,
        let node = TestNode::start_in(folder.path(), None, |config| config).await;
        let client = node.client();
        client.until_idle().await.unwrap();
        // then each event is read, in its place,
        let page = client.get(&format!("/api/v1/events?limit={n_events}")).await.ok();
        let seqs: Vec<Value> = page["events"].as_array().unwrap().iter().map(|event| event["seq"].clone()).collect();
        assert_eq!(json!(seqs), json!((1..=n_events).collect::<Vec<_>>()), "{version}");
        // each agent has found its way back to what it knew,
        let tree = client.get("/api/v1/agents").await.ok();
        for agent in tree["agents"].as_array().unwrap() {
            assert_eq!((&agent["state"], &agent["restarts"]), (&json!("running"), &json!(0)), "{version}: {agent:#}");
        }
        // its case has its whole trace,
        let cases = client.get("/api/v1/cases").await.ok();
        let page = client.get(&format!("/api/v1/cases/{}", cases[0]["id"].as_str().unwrap())).await.ok();
        for part in ["anomalies", "predictions", "decisions", "work_orders", "log", "history"] {
            assert!(page[part].as_array().is_some_and(|steps| !steps.is_empty()), "{version}: {part}: {page:#}");
        }
        // and life goes on.
        ingest(client, &calm("press", 600)).await;
        overheat(client, "press", 600, 95.0).await;
        open_case(client, "press").await;
        node.stop().await;
    }
}
