//! Plants whose truth is known: machines with sensors, faults that grow, and scenarios made of them.
//!
//! Everything is a function of a seed and of the times at which it is asked, so that the same questions get
//! the same answers on the same kind of computer. The processes are simple on purpose: right in shape and
//! size, not in detail. It reads no clock and sends nothing anywhere.
#![warn(missing_docs)]

pub mod bearing;
mod chance;
pub mod classic;
pub mod defect;
pub mod fault;
mod instrument;
pub mod labelled;
pub mod load;
pub mod mill;
pub mod motor;
pub mod pump;
pub mod quiet;
pub mod scenario;
mod signal;
#[cfg(test)]
mod trial;

pub use signal::Duty;

use domain::reading::SensorType;
use domain::{AssetId, SensorId, Timestamp};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// One value as a machine sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The sensor.
    pub sensor: SensorId,
    /// The machine it sits on.
    pub asset: AssetId,
    /// What it measures.
    pub sensor_type: SensorType,
    /// The unit of `value`.
    pub unit: &'static str,
    /// What it read.
    pub value: f64,
    /// When.
    pub taken_at: Timestamp,
}

/// A parameter outside of what a simulation can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {min} and {max}, got {got}")]
pub struct OutOfRange {
    /// The parameter.
    pub field: &'static str,
    /// Its least value.
    pub min: String,
    /// Its greatest value.
    pub max: String,
    /// What was given.
    pub got: String,
}

/// `value`, if it lies in `range`. A NaN lies in no range.
fn within<T: PartialOrd + Display>(field: &'static str, value: T, range: RangeInclusive<T>) -> Result<T, OutOfRange> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (min, max) = range.into_inner();
    Err(OutOfRange { field, min: min.to_string(), max: max.to_string(), got: value.to_string() })
}
