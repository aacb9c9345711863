//! Bookings in the old contract's form.

use crate::instants::{offset, zulu};
use domain::reading::SensorType;
use domain::report;
use domain::work_order::{Scheduled, SchedulingFailed, Slot, State};
use domain::{AssetId, CaseId, CorrelationId, EventId, ReportId, TechnicianId, Timestamp, WorkOrderId};
use persistence::work_orders::WorkOrder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Characters of the report in the answer.
const SUMMARY_CHARS_MAX: usize = 600;

/// What a repeat of the request needs to find what came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) request: EventId,
    pub(super) correlation: CorrelationId,
    pub(super) include_report: bool,
    pub(super) sensor: String,
    pub(super) context: Map<String, Value>,
}

/// What scheduling made of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Booked(Scheduled, Timestamp),
    Refused(SchedulingFailed, Timestamp),
}

impl Outcome {
    pub(super) fn at(&self) -> Timestamp {
        match self {
            Self::Booked(_, at) | Self::Refused(_, at) => *at,
        }
    }
}

/// What the requester is told.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Told {
    correlation_id: CorrelationId,
    /// `Scheduled` or `Failed_To_Schedule`.
    status: &'static str,
    schedule: Schedule,
    assigned_technician_id: Option<TechnicianId>,
    scheduled_start_time: Option<String>,
    scheduled_end_time: Option<String>,
    generated_report_id: Option<ReportId>,
    /// The first characters of the report.
    report_summary: Option<String>,
    metadata: Metadata,
}

/// What the requester said.
#[derive(Debug, Serialize, JsonSchema)]
struct Metadata {
    sensor_id: String,
    sensor_type: Option<Value>,
    model_name: Option<Value>,
    model_version: Option<Value>,
    trigger_source: Option<Value>,
}

/// A booking as the old contract tells it, or why there is none.
#[derive(Debug, Serialize, JsonSchema)]
struct Schedule {
    request_id: String,
    status: &'static str,
    assigned_technician_id: Option<TechnicianId>,
    scheduled_start_time: Option<String>,
    scheduled_end_time: Option<String>,
    optimization_score: Option<f64>,
    constraints_satisfied: Vec<String>,
    constraints_violated: Vec<String>,
    alternative_slots: Vec<Alternative>,
    scheduling_notes: String,
    created_at: String,
    /// The order of the same asset that makes this one needless.
    covered_by: Option<WorkOrderId>,
    /// What the old contract does not know; absent without a booking.
    #[serde(flatten)]
    booking: Option<Booking>,
}

/// Another slot that would have done.
#[derive(Debug, Serialize, JsonSchema)]
struct Alternative {
    technician_id: TechnicianId,
    start_time: String,
    end_time: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Booking {
    work_order_id: WorkOrderId,
    approval_event_id: EventId,
    case_id: Option<CaseId>,
    skills: Vec<String>,
    recommended_actions: Vec<String>,
    due_at: Option<String>,
}

/// A booking as one item of the feed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Item {
    correlation_id: CorrelationId,
    equipment_id: AssetId,
    maintenance_type: String,
    scheduled_start_time: String,
    scheduled_end_time: String,
    assigned_technician_id: TechnicianId,
    optimization_score: f64,
    /// `Scheduled`, `Completed` or `Cancelled`.
    status: &'static str,
    recorded_at: String,
    schedule_details: Schedule,
    /// What the requester told besides.
    context: Map<String, Value>,
}

