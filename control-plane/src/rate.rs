//! How often one caller may ask: buckets by caller for each class of routes.
//!
//! They are this process's own; with Redis they are shared with the other nodes as well, and while Redis is gone each
//! node keeps its own. Memory is bounded: callers beyond `buckets_max` share one bucket.

use crate::api_error::ApiError;
use crate::routes::Class;
use crate::server::Peer;
use config::ConfigError;
use dashmap::DashMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use persistence::redis::Redis;
use runtime::Metrics;
use runtime::metrics::Limit;
use serde::Deserialize;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use warp::http::{HeaderMap, HeaderName, HeaderValue};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// `[rate_limits]`. None of the numbers may be 0.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Requests of one key in a second.
    pub(crate) requests_per_second_max: u32,
    /// Requests without a key from one address in a second.
    pub(crate) strangers_per_second_max: u32,
    /// Drift checks of one key in a minute.
    pub(crate) check_drift_per_minute_max: u32,
    /// Simulations and demos of one key in a minute.
    pub(crate) simulations_per_minute_max: u32,
    /// Reports of one key in a minute.
    pub(crate) reports_per_minute_max: u32,
    /// Changes to keys and settings by one key in a minute.
    pub(crate) changes_per_minute_max: u32,
    /// Wrong keys from one address in a minute.
    pub(crate) failed_logins_per_minute_max: u32,
    /// Callers remembered for each limit.
    pub(crate) buckets_max: usize,
}

impl Settings {
    /// Refuses limits that let nobody in.
    ///
    /// # Errors
    ///
    /// The setting.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("requests_per_second_max", self.requests_per_second_max),
            ("strangers_per_second_max", self.strangers_per_second_max),
            ("check_drift_per_minute_max", self.check_drift_per_minute_max),
            ("simulations_per_minute_max", self.simulations_per_minute_max),
            ("reports_per_minute_max", self.reports_per_minute_max),
            ("changes_per_minute_max", self.changes_per_minute_max),
            ("failed_logins_per_minute_max", self.failed_logins_per_minute_max),
            ("buckets_max", u32::from(self.buckets_max != 0)),
        ];
        match numbers.into_iter().find(|(_, number)| *number == 0) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::Refused {
                key: format!("rate_limits.{key}"),
                reason: "must be at least 1".to_owned(),
                origin: "the merged settings".to_owned(),
            }),
        }
    }
}

/// How a caller stands with a limit after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The limit, by its name in the settings.
    policy: Limit,
    limit: u32,
    window: Duration,
    /// Requests left at once.
    remaining: u32,
    /// Until one more is let in, when none is left.
    wait: Duration,
}

impl Standing {
    /// Seconds after which the caller may try again, rounded up.
    pub(crate) fn retry_after_seconds(&self) -> u64 {
        self.wait.as_secs() + u64::from(self.wait.subsec_nanos() != 0)
    }

