//! Who may do what: API keys, browser sessions, their scopes, and the switch that lets strangers in.
//!
//! The store keeps a key's SHA-256 and no key. What it said of one is believed for a second.

pub mod change;
pub(crate) mod key;
mod scopes;
mod session;

pub use key::{NewKey, new_key};
pub use scopes::SCOPES;
pub(crate) use session::{CSRF, Opened, Settings as SessionSettings};

use crate::api_error::ApiError;
use crate::app::App;
use crate::rate::Rates;
use crate::request::Call;
use crate::routes::{Route, Scope};
use crate::server::Peer;
use dashmap::DashMap;
use domain::access::{SessionClosed, SessionOpened};
use domain::{CorrelationId, Event, Timestamp};
use key::{digest, prefix_of};
use persistence::admin::Change;
use persistence::keys::{self, ApiKey};
use persistence::{Store, StoreError};
use runtime::Clock;
use serde::Deserialize;
use session::{Principal, Sessions};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use warp::http::{HeaderMap, header};

/// How long the store's word on a key is believed, so that a revocation takes effect within it.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How long it is believed while the store cannot be asked.
const BELIEVED_WITHOUT_STORE_FOR: Duration = Duration::from_secs(60);
/// Keys remembered; then all of them are forgotten.
const REMEMBERED_MAX: usize = 10_000;
/// Between two notes of a key's last use.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// `[access]`: who gets in without a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Everybody may do everything that changes neither keys nor settings.
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
    /// What they may do.
    pub(crate) scopes: Arc<[String]>,
    /// What a session of theirs would stand for; `None` for strangers.
    principal: Option<Principal>,
}

impl Caller {
    /// The id by which their requests are counted; `None` for strangers.
    pub(crate) fn known_as(&self) -> Option<&str> {
        self.principal.as_ref().map(|_| self.id.as_str())
    }

    fn stranger() -> Self {
        let name = "anonymous".to_owned();
        Self { id: name.clone(), name, scopes: scopes::of_anybody().into(), principal: None }
    }

    /// Whoever may read the node's folder.
    fn owner() -> Self {
        let name = "owner".to_owned();
        Self { id: name.clone(), name, scopes: scopes::all().into(), principal: Some(Principal::Owner) }
    }
}

/// A key that an operator gave in the environment. It may do everything.
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
    store: Store,
    clock: Clock,
    rates: Rates,
    remembered: DashMap<String, Remembered>,
    sessions: Sessions,
    /// Notes of last uses on their way to the store.
    notes: TaskTracker,
}

/// What [`Access`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) metrics: &'a MetricsSettings,
    pub(crate) sessions: SessionSettings,
    /// Browsers reach the node over TLS.
    pub(crate) is_secure: bool,
    /// The keys of the environment, as they are.
    pub(crate) static_keys: &'a [String],
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) rates: Rates,
    pub(crate) notes: TaskTracker,
}

