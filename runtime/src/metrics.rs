//! Every metric there is: names, help and labels stand here and nowhere else.
//!
//! Figures that are counted where something happens are moved there; those that somebody else keeps (the store's
//! writer, the slots of the tree, the operating system) are read at each scrape.

mod commits;
mod labels;
mod plain;
mod process;

pub use labels::Limit;

use crate::slot::{Kind, State};
use crate::status::AgentStatus;
use commits::Commits;
use domain::Timestamp;
use labels::{AgentLabel, AgentStateLabels, BuildLabels, LimitLabel, RequestLabels, RouteLabels, SettingLabel};
use persistence::WriterStats;
use process::Process;
use prometheus_client::encoding::text;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Begins each name but one.
const PREFIX: &str = "smart_maintenance_";
/// Upper bounds of the classes of times to handle one event, in seconds; the last is the default deadline.
const HANDLING_SECONDS: [f64; 12] = [1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds of the classes of times to answer a request, in seconds.
const ANSWER_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// In which of two forms the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' own text format, which every scraper reads.
    Text,
    /// OpenMetrics, for those that ask for it.
    OpenMetrics,
}

impl Form {
    /// The form for a scraper that sends `accept`.
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One metric, as its documentation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The name that a query uses; that of a histogram is without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;
type SecondsTotal = Counter<f64, AtomicU64>;

/// The node's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    described: Vec<Described>,
    agent_up: Family<AgentLabel, Gauge>,
    agent_state: Family<AgentStateLabels, Gauge>,
    agent_restarts: Family<AgentLabel, Counter>,
    agent_mailbox: Family<AgentLabel, Gauge>,
    agent_oldest: Family<AgentLabel, Seconds>,
    agent_lag: Family<AgentLabel, Gauge>,
    agent_handling: Family<AgentLabel, Histogram>,
    dead_letters: Family<AgentLabel, Counter>,
    ingest_accepted: Counter,
    ingest_rejected: Counter,
    limits: Family<SettingLabel, Seconds>,
    limits_reached: Family<LimitLabel, Counter>,
    audit_chain: Gauge,
    backlog: BacklogGauges,
    writer: WriterMetrics,
    process: ProcessMetrics,
    http_requests: Family<RequestLabels, Counter>,
    http_latency: Family<RouteLabels, Histogram>,
}

/// What stands in the store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Cases not closed yet.
    pub open_cases: u64,
    /// Questions that wait for a person.
    pub pending_decisions: u64,
    /// Since when the oldest of them does.
    pub oldest_decision_at: Option<Timestamp>,
    /// Dead letters that nobody has dealt with.
    pub open_dead_letters: u64,
}

#[derive(Debug, Default)]
struct BacklogGauges {
    open_cases: Gauge,
    pending_decisions: Gauge,
    oldest_decision: Seconds,
    open_dead_letters: Gauge,
}

#[derive(Debug, Default)]
struct WriterMetrics {
    commits: Commits,
    units: Counter,
    units_refused: Counter,
    events: Counter,
    readings: Counter,
    groups_rerun: Counter,
    failures: Counter,
    queue: Gauge,
    wal_bytes: Gauge,
    file_bytes: Gauge,
}

#[derive(Debug, Default)]
struct ProcessMetrics {
    cpu_seconds: SecondsTotal,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    threads: Gauge,
    started_at: Seconds,
}

/// Registers metrics and writes down what they are.
#[derive(Default)]
struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

impl Catalogue {
    fn add<M>(&mut self, name: &str, labels: &'static [&'static str], help: &'static str, metric: &M)
    where
        M: Metric + TypedMetric + Clone,
    {
        self.add_bare(&format!("{PREFIX}{name}"), labels, help, metric);
    }

