//! Reports counted from the store.

use crate::ReportId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A wish for a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The report.
    pub report: ReportId,
    /// `anomaly_summary`, `maintenance_overview`, `system_health`, `shift_handover`; free text from old clients.
    pub report_type: String,
    /// `json`, or `text` for anything else.
    pub format: String,
    /// Start of the time it covers.
    pub from: Timestamp,
    /// End of it.
    pub to: Timestamp,
}

/// A report that can be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generated {
    /// The report.
    pub report: ReportId,
    /// Its type.
    pub report_type: String,
    /// Its format.
    pub format: String,
    /// The text; a JSON document when the format is `json`.
    pub content: String,
    /// Rows it was counted from.
    pub data_points: u64,
    /// What stood in the way, if it could not be made.
    pub error: Option<String>,
    /// What people are to be told of it, in words; only of one that nobody waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Start of the time it covers; only of one that nobody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// End of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}
