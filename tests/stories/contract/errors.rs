//! What the routes answer when something is wrong with a request: each error of their entries.

use super::{Document, like, problem};
use control_plane::routes::{Body, Kind, Param, Presence, ROUTES, Route, Scope};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tests::client::{Answer, Client};
use tests::node::TestNode;

fn method(route: &Route) -> Method {
    Method::from_bytes(route.method.as_bytes()).unwrap()
}

/// The route's path, with something that is not there in place of each parameter.
fn path(route: &Route) -> String {
    let part = |part: &str| if part.starts_with('{') { "nobody".to_owned() } else { part.to_owned() };
    route.pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A value that `kind` cannot be.
fn garbage(kind: &Kind) -> Option<Value> {
    match kind {
        // Text takes any text; in a body, a number is none.
        Kind::Text | Kind::Any => None,
        Kind::Number(..) | Kind::Int(..) | Kind::Flag | Kind::Day | Kind::Uuid | Kind::OneOf(_) | Kind::Time => {
            Some(json!("garbage"))
        }
        Kind::List(_) | Kind::Object(_) | Kind::Map(_) | Kind::AnyOf(_) => Some(json!("garbage")),
    }
}

/// A body that a route would take, as far as its form goes.
fn body(members: &[Param]) -> Map<String, Value> {
    fn value(kind: &Kind) -> Value {
        match kind {
            Kind::Number(..) | Kind::Int(..) => json!(1),
            Kind::Flag => json!(true),
            Kind::Time => json!("2026-01-01T00:00:00Z"),
            Kind::Day => json!("2026-01-01"),
            Kind::Uuid => json!(uuid::Uuid::nil()),
            Kind::OneOf(names) => json!(names[0]),
            Kind::List(_) => json!([]),
            Kind::Object(_) | Kind::Map(_) => json!({}),
            Kind::Text | Kind::Any => json!("text"),
            Kind::AnyOf(kinds) => value(&kinds[0]),
        }
    }
    let required = members.iter().filter(|member| member.presence == Presence::Required);
    required.map(|member| (member.name.to_owned(), value(&member.kind))).collect()
}

fn held(document: &mut Document, route: &Route, answer: &Answer, status: u16, told: &str) {
    let at = format!("{} {}", route.method, route.pattern);
    assert_eq!(answer.status.as_u16(), status, "{at} ({told}): {}", answer.body);
    like(&problem(status), &answer.body, &at).unwrap();
    assert!(answer.detail().contains(told), "{at} should tell of {told}: {}", answer.body);
    document.hold(route.method, route.pattern, answer);
}

async fn sent(client: &Client, route: &Route, body: &Value) -> Answer {
    client.send(client.request(method(route), &path(route)).json(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_told_what_is_wrong_with_them_on_every_route() {
    let node = TestNode::start_with(|config| config.with("limits.body_bytes_max", 2_000).unwrap()).await;
    let client = node.client();
    let mut document = Document::of(client).await;
    let stranger = client.with_key(None);
    for route in ROUTES {
        if !matches!(route.scope, Scope::Public | Scope::Metrics(_)) {
            let refused = stranger.send(stranger.request(method(route), &path(route))).await;
            held(&mut document, route, &refused, 403, "API key");
        }
        for param in route.query {
            let Some(Value::String(garbage)) = garbage(&param.kind) else { continue };
            let asked = format!("{}?{}={garbage}", path(route), param.name);
            let refused = client.send(client.request(method(route), &asked)).await;
            held(&mut document, route, &refused, 422, &format!("query → {}", param.name));
        }
        if route.method == "POST" {
            let keyed = client.request(method(route), &path(route)).header("idempotency-key", "k".repeat(256));
            let refused = client.send(keyed.json(&body(route.members))).await;
            held(&mut document, route, &refused, 422, "header → Idempotency-Key");
        }
        if route.body == Body::Item && !route.members.is_empty() && !route.pattern.contains('{') {
            let refused = sent(client, route, &json!([])).await;
            held(&mut document, route, &refused, 422, "body: Input should be a valid dictionary");
            let refused = sent(client, route, &json!("x".repeat(2_000))).await;
            held(&mut document, route, &refused, 413, "larger than 2000 bytes");
            for member in route.members {
                let mut members = body(route.members);
                if member.presence == Presence::Required {
                    members.remove(member.name);
                    let refused = sent(client, route, &json!(members)).await;
                    held(&mut document, route, &refused, 422, &format!("body → {}: Field required", member.name));
                }
                let Some(garbage) = garbage(&member.kind) else { continue };
                members.insert(member.name.to_owned(), garbage);
                let refused = sent(client, route, &json!(members)).await;
                held(&mut document, route, &refused, 422, &format!("body → {}", member.name));
            }
        }
        if route.pattern.contains('{') && route.body == Body::None {
            let missing = sent(client, route, &json!({})).await;
            held(&mut document, route, &missing, 404, "");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_as_the_first_time_on_every_route_that_keeps_answers() {
    let node = TestNode::start().await;
    let client = node.client();
    let keyed = async |path: &str, body: &Value| {
        client.send(client.request(Method::POST, path).header("idempotency-key", "k").json(body)).await
    };
    // A route whose handler knows nothing of keys:
    let path = "/api/v1/agents/drift/restart";
    let first = keyed(path, &json!({})).await.ok();
    client.until_idle().await.unwrap();
    let again = keyed(path, &json!({})).await.ok();
    assert_eq!(first, again, "the answer is that of the first time, however often it restarted since");
    // The scope of a key is its route: elsewhere it is another one.
    keyed("/api/v1/agents/drift/pause", &json!({})).await.ok();
    let other = keyed("/api/v1/agents/learning/restart", &json!({})).await;
    assert_eq!(other.status, 422, "the same route for another agent is another request: {}", other.body);
    // And one that keeps it in its own commit:
    let body = json!({ "request_id": "q", "decision": "approved", "operator_id": "ana" });
    let first = keyed("/api/v1/decisions/submit", &body).await.ok();
    assert_eq!(keyed("/api/v1/decisions/submit", &body).await.ok(), first);
    let other = json!({ "request_id": "q", "decision": "declined", "operator_id": "ana" });
    assert_eq!(keyed("/api/v1/decisions/submit", &other).await.status, 422);
    assert_eq!(client.get("/api/v1/decisions").await.ok().as_array().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_not_begun_again_and_one_that_nobody_carries_out_times_out() {
    // Given a node on which nobody books technicians,
    let node = TestNode::start().await;
    let client = node.client();
    let mut document = Document::of(client).await;
    client.post("/api/v1/agents/scheduling/pause", &json!({})).await.ok();
    let path = "/api/v1/maintenance/schedule";
    let body = json!({ "sensor_id": "s", "predicted_failure_date": "2099-01-01", "time_to_failure_days": 30 });
    let ask = || client.send(client.request(Method::POST, path).header("idempotency-key", "k").json(&body));
    // when the same request comes twice at once,
    let (one, other) = tokio::join!(ask(), ask());
    // then the later one is told to wait, and the earlier one when its time is up.
    let (later, earlier) = if one.status == 409 { (one, other) } else { (other, one) };
    assert_eq!((later.status.as_u16(), earlier.status.as_u16()), (409, 504), "{} {}", later.body, earlier.body);
    assert!(later.headers.contains_key("retry-after"));
    document.hold("POST", path, &later);
    document.hold("POST", path, &earlier);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_no_readings_says_so() {
    let node = TestNode::start().await;
    let client = node.client();
    let mut document = Document::of(client).await;
    client.post("/api/v1/agents/data_acquisition/pause", &json!({})).await.ok();
    let body = json!({ "sensor_id": "s", "value": 1.0, "num_samples": 1, "num_anomalies": 1 });
    for route in ROUTES.iter().filter(|route| route.pattern.contains("/simulate/") || route.pattern.contains("/ingest"))
    {
        let body = if route.body == Body::Batch { json!([body]) } else { body.clone() };
        let refused = sent(client, route, &body).await;
        held(&mut document, route, &refused, 503, "data_acquisition");
    }
    node.stop().await;
}
