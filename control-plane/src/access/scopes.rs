//! What a key may be allowed to do.

use crate::routes::Scope;

/// Every scope there is, as routes need them.
pub const SCOPES: [&str; 16] = [
    "agents:control",
    "agents:read",
    "audit:read",
    "data:ingest",
    "data:read",
    "keys:admin",
    "maintenance:read",
    "maintenance:schedule",
    "metrics:read",
    "ml:anomaly",
    "ml:drift",
    "ml:predict",
    "plant:write",
    "reports:generate",
    "simulate:run",
    "tasks:update",
];

/// What nobody does without a key, however open the node is: whatever changes keys or settings.
const NEVER_ANONYMOUS: [&str; 4] = ["agents:control", "audit:read", "keys:admin", "plant:write"];

/// The scopes of those who need no key, where that is so.
pub(super) fn of_anybody() -> Vec<String> {
    SCOPES.into_iter().filter(|scope| !NEVER_ANONYMOUS.contains(scope)).map(str::to_owned).collect()
}

/// All of them.
pub(super) fn all() -> Vec<String> {
    SCOPES.map(str::to_owned).to_vec()
}

/// What `scope` asks a key for, if it asks for something particular.
pub(super) fn needed(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Needs(scope) | Scope::Metrics(scope) => Some(scope),
        Scope::Public | Scope::AnyKey => None,
    }
}
