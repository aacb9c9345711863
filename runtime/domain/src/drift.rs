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
    /// Its two-sided p-value.
    pub p_value: f64,
    /// Population stability index, at least 0.
    pub psi: f64,
    /// Shift of the median in robust standard deviations of the baseline.
    pub effect_size: f64,
    /// Readings compared: before.
    pub n_baseline: u32,
    /// Readings compared: now.
    pub n_recent: u32,
}
