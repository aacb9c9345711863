//! Browser sessions: what stands in for a key where a page cannot keep one.
//!
//! They live in memory: a restart ends them all, and so does the end of the key behind them. A session is as strong as
//! its key. Of a cookie, a token against forged requests and a one-time link only digests are kept.

use super::key::{digest, random_text};
use crate::api_error::ApiError;
use dashmap::DashMap;
use domain::Timestamp;
use serde::Deserialize;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use warp::http::{HeaderMap, header};

/// 43 characters of base 62 hold 256 bits.
const TOKEN_CHARS: usize = 43;
/// The header that shows that a request comes from a page of ours.
pub(crate) const CSRF: &str = "x-csrf-token";

/// `[sessions]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Minutes without a request after which a session ends.
    pub(crate) idle_minutes: f64,
    /// Hours after which it ends however busy it is.
    pub(crate) hours_max: f64,
    /// Minutes for which a one-time link opens a session.
    pub(crate) link_minutes: f64,
    /// Sessions and links at once.
    pub(crate) open_max: usize,
    /// Sessions of one key at once.
    pub(crate) per_key_max: usize,
}

/// Whose key stands behind a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Principal {
    /// Whoever may read the node's folder.
    Owner,
    /// A key of the environment, by its id.
    Environment(String),
    /// A key in the store, by its prefix.
    Kept(String),
}

#[derive(Clone)]
struct Session {
    id: Uuid,
    principal: Principal,
    csrf: [u8; 32],
    ends_at: Timestamp,
    seen_at: Timestamp,
}

struct Link {
    principal: Principal,
    ends_at: Timestamp,
}

/// A session that was just opened, with what is told this once.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its id, which opens nothing.
    pub(crate) id: Uuid,
    /// The value of the cookie.
    pub(crate) cookie: String,
    /// What unsafe requests must bear.
    pub(crate) csrf: String,
    pub(crate) ends_at: Timestamp,
}

/// All sessions of a node.
pub(super) struct Sessions {
    settings: Settings,
    /// The name of the cookie; one that only HTTPS may set begins with `__Host-`.
    cookie: &'static str,
    /// By the digest of the cookie.
    open: DashMap<[u8; 32], Session>,
    /// By the digest of the token in the link.
    links: DashMap<[u8; 32], Link>,
}

fn seconds(amount: f64, each: f64) -> Duration {
    Duration::try_from_secs_f64(amount * each).unwrap_or(Duration::ZERO)
}

impl Sessions {
    pub(super) fn new(settings: Settings, is_secure: bool) -> Self {
        let cookie = if is_secure { "__Host-smart-maintenance" } else { "smart-maintenance" };
        Self { settings, cookie, open: DashMap::new(), links: DashMap::new() }
    }

    /// A session for `principal`. Of too many, the one that has rested longest ends.
    pub(super) fn open(&self, principal: Principal, now: Timestamp) -> Result<Opened, ApiError> {
        self.open.retain(|_, session| self.lasts(session, now));
        let own = self.open.iter().filter(|session| session.principal == principal);
        let mut own: Vec<_> = own.map(|session| (session.seen_at, *session.key())).collect();
        own.sort_unstable();
        let n_over = (own.len() + 1).saturating_sub(self.settings.per_key_max);
        for (_, cookie) in own.iter().take(n_over) {
            self.open.remove(cookie);
        }
        if self.settings.open_max <= self.open.len() {
            return Err(ApiError::unavailable("There are too many sessions; try again"));
        }
        let (cookie, csrf) = (token()?, token()?);
        let ends_at = now + seconds(self.settings.hours_max, 3_600.0);
        let session = Session { id: Uuid::new_v4(), principal, csrf: digest(&csrf), ends_at, seen_at: now };
        let id = session.id;
        self.open.insert(digest(&cookie), session);
        Ok(Opened { id, cookie, csrf, ends_at })
    }

    /// The token of a link that opens one session for `principal`, and when it no longer does.
    pub(super) fn link(&self, principal: Principal, now: Timestamp) -> Result<(String, Timestamp), ApiError> {
        self.links.retain(|_, link| now < link.ends_at);
        if self.settings.open_max <= self.links.len() {
            return Err(ApiError::unavailable("There are too many links; try again"));
        }
        let token = token()?;
        let ends_at = now + seconds(self.settings.link_minutes, 60.0);
        self.links.insert(digest(&token), Link { principal, ends_at });
        Ok((token, ends_at))
    }

