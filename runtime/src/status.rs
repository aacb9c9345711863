//! The tree as the operator sees it.

use crate::slot::{Kind, LastError, State};
use schemars::JsonSchema;
use serde::Serialize;

/// One child of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AgentStatus {
    /// Its one name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// How it is.
    pub state: State,
    /// Incarnations after the first.
    pub restarts: u64,
    /// Messages in its mailbox.
    pub mailbox: u64,
    /// Age of the oldest event that it has not handled yet; 0 when there is none.
    pub oldest_seconds: f64,
    /// Events between it and the end of the log.
    pub lag: i64,
    /// Events up to here are done.
    pub cursor: i64,
    /// The last thing that went wrong.
    pub last_error: Option<LastError>,
}
