//! The settings as lists: where each value comes from, and what an environment file may hold.

use crate::{Config, DEFAULT_TOML, ENV_PREFIX, Fate, OLD_NAMES, overlay, secret};
use std::fmt::Write as _;
use toml::Value;

/// Where a value comes from that nobody set.
const DEFAULT: &str = "default";
/// What stands for a secret.
const MASK: &str = "********";

/// A setting as it is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its full name.
    pub key: String,
    /// Its value as TOML; what may hold a secret is masked.
    pub value: String,
    /// Who set it.
    pub origin: String,
}

impl Config {
    /// Every setting by name, then the secrets that are set.
    pub fn listed(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        leaves(&self.tree, String::new(), &mut |key, value| {
            let origin = self.origin_of(key).unwrap_or(DEFAULT).to_owned();
            listed.push(Listed { key: key.to_owned(), value: masked(value), origin });
        });
        for (name, _) in OLD_NAMES
            .iter()
            .filter(|(_, fate)| *fate == Fate::Secret)
            .chain(&[("WEBHOOK_SECRET", Fate::Secret), ("MLFLOW_TRACKING_TOKEN", Fate::Secret)])
        {
            // One that cannot be read is reported by whoever needs it.
            if let Ok(Some(_)) = secret(name) {
                let origin = "environment or file".to_owned();
                listed.push(Listed { key: (*name).to_owned(), value: MASK.to_owned(), origin });
            }
        }
        listed
    }

    /// Who set the setting `key`, or the nearest table around it.
    fn origin_of(&self, key: &str) -> Option<&str> {
        self.origins.get(key).map(String::as_str)
    }
}

/// Calls `told` with the full name and value of each setting in `tree`.
pub(crate) fn leaves(tree: &Value, key: String, told: &mut impl FnMut(&str, &Value)) {
    match tree {
        Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                leaves(value, key, told);
            }
        }
        value => told(&key, value),
    }
}

/// `value` as TOML, with what stands before and after the host of an address left out: it may hold a secret.
fn masked(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let Some((scheme, rest)) = text.split_once("://") else { return value.to_string() };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let user = if user.is_empty() { String::new() } else { format!("{MASK}@") };
    let path = if path.is_empty() { String::new() } else { format!("/{MASK}") };
    Value::String(format!("{scheme}://{user}{host}{path}")).to_string()
}

/// An environment file that sets nothing and shows everything that can be set, made of the annotated defaults.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Everything that the environment can set, each with its default. Made from config/default.toml:\n\
         #     smart-maintenance config env-example > .env.example\n\n\
         # Secrets. Each may come from a file that only its owner can read instead, named by the same name with _FILE.\n",
    );
    for name in ["API_KEY", "API_KEYS", "REDIS_URL", "WEBHOOK_SECRET", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"] {
        writeln!(text, "#{name}=").expect("writing to a string does not fail");
    }
    let mut section = String::new();
    let mut comments: Vec<&str> = Vec::new();
    for line in DEFAULT_TOML.lines().skip_while(|line| !line.starts_with('[')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            writeln!(text, "\n# -- {section}").expect("writing to a string does not fail");
            comments.drain(..).for_each(|comment| {
                writeln!(text, "{comment}").expect("writing to a string does not fail");
            });
        } else if line.starts_with('#') {
            comments.push(line);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '{'])) {
            let path = format!("{section}.{key}");
            let value = overlay::at(&Config::defaults().tree, &path).map_or_else(String::new, |value| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            comments.drain(..).for_each(|comment| {
                writeln!(text, "{comment}").expect("writing to a string does not fail");
            });
            let variable = format!("{ENV_PREFIX}{}", path.replace('.', "__").to_ascii_uppercase());
            writeln!(text, "#{variable}={value}").expect("writing to a string does not fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_file_shows_every_setting_and_is_current() {
        let made = env_example();
        leaves(&Config::defaults().tree, String::new(), &mut |key, _| {
            let variable = format!("#{ENV_PREFIX}{}=", key.replace('.', "__").to_ascii_uppercase());
            assert!(made.contains(&variable), "{variable}");
        });
        let kept = include_str!("../../.env.example");
        assert!(made == kept, "make it anew: smart-maintenance config env-example > .env.example");
    }

    #[test]
    fn a_value_is_told_with_who_set_it_and_without_what_it_hides() {
        let env = [
            ("SMART_MAINTENANCE__WEBHOOK__URL", "https://me:pass@example.org/hook/token?x=1"),
            ("SMART_MAINTENANCE__SERVER__DRAIN_SECONDS", "7"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let listed = Config::load(None, env).expect("valid settings").listed();
        let of = |key: &str| listed.iter().find(|one| one.key == key).cloned().expect(key);
        assert_eq!(of("webhook.url").value, "\"https://********@example.org/********\"");
        assert_eq!(of("webhook.url").origin, "environment variable SMART_MAINTENANCE__WEBHOOK__URL");
        assert_eq!(
            (of("server.drain_seconds").value.as_str(), of("limits.page_size_max").origin.as_str()),
            ("7", DEFAULT)
        );
    }
}
