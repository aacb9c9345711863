//! Who does the work and when, and what came of it.

use crate::decision::Proposal;
use crate::{AssetId, CaseId, EventId, TechnicianId, WorkOrderId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A booked repair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    /// The order.
    pub work_order: WorkOrderId,
    /// The approval it carries out.
    pub approval: EventId,
    /// What is to be done.
    pub proposal: Proposal,
    /// Who does it.
    pub technician: TechnicianId,
    /// When it begins.
    pub start_at: Timestamp,
    /// When it ends.
    pub end_at: Timestamp,
    /// Skills it takes.
    pub skills: Vec<String>,
    /// How good the slot is, 0 to 1.
    pub score: f64,
    /// Why this technician and this slot, in words.
    pub reason: String,
    /// Constraints that hold.
    pub satisfied: Vec<String>,
    /// Constraints that had to give way.
    pub violated: Vec<String>,
    /// The next best slots.
    pub alternatives: Vec<Slot>,
}

/// A technician's free time that would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Who.
    pub technician: TechnicianId,
    /// From.
    pub start_at: Timestamp,
    /// To.
    pub end_at: Timestamp,
}

/// An approval for which no slot could be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulingFailed {
    /// The approval.
    pub approval: EventId,
    /// What was to be done.
    pub proposal: Proposal,
    /// Why not, in words, most important first.
    pub reasons: Vec<String>,
    /// The order that already covers it, when that is the reason.
    pub covered_by: Option<WorkOrderId>,
}

/// Work that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completed {
    /// The order.
    pub work_order: WorkOrderId,
    /// The case it closes, if it had one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// Who did it.
    pub technician: TechnicianId,
    /// When it ended.
    pub completed_at: Timestamp,
    /// How long it took, in hours.
    pub duration_hours: Option<f64>,
    /// False when no fault was found.
    pub fault_found: bool,
    /// What was done, in words.
    pub notes: String,
}

/// What a log entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A repair was booked.
    Scheduled,
    /// It could not be.
    SchedulingFailed,
    /// It was done.
    Completed,
    /// A person decided against it.
    Declined,
}

impl LogKind {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::SchedulingFailed => "scheduling_failed",
            Self::Completed => "completed",
            Self::Declined => "declined",
        }
    }
}

/// A line of the maintenance log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The asset.
    pub asset: AssetId,
    /// The case, if there is one.
    pub case: Option<CaseId>,
    /// The order, if there is one.
    pub work_order: Option<WorkOrderId>,
    /// What happened.
    pub kind: LogKind,
    /// When (receive time).
    pub at: Timestamp,
    /// In words.
    pub text: String,
}
