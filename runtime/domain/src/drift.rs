//! A sensor whose values no longer follow their old distribution.

use crate::SensorId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two samples that differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detected {
    /// The sensor.
    pub sensor: SensorId,
    /// Source time of the newest reading compared.
    pub as_of: Timestamp,
    /// Kolmogorov–Smirnov distance, 0 to 1.
    pub ks_statistic: f64,
    /// Chance of a difference at least as clear, in level, spread or shape, if nothing had changed.
    pub p_value: f64,
    /// Population stability index, at least 0.
    pub psi: f64,
    /// Shift of the median in robust standard deviations of the baseline.
    pub effect_size: f64,
    /// Width of the middle nine tenths as a multiple of the baseline's. Older events do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_ratio: Option<f64>,
    /// Readings compared: before.
    pub n_baseline: u32,
    /// Readings compared: now.
    pub n_recent: u32,
}
