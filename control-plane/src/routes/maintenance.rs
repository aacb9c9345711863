//! `/maintenance`: asking for maintenance outright, and what is booked.

mod told;

use super::route::{Kind, Param};
use super::{Mounted, Route, entry, mount, pages, reports};
use crate::api_error::ApiError;
use crate::app::App;
use crate::follow;
use crate::instants::zulu;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::case::Priority;
use domain::decision::{Proposal, Requested};
use domain::report;
use domain::{AssetId, CorrelationId, Envelope, Event, SensorId, Seq, Timestamp};
use jiff::SignedDuration;
use persistence::page::{Page, Start};
use persistence::unit::Appended;
use persistence::work_orders::{self, Filter, WorkOrder};
use persistence::{StoreError, sensors};
use runtime::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use told::{Known, Outcome};

pub(crate) use told::{Item, Told};

const SCHEDULE: &Route = entry("POST", "/api/v1/maintenance/schedule");
const SCHEDULED: &Route = entry("GET", "/api/v1/maintenance/scheduled");

/// What maintenance is asked for with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("sensor_id", Kind::Text, "The sensor that foretells the failure"),
    Param::optional("sensor_type", Kind::Text, "What kind of sensor it is"),
    Param::optional("equipment_id", Kind::Text, "The asset; called like the sensor if absent"),
    Param::required("predicted_failure_date", Kind::Time, "When it will fail"),
    Param::required("time_to_failure_days", Kind::Number(Some(0.0), Some(DAYS_MAX)), "How far off that is"),
    Param::or("maintenance_type", Kind::Text, "\"preventive\"", "What is to be done"),
    Param::or("prediction_method", Kind::Text, "\"demo\"", "How the failure was foretold"),
    Param::or("prediction_confidence", Kind::Number(Some(0.0), Some(1.0)), "0.8", "How sure that is"),
    Param::or("historical_data_points", Kind::Int(Some(0), None), "0", "Readings it rests on"),
    Param::optional("model_name", Kind::Text, "The model that foretold it"),
    Param::optional("model_version", Kind::Text, "And its version"),
    Param::or("model_metrics", Kind::Map(&Kind::Number(None, None)), "{}", "And its figures"),
    Param::or("recommended_actions", Kind::List(&Kind::Text), "[]", "The steps; two stock ones if empty"),
    Param::or("trigger_source", Kind::Text, "\"ui\"", "What led to the request"),
    Param::optional("correlation_id", Kind::Text, "Names the request; one is made up when there is none"),
    Param::optional("prediction_agent_id", Kind::Text, "Who foretold it"),
    Param::or("include_report", Kind::Flag, "true", "Whether an overview is made as well"),
    Param::or("metadata", Kind::Map(&Kind::Any), "{}", "Taken and left alone"),
];

/// Longest wait for a slot; clients of the old system give up after 20 s.
const WAIT: Duration = Duration::from_secs(15);
/// Longest wait for the report after that.
const REPORT_WAIT: Duration = Duration::from_secs(3);
/// Agents between the request and the slot.
const AGENTS: [&str; 2] = ["human_decision", "scheduling"];
/// Names in a request, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Actions in a request.
const ACTIONS_MAX: usize = 50;
/// One action, in bytes.
const ACTION_BYTES_MAX: usize = 1024;
/// What is to be done when nobody says: the old contract's two.
const STOCK_ACTIONS: [&str; 2] = ["Inspect the equipment", "Check the sensor's calibration"];
/// Room before the predicted failure: a part of the time that is left, and a day at least, as in the old system.
const MARGIN_PART: f64 = 0.1;
const MARGIN_DAYS_MIN: f64 = 1.0;
const DAYS_MAX: f64 = 36_500.0;
const PAGE_MAX: usize = 100;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, SCHEDULE, schedule), mount(app, SCHEDULED, scheduled)])
}

