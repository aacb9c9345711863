//! An HTTP client with a key.

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Longest wait for something that a node is bound to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Talks to one node.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    key: Option<String>,
    http: reqwest::Client,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON, or as a JSON string when it is none.
    pub body: Value,
}

impl Answer {
    /// The body of a successful answer.
    ///
    /// # Panics
    ///
    /// When the answer is not a success.
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }

    /// The `detail` of an error.
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// The path of the page that follows this one of a list, if there is one.
    pub fn next_page(&self) -> Option<String> {
        let link = self.headers.get("link")?.to_str().ok()?;
        link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"").map(str::to_owned)
    }
}

impl Client {
    /// A client of the node at `base` (`http://host:port`).
    ///
    /// # Panics
    ///
    /// When no client can be made at all.
    pub fn new(base: impl Into<String>, key: Option<String>) -> Self {
        // Whoever installs a provider first wins; there is only one to install.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client can be made");
        Self { base: base.into(), key, http }
    }

    /// The same node, without a key or with another one.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The same node and key over connections of its own, as a runtime of its own takes.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.base.clone(), self.key.clone())
    }

    /// Where the node is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The key in use.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// A request that may still be changed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.header("X-API-Key", key),
            None => request,
        }
    }

    /// Sends `request`.
    ///
    /// # Errors
    ///
    /// The node did not answer.
    pub async fn try_send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, headers, body })
    }

    /// Sends `request`.
    ///
    /// # Panics
    ///
    /// When the node does not answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("the node answers")
    }

    /// `GET path`.
    ///
    /// # Panics
    ///
    /// When the node does not answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Panics
    ///
    /// When the node does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for `path` until `done` says what it was waited for.
    ///
    /// # Errors
    ///
    /// It did not come within [`PATIENCE`].
    pub async fn until<T>(&self, path: &str, mut done: impl FnMut(&Value) -> Option<T>) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            let answer = self.try_send(self.request(Method::GET, path)).await.context("the node answers")?;
            if let Some(found) = done(&answer.body) {
                return Ok(found);
            }
            if PATIENCE < began.elapsed() {
                bail!("waited {PATIENCE:?} for {path}, last answer {}: {}", answer.status, answer.body);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every agent has handled every event.
    ///
    /// # Errors
    ///
    /// They did not within [`PATIENCE`].
    pub async fn until_idle(&self) -> anyhow::Result<()> {
        // What an agent says is a new event for the others, so one quiet moment is not enough.
        let mut quiet = 0;
        let mut last = Value::Null;
        self.until("/api/v1/agents", |agents| {
            let idle = agents["agents"].as_array().is_some_and(|agents| {
                !agents.is_empty() && agents.iter().all(|agent| agent["lag"] == 0 && agent["mailbox"] == 0)
            });
            let cursors: Value =
                agents["agents"].as_array().into_iter().flatten().map(|agent| agent["cursor"].clone()).collect();
            quiet = if idle && cursors == last { quiet + 1 } else { 0 };
            last = cursors;
            (3 <= quiet).then_some(())
        })
        .await
    }
}
