//! `audit`: whether anybody changed what was recorded of keys and decisions. A node may run meanwhile.

use super::{Exit, output};
use clap::{Args as ClapArgs, Subcommand};
use config::Config;
use persistence::audit;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check every link of the chain. Ends with 1 when one is broken.
    Verify,
}

pub(crate) async fn run(Args { command: Command::Verify }: Args, config: &Config) -> anyhow::Result<Exit> {
    let verdict = audit::verify(&config.section("store")?).await?;
    match verdict.fault {
        None => {
            output::line(format_args!("the audit chain holds: {} links", verdict.n_links))?;
            Ok(Exit::Done)
        }
        Some(fault) => {
            output::line(format_args!("the audit chain is broken after {} links: {fault}", verdict.n_links))?;
            Ok(Exit::Failed)
        }
    }
}
