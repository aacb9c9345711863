//! Connections: accepted within limits, timed, answered, and drained at the end.
//!
//! warp has a server too, but it sets no time-outs and no limits; only its filters are used.

use crate::app::App;
use crate::connection::{Busy, Timed};
use crate::reply;
use crate::routes::{self, REQUEST_ID};
use config::ConfigError;
use dashmap::DashMap;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Part;
use runtime::metrics::Limit;
use serde::Deserialize;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use uuid::Uuid;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Request};
use warp::reply::Response;

/// Longest id of a request that is taken from its caller.
const REQUEST_ID_BYTES_MAX: usize = 255;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Pause after the system refused to accept a connection, which it does when it runs out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// `[server]`: where to listen, and what a connection may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// Seconds for a request's head.
    pub(crate) header_read_timeout_seconds: f64,
    /// Seconds for its body.
    pub(crate) body_read_timeout_seconds: f64,
    /// Seconds without a request after which a connection is closed.
    pub(crate) idle_timeout_seconds: f64,
    /// Open connections.
    pub(crate) connections_max: usize,
    /// Open connections from one address.
    pub(crate) connections_per_address_max: usize,
    /// Seconds that requests under way get at the end.
    pub(crate) drain_seconds: f64,
}

impl Settings {
    /// Refuses what nothing can be served with.
    ///
    /// # Errors
    ///
    /// The setting and why.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, reason: &str| {
            let (key, reason) = (format!("server.{key}"), reason.to_owned());
            Err(ConfigError::Refused { key, reason, origin: "the merged settings".to_owned() })
        };
        let times = [
            ("header_read_timeout_seconds", self.header_read_timeout_seconds),
            ("body_read_timeout_seconds", self.body_read_timeout_seconds),
            ("idle_timeout_seconds", self.idle_timeout_seconds),
            ("drain_seconds", self.drain_seconds),
        ];
        if let Some((key, _)) = times.into_iter().find(|(_, seconds)| !(0.001..=86_400.0).contains(seconds)) {
            return refused(key, "must be from 0.001 to 86400");
        }
        if self.connections_max == 0 || Semaphore::MAX_PERMITS < self.connections_max {
            return refused("connections_max", "must be at least 1, and not astronomical");
        }
        if self.connections_per_address_max == 0 {
            return refused("connections_per_address_max", "must be at least 1");
        }
        Ok(())
    }
}

/// The peer of the connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

type Routes = BoxedFilter<(Response,)>;

struct Server {
    settings: Settings,
    app: App,
    listener: TcpListener,
    routes: Routes,
    slots: Arc<Semaphore>,
    per_address: Arc<DashMap<IpAddr, usize>>,
    connections: TaskTracker,
    /// Take no more connections, and no more requests on those that are open.
    stop: CancellationToken,
    /// Close those that are still open.
    cut: CancellationToken,
}

/// The essential part that serves `app` on `listener`.
pub(crate) fn part(settings: Settings, app: App, listener: TcpListener) -> Part {
    let server = Arc::new(Server {
        routes: routes::all(&app),
        slots: Arc::new(Semaphore::new(settings.connections_max)),
        per_address: Arc::default(),
        connections: TaskTracker::new(),
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        settings,
        app,
        listener,
    });
    let stop = server.stop.clone();
    Part::new(
        "edge",
        move || {
            let server = Arc::clone(&server);
            async move {
                server.accept().await;
                server.drain().await;
                Ok(())
            }
        },
        move || stop.cancel(),
    )
}

impl Server {
    async fn accept(&self) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                // A connection for which there is no room is closed at once.
                Ok((stream, peer)) => {
                    if let Some(place) = self.place(peer.ip()) {
                        self.serve(stream, peer, place);
                    }
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connections cannot be accepted now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place for one more connection from `address`, if there is one left.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let refused = |limit| {
            self.app.metrics.limit_reached(limit);
            None
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return refused(Limit::Connections) };
        let mut open = self.per_address.entry(address).or_default();
        if self.settings.connections_per_address_max <= *open {
            return refused(Limit::ConnectionsPerAddress);
        }
        *open += 1;
        drop(open);
        Some(Place { address, per_address: Arc::clone(&self.per_address), _slot: slot })
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        let busy = Busy::default();
        let head_timeout = Duration::from_secs_f64(self.settings.header_read_timeout_seconds);
        let stream = TokioIo::new(Timed::new(stream, busy.clone(), head_timeout));
        let routes = self.routes.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (routes, working) = (routes.clone(), busy.begin());
            async move {
                let response = answer(routes, request, peer).await;
                drop(working);
                Ok::<_, Infallible>(reply::opened(response))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // As long as a connection may idle; a head that has begun is timed by the stream.
            .header_read_timeout(Duration::from_secs_f64(self.settings.idle_timeout_seconds))
            .max_headers(HEADERS_MAX)
            .serve_connection(stream, service);
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        self.connections.spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection => ended,
                        () = cut.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }

    /// Lets requests under way finish, for as long as the settings allow.
    async fn drain(&self) {
        self.connections.close();
        let drain = Duration::from_secs_f64(self.settings.drain_seconds);
        if tokio::time::timeout(drain, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "requests under way were cut off at the end");
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

/// An open connection's share of the limits. Given back when dropped.
struct Place {
    address: IpAddr,
    per_address: Arc<DashMap<IpAddr, usize>>,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.per_address.entry(self.address).and_modify(|open| *open -= 1);
        self.per_address.remove_if(&self.address, |_, open| *open == 0);
    }
}

/// The response to `request`. Both bear the same id, which is the caller's if it sent one.
pub(crate) async fn answer<B>(routes: Routes, mut request: Request<B>, peer: SocketAddr) -> Response
where
    B: hyper::body::Body + Send + Sync + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const NAME: HeaderName = HeaderName::from_static(REQUEST_ID);
    let id = id_of(request.headers()).unwrap_or_else(fresh_id);
    request.headers_mut().insert(NAME, id.clone());
    request.extensions_mut().insert(Peer(peer));
    let Ok(mut response) = warp::service(routes).call(request).await;
    response.headers_mut().insert(NAME, id);
    response
}

fn id_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let text = id.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX).then(|| id.clone())
}

