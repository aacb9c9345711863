//! Clients that hold connections without using them, and one that behaves.

use crate::client::Client;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Between two pieces of what is trickled.
const PIECE: Duration = Duration::from_millis(100);
/// Clients that share an address: fewer than a node lets in from one.
const PER_ADDRESS: usize = 50;
/// Requests of a client that does not read: more than any buffer holds the answers of. What they ask for lies ready in
/// memory, so that the time for which the answers are left unread counts, and not the time in which they are made.
const N_UNREAD: usize = 40;
/// The smallest window that the system gives.
const RECEIVE_BUFFER_BYTES: u32 = 2_048;

/// A way to be slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connects and says nothing.
    Idle,
    /// Sends half a head.
    HalfHead,
    /// Sends a head byte by byte.
    TrickledHead,
    /// Sends a body byte by byte.
    TrickledBody,
    /// Asks, and does not read what it is told.
    SlowReader,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Idle, Self::HalfHead, Self::TrickledHead, Self::TrickledBody, Self::SlowReader];
}

/// Opens `n` connections of `kind` to `address` and holds each for `patience` at most. Tells for each how long it
/// could be held; `None` for one that was still open at the end.
pub async fn hold(
    kind: Kind,
    address: SocketAddr,
    key: &str,
    n: usize,
    patience: Duration,
) -> io::Result<Vec<Option<Duration>>> {
    let mut clients = JoinSet::new();
    for idx in 0..n {
        let stream = connect(address, idx, kind).await?;
        let key = key.to_owned();
        clients.spawn(async move {
            let began = Instant::now();
            tokio::time::timeout(patience, until_closed(kind, stream, &key)).await.ok().map(|()| began.elapsed())
        });
    }
    Ok(clients.join_all().await)
}

/// A connection from one of many addresses of this machine.
async fn connect(address: SocketAddr, idx: usize, kind: Kind) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::SlowReader {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    let place = u8::try_from(idx / PER_ADDRESS % 250).expect("less than 250");
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, place + 1)), 0))?;
    socket.connect(address).await
}

async fn until_closed(kind: Kind, stream: TcpStream, key: &str) {
    let (mut read, mut write) = stream.into_split();
    let sent = match kind {
        Kind::Idle => String::new(),
        Kind::HalfHead | Kind::TrickledHead => "GET /livez HTTP/1.1\r\nhost: x\r\nx-more: ".to_owned(),
        Kind::TrickledBody => format!(
            "POST /api/v1/data/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 10000\r\n\r\n{{"
        ),
        Kind::SlowReader => "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(N_UNREAD),
    };
    if kind == Kind::SlowReader {
        // The write itself stalls once the node stops reading; only a refusal tells that it hung up.
        let pieces = async {
            write.write_all(sent.as_bytes()).await?;
            loop {
                tokio::time::sleep(PIECE).await;
                write.write_all(b"\r\n").await?;
            }
        };
        let refused: io::Result<()> = pieces.await;
        return drop(refused);
    }
    if write.write_all(sent.as_bytes()).await.is_err() {
        return;
    }
    let mut told = [0; 1024];
    let reading = async { while let Ok(1..) = read.read(&mut told).await {} };
    if matches!(kind, Kind::Idle | Kind::HalfHead) {
        return reading.await;
    }
    let trickling = async {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(PIECE).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = trickling => {}
    }
}

/// Asks for `path` again and again for as long as `during` takes; gives how long each answer took, sorted, and what
/// `during` came to. It asks from a thread of its own, so that it waits for the node and not for the other clients.
///
/// # Errors
///
/// A request was not answered.
pub async fn behaved<T>(
    client: &Client,
    path: &str,
    during: impl Future<Output = T>,
) -> anyhow::Result<(Vec<Duration>, T)> {
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let (client, path, stop) = (client.anew(), path.to_owned(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(&client, &path, &stop))
        })
    };
    let outcome = during.await;
    stop.store(true, Ordering::SeqCst);
    let asked = tokio::task::spawn_blocking(move || asking.join()).await?;
    let mut took = asked.map_err(|_| anyhow::anyhow!("the client that behaves panicked"))??;
    took.sort_unstable();
    Ok((took, outcome))
}

async fn ask(client: &Client, path: &str, stop: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let answer = client.try_send(client.request(reqwest::Method::GET, path)).await?;
        anyhow::ensure!(answer.status.is_success(), "{path}: {}", answer.status);
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(took)
}

/// The `q` quantile, 0 to 1, of `sorted`; zero when there is none.
pub fn quantile(sorted: &[Duration], q: f64) -> Duration {
    let idx = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(idx).copied().unwrap_or_default()
}