/// What the requester is told.
pub(super) fn answer(known: &Known, outcome: &Outcome, report: Option<&report::Generated>) -> Told {
    let (status, booked) = match outcome {
        Outcome::Booked(order, _) => ("Scheduled", Some(order)),
        Outcome::Refused(..) => ("Failed_To_Schedule", None),
    };
    let schedule = match outcome {
        Outcome::Booked(order, at) => details(request_id(known.request), order, *at),
        Outcome::Refused(failed, at) => Schedule {
            request_id: request_id(known.request),
            status,
            assigned_technician_id: None,
            scheduled_start_time: None,
            scheduled_end_time: None,
            optimization_score: None,
            constraints_satisfied: Vec::new(),
            constraints_violated: failed.reasons.clone(),
            alternative_slots: Vec::new(),
            scheduling_notes: failed.reasons.join("; "),
            created_at: zulu(*at),
            covered_by: failed.covered_by,
            booking: None,
        },
    };
    let context = |name: &str| known.context.get(name).cloned();
    Told {
        correlation_id: known.correlation.clone(),
        status,
        schedule,
        assigned_technician_id: booked.map(|order| order.technician.clone()),
        scheduled_start_time: booked.map(|order| offset(order.start_at)),
        scheduled_end_time: booked.map(|order| offset(order.end_at)),
        generated_report_id: report.map(|report| report.report.clone()),
        report_summary: report.map(|report| report.content.chars().take(SUMMARY_CHARS_MAX).collect()),
        metadata: Metadata {
            sensor_id: known.sensor.clone(),
            sensor_type: context("sensor_type"),
            model_name: context("model_name"),
            model_version: context("model_version"),
            trigger_source: context("trigger_source"),
        },
    }
}

/// The name under which the request stands among the decisions.
fn request_id(request: EventId) -> String {
    format!("maintenance_request_{request}")
}

/// A booking as the old contract tells it.
fn details(request_id: String, order: &Scheduled, created_at: Timestamp) -> Schedule {
    let slot = |slot: &Slot| Alternative {
        technician_id: slot.technician.clone(),
        start_time: zulu(slot.start_at),
        end_time: zulu(slot.end_at),
    };
    Schedule {
        request_id,
        status: "Scheduled",
        assigned_technician_id: Some(order.technician.clone()),
        scheduled_start_time: Some(zulu(order.start_at)),
        scheduled_end_time: Some(zulu(order.end_at)),
        optimization_score: Some(order.score),
        constraints_satisfied: order.satisfied.clone(),
        constraints_violated: order.violated.clone(),
        alternative_slots: order.alternatives.iter().map(slot).collect(),
        scheduling_notes: order.reason.clone(),
        created_at: zulu(created_at),
        covered_by: None,
        booking: Some(Booking {
            work_order_id: order.work_order,
            approval_event_id: order.approval,
            case_id: order.proposal.case,
            skills: order.skills.clone(),
            recommended_actions: order.proposal.recommended_actions.clone(),
            due_at: order.proposal.due_at.map(zulu),
        }),
    }
}

