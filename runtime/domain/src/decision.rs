//! Advisory generation: what a person is asked, what they answered, what follows.

use crate::case::Priority;
use crate::{AssetId, CaseId, DecisionRequestId, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an answer means, whatever its spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Do it.
    Approve,
    /// Do not.
    Decline,
    /// Ask again later.
    Defer,
    /// Ask somebody higher.
    Escalate,
    /// Kept as audit, changes nothing.
    Note,
}

impl Meaning {
    /// Spellings of the old system's clients; any case, surrounding blanks ignored.
    const SPELLINGS: [(&'static str, Self); 13] = [
        ("approve", Self::Approve),
        ("approved", Self::Approve),
        ("reject", Self::Decline),
        ("rejected", Self::Decline),
        ("decline", Self::Decline),
        ("declined", Self::Decline),
        ("no_action", Self::Decline),
        ("defer", Self::Defer),
        ("deferred", Self::Defer),
        ("escalate", Self::Escalate),
        ("escalated", Self::Escalate),
        ("modify", Self::Note),
        ("modified", Self::Note),
    ];

    /// What `decision` means. Text that nobody declared is a note.
    pub fn of(decision: &str) -> Self {
        let spelling = decision.trim().to_ascii_lowercase();
        Self::SPELLINGS.iter().find(|(known, _)| *known == spelling).map_or(Self::Note, |(_, meaning)| *meaning)
    }

    /// The table of spellings, for clients.
    pub fn spellings() -> &'static [(&'static str, Self)] {
        &Self::SPELLINGS
    }
}

/// What happens when nobody answers in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// Ask again, more urgently.
    Escalate,
    /// Approve.
    Approve,
    /// Decline.
    Decline,
}

/// What is proposed: the facts that approval, scheduling and the log pass on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// The case, absent when somebody asked for maintenance without one.
    pub case: Option<CaseId>,
    /// The asset.
    pub asset: AssetId,
    /// The sensor that gave the evidence.
    pub sensor: SensorId,
    /// `preventive`, `corrective`, `inspection` or `urgent_corrective`.
    pub maintenance_type: String,
    /// How urgent.
    pub priority: Priority,
    /// The work must have ended by then, if a deadline can be had.
    pub due_at: Option<Timestamp>,
    /// Confidence of the prognosis, 0 to 1.
    pub confidence: f64,
    /// What to do, in words.
    pub recommended_actions: Vec<String>,
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Required {
    /// The question.
    pub request: DecisionRequestId,
    /// What is proposed.
    pub proposal: Proposal,
    /// Possible answers.
    pub options: Vec<String>,
    /// Why a person must decide, in words.
    pub reason: String,
    /// When the answer is due.
    pub deadline: Timestamp,
    /// What happens then.
    pub on_expiry: OnExpiry,
    /// How often it was asked before.
    pub escalations: u32,
}

/// An answer, as it came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// The question. Unknown ones are kept as audit.
    pub request: DecisionRequestId,
    /// The answer's own words.
    pub decision: String,
    /// What it means.
    pub meaning: Meaning,
    /// Who answered, as they said.
    pub operator: String,
    /// The key they used, by its name.
    pub key: Option<String>,
    /// Why, in their words.
    pub justification: Option<String>,
    /// How sure they are, 0 to 1.
    pub confidence: f64,
    /// Anything else.
    pub notes: Option<String>,
    /// When they decided (source time).
    pub decided_at: Timestamp,
}

/// Nobody answered in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expired {
    /// The question.
    pub request: DecisionRequestId,
    /// What follows.
    pub outcome: OnExpiry,
}

/// Who approved or declined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum By {
    /// The approval policy.
    Policy,
    /// A person.
    Person(String),
    /// The declared outcome of a question that nobody answered.
    Expiry,
}

/// Somebody asked for maintenance outright, which is their approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// What they ask for.
    pub proposal: Proposal,
    /// Who asked: the name of their key, or `anonymous`.
    pub by: String,
    /// What the caller's model claimed: method, dates, metrics. Kept for the record.
    pub context: serde_json::Map<String, serde_json::Value>,
}

/// Maintenance that may be planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    /// The question that was answered, if one was asked.
    pub request: Option<DecisionRequestId>,
    /// What was approved.
    pub proposal: Proposal,
    /// By whom.
    pub by: By,
    /// Why, in words.
    pub reason: String,
}

/// Maintenance that will not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Declined {
    /// The question that was answered.
    pub request: DecisionRequestId,
    /// What was declined.
    pub proposal: Proposal,
    /// By whom.
    pub by: By,
    /// Why, in words.
    pub reason: String,
}
