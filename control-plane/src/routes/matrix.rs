//! Every route, every method, every kind of caller: who gets in is what the table says, and nobody else.

use super::{ROUTES, Route, Router, Scope, all, entry, params};
use crate::access::{Access, NewKey, SCOPES, new_key};
use crate::node::Node;
use crate::request::fresh_correlation;
use crate::server::answer;
use bytes::Bytes;
use config::Config;
use domain::Timestamp;
use http_body_util::Full;
use persistence::admin::Change;
use runtime::Clock;
use std::collections::BTreeSet;
use std::time::Duration;
use warp::http::Request;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// A kind of caller.
struct Identity {
    name: String,
    headers: Vec<(&'static str, String)>,
    /// What it may do; `None` when nobody should know it.
    scopes: Option<Vec<String>>,
    /// It may only read.
    reads_only: bool,
}

impl Identity {
    fn with_key(name: &str, key: &str, scopes: Option<Vec<String>>) -> Self {
        Self { name: name.to_owned(), headers: vec![("x-api-key", key.to_owned())], scopes, reads_only: false }
    }

    fn may(&self, route: &Route) -> bool {
        let known = self.scopes.as_ref().filter(|_| !self.reads_only || route.method == "GET");
        match (route.scope, known) {
            (Scope::Public, _) | (Scope::AnyKey, Some(_)) => true,
            (Scope::Needs(needed) | Scope::Metrics(needed), Some(scopes)) => scopes.iter().any(|scope| scope == needed),
            (_, None) => false,
        }
    }
}

async fn made(node: &Node, name: &str, scopes: &[&str], ends: Option<Timestamp>) -> NewKey {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let key = new_key(name, scopes, node.app().now(), ends).expect("a key");
    node.app().store.admin(Change::CreateKey(key.kept.clone())).await.expect("kept");
    key
}

/// Callers without a session.
async fn identities(node: &Node) -> Vec<Identity> {
    let now = node.app().now();
    let all_scopes = || Some(SCOPES.map(str::to_owned).to_vec());
    let expired = made(node, "expired", &SCOPES, Some(now)).await;
    let revoked = made(node, "revoked", &SCOPES, None).await;
    node.app().store.admin(Change::RevokeKey { id: revoked.kept.id, at: now }).await.expect("taken back");
    let replaced = made(node, "replaced", &SCOPES, None).await;
    let successor = new_key("replaced", SCOPES.map(str::to_owned).to_vec(), now, None).expect("a key");
    let rotation = Change::RotateKey { id: replaced.kept.id, successor: successor.kept.clone(), ends_at: now };
    node.app().store.admin(rotation).await.expect("replaced");
    let mut bad_check = node.first_key().expect("the first key").to_owned();
    let last = bad_check.pop().expect("it is not empty");
    bad_check.push(if last == 'a' { 'b' } else { 'a' });
    let unknown = new_key("unknown", SCOPES.map(str::to_owned).to_vec(), now, None).expect("a key");
    let stale_cookie = vec![("cookie", "smart-maintenance=0000000000".to_owned())];
    let mut identities = vec![
        Identity { name: "no key".to_owned(), headers: vec![], scopes: None, reads_only: false },
        Identity::with_key("garbage", "garbage", None),
        Identity::with_key("bad checksum", &bad_check, None),
        Identity::with_key("well-formed but unknown", &unknown.secret, None),
        Identity::with_key("expired", &expired.secret, None),
        Identity::with_key("revoked", &revoked.secret, None),
        Identity::with_key("replaced and past the overlap", &replaced.secret, None),
        Identity { name: "unknown session".to_owned(), headers: stale_cookie, scopes: None, reads_only: false },
        Identity::with_key("successor", &successor.secret, all_scopes()),
        Identity::with_key("all scopes", node.first_key().expect("the first key"), all_scopes()),
    ];
    let none = made(node, "no scopes", &[], None).await;
    identities.push(Identity::with_key("no scopes", &none.secret, Some(vec![])));
    for scope in SCOPES {
        let key = made(node, &format!("only {scope}"), &[scope], None).await;
        identities.push(Identity::with_key(&format!("only {scope}"), &key.secret, Some(key.kept.scopes)));
    }
    identities
}

/// Callers with a session of the first key. A request may end or renew one, so that each cell gets its own.
async fn sessions(node: &Node) -> Vec<Identity> {
    let app = node.app();
    let access: &Access = &app.access;
    let headers = [("x-api-key".parse().expect("a name"), node.first_key().expect("a key").parse().expect("a value"))];
    let owner = access
        .check(entry("GET", "/health/db"), &headers.into_iter().collect(), None)
        .await
        .expect("the first key opens everything");
    let (opened, cookie) = access.open_session(app, &owner, &fresh_correlation()).await.expect("a session");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let with = |name: &str, more: &[(&'static str, &str)], reads_only| {
        let mut headers = vec![("cookie", cookie.clone()), ("host", "here".to_owned())];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Identity { name: name.to_owned(), headers, scopes: Some(owner.scopes.to_vec()), reads_only }
    };
    let csrf = opened.csrf.as_str();
    vec![
        with("session without its token", &[("sec-fetch-site", "same-origin")], true),
        with("session from elsewhere", &[("sec-fetch-site", "cross-site"), ("x-csrf-token", csrf)], true),
        with("session of another origin", &[("origin", "https://evil"), ("x-csrf-token", csrf)], true),
        with("session of no origin", &[("x-csrf-token", csrf)], true),
        with("session", &[("sec-fetch-site", "same-origin"), ("x-csrf-token", csrf)], false),
    ]
}

async fn status(routes: &Router, identity: &Identity, method: &str, path: &str) -> u16 {
    let mut request = Request::builder().method(method).uri(path).header("content-length", "0");
    for (name, value) in &identity.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::new())).expect("a request");
    answer(routes.clone(), request, "192.0.2.1:1".parse().expect("an address")).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how much was tried is part of the result")]
async fn nobody_gets_in_beyond_what_the_table_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let raised = ["requests_per_second_max", "strangers_per_second_max", "changes_per_minute_max"];
    let more = ["simulations_per_minute_max", "reports_per_minute_max", "failed_logins_per_minute_max"];
    let mut config = Config::defaults()
        .with("store.data_dir", dir.path().to_str().expect("Unicode"))
        .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
        .expect("known settings");
    for limit in raised.into_iter().chain(more) {
        config = config.with(&format!("rate_limits.{limit}"), 1_000_000).expect("a known setting");
    }
    let node = Node::start(config, Clock::System).await.expect("a node");
    let routes = all(node.app());
    let identities = identities(&node).await;
    let mut with_session = sessions(&node).await;
    let paths: BTreeSet<String> = ROUTES
        .iter()
        .map(|route| {
            let segment =
                |segment: &str| if segment.starts_with('{') { "nobody".to_owned() } else { segment.to_owned() };
            route.pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
        })
        .collect();
    let (mut n_cells, mut unexpected) = (0, Vec::new());
    for path in &paths {
        for method in METHODS {
            let route = ROUTES.iter().find(|route| route.method == method && params(route.pattern, path).is_some());
            if path.starts_with("/api/v1/sessions") {
                with_session = sessions(&node).await;
            }
            for idx in 0..identities.len() + with_session.len() {
                let identity = identities.get(idx).unwrap_or_else(|| &with_session[idx - identities.len()]);
                let status = status(&routes, identity, method, path).await;
                let as_expected = match route {
                    None => matches!(status, 404 | 405),
                    // What becomes of it is the handler's business; that it was let in is not.
                    Some(route) if identity.may(route) => status != 403 || route.scope == Scope::Public,
                    Some(_) => status == 403,
                };
                if !as_expected {
                    unexpected.push(format!("{} {method} {path}: {status}", identity.name));
                }
                n_cells += 1;
                let ends_sessions = path.starts_with("/api/v1/sessions") && identities.len() <= idx;
                if ends_sessions && !identity.reads_only {
                    with_session = sessions(&node).await;
                }
            }
        }
    }
    println!("{n_cells} cells, {} unexpected", unexpected.len());
    assert!(unexpected.is_empty(), "{} of {n_cells} cells:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(5_000 < n_cells, "{n_cells} cells only");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_node_lets_strangers_change_neither_keys_nor_settings() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config::defaults()
        .with("store.data_dir", dir.path().to_str().expect("Unicode"))
        .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
        .and_then(|config| config.with("access.anonymous", true))
        .expect("known settings");
    let node = Node::start(config, Clock::System).await.expect("a node");
    let routes = all(node.app());
    let stranger = Identity { name: "stranger".to_owned(), headers: vec![], scopes: None, reads_only: false };
    for (method, path, let_in) in [
        ("GET", "/api/v1/cases", true),
        ("GET", "/api/v1/agents", true),
        ("POST", "/api/v1/agents/nobody/pause", false),
        ("GET", "/api/v1/keys", false),
        ("POST", "/api/v1/keys", false),
        ("POST", "/api/v1/keys/nobody/revoke", false),
        ("POST", "/api/v1/sessions", false),
        ("POST", "/api/v1/sessions/links", false),
    ] {
        assert_eq!(status(&routes, &stranger, method, path).await != 403, let_in, "{method} {path}");
    }
    // Its end is as orderly as if somebody had a key.
    tokio::time::timeout(Duration::from_secs(30), node.stop()).await.expect("it stops");
}