/// A booking as one item of the feed.
///
/// `told` is the name of what was approved, and what its requester told besides.
pub(super) fn item(
    order: &WorkOrder,
    (request_id, told): (String, Map<String, Value>),
    sensor_type: Option<SensorType>,
) -> Item {
    let proposal = &order.order.proposal;
    let mut context = told;
    context.insert("sensor_id".to_owned(), json!(proposal.sensor));
    context.insert("maintenance_type".to_owned(), json!(proposal.maintenance_type));
    context.insert("prediction_confidence".to_owned(), json!(proposal.confidence));
    if context.get("sensor_type").is_none_or(Value::is_null) {
        context.insert("sensor_type".to_owned(), json!(sensor_type));
    }
    for absent in ["model_name", "model_version", "trigger_source"] {
        context.entry(absent).or_insert(Value::Null);
    }
    Item {
        correlation_id: order.correlation.clone(),
        equipment_id: proposal.asset.clone(),
        maintenance_type: proposal.maintenance_type.clone(),
        scheduled_start_time: offset(order.order.start_at),
        scheduled_end_time: offset(order.order.end_at),
        assigned_technician_id: order.order.technician.clone(),
        optimization_score: order.order.score,
        status: match order.state {
            State::Scheduled | State::InProgress | State::OnHold => "Scheduled",
            State::Completed | State::Verified => "Completed",
            State::Cancelled => "Cancelled",
        },
        recorded_at: offset(order.created_at),
        schedule_details: details(request_id, &order.order, order.created_at),
        context,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::SensorId;
    use domain::case::Priority;
    use domain::decision::Proposal;
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn known() -> Known {
        let context = json!({ "sensor_type": "pump", "trigger_source": "ui" });
        Known {
            request: EventId(Uuid::nil()),
            correlation: CorrelationId::from("c"),
            include_report: true,
            sensor: "s".to_owned(),
            context: context.as_object().unwrap().clone(),
        }
    }

    fn proposal() -> Proposal {
        Proposal {
            case: None,
            asset: AssetId::from("pump-1"),
            sensor: SensorId::from("s"),
            maintenance_type: "preventive".to_owned(),
            priority: Priority::High,
            due_at: None,
            confidence: 0.8,
            recommended_actions: Vec::new(),
        }
    }

    fn order() -> Scheduled {
        Scheduled {
            work_order: WorkOrderId(Uuid::nil()),
            approval: EventId(Uuid::nil()),
            proposal: proposal(),
            technician: TechnicianId::from("tech_002"),
            start_at: at("2026-03-02T08:00:00Z"),
            end_at: at("2026-03-02T10:00:00Z"),
            skills: vec!["mechanical".to_owned()],
            score: 0.85,
            reason: "the earliest slot".to_owned(),
            satisfied: vec!["technician_available".to_owned()],
            violated: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_booking_is_told_in_the_old_contracts_form() {
        let report = report::Generated {
            notice: None,
            from: None,
            to: None,
            report: ReportId::from("report-1"),
            report_type: "maintenance_overview".to_owned(),
            format: "json".to_owned(),
            content: "é".repeat(1000),
            data_points: 1,
            error: None,
        };
        let told = json!(answer(&known(), &Outcome::Booked(order(), at("2026-03-01T00:00:00Z")), Some(&report)));
        assert_eq!(told["status"], "Scheduled");
        assert_eq!(told["scheduled_start_time"], "2026-03-02T08:00:00+00:00");
        assert_eq!(told["schedule"]["scheduled_start_time"], "2026-03-02T08:00:00Z");
        assert_eq!(told["report_summary"].as_str().unwrap().chars().count(), 600);
        assert_eq!(told["metadata"]["sensor_type"], "pump");
        assert_eq!(
            keys(&told),
            [
                "assigned_technician_id",
                "correlation_id",
                "generated_report_id",
                "metadata",
                "report_summary",
                "schedule",
                "scheduled_end_time",
                "scheduled_start_time",
                "status",
            ]
        );
    }

    #[test]
    fn a_request_without_a_slot_says_why() {
        let failed = SchedulingFailed {
            approval: EventId(Uuid::nil()),
            proposal: proposal(),
            reasons: vec!["no technician has the skill electrical".to_owned()],
            covered_by: None,
        };
        let told = json!(answer(&known(), &Outcome::Refused(failed, at("2026-03-01T00:00:00Z")), None));
        assert_eq!(told["status"], "Failed_To_Schedule");
        assert_eq!(told["schedule"]["constraints_violated"], json!(["no technician has the skill electrical"]));
        assert_eq!(told["assigned_technician_id"], Value::Null);
        assert_eq!(told["report_summary"], Value::Null);
    }

    #[test]
    fn a_feed_item_has_the_context_that_the_old_clients_read() {
        let order = WorkOrder {
            state: State::Scheduled,
            order: order(),
            completion: None,
            started_at: None,
            held_hours: 0.0,
            held_at: None,
            last_step: None,
            correlation: CorrelationId::from("c"),
            created_at: at("2026-03-01T00:00:00Z"),
            event: EventId(Uuid::nil()),
        };
        let told = json!(item(&order, ("q".to_owned(), Map::new()), Some(SensorType::Vibration)));
        assert_eq!(told["equipment_id"], "pump-1");
        assert_eq!(
            told["context"],
            json!({
                "sensor_id": "s", "sensor_type": "vibration", "model_name": null, "model_version": null,
                "trigger_source": null, "maintenance_type": "preventive", "prediction_confidence": 0.8,
            })
        );
    }
}
