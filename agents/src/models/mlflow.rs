//! Models that an MLflow server registers: listed, resolved, and downloaded when they were logged in ONNX.
//!
//! Keeps what it was told for a moment, so that a request does not wait for another one each time, and what it
//! downloaded: a version never changes, and one that does is refused. A server that cannot be reached is left alone
//! for the same moment. The address is the operator's own, so it may lie inside; what it holds of user and password is
//! told nowhere.

mod logged;
mod registered;

use super::artefact::hex;
use super::serving::Loaded;
use crate::outbound::{self, chain};
use analytics::onnx::OnnxError;
use anyhow::{Context as _, ensure};
use domain::Timestamp;
use jiff::SignedDuration;
use logged::{Described, Rows};
use registered::{OneModel, OneVersion, Page};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::warn;

pub use registered::{Listed, Named};

/// Registered models that are listed, and versions of one.
const LISTED_MAX: usize = 1_000;
const PAGE: usize = 100;
/// Bytes of an answer that tells of models, and of the small files beside one.
const TOLD_BYTES_MAX: usize = 4 << 20;
const FILE_BYTES_MAX: usize = 1 << 20;
/// Answers that are remembered, and downloads.
const REMEMBERED_MAX: usize = 1_000;
const FETCHED_MAX: usize = 64;
/// Tag of a version that tells what its `model.onnx` must be.
const DIGEST_TAG: &str = "sha256";

/// `[mlflow]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Ask no server, even where one is named.
    pub disabled: bool,
    /// Longest time for one answer, a download included.
    pub timeout_seconds: f64,
    /// How long an answer holds, and how long a server that cannot be reached is left alone.
    pub refresh_seconds: f64,
    /// Largest `model.onnx` that is read.
    pub artefact_bytes_max: usize,
}

/// Why the server did not help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MlflowError {
    /// It cannot be reached, or does not answer as MLflow does.
    #[error("{0}")]
    Unreachable(String),
    /// It has the version, but not as something that is served here: another registry may have it.
    #[error("{0}")]
    OtherForm(String),
    /// What it gave does not hold what it promises.
    #[error("{0}")]
    Broken(String),
}

impl From<OnnxError> for MlflowError {
    fn from(error: OnnxError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A version that was downloaded.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What is told of it.
    pub listed: Listed,
    /// Digest of its `model.onnx`, in hexadecimal digits.
    pub sha256: String,
    /// Its numbers.
    pub loaded: Arc<Loaded>,
}

/// A name of a model and what was asked of it.
type Asked = (String, String);

#[derive(Default)]
struct Remembered {
    /// What was answered to a question for a version, and when.
    resolved: HashMap<Asked, (Timestamp, Option<Listed>)>,
    /// What was downloaded; the moment of registration tells a name that was given anew.
    fetched: HashMap<(Asked, i64), Result<Fetched, MlflowError>>,
    /// Digests of everything that was ever downloaded.
    digests: HashMap<(Asked, i64), String>,
    /// Since when it cannot be reached, and why.
    away: Option<(Timestamp, String)>,
}

/// Whether there is a server to ask.
#[derive(Clone, Debug)]
pub enum Remote {
    /// None is named.
    Unset,
    /// It is switched off.
    Disabled,
    /// This one is asked first.
    Server(Box<Mlflow>),
}

/// An MLflow server. Clones share what it told.
#[derive(Clone)]
pub struct Mlflow {
    client: Client,
    base: Url,
    credentials: Option<(String, Option<String>)>,
    token: Option<String>,
    refresh: SignedDuration,
    artefact_bytes_max: usize,
    // A leaf: nothing is awaited while it is held.
    remembered: Arc<Mutex<Remembered>>,
    download: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Mlflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mlflow").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Mlflow {
    /// The server at `uri`, whose user and password, if it holds any, are sent along; so is `token`.
    ///
    /// # Errors
    ///
    /// An address that is none, or settings that make no sense. The message holds nothing of user and password.
    pub fn new(settings: &Settings, uri: &str, token: Option<String>) -> anyhow::Result<Self> {
        let Settings { timeout_seconds, refresh_seconds, artefact_bytes_max, .. } = *settings;
        ensure!(
            (0.1..=60.0).contains(&timeout_seconds),
            "mlflow.timeout_seconds: must be 0.1 to 60, got {timeout_seconds}"
        );
        ensure!(
            (0.1..=3_600.0).contains(&refresh_seconds),
            "mlflow.refresh_seconds: must be 0.1 to 3600, got {refresh_seconds}"
        );
        let mut base = Url::parse(uri.trim()).context("MLFLOW_TRACKING_URI is no address")?;
        ensure!(
            matches!(base.scheme(), "http" | "https") && base.has_host(),
            "MLFLOW_TRACKING_URI must begin with http:// or https://, got {}:",
            base.scheme()
        );
        let credentials =
            (!base.username().is_empty()).then(|| (decoded(base.username()), base.password().map(decoded)));
        let cleaned = base.set_username("").is_ok() && base.set_password(None).is_ok();
        ensure!(cleaned, "MLFLOW_TRACKING_URI is no address");
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        outbound::provide_crypto();
        let timeout = Duration::from_secs_f64(timeout_seconds);
        let client = Client::builder().timeout(timeout).redirect(redirect::Policy::none()).no_proxy().build()?;
        Ok(Self {
            client,
            base,
            credentials,
            token,
            refresh: SignedDuration::from_millis((refresh_seconds * 1e3) as i64),
            artefact_bytes_max,
            remembered: Arc::default(),
            download: Arc::default(),
        })
    }

