//! What an MLflow server tells of the models that it registers.

use domain::ModelId;
use persistence::models::State;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What people call the version that is to answer.
const CHAMPION: &str = "champion";

/// One version as the server tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Listed {
    /// Name of the model.
    pub name: String,
    /// Number of the version, as text.
    pub version: String,
    /// When it was registered, in milliseconds since the epoch.
    #[serde(default)]
    pub creation_timestamp: i64,
    /// When something of it changed last.
    #[serde(default)]
    pub last_updated_timestamp: i64,
    /// `Production`, `Staging`, `Archived` or `None`.
    #[serde(default)]
    pub current_stage: String,
    /// Words.
    #[serde(default)]
    pub description: String,
    /// `READY`, unless it is being written.
    #[serde(default)]
    pub status: String,
    /// The run that logged it.
    #[serde(default)]
    pub run_id: String,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    /// Names that people gave to the version.
    #[serde(default)]
    pub aliases: Vec<String>,
}

impl Listed {
    /// An id that is the same each time.
    pub fn id(&self) -> ModelId {
        let own = format!("{}/{}/{}", self.name, self.version, self.creation_timestamp);
        let digest = Sha256::digest(own.as_bytes());
        ModelId(Uuid::from_bytes(digest[..16].try_into().expect("a SHA-256 digest has 32 bytes")))
    }

    /// What the version is, in words of the store.
    pub fn state(&self) -> State {
        let is_champion = self.aliases.iter().any(|alias| alias == CHAMPION) || self.current_stage == "Production";
        match self.current_stage.as_str() {
            _ if is_champion => State::Champion,
            "Archived" => State::Archived,
            _ => State::Challenger,
        }
    }

    /// What it is tagged with.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Alias {
    alias: String,
    version: String,
}

/// A registered model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Words.
    #[serde(default)]
    pub description: String,
    /// When it was registered, in milliseconds since the epoch.
    #[serde(default)]
    pub creation_timestamp: i64,
    #[serde(default)]
    latest_versions: Vec<Listed>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    aliases: Vec<Alias>,
}

impl Named {
    /// What it is tagged with.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
    }

    /// Whether people named a version that is to answer.
    pub fn has_champion(&self) -> bool {
        self.aliases.iter().any(|alias| alias.alias == CHAMPION)
    }

    /// The version of that number, if it is among the newest of its stage.
    pub fn version(&self, number: &str) -> Option<&Listed> {
        self.latest_versions.iter().find(|version| version.version == number)
    }

    /// When something of its newest versions changed last, in milliseconds since the epoch.
    pub fn updated_at(&self) -> Option<i64> {
        self.latest_versions.iter().map(|version| version.last_updated_timestamp).max()
    }

    /// Number of the version that answers unless another is asked for: the one called `champion`, else the newest in
    /// production, in staging, or at all.
    pub fn in_use(&self) -> Option<&str> {
        if let Some(alias) = self.aliases.iter().find(|alias| alias.alias == CHAMPION) {
            return Some(&alias.version);
        }
        let newest = |stage: Option<&str>| {
            let of_stage = self.latest_versions.iter().filter(|version| {
                stage.map_or(version.current_stage != "Archived", |stage| version.current_stage == stage)
            });
            of_stage.max_by_key(|version| version.version.parse::<u64>().unwrap_or_default())
        };
        let found = newest(Some("Production")).or_else(|| newest(Some("Staging"))).or_else(|| newest(None));
        found.or(self.latest_versions.last()).map(|version| version.version.as_str())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    pub(super) registered_models: Vec<Named>,
    pub(super) model_versions: Vec<Listed>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct OneModel {
    pub(super) registered_model: Named,
}

#[derive(Deserialize)]
pub(super) struct OneVersion {
    pub(super) model_version: Listed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_use_is_the_one_that_people_named() {
        let named = |versions: &[(&str, &str)], alias: Option<&str>| Named {
            name: "m".to_owned(),
            description: String::new(),
            creation_timestamp: 0,
            latest_versions: versions.iter().map(|(number, stage)| version(number, stage)).collect(),
            tags: Vec::new(),
            aliases: alias.map(|v| Alias { alias: "champion".to_owned(), version: v.to_owned() }).into_iter().collect(),
        };
        let check = |versions: &[(&str, &str)], alias: Option<&str>, expected: Option<&str>| {
            assert_eq!(named(versions, alias).in_use(), expected, "{versions:?} {alias:?}");
        };
        check(&[("9", "None"), ("10", "None")], None, Some("10"));
        check(&[("9", "Staging"), ("10", "None")], None, Some("9"));
        check(&[("8", "Production"), ("9", "Staging"), ("10", "Archived")], None, Some("8"));
        check(&[("8", "Production")], Some("3"), Some("3"));
        check(&[("7", "Archived")], None, Some("7"));
        check(&[], None, None);
    }

    fn version(number: &str, stage: &str) -> Listed {
        let text = format!(r#"{{"name": "m", "version": "{number}", "current_stage": "{stage}"}}"#);
        serde_json::from_str(&text).expect("a version")
    }
}
