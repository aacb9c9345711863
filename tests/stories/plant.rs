//! `/api/v1/plant/import`, `/assets`, `/technicians`, and the same file from the command line.

use crate::cases::{calm, ingest};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Command;
use tests::client::{Answer, Client};
use tests::node::TestNode;
use tests::process::program;

/// A plant of 200 assets with five sensors each, and 20 technicians.
fn large() -> String {
    let mut file = "[site]\nname = \"Works\"\ntime_zone = \"America/Sao_Paulo\"\n".to_owned();
    for asset in 0..200 {
        write!(file, "\n[[asset]]\nid = \"pump-{asset}\"\nclass = \"pump\"\n").unwrap();
        for (kind, unit) in [
            ("temperature", "celsius"),
            ("vibration", "mm/s"),
            ("pressure", "bar"),
            ("voltage", "V"),
            ("humidity", "%RH"),
        ] {
            write!(
                file,
                "[[sensor]]\nid = \"pump-{asset}/{kind}\"\nasset = \"pump-{asset}\"\ntype = \"{kind}\"\n\
                 unit = \"{unit}\"\nlimit_high = 90\n"
            )
            .unwrap();
        }
    }
    for technician in 0..20 {
        write!(
            file,
            "[[technician]]\nid = \"t-{technician}\"\nskills = [\"mechanical\"]\nexperience_years = 3\n\
             shifts = [{{ weekdays = [1, 2, 3, 4, 5], from = \"06:00\", to = \"14:00\" }}]\n"
        )
        .unwrap();
    }
    file
}

async fn import(client: &Client, query: &str, file: &str) -> Answer {
    let path = format!("/api/v1/plant/import{query}");
    client.send(client.request(reqwest::Method::POST, &path).body(file.to_owned())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_of_a_thousand_sensors_is_taken_over_after_a_dry_run_and_replaces_the_example_crew() {
    let node = TestNode::start().await;
    let client = node.client();
    let crew = client.get("/api/v1/technicians").await.ok();
    assert!(crew.as_array().unwrap().iter().all(|technician| technician["example"] == true), "{crew:#}");
    assert_eq!(crew.as_array().unwrap().len(), 2);

    let file = large();
    let dry = import(client, "?dry_run=true", &file).await.ok();
    assert_eq!(dry["applied"], false);
    let new = |n: u32| json!({ "new": n, "changed": 0, "unchanged": 0 });
    assert_eq!((&dry["assets"], &dry["sensors"], &dry["technicians"]), (&new(200), &new(1_000), &new(20)));
    assert_eq!(client.get("/api/v1/assets").await.ok(), json!([]), "a dry run changes nothing");

    assert_eq!(import(client, "", &file).await.ok()["applied"], true);
    let crew = client.get("/api/v1/technicians").await.ok();
    assert!(crew.as_array().unwrap().iter().all(|technician| technician["example"] == false), "{crew:#}");
    assert_eq!(crew.as_array().unwrap().len(), 20);
    let pump = client.get("/api/v1/assets/pump-7").await.ok();
    assert_eq!((&pump["declared"], pump["sensors"].as_array().unwrap().len()), (&json!(true), 5), "{pump:#}");
    assert_eq!(pump["sensors"][2]["limit_high"], 90.0, "{pump:#}");

    // The same file again changes nothing, and one line more is one thing more.
    let again = import(client, "", &file).await.ok();
    assert_eq!(again["sensors"], json!({ "new": 0, "changed": 0, "unchanged": 1_000 }));
    let more = file.replacen("limit_high = 90", "limit_high = 95", 1);
    assert_eq!(import(client, "", &more).await.ok()["sensors"]["changed"], 1);

    // What a declared sensor says of itself does not win.
    let reading = json!({ "sensor_id": "pump-7/pressure", "value": 3.5, "metadata": { "asset_id": "elsewhere" } });
    client.post("/api/v1/data/ingest", &reading).await.ok();
    let pump = client.get("/api/v1/assets/pump-7").await.ok();
    let pressure: &Value =
        pump["sensors"].as_array().unwrap().iter().find(|sensor| sensor["id"] == "pump-7/pressure").unwrap();
    assert_eq!((&pressure["reading_count"], &pressure["unit"]), (&json!(1), &json!("bar")), "{pressure:#}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_mistakes_is_refused_as_a_whole_and_each_mistake_is_named_by_its_line() {
    let node = TestNode::start().await;
    let client = node.client();
    let file = r#"[[asset]]
id = "pump-1"

[[sensor]]
id = "pump-1/t"
asset = "pump-1"
type = "temperature"
unit = "bar"

[[sensor]]
id = "pump-2/t"
asset = "pump-2"
type = "temperature"
unit = "celsius"

[[technician]]
id = "ana"
skills = ["mechanical"]
shifts = [
  { weekdays = [1, 2], from = "06:00", to = "14:00" },
  { weekdays = [2], from = "13:00", to = "21:00" },
]
"#;
    let refused = import(client, "", file).await;
    assert_eq!(refused.status, 422);
    let lines: Vec<i64> =
        refused.body["problems"].as_array().unwrap().iter().map(|one| one["line"].as_i64().unwrap()).collect();
    assert_eq!(lines, [8, 12, 21], "{:#}", refused.body);
    assert_eq!(client.get("/api/v1/assets").await.ok(), json!([]), "nothing is taken over");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_nobody_declared_is_an_asset_of_its_own_and_tells_when_it_can_be_trusted() {
    let node = TestNode::start().await;
    let client = node.client();
    ingest(client, &calm("press", 100)).await;
    let press = client.get("/api/v1/assets/press").await.ok();
    assert_eq!(press["declared"], false);
    let readiness = &press["sensors"][0]["readiness"];
    assert_eq!((&readiness["share"], &readiness["trusted"]), (&json!(0.5), &json!(false)), "{press:#}");
    assert_eq!(readiness["trusted_from"], "2026-01-01T03:19:00Z", "another hundred minutes");
    ingest(client, &calm("press", 300)[100..]).await;
    let readiness = client.get("/api/v1/assets/press").await.ok()["sensors"][0]["readiness"].clone();
    assert_eq!((&readiness["share"], &readiness["trusted"]), (&json!(1.0), &json!(true)));
    assert_eq!(readiness["trusted_from"], "2026-01-01T03:19:00Z", "the two hundredth reading");
    node.stop().await;
}

#[test]
fn the_command_line_takes_over_the_same_file_while_no_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.toml");
    std::fs::write(&path, large()).unwrap();
    let run = |more: &[&str]| {
        let ended = Command::new(program().unwrap())
            .args(["import", path.to_str().unwrap(), "--data-dir"])
            .arg(folder.path().join("data"))
            .args(more)
            .output()
            .unwrap();
        (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
    };
    let (code, told) = run(&["--dry-run"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("sensors: 1000 new, 0 changed, 0 as before"), "{told}");
    let (code, told) = run(&[]);
    assert!(code == Some(0) && told.contains("taken over"), "{told}");
    let (_, told) = run(&["--dry-run"]);
    assert!(told.contains("technicians: 0 new, 0 changed, 20 as before"), "{told}");
    std::fs::write(&path, large().replacen("\"celsius\"", "\"furlong\"", 1)).unwrap();
    let (code, told) = run(&[]);
    assert!(code == Some(1) && told.contains("line 12: sensor \"pump-0/temperature\": unknown unit"), "{told}");
}