    /// All registered models.
    ///
    /// # Errors
    ///
    /// [`MlflowError::Unreachable`].
    pub async fn models(&self, now: Timestamp) -> Result<Vec<Named>, MlflowError> {
        self.pages("registered-models/search", &[], now, |page| page.registered_models).await
    }

    /// The versions of `name`, newest first.
    ///
    /// # Errors
    ///
    /// [`MlflowError::Unreachable`].
    pub async fn versions(&self, name: &str, now: Timestamp) -> Result<Vec<Listed>, MlflowError> {
        if name.contains(['\'', '\\']) {
            return Ok(Vec::new());
        }
        let filter = format!("name='{name}'");
        let mut found =
            self.pages("model-versions/search", &[("filter", &filter)], now, |page| page.model_versions).await?;
        found.sort_by_key(|version| std::cmp::Reverse(version.version.parse::<u64>().unwrap_or_default()));
        Ok(found)
    }

    async fn pages<T>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        now: Timestamp,
        of: impl Fn(Page) -> Vec<T>,
    ) -> Result<Vec<T>, MlflowError> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        while all.len() < LISTED_MAX {
            let size = PAGE.to_string();
            let mut query = query.to_vec();
            query.push(("max_results", &size));
            if let Some(token) = &token {
                query.push(("page_token", token));
            }
            let page: Option<Page> = self.told(path, &query, now).await?;
            let mut page = page.unwrap_or_default();
            token = page.next_page_token.take().filter(|token| !token.is_empty());
            let more = of(page);
            let is_last = token.is_none() || more.is_empty();
            all.extend(more);
            if is_last {
                break;
            }
        }
        all.truncate(LISTED_MAX);
        Ok(all)
    }

    /// The version of `name` that `asked` means: a number, or `None` for the one in use. `None` when the server has no
    /// such version.
    ///
    /// # Errors
    ///
    /// [`MlflowError::Unreachable`].
    pub async fn resolve(
        &self,
        name: &str,
        asked: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Listed>, MlflowError> {
        let key = (name.to_owned(), asked.unwrap_or_default().to_owned());
        if let Some((at, listed)) = self.remembered().resolved.get(&key)
            && now.duration_since(*at) < self.refresh
        {
            return Ok(listed.clone());
        }
        let number = match asked {
            Some(number) => Some(number.to_owned()),
            None => {
                let model: Option<OneModel> = self.told("registered-models/get", &[("name", name)], now).await?;
                model.and_then(|model| model.registered_model.in_use().map(str::to_owned))
            }
        };
        let listed = match number {
            Some(number) => {
                let query = [("name", name), ("version", number.as_str())];
                let version: Option<OneVersion> = self.told("model-versions/get", &query, now).await?;
                version.map(|version| version.model_version)
            }
            None => None,
        };
        let mut remembered = self.remembered();
        if REMEMBERED_MAX <= remembered.resolved.len() {
            remembered.resolved.clear();
        }
        remembered.resolved.insert(key, (now, listed.clone()));
        Ok(listed)
    }

    /// Downloads a version, unless it was.
    ///
    /// # Errors
    ///
    /// See [`MlflowError`]. What the server gave is refused each time without being asked for again.
    pub async fn fetch(&self, listed: &Listed, now: Timestamp) -> Result<Fetched, MlflowError> {
        let key = ((listed.name.clone(), listed.version.clone()), listed.creation_timestamp);
        let _turn = self.download.lock().await;
        let known = self.remembered().fetched.get(&key).cloned();
        if let Some(known) = known {
            return known.map(|fetched| Fetched { listed: listed.clone(), ..fetched });
        }
        let fetched = self.download(listed, now).await;
        if matches!(fetched, Err(MlflowError::Unreachable(_))) {
            return fetched;
        }
        let mut remembered = self.remembered();
        let fetched = match fetched {
            Ok(fetched) => match remembered.digests.get(&key) {
                Some(digest) if *digest != fetched.sha256 => {
                    Err(MlflowError::Broken(format!("its bytes were {digest} and now are {}", fetched.sha256)))
                }
                _ => Ok(fetched),
            },
            refused => refused,
        };
        match &fetched {
            Ok(fetched) => drop(remembered.digests.insert(key.clone(), fetched.sha256.clone())),
            Err(error) => {
                warn!(model = listed.name, version = listed.version, %error, "a version from MLflow is not served");
            }
        }
        if FETCHED_MAX <= remembered.fetched.len() {
            remembered.fetched.clear();
        }
        remembered.fetched.insert(key, fetched.clone());
        fetched
    }

    async fn download(&self, listed: &Listed, now: Timestamp) -> Result<Fetched, MlflowError> {
        let broken = |what: &str, error: &dyn std::fmt::Display| MlflowError::Broken(format!("{what}: {error}"));
        let text = self.file(listed, "MLmodel", FILE_BYTES_MAX, now).await?;
        let text = String::from_utf8(text).map_err(|error| broken("MLmodel", &error))?;
        let described: Described = serde_saphyr::from_str(&text).map_err(|error| broken("MLmodel", &error))?;
        let Some(onnx) = described.flavors.onnx else {
            return Err(MlflowError::OtherForm("it was not logged in ONNX".to_owned()));
        };
        let bytes = self.file(listed, &onnx.data, self.artefact_bytes_max, now).await?;
        let sha256 = hex(&Sha256::digest(&bytes));
        if let Some(promised) = listed.tags().get(DIGEST_TAG)
            && !promised.eq_ignore_ascii_case(&sha256)
        {
            return Err(MlflowError::Broken(format!(
                "its tag promises the digest {promised}, its bytes have {sha256}"
            )));
        }
        let declared = match described.signature.and_then(|signature| signature.inputs) {
            Some(inputs) => serde_json::from_str(&inputs).map_err(|error| broken("signature", &error))?,
            None => Vec::new(),
        };
        let example: Option<Rows> = match described.saved_input_example_info {
            Some(example) => {
                let file = self.file(listed, &example.artifact_path, FILE_BYTES_MAX, now).await?;
                // It only serves explanations, and may be of a form of its own.
                serde_json::from_slice(&file).ok()
            }
            None => None,
        };
        let (name, known) = (listed.name.clone(), example);
        let read = tokio::task::spawn_blocking(move || logged::artefact(name, &bytes, declared, known)).await;
        let artefact = read.map_err(|error| broken("reading", &error))??;
        Ok(Fetched {
            listed: listed.clone(),
            sha256,
            loaded: Arc::new(Loaded { explainer: artefact.explainer(), artefact }),
        })
    }

    /// The file `path` beside a version's model.
    async fn file(&self, listed: &Listed, path: &str, most: usize, now: Timestamp) -> Result<Vec<u8>, MlflowError> {
        let query = [("path", path), ("name", listed.name.as_str()), ("version", listed.version.as_str())];
        let found = self.get("model-versions/get-artifact", &query, most, now).await?;
        found.ok_or_else(|| MlflowError::Broken(format!("the server does not hand out its file {path:?}")))
    }

    async fn told<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Option<T>, MlflowError> {
        let path = format!("api/2.0/mlflow/{path}");
        let Some(bytes) = self.get(&path, query, TOLD_BYTES_MAX, now).await? else { return Ok(None) };
        let told = serde_json::from_slice(&bytes);
        told.map(Some).map_err(|_| self.away(now, "the answer is not MLflow's".to_owned()))
    }

    /// The bytes at `path`, `None` where there are none.
    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        most: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, MlflowError> {
        if let Some((since, why)) = &self.remembered().away
            && now.duration_since(*since) < self.refresh
        {
            return Err(MlflowError::Unreachable(why.clone()));
        }
        let mut url = self.base.join(path).map_err(|error| MlflowError::Broken(error.to_string()))?;
        url.query_pairs_mut().extend_pairs(query);
        let failed = |error: reqwest::Error| self.away(now, chain(&error.without_url()));
        let mut response = self.authorised(self.client.get(url)).send().await.map_err(failed)?;
        match response.status() {
            // A name or a number that it cannot read is one that it does not have.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => return Ok(None),
            status if !status.is_success() => return Err(self.away(now, format!("the server answered {status}"))),
            _ => self.remembered().away = None,
        }
        let too_much = || MlflowError::Broken(format!("it is larger than {most} bytes"));
        if response.content_length().is_some_and(|length| most as u64 <= length.saturating_sub(1)) {
            return Err(too_much());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if most < bytes.len() + chunk.len() {
                return Err(too_much());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match (&self.token, &self.credentials) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some((user, password))) => request.basic_auth(user, password.as_ref()),
            (None, None) => request,
        }
    }

    /// Leaves the server alone for a moment, because of `why`.
    fn away(&self, now: Timestamp, why: String) -> MlflowError {
        let mut remembered = self.remembered();
        if remembered.away.is_none() {
            warn!(error = why, "MLflow cannot be asked; the embedded registry answers");
        }
        remembered.away = Some((now, why.clone()));
        MlflowError::Unreachable(why)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written in an address as it is meant.
fn decoded(text: &str) -> String {
    // A query says a blank with a plus sign, an address does not.
    let pair = format!("x={}", text.replace('+', "%2B"));
    let mut url = Url::parse("http://x").expect("a constant");
    url.set_query(Some(&pair));
    url.query_pairs().next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::registered::Tag;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn settings() -> Settings {
        config::Config::defaults().section("mlflow").expect("the defaults are complete")
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of this epoch")
    }

    /// A server that gives each caller the next of `answers`, and what it was asked.
    fn answering(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = std::thread::spawn(move || {
            let serve = |answer: String| {
                let (mut stream, _) = listener.accept().expect("a caller");
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("readable") == 1 {
                    head.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).expect("writable");
                String::from_utf8_lossy(&head).into_owned()
            };
            answers.into_iter().map(serve).collect()
        });
        (address.to_string(), served)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn version(number: &str, stage: &str) -> Listed {
        let text = format!(r#"{{"name": "m", "version": "{number}", "current_stage": "{stage}"}}"#);
        serde_json::from_str(&text).expect("a version")
    }

    #[tokio::test]
    async fn user_and_password_are_sent_and_told_nowhere() {
        let (address, served) = answering(vec![ok("{}")]);
        let server = Mlflow::new(&settings(), &format!("http://ana:pa%20ss@{address}"), None).expect("an address");
        assert_eq!(server.models(second(0)).await.expect("an empty registry"), []);
        let asked = served.join().expect("it ends").remove(0);
        assert!(asked.contains("GET /api/2.0/mlflow/registered-models/search?max_results=100 "), "{asked}");
        // "ana:pa ss"
        assert!(asked.to_lowercase().contains("authorization: basic yw5honbhihnz"), "{asked}");
        assert!(!format!("{server:?}").contains("pa"), "{server:?}");
        let wrong = Mlflow::new(&settings(), "ftp://ana:secret@host", None).expect_err("no web address");
        assert!(!format!("{wrong:#}").contains("secret"), "{wrong:#}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_left_alone_for_a_moment() {
        let (address, served) = answering(vec!["HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\n".to_owned(), ok("{}")]);
        let server = Mlflow::new(&settings(), &format!("http://{address}"), None).expect("an address");
        let refused = |result: Result<Vec<Named>, MlflowError>| result.expect_err("away").to_string();
        assert_eq!(refused(server.models(second(0)).await), "the server answered 500 Internal Server Error");
        // It is not asked a second time,
        assert_eq!(refused(server.models(second(1)).await), "the server answered 500 Internal Server Error");
        // but later.
        assert_eq!(server.models(second(3_600)).await.expect("it is back"), []);
        assert_eq!(served.join().expect("it ends").len(), 2);
    }

    #[tokio::test]
    async fn what_is_too_large_or_no_model_is_refused() {
        let described = "flavors:\n  onnx:\n    data: model.onnx\n";
        let listed = version("1", "None");
        let refusal = async |answers: Vec<String>, change: &dyn Fn(&mut Settings, &mut Listed)| {
            let (address, served) = answering(answers);
            let (mut settings, mut listed) = (settings(), listed.clone());
            change(&mut settings, &mut listed);
            let server = Mlflow::new(&settings, &format!("http://{address}"), None).expect("an address");
            let error = server.fetch(&listed, second(0)).await.expect_err("refused");
            served.join().expect("it ends");
            // What was refused once is refused again without asking.
            let again = server.fetch(&listed, second(0)).await.expect_err("refused");
            assert_eq!(error.to_string(), again.to_string());
            error
        };
        let both = || vec![ok(described), ok("no model")];
        let large = refusal(both(), &|settings, _| settings.artefact_bytes_max = 7).await;
        assert_eq!(large.to_string(), "it is larger than 7 bytes");
        let no_model = refusal(both(), &|_, _| {}).await;
        assert!(no_model.to_string().starts_with("the ONNX model is not whole"), "{no_model}");
        let tag = Tag { key: "sha256".to_owned(), value: "00".to_owned() };
        let other = refusal(both(), &|_, listed| listed.tags.push(tag.clone())).await;
        assert!(other.to_string().starts_with("its tag promises the digest 00, its bytes have"), "{other}");
        let pickled = refusal(vec![ok("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")], &|_, _| {}).await;
        assert!(matches!(pickled, MlflowError::OtherForm(_)), "{pickled}");
    }
}
