//! Who gets in.

use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use tests::node::TestNode;
use tests::process::{Process, program};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program().unwrap()).args(arguments).arg("--data-dir").arg(folder).output().unwrap()
}

/// What `smart-maintenance` with these arguments says about `folder`.
fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_changes_keys_while_a_node_runs_and_while_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let node = Process::start(folder.path(), None, &[]).unwrap();
    let client = node.client().clone();
    // Given a key that was made beside the running node,
    let first = told(folder.path(), &["keys", "create", "--name", "line-3", "--scopes", "data:read"]);
    assert_eq!(client.with_key(Some(&first)).get("/api/v1/cases").await.status, 200);
    assert_eq!(client.with_key(Some(&first)).get("/api/v1/agents").await.status, 403, "its scope is another");
    // when it is replaced, both work; when they are taken back, neither does, at once.
    let second = told(folder.path(), &["keys", "rotate", &first[..16]]);
    for key in [&first, &second] {
        assert_eq!(client.with_key(Some(key)).get("/api/v1/cases").await.status, 200);
    }
    assert!(told(folder.path(), &["keys", "list"]).contains("line-3"));
    // What is refused is refused in the node's own words.
    let refused = run(folder.path(), &["keys", "create", "--name", "line-3"]);
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("There is a key called \"line-3\" already") && !refused.contains("lock"), "{refused}");
    for key in [&first, &second] {
        told(folder.path(), &["keys", "revoke", &key[..16]]);
        assert_eq!(client.with_key(Some(key)).get("/api/v1/cases").await.status, 403);
    }
    // A link logs a browser in once.
    let link = told(folder.path(), &["keys", "link"]);
    let link = link.strip_prefix(client.base()).expect("a link begins with the node's address").to_owned();
    let stranger = client.with_key(None);
    let opened = stranger.get(&link).await;
    assert!(opened.headers.contains_key("set-cookie") || opened.status.is_success(), "{opened:?}");
    assert_eq!(stranger.get(&link).await.status, 403);
    // All of it is in the audit chain, which holds, also without a node.
    let events = client.get("/api/v1/events?limit=1000").await.ok().to_string();
    for kind in ["key_created", "key_rotated", "key_revoked", "session_opened"] {
        assert!(events.contains(kind), "{kind}");
    }
    assert!(told(folder.path(), &["audit", "verify"]).contains("holds"));
    node.kill().unwrap();
    let third = told(folder.path(), &["keys", "create", "--name", "line-4"]);
    told(folder.path(), &["keys", "rotate", &third[..16]]);
    assert!(told(folder.path(), &["keys", "list"]).contains("line-4"));
    assert!(told(folder.path(), &["audit", "verify"]).contains("holds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_keys_or_sessions_is_found_by_the_id_of_its_request() {
    let node = TestNode::start().await;
    let client = node.client();
    for (path, body, event) in [
        ("/api/v1/keys", json!({ "name": "line-3", "scopes": ["data:read"] }), "key_created"),
        ("/api/v1/sessions", json!({}), "session_opened"),
    ] {
        let asked = client.request(Method::POST, path).header("x-request-id", event).json(&body);
        client.send(asked).await.ok();
        let events = client.get(&format!("/api/v1/events?correlation_id={event}")).await.ok();
        assert_eq!(events["events"][0]["type"], event, "{events:#}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_when_its_maker_says_or_is_not_made() {
    let node = TestNode::start().await;
    let client = node.client();
    let make = |body: Value| async move { client.post("/api/v1/keys", &body).await };
    for (name, end) in [("days", json!({ "expires_days": 90 })), ("hours", json!({ "expires_in_hours": 90 * 24 }))] {
        let mut body = json!({ "name": name, "scopes": ["data:ingest"] });
        body.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
        let made = make(body).await.ok();
        let instant = |name: &str| made[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(instant("expires_at").duration_since(instant("created_at")).as_hours(), 90 * 24, "{made}");
    }
    // A slip of the pen is refused by its name, and so is a name that is taken, or none.
    for (body, status, told) in [
        (json!({ "name": "x", "expires_day": 90 }), 422, "body → expires_day: Extra inputs are not permitted"),
        (json!({ "name": "x", "expires_days": 1, "expires_in_hours": 1 }), 422, "body → expires_days: Give this or"),
        (json!({ "name": "" }), 422, "body → name: String should have at least 1 character"),
        (json!({ "name": "x".repeat(257) }), 422, "body → name: String should have at most 256 characters"),
        (json!({ "name": "days" }), 409, "There is a key called \"days\" already"),
    ] {
        let refused = make(body).await;
        assert_eq!(refused.status, status, "{told}");
        assert!(refused.detail().contains(told), "{told}: {}", refused.detail());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_only_the_open_routes_answer() {
    let node = TestNode::start().await;
    let stranger = node.client().with_key(None);
    for open in ["/", "/health", "/livez", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json"] {
        assert_eq!(stranger.get(open).await.status, 200, "{open}");
    }
    for closed in [
        "/health/db",
        "/health/redis",
        "/api/v1/agents",
        "/api/v1/cases",
        "/api/v1/sensors/readings",
        "/api/v1/decisions",
    ] {
        let answer = stranger.get(closed).await;
        assert_eq!(answer.status, 403, "{closed}");
        assert!(!answer.detail().is_empty(), "{closed} says why");
    }
    for closed in ["/api/v1/data/ingest", "/api/v1/demo/golden-path", "/api/v1/simulate/normal-data"] {
        assert_eq!(
            stranger.post(closed, &json!({})).await.status,
            403,
            "{closed}: a missing key comes before a bad body"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused_everywhere_but_on_the_open_routes() {
    let node = TestNode::start().await;
    for wrong in ["nonsense", "smk_000000000000_0000000000000000000000000000000000000000000000000"] {
        let answer = node.client().with_key(Some(wrong)).get("/api/v1/agents").await;
        assert_eq!(answer.status, 403);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_is_shown_once_and_goes_on_working() {
    let node = TestNode::start().await;
    let key = node.client().key().unwrap().to_owned();
    let folder = node.stop().await.unwrap();
    let node = TestNode::start_in(folder.path(), None, |config| config).await;
    assert!(node.client().key().is_none(), "the second start shows no key");
    assert_eq!(node.client().with_key(Some(&key)).get("/api/v1/agents").await.status, 200);
    node.stop().await;
}
