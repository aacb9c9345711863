//! `/metrics`: each is documented, none can explode, and a real Prometheus reads them all.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tests::client::Client;
use tests::installed;
use tests::node::TestNode;

const MANUAL: &str = include_str!("../../control-plane/manual/metrics.md");

/// What the manual has in place of labels where there are none.
const NO_LABELS: &str = "–";

/// Name, type, labels and description of each metric that the manual has.
fn documented() -> BTreeSet<[String; 4]> {
    let table = MANUAL.split("\n## ").find(|part| part.starts_with("What there is")).expect("the manual lists them");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("a row has four cells: {cells:?}"))
    })
    .collect()
}

/// One sample: its name and labels.
fn samples(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
            let pair = |label: &str| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            };
            (name.to_owned(), labels.map(pair).collect())
        })
        .collect()
}

/// A node in which something has happened, and a client of it.
async fn busy_node() -> TestNode {
    let node = TestNode::start_with(|config| config.with("metrics.anonymous", "never").unwrap()).await;
    let client = node.client();
    for sensor in ["pump-1.temperature", "\"} 1", "a\\b"] {
        client.post("/api/v1/data/ingest", &json!({ "sensor_id": sensor, "value": 1.0 })).await.ok();
    }
    client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s" })).await;
    client.get("/api/v1/cases/no-such-case").await;
    client.get("/no/such/route?secret=1").await;
    client.send(client.request(Method::from_bytes(b"BREW").unwrap(), "/api/v1/cases")).await;
    client.post("/api/v1/agents/drift/pause", &json!({})).await.ok();
    client.post("/api/v1/agents/drift/resume", &json!({})).await.ok();
    client.until_idle().await.unwrap();
    client.get("/metrics").await.ok();
    node
}

