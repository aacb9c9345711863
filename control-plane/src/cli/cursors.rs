//! `cursors`: where each agent stands in the log of a node that does not run, and what agents left behind that are no
//! longer there.

use super::{Exit, output};
use anyhow::{Context as _, ensure};
use clap::{Args as ClapArgs, Subcommand};
use config::Config;
use control_plane::node::agent_names;
use persistence::admin::Change;
use persistence::{Store, StoreError};
use tokio_util::task::TaskTracker;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where each agent stands, and which of them the program no longer has.
    List,
    /// Forget an agent that the program no longer has: its place in the log, its state and its timers.
    Drop {
        /// Its name, as `list` shows it.
        agent: String,
    },
}

pub(crate) async fn run(Args { command }: Args, config: &Config) -> anyhow::Result<Exit> {
    let opened = Store::open(&config.section("store")?).await;
    let store = opened.map_err(|error| match error {
        StoreError::Locked(_) => anyhow::Error::new(error).context("a node runs on this folder; stop it first"),
        other => anyhow::Error::new(other),
    })?;
    let writer = TaskTracker::new();
    let written = writer.spawn({
        let store = store.clone();
        async move { store.run_writer().await }
    });
    let carried_out = carry_out(command, &store, config).await;
    store.close();
    written.await.context("the writer ended badly")??;
    carried_out
}

async fn carry_out(command: Command, store: &Store, config: &Config) -> anyhow::Result<Exit> {
    let known = agent_names(config, store)?;
    let rows = store.log().consumers().await?;
    match command {
        Command::List => {
            let head = store.log().head().0;
            output::line(format_args!("{:<24} {:>12} {:>12}  state", "agent", "cursor", "behind"))?;
            for row in rows {
                let state = match (known.contains(&row.name.as_str()), row.paused) {
                    (false, _) => "not in this program",
                    (true, true) => "paused",
                    (true, false) => "",
                };
                let behind = (head - row.cursor.0).max(0);
                output::line(format!("{:<24} {:>12} {behind:>12}  {state}", row.name, row.cursor.0).trim_end())?;
            }
        }
        Command::Drop { agent } => {
            ensure!(!known.contains(&agent.as_str()), "{agent} is an agent of this program; it needs its cursor");
            ensure!(rows.iter().any(|row| row.name == agent), "no agent called {agent} has left a cursor here");
            store.admin(Change::ForgetAgent { agent: agent.clone() }).await?;
            output::line(format_args!("{agent} is forgotten"))?;
        }
    }
    Ok(Exit::Done)
}
