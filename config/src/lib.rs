//! The settings: the annotated defaults, an operator's file laid over them, and the environment over both.
//!
//! It keeps one tree of values and hands each section to whoever owns it. It does not know what a setting
//! means: the owner's struct does, and refuses what it cannot use. Secrets are no settings; see [`secret`].
#![warn(missing_docs)]

mod aliases;
mod listing;
mod overlay;
mod secret;

pub use aliases::{Fate, Form, OLD_NAMES};
pub use listing::{Listed, env_example};
pub use secret::secret;

use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use toml::{Table, Value};

/// The annotated defaults, as text to be read by people.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

static DEFAULTS: LazyLock<Value> =
    LazyLock::new(|| Value::Table(toml::from_str(DEFAULT_TOML).expect("a test parses the defaults")));

/// An environment variable that starts so names a setting; a double underscore separates the levels.
pub const ENV_PREFIX: &str = "SMART_MAINTENANCE__";

/// Why settings cannot be used. Each message names what has to be changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that was named is no TOML.
    #[error("{} is not valid TOML: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A setting or a secret is not as it must be.
    #[error("{key}: {reason} (from {origin})")]
    Refused {
        /// Full name of the setting, section or secret: `agents.validation.window`.
        key: String,
        /// What is wrong with it.
        reason: String,
        /// Where it was set: a file, an environment variable, the program.
        origin: String,
    },
}

/// All settings, merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    tree: Value,
    /// Who set what is not as the defaults have it, by full name.
    origins: BTreeMap<String, String>,
    /// Names of the old system that were set and have no effect, and why.
    ignored: Vec<(&'static str, &'static str)>,
}

impl Config {
    /// The defaults alone.
    pub fn defaults() -> Self {
        Self { tree: DEFAULTS.clone(), origins: BTreeMap::new(), ignored: Vec::new() }
    }