fn fresh_id() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("a UUID is visible ASCII")
}

/// Errors that concern the connection that was to be accepted, and no other.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use crate::Node;
    use config::Config;
    use runtime::{AgentStatus, Clock, State};
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    async fn node(settings: &[(&str, i64)]) -> (Node, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config::defaults()
            .with("store.data_dir", dir.path().to_str().expect("Unicode"))
            .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
            .expect("known settings");
        let set = |config: Config, (name, value): &(&str, i64)| config.with(name, *value).expect("a known setting");
        let config = settings.iter().fold(config, set);
        (Node::start(config, Clock::System).await.expect("a node"), dir)
    }

    /// What comes back on a connection of its own until it is closed.
    async fn told(node: &Node, sent: &str) -> String {
        let mut stream = TcpStream::connect(node.address()).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut told = String::new();
        // A reset instead of an end is a close as well.
        drop(stream.read_to_string(&mut told).await);
        told
    }

    const LIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_client_is_cut_off_and_told_why_where_it_can_be() {
        let settings = [("server.header_read_timeout_seconds", 1), ("server.body_read_timeout_seconds", 1)];
        let (node, _dir) = node(&settings).await;
        for head in ["", "GET /livez HTTP/1.1\r\nhost:"] {
            let began = Instant::now();
            assert_eq!(told(&node, head).await, "", "{head:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{head:?}");
        }
        let key = node.first_key().expect("the first key");
        for framing in ["content-length: 10", "transfer-encoding: chunked"] {
            let head = format!("POST /api/v1/data/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n{framing}\r\n\r\n");
            let told = told(&node, &head).await;
            assert!(told.starts_with("HTTP/1.1 408 "), "{framing}: {told}");
        }
        node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chunked_body_is_limited_too() {
        let (node, _dir) = node(&[("limits.body_bytes_max", 100)]).await;
        let key = node.first_key().expect("the first key");
        let head = format!(
            "POST /api/v1/data/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n"
        );
        let told = told(&node, &format!("{head}65\r\n{}\r\n0\r\n\r\n", "x".repeat(0x65))).await;
        assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
        node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_address_cannot_take_all_connections() {
        let (node, _dir) = node(&[("server.connections_per_address_max", 2)]).await;
        let held = [TcpStream::connect(node.address()).await, TcpStream::connect(node.address()).await];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(told(&node, LIVE).await, "", "a third connection is closed");
        drop(held);
        // The places come back as soon as the server notices.
        while !told(&node, LIVE).await.starts_with("HTTP/1.1 200 ") {
            tokio::task::yield_now().await;
        }
        node.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_under_way_is_answered_before_the_end() {
        // Given a request whose body is not complete when the node is told to stop,
        let (node, _dir) = node(&[]).await;
        let key = node.first_key().expect("the first key").to_owned();
        let body = r#"{"sensor_id":"s","value":1}"#;
        let head = format!(
            "POST /api/v1/data/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(node.address()).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.expect("the server asks for the body");
        assert!(interim.starts_with(b"HTTP/1.1 100 "));
        // when the rest comes while it stops,
        let runtime = node.runtime().clone();
        let (told, ()) = tokio::join!(
            async {
                let is_running = |agent: &AgentStatus| agent.name == "edge" && agent.state == State::Running;
                while runtime.status().await.expect("a status").iter().any(is_running) {
                    tokio::task::yield_now().await;
                }
                stream.write_all(body.as_bytes()).await.expect("sent");
                let mut told = String::new();
                stream.read_to_string(&mut told).await.expect("an answer and the end");
                told
            },
            node.stop()
        );
        // then it is stored and answered, and the connection ends.
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
}
