//! `/decisions`: what people are asked, and what they answered.

use super::route::{Kind, Param};
use super::{Mounted, Route, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::{offset, zulu};
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::decision::{Meaning, OnExpiry, Proposal, Received};
use domain::{AssetId, CaseId, CorrelationId, DecisionRequestId, Event, EventId, Timestamp};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use persistence::decisions::{self, Decision, Filter, Request, RequestState};
use persistence::unit::Appended;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use warp::http::StatusCode;

const SUBMIT: &Route = entry("POST", "/api/v1/decisions/submit");
const LIST: &Route = entry("GET", "/api/v1/decisions");
const PENDING: &Route = entry("GET", "/api/v1/decisions/pending");

/// What an answer is told with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("request_id", Kind::Text, "The question"),
    Param::required("decision", Kind::Text, "The answer, in any of the spellings of the question or as free text"),
    Param::required("operator_id", Kind::Text, "Who decided"),
    Param::optional("justification", Kind::Text, "Why"),
    Param::optional("timestamp", Kind::Time, "When; now if absent"),
    Param::or("confidence", Kind::Number(Some(0.0), Some(1.0)), "1.0", "How sure they are"),
    Param::optional("additional_notes", Kind::Text, "What else they said"),
    Param::optional("correlation_id", Kind::Text, "The request it came of, if nobody had asked"),
];

/// Widths of the old contract's columns.
const NAME_BYTES_MAX: usize = 255;
const DECISION_BYTES_MAX: usize = 100;
/// Free text of a person, in bytes.
const TEXT_BYTES_MAX: usize = 8192;
const PAGE_MAX: usize = 500;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, SUBMIT, submit), mount(app, PENDING, pending), mount(app, LIST, list)])
}

/// An answer as the old contract tells it, with what we know besides.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Told {
    request_id: DecisionRequestId,
    decision: String,
    operator_id: String,
    justification: Option<String>,
    timestamp: String,
    confidence: f64,
    additional_notes: Option<String>,
    correlation_id: CorrelationId,
    /// What the spelling does.
    meaning: Meaning,
    /// The name of the key with which it came.
    key: Option<String>,
    event_id: EventId,
    received_at: String,
}

impl From<Decision> for Told {
    fn from(decision: Decision) -> Self {
        Self {
            request_id: decision.request_id,
            decision: decision.decision,
            operator_id: decision.operator_id,
            justification: decision.justification,
            timestamp: offset(decision.timestamp),
            confidence: decision.confidence,
            additional_notes: decision.additional_notes,
            correlation_id: decision.correlation_id,
            meaning: decision.meaning,
            key: decision.key,
            event_id: decision.event_id,
            received_at: zulu(decision.received_at),
        }
    }
}

/// What whoever answered is told.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Submitted {
    #[serde(flatten)]
    told: Told,
    /// How the question stood; absent if nobody had asked.
    request_state: Option<RequestState>,
}

/// Records an answer. What follows of it is the business of the agent that asked: an answer to no question, or to
/// one that was answered before, is kept and changes nothing.
async fn submit(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let (name, text) = (lax::string_max(NAME_BYTES_MAX), lax::string_max(TEXT_BYTES_MAX));
    let request = DecisionRequestId::from(body.required("request_id", &name));
    let decision = body.required("decision", lax::string_max(DECISION_BYTES_MAX));
    let operator = body.required("operator_id", &name);
    let justification = body.optional("justification", &text);
    let now = app.now();
    let decided_at = body.optional("timestamp", lax::datetime).unwrap_or(now);
    let confidence = body.or("confidence", 1.0, lax::float_in(0.0, 1.0));
    let notes = body.optional("additional_notes", &text);
    let correlation = body.optional("correlation_id", &name).map(CorrelationId::from);
    body.finish()?;

    let asked = decisions::request(&app.history, &request).await?;
    // What follows of an answer belongs to the request that led to the question, whatever the answer calls it.
    let correlation = match &asked {
        Some(asked) => asked.correlation.clone(),
        None => correlation.unwrap_or_else(|| call.correlation()),
    };
    let received = Received {
        meaning: Meaning::of(&decision),
        request,
        decision,
        operator,
        key: Some(call.caller.name.clone()),
        justification,
        confidence,
        notes,
        decided_at,
    };
    let event = app.event(&correlation, Event::DecisionReceived(received.clone()));
    let told = Told {
        request_id: received.request,
        decision: received.decision,
        operator_id: received.operator,
        justification: received.justification,
        timestamp: offset(received.decided_at),
        confidence: received.confidence,
        additional_notes: received.notes,
        correlation_id: correlation,
        meaning: received.meaning,
        key: received.key,
        event_id: event.id,
        received_at: zulu(event.at),
    };
    let submitted = Submitted { told, request_state: asked.map(|asked| asked.state) };
    let answer = serde_json::to_string(&submitted).map_err(ApiError::internal)?;
    let idempotency = call.idempotency(answer.clone(), now)?;
    let answer = match app.append(vec![event], idempotency).await? {
        Appended::Stored(_) => answer,
        Appended::Repeat(repeat) => repeat.response,
    };
    Ok(Reply::json_text(answer).status(StatusCode::CREATED))
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let name = lax::string_max(NAME_BYTES_MAX);
    let asked = pages::asked(&mut query, 50, PAGE_MAX);
    let filter = Filter {
        operator: query.optional("operator_id", &name),
        request: query.optional("request_id", &name).map(DecisionRequestId::from),
        correlation: query.optional("correlation_id", &name).map(CorrelationId::from),
        from: query.optional("start_date", lax::date).and_then(first_instant),
        to: query.optional("end_date", lax::date).and_then(last_instant),
    };
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(decisions::list(&history, &filter, &start, limit).await?.map(Told::from)) }
    };
    pages::answer(&app, &call, asked, page).await
}

