//! Who may do what: API keys, their scopes, and the switch that lets everybody in.
//!
//! The store keeps a key's SHA-256 and no key. What it said of one is believed for a second.

pub(crate) mod key;

pub use key::{NewKey, new_key};

use crate::api_error::ApiError;
use crate::app::App;
use crate::routes::Scope;
use crate::server::Peer;
use dashmap::DashMap;
use key::{digest, prefix_of};
use persistence::keys::{self, ApiKey};
use persistence::{History, StoreError};
use runtime::Clock;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use warp::http::{HeaderMap, header};

/// How long the store's word on a key is believed, so that a revocation takes effect within it.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How long it is believed while the store cannot be asked.
const BELIEVED_WITHOUT_STORE_FOR: Duration = Duration::from_secs(60);
/// Keys remembered; then all of them are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Every scope there is, as routes need them.
pub const SCOPES: [&str; 14] = [
    "agents:control",
    "agents:read",
    "data:ingest",
    "data:read",
    "maintenance:read",
    "maintenance:schedule",
    "metrics:read",
    "ml:anomaly",
    "ml:drift",
    "ml:predict",
    "plant:write",
    "reports:generate",
    "simulate:run",
    "tasks:update",
];

/// `[access]`: who gets in without a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Everybody may do everything.
    pub(crate) anonymous: bool,
}

/// `[metrics]`: who may read the metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsSettings {
    /// Who needs no key.
    pub(crate) anonymous: Anonymous,
}

/// Who needs no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Anonymous {
    /// Whoever asks from this machine.
    Loopback,
    /// Everybody.
    Always,
    /// Nobody.
    Never,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Caller {
    /// Tells apart what different callers promise: the key's id.
    pub(crate) id: String,
    /// For the record: the key's name, or `anonymous`.
    pub(crate) name: String,
}

/// A key that an operator gave in the environment. It may do everything.
#[derive(Debug)]
struct StaticKey {
    hash: [u8; 32],
    caller: Caller,
}

#[derive(Clone)]
struct Remembered {
    key: Arc<ApiKey>,
    asked_at: Instant,
}

/// Decides who gets in.
#[derive(Clone)]
pub(crate) struct Access(Arc<Inner>);

struct Inner {
    anonymous: bool,
    metrics: Anonymous,
    static_keys: Vec<StaticKey>,
    history: History,
    clock: Clock,
    remembered: DashMap<String, Remembered>,
}

impl Access {
    /// `static_keys` are the keys of the environment, as they are.
    pub(crate) fn new(
        settings: &Settings,
        metrics: &MetricsSettings,
        static_keys: &[String],
        history: History,
        clock: Clock,
    ) -> Self {
        let named = |(idx, key): (usize, &String)| StaticKey {
            hash: digest(key),
            caller: Caller {
                // The digest's start, so that a promise outlives a change in the order of the list.
                id: format!("environment-{}", hex(&digest(key)[..6])),
                name: format!("environment_key_{}", idx + 1),
            },
        };
        Self(Arc::new(Inner {
            anonymous: settings.anonymous,
            metrics: metrics.anonymous,
            static_keys: static_keys.iter().enumerate().map(named).collect(),
            history,
            clock,
            remembered: DashMap::new(),
        }))
    }

    /// Who asks, if they may use a route of that scope.
    pub(crate) async fn check(
        &self,
        scope: Scope,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Caller, ApiError> {
        let anonymous = || Caller { id: "anonymous".to_owned(), name: "anonymous".to_owned() };
        if scope == Scope::Public {
            return Ok(anonymous());
        }
        let Some(key) = sent(headers)? else {
            let let_in = self.0.anonymous || (matches!(scope, Scope::Metrics(_)) && self.shows_metrics_to(peer));
            return if let_in {
                Ok(anonymous())
            } else {
                Err(ApiError::Forbidden("Authentication with an API key is required".to_owned()))
            };
        };
        let hash = digest(key);
        if let Some(known) = self.0.static_keys.iter().find(|known| bool::from(known.hash.ct_eq(&hash))) {
            return Ok(known.caller.clone());
        }
        let wrong = || ApiError::Forbidden("The API key is not valid".to_owned());
        let found = match prefix_of(key) {
            Some(prefix) => self.find(prefix).await?,
            None => None,
        };
        let kept = found.filter(|kept| bool::from(kept.hash.ct_eq(&hash))).ok_or_else(wrong)?;
        let now = self.0.clock.now();
        if kept.revoked_at.is_some() || kept.expires_at.is_some_and(|end| end <= now) {
            return Err(wrong());
        }
        match scope {
            Scope::Needs(needed) | Scope::Metrics(needed) if !kept.scopes.iter().any(|scope| scope == needed) => {
                Err(ApiError::Forbidden(format!("The API key does not have the scope {needed}")))
            }
            _ => Ok(Caller { id: kept.id.to_string(), name: kept.name.clone() }),
        }
    }

    /// Asks the store again about every key.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.0.remembered.clear();
    }

