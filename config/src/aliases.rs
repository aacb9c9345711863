//! The names of the old system's environment: what each of them sets now, or why it sets nothing.

use toml::Value;

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It sets this.
    Setting(&'static str, Form),
    /// It is a secret that is still read under this name.
    Secret,
    /// It has no effect, because of this.
    Ignored(&'static str),
}

/// How the value has to be changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Not at all.
    Same,
    /// It is a flag in one of many spellings.
    Flag,
    /// It is a level as Python names them.
    Level,
    /// It is the address of `server.listen`.
    Host,
    /// It is the port of `server.listen`.
    Port,
    /// It is one less than what we count.
    OneLess,
    /// It is in seconds, and we count milliseconds.
    Seconds,
}

const FOLDER: &str = "the store is a folder, store.data_dir";
const NO_TOKENS: &str = "nothing is signed with it: access is by API keys, see `smart-maintenance keys`";
const NO_MLFLOW: &str = "models are taken from the server at MLFLOW_TRACKING_URI, which knows where they lie";
const NO_S3: &str = "nothing is kept in S3";
const DRIFT: &str = "every sensor is watched as it sends, see agents.drift";
const NO_MAIL: &str = "nothing ever read it: see SMTP_HOST and its like, which set smtp";
const RECIPIENTS: &str = "see agents.notification, which says who is told of what";
const NO_SCRIPT: &str = "it belonged to a script that is gone";

