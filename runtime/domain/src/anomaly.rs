//! State detection: a reading that left its sensor's normal behaviour.

use crate::reading::SensorType;
use crate::{AssetId, CaseId, EventId, ReadingNo, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What about the signal is abnormal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// The value lies outside the expected range.
    Level,
    /// It moves faster than it ever did.
    Rate,
    /// It scatters more, or less, than it used to.
    Spread,
    /// It does not move although it used to.
    Stuck,
    /// The course of the last values is unlike any seen before.
    Pattern,
    /// It departs from its daily or weekly rhythm.
    Season,
}

impl Aspect {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Rate => "rate",
            Self::Spread => "spread",
            Self::Stuck => "stuck",
            Self::Pattern => "pattern",
            Self::Season => "season",
        }
    }
}

/// A closed range of values in the sensor's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// Lowest value.
    pub low: f64,
    /// Highest value.
    pub high: f64,
}

/// One aspect's share in a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attribution {
    /// The aspect.
    pub aspect: Aspect,
    /// Its own score; 1.0 is the threshold.
    pub score: f64,
}

/// One sensor's share when the sensors of an asset are judged together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The sensor.
    pub sensor: SensorId,
    /// How far it is out; 1.0 is the farthest that it was while all was well.
    pub share: f64,
}

/// One anomalous reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anomaly {
    /// The sensor.
    pub sensor: SensorId,
    /// The asset it sits on.
    pub asset: AssetId,
    /// What it measures.
    pub sensor_type: SensorType,
    /// The reading.
    pub reading: ReadingNo,
    /// When it was measured.
    pub taken_at: Timestamp,
    /// Its value.
    pub value: f64,
    /// Its quality, 0 to 1.
    pub quality: f64,
    /// How abnormal: 1.0 is the threshold, above it is an anomaly.
    pub score: f64,
    /// What would have been normal.
    pub expected: Range,
    /// The aspect that drove the score.
    pub aspect: Aspect,
    /// Every aspect's share, largest first.
    pub attribution: Vec<Attribution>,
    /// Anomalous readings of this sensor in a row, this one included.
    pub run_length: u32,
    /// Normal readings of this sensor between its last anomalous one and this.
    pub normal_before: u32,
    /// Name and version of the detector.
    pub detector: String,
    /// When the sensors of the asset were judged together: how far each is out, largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// What the asset was doing, if that is declared or shows in the sensor's own values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// What validation makes of an anomaly. The names are the old contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is evidence.
    CredibleAnomaly,
    /// It is probably not real.
    FalsePositiveSuspected,
    /// It may be.
    FurtherInvestigationNeeded,
}

impl Verdict {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CredibleAnomaly => "credible_anomaly",
            Self::FalsePositiveSuspected => "false_positive_suspected",
            Self::FurtherInvestigationNeeded => "further_investigation_needed",
        }
    }
}

/// One rule's contribution to a confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Short name of the rule, for machines.
    pub rule: String,
    /// How much it added, or took away.
    pub weight: f64,
    /// Why, in words.
    pub text: String,
}

/// A judged anomaly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validated {
    /// The event that reported the anomaly.
    pub anomaly_event: EventId,
    /// The anomaly, frozen as evidence.
    pub anomaly: Anomaly,
    /// The verdict.
    pub verdict: Verdict,
    /// Confidence that it is real, 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The case it is evidence of, if any.
    pub case: Option<CaseId>,
}
