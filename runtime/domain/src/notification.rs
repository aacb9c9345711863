//! Messages to people and to systems outside.

use crate::NotificationId;
use crate::case::Priority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The operators' console.
    Console,
    /// A signed HTTP POST.
    Webhook,
}

impl Channel {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Webhook => "webhook",
        }
    }
}

/// A message that is to be sent: an intent, which a worker carries out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The message; stable across repeated deliveries.
    pub notification: NotificationId,
    /// Where to.
    pub channel: Channel,
    /// Role or address of whom it is for.
    pub recipient: String,
    /// How urgent.
    pub priority: Priority,
    /// One line.
    pub subject: String,
    /// The rest.
    pub body: String,
}

/// It was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The message.
    pub notification: NotificationId,
    /// Where to.
    pub channel: Channel,
}

/// It could not be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// The message.
    pub notification: NotificationId,
    /// Where to.
    pub channel: Channel,
    /// Why, in words.
    pub error: String,
}
