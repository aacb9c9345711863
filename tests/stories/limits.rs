//! Every limit by its name: set low, run into, told of, and counted.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::client::{Answer, Client, PATIENCE};
use tests::node::TestNode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How somebody runs into a limit, and what they are told.
enum Trial {
    /// Each of these requests is made; the last answer has this status.
    Asks(Vec<Ask>, u16),
    /// These bytes come over a connection of their own, with the key in place of `{key}`; the answer begins so. Nothing
    /// is told where the node just hangs up.
    Sends(String, &'static str),
    /// These bytes come over a connection that stays open; then the request has this status.
    Holds(String, Ask, u16),
    /// It is run into elsewhere: a test of that name in that file.
    Elsewhere(&'static str, &'static str),
}
use Trial::{Asks, Elsewhere, Holds, Sends};

/// Method, path, JSON body (empty for none), and whether it comes with a key.
type Ask = (&'static str, &'static str, &'static str, bool);

const LIVE: Ask = ("GET", "/livez", "", false);
const READING: Ask = ("POST", "/api/v1/data/ingest", r#"{"sensor_id":"s","value":1}"#, true);
const BATCH: Ask =
    ("POST", "/api/v1/data/ingest/batch", r#"[{"sensor_id":"s","value":1},{"sensor_id":"s","value":2}]"#, true);
const DRIFT: Ask = ("POST", "/api/v1/ml/check_drift", r#"{"sensor_id":"s"}"#, true);
const SIMULATION: Ask = ("POST", "/api/v1/simulate/normal-data", r#"{"num_samples":1}"#, true);
const REPORT: Ask = ("POST", "/api/v1/reports/generate", r#"{"report_type":"system_health"}"#, true);
const CHANGE: Ask = ("POST", "/api/v1/agents/drift/resume", "", true);
const STREAM: Ask = ("GET", "/api/v1/stream", "", true);
/// Nobody books it while the agent rests, so that its answer takes long.
const SLOW: Ask = (
    "POST",
    "/api/v1/maintenance/schedule",
    r#"{"sensor_id":"s","predicted_failure_date":"2099-01-01","time_to_failure_days":30}"#,
    true,
);
const REST: Ask = ("POST", "/api/v1/agents/scheduling/pause", "", true);

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {{key}}\r\n{more}\r\n\r\n")
}

fn chunked(path: &str, n_bytes: usize) -> String {
    let head = head(path, "transfer-encoding: chunked\r\nconnection: close");
    format!("{head}{n_bytes:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(n_bytes))
}

/// Each limit that `/metrics` shows, a low value, and how it is run into. A second line of the same limit is another
/// way to run into it.
fn trials() -> Vec<(&'static str, Value, Trial)> {
    const SLOW_CONNECTIONS: &str = "tests/stories/slow_connections.rs";
    const SESSIONS: &str = "control-plane/src/access/session.rs";
    const TLS: &str = "control-plane/src/tls.rs";
    const DELIVERY: &str = "runtime/tests/delivery.rs";
    const MEMORY: &str = "persistence/tests/store/log.rs";
    let every_slow_one = || Elsewhere(SLOW_CONNECTIONS, "every_slow_connection_is_closed_within_its_limit");
    let many_headers = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x-more: 1\r\n".repeat(20));
    let long_header = format!("GET /livez HTTP/1.1\r\nx-more: {}\r\n\r\n", "1".repeat(20_000));
    let kept_alive = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".to_owned();
    let unfinished = head("/api/v1/data/ingest", "content-length: 1500\r\nexpect: 100-continue");
    let unfinished_change = head("/api/v1/cases/any/shelve", "content-length: 1500\r\nexpect: 100-continue");
    let (one, many) = ("/api/v1/data/ingest", "/api/v1/data/ingest/batch");
    let told = |path: &str, n_bytes: usize| {
        let head = head(path, &format!("content-length: {n_bytes}\r\nconnection: close"));
        format!("{head}{}", " ".repeat(n_bytes))
    };
    let too_large = "HTTP/1.1 413 ";
    let deep = "{\"sensor_id\":\"s\",\"value\":1,\"metadata\":{\"a\":\n[[1]]}}";
    let more = format!("content-type: application/vnd.x+json\r\ncontent-length: {}\r\nconnection: close", deep.len());
    let deep_on_lines = format!("{}{deep}", head(one, &more));
    vec![
        ("server.headers_max", json!(10), Sends(many_headers, "HTTP/1.1 431 ")),
        ("server.header_bytes_max", json!(8_192), Sends(long_header, "HTTP/1.1 431 ")),
        ("server.header_read_timeout_seconds", json!(1), every_slow_one()),
        (
            "server.body_read_timeout_seconds",
            json!(0.5),
            Sends(head(one, "content-length: 10\r\nconnection: close"), "HTTP/1.1 408 "),
        ),
        ("server.body_bytes_per_second_min", json!(1), every_slow_one()),
        ("server.body_grace_seconds", json!(1), every_slow_one()),
        ("server.request_timeout_seconds", json!(0.5), Asks(vec![REST, SLOW], 503)),
        ("server.idle_timeout_seconds", json!(0.5), Sends(kept_alive, "HTTP/1.1 200 ")),
        ("server.write_stall_seconds", json!(1), every_slow_one()),
        ("server.send_buffer_bytes", json!(8_192), every_slow_one()),
        ("server.connections_max", json!(1), Holds(String::new(), LIVE, 0)),
        ("server.connections_per_address_max", json!(1), Holds(String::new(), LIVE, 0)),
        ("server.drain_seconds", json!(1), Elsewhere("tests/stories/limits.rs", "a_stop_waits_for_drain_seconds")),
        ("tls.reload_seconds", json!(1), Elsewhere(TLS, "a_renewed_certificate_is_served_and_a_broken_one_is_not")),
        (
            "tls.handshake_timeout_seconds",
            json!(1),
            Elsewhere(TLS, "a_client_that_never_agrees_on_a_key_is_hung_up_on"),
        ),
        ("limits.body_bytes_max", json!(1_000), Sends(told(one, 1_001), too_large)),
        ("limits.body_bytes_max", json!(1_000), Sends(chunked(one, 1_001), too_large)),
        ("limits.batch_body_bytes_max", json!(1_000), Sends(told(many, 1_001), too_large)),
        ("limits.batch_body_bytes_max", json!(1_000), Sends(chunked(many, 1_001), too_large)),
        ("limits.batch_items_max", json!(1), Asks(vec![BATCH], 422)),
        (
            "limits.json_depth_max",
            json!(3),
            Asks(vec![("POST", one, r#"{"sensor_id":"s","value":1,"metadata":{"a":[[1]]}}"#, true)], 422),
        ),
        // Nor is it passed over by a type that only looks like that of lines.
        ("limits.json_depth_max", json!(3), Sends(deep_on_lines, "HTTP/1.1 422 ")),
        ("limits.ingest_requests_max", json!(1), Holds(unfinished.clone(), READING, 503)),
        // Set to its least, which is the largest body; see `lowered`.
        ("limits.ingest_bytes_max", json!(1_510), Holds(unfinished.clone(), READING, 503)),
        ("limits.other_requests_max", json!(1), Holds(unfinished_change.clone(), REPORT, 503)),
        ("limits.other_bytes_max", json!(1_510), Holds(unfinished_change, REPORT, 503)),
        (
            "limits.lag_events_max",
            json!(3),
            Elsewhere("tests/stories/operations.rs", "a_lagging_node_refuses_readings_and_says_when_to_come_back"),
        ),
        ("limits.disk_free_bytes_min", json!(1_i64 << 60), Asks(vec![READING], 503)),
        // Nothing of a large body is waited for.
        (
            "limits.disk_free_bytes_min",
            json!(1_i64 << 60),
            Sends(head(many, "content-length: 100000\r\nconnection: close"), "HTTP/1.1 503 "),
        ),
        (
            "limits.string_bytes_max",
            json!(5),
            Asks(vec![("POST", one, r#"{"sensor_id":"six677","value":1}"#, true)], 422),
        ),
        ("limits.page_size_max", json!(5), Asks(vec![("GET", "/api/v1/cases?limit=6", "", true)], 422)),
        (
            "limits.shelf_hours_max",
            json!(2),
            Asks(vec![("POST", "/api/v1/cases/any/shelve", r#"{"reason":"r","until":"2099-01-01"}"#, true)], 422),
        ),
        ("limits.streams_max", json!(0), Asks(vec![STREAM], 503)),
        ("limits.streams_per_key_max", json!(0), Asks(vec![STREAM], 503)),
        (
            "limits.metadata_bytes_max",
            json!(10),
            Asks(vec![("POST", one, r#"{"sensor_id":"s","value":1,"metadata":{"key":"a text"}}"#, true)], 422),
        ),
        (
            "limits.clock_ahead_max_seconds",
            json!(10),
            Asks(vec![("POST", one, r#"{"sensor_id":"s","value":1,"timestamp":"2999-01-01"}"#, true)], 422),
        ),
        ("rate_limits.requests_per_second_max", json!(1), Asks(vec![BATCH, BATCH, BATCH], 429)),
        ("rate_limits.strangers_per_second_max", json!(1), Asks(vec![LIVE, LIVE, LIVE], 429)),
        ("rate_limits.check_drift_per_minute_max", json!(1), Asks(vec![DRIFT, DRIFT], 429)),
        ("rate_limits.simulations_per_minute_max", json!(1), Asks(vec![SIMULATION, SIMULATION], 429)),
        ("rate_limits.reports_per_minute_max", json!(1), Asks(vec![REPORT, REPORT], 429)),
        ("rate_limits.changes_per_minute_max", json!(1), Asks(vec![CHANGE, CHANGE], 429)),
        (
            "rate_limits.failed_logins_per_minute_max",
            json!(1),
            Elsewhere("tests/stories/limits.rs", "wrong_keys_are_counted_per_address"),
        ),
        (
            "rate_limits.buckets_max",
            json!(100),
            Elsewhere("control-plane/src/rate.rs", "callers_beyond_those_remembered_share_a_bucket"),
        ),
        ("sessions.idle_minutes", json!(1), Elsewhere(SESSIONS, "a_session_ends_when_it_rests_and_when_it_is_old")),
        ("sessions.hours_max", json!(1), Elsewhere(SESSIONS, "a_session_ends_when_it_rests_and_when_it_is_old")),
        ("sessions.link_minutes", json!(1), Elsewhere(SESSIONS, "a_link_opens_one_session_in_time")),
        (
            "sessions.open_max",
            json!(2),
            Elsewhere(SESSIONS, "the_cookie_is_out_of_reach_of_pages_and_there_are_not_too_many"),
        ),
        (
            "sessions.per_key_max",
            json!(2),
            Elsewhere(SESSIONS, "one_key_has_few_sessions_of_which_the_one_that_rested_longest_ends"),
        ),
        (
            "supervision.handle_deadline_seconds",
            json!(1),
            Elsewhere(DELIVERY, "an_agent_that_blocks_its_thread_is_abandoned_and_fenced"),
        ),
        (
            "supervision.attempts_max",
            json!(5),
            Elsewhere(DELIVERY, "a_bad_event_becomes_a_dead_letter_after_five_attempts_and_harms_no_other"),
        ),
        (
            "supervision.attempts_fatal_max",
            json!(3),
            Elsewhere("runtime/src/rules/attempts.rs", "an_event_that_ends_the_process_is_given_up_sooner"),
        ),
        (
            "supervision.chunk_events_max",
            json!(2),
            Elsewhere("runtime/src/rules/passage.rs", "a_chunk_is_stored_as_a_whole"),
        ),
        (
            "supervision.dead_letters_max",
            json!(2),
            Elsewhere(
                "tests/stories/operations.rs",
                "an_agent_with_too_many_dead_letters_rests_instead_of_dropping_any",
            ),
        ),
        (
            "store.size_bytes_max",
            json!(1 << 20),
            Elsewhere("persistence/tests/store/failure.rs", "a_full_store_takes_whole_groups_or_nothing"),
        ),
        ("store.tail_events_max", json!(10), Elsewhere(MEMORY, "what_memory_forgets_is_read_from_the_table")),
        ("store.tail_bytes_max", json!(10), Elsewhere(MEMORY, "what_memory_forgets_is_read_from_the_table")),
        (
            "webhook.timeout_seconds",
            json!(0.1),
            Elsewhere("agents/src/webhook_delivery.rs", "a_receiver_that_never_answers_is_given_up_in_time"),
        ),
    ]
}

/// Defaults that were decided on, and are not to change by accident.
const DEFAULTS: [(&str, f64); 31] = [
    ("server.connections_max", 4_096.0),
    ("server.connections_per_address_max", 64.0),
    ("server.headers_max", 64.0),
    ("server.header_bytes_max", 32_768.0),
    ("server.header_read_timeout_seconds", 10.0),
    ("server.body_read_timeout_seconds", 15.0),
    ("server.request_timeout_seconds", 30.0),
    ("server.idle_timeout_seconds", 60.0),
    ("server.write_stall_seconds", 30.0),
    ("limits.body_bytes_max", 1_048_576.0),
    ("limits.batch_body_bytes_max", 8_388_608.0),
    ("limits.batch_items_max", 5_000.0),
    ("limits.json_depth_max", 32.0),
    ("limits.string_bytes_max", 256.0),
    ("limits.ingest_requests_max", 2_048.0),
    ("limits.ingest_bytes_max", 67_108_864.0),
    ("limits.other_requests_max", 256.0),
    ("limits.other_bytes_max", 16_777_216.0),
    ("limits.streams_max", 256.0),
    ("limits.streams_per_key_max", 8.0),
    ("limits.page_size_max", 1_000.0),
    ("rate_limits.check_drift_per_minute_max", 10.0),
    ("rate_limits.buckets_max", 100_000.0),
    ("limits.metadata_bytes_max", 8_192.0),
    ("sessions.idle_minutes", 30.0),
    ("sessions.hours_max", 12.0),
    ("tls.handshake_timeout_seconds", 10.0),
    ("supervision.attempts_max", 5.0),
    ("supervision.chunk_events_max", 256.0),
    ("supervision.dead_letters_max", 10_000.0),
    ("webhook.timeout_seconds", 8.0),
];

/// A node on which `setting` is `value`, and what cannot be larger is not.
async fn lowered(setting: &str, value: &Value) -> TestNode {
    TestNode::start_with(|mut config| {
        if ["limits.ingest_bytes_max", "limits.other_bytes_max"].contains(&setting) {
            for body in ["limits.body_bytes_max", "limits.batch_body_bytes_max"] {
                config = config.with(body, 1_510).unwrap();
            }
        }
        match value.as_i64() {
            Some(value) => config.with(setting, value).unwrap(),
            None => config.with(setting, value.as_f64().unwrap()).unwrap(),
        }
    })
    .await
}

async fn ask(client: &Client, (method, path, body, is_known): Ask) -> Option<Answer> {
    let stranger = client.with_key(None);
    let client = if is_known { client } else { &stranger };
    let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
    let request = request.header("content-type", "application/json").body(body);
    client.try_send(request).await.ok()
}

/// What comes back over a connection of its own until it is closed.
async fn told(node: &TestNode, sent: &str) -> String {
    let mut stream = connected(node, sent).await;
    let mut told = Vec::new();
    // A reset instead of an end is a close as well.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut told)).await.expect("it is hung up on"));
    String::from_utf8_lossy(&told).into_owned()
}

async fn connected(node: &TestNode, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.node().address()).await.unwrap();
    let sent = sent.replace("{key}", node.client().key().unwrap());
    // Whoever is hung up on in the middle of what they say notices when they listen.
    drop(stream.write_all(sent.as_bytes()).await);
    stream
}

/// The value of `series` at `/metrics`, which its owner reads from a connection that no limit of the network closes.
fn shown(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_shown_by_name_and_run_into() {
    // Given a node as it ships,
    let node = TestNode::start().await;
    let metrics = node.client().get("/metrics").await.body.as_str().unwrap().to_owned();
    node.stop().await;
    // then it shows the limits that were decided on,
    let series = |setting: &str| format!("smart_maintenance_limit{{setting=\"{setting}\"}}");
    for (setting, default) in DEFAULTS {
        assert_eq!(shown(&metrics, &series(setting)), Some(default), "{setting}");
    }
    // none of them without a trial,
    let name =
        |line: &str| Some(line.strip_prefix("smart_maintenance_limit{setting=\"")?.split('"').next()?.to_owned());
    let known: BTreeSet<String> = metrics.lines().filter_map(name).collect();
    let tried: BTreeSet<String> = trials().iter().map(|(setting, ..)| (*setting).to_owned()).collect();
    assert_eq!(known, tried, "limits at /metrics, and limits that are tested");
    // and each of them holds.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (setting, value, trial) in trials() {
        if let Elsewhere(file, test) = trial {
            let source = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(source.contains(&format!("fn {test}()")), "{setting}: there is no {test} in {file}");
            continue;
        }
        let node = lowered(setting, &value).await;
        let client = node.client();
        match trial {
            Asks(asks, status) => {
                let mut last = None;
                for each in asks {
                    last = ask(client, each).await;
                }
                let last = last.unwrap();
                assert_eq!(last.status.as_u16(), status, "{setting}: {}", last.body);
                let waits = [429, 503].contains(&status);
                assert!(!waits || last.headers.contains_key("retry-after"), "{setting}");
            }
            Sends(sent, start) => {
                let began = Instant::now();
                let told = told(&node, &sent).await;
                assert!(told.starts_with(start), "{setting}: {told:?}");
                assert!(began.elapsed() < Duration::from_secs(10), "{setting}: {:?}", began.elapsed());
            }
            Holds(sent, each, status) => {
                let mut held = connected(&node, &sent).await;
                if !sent.is_empty() {
                    let mut interim = [0; 12];
                    held.read_exact(&mut interim).await.unwrap();
                    assert_eq!(&interim, b"HTTP/1.1 100", "{setting}");
                }
                let answer = ask(client, each).await;
                assert_eq!(answer.map_or(0, |answer| answer.status.as_u16()), status, "{setting}");
            }
            Elsewhere(..) => {}
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_that_fill_their_room_keep_people_from_nothing() {
    // Given a node whose room for readings is taken,
    let node = lowered("limits.ingest_requests_max", &json!(1)).await;
    let mut held = connected(&node, &head("/api/v1/data/ingest", "content-length: 10\r\nexpect: 100-continue")).await;
    held.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(ask(node.client(), READING).await.unwrap().status, 503);
    // when somebody asks for something else, then it is done.
    let answer = ask(node.client(), REPORT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_drain_seconds() {
    // Given a request whose body does not come,
    let node = lowered("server.drain_seconds", &json!(1)).await;
    let mut held = connected(&node, &head("/api/v1/data/ingest", "content-length: 10\r\nexpect: 100-continue")).await;
    held.read_exact(&mut [0; 12]).await.unwrap();
    // when the node stops, then it waits for it that long and no longer.
    let began = Instant::now();
    node.stop().await;
    assert!((1.0..5.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_counted_per_address() {
    let node = lowered("rate_limits.failed_logins_per_minute_max", &json!(2)).await;
    let wrong = node.client().with_key(Some("wrong"));
    for _ in 0..2 {
        assert_eq!(wrong.get("/api/v1/cases").await.status, 403);
    }
    let refused = wrong.get("/api/v1/cases").await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(node.client().get("/api/v1/cases").await.status, 200, "a key that cannot be guessed goes on working");
    node.stop().await;
}
