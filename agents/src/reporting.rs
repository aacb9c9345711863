//! Counts reports from the store.
//!
//! Takes in: `ReportRequested`; `TechnicianDeclared`, `TechnicianRemoved`, `SiteDeclared` and its timer, for the shift
//! handover. Emits: `ReportGenerated`. Remembers: the crew, the site's time zone, and the shift that ends next.
//!
//! The names of the figures are those that the clients of the older system look for. A figure that cannot
//! be counted from what is stored is null, and a note says why.

mod handover;

use domain::anomaly::Verdict;
use domain::asset::Technician;
use domain::report::{Generated, Requested};
use domain::{Event, ReportId, TechnicianId, Timestamp};
use jiff::tz::TimeZone;
use persistence::reports::{self, AnomalyCounts, CaseCounts, Count, MaintenanceCounts, SystemCounts};
use persistence::{History, StoreError};
use runtime::{Agent, Ctx, Failure};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Change from one half of the time to the other, as a share, from which on it is a trend.
const TREND_SHARE_MIN: f64 = 0.2;

/// The one timer.
const SHIFT_ENDS: &str = "shift_ends";

/// `[agents.reporting]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Whether a handover is made whenever a technician's shift ends.
    pub handover_at_shift_end: bool,
}

/// The agent.
pub struct Reporting {
    settings: Settings,
    history: History,
    /// The site's, until somebody declares where it is.
    time_zone: TimeZone,
}

/// What it remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    crew: BTreeMap<TechnicianId, Technician>,
    #[serde(with = "jiff::fmt::serde::tz::optional")]
    time_zone: Option<TimeZone>,
    /// Begin and end of the shift that ends next.
    shift: Option<(Timestamp, Timestamp)>,
}

/// What it hears.
pub enum Message {
    /// A report is wanted.
    Requested(Requested),
    /// Somebody who works in shifts.
    Joined(Technician),
    /// Somebody who does not any more.
    Left(TechnicianId),
    /// Where the clock on the wall is.
    Site(TimeZone),
    /// A shift may have ended.
    ShiftEnds,
}

impl Agent for Reporting {
    const NAME: &'static str = "reporting";
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = (History, TimeZone);
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (history, time_zone): (History, TimeZone)) -> anyhow::Result<Self> {
        Ok(Self { settings, history, time_zone })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::ReportRequested(requested) => Some(Message::Requested(requested.clone())),
            Event::TechnicianDeclared { technician, .. } => Some(Message::Joined(technician.clone())),
            Event::TechnicianRemoved { technician, .. } => Some(Message::Left(technician.clone())),
            Event::SiteDeclared { site, .. } => Some(Message::Site(TimeZone::get(&site.time_zone).ok()?)),
            Event::TimerDue { agent, key } if agent == Self::NAME && key == SHIFT_ENDS => Some(Message::ShiftEnds),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Requested(requested) => {
                // Whoever asked for it reads it.
                let made = Generated { notice: None, ..self.generate(state, requested).await? };
                ctx.emit(Event::ReportGenerated(made));
                return Ok(());
            }
            Message::Joined(technician) => {
                state.crew.insert(technician.id.clone(), technician);
            }
            Message::Left(technician) => {
                state.crew.remove(&technician);
            }
            Message::Site(time_zone) => state.time_zone = Some(time_zone),
            Message::ShiftEnds => {
                // The timer may have fired just before the shifts were changed.
                if let Some((from, to)) = state.shift.filter(|(_, to)| *to <= ctx.now()) {
                    let report = ReportId::from(format!("handover-{}", ctx.id()));
                    let (report_type, format) = ("shift_handover".to_owned(), "json".to_owned());
                    let made = self.generate(state, Requested { report, report_type, format, from, to }).await?;
                    // No request says which time it covers.
                    ctx.emit(Event::ReportGenerated(Generated { from: Some(from), to: Some(to), ..made }));
                }
            }
        }
        self.await_shift(state, ctx);
        Ok(())
    }
}

