//! Systems outside that messages are delivered to: a mail server, a way to it that can be cut, and a webhook's receiver.

use crate::installed;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
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
        Self::listening(TempDir::new().expect("a folder can be made"), &[])
    }

    /// The same that takes no mail before STARTTLS, under a [`certificate`](Self::certificate) that it made itself.
    ///
    /// # Panics
    ///
    /// It is not installed, or does not start.
    pub fn start_encrypted() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
        let files = [("certificate.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
        let [certificate, key] = files.map(|(name, text)| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("a file can be written");
            file.to_string_lossy().into_owned()
        });
        Self::listening(folder, &["--tlscert", &certificate, "--tlskey", &key])
    }

    fn listening(folder: TempDir, arguments: &[&str]) -> Self {
        let port = installed::free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Command::new(installed::program("aiosmtpd", "python3-aiosmtpd"))
            .args(["--nosetuid", "--listen", &address.to_string()])
            .args(arguments)
            .args(["--class", "aiosmtpd.handlers.Mailbox"])
            .arg(folder.path().join("mail"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { child, port, folder };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the mail server does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Where it listens, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a client must trust to send mail to it, if it was started encrypted.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
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

/// The way to a mail server, on which its word that it took a mail can be lost.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    is_silent: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Relay {
    /// A way to the server of that port, on this machine.
    ///
    /// # Panics
    ///
    /// It cannot listen.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let is_silent = Arc::<AtomicBool>::default();
        let silent = Arc::clone(&is_silent);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let silent = Arc::clone(&silent);
                // Either end may go away at any time; then the way is closed.
                ways.spawn(async move { drop(relay(client, server, &silent).await) });
            }
        });
        Self { port, is_silent, _serving: serving }
    }

    /// Where it begins, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses the server's word that it took a mail, or loses it no more.
    pub fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }
}

async fn relay(client: TcpStream, server: u16, is_silent: &AtomicBool) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", server)).await?.into_split();
    let back = async {
        let (mut buffer, mut is_mail_under_way) = ([0; 4096], false);
        loop {
            let n_read = from_server.read(&mut buffer).await?;
            if n_read == 0 {
                return Ok(());
            }
            if is_mail_under_way && is_silent.load(Ordering::SeqCst) {
                continue;
            }
            // What it says after "go ahead with the mail" is that it took it.
            is_mail_under_way = buffer.starts_with(b"354");
            to_client.write_all(&buffer[..n_read]).await?;
        }
    };
    tokio::select! {
        ended = tokio::io::copy(&mut from_client, &mut to_server) => ended.map(drop),
        ended = back => ended,
    }
}

/// What a receiver does with a request that it has taken, instead of answering that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It answers that something went wrong.
    Errs,
    /// It closes the connection.
    Closes,
    /// It never answers.
    Hangs,
}

/// A receiver of webhooks that keeps what it is sent.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    is_silent: Arc<AtomicBool>,
    /// What becomes of the next requests, one after the other.
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
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
        let troubles = Arc::<Mutex<VecDeque<Trouble>>>::default();
        let mut serving = JoinSet::new();
        let (kept, silent, next) = (Arc::clone(&requests), Arc::clone(&is_silent), Arc::clone(&troubles));
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
                // A sender that is killed may leave half a request.
                if !is_whole(&request) {
                    continue;
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let trouble = next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let status = match trouble {
                    Some(Trouble::Hangs) => {
                        unanswered.push(stream);
                        continue;
                    }
                    _ if silent.load(Ordering::SeqCst) => {
                        unanswered.push(stream);
                        continue;
                    }
                    Some(Trouble::Closes) => continue,
                    Some(Trouble::Errs) => "500 Internal Server Error\r\ncontent-length: 0",
                    None => "204 No Content",
                };
                // A sender that was killed is gone.
                drop(stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes()).await);
            }
        });
        Self { address, requests, is_silent, troubles, _serving: serving }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes requests without answering them, or answers again.
    pub fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Takes the next requests and does this with them, one after the other, before it is well again.
    pub fn plan(&self, troubles: &[Trouble]) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).extend(troubles);
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
