//! `config`: what the settings are, and where they come from.

use super::{Exit, output};
use clap::{Args as ClapArgs, Subcommand};
use config::Config;
use control_plane::Node;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show each setting with where it comes from, secrets masked, and whether a node would start with them.
    Check,
    /// Print an environment file that shows everything that can be set.
    EnvExample,
}

pub(crate) async fn run(Args { command }: Args, config: &Config) -> anyhow::Result<Exit> {
    match command {
        Command::Check => {
            for setting in config.listed() {
                output::line(format_args!("{} = {}  # {}", setting.key, setting.value, setting.origin))?;
            }
            for (name, reason) in config.ignored() {
                output::line(format_args!("# {name} has no effect: {reason}"))?;
            }
            Node::check(config).await?;
        }
        Command::EnvExample => output::text(&config::env_example())?,
    }
    Ok(Exit::Done)
}
