//! Who does the work and when, and what came of it.

use crate::close_out::CloseOut;
use crate::decision::Proposal;
use crate::{AssetId, CaseId, EventId, SensorId, TechnicianId, WorkOrderId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is booked.
    Scheduled,
    /// Somebody is at work.
    InProgress,
    /// Work rests, and somebody said why.
    OnHold,
    /// It was done.
    Completed,
    /// It was done, and somebody saw the asset run as it should.
    Verified,
    /// It will not be done.
    Cancelled,
}

/// What moves an order on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin, or go on after a rest.
    Start,
    /// Rest.
    Hold,
    /// End the work.
    Complete,
    /// See that it helped.
    Verify,
    /// Call it off.
    Cancel,
}

impl State {
    /// Every state, in the order in which an order passes them.
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::InProgress, Self::OnHold, Self::Completed, Self::Verified, Self::Cancelled];

    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::InProgress => "in_progress",
            Self::OnHold => "on_hold",
            Self::Completed => "completed",
            Self::Verified => "verified",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that `step` leads to.
    ///
    /// # Errors
    ///
    /// The step cannot be taken from here.
    pub fn after(self, step: Step) -> Result<Self, Refusal> {
        match (self, step) {
            (Self::Scheduled | Self::OnHold, Step::Start) => Ok(Self::InProgress),
            (Self::InProgress, Step::Hold) => Ok(Self::OnHold),
            (Self::InProgress, Step::Complete) => Ok(Self::Completed),
            (Self::Completed, Step::Verify) => Ok(Self::Verified),
            (Self::Scheduled | Self::InProgress | Self::OnHold, Step::Cancel) => Ok(Self::Cancelled),
            (state, step) => Err(Refusal { state, step }),
        }
    }

    /// Whether it still takes its technician's time.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::InProgress | Self::OnHold)
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 5] = [Self::Start, Self::Hold, Self::Complete, Self::Verify, Self::Cancel];

    /// The name as it stands in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Hold => "hold",
            Self::Complete => "complete",
            Self::Verify => "verify",
            Self::Cancel => "cancel",
        }
    }

    /// The states from which it can be taken.
    pub fn from(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| state.after(self).is_ok())
    }
}

/// A step that an order cannot take as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How far the order has come.
    pub state: State,
    /// What was to happen.
    pub step: Step,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let possible: Vec<&str> =
            Step::ALL.into_iter().filter(|step| self.state.after(*step).is_ok()).map(Step::as_str).collect();
        let possible = if possible.is_empty() { "nothing more".to_owned() } else { possible.join(" or ") };
        write!(f, "it is {}, which allows {possible}, but not {}", self.state.as_str(), self.step.as_str())
    }
}

/// A booked repair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// Who.
    pub technician: TechnicianId,
    /// From.
    pub start_at: Timestamp,
    /// To.
    pub end_at: Timestamp,
}

/// An approval for which no slot could be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// What was found and done, in codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_out: Option<CloseOut>,
    /// Who said so: the name of their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Work that began, or went on after a rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The order.
    pub work_order: WorkOrderId,
    /// Its case, if it has one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// Who said so: the name of their key.
    pub by: String,
    /// A note, in their words.
    pub reason: Option<String>,
}

/// Work that rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// The order.
    pub work_order: WorkOrderId,
    /// Its case, if it has one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// Who said so: the name of their key.
    pub by: String,
    /// What it waits for, in their words.
    pub reason: String,
}

/// Work that was called off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The order.
    pub work_order: WorkOrderId,
    /// Its case, if it has one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// Who said so: the name of their key.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// A repair that helped. What its sensors measure from now on is a new normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// The order.
    pub work_order: WorkOrderId,
    /// Its case, if it had one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// The sensors whose old baseline ends.
    pub sensors: Vec<SensorId>,
    /// Source time from which readings are the new normal: the end of the repair.
    pub since: Timestamp,
    /// Who said so: the name of their key.
    pub by: String,
    /// In their words.
    pub reason: Option<String>,
}

/// An approval that is not carried out any more, because its case is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Withdrawn {
    /// The approval.
    pub approval: EventId,
    /// What was to be done.
    pub proposal: Proposal,
    /// Why not, in words.
    pub reason: String,
}

/// What a log entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// It began, or went on.
    Started,
    /// It rests.
    Held,
    /// It was called off.
    Cancelled,
    /// It helped.
    Verified,
    /// It is not needed any more.
    Withdrawn,
}

impl LogKind {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::SchedulingFailed => "scheduling_failed",
            Self::Completed => "completed",
            Self::Declined => "declined",
            Self::Started => "started",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
            Self::Verified => "verified",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A line of the maintenance log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_passes_its_states_in_order() {
        let mut state = State::Scheduled;
        for (step, next) in [
            (Step::Start, State::InProgress),
            (Step::Hold, State::OnHold),
            (Step::Start, State::InProgress),
            (Step::Complete, State::Completed),
            (Step::Verify, State::Verified),
        ] {
            state = state.after(step).expect("the step is allowed");
            assert_eq!(state, next);
        }
    }

    #[test]
    fn a_refusal_says_what_can_be_done_instead() {
        let refused = State::Scheduled.after(Step::Complete).expect_err("it has not begun");
        assert_eq!(refused.to_string(), "it is scheduled, which allows start or cancel, but not complete");
        let refused = State::Cancelled.after(Step::Start).expect_err("it is over");
        assert_eq!(refused.to_string(), "it is cancelled, which allows nothing more, but not start");
    }

    #[test]
    fn what_is_over_stays_over() {
        for over in [State::Verified, State::Cancelled] {
            assert!(Step::ALL.into_iter().all(|step| over.after(step).is_err()) && !over.is_open());
        }
        assert_eq!(Step::Cancel.from().collect::<Vec<_>>(), [State::Scheduled, State::InProgress, State::OnHold]);
    }
}
