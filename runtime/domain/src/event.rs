//! Everything that can happen, and the envelope it travels in.

use crate::{
    CorrelationId, EventId, SensorId, Seq, TechnicianId, TraceParent, access, anomaly, asset, case, decision, drift,
    model, notification, prediction, reading, report, work_order,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that can happen. Closed on purpose: one list to read, one `match` to extend.
///
/// Facts stand in the past tense; a request is a fact too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// A batch of readings was stored.
    ReadingsAccepted(reading::Accepted),
    /// Some items of a batch were refused.
    ReadingsRejected(reading::Rejected),
    /// A reading left its sensor's normal behaviour.
    AnomalyDetected(anomaly::Anomaly),
    /// An anomaly was judged.
    AnomalyValidated(anomaly::Validated),
    /// An episode of evidence began.
    CaseOpened(case::Opened),
    /// It became more urgent.
    CaseUpdated(case::Updated),
    /// It ended.
    CaseClosed(case::Closed),
    /// A prognosis was made.
    MaintenancePredicted(prediction::Prediction),
    /// A person must decide.
    DecisionRequired(decision::Required),
    /// Somebody answered.
    DecisionReceived(decision::Received),
    /// Nobody answered in time.
    DecisionExpired(decision::Expired),
    /// Somebody asked for maintenance outright.
    MaintenanceRequested(decision::Requested),
    /// Maintenance may be planned.
    MaintenanceApproved(decision::Approved),
    /// It will not be.
    MaintenanceDeclined(decision::Declined),
    /// A repair was booked.
    MaintenanceScheduled(work_order::Scheduled),
    /// None could be.
    SchedulingFailed(work_order::SchedulingFailed),
    /// A repair was done.
    MaintenanceCompleted(work_order::Completed),
    /// The maintenance log has a new line.
    LogEntryWritten(work_order::LogEntry),
    /// Somebody is to be told.
    NotificationRequested(notification::Requested),
    /// They were.
    NotificationSent(notification::Sent),
    /// They could not be.
    NotificationFailed(notification::Failed),
    /// What people said changed what an alarm is worth.
    FeedbackLearned(model::FeedbackLearned),
    /// A sensor's distribution changed.
    DriftDetected(drift::Detected),
    /// A detector is to be fitted anew.
    TrainingRequested(model::TrainingRequested),
    /// It was fitted and compared.
    ModelTrained(model::Trained),
    /// It could not be.
    TrainingFailed(model::TrainingFailed),
    /// The challenger won.
    ModelPromoted(model::Promoted),
    /// It did not.
    ModelRejected(model::Refused),
    /// A version of a model that clients ask by name was trained.
    ModelRegistered(model::Registered),
    /// It was chosen which version answers.
    ChampionChosen(model::Chosen),
    /// A report is wanted.
    ReportRequested(report::Requested),
    /// It can be read.
    ReportGenerated(report::Generated),
    /// A timer that an agent had set ran out.
    TimerDue {
        /// The agent.
        agent: String,
        /// The agent's own key.
        key: String,
    },
    /// A demonstration began.
    GoldenPathStarted {
        /// The machine's sensor that will fail.
        sensor: SensorId,
        /// Readings it sends.
        sensor_events: u32,
        /// Whether a person is asked.
        include_decision: bool,
    },
    /// An operator changed how an agent runs.
    AgentControlled {
        /// The agent.
        agent: String,
        /// What was done.
        action: Control,
        /// By whom.
        by: String,
        /// The last event that it handles before it rests, when it is drained.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up_to: Option<Seq>,
    },
    /// An event that an agent had given up was given to it once more. The agent handles it at this place in the log.
    DeadLetterReplayed {
        /// Number of the dead letter.
        letter: i64,
        /// The agent.
        agent: String,
        /// The event's place.
        seq: Seq,
        /// By whom.
        by: String,
    },
    /// It was decided that an event that an agent had given up need not be handled.
    DeadLetterDiscarded {
        /// Number of the dead letter.
        letter: i64,
        /// The agent.
        agent: String,
        /// The event's place.
        seq: Seq,
        /// By whom.
        by: String,
    },
    /// Somebody has seen a case.
    CaseAcknowledged(case::Acknowledged),
    /// Somebody put a case aside for a while.
    CaseShelved(case::Shelved),
    /// It is back.
    CaseUnshelved(case::Unshelved),
    /// Somebody said whether a case was real.
    FeedbackReceived(case::Feedback),
    /// A repair began, or went on.
    WorkOrderStarted(work_order::Started),
    /// It rests.
    WorkOrderHeld(work_order::Held),
    /// It was called off.
    WorkOrderCancelled(work_order::Cancelled),
    /// It helped: a new baseline begins.
    RepairVerified(work_order::Verified),
    /// An approval is not carried out any more.
    ApprovalWithdrawn(work_order::Withdrawn),
    /// What people said changed what a detector is worth.
    DetectorRated(model::DetectorRated),
    /// A description of the plant was taken over.
    PlantImported(asset::Imported),
    /// Where the plant is was said.
    SiteDeclared {
        /// The site.
        site: asset::Site,
        /// By whom.
        by: String,
    },
    /// An asset was described.
    AssetDeclared {
        /// The asset.
        asset: asset::Asset,
        /// By whom.
        by: String,
    },
    /// A sensor was described.
    SensorDeclared {
        /// The sensor.
        sensor: asset::Declared,
        /// By whom.
        by: String,
    },
    /// A technician was described. The first one who is no example replaces the examples.
    TechnicianDeclared {
        /// The technician.
        technician: asset::Technician,
        /// By whom.
        by: String,
    },
    /// A technician is not sent any more.
    TechnicianRemoved {
        /// The technician.
        technician: TechnicianId,
        /// By whom.
        by: String,
    },
    /// An asset was taken out of service.
    AssetMaintenanceBegan(asset::MaintenanceBegan),
    /// It is back.
    AssetMaintenanceEnded(asset::MaintenanceEnded),
    /// A key was made.
    KeyCreated(access::KeyCreated),
    /// A key got a successor.
    KeyRotated(access::KeyRotated),
    /// A key was taken back.
    KeyRevoked(access::KeyRevoked),
    /// A browser session began.
    SessionOpened(access::SessionOpened),
    /// It was ended before its time.
    SessionClosed(access::SessionClosed),
}

