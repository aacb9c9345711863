//! Identifiers as types, so that two of them cannot be swapped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier made of `text`, as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

text_id! {
    /// A sensor, by the name that its owner gave it.
    SensorId
}
text_id! {
    /// A machine or a part of one that is maintained as a whole.
    AssetId
}
text_id! {
    /// A step of somebody's trace, as the header `traceparent` of W3C Trace Context writes it.
    TraceParent
}
text_id! {
    /// A technician.
    TechnicianId
}
text_id! {
    /// What ties together everything that came of one request.
    CorrelationId
}
text_id! {
    /// A question to a person. Text, because old clients make up their own.
    DecisionRequestId
}
text_id! {
    /// A report. Text, because clients may choose it.
    ReportId
}
uuid_id! {
    /// An event in the log.
    EventId
}
uuid_id! {
    /// A case: one episode of evidence for one failure mode of one asset.
    CaseId
}
uuid_id! {
    /// A work order.
    WorkOrderId
}
uuid_id! {
    /// One version of one model.
    ModelId
}
uuid_id! {
    /// A message to a person or a system outside; stable across repeated deliveries.
    NotificationId
}

/// Position in the event log: 1 is the first event, 0 is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a reading in order of arrival: 1 is the first reading ever stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ReadingNo(pub i64);