async fn schedule(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::string_max(NAME_BYTES_MAX);
    let sensor = body.required("sensor_id", lax::name_max(app.limits.string_bytes_max));
    let sensor_type = body.optional("sensor_type", &name);
    let equipment = body.optional("equipment_id", lax::name_max(app.limits.string_bytes_max));
    let failure_at = body.required("predicted_failure_date", lax::datetime);
    let days = body.required("time_to_failure_days", lax::float_in(0.0, DAYS_MAX));
    let maintenance_type = body.or("maintenance_type", "preventive".to_owned(), &name);
    let method = body.or("prediction_method", "demo".to_owned(), &name);
    let confidence = body.or("prediction_confidence", 0.8, lax::float_in(0.0, 1.0));
    let n_points = body.or("historical_data_points", 0, lax::int_in(0, i64::MAX));
    let model_name = body.optional("model_name", &name);
    let model_version = body.optional("model_version", &name);
    let model_metrics = body.or("model_metrics", Vec::new(), lax::map(lax::float));
    let actions = body.or("recommended_actions", Vec::new(), lax::list(ACTIONS_MAX, lax::string_max(ACTION_BYTES_MAX)));
    let trigger = body.or("trigger_source", "ui".to_owned(), &name);
    let correlation = body.optional("correlation_id", &name).map_or_else(|| call.correlation(), CorrelationId::from);
    let agent = body.optional("prediction_agent_id", &name).unwrap_or_else(|| "ui_prediction_demo".to_owned());
    let include_report = body.or("include_report", true, lax::boolean);
    body.or("metadata", Map::new(), lax::object);
    body.finish()?;

    let proposal = Proposal {
        case: None,
        asset: AssetId::from(equipment.unwrap_or_else(|| sensor.clone())),
        sensor: SensorId::from(sensor.clone()),
        maintenance_type,
        priority: priority(days),
        due_at: Some(due_at(failure_at, days)),
        confidence,
        recommended_actions: if actions.is_empty() { STOCK_ACTIONS.map(str::to_owned).to_vec() } else { actions },
    };
    let context = json!({
        "sensor_type": sensor_type,
        "model_name": model_name,
        "model_version": model_version,
        "model_metrics": model_metrics.into_iter().collect::<BTreeMap<_, _>>(),
        "trigger_source": trigger,
        "prediction_agent_id": agent,
        "prediction_method": method,
        "predicted_failure_date": zulu(failure_at),
        "time_to_failure_days": days,
        "historical_data_points": n_points,
    });
    let Value::Object(context) = context else { return Err(ApiError::internal("an object is none")) };

    let started = Instant::now();
    let requested = Requested { proposal, by: call.caller.name.clone(), context: context.clone() };
    let event = app.event(&correlation, Event::MaintenanceRequested(requested));
    let known = Known { request: event.id, correlation, include_report, sensor, context };
    let remembered = serde_json::to_string(&known).map_err(ApiError::internal)?;
    let idempotency = call.idempotency(remembered, app.now())?;
    let (known, after) = match app.append(vec![event], idempotency).await? {
        Appended::Stored(seq) => (known, Some(seq)),
        Appended::Repeat(repeat) => (serde_json::from_str(&repeat.response).map_err(ApiError::internal)?, None),
    };
    let Some(outcome) = booked(&app, &known, after, started + WAIT).await? else {
        return Err(ApiError::GatewayTimeout(unanswered(&app).await?));
    };
    let report = if known.include_report { report(&app, &known, &outcome).await? } else { None };
    Reply::json(&told::answer(&known, &outcome, report.as_ref()))
}

/// Follows the request to its approval, and the approval to its slot: others may use the same correlation.
async fn booked(
    app: &App,
    known: &Known,
    after: Option<Seq>,
    deadline: Instant,
) -> Result<Option<Outcome>, StoreError> {
    let mut approval = None;
    let pick = |envelope: &Envelope| match &envelope.event {
        Event::MaintenanceApproved(_) if envelope.cause == Some(known.request) => {
            approval = Some(envelope.id);
            None
        }
        Event::MaintenanceScheduled(order) if Some(order.approval) == approval => {
            Some(Outcome::Booked(order.clone(), envelope.at))
        }
        Event::SchedulingFailed(failed) if Some(failed.approval) == approval => {
            Some(Outcome::Refused(failed.clone(), envelope.at))
        }
        _ => None,
    };
    let log = app.store.log();
    match after {
        Some(after) => follow::first(log, &known.correlation, after, deadline, pick).await,
        None => follow::first_ever(log, &known.correlation, deadline, pick).await,
    }
}

