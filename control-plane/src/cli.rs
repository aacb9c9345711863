//! The command line: what can be asked of the program, and how it ends.

mod agent_log;
mod agents;
mod audit;
mod cursors;
mod dead_letters;
mod demo;
mod import;
mod keys;
mod logging;
mod output;
mod replay;
mod serve;
mod settings;
mod smoke;
mod socket;
mod train;

use clap::{Args, Parser, Subcommand};
use config::{Config, ConfigError};
use persistence::StoreError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Watches machines and gets them repaired in time.
///
/// Every setting also stands in the file that --config names, or in an environment variable
/// `SMART_MAINTENANCE__SECTION__KEY`.
#[derive(Debug, Parser)]
#[command(name = "smart-maintenance", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command knows.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Folder that holds everything the node keeps.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes any that is free.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Settings, laid over the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Options {
    /// The settings, those of the command line laid over all others.
    pub(crate) fn settings(&self) -> anyhow::Result<Config> {
        let mut config = Config::from_env_and_file(self.config.as_deref())?;
        if let Some(dir) = &self.data_dir {
            let dir = dir.to_str().ok_or_else(|| anyhow::anyhow!("--data-dir must be Unicode"))?;
            config = config.with("store.data_dir", dir)?;
        }
        if let Some(listen) = &self.listen {
            config = config.with("server.listen", listen.to_string())?;
        }
        Ok(config)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until it is told to stop. This is the default.
    Serve,
    /// Run a node with a machine that fails, and show how it gets repaired.
    Demo(demo::Args),
    /// Send the history in a CSV file to a running node.
    Replay(replay::Args),
    /// List, look at, replay and discard events that agents gave up, on a running node.
    DeadLetters(dead_letters::Args),
    /// Take over a plant file: assets, sensors, limits, technicians, shifts.
    Import(import::Args),
    /// Ask a running node for everything once, and tell what works.
    Smoke(smoke::Args),
    /// Show the supervision tree of a running node.
    Agents(agents::Args),
    /// Show where agents stand in the log, and forget those that are gone, while no node runs on the folder.
    Cursors(cursors::Args),
    /// Make, list, replace and take back API keys, whether or not a node runs on the folder.
    Keys(keys::Args),
    /// Train models, while no node runs on the folder.
    Train(train::Args),
    /// Check what was recorded of keys and decisions.
    Audit(audit::Args),
    /// Show the settings.
    Config(settings::Args),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As it should.
    Done,
    /// What was asked for could not be done.
    Failed,
    /// A part without which a node cannot go on has failed for good.
    EssentialPartFailed,
    /// The store cannot be used now.
    StoreUnavailable,
    /// The settings or the machine do not allow a safe start.
    Unsafe,
}

impl Exit {
    /// The code, as `sysexits.h` has them. A misuse of the command line ends with 2, which is clap's.
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::EssentialPartFailed => 70,
            Self::StoreUnavailable => 75,
            Self::Unsafe => 78,
        }
    }

    /// The way to end because of `error`.
    fn because_of(error: &anyhow::Error) -> Self {
        let of_store = |error: &StoreError| match error {
            StoreError::Unavailable(_) | StoreError::Locked(_) | StoreError::Failing(_) => Self::StoreUnavailable,
            StoreError::Corrupt(_) | StoreError::Unsafe(_) => Self::Unsafe,
        };
        let one = |cause: &(dyn std::error::Error + 'static)| {
            let of_settings = cause.downcast_ref::<ConfigError>().map(|_| Self::Unsafe);
            of_settings.or_else(|| cause.downcast_ref().map(of_store))
        };
        error.chain().find_map(one).unwrap_or(Self::Failed)
    }
}

pub(crate) fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    let ended = run(options, command.unwrap_or(Command::Serve));
    let exit = ended.unwrap_or_else(|error| {
        output::complaint(&error);
        Exit::because_of(&error)
    });
    ExitCode::from(exit.code())
}

fn run(options: Options, command: Command) -> anyhow::Result<Exit> {
    let config = options.settings()?;
    let stream = if matches!(command, Command::Serve) { logging::Stream::Output } else { logging::Stream::Error };
    let followed = match &command {
        Command::Demo(args) => args.followed(),
        _ => None,
    };
    logging::start(&config, stream, followed)?;
    for (name, reason) in config.ignored() {
        tracing::warn!(name, reason, "an environment variable has no effect");
    }
    // The HTTP client brings no cryptography of its own.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a provider of cryptography was installed before");
    }
    let runtime = control_plane::node::executor()?;
    let ended = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(config).await,
            Command::Demo(args) => demo::run(args, &options, config).await,
            Command::Replay(args) => replay::run(args).await,
            Command::DeadLetters(args) => dead_letters::run(args).await,
            Command::Import(args) => import::run(args, &config).await,
            Command::Smoke(args) => smoke::run(args).await,
            Command::Agents(args) => agents::run(args).await,
            Command::Cursors(args) => cursors::run(args, &config).await,
            Command::Keys(args) => keys::run(args, &config).await,
            Command::Train(args) => train::run(args, &config).await,
            Command::Audit(args) => audit::run(args, &config).await,
            Command::Config(args) => settings::run(args, &config).await,
        }
    });
    // Whatever is left over must not keep the program from ending.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_accepted_on_every_command() {
        for command in ["serve", "demo", "keys list", "replay x.csv"] {
            let line = format!("smart-maintenance {command} --data-dir d --listen 127.0.0.1:0 --config f");
            let options = Cli::try_parse_from(line.split(' ')).expect(command).options;
            assert_eq!(options.data_dir, Some(PathBuf::from("d")), "{command}");
        }
    }

    #[test]
    fn the_command_line_wins_over_all_other_settings() {
        let options = Options {
            data_dir: Some("elsewhere".into()),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            config: None,
        };
        let config = options.settings().expect("valid settings");
        assert_eq!(config.section::<String>("store.data_dir").expect("a folder"), "elsewhere");
        assert_eq!(config.section::<String>("server.listen").expect("an address"), "127.0.0.1:0");
    }

    #[test]
    fn the_exit_code_tells_what_to_do_about_an_error() {
        let code = |error: StoreError| Exit::because_of(&anyhow::Error::new(error).context("more")).code();
        assert_eq!(code(StoreError::Locked("by another".into())), 75);
        assert_eq!(code(StoreError::Unsafe("no fsync".into())), 78);
        let missing = Options { data_dir: None, listen: None, config: Some("/nowhere".into()) };
        assert_eq!(Exit::because_of(&missing.settings().expect_err("no such file")).code(), 78);
        assert_eq!(Exit::because_of(&anyhow::anyhow!("something else")).code(), 1);
    }
}
