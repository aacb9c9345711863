//! Connections: accepted within limits, timed, answered, and drained at the end.
//!
//! warp has a server too, but it sets no time-outs and no limits; only its filters are used.

mod proxy;
mod settings;

pub(crate) use proxy::Peer;
pub(crate) use settings::Settings;

use crate::api_error::ApiError;
use crate::app::App;
use crate::connection::{Busy, Patience, Timed};
use crate::reply;
use crate::request::Refusals;
use crate::routes::{self, REQUEST_ID, Router};
use crate::tls::Tls;
use dashmap::DashMap;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Part;
use runtime::metrics::Limit;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use warp::reply::Response;

/// The socket in a node's folder, through which its owner may do everything.
pub const OWNER_SOCKET: &str = "control.sock";

/// Longest id of a request that is taken from its caller.
const REQUEST_ID_BYTES_MAX: usize = 255;
/// Pause after the system refused to accept a connection, which it does when it runs out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a browser is told of every answer that does not say otherwise: nothing in it is to be carried out or framed.
const HARDENING: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];
/// Over TLS: nothing else for a year.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

struct Server {
    settings: Arc<Settings>,
    app: App,
    listeners: Listeners,
    tls: Option<Tls>,
    routes: Router,
    slots: Arc<Semaphore>,
    per_address: Arc<DashMap<IpAddr, usize>>,
    connections: TaskTracker,
    /// Take no more connections, and no more requests on those that are open.
    stop: CancellationToken,
    /// Close those that are still open.
    cut: CancellationToken,
}

/// Where connections come from.
pub(crate) struct Listeners {
    /// Everybody's.
    pub(crate) network: TcpListener,
    /// The owner's, where there is one.
    pub(crate) owner: Option<UnixListener>,
}

