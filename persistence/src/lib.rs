//! The store of Smart Maintenance: the event log, readings, read models, and the one writer that changes them.
//!
//! Everything is committed through [`Store`], in groups, by one writer; an answer is given after the commit
//! and never before. Readers see committed things only. Redis is here too, for what can be lost.
//!
//! This crate knows no agent and takes no decision. It reads no clock: instants come with what is submitted.
//!
//! **Invariant**: no type of sea-orm, sqlx or redis appears in a public signature.
#![warn(missing_docs)]

pub mod admin;
pub mod anomalies;
pub mod assets;
pub mod audit;
pub mod cases;
mod checkpoints;
pub mod consumers;
mod database;
pub mod dead_letters;
pub mod decisions;
pub mod drift;
mod error;
pub mod history;
mod idempotency;
pub mod in_hand;
mod instants;
pub mod keys;
pub mod knowledge;
pub mod kpis;
pub mod log;
pub mod maintenance_log;
mod migrations;
pub mod models;
pub mod notifications;
pub mod page;
pub mod predictions;
mod projections;
pub mod readings;
pub mod redis;
mod registry;
pub mod reports;
pub mod seen;
pub mod sensors;
mod sql;
pub mod store;
#[cfg(test)]
mod story;
pub mod tail;
pub mod technicians;
mod texts;
mod timers;
pub mod unit;
pub mod work_orders;
mod writer;

pub use error::StoreError;
pub use history::History;
pub use log::Log;
pub use store::{Settings, Store};
pub use writer::stats::{COMMIT_SECONDS_BOUNDS, WriterStats};

/// Version of the form in which events are written now.
pub const EVENT_VERSION: u16 = 1;