    /// The fields that tell it.
    ///
    /// # Source
    ///
    /// draft-ietf-httpapi-ratelimit-headers-09.
    pub(crate) fn fields(&self) -> [(&'static str, String); 2] {
        let Self { limit, window, remaining, .. } = self;
        let policy = self.policy.as_str();
        let reset = self.retry_after_seconds().max(u64::from(*remaining == 0));
        [
            ("ratelimit-policy", format!("\"{policy}\";q={limit};w={}", window.as_secs())),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={reset}")),
        ]
    }

    /// Tells it in `headers`.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            let value = HeaderValue::from_str(&value).expect("names and numbers are visible ASCII");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

type Limiter = RateLimiter<u64, DashMapStateStore<u64>, DefaultClock, StateInformationMiddleware>;

/// One limit, and how its callers stand.
struct Buckets {
    policy: Limit,
    limit: NonZeroU32,
    window: Duration,
    limiter: Limiter,
    buckets_max: usize,
    hasher: RandomState,
}

impl Buckets {
    fn new(policy: Limit, limit: u32, window: Duration, buckets_max: usize) -> Self {
        let limit = NonZeroU32::new(limit).expect("the settings were checked");
        let quota = Quota::with_period(window / limit.get()).expect("a window is longer than nothing");
        let limiter = RateLimiter::dashmap(quota.allow_burst(limit)).with_middleware();
        Self { policy, limit, window, limiter, buckets_max, hasher: RandomState::new() }
    }

    /// Takes one request from the bucket of `who`; `Err` when it is empty.
    fn take(&self, who: &str) -> Result<Standing, Standing> {
        let mut bucket = self.hasher.hash_one(who);
        if self.buckets_max <= self.limiter.len() {
            // Those that are full again are no different from new ones.
            self.limiter.retain_recent();
            if self.buckets_max <= self.limiter.len() {
                bucket = 0;
            }
        }
        match self.limiter.check_key(&bucket) {
            Ok(taken) => Ok(self.standing(taken.remaining_burst_capacity(), Duration::ZERO)),
            Err(until) => Err(self.standing(0, until.wait_time_from(DefaultClock::default().now()))),
        }
    }
}

impl Buckets {
    fn standing(&self, remaining: u32, wait: Duration) -> Standing {
        Standing { policy: self.policy, limit: self.limit.get(), window: self.window, remaining, wait }
    }
}

/// Addresses for which something is not done, and until when.
struct Lockout {
    until: DashMap<String, Instant>,
    /// Addresses from which on those whose time is over are forgotten.
    addresses_max: usize,
}

impl Lockout {
    fn new(addresses_max: usize) -> Self {
        Self { until: DashMap::new(), addresses_max }
    }

    fn begin(&self, who: String, wait: Duration) {
        if self.addresses_max <= self.until.len() {
            self.until.retain(|_, until| Instant::now() < *until);
        }
        self.until.insert(who, Instant::now() + wait);
    }

    /// How long it goes on for `who`; `None` when it does not.
    fn left(&self, who: &str) -> Option<Duration> {
        let until = self.until.get(who).map(|until| *until)?;
        until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }
}

/// All limits of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rates(Arc<Inner>);

struct Inner {
    requests: Buckets,
    strangers: Buckets,
    check_drift: Buckets,
    simulations: Buckets,
    reports: Buckets,
    changes: Buckets,
    failed_logins: Buckets,
    /// Addresses that sent too many wrong keys: nothing that can be guessed is tried for them.
    locked_out: Lockout,
    /// Addresses that were refused too often: no key that is not known yet is looked up for them.
    turned_away: Lockout,
    redis: Option<Redis>,
    metrics: Metrics,
}

impl Rates {
    pub(crate) fn new(settings: &Settings, redis: Option<Redis>, metrics: Metrics) -> Self {
        let buckets = |policy, limit, window| Buckets::new(policy, limit, window, settings.buckets_max);
        Self(Arc::new(Inner {
            requests: buckets(Limit::Requests, settings.requests_per_second_max, SECOND),
            strangers: buckets(Limit::Strangers, settings.strangers_per_second_max, SECOND),
            check_drift: buckets(Limit::CheckDrift, settings.check_drift_per_minute_max, MINUTE),
            simulations: buckets(Limit::Simulations, settings.simulations_per_minute_max, MINUTE),
            reports: buckets(Limit::Reports, settings.reports_per_minute_max, MINUTE),
            changes: buckets(Limit::Changes, settings.changes_per_minute_max, MINUTE),
            failed_logins: buckets(Limit::FailedLogins, settings.failed_logins_per_minute_max, MINUTE),
            locked_out: Lockout::new(settings.buckets_max),
            turned_away: Lockout::new(settings.buckets_max),
            redis,
            metrics,
        }))
    }

    /// Takes a request of the caller with that id to a route of `class`; a stranger is known by the address.
    ///
    /// # Errors
    ///
    /// [`ApiError::TooMany`] when there were too many.
    pub(crate) async fn take(
        &self,
        class: Class,
        caller: Option<&str>,
        peer: Option<Peer>,
    ) -> Result<Standing, ApiError> {
        let inner = &*self.0;
        let who = caller.map_or_else(|| address_of(peer), str::to_owned);
        let every = if caller.is_some() { &inner.requests } else { &inner.strangers };
        let standing = self.of(every, &who).await?;
        let own = match class {
            Class::Drift => &inner.check_drift,
            Class::Simulate => &inner.simulations,
            Class::Report => &inner.reports,
            Class::Control => &inner.changes,
            _ => return Ok(standing),
        };
        self.of(own, &who).await
    }

    /// Takes one from the bucket of `peer`'s address, and begins its `lockout` when there is none left.
    async fn of_or_lock_out(&self, buckets: &Buckets, lockout: &Lockout, peer: Option<Peer>) -> Result<(), ApiError> {
        let who = address_of(peer);
        let taken = self.of(buckets, &who).await;
        if let Err(ApiError::TooMany(standing)) = &taken {
            lockout.begin(who, standing.wait);
        }
        taken.map(|_| ())
    }

    /// Takes a wrong key from `peer`.
    ///
    /// # Errors
    ///
    /// [`ApiError::TooMany`] when there were too many.
    pub(crate) async fn failed_login(&self, peer: Option<Peer>) -> Result<(), ApiError> {
        self.of_or_lock_out(&self.0.failed_logins, &self.0.locked_out, peer).await
    }

    /// Takes a refusal of a stranger at `peer`.
    ///
    /// # Errors
    ///
    /// [`ApiError::TooMany`] when there were too many.
    pub(crate) async fn refused(&self, peer: Option<Peer>) -> Result<(), ApiError> {
        self.of_or_lock_out(&self.0.strangers, &self.0.turned_away, peer).await
    }

    /// Refuses `peer` while it has been refused too often. Nothing is taken: whoever turns out to be known costs those
    /// behind the same address nothing.
    ///
    /// # Errors
    ///
    /// [`ApiError::TooMany`] then.
    pub(crate) fn check_refusals(&self, peer: Option<Peer>) -> Result<(), ApiError> {
        self.check(&self.0.turned_away, &self.0.strangers, peer)
    }

    /// Refuses `peer` while it has sent too many wrong keys.
    ///
    /// # Errors
    ///
    /// [`ApiError::TooMany`] then.
    pub(crate) fn check_lockout(&self, peer: Option<Peer>) -> Result<(), ApiError> {
        self.check(&self.0.locked_out, &self.0.failed_logins, peer)
    }

    fn check(&self, lockout: &Lockout, buckets: &Buckets, peer: Option<Peer>) -> Result<(), ApiError> {
        match lockout.left(&address_of(peer)) {
            Some(wait) => {
                self.0.metrics.limit_reached(buckets.policy);
                Err(ApiError::TooMany(buckets.standing(0, wait)))
            }
            None => Ok(()),
        }
    }

    async fn of(&self, buckets: &Buckets, who: &str) -> Result<Standing, ApiError> {
        let own = buckets.take(who);
        let shared = match (&own, &self.0.redis) {
            (Ok(_), Some(redis)) => redis.take(buckets.policy.as_str(), who, buckets.limit.get(), buckets.window).await,
            _ => None,
        };
        let standing = match (own, shared) {
            (Ok(own), Some(shared)) => {
                let standing = Standing { remaining: own.remaining.min(shared.remaining), wait: shared.wait, ..own };
                if shared.wait.is_zero() { Ok(standing) } else { Err(standing) }
            }
            (own, _) => own,
        };
        standing.map_err(|standing| {
            self.0.metrics.limit_reached(standing.policy);
            ApiError::TooMany(standing)
        })
    }
}

fn address_of(peer: Option<Peer>) -> String {
    peer.map_or_else(|| "nowhere".to_owned(), |peer| peer.address.to_string())
}

/// The refusal in words, as the old system put it.
pub(crate) fn told(standing: &Standing) -> String {
    let unit = if standing.window == SECOND { "second" } else { "minute" };
    format!("Rate limit exceeded: {} per 1 {unit}", standing.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_of_ten_is_told_how_long_to_wait() {
        let buckets = Buckets::new(Limit::CheckDrift, 10, MINUTE, 100);
        for left in (0..10).rev() {
            assert_eq!(buckets.take("a").expect("let in").remaining, left);
        }
        let refused = buckets.take("a").expect_err("too many");
        assert_eq!(told(&refused), "Rate limit exceeded: 10 per 1 minute");
        assert!((1..=6).contains(&refused.retry_after_seconds()), "{refused:?}");
        let [(_, policy), (_, left)] = refused.fields();
        assert_eq!(policy, "\"check_drift_per_minute_max\";q=10;w=60");
        assert!(left.starts_with("\"check_drift_per_minute_max\";r=0;t="), "{left}");
        assert!(buckets.take("b").is_ok(), "another caller has a bucket of their own");
    }

    #[test]
    fn callers_beyond_those_remembered_share_a_bucket() {
        let buckets = Buckets::new(Limit::FailedLogins, 2, MINUTE, 100);
        for caller in 0..100 {
            assert!(buckets.take(&format!("{caller}")).is_ok());
        }
        let n_let_in = (100..1_100).filter(|caller| buckets.take(&format!("{caller}")).is_ok()).count();
        assert_eq!(n_let_in, 2);
        assert!(buckets.limiter.len() <= 101);
    }
}
