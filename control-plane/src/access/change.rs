//! Changes of keys, each with the event that records it; both are committed together.

use super::key::{NewKey, new_key};
use domain::access::{KeyCreated, KeyRevoked, KeyRotated};
use domain::{Event, Timestamp};
use persistence::admin::Change;
use persistence::keys::ApiKey;

/// Keeps a new key.
pub fn creation(kept: ApiKey, by: &str) -> (Change, Event) {
    let event = KeyCreated {
        key: kept.id,
        name: kept.name.clone(),
        prefix: kept.prefix.clone(),
        scopes: kept.scopes.clone(),
        expires_at: kept.expires_at,
        by: by.to_owned(),
    };
    (Change::CreateKey(kept), Event::KeyCreated(event))
}

/// Puts `successor` in the place of `old`, which goes on working until `ends_at`.
pub fn rotation(old: &ApiKey, successor: ApiKey, ends_at: Timestamp, by: &str) -> (Change, Event) {
    let event = KeyRotated {
        key: old.id,
        successor: successor.id,
        prefix: successor.prefix.clone(),
        ends_at,
        by: by.to_owned(),
    };
    (Change::RotateKey { id: old.id, successor, ends_at }, Event::KeyRotated(event))
}

/// Takes `old` back.
pub fn revocation(old: &ApiKey, at: Timestamp, by: &str) -> (Change, Event) {
    (Change::RevokeKey { id: old.id, at }, Event::KeyRevoked(KeyRevoked { key: old.id, by: by.to_owned() }))
}

/// A key like `old`, with as long a life before it.
///
/// # Errors
///
/// The machine has no randomness to offer.
pub fn successor(old: &ApiKey, now: Timestamp) -> anyhow::Result<NewKey> {
    let ends_at = old.expires_at.map(|end| now + end.duration_since(old.created_at).unsigned_abs());
    new_key(&old.name, old.scopes.clone(), now, ends_at)
}

/// Whether `key` can be replaced at `now`: it works, and has no successor yet.
pub fn is_replaceable(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.replaced_by.is_none() && key.expires_at.is_none_or(|end| now < end)
}