fn first_instant(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn last_instant(day: Date) -> Option<Timestamp> {
    let next = day.checked_add(1.day()).ok().and_then(first_instant)?;
    next.checked_sub(SignedDuration::from_micros(1)).ok()
}

/// A question that waits, with all that is needed to answer it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Question {
    id: DecisionRequestId,
    asset: AssetId,
    case: Option<CaseId>,
    deadline: Timestamp,
    on_expiry: OnExpiry,
    options: Vec<String>,
    reason: String,
    proposal: Proposal,
    escalations: u32,
    asked_at: Timestamp,
    correlation_id: CorrelationId,
    /// Each spelling of an answer that is understood, and what it does. Other text is kept and changes nothing.
    spellings: BTreeMap<&'static str, Meaning>,
}

impl From<Request> for Question {
    fn from(request: Request) -> Self {
        Self {
            id: request.request,
            asset: request.proposal.asset.clone(),
            case: request.proposal.case,
            deadline: request.deadline,
            on_expiry: request.on_expiry,
            options: request.options,
            reason: request.reason,
            proposal: request.proposal,
            escalations: request.escalations,
            asked_at: request.created_at,
            correlation_id: request.correlation,
            spellings: Meaning::spellings().iter().copied().collect(),
        }
    }
}

async fn pending(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, 100, PAGE_MAX);
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let history = history.clone();
        async move { Ok(decisions::pending(&history, &start, limit).await?.map(Question::from)) }
    };
    pages::answer(&app, &call, asked, page).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_day_lasts_until_its_last_microsecond() {
        let day: Date = "2026-02-28".parse().unwrap();
        assert_eq!(first_instant(day).unwrap().to_string(), "2026-02-28T00:00:00Z");
        assert_eq!(last_instant(day).unwrap().to_string(), "2026-02-28T23:59:59.999999Z");
        assert_eq!(last_instant(Date::MAX), None);
    }

    #[test]
    fn an_answer_is_told_in_the_old_contracts_form() {
        let decision = Decision {
            request_id: DecisionRequestId::from("q"),
            decision: "approved".to_owned(),
            operator_id: "ana".to_owned(),
            justification: None,
            timestamp: "2026-02-28T10:00:00Z".parse().unwrap(),
            confidence: 1.0,
            additional_notes: None,
            correlation_id: CorrelationId::from("c"),
            meaning: Meaning::Approve,
            key: Some("first".to_owned()),
            event_id: EventId(uuid::Uuid::nil()),
            received_at: "2026-02-28T10:00:01.5Z".parse().unwrap(),
        };
        let told = serde_json::to_value(Told::from(decision)).unwrap();
        assert_eq!(
            told,
            json!({
                "request_id": "q", "decision": "approved", "operator_id": "ana", "justification": null,
                "timestamp": "2026-02-28T10:00:00+00:00", "confidence": 1.0, "additional_notes": null,
                "correlation_id": "c", "meaning": "approve", "key": "first",
                "event_id": "00000000-0000-0000-0000-000000000000", "received_at": "2026-02-28T10:00:01.500000Z",
            })
        );
    }
}
