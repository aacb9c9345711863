//! Algorithms on slices and streams of plain numbers.
//!
//! Takes times as arguments and chance as seeds: the same calls give the same answers, on every machine and in every
//! replay. Keeps no files, reads no clock and knows no sensor, asset or event; whoever calls gives the numbers a meaning.
#![warn(missing_docs)]

pub mod assignment;
pub mod drift;
pub mod evidence;
pub mod forest;
pub mod joint;
pub mod prognosis;
pub mod proportion;
pub mod robust;
pub mod stream;
pub mod trees;
