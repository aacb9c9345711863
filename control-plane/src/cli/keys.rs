//! `keys`: API keys, made, listed and taken back. It works on the folder of a node that does not run.

use super::{Exit, output};
use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use config::Config;
use control_plane::access::{NewKey, SCOPES, new_key};
use domain::Timestamp;
use persistence::admin::Change;
use persistence::keys::{self, ApiKey};
use persistence::{Store, StoreError};
use runtime::Clock;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Keys that `list` shows.
const LIST_MAX: usize = 1_000;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and show it, this once.
    Create {
        /// What people call it. It stands beside whatever is done with the key.
        #[arg(long, default_value = "operator")]
        name: String,
        /// What it may do, separated by commas; everything without this.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Vec<String>,
        /// Days after which it ends; never without this.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_days: Option<u32>,
    },
    /// Show all keys, without their secrets.
    List,
    /// Take a key back.
    Revoke {
        /// Its prefix (`smk_…`) or its id, as `list` shows them.
        key: String,
    },
}

fn scope(text: &str) -> Result<String, String> {
    match SCOPES.iter().find(|scope| **scope == text) {
        Some(scope) => Ok((*scope).to_owned()),
        None => Err(format!("there is no such scope; the scopes are {}", SCOPES.join(", "))),
    }
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
    let carried_out = carry_out(command, &store, Clock::System.now()).await;
    store.close();
    written.await.context("the writer ended badly")??;
    carried_out
}

async fn carry_out(command: Command, store: &Store, now: Timestamp) -> anyhow::Result<Exit> {
    match command {
        Command::Create { name, scopes, expires_days } => {
            let scopes = if scopes.is_empty() { SCOPES.map(str::to_owned).to_vec() } else { scopes };
            let days = |days| now + Duration::from_secs(u64::from(days) * SECONDS_PER_DAY);
            let NewKey { secret, kept } = new_key(&name, scopes, now, expires_days.map(days))?;
            store.admin(Change::CreateKey(kept)).await.with_context(|| {
                format!("the key cannot be kept; is there one called {name} that was not taken back?")
            })?;
            output::line(secret)?;
        }
        Command::List => {
            for key in keys::list(&store.history(), LIST_MAX, 0).await? {
                output::line(described(&key, now))?;
            }
        }
        Command::Revoke { key: wanted } => {
            let keys = keys::list(&store.history(), LIST_MAX, 0).await?;
            let Some(key) = keys.into_iter().find(|key| key.prefix == wanted || key.id.to_string() == wanted) else {
                anyhow::bail!("there is no key {wanted}");
            };
            store.admin(Change::RevokeKey { id: key.id, at: now }).await?;
            output::line(format_args!("{} ({}) was taken back", key.prefix, key.name))?;
        }
    }
    Ok(Exit::Done)
}

fn described(key: &ApiKey, now: Timestamp) -> String {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, Some(at)) => format!("valid until {at}"),
        (None, None) => "valid".to_owned(),
    };
    format!("{}  {}  created {}  {state}  {}", key.prefix, key.name, key.created_at, key.scopes.join(","))
}
