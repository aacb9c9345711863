//! `/cases`: what needs a person's eye, and everything that led to it and came of it.

mod acts;

use super::{Mounted, Route, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
pub(crate) use acts::{ACKNOWLEDGE, FEEDBACK, SHELVE, UNSHELVE};
use domain::{AssetId, CaseId, Envelope, Event};
use persistence::cases::{self, Case, Evidence, Filter, State, Trace};
use persistence::knowledge::{self, Lesson};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

const LIST: &Route = entry("GET", "/api/v1/cases");
const ONE: &Route = entry("GET", "/api/v1/cases/{id}");
const SIMILAR: &Route = entry("GET", "/api/v1/cases/{id}/similar");

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;

/// The states of a case, as they are told.
pub(crate) const STATES: [&str; State::ALL.len()] = {
    let mut names = [""; State::ALL.len()];
    let mut idx = 0;
    while idx < names.len() {
        names[idx] = State::ALL[idx].as_str();
        idx += 1;
    }
    names
};

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, LIST, list), mount(app, ONE, one), mount(app, SIMILAR, similar), acts::routes(app)])
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    let state = query.optional("state", lax::named(&STATES, state_called));
    let asset = query.optional("asset", lax::string_max(app.limits.string_bytes_max)).map(AssetId::from);
    let open = query.optional("open", lax::boolean);
    let acknowledged = query.optional("acknowledged", lax::boolean);
    let shelved = query.optional("shelved", lax::boolean);
    query.finish()?;
    let history = app.history.clone();
    let filter = Filter { state, asset, open, acknowledged, shelved, failure_mode: None };
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(cases::list(&history, &filter, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

fn state_called(name: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.as_str() == name)
}

async fn one(app: App, call: Call) -> Result<Reply, ApiError> {
    let unknown = || ApiError::NotFound(format!("There is no case {}", call.param(0)));
    let id: CaseId = call.param(0).parse().map_err(|_| unknown())?;
    let trace = cases::trace(&app.history, id).await?.ok_or_else(unknown)?;
    let lesson = knowledge::get(&app.history, &trace.case.failure_mode, &trace.case.sensor).await?;
    let case = trace.case.clone();
    Ok(Reply::json(&document(trace, lesson)?)?.of_state(case))
}

/// The case called `id`.
async fn one_called(app: &App, id: &str) -> Result<Case, ApiError> {
    let unknown = || ApiError::NotFound(format!("There is no case {id}"));
    let id: CaseId = id.parse().map_err(|_| unknown())?;
    cases::get(&app.history, id).await?.ok_or_else(unknown)
}

async fn similar(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let limit = query.or("limit", 10, lax::count_in(1, app.limits.page_size_max));
    query.finish()?;
    let case = one_called(&app, call.param(0)).await?;
    Reply::json(&knowledge::similar_cases(&app.history, &case, limit).await?)
}

/// What people made of earlier cases of the same kind.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TrackRecord {
    /// In words: "12 of 14 confirmed, 2 no fault found".
    text: Option<String>,
    #[serde(flatten)]
    lesson: Lesson,
}

/// The case's own fields, and what was said of it by kind, each in the order of the log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document {
    #[serde(flatten)]
    case: Case,
    anomalies: Vec<Value>,
    predictions: Vec<Value>,
    decisions: Vec<Value>,
    work_orders: Vec<Value>,
    log: Vec<Value>,
    /// What was learnt of it.
    learning: Vec<Value>,
    history: Vec<Value>,
    /// What people made of cases of the same kind so far; absent until they made something of one.
    track_record: Option<TrackRecord>,
}