    fn add_bare<M>(&mut self, name: &str, labels: &'static [&'static str], help: &'static str, metric: &M)
    where
        M: Metric + TypedMetric + Clone,
    {
        self.registry.register(name, help, metric.clone());
        let kind = M::TYPE.as_str();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        self.described.push(Described { name, kind, labels, help });
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    pub fn new() -> Self {
        let agent_handling: Family<AgentLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(HANDLING_SECONDS));
        let http_latency: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(ANSWER_SECONDS));
        let mut inner = Inner {
            registry: Registry::default(),
            described: Vec::new(),
            agent_up: Family::default(),
            agent_state: Family::default(),
            agent_restarts: Family::default(),
            agent_mailbox: Family::default(),
            agent_oldest: Family::default(),
            agent_lag: Family::default(),
            agent_handling,
            dead_letters: Family::default(),
            ingest_accepted: Counter::default(),
            ingest_rejected: Counter::default(),
            limits: Family::default(),
            limits_reached: Family::default(),
            audit_chain: Gauge::default(),
            backlog: BacklogGauges::default(),
            writer: WriterMetrics::default(),
            process: ProcessMetrics::default(),
            http_requests: Family::default(),
            http_latency,
        };
        for limit in Limit::ALL {
            inner.limits_reached.get_or_create(&LimitLabel { limit }).inc_by(0);
        }
        let Catalogue { registry, described } = inner.catalogue();
        inner.registry = registry;
        inner.described = described;
        Self(Arc::new(inner))
    }

    /// Every metric there is, in the order in which they are written.
    pub fn described(&self) -> &[Described] {
        &self.0.described
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

    /// The limit that is called `setting` in the settings stands at `value`.
    pub fn limit(&self, setting: &str, value: f64) {
        self.0.limits.get_or_create(&SettingLabel { setting: setting.to_owned() }).set(value);
    }

    /// A request was refused because of `limit`.
    pub fn limit_reached(&self, limit: Limit) {
        self.0.limits_reached.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Whether the audit chain held when it was last looked at.
    pub fn audit_chain(&self, holds: bool) {
        self.0.audit_chain.set(i64::from(holds));
    }

    /// A request to `route` (its pattern) was answered.
    pub fn answered(&self, route: &'static str, method: &'static str, status: u16, elapsed: Duration) {
        self.0.http_requests.get_or_create(&RequestLabels { handler: route, method, status }).inc();
        self.0.http_latency.get_or_create(&RouteLabels { route, method }).observe(elapsed.as_secs_f64());
    }

    /// What stands in the store at `now`.
    pub fn backlog(&self, backlog: &Backlog, now: Timestamp) {
        let gauges = &self.0.backlog;
        gauges.open_cases.set(whole(backlog.open_cases));
        gauges.pending_decisions.set(whole(backlog.pending_decisions));
        let age = backlog.oldest_decision_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        gauges.oldest_decision.set(age.max(0.0));
        gauges.open_dead_letters.set(whole(backlog.open_dead_letters));
    }

    /// What the store's writer did so far.
    pub fn writer(&self, stats: &WriterStats) {
        let ours = &self.0.writer;
        ours.commits.set(stats);
        raise(&ours.units, stats.units);
        raise(&ours.units_refused, stats.units_refused);
        raise(&ours.events, stats.events);
        raise(&ours.readings, stats.readings);
        raise(&ours.groups_rerun, stats.groups_rerun);
        raise(&ours.failures, stats.failures);
        ours.queue.set(whole(stats.queue_depth as u64));
        ours.wal_bytes.set(whole(stats.wal_bytes));
        ours.file_bytes.set(whole(stats.file_bytes));
    }

    /// The agents as they are at this moment.
    pub fn agents(&self, agents: &[AgentStatus]) {
        let inner = &self.0;
        for status in agents {
            let agent = status.name;
            let label = AgentLabel { agent };
            inner.agent_up.get_or_create(&label).set(i64::from(status.state == State::Running));
            for state in State::ALL {
                let label = AgentStateLabels { agent, state: state.as_str() };
                inner.agent_state.get_or_create(&label).set(i64::from(status.state == state));
            }
            raise(&inner.agent_restarts.get_or_create(&label), status.restarts);
            inner.agent_mailbox.get_or_create(&label).set(whole(status.mailbox));
            if matches!(status.kind, Kind::Agent | Kind::Worker) {
                inner.agent_oldest.get_or_create(&label).set(status.oldest_seconds);
                inner.agent_lag.get_or_create(&label).set(status.lag);
                // One that has handled nothing yet, or given nothing up, says so.
                drop(inner.agent_handling.get_or_create(&label));
                inner.dead_letters.get_or_create(&label).inc_by(0);
            }
        }
    }

    /// The metrics as text, with the figures of the process as they are now.
    ///
    /// # Panics
    ///
    /// Never: writing to a string does not fail.
    pub fn encode(&self, form: Form) -> String {
        if let Some(process) = Process::now() {
            self.0.process.set(&process);
        }
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("writing to a string does not fail");
        match form {
            Form::OpenMetrics => out,
            Form::Text => plain::of_open_metrics(&out),
        }
    }
}

impl Inner {
    /// Name, labels and help of every metric.
    fn catalogue(&self) -> Catalogue {
        const AGENT: &[&str] = &["agent"];
        let mut all = Catalogue::default();
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels::this()).set(1);
        all.add("build_info", &["version", "profile"], "1, with what is running in its labels", &build);

        all.add("agent_up", AGENT, "1 while the agent is at work, 0 while it is not", &self.agent_up);
        all.add("agent_state", &["agent", "state"], "1 for the state that the agent is in, else 0", &self.agent_state);
        all.add("agent_restarts", AGENT, "Incarnations after the first", &self.agent_restarts);
        all.add("agent_mailbox_messages", AGENT, "Messages in the agent's mailbox", &self.agent_mailbox);
        all.add("agent_oldest_seconds", AGENT, "Age of the oldest event not handled yet", &self.agent_oldest);
        all.add("agent_lag_events", AGENT, "Events between the agent and the end of the log", &self.agent_lag);
        all.add("agent_handling_seconds", AGENT, "Time to handle one event", &self.agent_handling);
        all.add("dead_letters", AGENT, "Events given up since the node started", &self.dead_letters);

        all.add("ingest_accepted_readings", &[], "Readings stored", &self.ingest_accepted);
        all.add("ingest_rejected_readings", &[], "Readings refused because they made no sense", &self.ingest_rejected);
        all.add(
            "audit_chain_ok",
            &[],
            "1 while the audit chain holds, 0 if it does not or was not looked at",
            &self.audit_chain,
        );
        all.add("limit", &["setting"], "A limit as it is set, in the unit that its name tells", &self.limits);
        all.add("limits_reached", &["limit"], "Requests refused because of a limit", &self.limits_reached);

        let backlog = &self.backlog;
        all.add("cases_open", &[], "Cases not closed yet", &backlog.open_cases);
        all.add("decisions_pending", &[], "Questions that wait for a person", &backlog.pending_decisions);
        all.add("decisions_oldest_seconds", &[], "How long the oldest of them has waited", &backlog.oldest_decision);
        all.add("dead_letters_open", &[], "Dead letters that nobody has dealt with", &backlog.open_dead_letters);

        let writer = &self.writer;
        all.add("writer_commit_seconds", &[], "Time from the begin of a commit to its end", &writer.commits);
        all.add("writer_units", &[], "Units of work committed", &writer.units);
        all.add("writer_units_refused", &[], "Units of work refused, for whatever reason", &writer.units_refused);
        all.add("writer_events", &[], "Events committed", &writer.events);
        all.add("writer_readings", &[], "Readings committed", &writer.readings);
        let rerun = "Commits applied unit by unit because one of theirs was refused";
        all.add("writer_groups_rerun", &[], rerun, &writer.groups_rerun);
        all.add("writer_failures", &[], "Times the store could not be written to", &writer.failures);
        all.add("writer_queue_units", &[], "Units of work that wait for the writer", &writer.queue);
        all.add("store_wal_bytes", &[], "Size of the write-ahead log", &writer.wal_bytes);
        all.add("store_database_bytes", &[], "Size of the database without its write-ahead log", &writer.file_bytes);

        let process = &self.process;
        all.add("process_cpu_seconds", &[], "Processor time used, user and system", &process.cpu_seconds);
        all.add("process_resident_memory_bytes", &[], "Memory in use", &process.resident_bytes);
        all.add("process_virtual_memory_bytes", &[], "Address space in use", &process.virtual_bytes);
        all.add("process_open_fds", &[], "File descriptors open", &process.open_files);
        all.add("process_max_fds", &[], "File descriptors allowed", &process.max_files);
        all.add("process_threads", &[], "Threads of the operating system", &process.threads);
        all.add("process_start_time_seconds", &[], "When the process started, in Unix time", &process.started_at);

        all.add("http_request_seconds", &["route", "method"], "Time to answer a request", &self.http_latency);
        // The one name without our prefix: clients of the old system look for it.
        all.add_bare("http_requests", &["handler", "method", "status"], "Requests answered", &self.http_requests);
        all
    }
}

