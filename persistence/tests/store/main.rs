//! The store through its public surface.

mod bench;
mod durability;
mod failure;
mod idempotency;
mod incarnations;
mod log;
mod read_models;
mod refusals;
mod timers;