impl Access {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let named = |(idx, key): (usize, &String)| {
            // The digest's start, so that a promise outlives a change in the order of the list.
            let id = format!("environment-{}", hex(&digest(key)[..6]));
            let principal = Some(Principal::Environment(id.clone()));
            let name = format!("environment_key_{}", idx + 1);
            StaticKey { hash: digest(key), caller: Caller { id, name, scopes: scopes::all().into(), principal } }
        };
        Self(Arc::new(Inner {
            anonymous: parts.settings.anonymous,
            metrics: parts.metrics.anonymous,
            static_keys: parts.static_keys.iter().enumerate().map(named).collect(),
            store: parts.store,
            clock: parts.clock,
            rates: parts.rates,
            remembered: DashMap::new(),
            sessions: Sessions::new(parts.sessions, parts.is_secure),
            notes: parts.notes,
        }))
    }

    /// Who asks, if they may use `route`.
    pub(crate) async fn check(
        &self,
        route: &Route,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Caller, ApiError> {
        let scope = route.scope;
        if scope == Scope::Public {
            return Ok(Caller::stranger());
        }
        let caller = match self.caller(route.method, headers, peer).await {
            Ok(caller) => caller,
            Err(refused) => return Err(self.turned_away(refused, peer).await),
        };
        let needed = scopes::needed(scope);
        let Some(caller) = caller else {
            let stranger = Caller::stranger();
            let allowed = self.0.anonymous && needed.is_none_or(|needed| has(&stranger, needed));
            let shown = matches!(scope, Scope::Metrics(_)) && self.shows_metrics_to(peer);
            return if allowed || shown { Ok(stranger) } else { Err(self.turned_away(no_stranger(), peer).await) };
        };
        match needed {
            Some(needed) if !has(&caller, needed) => {
                Err(ApiError::Forbidden(format!("The API key does not have the scope {needed}")))
            }
            _ => Ok(caller),
        }
    }

    /// The answer to a stranger who is `refused`: that there were too many of them, if there were.
    async fn turned_away(&self, refused: ApiError, peer: Option<Peer>) -> ApiError {
        if !matches!(refused, ApiError::Forbidden(_) | ApiError::TooMany(_)) {
            return refused;
        }
        match (refused, self.0.rates.refused(peer).await) {
            (ApiError::Forbidden(_), Err(too_many)) => too_many,
            // Whoever sent too many wrong keys is told to wait for longer.
            (refused, _) => refused,
        }
    }

    /// Whose key or session a request bears; `None` when it bears neither.
    async fn caller(&self, method: &str, headers: &HeaderMap, peer: Option<Peer>) -> Result<Option<Caller>, ApiError> {
        if peer.is_some_and(|peer| peer.is_owner) {
            return Ok(Some(Caller::owner()));
        }
        // A key is never sent by a browser on its own, so whoever sends one needs no other proof.
        if let Some(key) = sent(headers)? {
            return self.holder(key, peer).await.map(Some);
        }
        match self.0.sessions.of(method, headers, self.0.clock.now())? {
            None => Ok(None),
            Some((_, principal)) => match self.resolve(&principal).await? {
                Some(caller) => Ok(Some(caller)),
                None => Err(ApiError::Forbidden("The session has ended; log in again".to_owned())),
            },
        }
    }

    /// Whose key `key` is.
    async fn holder(&self, key: &str, peer: Option<Peer>) -> Result<Caller, ApiError> {
        // A key of ours cannot be guessed; one of the environment might be.
        if prefix_of(key).is_none() {
            self.0.rates.check_lockout(peer)?;
        }
        let hash = digest(key);
        let environment = self.0.static_keys.iter().find(|known| bool::from(known.hash.ct_eq(&hash)));
        let found = match (environment, prefix_of(key)) {
            (Some(known), _) => Some(known.caller.clone()),
            (None, Some(prefix)) => {
                // Each look-up reads from the store. Whoever is known does not suffer from their neighbours.
                if !self.0.remembered.contains_key(prefix) {
                    self.0.rates.check_refusals(peer)?;
                }
                let kept = self.find(prefix).await?.filter(|kept| bool::from(kept.hash.ct_eq(&hash)));
                kept.and_then(|kept| self.usable(&kept))
            }
            (None, None) => None,
        };
        match found {
            Some(caller) => Ok(caller),
            None => {
                self.0.rates.failed_login(peer).await?;
                Err(ApiError::Forbidden("The API key is not valid".to_owned()))
            }
        }
    }

    /// What `principal` may do now; `None` when it may do nothing any more.
    async fn resolve(&self, principal: &Principal) -> Result<Option<Caller>, ApiError> {
        Ok(match principal {
            Principal::Owner => Some(Caller::owner()),
            Principal::Environment(id) => {
                self.0.static_keys.iter().find(|known| known.caller.id == *id).map(|known| known.caller.clone())
            }
            Principal::Kept(prefix) => self.find(prefix).await?.and_then(|kept| self.usable(&kept)),
        })
    }

    /// The holder of `kept`, unless it has ended. That it was used is noted now and then.
    fn usable(&self, kept: &ApiKey) -> Option<Caller> {
        let now = self.0.clock.now();
        if kept.revoked_at.is_some() || kept.expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        if kept.last_used_at.is_none_or(|used| used + USE_NOTED_EVERY <= now)
            && let Some(mut entry) = self.0.remembered.get_mut(&kept.prefix)
            && entry.key.last_used_at == kept.last_used_at
        {
            entry.key = Arc::new(ApiKey { last_used_at: Some(now), ..kept.clone() });
            let (store, change) = (self.0.store.clone(), Change::KeyUsed { id: kept.id, at: now });
            self.0.notes.spawn(async move {
                if let Err(error) = store.admin(change).await {
                    tracing::debug!(%error, "the use of a key was not noted");
                }
            });
        }
        Some(Caller {
            id: kept.id.to_string(),
            name: kept.name.clone(),
            scopes: kept.scopes.clone().into(),
            principal: Some(Principal::Kept(kept.prefix.clone())),
        })
    }

    /// Believes nothing about the key of that prefix any more.
    pub(crate) fn forget(&self, prefix: &str) {
        self.0.remembered.remove(prefix);
    }

    /// Opens a session for `caller`, which is recorded; gives it with what sets its cookie.
    pub(crate) async fn open_session(
        &self,
        app: &App,
        caller: &Caller,
        correlation: &CorrelationId,
    ) -> Result<(Opened, String), ApiError> {
        let principal = caller.principal.clone().ok_or_else(no_stranger)?;
        self.open(app, correlation, principal, &caller.name, false).await
    }

    /// A one-time link to a session of `caller`: its token, and its end.
    pub(crate) fn link(&self, caller: &Caller) -> Result<(String, Timestamp), ApiError> {
        let principal = caller.principal.clone().ok_or_else(no_stranger)?;
        self.0.sessions.link(principal, self.0.clock.now())
    }

    /// Opens the session that a one-time link stands for.
    pub(crate) async fn follow(&self, app: &App, call: &Call, token: &str) -> Result<(Opened, String), ApiError> {
        let principal = self.0.sessions.follow(token, self.0.clock.now());
        let caller = match &principal {
            Some(principal) => self.resolve(principal).await?,
            None => None,
        };
        match (principal, caller) {
            (Some(principal), Some(caller)) => self.open(app, &call.correlation(), principal, &caller.name, true).await,
            _ => {
                self.0.rates.failed_login(call.peer).await?;
                Err(ApiError::Forbidden("The link was used already, or its time is over".to_owned()))
            }
        }
    }

    async fn open(
        &self,
        app: &App,
        correlation: &CorrelationId,
        principal: Principal,
        by: &str,
        by_link: bool,
    ) -> Result<(Opened, String), ApiError> {
        let opened = self.0.sessions.open(principal, self.0.clock.now())?;
        let event = SessionOpened { session: opened.id, by: by.to_owned(), by_link, ends_at: opened.ends_at };
        app.append(vec![app.event(correlation, Event::SessionOpened(event))], None).await?;
        let cookie = self.0.sessions.set_cookie(&opened.cookie);
        Ok((opened, cookie))
    }

    /// A fresh token for the session of a request, with the session's id and end; `None` without a session.
    pub(crate) fn renew_csrf(&self, headers: &HeaderMap) -> Result<Option<(Uuid, String, Timestamp)>, ApiError> {
        self.0.sessions.renew_csrf(headers)
    }

    /// Ends the session of a request; gives what removes its cookie.
    pub(crate) async fn close_session(&self, app: &App, call: &Call) -> Result<String, ApiError> {
        if let Some(session) = self.0.sessions.close(&call.headers) {
            let event = SessionClosed { session, by: call.caller.name.clone() };
            let event = app.event(&call.correlation(), Event::SessionClosed(event));
            app.append(vec![event], None).await?;
        }
        Ok(self.0.sessions.set_cookie(""))
    }

    fn shows_metrics_to(&self, peer: Option<Peer>) -> bool {
        match self.0.metrics {
            Anonymous::Always => true,
            Anonymous::Never => false,
            Anonymous::Loopback => peer.is_some_and(|peer| peer.is_local()),
        }
    }

    async fn find(&self, prefix: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let remembered = self.0.remembered.get(prefix).map(|entry| entry.clone());
        if let Some(remembered) = &remembered
            && remembered.asked_at.elapsed() < BELIEVED_FOR
        {
            return Ok(Some(Arc::clone(&remembered.key)));
        }
        match (keys::find_by_prefix(&self.0.store.history(), prefix).await, remembered) {
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

fn has(caller: &Caller, needed: &str) -> bool {
    caller.scopes.iter().any(|scope| scope == needed)
}

fn no_stranger() -> ApiError {
    ApiError::Forbidden("Authentication with an API key is required".to_owned())
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
    let NewKey { secret, kept } = new_key("first", scopes::all(), app.now(), None)?;
    let (change, event) = change::creation(kept, "first start");
    app.store.admin_told(change, vec![app.event(&crate::request::fresh_correlation(), event)]).await?;
    Ok(Some(secret))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
