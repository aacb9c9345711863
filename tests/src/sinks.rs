//! Systems outside that messages are delivered to: a mail server and a webhook's receiver.

use crate::installed;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A mail server that keeps what it is sent. Killed when dropped.
#[derive(Debug)]
pub struct MailServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl MailServer {
    /// A server on a port of its own, ready to take mail.
    ///
    /// # Panics
    ///
    /// It is not installed, or does not start.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let port = installed::free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Command::new(installed::program("aiosmtpd", "python3-aiosmtpd"))
            .args(["--nosetuid", "--listen", &address.to_string(), "--class", "aiosmtpd.handlers.Mailbox"])
            .arg(folder.path().join("mail"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { child, port, folder };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the mail server does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Where it listens, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The mails that have arrived, as they came.
    ///
    /// # Panics
    ///
    /// They cannot be read.
    pub fn mails(&self) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("mail/new");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries
            .map(|entry| std::fs::read(entry.expect("an entry can be read").path()).expect("a mail can be read"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A header of a message in the form that mails and requests share.
pub fn header(message: &str, name: &str) -> Option<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let head = head.split("\n\n").next().unwrap_or_default();
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

/// A receiver of webhooks that keeps what it is sent.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    is_silent: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// A receiver on a port of its own.
    ///
    /// # Panics
    ///
    /// It cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (requests, is_silent) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let mut serving = JoinSet::new();
        let (kept, silent) = (Arc::clone(&requests), Arc::clone(&is_silent));
        serving.spawn(async move {
            let mut unanswered = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(n_read) => request.push_str(&String::from_utf8_lossy(&buffer[..n_read])),
                    }
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                if silent.load(Ordering::SeqCst) {
                    unanswered.push(stream);
                    continue;
                }
                // A sender that was killed is gone.
                drop(stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await);
            }
        });
        Self { address, requests, is_silent, _serving: serving }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes requests without answering them, or answers again.
    pub fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// The requests that have arrived, as they came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_whole(request: &str) -> bool {
    let Some((_, body)) = request.split_once("\r\n\r\n") else { return false };
    header(request, "content-length").is_none_or(|length| length.parse::<usize>().is_ok_and(|n| n <= body.len()))
}