    /// Whose link bears `token`, which is used up now.
    pub(super) fn follow(&self, token: &str, now: Timestamp) -> Option<Principal> {
        let (_, link) = self.links.remove(&digest(token))?;
        (now < link.ends_at).then_some(link.principal)
    }

    /// The session that a request with `headers` belongs to, if it bears a cookie of ours.
    ///
    /// # Errors
    ///
    /// [`ApiError::Forbidden`] when the session has ended, or somebody else's page may have sent the request.
    pub(super) fn of(
        &self,
        method: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<(Uuid, Principal)>, ApiError> {
        let Some(cookie) = self.sent(headers) else { return Ok(None) };
        let ended = || ApiError::Forbidden("The session has ended; log in again".to_owned());
        let found = {
            let mut session = self.open.get_mut(&digest(cookie)).ok_or_else(ended)?;
            if !self.lasts(&session, now) {
                None
            } else {
                if !is_safe(method) {
                    check_origin(headers, &session.csrf)?;
                }
                session.seen_at = session.seen_at.max(now);
                Some((session.id, session.principal.clone()))
            }
        };
        if found.is_none() {
            self.open.remove(&digest(cookie));
        }
        found.map(Some).ok_or_else(ended)
    }

    /// Whether `session` is neither old nor has rested too long.
    fn lasts(&self, session: &Session, now: Timestamp) -> bool {
        now < session.ends_at && now < session.seen_at + seconds(self.settings.idle_minutes, 60.0)
    }

    /// Ends the session that `headers` bear a cookie of; gives its id.
    pub(super) fn close(&self, headers: &HeaderMap) -> Option<Uuid> {
        let cookie = self.sent(headers)?;
        self.open.remove(&digest(cookie)).map(|(_, session)| session.id)
    }

    /// A fresh token against forged requests for the session that `headers` bear a cookie of. The one before no longer
    /// counts.
    pub(super) fn renew_csrf(&self, headers: &HeaderMap) -> Result<Option<(Uuid, String, Timestamp)>, ApiError> {
        let Some(mut session) = self.sent(headers).and_then(|cookie| self.open.get_mut(&digest(cookie))) else {
            return Ok(None);
        };
        let csrf = token()?;
        session.csrf = digest(&csrf);
        Ok(Some((session.id, csrf, session.ends_at)))
    }

    /// What sets the cookie to `value` in the browser; an empty one removes it.
    pub(super) fn set_cookie(&self, value: &str) -> String {
        let secure = if self.cookie.starts_with("__Host-") { "; Secure" } else { "" };
        let age = if value.is_empty() { "; Max-Age=0" } else { "" };
        format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}", self.cookie)
    }

    fn sent<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(name, value)| (name == self.cookie && !value.is_empty()).then_some(value))
    }
}

fn token() -> Result<String, ApiError> {
    random_text(TOKEN_CHARS).map_err(ApiError::internal)
}

fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Refuses a request that a page of somebody else may have made the browser send.
fn check_origin(headers: &HeaderMap, csrf: &[u8; 32]) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let same_origin = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
        (None, None) => false,
    };
    if !same_origin {
        return Err(ApiError::Forbidden("A request with a session must come from a page of this server".to_owned()));
    }
    let sent = text(CSRF).map(digest);
    if !sent.is_some_and(|sent| bool::from(sent.ct_eq(csrf))) {
        return Err(ApiError::Forbidden(format!("A request with a session must bear its token in {CSRF}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn sessions() -> Sessions {
        let settings =
            Settings { idle_minutes: 30.0, hours_max: 12.0, link_minutes: 10.0, open_max: 3, per_key_max: 2 };
        Sessions::new(settings, false)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn begin() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn a_session_ends_when_it_rests_and_when_it_is_old() {
        let sessions = sessions();
        let opened = sessions.open(Principal::Owner, begin()).expect("a session");
        let cookie = format!("other=1; smart-maintenance={}", opened.cookie);
        let cookie = headers(&[("cookie", &cookie)]);
        let at = |minutes: u32| sessions.of("GET", &cookie, begin() + MINUTE * minutes);
        for minutes in (0..12 * 60).step_by(29) {
            assert_eq!(at(minutes).expect("open"), Some((opened.id, Principal::Owner)), "minute {minutes}");
        }
        assert!(at(12 * 60).is_err());
        let opened = sessions.open(Principal::Owner, begin()).expect("a session");
        let cookie = headers(&[("cookie", &format!("smart-maintenance={}", opened.cookie))]);
        assert!(sessions.of("GET", &cookie, begin() + MINUTE * 30).is_err());
        assert!(sessions.of("GET", &cookie, begin()).is_err(), "it does not come back");
        assert_eq!(sessions.of("GET", &headers(&[]), begin()).expect("no session"), None);
    }

    #[test]
    fn an_unsafe_request_must_come_from_a_page_of_ours_with_its_token() {
        let sessions = sessions();
        let opened = sessions.open(Principal::Owner, begin()).expect("a session");
        let cookie = format!("smart-maintenance={}", opened.cookie);
        let csrf = opened.csrf.as_str();
        for (more, let_in) in [
            (&[][..], false),
            (&[("x-csrf-token", csrf)], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "same-origin"), ("x-csrf-token", "wrong")], false),
            (&[("sec-fetch-site", "cross-site"), ("x-csrf-token", csrf)], false),
            (&[("sec-fetch-site", "same-site"), ("x-csrf-token", csrf)], false),
            (&[("origin", "http://evil"), ("host", "here"), ("x-csrf-token", csrf)], false),
            (&[("origin", "null"), ("host", "here"), ("x-csrf-token", csrf)], false),
            (&[("origin", "http://here"), ("host", "here"), ("x-csrf-token", csrf)], true),
            (&[("sec-fetch-site", "same-origin"), ("x-csrf-token", csrf)], true),
        ] {
            let mut sent = headers(more);
            sent.insert("cookie", cookie.parse().expect("a value"));
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(sessions.of(method, &sent, begin()).is_ok(), let_in, "{method} {more:?}");
            }
            assert!(sessions.of("GET", &sent, begin()).is_ok());
        }
    }

    #[test]
    fn a_link_opens_one_session_in_time() {
        let sessions = sessions();
        let (token, ends_at) = sessions.link(Principal::Owner, begin()).expect("a link");
        assert_eq!(sessions.follow(&token, begin()), Some(Principal::Owner));
        assert_eq!(sessions.follow(&token, begin()), None, "once");
        let (late, _) = sessions.link(Principal::Owner, begin()).expect("a link");
        assert_eq!(sessions.follow(&late, ends_at), None);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_pages_and_there_are_not_too_many() {
        let sessions = sessions();
        let cookie = sessions.set_cookie("v");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("Secure"));
        let secure = Sessions::new(sessions.settings.clone(), true).set_cookie("v");
        assert!(secure.starts_with("__Host-") && secure.contains("; Secure") && secure.contains("Path=/"), "{secure}");
        let key = |no: u32| Principal::Kept(format!("smk_{no}"));
        for no in 0..3 {
            sessions.open(key(no), begin()).expect("there is room");
        }
        assert!(matches!(sessions.open(key(3), begin()), Err(ApiError::Unavailable { .. })));
        // Those that have rested too long make room.
        sessions.open(key(3), begin() + MINUTE * 30).expect("there is room");
        assert_eq!(sessions.open.len(), 1);
    }

    #[test]
    fn one_key_has_few_sessions_of_which_the_one_that_rested_longest_ends() {
        let sessions = sessions();
        let open = |minute: u32| sessions.open(Principal::Owner, begin() + MINUTE * minute).expect("there is room");
        let is_open = |opened: &Opened, minute: u32| {
            let cookie = headers(&[("cookie", &format!("smart-maintenance={}", opened.cookie))]);
            sessions.of("GET", &cookie, begin() + MINUTE * minute).is_ok()
        };
        // Given two sessions, of which the older one is at work,
        let (first, second) = (open(0), open(1));
        assert!(is_open(&first, 2));
        // when a third is opened, then the other one ends; those of other keys do not count.
        let third = open(3);
        sessions.open(Principal::Kept("smk_1".to_owned()), begin() + MINUTE * 3).expect("there is room");
        assert_eq!([&first, &second, &third].map(|opened| is_open(opened, 4)), [true, false, true]);
    }
}