    fn shows_metrics_to(&self, peer: Option<Peer>) -> bool {
        match self.0.metrics {
            Anonymous::Always => true,
            Anonymous::Never => false,
            Anonymous::Loopback => peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback()),
        }
    }

    async fn find(&self, prefix: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let remembered = self.0.remembered.get(prefix).map(|entry| entry.clone());
        if let Some(remembered) = &remembered
            && remembered.asked_at.elapsed() < BELIEVED_FOR
        {
            return Ok(Some(Arc::clone(&remembered.key)));
        }
        match (keys::find_by_prefix(&self.0.history, prefix).await, remembered) {
            (Ok(Some(key)), _) => {
                let key = Arc::new(key);
                if REMEMBERED_MAX <= self.0.remembered.len() {
                    self.0.remembered.clear();
                }
                let remembered = Remembered { key: Arc::clone(&key), asked_at: Instant::now() };
                self.0.remembered.insert(prefix.to_owned(), remembered);
                Ok(Some(key))
            }
            (Ok(None), _) => {
                self.0.remembered.remove(prefix);
                Ok(None)
            }
            (Err(_), Some(remembered)) if remembered.asked_at.elapsed() < BELIEVED_WITHOUT_STORE_FOR => {
                Ok(Some(remembered.key))
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// The key that came with a request.
fn sent(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let unreadable = |_| ApiError::Forbidden("The API key is not valid".to_owned());
    let own = headers.get("x-api-key").map(|value| value.to_str().map(str::trim)).transpose().map_err(unreadable)?;
    let bearer = match headers.get(header::AUTHORIZATION).map(|value| value.to_str()).transpose().map_err(unreadable)? {
        Some(value) => match value.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Some(key.trim()),
            _ => None,
        },
        None => None,
    };
    match (own, bearer) {
        (Some(own), Some(bearer)) if own != bearer => {
            Err(ApiError::Forbidden("X-API-Key and Authorization hold different API keys".to_owned()))
        }
        (Some(key), _) | (None, Some(key)) => Ok(Some(key)),
        (None, None) => Ok(None),
    }
}

/// The keys that the environment gives: `API_KEY`, then the lists `API_KEYS` and `ALLOWED_API_KEYS`.
///
/// # Errors
///
/// One of them cannot be read.
pub(crate) fn static_keys() -> Result<Vec<String>, config::ConfigError> {
    let mut keys: Vec<String> = Vec::new();
    for name in ["API_KEY", "API_KEYS", "ALLOWED_API_KEYS"] {
        for key in config::secret(name)?.unwrap_or_default().split([',', '\n']).map(str::trim) {
            if !key.is_empty() && !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
    }
    Ok(keys)
}

/// Makes a key with every scope if nobody could get in without one; gives it, to be shown once.
pub(crate) async fn first_key(app: &App) -> anyhow::Result<Option<String>> {
    let access = &app.access.0;
    if access.anonymous || !access.static_keys.is_empty() || keys::count(&app.history).await? != 0 {
        return Ok(None);
    }
    let NewKey { secret, kept } = new_key("first", SCOPES.map(str::to_owned).to_vec(), app.now(), None)?;
    app.store.admin(persistence::admin::Change::CreateKey(kept)).await?;
    Ok(Some(secret))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use warp::http::HeaderValue;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_str(value).expect("a value")))
            .collect()
    }

    async fn access(anonymous: bool, metrics: Anonymous) -> Access {
        let history = History::empty().await.expect("an empty history");
        let settings = (Settings { anonymous }, MetricsSettings { anonymous: metrics });
        Access::new(&settings.0, &settings.1, &["s3cret".to_owned()], history, Clock::manual(NOW))
    }

    async fn detail(access: &Access, scope: Scope, pairs: &[(&'static str, &str)]) -> String {
        match access.check(scope, &headers(pairs), None).await {
            Err(ApiError::Forbidden(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nobody_gets_in_without_a_key_or_with_a_wrong_one() {
        let closed = access(false, Anonymous::Never).await;
        assert!(detail(&closed, Scope::AnyKey, &[]).await.contains("API key is required"));
        let unknown = new_key("test", vec![], NOW, None).expect("a key").secret;
        for key in ["wrong", &unknown] {
            assert!(detail(&closed, Scope::AnyKey, &[("x-api-key", key)]).await.contains("not valid"));
        }
        let open = access(true, Anonymous::Never).await;
        assert_eq!(open.check(Scope::Needs("x"), &headers(&[]), None).await.expect("let in").name, "anonymous");
        assert!(detail(&open, Scope::AnyKey, &[("x-api-key", "wrong")]).await.contains("not valid"));
    }

    #[tokio::test]
    async fn a_key_of_the_environment_opens_everything_under_either_header() {
        let closed = access(false, Anonymous::Never).await;
        for pair in [("x-api-key", "s3cret"), ("authorization", "bearer s3cret"), ("authorization", "Bearer  s3cret")] {
            let caller = closed.check(Scope::Needs("data:read"), &headers(&[pair]), None).await.expect("let in");
            assert_eq!(caller.name, "environment_key_1");
        }
        let two = [("x-api-key", "s3cret"), ("authorization", "Bearer other")];
        assert!(detail(&closed, Scope::AnyKey, &two).await.contains("different"));
    }

    #[tokio::test]
    async fn metrics_are_shown_to_this_machine_only() {
        let loopback = access(false, Anonymous::Loopback).await;
        let scope = Scope::Metrics("metrics:read");
        let from = |address: &str| Some(Peer(address.parse().expect("an address")));
        for (address, let_in) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true), ("10.0.0.1:1", false)]
        {
            let checked = loopback.check(scope, &headers(&[]), from(address)).await;
            assert_eq!(checked.is_ok(), let_in, "{address}");
        }
        assert!(loopback.check(Scope::AnyKey, &headers(&[]), from("127.0.0.1:1")).await.is_err());
    }
}
