//! Algorithms on slices and streams of plain numbers.
//!
//! Takes times as arguments and chance as seeds: the same calls give the same answers, on every machine and in every
//! replay. Keeps no files, reads no clock and knows no sensor, asset or event; whoever calls gives the numbers a meaning.
#![warn(missing_docs)]

pub mod assignment;
pub mod budget;
pub mod conformal;
pub mod drift;
pub mod evidence;
pub mod forecast;
pub mod forest;
pub mod joint;
pub mod levels;
pub mod onnx;
pub mod prognosis;
pub mod proportion;
pub mod remaining_life;
pub mod robust;
pub mod scores;
pub mod shapley;
pub mod stream;
pub mod support_vectors;
pub mod trees;

/// Larger values are taken as this, so that their squares and the sums of those stay finite.
const VALUE_MAX: f64 = 1e100;

/// A finite `value`, no farther from zero than can be reckoned with.
fn bounded(value: f64) -> f64 {
    value.clamp(-VALUE_MAX, VALUE_MAX)
}
