//! Health assessment: a case gathers the evidence for one failure mode of one asset.

use crate::decision::By;
use crate::reading::SensorType;
use crate::{AssetId, CaseId, EventId, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Urgency, as ISA-18.2 ranks alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Priority {
    Low,
    Medium,
    High,
    Critical,
}

impl Priority {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// One step more urgent; `Critical` stays.
    pub fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }
}

/// The way in which an asset seems to fail: `abnormal_temperature`, `sensor_fault`, …
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FailureMode(pub String);

impl FailureMode {
    /// A sensor that no longer measures.
    pub fn sensor_fault() -> Self {
        Self("sensor_fault".to_owned())
    }

    /// Something measured that is not as it should be.
    pub fn abnormal(sensor_type: SensorType) -> Self {
        Self(format!("abnormal_{}", sensor_type.as_str()))
    }
}

/// A case as it opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// The case.
    pub case: CaseId,
    /// What seems to fail.
    pub asset: AssetId,
    /// How.
    pub failure_mode: FailureMode,
    /// The sensor whose evidence opened it.
    pub sensor: SensorId,
    /// How urgent it seems.
    pub priority: Priority,
    /// Source time of the first evidence.
    pub first_evidence_at: Timestamp,
    /// Source time of the newest evidence so far.
    pub last_evidence_at: Timestamp,
    /// Why it was opened, in words.
    pub reason: String,
    /// Anomalies that led to it, oldest first: evidence that came before the case, the last one not included.
    pub evidence: Vec<EventId>,
    /// The earlier case that this one repeats, if it returned soon.
    pub recurrence_of: Option<CaseId>,
    /// The detector that reported the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// What the sensor measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor_type: Option<SensorType>,
}

/// A case whose urgency changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Updated {
    /// The case.
    pub case: CaseId,
    /// Its urgency from now on.
    pub priority: Priority,
    /// Why, in words.
    pub reason: String,
}

/// Why a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// No evidence for as long as an episode may pause.
    ReturnedToNormal,
    /// A work order was completed.
    Repaired,
    /// A work order was completed, and there was nothing to repair.
    NoFaultFound,
    /// A person said that it is nothing.
    Declined,
}

impl Resolution {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReturnedToNormal => "returned_to_normal",
            Self::Repaired => "repaired",
            Self::NoFaultFound => "no_fault_found",
            Self::Declined => "declined",
        }
    }
}

/// A case that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Closed {
    /// The case.
    pub case: CaseId,
    /// Why it ended.
    pub resolution: Resolution,
    /// In words.
    pub reason: String,
}

/// Somebody has seen a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// The case.
    pub case: CaseId,
    /// The name of their key.
    pub by: String,
    /// A note, in their words.
    pub reason: Option<String>,
}

/// Somebody put a case aside for a while. Its evidence is gathered as before; nobody is told of it meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shelved {
    /// The case.
    pub case: CaseId,
    /// The name of their key.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// When it comes back by itself.
    pub until: Timestamp,
}

/// A case is back from the shelf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unshelved {
    /// The case.
    pub case: CaseId,
    /// Who took it back, or that its time was over.
    pub by: By,
    /// Why, in words.
    pub reason: String,
}

/// What somebody made of a case, without a repair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Feedback {
    /// The case.
    pub case: CaseId,
    /// Whether it was real.
    pub confirmed: bool,
    /// The name of their key.
    pub by: String,
    /// In their words.
    pub comment: Option<String>,
}

/// What a person can do with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say that they have seen it.
    Acknowledge,
    /// Put it aside.
    Shelve,
    /// Take it back from the shelf.
    Unshelve,
}

/// How a case stands with the people who look after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It ended.
    pub closed: bool,
    /// Somebody has seen it.
    pub acknowledged: bool,
    /// It is put aside.
    pub shelved: bool,
}

impl Standing {
    /// Whether `act` can be done now.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn allows(self, act: Act) -> Result<(), NotNow> {
        match act {
            Act::Acknowledge if self.acknowledged => Err(NotNow("it is acknowledged already")),
            Act::Shelve if self.closed => Err(NotNow("it is closed, and only an open case can be shelved")),
            Act::Shelve if self.shelved => Err(NotNow("it is shelved already; take it back first")),
            Act::Unshelve if !self.shelved => Err(NotNow("it is not shelved")),
            Act::Acknowledge | Act::Shelve | Act::Unshelve => Ok(()),
        }
    }
}

/// Why something cannot be done with a case as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow(&'static str);

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_with_a_case_depends_on_how_it_stands() {
        let fresh = Standing::default();
        assert_eq!(fresh.allows(Act::Acknowledge), Ok(()));
        assert_eq!(fresh.allows(Act::Shelve), Ok(()));
        assert!(fresh.allows(Act::Unshelve).is_err());
        let shelved = Standing { shelved: true, acknowledged: true, ..fresh };
        assert!(shelved.allows(Act::Shelve).is_err() && shelved.allows(Act::Acknowledge).is_err());
        assert_eq!(shelved.allows(Act::Unshelve), Ok(()));
        // A case that ended before anybody saw it can still be acknowledged.
        let closed = Standing { closed: true, ..fresh };
        assert_eq!(closed.allows(Act::Acknowledge), Ok(()));
        assert!(closed.allows(Act::Shelve).is_err());
    }
}
