//! Health assessment: a case gathers the evidence for one failure mode of one asset.

use crate::reading::SensorType;
use crate::{AssetId, CaseId, EventId, SensorId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Urgency, as ISA-18.2 ranks alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// A case whose urgency changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Updated {
    /// The case.
    pub case: CaseId,
    /// Its urgency from now on.
    pub priority: Priority,
    /// Why, in words.
    pub reason: String,
}

/// Why a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// No evidence for as long as an episode may pause.
    ReturnedToNormal,
    /// A work order was completed.
    Repaired,
    /// A person said that it is nothing.
    Declined,
}

impl Resolution {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReturnedToNormal => "returned_to_normal",
            Self::Repaired => "repaired",
            Self::Declined => "declined",
        }
    }
}

/// A case that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// The case.
    pub case: CaseId,
    /// Why it ended.
    pub resolution: Resolution,
    /// In words.
    pub reason: String,
}
