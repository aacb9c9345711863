//! Stories over HTTP on a whole node. The files mirror the routes.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod access;
mod add_an_agent;
mod approvals;
mod aside;
mod bad_input;
mod canary;
mod cases;
mod contract;
mod demo;
mod deployment;
mod durability;
mod earlier;
mod folder;
mod golden_path;
mod ingest;
mod limits;
mod logs;
mod maintenance;
mod metrics;
mod models;
mod notifications;
mod operations;
mod plant;
mod redis;
mod retraining;
mod slow_connections;
mod work_orders;
