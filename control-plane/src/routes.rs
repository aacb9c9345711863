//! The routes: one table that says which there are and who may use them, and how a handler is mounted.
//!
//! A handler is mounted with its entry of the table, which is looked up when the program is compiled; so there
//! is no route without an entry, and none without an access check.

mod agents;
mod audit;
mod cases;
mod dead_letters;
mod decisions;
pub(crate) mod demo;
pub(crate) mod docs;
mod events;
pub(crate) mod health;
pub(crate) mod ingest;
mod keys;
mod lists;
mod maintenance;
#[cfg(test)]
mod matrix;
mod metrics;
pub(crate) mod ml;
mod pages;
mod plant;
mod reports;
mod root;
mod route;
mod router;
mod sensors;
mod sessions;
mod simulate;
mod stream;
mod table;
mod work_orders;

pub use route::{Answer, Body, Class, Kind, Param, Presence, Route, SchemaOf, Scope};
pub(crate) use router::{Mounted, Router};
pub(crate) use stream::Streams;
pub use table::ROUTES;

use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::{self, Reply};
use crate::request::{self, Call, Refusals, lax};
use crate::server::Peer;
use crate::trace_context::{self, Step};
use futures_util::FutureExt as _;
use router::{Answering, Params};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use table::entry;
use tracing::Instrument as _;
use warp::Filter as _;
use warp::http::{HeaderMap, Method};
use warp::path::FullPath;

/// The header that names a request. The server puts one into each request that brings none.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The pattern under which requests to no route are counted.
const UNMATCHED: &str = "unmatched";

/// All routes.
pub(crate) fn all(app: &App) -> Router {
    let mounted = Mounted::all([
        ingest::routes(app),
        sensors::routes(app),
        cases::routes(app),
        decisions::routes(app),
        maintenance::routes(app),
        work_orders::routes(app),
        plant::routes(app),
        reports::routes(app),
        events::routes(app),
        stream::routes(app),
        agents::routes(app),
        dead_letters::routes(app),
        lists::routes(app),
        demo::routes(app),
        simulate::routes(app),
        ml::routes(app),
        keys::routes(app),
        sessions::routes(app),
        audit::routes(app),
        health::routes(app),
        metrics::routes(app),
        root::routes(app),
        docs::routes(app),
    ]);
    Router::new(mounted, unmatched(app))
}

