//! Every metric there is: names, help and labels stand here and nowhere else.

use crate::slot::{Kind, State};
use crate::status::AgentStatus;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabel {
    agent: &'static str,
}

/// One finished request. `handler` is the route's pattern, never the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    handler: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The node's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    agent_up: Family<AgentLabel, Gauge>,
    agent_restarts: Family<AgentLabel, Counter>,
    agent_mailbox: Family<AgentLabel, Gauge>,
    agent_oldest: Family<AgentLabel, Seconds>,
    agent_lag: Family<AgentLabel, Gauge>,
    agent_handling: Family<AgentLabel, Histogram>,
    dead_letters: Family<AgentLabel, Counter>,
    ingest_accepted: Counter,
    ingest_rejected: Counter,
    limits_reached: Family<LimitLabel, Counter>,
    open_cases: Gauge,
    pending_decisions: Gauge,
    http_requests: Family<RequestLabels, Counter>,
    http_latency: Family<RouteLabels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let handling: Family<AgentLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-5, 4.0, 10)));
        let latency: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(5e-4, 2.0, 15)));
        let mut inner = Inner {
            registry: Registry::default(),
            agent_up: Family::default(),
            agent_restarts: Family::default(),
            agent_mailbox: Family::default(),
            agent_oldest: Family::default(),
            agent_lag: Family::default(),
            agent_handling: handling,
            dead_letters: Family::default(),
            ingest_accepted: Counter::default(),
            ingest_rejected: Counter::default(),
            limits_reached: Family::default(),
            open_cases: Gauge::default(),
            pending_decisions: Gauge::default(),
            http_requests: Family::default(),
            http_latency: latency,
        };
        let ours = registry.sub_registry_with_prefix("smart_maintenance");
        ours.register("agent_up", "1 while the agent is at work, 0 while it is not", inner.agent_up.clone());
        ours.register("agent_restarts", "Incarnations after the first", inner.agent_restarts.clone());
        ours.register("agent_mailbox_messages", "Messages in the agent's mailbox", inner.agent_mailbox.clone());
        ours.register("agent_oldest_seconds", "Age of the oldest event not handled yet", inner.agent_oldest.clone());
        ours.register("agent_lag_events", "Events between the agent and the end of the log", inner.agent_lag.clone());
        ours.register("agent_handling_seconds", "Time to handle one event", inner.agent_handling.clone());
        ours.register("dead_letters", "Events given up", inner.dead_letters.clone());
        ours.register("ingest_accepted_readings", "Readings stored", inner.ingest_accepted.clone());
        ours.register(
            "ingest_rejected_readings",
            "Readings refused because they made no sense",
            inner.ingest_rejected.clone(),
        );
        ours.register("limits_reached", "Requests refused because of a limit", inner.limits_reached.clone());
        ours.register("cases_open", "Cases not closed yet", inner.open_cases.clone());
        ours.register("decisions_pending", "Questions that wait for a person", inner.pending_decisions.clone());
        ours.register("http_request_seconds", "Time to answer a request", inner.http_latency.clone());
        // The one name without our prefix: clients of the old system look for it.
        registry.register("http_requests", "Requests answered", inner.http_requests.clone());
        inner.registry = registry;
        Self(Arc::new(inner))
    }

    pub(crate) fn handled(&self, agent: &'static str, elapsed: Duration) {
        self.0.agent_handling.get_or_create(&AgentLabel { agent }).observe(elapsed.as_secs_f64());
    }

    pub(crate) fn dead_letter(&self, agent: &'static str) {
        self.0.dead_letters.get_or_create(&AgentLabel { agent }).inc();
    }

    /// `accepted` readings were stored and `rejected` ones refused.
    pub fn ingested(&self, accepted: u64, rejected: u64) {
        self.0.ingest_accepted.inc_by(accepted);
        self.0.ingest_rejected.inc_by(rejected);
    }

    /// A request was refused because of `limit`, by its name in the settings.
    pub fn limit_reached(&self, limit: &'static str) {
        self.0.limits_reached.get_or_create(&LimitLabel { limit }).inc();
    }

    /// A request to `route` (its pattern) was answered.
    pub fn answered(&self, route: &'static str, method: &'static str, status: u16, elapsed: Duration) {
        self.0.http_requests.get_or_create(&RequestLabels { handler: route, method, status }).inc();
        self.0.http_latency.get_or_create(&RouteLabels { route, method }).observe(elapsed.as_secs_f64());
    }

    /// What stands in the store at this moment.
    pub fn backlog(&self, open_cases: u64, pending_decisions: u64) {
        self.0.open_cases.set(i64::try_from(open_cases).unwrap_or(i64::MAX));
        self.0.pending_decisions.set(i64::try_from(pending_decisions).unwrap_or(i64::MAX));
    }

    /// The agents as they are at this moment.
    pub fn agents(&self, agents: &[AgentStatus]) {
        for status in agents {
            let label = AgentLabel { agent: status.name };
            let inner = &self.0;
            inner.agent_up.get_or_create(&label).set(i64::from(status.state == State::Running));
            let restarts = inner.agent_restarts.get_or_create(&label);
            restarts.inc_by(status.restarts.saturating_sub(restarts.get()));
            drop(restarts);
            inner.agent_mailbox.get_or_create(&label).set(i64::try_from(status.mailbox).unwrap_or(i64::MAX));
            if matches!(status.kind, Kind::Agent | Kind::Worker) {
                inner.agent_oldest.get_or_create(&label).set(status.oldest_seconds);
                inner.agent_lag.get_or_create(&label).set(status.lag);
            }
        }
    }

    /// The metrics as OpenMetrics text.
    ///
    /// # Panics
    ///
    /// Never: writing to a string does not fail.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("writing to a string does not fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_under_the_name_that_old_clients_look_for() {
        let metrics = Metrics::new();
        metrics.answered("/health", "GET", 200, Duration::from_millis(1));
        let text = metrics.encode();
        assert!(text.contains(r#"http_requests_total{handler="/health",method="GET",status="200"} 1"#), "{text}");
    }

    #[test]
    fn restarts_follow_the_status_without_counting_twice() {
        let metrics = Metrics::new();
        let mut status = AgentStatus {
            name: "drift",
            kind: Kind::Agent,
            state: State::Running,
            restarts: 2,
            mailbox: 0,
            oldest_seconds: 0.0,
            lag: 0,
            cursor: 0,
            last_error: None,
        };
        metrics.agents(std::slice::from_ref(&status));
        status.restarts = 3;
        metrics.agents(&[status]);
        assert!(metrics.encode().contains(r#"smart_maintenance_agent_restarts_total{agent="drift"} 3"#));
    }
}
