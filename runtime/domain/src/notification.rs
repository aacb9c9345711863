//! Messages to people and to systems outside.

use crate::case::Priority;
use crate::{NotificationId, Timestamp};
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
    /// A mail.
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Console, Self::Webhook, Self::Email];

    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Webhook => "webhook",
            Self::Email => "email",
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

/// One try to hand a message to a system outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub elapsed_seconds: f64,
    /// What the other side said when it took the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// It was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The message.
    pub notification: NotificationId,
    /// Where to.
    pub channel: Channel,
    /// The tries that it took, where there is somebody outside to be tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
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
    /// Trying again would change nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// The tries that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
}