/// Answers requests to `route` by `handler`: after the caller was found to have its scope and its body was read.
fn mount<H, F>(app: &App, route: &'static Route, handler: H) -> Mounted
where
    H: Fn(App, Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, ApiError>> + Send + 'static,
{
    let app = app.clone();
    let answering = warp::ext::get::<Params>()
        .and(warp::query::<Vec<(String, String)>>())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Refusals>())
        .and(warp::body::stream())
        .then(move |Params(params), query, headers: HeaderMap, peer: Option<Peer>, refusals: Option<Refusals>, body| {
            let (app, handler, started) = (app.clone(), handler.clone(), Instant::now());
            async move {
                let request_id = request_id(&headers).to_owned();
                let span = tracing::info_span!("request", route = route.pattern, correlation_id = request_id);
                let step = Step::of(&headers);
                let mut standing = None;
                let told = &mut standing;
                let outcome = AssertUnwindSafe(
                    async {
                        let caller = app.access.check(route, &headers, peer).await?;
                        *told = Some(app.rates.take(route.class, caller.known_as(), peer).await?);
                        let (body, permit) = request::read_body(&app, route, &headers, body, refusals.as_ref()).await?;
                        request::check_depth(&app, route, &headers, &body)?;
                        let headers = headers.clone();
                        let call = Call { route, caller, peer, headers, params, query, body, permit };
                        request::once(&app, call, handler).await
                    }
                    .instrument(span),
                );
                // The panic itself was logged where it happened.
                let outcome = trace_context::within(step.for_events(), outcome.catch_unwind()).await;
                let outcome = outcome.unwrap_or(Err(ApiError::Internal));
                let outcome = outcome.map(|reply| if route.is_tagged() { reply.tagged(&headers) } else { reply });
                let outcome = outcome.map(|reply| reply.packed(&headers));
                let mut response = reply::respond(outcome, &request_id);
                step.tell(response.headers_mut());
                if let Some(standing) = standing {
                    standing.tell(response.headers_mut());
                }
                let (status, elapsed) = (response.status().as_u16(), started.elapsed());
                app.metrics.answered(route.pattern, route.method, status, elapsed);
                tracing::debug!(
                    method = route.method,
                    route = route.pattern,
                    status,
                    elapsed_seconds = elapsed.as_secs_f64(),
                    correlation_id = request_id,
                    "request answered"
                );
                response
            }
        })
        .boxed();
    Mounted::one(route, answering)
}

/// Answers what no route answered: another method, a slash too many, or nothing there.
fn unmatched(app: &App) -> Answering {
    let app = app.clone();
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .map(move |method: Method, path: FullPath, query: String, headers: HeaderMap| {
            let started = Instant::now();
            let response = reply::respond(elsewhere(path.as_str(), &query), request_id(&headers));
            let status = response.status().as_u16();
            app.metrics.answered(UNMATCHED, known_method(&method), status, started.elapsed());
            response
        })
        .boxed()
}

fn elsewhere(path: &str, query: &str) -> Result<Reply, ApiError> {
    let there = |path: &str| ROUTES.iter().filter(|route| params(route.pattern, path).is_some()).collect::<Vec<_>>();
    let methods: Vec<&str> = there(path).iter().map(|route| route.method).collect();
    if !methods.is_empty() {
        return Err(ApiError::MethodNotAllowed { allow: methods.join(", ") });
    }
    match path.strip_suffix('/') {
        Some(shorter) if !there(shorter).is_empty() => Ok(Reply::redirect(&match query {
            "" => shorter.to_owned(),
            query => format!("{shorter}?{query}"),
        })),
        _ => Err(ApiError::NotFound("Not Found".to_owned())),
    }
}

/// Reads the one of `values` that has the given name.
fn one_of<T: Copy, const N: usize>(
    values: [T; N],
    name: fn(T) -> &'static str,
) -> impl Fn(&serde_json::Value) -> Result<T, lax::Wrong> {
    lax::named(&values.map(name), move |given| values.into_iter().find(|value| name(*value) == given))
}

/// The request's id, which the server made sure of.
pub(crate) fn request_id(headers: &HeaderMap) -> &str {
    headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The values of the parameters of `pattern` in `path`, decoded; `None` when it does not match.
pub(crate) fn params(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(values),
            (Some(name), Some(segment)) if name.starts_with('{') && !segment.is_empty() => {
                values.push(decoded(segment)?);
            }
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
}

/// A path's segment without percent escapes; `None` when they make no text.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The method as a label: a client must not be able to make up new ones.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{NewKey, new_key};
    use crate::node::Node;
    use crate::server::answer;
    use bytes::Bytes;
    use config::{Config, ConfigError};
    use http_body_util::{BodyExt as _, Full};
    use persistence::admin::Change;
    use runtime::Clock;
    use serde_json::Value;
    use warp::http::{Request, StatusCode};
    use warp::reply::Response;

    /// A node in a folder of its own, and what it answers without a network in between.
    struct Bench {
        node: Node,
        routes: Router,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        async fn start() -> Self {
            Self::start_with(Ok).await
        }

        async fn start_with(change: impl FnOnce(Config) -> Result<Config, ConfigError>) -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let config = Config::defaults()
                .with("store.data_dir", dir.path().to_str().expect("Unicode"))
                .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
                .and_then(|config| config.with("limits.body_bytes_max", 1_000))
                .and_then(change)
                .expect("known settings");
            let node = Node::start(config, Clock::System).await.expect("a node");
            Self { routes: all(node.app()), node, _dir: dir }
        }

        fn key(&self) -> &str {
            self.node.first_key().expect("the first key")
        }

        async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (Response, Value) {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.header("content-length", body.len());
            let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
            let peer = "192.0.2.1:1".parse().expect("an address");
            let response = answer(self.routes.clone(), request, peer).await;
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            (warp::reply::Reply::into_response(warp::http::Response::from_parts(head, body)), value)
        }

        async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> StatusCode {
            self.ask(method, path, headers, "").await.0.status()
        }
    }

    fn concrete(route: &Route) -> String {
        route.pattern.replace("{name}", "nobody").replace(['{', '}'], "")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_route_is_mounted_and_lets_in_whom_its_entry_says() {
        let bench = Bench::start().await;
        for route in ROUTES {
            let path = concrete(route);
            let (stranger, _) = bench.ask(route.method, &path, &[], "").await;
            let is_public = route.scope == Scope::Public;
            assert_eq!(stranger.status() == StatusCode::FORBIDDEN, !is_public, "{route:?}: {}", stranger.status());
            let (owner, body) = bench.ask(route.method, &path, &[("x-api-key", bench.key())], "").await;
            assert_ne!(owner.status(), StatusCode::FORBIDDEN, "{route:?}");
            assert_ne!(owner.status(), StatusCode::METHOD_NOT_ALLOWED, "{route:?} is not mounted");
            assert_ne!(body["detail"], "Not Found", "{route:?} is not mounted");
            assert!(!owner.status().is_server_error(), "{route:?}: {} {body}", owner.status());
        }
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_opens_what_its_scopes_name_until_it_is_taken_back() {
        let bench = Bench::start().await;
        let NewKey { secret, kept } =
            new_key("reader", vec!["data:read".to_owned()], bench.node.app().now(), None).expect("a key");
        let store = &bench.node.app().store;
        store.admin(Change::CreateKey(kept.clone())).await.expect("kept");
        let key = [("authorization", format!("Bearer {secret}"))];
        let key = [(key[0].0, key[0].1.as_str())];
        for route in ROUTES {
            let opened = bench.status(route.method, &concrete(route), &key).await != StatusCode::FORBIDDEN;
            let needed = match route.scope {
                Scope::Needs(scope) | Scope::Metrics(scope) => scope == "data:read",
                Scope::Public | Scope::AnyKey => true,
            };
            assert_eq!(opened, needed, "{route:?}");
        }
        store.admin(Change::RevokeKey { id: kept.id, at: bench.node.app().now() }).await.expect("taken back");
        bench.node.app().access.forget(&kept.prefix);
        assert_eq!(bench.status("GET", "/api/v1/cases", &key).await, StatusCode::FORBIDDEN);
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn strangers_who_are_refused_too_often_are_told_to_wait_and_nobody_else_is() {
        // Given one refusal a second, and a key that is known,
        let bench = Bench::start_with(|config| config.with("rate_limits.strangers_per_second_max", 1)).await;
        let key = [("x-api-key", bench.key())];
        assert_eq!(bench.status("GET", "/api/v1/cases", &key).await, StatusCode::OK);
        let unknown = [("x-api-key", "smk_000000000000_0000000000000000000000000000000000000000000000000")];
        for stranger in [&[][..], &unknown[..]] {
            // when strangers go on asking, with no key or with one that looks well,
            let mut answers = Vec::new();
            while answers.len() < 50 {
                answers.push(bench.ask("GET", "/api/v1/cases", stranger, "").await.0);
            }
            // then they are told to wait,
            let policy = "\"strangers_per_second_max\";q=1;w=1";
            let is_told = |answer: &&Response| {
                answer.status() == StatusCode::TOO_MANY_REQUESTS && answer.headers()["ratelimit-policy"] == policy
            };
            let told = answers.iter().find(is_told).expect("one of fifty in a second is too many");
            assert_eq!(told.headers()["retry-after"], "1");
            // and whoever is known behind the same address is not.
            for _ in 0..50 {
                assert_eq!(bench.status("GET", "/api/v1/cases", &key).await, StatusCode::OK);
            }
        }
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn requests_to_no_route_are_told_apart() {
        let bench = Bench::start().await;
        let (there, body) = bench.ask("GET", "/api/v1/nothing", &[("x-request-id", "mine")], "").await;
        assert_eq!((there.status(), &body["detail"]), (StatusCode::NOT_FOUND, &Value::from("Not Found")));
        assert_eq!(
            (&there.headers()["x-request-id"], &body["instance"]),
            (&"mine".parse().expect("a value"), &Value::from("mine"))
        );
        let (other, body) = bench.ask("DELETE", "/api/v1/decisions", &[], "").await;
        assert_eq!(
            (other.status(), &body["detail"]),
            (StatusCode::METHOD_NOT_ALLOWED, &Value::from("Method Not Allowed"))
        );
        assert_eq!(other.headers()["allow"], "GET");
        let (slash, _) = bench.ask("GET", "/api/v1/cases/?limit=1", &[], "").await;
        assert_eq!(
            (slash.status(), &slash.headers()["location"]),
            (StatusCode::TEMPORARY_REDIRECT, &"/api/v1/cases?limit=1".parse().expect("a value"))
        );
        assert!(slash.headers().contains_key("x-request-id"));
        for path in ["///", "//localhost/", "/api/v1/cases/%ff", "/api/v1/cases/%zz", "/api/v1/cases//"] {
            assert_eq!(bench.status("GET", path, &[]).await, StatusCode::NOT_FOUND, "{path}");
        }
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_documentation_is_served_from_here_or_not_at_all() {
        let bench = Bench::start().await;
        let (document, body) = bench.ask("GET", "/openapi.json", &[], "").await;
        assert_eq!((document.status(), &body["openapi"]), (StatusCode::OK, &"3.1.0".into()));
        for path in ["/docs", "/redoc", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/read.js"] {
            let (page, _) = bench.ask("GET", path, &[], "").await;
            assert_eq!(page.status(), StatusCode::OK, "{path}");
        }
        assert_eq!(bench.status("GET", "/docs/none.js", &[]).await, StatusCode::NOT_FOUND);
        bench.node.stop().await;
        let bench = Bench::start_with(|config| config.with("docs.enabled", false)).await;
        for path in ["/openapi.json", "/docs", "/redoc", "/docs/swagger-ui.css"] {
            assert_eq!(bench.status("GET", path, &[]).await, StatusCode::NOT_FOUND, "{path}");
        }
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_that_panics_is_answered_for() {
        let bench = Bench::start().await;
        async fn fail(_: App, _: Call) -> Result<Reply, ApiError> {
            panic!("on purpose")
        }
        let app = bench.node.app();
        let failing = mount(app, const { entry("GET", "/livez") }, fail);
        let bench = Bench { routes: Router::new(failing, unmatched(app)), ..bench };
        let (response, body) = bench.ask("GET", "/livez", &[], "").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body["detail"], "Internal Server Error");
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reading_goes_in_once_and_comes_out() {
        let bench = Bench::start().await;
        let path = "/api/v1/data/ingest";
        let key = [("x-api-key", bench.key()), ("idempotency-key", "k1")];
        let body = r#"{"sensor_id":"s","value":"1.5","timestamp":"2025-10-02T12:00:00.25","location":"roof"}"#;
        let (first, told) = bench.ask("POST", path, &key, body).await;
        assert_eq!((first.status(), &told["status"]), (StatusCode::OK, &Value::from("event_published")), "{told}");
        let (_, again) = bench.ask("POST", path, &key, body).await;
        assert_eq!((&again["status"], &again["event_id"]), (&Value::from("duplicate_ignored"), &told["event_id"]));
        assert_ne!(again["correlation_id"], told["correlation_id"]);
        let (other, detail) = bench.ask("POST", path, &key, &body.replace("1.5", "2.5")).await;
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail["detail"].as_str().expect("a text").contains("header → Idempotency-Key"), "{detail}");

        let (_, readings) = bench.ask("GET", "/api/v1/sensors/readings?sensor_id=s", &key[..1], "").await;
        assert_eq!(readings.as_array().map(Vec::len), Some(1), "{readings}");
        assert_eq!(readings[0]["timestamp"], "2025-10-02T12:00:00.250000Z");
        assert_eq!((&readings[0]["sensor_type"], &readings[0]["value"]), (&Value::from("general"), &Value::from(1.5)));
        let (_, sensors) = bench.ask("GET", "/api/v1/sensors/sensors", &key[..1], "").await;
        assert_eq!(sensors[0]["last_reading"], "2025-10-02T12:00:00.250000+00:00");
        let correlation = told["correlation_id"].as_str().expect("a text");
        let (_, page) = bench.ask("GET", &format!("/api/v1/events?correlation_id={correlation}"), &key[..1], "").await;
        assert_eq!(page["events"][0]["type"], "readings_accepted", "{page}");
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_tells_of_each_bad_item() {
        let bench = Bench::start().await;
        let path = "/api/v1/data/ingest/batch";
        let lines = [("x-api-key", bench.key()), ("idempotency-key", "k"), ("content-type", "application/x-ndjson")];
        let body = "{\"sensor_id\":\"s\",\"value\":1}\n{\"sensor_id\":\" \",\"value\":1}\n{\"sensor_id\":\"s\"}\n";
        let (response, told) = bench.ask("POST", path, &lines, body).await;
        assert_eq!(
            (response.status(), &told["accepted"], &told["rejected"]),
            (StatusCode::OK, &1.into(), &2.into()),
            "{told}"
        );
        let blamed: Vec<_> =
            told["items"].as_array().expect("a list").iter().map(|item| (&item["index"], &item["field"])).collect();
        assert_eq!(blamed, [(&1.into(), &"sensor_id".into()), (&2.into(), &"value".into())]);
        let (_, again) = bench.ask("POST", path, &lines, body).await;
        assert_eq!(
            (&again["duplicate"], &again["event_id"], &again["items"]),
            (&true.into(), &told["event_id"], &told["items"])
        );
        let (none, told) = bench.ask("POST", path, &lines[..1], r#"[{"sensor_id":"s"}]"#).await;
        assert_eq!((none.status(), &told["rejected"]), (StatusCode::UNPROCESSABLE_ENTITY, &1.into()));
        assert!(told["detail"].as_str().expect("a text").contains("value"), "{told}");
        bench.node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bad_bodies_are_refused_for_what_they_are() {
        let bench = Bench::start().await;
        let cases = [
            ("", "application/json", 422, "body: Field required"),
            ("{", "application/json", 422, "JSON decode error"),
            ("{}", "text/plain", 422, "body: Input should be a valid dictionary"),
            ("[]", "application/json", 422, "body: Input should be a valid dictionary"),
            (
                r#"{"sensor_id":"s","value":NaN}"#,
                "application/json",
                422,
                "body → value: Input should be a finite number",
            ),
            (
                r#"{"sensor_id":"s","value":1,"sensor_type":"current"}"#,
                "application/json",
                422,
                "body → sensor_type: Input should be 'temperature',",
            ),
            (r#"{"sensor_id":"","value":1}"#, "application/json", 422, "body → sensor_id"),
            (&"x".repeat(2_000), "application/json", 413, "larger than 1000 bytes"),
        ];
        for (body, media, status, expected) in cases {
            let headers = [("x-api-key", bench.key()), ("content-type", media)];
            let (response, told) = bench.ask("POST", "/api/v1/data/ingest", &headers, body).await;
            assert_eq!(response.status().as_u16(), status, "{body}: {told}");
            assert!(told["detail"].as_str().expect("a text").contains(expected), "{body}: {told}");
        }
        bench.node.stop().await;
    }
}
