//! What happens to keys and sessions. No secret, and no digest of one, is ever part of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A key was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyCreated {
    /// The key's id.
    pub key: Uuid,
    /// What people call it.
    pub name: String,
    /// The part of it that may be shown.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// By whom.
    pub by: String,
}

/// A key got a successor, and goes on working beside it for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRotated {
    /// The key.
    pub key: Uuid,
    /// The one that takes its place.
    pub successor: Uuid,
    /// The part of the successor that may be shown.
    pub prefix: String,
    /// When the old one ends.
    pub ends_at: Timestamp,
    /// By whom.
    pub by: String,
}

/// A key was taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRevoked {
    /// The key.
    pub key: Uuid,
    /// By whom.
    pub by: String,
}

/// Somebody's browser may use a key for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOpened {
    /// The session's id, which opens nothing.
    pub session: Uuid,
    /// Whose key stands behind it.
    pub by: String,
    /// By a one-time link instead of the key itself.
    pub by_link: bool,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
}

/// A session was ended before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionClosed {
    /// The session's id.
    pub session: Uuid,
    /// By whom.
    pub by: String,
}
