//! Prognostics: how long an asset can go on.

use crate::{AssetId, CaseId, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Quantiles of the time to the limit, in hours from [`Prediction::as_of`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemainingHours {
    /// One in ten fails earlier.
    pub p10: f64,
    /// Half fail earlier.
    pub p50: f64,
    /// Nine in ten fail earlier.
    pub p90: f64,
}

/// What can be said about the future.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outlook {
    /// The limit will be reached.
    Remaining {
        /// When.
        remaining_hours: RemainingHours,
    },
    /// The limit is passed already.
    LimitPassed,
    /// No trend leads to the limit within the horizon.
    NoTrend {
        /// How far the forecast looked, in hours.
        horizon_hours: f64,
    },
    /// History is too short to say.
    NotEnoughData {
        /// Readings there are.
        have: u32,
        /// Readings needed.
        need: u32,
    },
}

/// A prognosis for one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prediction {
    /// The case.
    pub case: CaseId,
    /// The asset.
    pub asset: AssetId,
    /// The sensor whose trend was followed.
    pub sensor: SensorId,
    /// Source time of the newest reading used.
    pub as_of: Timestamp,
    /// The value that counts as failure, in the sensor's unit; absent if history was too short to derive one.
    pub limit: Option<f64>,
    /// Where the limit comes from, in words.
    pub limit_source: String,
    /// What can be said.
    pub outlook: Outlook,
    /// Confidence in the outlook, 0 to 1.
    pub confidence: f64,
    /// Name and version of the method.
    pub method: String,
    /// Readings used.
    pub n_readings: u32,
    /// What to do, in words.
    pub recommended_actions: Vec<String>,
}