#[test]
fn the_manual_has_every_metric_and_no_other() {
    let described: BTreeSet<[String; 4]> = runtime::Metrics::new()
        .described()
        .iter()
        .map(|one| {
            let labels = if one.labels.is_empty() { NO_LABELS.to_owned() } else { one.labels.join(", ") };
            [one.name.clone(), one.kind.to_owned(), labels, one.help.to_owned()]
        })
        .collect();
    let row = |[name, kind, labels, help]: &[String; 4]| match labels.as_str() {
        NO_LABELS => format!("| `{name}` | {kind} | {NO_LABELS} | {help} |"),
        labels => format!("| `{name}` | {kind} | `{}` | {help} |", labels.replace(", ", "`, `")),
    };
    let documented = documented();
    let missing: Vec<String> = described.difference(&documented).map(row).collect();
    assert!(missing.is_empty(), "control-plane/manual/metrics.md lacks\n{}", missing.join("\n"));
    let gone: Vec<String> = documented.difference(&described).map(row).collect();
    assert!(gone.is_empty(), "control-plane/manual/metrics.md tells of what is not there\n{}", gone.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_take_their_values_from_closed_sets() {
    let node = busy_node().await;
    let client = node.client();
    let tree = client.get("/api/v1/agents").await.ok();
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<String>>();
    let agents: BTreeSet<String> =
        tree["agents"].as_array().unwrap().iter().map(|agent| agent["name"].as_str().unwrap().to_owned()).collect();
    let routes: BTreeSet<String> = control_plane::routes::ROUTES.iter().map(|route| route.pattern.to_owned()).collect();
    let routes = &routes | &strings(&["unmatched"]);
    let limited = |section: &str| {
        let table: toml::Table = config::Config::defaults().section(section).unwrap();
        table.keys().map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    let sections = ["server", "tls", "limits", "rate_limits", "sessions", "supervision", "store", "webhook"];
    let settings = sections.into_iter().flat_map(limited).collect();
    let sets = BTreeMap::from([
        ("agent", agents),
        ("state", runtime::State::ALL.iter().map(|state| state.as_str().to_owned()).collect()),
        ("limit", runtime::metrics::Limit::ALL.iter().map(|limit| limit.as_str().to_owned()).collect()),
        ("setting", settings),
        ("handler", routes.clone()),
        ("route", routes),
        ("method", strings(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OTHER"])),
        ("status", (100..600).map(|status: u16| status.to_string()).collect()),
        ("version", strings(&[env!("CARGO_PKG_VERSION")])),
        ("profile", strings(&["debug", "release"])),
    ]);
    let documented: BTreeMap<String, BTreeSet<String>> = documented()
        .into_iter()
        .map(|[name, _, labels, _]| {
            (name, labels.split(", ").filter(|one| *one != NO_LABELS).map(str::to_owned).collect())
        })
        .collect();
    let text = client.get("/metrics").await.ok();
    for (name, labels) in samples(text.as_str().unwrap()) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        let expected = documented.get(base).unwrap_or_else(|| panic!("{name} is not in the manual"));
        let names: BTreeSet<String> = labels.keys().filter(|label| *label != "le").cloned().collect();
        assert_eq!(&names, expected, "{name}");
        for (label, value) in labels.iter().filter(|(label, _)| *label != "le") {
            let set = sets.get(label.as_str()).unwrap_or_else(|| panic!("{label} of {name} is not a closed set"));
            assert!(set.contains(value), "{label}={value:?} of {name}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_complain_about() {
    let promtool = installed::program("promtool", "prometheus");
    let node = busy_node().await;
    let text = node.client().get("/metrics").await.ok();
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_str().unwrap().as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let told = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && told.is_empty(), "{}", String::from_utf8_lossy(&told));
    node.stop().await;
}

/// A Prometheus of its own folder and port. Killed when dropped.
struct Prometheus {
    child: Child,
    client: Client,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes `target` with `key` each second.
    fn start(target: &str, key: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: smart-maintenance\n    authorization:\n      \
                 credentials: {key}\n    static_configs:\n      - targets: ['{target}']\n"
            ),
        )
        .unwrap();
        let listen = format!("127.0.0.1:{}", installed::free_port());
        let path = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let child = Command::new(installed::program("prometheus", "prometheus"))
            .arg(path("config.file", &config))
            .arg(path("storage.tsdb.path", &folder.path().join("data")))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, client: Client::new(format!("http://{listen}"), None), _folder: folder }
    }

    /// Waits until it answers.
    async fn until_ready(&self) {
        let began = std::time::Instant::now();
        while self.client.try_send(self.client.request(Method::GET, "/-/ready")).await.is_err() {
            assert!(began.elapsed() < tests::client::PATIENCE, "Prometheus does not start");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_that_has_a_key_gets_every_series() {
    let node = busy_node().await;
    let client = node.client();
    let refused = client.with_key(None).get("/metrics").await;
    assert_eq!(refused.status, 403, "nobody gets in without a key here");
    let prometheus = Prometheus::start(client.base().strip_prefix("http://").unwrap(), client.key().unwrap());
    prometheus.until_ready().await;

    let written: BTreeSet<String> =
        samples(client.get("/metrics").await.ok().as_str().unwrap()).into_iter().map(|(name, _)| name).collect();
    for [name, kind, ..] in documented() {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name };
        assert!(written.contains(&sample), "{sample} is not written");
    }
    let names = |answer: &Value| -> BTreeSet<String> {
        answer["data"].as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    prometheus
        .client
        .until("/api/v1/label/__name__/values", |answer| written.is_subset(&names(answer)).then_some(()))
        .await
        .unwrap();
    let lags = prometheus.client.get("/api/v1/query?query=smart_maintenance_agent_lag_events").await.ok();
    let tree = client.get("/api/v1/agents").await.ok();
    let hears = |agent: &&Value| agent["kind"] == "agent" || agent["kind"] == "worker";
    let n_hearing = tree["agents"].as_array().unwrap().iter().filter(hears).count();
    assert_eq!(lags["data"]["result"].as_array().unwrap().len(), n_hearing, "each that hears the log: {lags}");
    let up = prometheus.client.get("/api/v1/query?query=up").await.ok();
    assert_eq!(up["data"]["result"][0]["value"][1], "1", "{up}");
    node.stop().await;
}