    /// The defaults, with `file` laid over them key by key, and `env` over both.
    ///
    /// Of `env`, the variables that start with [`ENV_PREFIX`] in any case are read. A value is taken as
    /// TOML where the setting is not a string, and as it stands where it is.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or parsed; a name that is no setting; a value of another type than the
    /// default's. An integer is accepted where the default is a float.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::defaults();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            let table: Table = toml::from_str(&text)
                .map_err(|error| ConfigError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
            config.lay_over(Value::Table(table), &path.display().to_string())?;
        }
        let env: BTreeMap<String, String> = env.into_iter().collect();
        for (variable, text) in &env {
            config.lay_old(variable, text)?;
        }
        for (path, (variable, text)) in settings_in(env)? {
            let value = overlay::parsed(&text, overlay::at(&DEFAULTS, &path));
            config.lay_over(overlay::nested(&path, value), &format!("environment variable {variable}"))?;
        }
        Ok(config)
    }

    /// [`Config::load`] with the environment of this process.
    ///
    /// # Errors
    ///
    /// As [`Config::load`]; also a variable of ours whose value is not Unicode.
    pub fn from_env_and_file(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            let known = |name: &&str| is_ours(name) || aliases::fate(name).is_some();
            let Some(name) = name.to_str().filter(known) else { continue };
            let value = value.into_string().map_err(|_| ConfigError::Refused {
                key: name.to_owned(),
                reason: "the value is not Unicode".to_owned(),
                origin: "the environment".to_owned(),
            })?;
            env.push((name.to_owned(), value));
        }
        Self::load(file, env)
    }

    /// The section or setting at `path` (`server`, `agents.validation`), read into its owner's struct.
    ///
    /// # Errors
    ///
    /// There is no such section, or the struct refuses it; the message names `path` either way.
    pub fn section<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConfigError> {
        let refused = |reason: String| ConfigError::Refused {
            key: path.to_owned(),
            reason,
            origin: "the merged settings".to_owned(),
        };
        let section = overlay::at(&self.tree, path).ok_or_else(|| refused("there is no such section".to_owned()))?;
        section
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| refused(error.to_string().trim().replace('\n', " ")))
    }

    /// These settings with the one at `path` replaced, for the command line and for tests.
    ///
    /// # Errors
    ///
    /// As for a file: `path` is no setting, or `value` has another type than the default.
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Result<Self, ConfigError> {
        self.lay_over(overlay::nested(path, value.into()), "the program")?;
        Ok(self)
    }

    /// Names of the old system that were set and have no effect, each with the reason.
    pub fn ignored(&self) -> &[(&'static str, &'static str)] {
        &self.ignored
    }

    /// Lays what `variable` set in the old system over the settings.
    fn lay_old(&mut self, variable: &str, text: &str) -> Result<(), ConfigError> {
        match aliases::fate(variable) {
            // An empty variable counts as absent, as it did.
            None | Some((_, Fate::Secret)) => Ok(()),
            Some(_) if text.trim().is_empty() => Ok(()),
            Some((name, Fate::Ignored(reason))) => {
                self.ignored.push((name, reason));
                Ok(())
            }
            Some((_, Fate::Setting(path, form))) => {
                let now = overlay::at(&self.tree, path).and_then(Value::as_str).unwrap_or_default();
                let text = aliases::translated(text, form, now);
                let value = overlay::parsed(&text, overlay::at(&DEFAULTS, path));
                self.lay_over(overlay::nested(path, value), &format!("environment variable {variable}"))
            }
        }
    }

    /// The merged settings as TOML, without the annotations.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(&self.tree).expect("a tree that was parsed from TOML can be written as TOML")
    }

    /// What is laid over is held against the defaults, not against what was laid over them before: an array
    /// from a file may be empty or incomplete, and says nothing about what may stand in it.
    fn lay_over(&mut self, over: Value, origin: &str) -> Result<(), ConfigError> {
        let over = overlay::fitted(&DEFAULTS, over, "", origin)?;
        listing::leaves(&over, String::new(), &mut |key, _| {
            self.origins.insert(key.to_owned(), origin.to_owned());
        });
        overlay::merge(&mut self.tree, over);
        Ok(())
    }
}

fn is_ours(variable: &str) -> bool {
    variable.get(..ENV_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(ENV_PREFIX))
}

