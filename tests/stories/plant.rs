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
    assert!(!folder.path().join("data").exists(), "a dry run leaves nothing behind");
    let (code, told) = run(&[]);
    assert!(code == Some(0) && told.contains("taken over"), "{told}");
    let (_, told) = run(&["--dry-run"]);
    assert!(told.contains("technicians: 0 new, 0 changed, 20 as before"), "{told}");
    std::fs::write(&path, large().replacen("\"celsius\"", "\"furlong\"", 1)).unwrap();
    let (code, told) = run(&[]);
    assert!(code == Some(1) && told.contains("line 12: sensor \"pump-0/temperature\": unknown unit"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thing_is_declared_by_itself_and_what_is_wrong_with_it_is_named_by_its_field() {
    let node = TestNode::start().await;
    let client = node.client();
    let asset = client.post("/api/v1/assets", &json!({ "id": "pump-1", "class": "pump" })).await.ok();
    assert_eq!((&asset["declared"], &asset["name"]), (&json!(true), &json!("pump-1")), "{asset:#}");
    let modes = json!({ "off": "pump-1/t < 5", "levels": [{ "name": "hot", "when": "not \"pump-1/t\" < 60" }] });
    let asset = client.post("/api/v1/assets", &json!({ "id": "pump-1", "class": "pump", "modes": modes })).await.ok();
    let told = json!({ "off": modes["off"], "starting_seconds": 0, "levels": modes["levels"] });
    assert_eq!(asset["modes"], told, "{asset:#}");
    let sensor = json!({
        "id": "pump-1/t", "asset": "pump-1", "type": "temperature", "unit": "°C", "limit_high": 90,
        "failure_mode": "overheating",
    });
    let declared = client.post("/api/v1/sensors", &sensor).await.ok();
    assert_eq!((&declared["unit"], &declared["declared"]), (&json!("celsius"), &json!(true)), "{declared:#}");
    let technician = json!({
        "id": "ana", "skills": ["Mechanical"], "experience_years": 4,
        "shifts": [{ "weekdays": [1, 2, 3], "from": "22:00", "to": "06:00" }],
    });
    assert_eq!(client.post("/api/v1/technicians", &technician).await.ok()["skills"], json!(["mechanical"]));
    let crew = client.get("/api/v1/technicians").await.ok();
    assert_eq!(crew.as_array().unwrap().len(), 1, "the examples are gone: {crew:#}");
    let site = json!({ "name": "Works", "time_zone": "Europe/Berlin" });
    assert_eq!(client.post("/api/v1/site", &site).await.ok(), site);
    // What is declared just so is not declared again.
    client.post("/api/v1/sensors", &sensor).await.ok();
    let events = client.get("/api/v1/events?type=sensor_declared").await.ok();
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events:#}");

    let refused = async |path: &str, body: Value, field: &str| {
        let refused = client.post(path, &body).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.detail().contains(&format!("body → {field}: ")), "{}", refused.body);
    };
    let changed = |body: &Value, field: &str, value: Value| {
        let mut body = body.clone();
        body[field] = value;
        body
    };
    refused("/api/v1/assets", json!({}), "id").await;
    refused("/api/v1/assets", json!({ "id": "p", "parent": "nowhere" }), "parent").await;
    // Nor is one a part of itself, also by way of what was declared before.
    client.post("/api/v1/assets", &json!({ "id": "part", "parent": "pump-1" })).await.ok();
    refused("/api/v1/assets", json!({ "id": "pump-1", "parent": "part" }), "parent").await;
    let cycle = import(client, "", "[[asset]]\nid = \"pump-1\"\nparent = \"part\"\n").await;
    assert_eq!(cycle.status, 422, "{}", cycle.body);
    refused("/api/v1/assets", json!({ "id": "p", "modes": { "off": "speed < fast" } }), "modes").await;
    refused("/api/v1/assets", json!({ "id": "p", "modes": { "levels": [{ "name": "full" }] } }), "modes").await;
    refused("/api/v1/assets", json!({ "id": "p", "modes": { "off = '' }\n[[asset]]\nid": "q" } }), "modes").await;
    refused("/api/v1/sensors", changed(&sensor, "asset", json!("nowhere")), "asset").await;
    refused("/api/v1/sensors", changed(&sensor, "unit", json!("bar")), "unit").await;
    refused("/api/v1/sensors", changed(&sensor, "type", json!("taste")), "type").await;
    refused("/api/v1/sensors", changed(&sensor, "limit_low", json!(91)), "limit_high").await;
    refused("/api/v1/sensors", changed(&sensor, "failure_mode", json!("bad luck")), "failure_mode").await;
    let shifts = json!([
        { "weekdays": [1], "from": "06:00", "to": "14:00" },
        { "weekdays": [1], "from": "13:00", "to": "21:00" },
    ]);
    refused("/api/v1/technicians", changed(&technician, "shifts", shifts), "shifts").await;
    refused("/api/v1/technicians", changed(&technician, "skills", json!([])), "skills").await;
    refused("/api/v1/site", json!({ "name": "Works", "time_zone": "Mars/Olympus" }), "time_zone").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_in_another_unit_than_the_declared_one_is_refused_and_nothing_is_converted() {
    let node = TestNode::start().await;
    let client = node.client();
    client.post("/api/v1/assets", &json!({ "id": "pump-1" })).await.ok();
    let sensor = json!({ "id": "pump-1/t", "asset": "pump-1", "type": "temperature", "unit": "celsius" });
    client.post("/api/v1/sensors", &sensor).await.ok();
    let reading = |unit: Value| json!({ "sensor_id": "pump-1/t", "value": 140.0, "unit": unit });
    let batch = json!([reading(json!("°C")), reading(json!("fahrenheit")), reading(Value::Null), reading(json!("x"))]);
    let answer = client.post("/api/v1/data/ingest/batch", &batch).await.ok();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)), "{answer:#}");
    let one = client.post("/api/v1/data/ingest", &reading(json!("fahrenheit"))).await;
    assert_eq!(one.status, 422);
    assert!(one.detail().contains("unit") && one.detail().contains("must be celsius"), "{}", one.body);
    let stored = client.get("/api/v1/sensors/readings?sensor_id=pump-1/t").await.ok();
    assert_eq!(stored.as_array().unwrap().len(), 2, "{stored:#}");
    // A sensor that nobody declared says of itself what it likes, as it always did.
    for unit in ["celsius", "furlong"] {
        let reading = json!({ "sensor_id": "stray", "value": 1.0, "unit": unit });
        client.post("/api/v1/data/ingest", &reading).await.ok();
    }
    node.stop().await;
}
