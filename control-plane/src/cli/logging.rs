//! Where logs go: standard error, as JSON, or as text when a person is looking.

use config::Config;
use serde::Deserialize;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// `[logging]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Least severe level that is written.
    level: Level,
    /// Form of the lines.
    format: Format,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Text,
}

/// Starts logging as `config` says. Panics are logged too.
pub(crate) fn start(config: &Config) -> anyhow::Result<()> {
    let Settings { level, format } = config.section("logging")?;
    // Our own libraries at the chosen level; others speak up only when something is wrong.
    let (ours, others) = match level {
        Level::Error => ("error", "error"),
        Level::Warn => ("warn", "warn"),
        Level::Info => ("info", "warn"),
        Level::Debug => ("debug", "info"),
        Level::Trace => ("trace", "debug"),
    };
    let crates = ["agents", "config", "control_plane", "persistence", "runtime", "simulations", "smart_maintenance"];
    let directives: Vec<String> = crates.iter().map(|name| format!("{name}={ours}")).collect();
    let filter = EnvFilter::try_new(format!("{others},{}", directives.join(",")))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if format == Format::Text || io::stderr().is_terminal() {
        logs.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(error = message, location, "panic");
    }));
    Ok(())
}
