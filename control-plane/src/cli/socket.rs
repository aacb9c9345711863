//! The way to a node that runs on this machine, for whoever may read its folder.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use control_plane::server::OWNER_SOCKET;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The socket in a node's folder.
#[derive(Debug)]
pub(crate) struct Socket(PathBuf);

impl Socket {
    /// The one of the node that uses `data_dir`.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(OWNER_SOCKET))
    }

    /// What `GET path` answers.
    ///
    /// # Errors
    ///
    /// The node cannot be reached, or refuses; the message is its own.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// What `POST path` with `body` answers.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let stream = UnixStream::connect(&self.0)
            .await
            .with_context(|| format!("the folder is in use, but no node answers through {}", self.0.display()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answering = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head.status, body.collect().await?.to_bytes()))
        };
        let (status, body) = tokio::select! {
            answered = answering => answered?,
            ended = connection => {
                ended?;
                bail!("the node hung up");
            }
        };
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() { Ok(value) } else { bail!("{}", value["detail"].as_str().unwrap_or(status.as_str())) }
    }
}