fn document(Trace { case, evidence, steps }: Trace, lesson: Option<Lesson>) -> Result<Document, ApiError> {
    let anomalies = evidence.iter().map(anomaly).collect::<Result<Vec<_>, _>>()?;
    let mut document = Document {
        case,
        anomalies,
        predictions: Vec::new(),
        decisions: Vec::new(),
        work_orders: Vec::new(),
        log: Vec::new(),
        learning: Vec::new(),
        history: Vec::new(),
        track_record: lesson
            .map(|lesson| TrackRecord { text: lesson.learned.record.map(|record| record.to_string()), lesson }),
    };
    for step in &steps {
        let list = match step.event {
            Event::MaintenancePredicted(_) => &mut document.predictions,
            Event::DecisionRequired(_)
            | Event::DecisionReceived(_)
            | Event::DecisionExpired(_)
            | Event::MaintenanceRequested(_)
            | Event::MaintenanceApproved(_)
            | Event::MaintenanceDeclined(_) => &mut document.decisions,
            Event::MaintenanceScheduled(_)
            | Event::SchedulingFailed(_)
            | Event::ApprovalWithdrawn(_)
            | Event::WorkOrderStarted(_)
            | Event::WorkOrderHeld(_)
            | Event::WorkOrderCancelled(_)
            | Event::MaintenanceCompleted(_)
            | Event::RepairVerified(_) => &mut document.work_orders,
            Event::FeedbackReceived(_) | Event::FeedbackLearned(_) | Event::DetectorRated(_) => &mut document.learning,
            Event::LogEntryWritten(_) => &mut document.log,
            _ => &mut document.history,
        };
        list.push(stamped(step)?);
    }
    Ok(document)
}

/// An anomaly with what validation made of it.
fn anomaly(evidence: &Evidence) -> Result<Value, ApiError> {
    let mut validation = stamped(&evidence.validated)?;
    // The judgement repeats the anomaly, which is told once.
    let frozen = validation.as_object_mut().and_then(|fields| fields.remove("anomaly"));
    let mut anomaly = match &evidence.detected {
        Some(detected) => stamped(detected)?,
        None => frozen.unwrap_or_else(|| json!({})),
    };
    anomaly["validation"] = validation;
    Ok(anomaly)
}

/// The event's own fields, with who said it, when, and in which form.
fn stamped(envelope: &Envelope) -> Result<Value, ApiError> {
    let event = serde_json::to_value(&envelope.event).map_err(ApiError::internal)?;
    let mut fields = match event {
        Value::Object(mut event) => event.remove("data").and_then(object).unwrap_or_default(),
        _ => Map::new(),
    };
    let stamp = json!({
        "event_id": envelope.id,
        "type": envelope.event.name(),
        "agent": envelope.source,
        "version": envelope.version,
        "at": envelope.at,
        "cause": envelope.cause,
        "correlation_id": envelope.correlation,
        "seq": envelope.seq,
    });
    fields.extend(object(stamp).unwrap_or_default());
    Ok(Value::Object(fields))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::{Closed, Resolution};
    use domain::{CorrelationId, EventId, Seq};

    #[test]
    fn a_step_tells_its_agent_version_event_and_time() {
        let envelope = Envelope {
            seq: Seq(7),
            id: EventId(uuid::Uuid::nil()),
            cause: None,
            correlation: CorrelationId::from("c"),
            at: "2026-02-28T10:00:00Z".parse().unwrap(),
            source: "validation".to_owned(),
            version: 1,
            traceparent: None,
            event: Event::CaseClosed(Closed {
                case: CaseId(uuid::Uuid::nil()),
                resolution: Resolution::Repaired,
                reason: "bearing replaced".to_owned(),
            }),
        };
        assert_eq!(
            stamped(&envelope).unwrap(),
            json!({
                "case": "00000000-0000-0000-0000-000000000000", "resolution": "repaired", "reason": "bearing replaced",
                "event_id": "00000000-0000-0000-0000-000000000000", "type": "case_closed", "agent": "validation",
                "version": 1, "at": "2026-02-28T10:00:00Z", "cause": null, "correlation_id": "c", "seq": 7,
            })
        );
    }
}