/// Every name, in the order of the old documentation.
pub const OLD_NAMES: &[(&str, Fate)] = &[
    ("PROJECT_NAME", Fate::Ignored("the product has one name")),
    ("API_VERSION", Fate::Ignored("the version is the program's own")),
    ("DATABASE_URL", Fate::Ignored(FOLDER)),
    ("DB_HOST", Fate::Ignored(FOLDER)),
    ("DB_PORT", Fate::Ignored(FOLDER)),
    ("DB_USER", Fate::Ignored(FOLDER)),
    ("DB_PASSWORD", Fate::Ignored(FOLDER)),
    ("DB_NAME", Fate::Ignored(FOLDER)),
    ("TEST_DATABASE_URL", Fate::Ignored(FOLDER)),
    ("REDIS_URL", Fate::Secret),
    ("REDIS_MAX_CONNECTIONS", Fate::Setting("redis.connections_max", Form::Same)),
    ("REDIS_INIT_MAX_RETRIES", Fate::Setting("redis.start_tries", Form::Same)),
    ("REDIS_INIT_RETRY_DELAY_SECONDS", Fate::Setting("redis.start_retry_seconds", Form::Same)),
    ("KAFKA_BOOTSTRAP_SERVERS", Fate::Ignored("the event log needs no broker")),
    ("API_HOST", Fate::Setting("server.listen", Form::Host)),
    ("API_PORT", Fate::Setting("server.listen", Form::Port)),
    ("DEBUG", Fate::Ignored("see logging.level")),
    ("SECRET_KEY", Fate::Ignored(NO_TOKENS)),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", Fate::Ignored(NO_TOKENS)),
    ("JWT_SECRET", Fate::Ignored(NO_TOKENS)),
    ("API_KEY", Fate::Secret),
    ("API_KEYS", Fate::Secret),
    ("ALLOWED_API_KEYS", Fate::Secret),
    ("ALLOW_ANONYMOUS_API_ACCESS", Fate::Setting("access.anonymous", Form::Flag)),
    (
        "AGENT_COMMUNICATION_TIMEOUT",
        Fate::Ignored("agents talk through the log, see supervision.handle_deadline_seconds"),
    ),
    ("USE_OR_TOOLS_SCHEDULER", Fate::Ignored("there is one scheduler, see agents.scheduling")),
    ("MODEL_REGISTRY_PATH", Fate::Ignored("own models stand in the store")),
    ("DISABLE_MLFLOW_MODEL_LOADING", Fate::Setting("mlflow.disabled", Form::Flag)),
    ("WHATSAPP_API_KEY", Fate::Ignored("messages go to webhook.url")),
    ("EMAIL_SMTP_HOST", Fate::Ignored(NO_MAIL)),
    ("EMAIL_SMTP_PORT", Fate::Ignored(NO_MAIL)),
    ("EMAIL_SMTP_USER", Fate::Ignored(NO_MAIL)),
    ("EMAIL_SMTP_PASSWORD", Fate::Ignored(NO_MAIL)),
    ("EMAIL_SMTP_PASS", Fate::Ignored(NO_MAIL)),
    ("EMAIL_SMTP_TLS", Fate::Ignored(NO_MAIL)),
    ("EMAIL_TO", Fate::Ignored(RECIPIENTS)),
    ("LOG_LEVEL", Fate::Setting("logging.level", Form::Level)),
    ("EVENT_HANDLER_MAX_RETRIES", Fate::Setting("supervision.attempts_max", Form::OneLess)),
    ("EVENT_HANDLER_RETRY_DELAY_SECONDS", Fate::Setting("supervision.backoff_first_ms", Form::Seconds)),
    ("DLQ_ENABLED", Fate::Ignored("dead letters are always kept")),
    ("DLQ_LOG_FILE", Fate::Ignored("dead letters are kept in the store")),
    ("ORCHESTRATOR_URGENT_MAINTENANCE_DAYS", Fate::Setting("agents.human_decision.urgent_days", Form::Same)),
    ("ORCHESTRATOR_HIGH_CONFIDENCE_THRESHOLD", Fate::Setting("agents.human_decision.high_confidence", Form::Same)),
    (
        "ORCHESTRATOR_MODERATE_CONFIDENCE_THRESHOLD",
        Fate::Setting("agents.human_decision.moderate_confidence", Form::Same),
    ),
    (
        "ORCHESTRATOR_AUTO_APPROVAL_MAX_DAYS_MODERATE_CONFIDENCE",
        Fate::Setting("agents.human_decision.auto_approval_days_moderate", Form::Same),
    ),
    (
        "ORCHESTRATOR_VERY_URGENT_MAINTENANCE_DAYS_FACTOR",
        Fate::Setting("agents.human_decision.very_urgent_factor", Form::Same),
    ),
    ("HEALTHCHECK_ENFORCE_DEPENDENCIES", Fate::Setting("health.enforce_dependencies", Form::Flag)),
    ("DISABLE_CHROMADB", Fate::Ignored("similar cases are found in the store, always")),
    ("MLFLOW_TRACKING_URI", Fate::Secret),
    ("MLFLOW_S3_ENDPOINT_URL", Fate::Ignored(NO_MLFLOW)),
    ("MLFLOW_BACKEND_STORE_URI", Fate::Ignored(NO_MLFLOW)),
    ("MLFLOW_ARTIFACT_ROOT", Fate::Ignored(NO_MLFLOW)),
    ("AWS_ACCESS_KEY_ID", Fate::Ignored(NO_S3)),
    ("AWS_SECRET_ACCESS_KEY", Fate::Ignored(NO_S3)),
    ("AWS_DEFAULT_REGION", Fate::Ignored(NO_S3)),
    ("API_BASE_URL", Fate::Ignored("commands that talk to a node take --base-url")),
    ("DEPLOYMENT_ENV", Fate::Ignored("a node is the same everywhere")),
    ("CLOUD_MODE", Fate::Ignored("a node is the same everywhere")),
    ("ENV", Fate::Ignored("a node is the same everywhere")),
    ("DRIFT_THRESHOLD", Fate::Ignored("see agents.drift.comparison, which weighs significance and size")),
    ("DRIFT_WINDOW_MINUTES", Fate::Ignored("see agents.drift.recent_readings and spacing_minutes")),
    ("DRIFT_MIN_SAMPLES", Fate::Ignored("see agents.drift.baseline_readings")),
    ("SENSORS_TO_MONITOR", Fate::Ignored(DRIFT)),
    ("DRIFT_CHECK_SCHEDULE", Fate::Ignored(DRIFT)),
    ("RUN_STARTUP_CHECK", Fate::Ignored(DRIFT)),
    ("SLACK_WEBHOOK_URL", Fate::Ignored("messages go to webhook.url, in a form of our own")),
    ("DRIFT_ALERT_EMAIL", Fate::Ignored(RECIPIENTS)),
    ("DRIFT_EVENT_CHANNEL", Fate::Ignored("events go through the log")),
    ("RETRAINING_ENABLED", Fate::Ignored("pause the agent retraining instead")),
    ("RETRAINING_COOLDOWN_HOURS", Fate::Setting("agents.retraining.cooldown_hours", Form::Same)),
    ("MAX_CONCURRENT_RETRAINING", Fate::Ignored("one detector is trained at a time")),
    ("MODELS_TO_RETRAIN", Fate::Ignored("the detector of whichever sensor drifts is trained anew")),
    ("TRAINING_TIMEOUT_MINUTES", Fate::Setting("agents.retraining.overdue_minutes", Form::Same)),
    ("RETRAIN_SUCCESS_EMAIL", Fate::Ignored(RECIPIENTS)),
    ("SMTP_HOST", Fate::Setting("smtp.host", Form::Same)),
    ("SMTP_PORT", Fate::Setting("smtp.port", Form::Same)),
    ("SMTP_USER", Fate::Setting("smtp.username", Form::Same)),
    ("SMTP_PASSWORD", Fate::Secret),
    ("FROM_EMAIL", Fate::Setting("smtp.from", Form::Same)),
    ("EMAIL_NOTIFICATIONS_ENABLED", Fate::Ignored("mail is sent when smtp.host names a server")),
    ("DOCKER_ENV", Fate::Ignored(NO_SCRIPT)),
    ("NOTEBOOK_FILE", Fate::Ignored(NO_SCRIPT)),
    ("OUT", Fate::Ignored(NO_SCRIPT)),
    ("BACKUP_DIR", Fate::Ignored(NO_SCRIPT)),
    ("POSTGRES_PASSWORD", Fate::Ignored(FOLDER)),
];

