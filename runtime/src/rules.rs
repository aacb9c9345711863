//! The rules of delivery and restart, as plain types and functions without I/O, so that they can be simulated.

pub mod attempts;
pub mod backoff;
pub mod checkpoint;
pub mod intensity;
pub mod passage;
pub mod restart;
pub mod wake;