impl Listeners {
    async fn next_of_owner(&self) -> io::Result<UnixStream> {
        match &self.owner {
            Some(owner) => owner.accept().await.map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }
}

/// The essential part that serves `app` on `listener`.
pub(crate) fn part(settings: Settings, app: App, listeners: Listeners, tls: Option<Tls>) -> Part {
    let server = Arc::new(Server {
        routes: routes::all(&app),
        slots: Arc::new(Semaphore::new(settings.connections_max)),
        per_address: Arc::default(),
        connections: TaskTracker::new(),
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        settings: Arc::new(settings),
        app,
        listeners,
        tls,
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
                accepted = self.listeners.network.accept() => accepted,
                accepted = self.listeners.next_of_owner() => match accepted {
                    Ok(stream) => {
                        self.serve_owner(stream);
                        continue;
                    }
                    Err(error) => Err(error),
                },
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
        let is_proxy = self.settings.trusted_proxies.iter().any(|network| network.holds(address));
        if !is_proxy && self.settings.connections_per_address_max <= *open {
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
        let connection = self.connection(Some(peer), Some(place));
        let tls = self.tls.clone();
        self.connections.spawn(async move {
            let Some(tls) = tls else { return connection.serve(stream, false).await };
            let agreed = tokio::select! {
                agreed = tls.accept(stream) => agreed,
                () = connection.stop.cancelled() => return,
            };
            match agreed {
                Ok(stream) => connection.serve(stream, true).await,
                Err(error) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        connection.app.metrics.limit_reached(Limit::Handshake);
                    }
                    tracing::debug!(%error, "no keys were agreed on");
                }
            }
        });
    }

    /// Serves whoever owns the node's folder.
    fn serve_owner(&self, stream: UnixStream) {
        let connection = self.connection(None, None);
        self.connections.spawn(connection.serve(stream, false));
    }

    fn connection(&self, peer: Option<SocketAddr>, place: Option<Place>) -> Connection {
        Connection {
            settings: Arc::clone(&self.settings),
            app: self.app.clone(),
            routes: self.routes.clone(),
            peer,
            refusals: Refusals::default(),
            stop: self.stop.clone(),
            cut: self.cut.clone(),
            _place: place,
        }
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

/// One connection.
struct Connection {
    settings: Arc<Settings>,
    app: App,
    routes: Router,
    /// `None` for the owner.
    peer: Option<SocketAddr>,
    refusals: Refusals,
    stop: CancellationToken,
    cut: CancellationToken,
    _place: Option<Place>,
}

impl Connection {
    /// Answers what comes over `stream` until either side has had enough.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, is_tls: bool) {
        let busy = Busy::default();
        let patience = Patience {
            head: Duration::from_secs_f64(self.settings.header_read_timeout_seconds),
            write: Duration::from_secs_f64(self.settings.write_stall_seconds),
        };
        let stream = TokioIo::new(Timed::new(stream, busy.clone(), patience, self.app.metrics.clone()));
        let service = service_fn(|request: Request<Incoming>| {
            let working = busy.begin();
            let answering = self.answer(request, is_tls);
            async move {
                let response = answering.await;
                drop(working);
                Ok::<_, Infallible>(reply::opened(response))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // As long as a connection may idle; a head that has begun is timed by the stream.
            .header_read_timeout(Duration::from_secs_f64(self.settings.idle_timeout_seconds))
            .max_headers(self.settings.headers_max)
            .max_buf_size(self.settings.header_bytes_max)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            if error.is_timeout() {
                self.app.metrics.limit_reached(Limit::IdleTimeout);
            } else if error.is_parse_too_large() {
                self.app.metrics.limit_reached(Limit::HeaderBytes);
            }
            tracing::debug!(%error, "a connection ended badly");
        }
    }

    /// The response to `request`, in time, whatever becomes of its handler.
    async fn answer(&self, mut request: Request<Incoming>, is_tls: bool) -> Response {
        let peer = match self.peer {
            Some(peer) => Peer::of(peer, request.headers(), &self.settings.trusted_proxies),
            None => Peer::owner(),
        };
        let id = name(&mut request, peer);
        request.extensions_mut().insert(self.refusals.clone());
        let within = Duration::from_secs_f64(self.settings.request_timeout_seconds);
        let answering = AssertUnwindSafe(warp::service(self.routes.find(&mut request)).call(request)).catch_unwind();
        let given_up = |error| reply::respond(Err(error), id.to_str().unwrap_or_default());
        let mut response = match tokio::time::timeout(within, answering).await {
            Ok(Ok(Ok(response))) => response,
            // The panic itself was logged where it happened.
            Ok(Err(_)) => given_up(ApiError::Internal),
            Err(_) => {
                self.app.metrics.limit_reached(Limit::RequestTimeout);
                given_up(ApiError::unavailable(
                    "The request took too long and was given up; it may have been carried out: try again with the \
                     same Idempotency-Key",
                ))
            }
        };
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
        for (name, value) in HARDENING {
            headers.entry(name).or_insert(value);
        }
        if is_tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
        }
        response
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

/// Gives `request` an id, its caller's if it sent one, and says who sent it.
fn name<B>(request: &mut Request<B>, peer: Peer) -> HeaderValue {
    let id = id_of(request.headers()).unwrap_or_else(fresh_id);
    request.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id.clone());
    request.extensions_mut().insert(peer);
    id
}

/// The response to `request` without a connection in between.
#[cfg(test)]
pub(crate) async fn answer<B>(routes: Router, mut request: Request<B>, peer: SocketAddr) -> Response
where
    B: hyper::body::Body + Send + Sync + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let peer = Peer::of(peer, request.headers(), &[]);
    let id = name(&mut request, peer);
    let Ok(mut response) = warp::service(routes.find(&mut request)).call(request).await;
    response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
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
    async fn a_connection_is_refused_again_only_when_it_was_told_to_come_back() {
        // Given a node that has no room for a request,
        let (node, _dir) = node(&[("limits.ingest_requests_max", 0)]).await;
        let key = node.first_key().expect("the first key").to_owned();
        let body = r#"{"sensor_id":"s","value":1}"#;
        let ask = |more: &str| {
            let n_bytes = body.len();
            format!(
                "POST /api/v1/data/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {n_bytes}\r\n{more}\r\n\
                 {body}"
            )
        };
        // when a client sends two on one connection, then the second waits for as long as the first was told to.
        let began = Instant::now();
        let told = told(&node, &[ask(""), ask("connection: close\r\n")].concat()).await;
        assert_eq!(told.matches("HTTP/1.1 503 ").count(), 2, "{told}");
        assert_eq!(told.matches("retry-after: 1\r\n").count(), 2, "{told}");
        assert!(Duration::from_secs(1) <= began.elapsed());
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