/// What becomes of `variable`, in any case; `None` when the old system did not know it.
pub(crate) fn fate(variable: &str) -> Option<(&'static str, Fate)> {
    OLD_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(variable)).copied()
}

/// `text` as it is understood under the new name, whose present value is `now`.
pub(crate) fn translated(text: &str, form: Form, now: &str) -> String {
    let text = text.trim();
    match form {
        Form::Same => text.to_owned(),
        Form::Flag => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" | "t" | "y" => "true".to_owned(),
            "0" | "false" | "no" | "off" | "f" | "n" => "false".to_owned(),
            other => other.to_owned(),
        },
        Form::Level => match text.to_ascii_lowercase().as_str() {
            "warning" => "warn".to_owned(),
            "critical" | "fatal" => "error".to_owned(),
            other => other.to_owned(),
        },
        Form::Host => {
            let host = if text == "localhost" { "127.0.0.1" } else { text };
            let port = now.rsplit_once(':').map_or("8000", |(_, port)| port);
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        }
        Form::Port => {
            let host = now.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
            format!("{host}:{text}")
        }
        Form::OneLess => text.parse::<u32>().map_or(text.to_owned(), |retries| (retries + 1).to_string()),
        Form::Seconds => text
            .parse::<f64>()
            .map_or(text.to_owned(), |seconds| Value::Integer((seconds * 1_000.0).round() as i64).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn every_old_name_leads_to_a_setting_that_is_there_or_says_why_not() {
        let defaults = Config::defaults();
        for (name, fate) in OLD_NAMES {
            match fate {
                Fate::Setting(path, _) => {
                    defaults.section::<Value>(path).unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                Fate::Ignored(reason) => assert!(!reason.is_empty(), "{name}"),
                Fate::Secret => {}
            }
            assert_eq!(OLD_NAMES.iter().filter(|(other, _)| other == name).count(), 1, "{name} stands here twice");
        }
    }

    #[test]
    fn old_values_are_understood() {
        let env = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Config::load(None, pairs.collect::<Vec<_>>()).expect("valid settings")
        };
        let config = env(&[
            ("API_PORT", "9000"),
            ("API_HOST", "localhost"),
            ("log_level", "WARNING"),
            ("ALLOW_ANONYMOUS_API_ACCESS", "True"),
            ("EVENT_HANDLER_MAX_RETRIES", "3"),
            ("EVENT_HANDLER_RETRY_DELAY_SECONDS", "1.5"),
            ("ORCHESTRATOR_HIGH_CONFIDENCE_THRESHOLD", "0.95"),
            ("ORCHESTRATOR_URGENT_MAINTENANCE_DAYS", "20"),
            ("REDIS_MAX_CONNECTIONS", "10"),
        ]);
        let text = |path: &str| config.section::<Value>(path).expect(path).to_string();
        assert_eq!(text("server.listen"), "\"127.0.0.1:9000\"");
        assert_eq!(text("logging.level"), "\"warn\"");
        assert_eq!(text("access.anonymous"), "true");
        assert_eq!(
            (text("supervision.attempts_max"), text("supervision.backoff_first_ms")),
            ("4".into(), "1500".into())
        );
        assert_eq!(text("agents.human_decision.high_confidence"), "0.95");
        assert_eq!(text("agents.human_decision.urgent_days"), "20");
        assert_eq!(text("redis.connections_max"), "10");
        // A name of ours wins over an old one.
        let config = env(&[("SMART_MAINTENANCE__LOGGING__LEVEL", "debug"), ("LOG_LEVEL", "ERROR")]);
        assert_eq!(config.section::<String>("logging.level").expect("a level"), "debug");
    }

    #[test]
    fn what_has_no_effect_is_told_once_with_the_reason() {
        let env = ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "HOME"].map(|name| (name.to_owned(), "x".to_owned()));
        let config = Config::load(None, env).expect("valid settings");
        let told: Vec<&str> = config.ignored().iter().map(|(name, _)| *name).collect();
        assert_eq!(told, ["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"]);
    }
}