impl Reporting {
    /// Wakes up when the next shift ends.
    fn await_shift(&self, state: &mut State, ctx: &mut Ctx) {
        let next = handover::next_shift(state.crew.values(), self.zone(state), ctx.now());
        state.shift = next.filter(|_| self.settings.handover_at_shift_end);
        match state.shift {
            Some((_, end_at)) => ctx.wake_at(SHIFT_ENDS.to_owned(), end_at),
            None => ctx.cancel_wake(SHIFT_ENDS.to_owned()),
        }
    }

    /// The site's.
    fn zone<'a>(&'a self, state: &'a State) -> &'a TimeZone {
        state.time_zone.as_ref().unwrap_or(&self.time_zone)
    }

    async fn generate(&self, state: &State, wanted: Requested) -> Result<Generated, Failure> {
        let Requested { report, report_type, format, from, to } = wanted;
        if to < from {
            let error = Some(format!("the time ends at {to}, before it begins at {from}"));
            let (content, data_points, notice) = (String::new(), 0, None);
            let (from, to) = (None, None);
            return Ok(Generated { report, report_type, format, content, data_points, error, notice, from, to });
        }
        let figures = self.count(state, &report_type, from, to).await?;
        let content = if format == "json" {
            figures.to_json()
        } else {
            figures.to_text(&report_type, self.zone(state), (from, to))
        };
        let Figures { data_points, notice, .. } = figures;
        let (error, from, to) = (None, None, None);
        Ok(Generated { report, report_type, format, content, data_points, error, notice, from, to })
    }

    async fn count(
        &self,
        state: &State,
        report_type: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Figures, StoreError> {
        let history = &self.history;
        let mut figures = match report_type {
            "anomaly_summary" => {
                let days = reports::anomalies_per_day(history, from, to).await?;
                let middle = from + to.duration_since(from) / 2;
                let second_half = reports::anomaly_counts(history, middle, to).await?.total;
                anomaly_summary(&reports::anomaly_counts(history, from, to).await?, second_half, &days, from, to)
            }
            "maintenance_overview" => maintenance_overview(
                &reports::maintenance_counts(history, from, to).await?,
                &reports::case_counts(history, from, to).await?,
            ),
            "shift_handover" => handover::figures(history, from, to, self.zone(state)).await?,
            "system_health" => system_health(&reports::system_counts(history, from, to).await?),
            _ => anything_else(
                report_type,
                &reports::system_counts(history, from, to).await?,
                &reports::maintenance_counts(history, from, to).await?,
            ),
        };
        figures.put("time_range", json!({ "start": from, "end": to }));
        Ok(figures)
    }
}

/// The figures of a report, in the order in which they are read.
struct Figures {
    figures: Vec<(&'static str, Value)>,
    /// The rows of those that are lists, in words.
    lines: BTreeMap<&'static str, Vec<String>>,
    /// Why a figure is absent.
    notes: Vec<(&'static str, &'static str)>,
    data_points: u64,
    /// What people are told of it, in words, if that is something.
    notice: Option<String>,
}

impl Figures {
    fn of(data_points: u64) -> Self {
        Self { figures: Vec::new(), lines: BTreeMap::new(), notes: Vec::new(), data_points, notice: None }
    }

    fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.figures.push((name, value.into()));
    }

    /// A figure that is null, for the reason in `note`, when it cannot be had.
    fn put_or(&mut self, name: &'static str, value: Option<impl Into<Value>>, note: &'static str) {
        if value.is_none() {
            self.notes.push((name, note));
        }
        self.figures.push((name, value.map_or(Value::Null, Into::into)));
    }

    fn put_null(&mut self, name: &'static str, note: &'static str) {
        self.put_or(name, None::<Value>, note);
    }

    /// A list: each row as an object and in words.
    fn put_list(&mut self, name: &'static str, rows: impl Iterator<Item = (Value, String)>) {
        let (rows, lines): (Vec<Value>, Vec<String>) = rows.unzip();
        self.figures.push((name, rows.into()));
        self.lines.insert(name, lines);
    }

    /// Counts, most frequent first.
    fn put_counts<T: Serialize>(&mut self, name: &'static str, counts: &[Count<T>]) {
        let row = |Count { of, count }: &Count<T>| {
            let row = json!({ "of": of, "count": count });
            let line = format!("{}: {count}", in_words(&row["of"]));
            (row, line)
        };
        self.put_list(name, counts.iter().map(row));
    }

    fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts can be written as JSON")
    }

    /// For people: instants by the clock on the wall, and a line for each row of a list.
    fn to_text(&self, report_type: &str, time_zone: &TimeZone, (from, to): (Timestamp, Timestamp)) -> String {
        let (from, to) = (wall(from, time_zone), wall(to, time_zone));
        let mut text = format!("{}\nFrom {from} to {to}\n\n", sentence(report_type));
        for (name, value) in self.figures.iter().filter(|(name, _)| *name != "time_range") {
            match self.lines.get(name) {
                Some(lines) if lines.is_empty() => text += &format!("{}: none\n", sentence(name)),
                Some(lines) => text += &format!("{}:\n- {}\n", sentence(name), lines.join("\n- ")),
                None => text += &format!("{}: {}\n", sentence(name), in_words(value)),
            }
        }
        for (name, note) in &self.notes {
            text += &format!("\n{}: {note}", sentence(name));
        }
        text
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.figures {
            map.serialize_entry(name, value)?;
        }
        let notes: serde_json::Map<String, Value> =
            self.notes.iter().map(|(name, note)| ((*name).to_owned(), json!(note))).collect();
        map.serialize_entry("notes", &notes)?;
        map.end()
    }
}

/// A number or a text as people read it.
fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(value) => value.clone(),
        value => value.to_string(),
    }
}

