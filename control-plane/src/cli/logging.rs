//! Where logs go, and in which form.
//!
//! A command that prints an answer logs to standard error, so that what it prints can be read by a program. `serve`
//! prints no answer: there standard output is the log, as whatever runs a service expects it.

use super::agent_log::{self, AgentLog};
use config::Config;
use serde::Deserialize;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

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
    /// Text where a person is looking, JSON elsewhere.
    Auto,
    Json,
    Text,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Stream {
    fn is_terminal(self) -> bool {
        match self {
            Self::Output => io::stdout().is_terminal(),
            Self::Error => io::stderr().is_terminal(),
        }
    }

    fn writer(self) -> BoxMakeWriter {
        match self {
            Self::Output => BoxMakeWriter::new(io::stdout),
            Self::Error => BoxMakeWriter::new(io::stderr),
        }
    }
}

impl Format {
    /// Whether lines are JSON where a person looks, or nobody does.
    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

/// Starts logging to `stream` as `config` says; what the agent `followed` does is shown beside it. Panics are logged
/// too.
pub(crate) fn start(config: &Config, stream: Stream, followed: Option<&str>) -> anyhow::Result<()> {
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
    let terminal = stream.is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(stream.writer());
    let lines = if format.is_json(terminal) {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(terminal).boxed()
    };
    let of_hosts = Targets::new().with_target(agent_log::TARGET, tracing::Level::DEBUG);
    let followed = followed.map(|name| AgentLog::of(name).with_filter(of_hosts));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(followed).try_init();
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(error = message, location, "panic");
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_decides_the_form_and_only_auto_looks_where_the_lines_go() {
        for terminal in [false, true] {
            assert!(Format::Json.is_json(terminal));
            assert!(!Format::Text.is_json(terminal));
            assert_eq!(Format::Auto.is_json(terminal), !terminal);
        }
    }
}