/// Our variables by the dotted path of the setting they name, outer levels first.
fn settings_in(
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, (String, String)>, ConfigError> {
    let mut settings: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (variable, text) in env.into_iter().filter(|(variable, _)| is_ours(variable)) {
        let path = variable[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        // The order of an environment is no order, so neither of the two could claim to win.
        if let Some((other, _)) = settings.get(&path) {
            return Err(ConfigError::Refused {
                key: path,
                reason: format!("it is set twice, also by {other}"),
                origin: format!("environment variable {variable}"),
            });
        }
        settings.insert(path, (variable, text));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Demo {
        decision_wait_seconds: u32,
        timeout_seconds: u32,
    }

    fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("the file can be written");
        file
    }

    /// Loads `text` as the operator's file and returns the message of the error it must cause.
    fn refusal_of_file(text: &str) -> String {
        Config::load(Some(file(text).path()), []).expect_err(text).to_string()
    }

    fn refusal_of_env(name: &str, value: &str) -> String {
        Config::load(None, env(&[(name, value)])).expect_err(name).to_string()
    }

    #[test]
    fn every_section_that_is_promised_exists() {
        let config = Config::defaults();
        let sections = "server tls access sessions rate_limits redis audit metrics limits store site supervision demo logging webhook crew";
        let agents = "data_acquisition anomaly_detection validation prediction human_decision scheduling \
                      notification maintenance_log learning drift retraining reporting";
        let agents = agents.split(' ').map(|agent| format!("agents.{agent}"));
        for section in sections.split(' ').map(str::to_owned).chain(agents) {
            config.section::<Table>(&section).expect(&section);
        }
    }

    #[test]
    fn every_default_is_annotated_and_in_lowercase() {
        // Lowercase, because the name of an environment variable has lost its case.
        let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(['#', ' ']));
        let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
        let mut n_settings = 0;
        for pair in lines.windows(2).filter(|pair| is_setting(pair[1])) {
            assert!(pair[0].starts_with("# "), "no annotation above: {}", pair[1]);
            let key = pair[1].split(' ').next().expect("a line has a first word");
            assert!(key.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{key}");
            n_settings += 1;
        }
        assert!(50 < n_settings, "the test looked at {n_settings} settings only");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = file("[demo]\ndecision_wait_seconds = 1\ntimeout_seconds = 2\n");
        let variables = env(&[("SMART_MAINTENANCE__DEMO__TIMEOUT_SECONDS", "3"), ("HOME", "/root")]);
        let demo =
            |file, env| Config::load(file, env).expect("valid settings").section::<Demo>("demo").expect("a demo");

        assert_eq!(demo(None, vec![]), Demo { decision_wait_seconds: 20, timeout_seconds: 90 });
        assert_eq!(demo(Some(file.path()), vec![]), Demo { decision_wait_seconds: 1, timeout_seconds: 2 });
        assert_eq!(demo(Some(file.path()), variables), Demo { decision_wait_seconds: 1, timeout_seconds: 3 });
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_full_name() {
        let message = refusal_of_file("[agents.validation]\nfoo = 1\n");
        assert!(message.starts_with("agents.validation.foo: unknown setting"), "{message}");
        let message = refusal_of_file("[sever]\nlisten = \"x\"\n");
        assert!(message.starts_with("sever: unknown setting") && message.contains("server"), "{message}");
        let message = refusal_of_env("SMART_MAINTENANCE__STORE__DATADIR", "/data");
        assert!(message.starts_with("store.datadir: unknown setting"), "{message}");
        assert!(message.contains("SMART_MAINTENANCE__STORE__DATADIR"), "{message}");
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_the_expected_one() {
        let message = refusal_of_file("[server]\nlisten = 8000\n");
        assert!(message.starts_with("server.listen: expected string, found integer 8000"), "{message}");
        let message = refusal_of_file("server = 3\n");
        assert!(message.starts_with("server: expected table, found integer"), "{message}");
        let message = refusal_of_env("SMART_MAINTENANCE__STORE__READERS", "many");
        assert!(message.starts_with("store.readers: expected integer, found string \"many\""), "{message}");
        let message = refusal_of_env("SMART_MAINTENANCE__SERVER__LISTEN__PORT", "1");
        assert!(message.starts_with("server.listen: expected string, found table"), "{message}");
    }

    #[test]
    fn the_environment_is_parsed_as_the_default_is() {
        let config = Config::load(
            None,
            env(&[
                ("smart_maintenance__access__Anonymous", "true"),
                ("SMART_MAINTENANCE__LIMITS__BODY_BYTES_MAX", "2_000"),
                ("SMART_MAINTENANCE__AGENTS__HUMAN_DECISION__HIGH_CONFIDENCE", "1"),
                // These look like a number and like TOML, and stay the text that they are.
                ("SMART_MAINTENANCE__STORE__DATA_DIR", "2024"),
                ("SMART_MAINTENANCE__WEBHOOK__URL", "https://example.org/?a=[1]#x"),
                ("SMART_MAINTENANCE__CREW__TECHNICIANS", "[]"),
            ]),
        )
        .expect("valid settings");
        assert!(config.section::<bool>("access.anonymous").expect("a flag"));
        assert_eq!(config.section::<u64>("limits.body_bytes_max").expect("a number"), 2000);
        assert_eq!(config.section::<f64>("agents.human_decision.high_confidence").expect("a number"), 1.0);
        assert_eq!(config.section::<String>("store.data_dir").expect("a text"), "2024");
        assert_eq!(config.section::<String>("webhook.url").expect("a text"), "https://example.org/?a=[1]#x");
        assert_eq!(config.section::<Vec<Table>>("crew.technicians").expect("a list"), Vec::<Table>::new());
    }

    #[test]
    fn a_setting_given_twice_in_the_environment_is_refused() {
        let twice =
            env(&[("SMART_MAINTENANCE__SITE__TIME_ZONE", "UTC"), ("smart_maintenance__site__time_zone", "UTC")]);
        let message = Config::load(None, twice).expect_err("ambiguous").to_string();
        assert!(message.starts_with("site.time_zone: it is set twice"), "{message}");
    }

    #[test]
    fn an_array_replaces_the_default_as_a_whole_and_its_items_are_checked() {
        let own = file("[[crew.technicians]]\nid = \"ana\"\nexperience_years = 3\n");
        let config = Config::load(Some(own.path()), []).expect("valid settings");
        let technicians: Vec<Table> = config.section("crew.technicians").expect("technicians");
        assert_eq!(technicians.len(), 1);
        assert_eq!(technicians[0].get("experience_years"), Some(&Value::Float(3.0)));
        assert_eq!(technicians[0].get("example"), None, "an item is not completed from the examples");

        let env_over_file = env(&[("SMART_MAINTENANCE__CREW__TECHNICIANS", "[{ name = \"Bia\" }]")]);
        let config = Config::load(Some(own.path()), env_over_file).expect("valid settings");
        assert_eq!(config.section::<Vec<Table>>("crew.technicians").expect("technicians")[0].len(), 1);

        let message = refusal_of_file("[[crew.technicians]]\nid = \"ana\"\n[[crew.technicians]]\nskils = []\n");
        assert!(message.starts_with("crew.technicians[1].skils: unknown setting"), "{message}");
        let message = refusal_of_file("[[crew.technicians]]\nskills = [1]\n");
        assert!(message.starts_with("crew.technicians[0].skills[0]: expected string"), "{message}");
    }

    #[test]
    fn an_override_obeys_the_same_rules() {
        let config = Config::defaults().with("demo.timeout_seconds", 5).expect("a known setting");
        assert_eq!(config.section::<Demo>("demo").expect("a demo").timeout_seconds, 5);
        let message = Config::defaults().with("demo.timeout", 5).expect_err("unknown").to_string();
        assert!(message.starts_with("demo.timeout: unknown setting"), "{message}");
        let message = Config::defaults().with("demo.timeout_seconds", "5").expect_err("a text").to_string();
        assert!(message.starts_with("demo.timeout_seconds: expected integer"), "{message}");
    }

    #[test]
    fn a_section_that_its_owner_refuses_is_named() {
        let negative = Config::defaults().with("demo.timeout_seconds", -1).expect("the type is right");
        let message = negative.section::<Demo>("demo").expect_err("a negative time").to_string();
        assert!(message.starts_with("demo: ") && message.contains("timeout_seconds"), "{message}");
        let message = Config::defaults().section::<Demo>("logging").expect_err("another section").to_string();
        assert!(message.starts_with("logging: unknown field"), "{message}");
        let message = Config::defaults().section::<Demo>("agents.thirteenth").expect_err("absent").to_string();
        assert!(message.starts_with("agents.thirteenth: there is no such section"), "{message}");
    }

    #[test]
    fn merged_settings_can_be_written_and_read_again() {
        let config = Config::defaults().with("site.time_zone", "America/Sao_Paulo").expect("a known setting");
        let written = file(&config.to_toml());
        assert_eq!(Config::load(Some(written.path()), []).expect("valid settings").tree, config.tree);
    }

    #[test]
    fn a_file_that_is_absent_or_broken_is_named() {
        let message = Config::load(Some(Path::new("/nowhere/own.toml")), []).expect_err("absent").to_string();
        assert!(message.starts_with("cannot read /nowhere/own.toml"), "{message}");
        let message = refusal_of_file("[server\n");
        assert!(message.contains("is not valid TOML") && message.contains("line 1"), "{message}");
    }
}