impl ProcessMetrics {
    fn set(&self, process: &Process) {
        self.cpu_seconds.inc_by((process.cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.resident_bytes.set(whole(process.resident_bytes));
        self.virtual_bytes.set(whole(process.virtual_bytes));
        self.open_files.set(whole(process.open_files));
        self.max_files.set(whole(process.max_files));
        self.threads.set(process.threads);
        self.started_at.set(process.started_at_seconds);
    }
}

/// Brings a counter to what somebody else has counted.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &'static str, state: State) -> AgentStatus {
        AgentStatus {
            name,
            kind: Kind::Agent,
            state,
            restarts: 2,
            mailbox: 0,
            oldest_seconds: 0.0,
            lag: 0,
            cursor: 0,
            last_error: None,
        }
    }

    #[test]
    fn a_request_is_counted_under_the_name_that_old_clients_look_for() {
        let metrics = Metrics::new();
        metrics.answered("/health", "GET", 200, Duration::from_millis(1));
        for form in [Form::Text, Form::OpenMetrics] {
            let text = metrics.encode(form);
            assert!(text.contains(r#"http_requests_total{handler="/health",method="GET",status="200"} 1"#), "{text}");
        }
    }

    #[test]
    fn restarts_follow_the_status_without_counting_twice() {
        let metrics = Metrics::new();
        let mut status = status("drift", State::Running);
        metrics.agents(std::slice::from_ref(&status));
        status.restarts = 3;
        metrics.agents(&[status]);
        assert!(metrics.encode(Form::Text).contains(r#"smart_maintenance_agent_restarts_total{agent="drift"} 3"#));
    }

    #[test]
    fn a_paused_agent_is_shown_as_that_and_as_not_at_work() {
        let metrics = Metrics::new();
        metrics.agents(&[status("drift", State::Paused)]);
        let text = metrics.encode(Form::Text);
        for line in [
            r#"smart_maintenance_agent_up{agent="drift"} 0"#,
            r#"smart_maintenance_agent_state{agent="drift",state="paused"} 1"#,
            r#"smart_maintenance_agent_state{agent="drift",state="running"} 0"#,
            r#"smart_maintenance_dead_letters_total{agent="drift"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn each_metric_is_described_once_and_written_under_that_name() {
        let metrics = Metrics::new();
        metrics.agents(&[status("drift", State::Running)]);
        metrics.answered("/health", "GET", 200, Duration::from_millis(1));
        metrics.limit("server.connections_max", 1.0);
        let text = metrics.encode(Form::Text);
        let written: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
        let described: Vec<_> = metrics.described().iter().map(|one| (one.name.clone(), one.kind)).collect();
        assert_eq!(written, described);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_measured() {
        let text = Metrics::new().encode(Form::Text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
            line.trim().parse().expect("a number")
        };
        assert!(1e6 < value("smart_maintenance_process_resident_memory_bytes"));
        assert!(1e9 < value("smart_maintenance_process_start_time_seconds"));
        assert!(3.0 <= value("smart_maintenance_process_open_fds"));
    }
}