/// Why nobody answered, for the caller.
async fn unanswered(app: &App) -> Result<String, StoreError> {
    let agents = app.runtime.status().await?;
    let idle = agents.iter().filter(|agent| AGENTS.contains(&agent.name) && agent.state != State::Running);
    let idle: Vec<String> = idle.map(|agent| format!("{} is {}", agent.name, state(agent.state))).collect();
    let why = if idle.is_empty() { format!("{} have not answered yet", AGENTS.join(" and ")) } else { idle.join(", ") };
    Ok(format!(
        "No technician was booked within {} s: {why}. The request is recorded and will be carried out",
        WAIT.as_secs()
    ))
}

fn state(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Restarting => "restarting",
        State::Paused => "paused",
        State::Draining => "draining",
        State::Quarantined => "quarantined",
    }
}

/// An overview made after the slot was found. A report that does not come in time is left out, as it always was.
async fn report(app: &App, known: &Known, outcome: &Outcome) -> Result<Option<report::Generated>, ApiError> {
    let to = outcome.at().max(app.now());
    let wanted = report::Requested {
        report: reports::fresh_id(),
        report_type: "maintenance_overview".to_owned(),
        format: "json".to_owned(),
        from: to.checked_sub(SignedDuration::from_hours(30 * 24)).unwrap_or(Timestamp::MIN),
        to,
    };
    let event = app.event(&known.correlation, Event::ReportRequested(wanted));
    let request = event.id;
    let Appended::Stored(after) = app.append(vec![event], None).await? else { return Ok(None) };
    let deadline = Instant::now() + REPORT_WAIT;
    let made = reports::awaited(app, &known.correlation, request, Some(after), deadline).await?;
    Ok(made.map(|(generated, _)| generated).filter(|generated| generated.error.is_none()))
}

fn priority(days: f64) -> Priority {
    match days {
        days if days <= 7.0 => Priority::Critical,
        days if days <= 30.0 => Priority::High,
        days if days <= 90.0 => Priority::Medium,
        _ => Priority::Low,
    }
}

/// When the work must have ended.
fn due_at(failure_at: Timestamp, days: f64) -> Timestamp {
    let margin_days = (days * MARGIN_PART).max(MARGIN_DAYS_MIN);
    let margin = SignedDuration::from_secs_f64(margin_days * 86_400.0);
    failure_at.checked_sub(margin).unwrap_or(Timestamp::MIN)
}

async fn scheduled(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, 25, PAGE_MAX);
    let correlation = query.optional("correlation_id", lax::string_max(NAME_BYTES_MAX)).map(CorrelationId::from);
    query.finish()?;
    let (handle, filter) = (app.clone(), Filter { correlation, ..Filter::default() });
    let page = move |start, limit| feed(handle.clone(), filter.clone(), start, limit);
    pages::answer(&app, &call, asked, page).await
}

async fn feed(app: App, filter: Filter, start: Start, limit: usize) -> Result<Page<Item>, ApiError> {
    let Page { rows: orders, next } = work_orders::list(&app.history, &filter, &start, limit).await?;
    let mut rows = Vec::with_capacity(orders.len());
    for order in &orders {
        let origin = origin(&app, order).await?;
        let sensor = sensors::get(&app.history, &order.order.proposal.sensor).await?;
        rows.push(told::item(order, origin, sensor.map(|sensor| sensor.sensor.sensor_type)));
    }
    Ok(Page { rows, next })
}

/// Where an order comes from: the question or request that was approved, and what a requester told besides.
async fn origin(app: &App, order: &WorkOrder) -> Result<(String, Map<String, Value>), StoreError> {
    let log = app.store.log();
    let Some(approval) = log.by_id(order.order.approval).await? else { return Ok((String::new(), Map::new())) };
    let named = match &approval.event {
        Event::MaintenanceApproved(approved) => approved.request.as_ref().map(ToString::to_string),
        _ => None,
    };
    let cause = match approval.cause {
        Some(cause) => log.by_id(cause).await?,
        None => None,
    };
    let context = match cause.as_ref().map(|cause| &cause.event) {
        Some(Event::MaintenanceRequested(requested)) => requested.context.clone(),
        _ => Map::new(),
    };
    Ok((named.unwrap_or_else(|| format!("maintenance_approval_{}", order.order.approval)), context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_due_a_margin_before_the_failure() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let failure = at("2026-03-31T00:00:00Z");
        assert_eq!(due_at(failure, 5.0), at("2026-03-30T00:00:00Z"));
        assert_eq!(due_at(failure, 30.0), at("2026-03-28T00:00:00Z"));
        assert_eq!(due_at(Timestamp::MIN, 5.0), Timestamp::MIN);
    }
}