fn wall(at: Timestamp, time_zone: &TimeZone) -> String {
    at.to_zoned(time_zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// `some_name` as words.
fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn anomaly_summary(
    counts: &AnomalyCounts,
    second_half: u64,
    days: &[Count<Timestamp>],
    from: Timestamp,
    to: Timestamp,
) -> Figures {
    let mut figures = Figures::of(counts.total);
    let n_days = (to.duration_since(from).as_secs_f64() / 86_400.0).max(1.0);
    let date = |day: &Count<Timestamp>| day.of.to_zoned(TimeZone::UTC).date().to_string();
    let judged: u64 = counts.by_verdict.iter().map(|verdict| verdict.count).sum();
    let dismissed = counts.by_verdict.iter().find(|verdict| verdict.of == Verdict::FalsePositiveSuspected);
    let false_share = dismissed.map_or(0, |verdict| verdict.count) as f64 / judged as f64;
    // The first of equals: `max_by_key` would give the last.
    let peak = days.iter().rev().max_by_key(|day| day.count);
    figures.put("total_anomalies", counts.total);
    figures.put("avg_anomalies_per_day", rounded(counts.total as f64 / n_days));
    figures.put_or("peak_anomaly_day", peak.map(date), "there was no anomaly");
    figures.put("anomaly_trend", trend(counts.total - second_half.min(counts.total), second_half));
    figures.put("sensors_affected", counts.n_sensors);
    figures.put_or(
        "false_positive_rate",
        (0 < judged).then(|| rounded(false_share)),
        "no anomaly was judged; it is the share that validation takes for false",
    );
    figures.put_counts("by_sensor_type", &counts.by_sensor_type);
    figures.put_counts("by_aspect", &counts.by_aspect);
    figures.put_counts("by_verdict", &counts.by_verdict);
    let of_day = |day: &Count<Timestamp>| {
        (json!({ "day": date(day), "count": day.count }), format!("{}: {}", date(day), day.count))
    };
    figures.put_list("per_day", days.iter().map(of_day));
    figures
}

/// How the second half of the time compares with the first.
fn trend(first: u64, second: u64) -> &'static str {
    let (first, second) = (first as f64, second as f64);
    match second - first {
        change if TREND_SHARE_MIN * first < change => "increasing",
        change if change < -TREND_SHARE_MIN * first => "decreasing",
        _ => "stable",
    }
}

fn maintenance_overview(orders: &MaintenanceCounts, cases: &CaseCounts) -> Figures {
    const NONE_DONE: &str = "no order of that time is completed";
    let mut figures = Figures::of(orders.total + cases.opened);
    figures.put("total_maintenance_tasks", orders.total);
    figures.put("completed_tasks", orders.completed);
    figures.put("pending_tasks", orders.pending);
    figures.put("overdue_tasks", orders.overdue);
    figures.put_or("avg_completion_time", orders.mean_work_hours.map(rounded), NONE_DONE);
    figures.put_or("mttr_hours", orders.mean_repair_hours.map(rounded), NONE_DONE);
    figures.put_null("technician_utilization", "the hours that technicians were present are not recorded");
    figures.put_null("equipment_uptime", "the hours that machines ran are not recorded");
    figures.put_or("avg_booking_delay_hours", orders.mean_booking_delay_hours.map(rounded), "no order was booked");
    let technicians = orders.by_technician.iter().map(|load| {
        let (technician, orders, hours) = (&load.technician, load.n_orders, rounded(load.booked_hours));
        let row = json!({ "technician_id": technician, "orders": orders, "booked_hours": hours });
        (row, format!("{technician}: {orders} orders, {hours} hours"))
    });
    figures.put_list("by_technician", technicians);
    figures.put("cases_opened", cases.opened);
    figures.put_counts("cases_by_state", &cases.by_state);
    figures.put_counts("cases_by_priority", &cases.by_priority);
    figures.put_counts("cases_by_resolution", &cases.by_resolution);
    figures.put_or("avg_case_hours", cases.mean_open_hours.map(rounded), "no case of that time is closed");
    figures
}

fn system_health(counts: &SystemCounts) -> Figures {
    let mut figures = Figures::of(counts.n_readings + counts.n_anomalies + counts.n_cases);
    figures.put_null("overall_system_health", "health is not one number: see the counts");
    figures.put("active_sensors", counts.n_active_sensors);
    figures.put("inactive_sensors", counts.n_sensors - counts.n_active_sensors.min(counts.n_sensors));
    figures.put_null("avg_response_time_ms", "response times are not stored: see /metrics");
    figures.put_or("data_quality_score", counts.mean_quality.map(rounded), "there was no reading");
    figures.put("alerts_generated", counts.n_cases);
    figures.put("critical_alerts", counts.n_critical_cases);
    put_totals(&mut figures, counts);
    figures
}

fn anything_else(report_type: &str, counts: &SystemCounts, orders: &MaintenanceCounts) -> Figures {
    let data_points = counts.n_readings + counts.n_anomalies + counts.n_cases + orders.total;
    let mut figures = Figures::of(data_points);
    figures.put("report_type", "unknown");
    figures.put("requested_type", report_type);
    figures.put("data_points", data_points);
    figures.put_null("processing_time_ms", "times of processing are not stored: see /metrics");
    figures.put("cases_opened", counts.n_cases);
    figures.put("work_orders_booked", orders.total);
    figures.put("work_orders_completed", orders.completed);
    figures.put("active_sensors", counts.n_active_sensors);
    put_totals(&mut figures, counts);
    figures
}

fn put_totals(figures: &mut Figures, counts: &SystemCounts) {
    figures.put("readings", counts.n_readings);
    figures.put("anomalies", counts.n_anomalies);
    figures.put("open_cases", counts.n_open_cases);
    figures.put("dead_letters", counts.n_dead_letters);
}

/// Four digits after the point, which is more than any of these figures is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::anomaly::Aspect;
    use domain::reading::SensorType;
    use persistence::cases::State;
    use persistence::reports::Load;
    use runtime::bench::Bench;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn count<T>(of: T, count: u64) -> Count<T> {
        Count { of, count }
    }

    fn value(figures: &Figures) -> Value {
        serde_json::from_str(&figures.to_json()).unwrap()
    }

    fn system() -> SystemCounts {
        SystemCounts {
            n_sensors: 5,
            n_active_sensors: 3,
            n_readings: 100,
            mean_quality: Some(0.987_654_3),
            n_anomalies: 7,
            n_cases: 2,
            n_critical_cases: 1,
            n_open_cases: 1,
            n_dead_letters: 0,
        }
    }

    fn orders() -> MaintenanceCounts {
        MaintenanceCounts {
            total: 4,
            completed: 1,
            pending: 3,
            overdue: 2,
            mean_booking_delay_hours: Some(12.0),
            mean_work_hours: Some(1.5),
            mean_repair_hours: None,
            by_technician: vec![Load { technician: "tech_001".into(), n_orders: 4, booked_hours: 8.0 }],
        }
    }

    #[test]
    fn an_anomaly_summary_has_the_figures_that_old_clients_look_for() {
        let counts = AnomalyCounts {
            total: 9,
            n_sensors: 2,
            by_sensor_type: vec![count(SensorType::Pump, 9)],
            by_aspect: vec![count(Aspect::Level, 9)],
            by_verdict: vec![count(Verdict::CredibleAnomaly, 3), count(Verdict::FalsePositiveSuspected, 1)],
        };
        let days = [
            count(at("2026-01-02T00:00:00Z"), 4),
            count(at("2026-01-03T00:00:00Z"), 1),
            count(at("2026-01-04T00:00:00Z"), 4),
        ];
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-11T00:00:00Z"));
        let value = value(&anomaly_summary(&counts, 4, &days, from, to));
        assert_eq!(value["total_anomalies"], 9);
        assert_eq!(value["avg_anomalies_per_day"], 0.9);
        assert_eq!(value["peak_anomaly_day"], "2026-01-02", "the first of equals");
        assert_eq!(value["anomaly_trend"], "stable", "5 and 4");
        assert_eq!(value["sensors_affected"], 2);
        assert_eq!(value["false_positive_rate"], 0.25);
        assert_eq!(value["by_aspect"], json!([{ "of": "level", "count": 9 }]));
        assert_eq!(value["notes"], json!({}));
    }

    #[test]
    fn a_trend_is_more_than_chance_between_two_halves() {
        assert_eq!([trend(0, 0), trend(10, 12), trend(10, 8)], ["stable"; 3]);
        assert_eq!([trend(0, 1), trend(10, 13)], ["increasing"; 2]);
        assert_eq!(trend(10, 7), "decreasing");
    }

    #[test]
    fn a_figure_that_cannot_be_counted_is_null_with_a_note() {
        let cases = CaseCounts {
            opened: 0,
            by_state: Vec::new(),
            by_priority: Vec::new(),
            by_resolution: Vec::new(),
            mean_open_hours: None,
        };
        let value = value(&maintenance_overview(&orders(), &cases));
        for name in ["mttr_hours", "technician_utilization", "equipment_uptime", "avg_case_hours"] {
            assert_eq!(value[name], Value::Null, "{name}");
            assert!(value["notes"][name].is_string(), "{name}: {value}");
        }
        assert_eq!((&value["total_maintenance_tasks"], &value["overdue_tasks"]), (&json!(4), &json!(2)));
        assert_eq!(
            (&value["avg_completion_time"], &value["notes"]["avg_completion_time"]),
            (&json!(1.5), &Value::Null)
        );
        assert_eq!(value["by_technician"][0]["booked_hours"], 8.0);
    }

    #[test]
    fn system_health_tells_what_was_counted() {
        let value = value(&system_health(&system()));
        assert_eq!((&value["active_sensors"], &value["inactive_sensors"]), (&json!(3), &json!(2)));
        assert_eq!((&value["alerts_generated"], &value["critical_alerts"]), (&json!(2), &json!(1)));
        assert_eq!(value["data_quality_score"], 0.9877);
        assert_eq!(value["overall_system_health"], Value::Null);
    }

    #[test]
    fn text_reads_like_json() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let time = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let text = system_health(&system()).to_text("system_health", &berlin, time);
        let begin = "System health\nFrom Thu 2026-01-01 01:00 CET to Fri 2026-01-02 01:00 CET\n\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("\nActive sensors: 3\n") && text.contains("\nOverall system health: -\n"), "{text}");
    }

    #[test]
    fn a_list_is_a_line_a_row_in_text() {
        let cases = CaseCounts {
            opened: 5,
            by_state: vec![count(State::Open, 3), count(State::Closed, 2)],
            by_priority: Vec::new(),
            by_resolution: Vec::new(),
            mean_open_hours: None,
        };
        let time = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let text = maintenance_overview(&orders(), &cases).to_text("maintenance_overview", &TimeZone::UTC, time);
        assert!(text.contains("\nBy technician:\n- tech_001: 4 orders, 8 hours\nCases opened: 5\n"), "{text}");
        assert!(text.contains("\nCases by state:\n- open: 3\n- closed: 2\nCases by priority: none\n"), "{text}");
        assert!(!text.contains(['[', '{']), "{text}");
    }

    async fn bench() -> Bench<Reporting> {
        let deps = (History::empty().await.unwrap(), TimeZone::get("Europe/Berlin").unwrap());
        Bench::start(Settings { handover_at_shift_end: true }, deps)
    }

    async fn generated(report_type: &str, format: &str, from: &str) -> Generated {
        let mut bench = bench().await;
        let said = bench
            .feed(Event::ReportRequested(Requested {
                report: "r".into(),
                report_type: report_type.to_owned(),
                format: format.to_owned(),
                from: at(from),
                to: at("2026-01-31T00:00:00Z"),
            }))
            .await;
        let [Event::ReportGenerated(generated)] = &said[..] else { panic!("one report is made, not {said:?}") };
        generated.clone()
    }

    #[tokio::test]
    async fn each_type_is_counted_from_the_store_even_when_nothing_happened() {
        for (report_type, name) in [
            ("anomaly_summary", "total_anomalies"),
            ("maintenance_overview", "total_maintenance_tasks"),
            ("system_health", "active_sensors"),
            ("shift_handover", "open_cases"),
            ("ingestion_activity", "readings"),
        ] {
            let report = generated(report_type, "json", "2026-01-01T00:00:00Z").await;
            assert_eq!((report.report_type.as_str(), report.data_points, &report.error), (report_type, 0, &None));
            let value: Value = serde_json::from_str(&report.content).unwrap();
            assert_eq!(value[name], 0, "{}", report.content);
            assert!(report.content.starts_with("{\n  \""), "{}", report.content);
            assert_eq!(report.notice, None, "whoever asked reads it");
            let text = generated(report_type, "pdf", "2026-01-01T00:00:00Z").await.content;
            assert!(text.contains(&format!("\n{}: 0\n", sentence(name))), "{text}");
        }
    }

    #[tokio::test]
    async fn a_time_that_ends_before_it_begins_is_no_report() {
        let report = generated("anomaly_summary", "json", "2026-02-01T00:00:00Z").await;
        assert_eq!(report.content, "");
        assert!(report.error.unwrap().contains("before it begins"));
    }

    #[tokio::test]
    async fn a_handover_is_made_when_a_shift_ends_and_not_for_examples() {
        let technician = |id: &str, to: &str, example| {
            let (weekdays, from, to) = (vec![4, 5], "06:00".parse().unwrap(), to.parse().unwrap());
            let shifts = vec![domain::asset::Shift { weekdays, from, to }];
            let (name, skills) = (id.to_owned(), vec!["mechanical".to_owned()]);
            let technician = Technician { id: id.into(), name, skills, experience_years: 1.0, shifts, example };
            Event::TechnicianDeclared { technician, by: "console".to_owned() }
        };
        // The bench begins on a Thursday at one in the morning by the clock on the wall.
        let mut bench = bench().await;
        bench.feed(technician("example", "10:00", true)).await;
        bench.feed(technician("ana", "14:00", false)).await;
        assert_eq!(bench.advance(at("2026-01-01T12:59:59Z")).await, []);
        let said = bench.advance(at("2026-01-01T13:00:00Z")).await;
        let [Event::ReportGenerated(report)] = &said[..] else { panic!("one report is made, not {said:?}") };
        let content: Value = serde_json::from_str(&report.content).unwrap();
        let shift = json!({ "start": "2026-01-01T05:00:00Z", "end": "2026-01-01T13:00:00Z" });
        assert_eq!((report.report_type.as_str(), &content["time_range"]), ("shift_handover", &shift));
        // Nobody asked for it, so people are told.
        let notice = report.notice.as_deref().unwrap();
        assert!(notice.starts_with("From Thu 2026-01-01 06:00 CET to Thu 2026-01-01 14:00 CET: "), "{notice}");
        assert!(notice.ends_with("Open work orders: 0\nAssets out of service: 0"), "{notice}");
        let removed = Event::TechnicianRemoved { technician: "ana".into(), by: "console".to_owned() };
        bench.feed(removed).await;
        assert_eq!(bench.advance(at("2026-01-31T00:00:00Z")).await, [], "nobody works any more");
    }
}
