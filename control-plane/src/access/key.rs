//! The form of API keys: made of chance, recognised by their shape.
//!
//! A key is `smk_<id>_<secret><check>`. The id finds it in the store, and the check, which follows from the rest,
//! refuses a mistyped one without asking the store.

use domain::Timestamp;
use persistence::keys::ApiKey;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What scanners for leaked secrets look for.
const PREFIX: &str = "smk_";
const ID_CHARS: usize = 12;
/// 43 characters of base 62 hold 256 bits.
const SECRET_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key as it is shown once, and what is kept of it.
#[derive(Debug)]
pub struct NewKey {
    /// The key.
    pub secret: String,
    /// What the store keeps.
    pub kept: ApiKey,
}

/// Makes a key. `scopes` are some of [`SCOPES`].
///
/// # Errors
///
/// The machine has no randomness to offer.
pub fn new_key(
    name: &str,
    scopes: Vec<String>,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<NewKey> {
    let (id, secret) = (random_text(ID_CHARS)?, random_text(SECRET_CHARS)?);
    let prefix = format!("{PREFIX}{id}");
    let checked = format!("{prefix}_{secret}");
    let secret = format!("{checked}{}", check(&checked));
    let kept = ApiKey {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        prefix,
        hash: digest(&secret),
        scopes,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
        replaced_by: None,
    };
    Ok(NewKey { secret, kept })
}

/// The part of `key` by which the store finds it; `None` when it is no key of ours, or a mistyped one.
pub(crate) fn prefix_of(key: &str) -> Option<&str> {
    let (checked, given) = key.split_at_checked(key.len().checked_sub(CHECK_CHARS)?)?;
    let (prefix, secret) = checked.rsplit_once('_')?;
    let id = prefix.strip_prefix(PREFIX)?;
    let well_formed = id.len() == ID_CHARS && secret.len() == SECRET_CHARS && check(checked) == given;
    well_formed.then_some(prefix)
}

/// The last characters of a key: they follow from the rest.
fn check(checked: &str) -> String {
    let [a, b, c, d, e, f, g, h, ..] = digest(checked);
    let mut rest = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut text = String::with_capacity(CHECK_CHARS);
    for _ in 0..CHECK_CHARS {
        text.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
    }
    text
}

pub(super) fn random_text(n_chars: usize) -> anyhow::Result<String> {
    let mut text = String::with_capacity(n_chars);
    let mut byte = [0_u8];
    while text.len() < n_chars {
        SysRng.try_fill_bytes(&mut byte)?;
        // 248 is the largest multiple of 62 in a byte: beyond it, some characters would come more often.
        if byte[0] < 248 {
            text.push(char::from(BASE62[usize::from(byte[0] % 62)]));
        }
    }
    Ok(text)
}

pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_itself_and_a_mistyped_one_does_not() {
        let key = new_key("test", vec![], Timestamp::UNIX_EPOCH, None).expect("a key");
        assert_eq!(prefix_of(&key.secret), Some(key.kept.prefix.as_str()));
        assert_eq!(key.secret.len(), PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECK_CHARS);
        for idx in [5, 20, key.secret.len() - 1] {
            let mut typo = key.secret.clone().into_bytes();
            typo[idx] = if typo[idx] == b'a' { b'b' } else { b'a' };
            assert_eq!(prefix_of(std::str::from_utf8(&typo).expect("ASCII")), None, "position {idx}");
        }
        for nonsense in ["", "smk_", "_", "ééé", "smk_é_é"] {
            assert_eq!(prefix_of(nonsense), None, "{nonsense}");
        }
    }
}
