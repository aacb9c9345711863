//! The rules of delivery and restart, as plain functions without I/O, so that they can be simulated.

pub mod attempts;
pub mod backoff;
pub mod intensity;