/// What an operator can do to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Control {
    Pause,
    Resume,
    Drain,
    Restart,
}

impl Event {
    /// The kinds of events that say who may do what, and who decided what. The audit chain covers them.
    pub const AUDITED: &'static [&'static str] = &[
        "decision_required",
        "decision_received",
        "decision_expired",
        "maintenance_requested",
        "maintenance_approved",
        "maintenance_declined",
        "maintenance_completed",
        "model_promoted",
        "agent_controlled",
        "case_acknowledged",
        "case_shelved",
        "case_unshelved",
        "feedback_received",
        "work_order_cancelled",
        "approval_withdrawn",
        "plant_imported",
        "site_declared",
        "asset_declared",
        "sensor_declared",
        "technician_declared",
        "technician_removed",
        "asset_maintenance_began",
        "asset_maintenance_ended",
        "dead_letter_replayed",
        "dead_letter_discarded",
        "key_created",
        "key_rotated",
        "key_revoked",
        "session_opened",
        "session_closed",
    ];

    /// Whether the audit chain covers it.
    pub fn is_audited(&self) -> bool {
        Self::AUDITED.contains(&self.name())
    }

    /// The `type` of the event as it stands in JSON and in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadingsAccepted(_) => "readings_accepted",
            Self::ReadingsRejected(_) => "readings_rejected",
            Self::AnomalyDetected(_) => "anomaly_detected",
            Self::AnomalyValidated(_) => "anomaly_validated",
            Self::CaseOpened(_) => "case_opened",
            Self::CaseUpdated(_) => "case_updated",
            Self::CaseClosed(_) => "case_closed",
            Self::MaintenancePredicted(_) => "maintenance_predicted",
            Self::DecisionRequired(_) => "decision_required",
            Self::DecisionReceived(_) => "decision_received",
            Self::DecisionExpired(_) => "decision_expired",
            Self::MaintenanceRequested(_) => "maintenance_requested",
            Self::MaintenanceApproved(_) => "maintenance_approved",
            Self::MaintenanceDeclined(_) => "maintenance_declined",
            Self::MaintenanceScheduled(_) => "maintenance_scheduled",
            Self::SchedulingFailed(_) => "scheduling_failed",
            Self::MaintenanceCompleted(_) => "maintenance_completed",
            Self::LogEntryWritten(_) => "log_entry_written",
            Self::NotificationRequested(_) => "notification_requested",
            Self::NotificationSent(_) => "notification_sent",
            Self::NotificationFailed(_) => "notification_failed",
            Self::FeedbackLearned(_) => "feedback_learned",
            Self::DriftDetected(_) => "drift_detected",
            Self::TrainingRequested(_) => "training_requested",
            Self::ModelTrained(_) => "model_trained",
            Self::TrainingFailed(_) => "training_failed",
            Self::ModelPromoted(_) => "model_promoted",
            Self::ModelRejected(_) => "model_rejected",
            Self::ModelRegistered(_) => "model_registered",
            Self::ChampionChosen(_) => "champion_chosen",
            Self::ReportRequested(_) => "report_requested",
            Self::ReportGenerated(_) => "report_generated",
            Self::TimerDue { .. } => "timer_due",
            Self::GoldenPathStarted { .. } => "golden_path_started",
            Self::AgentControlled { .. } => "agent_controlled",
            Self::KeyCreated(_) => "key_created",
            Self::KeyRotated(_) => "key_rotated",
            Self::KeyRevoked(_) => "key_revoked",
            Self::SessionOpened(_) => "session_opened",
            Self::SessionClosed(_) => "session_closed",
            Self::CaseAcknowledged(_) => "case_acknowledged",
            Self::CaseShelved(_) => "case_shelved",
            Self::CaseUnshelved(_) => "case_unshelved",
            Self::FeedbackReceived(_) => "feedback_received",
            Self::WorkOrderStarted(_) => "work_order_started",
            Self::WorkOrderHeld(_) => "work_order_held",
            Self::WorkOrderCancelled(_) => "work_order_cancelled",
            Self::RepairVerified(_) => "repair_verified",
            Self::ApprovalWithdrawn(_) => "approval_withdrawn",
            Self::DetectorRated(_) => "detector_rated",
            Self::PlantImported(_) => "plant_imported",
            Self::SiteDeclared { .. } => "site_declared",
            Self::AssetDeclared { .. } => "asset_declared",
            Self::SensorDeclared { .. } => "sensor_declared",
            Self::TechnicianDeclared { .. } => "technician_declared",
            Self::TechnicianRemoved { .. } => "technician_removed",
            Self::AssetMaintenanceBegan(_) => "asset_maintenance_began",
            Self::AssetMaintenanceEnded(_) => "asset_maintenance_ended",
            Self::DeadLetterReplayed { .. } => "dead_letter_replayed",
            Self::DeadLetterDiscarded { .. } => "dead_letter_discarded",
        }
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Place in the log.
    pub seq: Seq,
    /// The event's own id.
    pub id: EventId,
    /// The event it answers.
    pub cause: Option<EventId>,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// Receive time: when we learnt of it.
    pub at: Timestamp,
    /// The component that said it.
    pub source: String,
    /// Version of the event's form.
    pub version: u16,
    /// The request's step of its caller's trace, if the caller told of one. A timer that runs out ends the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
