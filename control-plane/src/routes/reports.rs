//! `/reports`: figures counted from the store.

use super::route::{Kind, Param};
use super::{Mounted, Route, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::follow;
use crate::instants::{offset, zulu};
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::report::{Generated, Requested};
use domain::{CorrelationId, Event, EventId, ReportId, Seq, Timestamp};
use jiff::SignedDuration;
use persistence::reports;
use persistence::unit::Appended;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const GENERATE: &Route = entry("POST", "/api/v1/reports/generate");

/// Longest wait for a report; clients of the old system give up after 20 s.
const WAIT: Duration = Duration::from_secs(18);
/// The time that a report covers when nobody says.
const COVERED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The same of a shift handover: one shift.
const COVERED_BY_HANDOVER: SignedDuration = SignedDuration::from_hours(8);
const ID_BYTES_MAX: usize = 255;
/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, GENERATE, generate),
        mount(app, const { entry("GET", "/api/v1/reports") }, list),
        mount(app, const { entry("GET", "/api/v1/reports/{id}") }, stored),
    ])
}

/// What a report is asked for with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("report_type", Kind::Text, "What it is about"),
    Param::or("format", Kind::Text, "\"json\"", "Its form"),
    Param::optional("report_id", Kind::Text, "Its name, which no other has; one is made up when there is none"),
    Param::optional("time_range_start", Kind::Time, "From when"),
    Param::optional("time_range_end", Kind::Time, "Until when"),
    Param::or("parameters", Kind::Map(&Kind::Any), "{}", "Given back as they are"),
    Param::or("include_charts", Kind::Flag, "true", "Whether charts are wanted"),
];

#[derive(Serialize, JsonSchema)]
pub(crate) struct Told {
    report_id: ReportId,
    report_type: String,
    format: String,
    /// The report itself, in its form.
    content: String,
    generated_at: String,
    /// PNG images in base64, by name.
    charts_encoded: BTreeMap<String, String>,
    metadata: Metadata,
    /// Why there is no report.
    error_message: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Metadata {
    parameters: Map<String, Value>,
    time_range_start: String,
    time_range_end: String,
    include_charts: bool,
    analytics_summary: Summary,
}

#[derive(Serialize, JsonSchema)]
struct Summary {
    data_points: u64,
    has_chart_data: bool,
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let history = history.clone();
        async move { Ok(reports::list(&history, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn stored(app: App, call: Call) -> Result<Reply, ApiError> {
    let id = ReportId::from(call.param(0));
    let report = reports::get(&app.history, &id).await?;
    Reply::json(&report.ok_or_else(|| ApiError::NotFound(format!("There is no report {id}")))?)
}

async fn generate(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::string_max(app.limits.string_bytes_max);
    let report_type = body.required("report_type", &name);
    let format = body.or("format", "json".to_owned(), &name);
    let report = body.optional("report_id", lax::name_max(ID_BYTES_MAX)).map_or_else(fresh_id, ReportId::from);
    let start = body.optional("time_range_start", lax::datetime);
    let end = body.optional("time_range_end", lax::datetime);
    let parameters = body.or("parameters", Map::new(), lax::object);
    let include_charts = body.or("include_charts", true, lax::boolean);
    let now = app.now();
    let covered = if report_type == "shift_handover" { COVERED_BY_HANDOVER } else { COVERED };
    let (from, to) = range(start, end, now, covered);
    if to < from {
        body.refuse("time_range_start", "Input should be before time_range_end");
    }
    body.finish()?;

    let wanted = Requested { report, report_type, format, from, to };
    let correlation = call.correlation();
    let event = app.event(&correlation, Event::ReportRequested(wanted.clone()));
    let started = Instant::now();
    let taken = format!("There is a report called {:?} already; choose another report_id", wanted.report.as_str());
    let known = Known { request: event.id, correlation: correlation.clone(), wanted };
    let remembered = serde_json::to_string(&known).map_err(ApiError::internal)?;
    let idempotency = call.idempotency(remembered, now)?;
    let appended = app.append(vec![event], idempotency).await.map_err(|error| match error {
        // Nothing but its id can speak against a wish.
        ApiError::Conflict(_) => ApiError::Conflict(taken),
        other => other,
    })?;
    let (known, after) = match appended {
        Appended::Stored(seq) => (known, Some(seq)),
        Appended::Repeat(repeat) => (serde_json::from_str(&repeat.response).map_err(ApiError::internal)?, None),
    };
    let (generated, at) = awaited(&app, &known.correlation, known.request, after, started + WAIT)
        .await?
        .ok_or_else(|| ApiError::GatewayTimeout(format!("The report was not made within {} s", WAIT.as_secs())))?;
    Reply::json(&Told {
        report_id: generated.report,
        report_type: generated.report_type,
        format: generated.format,
        content: generated.content,
        generated_at: offset(at),
        charts_encoded: BTreeMap::new(),
        metadata: Metadata {
            parameters,
            time_range_start: zulu(known.wanted.from),
            time_range_end: zulu(known.wanted.to),
            include_charts,
            analytics_summary: Summary { data_points: generated.data_points, has_chart_data: false },
        },
        error_message: generated.error,
    })
}

/// What a repeat of the request needs to find its report.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Known {
    request: EventId,
    correlation: CorrelationId,
    wanted: Requested,
}

/// An id as the old system made them.
pub(super) fn fresh_id() -> ReportId {
    let random = Uuid::new_v4().simple().to_string();
    ReportId::from(format!("report-{}", &random[..8]))
}

/// The report that answers the event `request`, and when it was made. `after` is the place of the request, if it was
/// just appended.
pub(super) async fn awaited(
    app: &App,
    correlation: &CorrelationId,
    request: EventId,
    after: Option<Seq>,
    deadline: Instant,
) -> Result<Option<(Generated, Timestamp)>, ApiError> {
    let answer = |envelope: &domain::Envelope| match &envelope.event {
        Event::ReportGenerated(generated) if envelope.cause == Some(request) => Some((generated.clone(), envelope.at)),
        _ => None,
    };
    let log = app.store.log();
    Ok(match after {
        Some(after) => follow::first(log, correlation, after, deadline, answer).await?,
        None => follow::first_ever(log, correlation, deadline, answer).await?,
    })
}

/// The time to cover: the last `covered`, or from or to the end that is given.
fn range(
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    now: Timestamp,
    covered: SignedDuration,
) -> (Timestamp, Timestamp) {
    match (start, end) {
        (Some(start), Some(end)) => (start, end),
        (Some(start), None) => (start, now.max(start)),
        (None, end) => {
            let end = end.unwrap_or(now);
            (end.checked_sub(covered).unwrap_or(Timestamp::MIN), end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_covers_the_last_thirty_days_unless_told_otherwise() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let now = at("2026-03-31T00:00:00Z").unwrap();
        let check = |start, end, expected: (&str, &str)| {
            let (from, to) = range(start, end, now, COVERED);
            assert_eq!((from.to_string().as_str(), to.to_string().as_str()), expected);
        };
        check(None, None, ("2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z"));
        check(None, at("2026-02-01T00:00:00Z"), ("2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z"));
        check(at("2026-03-30T00:00:00Z"), None, ("2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"));
        check(at("2027-01-01T00:00:00Z"), None, ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
    }
}
