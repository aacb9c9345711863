//! Labels. Each takes its values from a closed set: no sensor, no asset, no id of a request.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AgentLabel {
    pub(super) agent: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AgentStateLabels {
    pub(super) agent: &'static str,
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildLabels {
    version: &'static str,
    profile: &'static str,
}

impl BuildLabels {
    /// The program that this was compiled into.
    pub(super) fn this() -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self { version: env!("CARGO_PKG_VERSION"), profile }
    }
}

/// One finished request. `handler` is the route's pattern, never the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) handler: &'static str,
    pub(super) method: &'static str,
    pub(super) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) route: &'static str,
    pub(super) method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabel {
    pub(super) limit: Limit,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SettingLabel {
    pub(super) setting: String,
}

/// A limit that a request can run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Open connections.
    Connections,
    /// Open connections from one address.
    ConnectionsPerAddress,
    /// Time for a body to arrive.
    BodyReadTimeout,
    /// Bytes of the body of a request for one item.
    BodyBytes,
    /// Bytes of the body of a batch.
    BatchBodyBytes,
    /// Items of a batch.
    BatchItems,
    /// Levels of nesting of a JSON body.
    JsonDepth,
    /// Requests with readings under way at once.
    IngestRequests,
    /// Bytes of their bodies.
    IngestBytes,
    /// Requests with another body under way at once.
    OtherRequests,
    /// Bytes of their bodies.
    OtherBytes,
    /// Events by which the slowest agent is behind.
    LagEvents,
    /// Bytes that must be free on the disk.
    DiskFree,
    /// Open streams of events.
    Streams,
    /// Those of one caller.
    StreamsPerKey,
    /// Headers of a request, or bytes of its head.
    HeaderBytes,
    /// Time for a head to arrive.
    HeaderReadTimeout,
    /// Bytes of a body in a second.
    BodyRate,
    /// Time to answer a request.
    RequestTimeout,
    /// Time without a request.
    IdleTimeout,
    /// Time for which an answer is left unread.
    WriteStall,
    /// Time to agree on a key.
    Handshake,
    /// Requests of one key.
    Requests,
    /// Requests without a key from one address.
    Strangers,
    /// Drift checks of one key.
    CheckDrift,
    /// Simulations and demos of one key.
    Simulations,
    /// Reports of one key.
    Reports,
    /// Changes to keys and settings by one key.
    Changes,
    /// Wrong keys from one address.
    FailedLogins,
    /// Browser sessions, or links to them.
    Sessions,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 30] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::BodyReadTimeout,
        Self::BodyBytes,
        Self::BatchBodyBytes,
        Self::BatchItems,
        Self::JsonDepth,
        Self::IngestRequests,
        Self::IngestBytes,
        Self::OtherRequests,
        Self::OtherBytes,
        Self::LagEvents,
        Self::DiskFree,
        Self::Streams,
        Self::StreamsPerKey,
        Self::HeaderBytes,
        Self::HeaderReadTimeout,
        Self::BodyRate,
        Self::RequestTimeout,
        Self::IdleTimeout,
        Self::WriteStall,
        Self::Handshake,
        Self::Requests,
        Self::Strangers,
        Self::CheckDrift,
        Self::Simulations,
        Self::Reports,
        Self::Changes,
        Self::FailedLogins,
        Self::Sessions,
    ];

    /// Its name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections_max",
            Self::ConnectionsPerAddress => "connections_per_address_max",
            Self::BodyReadTimeout => "body_read_timeout_seconds",
            Self::BodyBytes => "body_bytes_max",
            Self::BatchBodyBytes => "batch_body_bytes_max",
            Self::BatchItems => "batch_items_max",
            Self::JsonDepth => "json_depth_max",
            Self::IngestRequests => "ingest_requests_max",
            Self::IngestBytes => "ingest_bytes_max",
            Self::OtherRequests => "other_requests_max",
            Self::OtherBytes => "other_bytes_max",
            Self::LagEvents => "lag_events_max",
            Self::DiskFree => "disk_free_bytes_min",
            Self::Streams => "streams_max",
            Self::StreamsPerKey => "streams_per_key_max",
            Self::HeaderBytes => "header_bytes_max",
            Self::HeaderReadTimeout => "header_read_timeout_seconds",
            Self::BodyRate => "body_bytes_per_second_min",
            Self::RequestTimeout => "request_timeout_seconds",
            Self::IdleTimeout => "idle_timeout_seconds",
            Self::WriteStall => "write_stall_seconds",
            Self::Handshake => "handshake_timeout_seconds",
            Self::Requests => "requests_per_second_max",
            Self::Strangers => "strangers_per_second_max",
            Self::CheckDrift => "check_drift_per_minute_max",
            Self::Simulations => "simulations_per_minute_max",
            Self::Reports => "reports_per_minute_max",
            Self::Changes => "changes_per_minute_max",
            Self::FailedLogins => "failed_logins_per_minute_max",
            Self::Sessions => "open_max",
        }
    }
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}
