//! What the stories, the benches and the quality run share: nodes to talk to, and a client that talks.

pub mod client;
pub mod installed;
pub mod node;
pub mod process;
pub mod promises;
pub mod simulation;
pub mod sinks;
pub mod slow;
pub mod urgency;

/// The twelve agents.
pub const AGENTS: [&str; 12] = [
    "data_acquisition",
    "anomaly_detection",
    "validation",
    "prediction",
    "human_decision",
    "scheduling",
    "notification",
    "maintenance_log",
    "learning",
    "drift",
    "retraining",
    "reporting",
];
