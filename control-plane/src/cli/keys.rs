//! `keys`: API keys, made, listed, replaced and taken back. Whoever may read the node's folder may do that: while a
//! node runs on it through the node's own socket there, and otherwise in the store itself.

use super::socket::Socket;
use super::{Exit, output};
use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use config::Config;
use control_plane::access::{NewKey, SCOPES, change, new_key};
use domain::{CorrelationId, Event, EventId, Timestamp};
use persistence::admin::Change;
use persistence::keys::{self, ApiKey};
use persistence::page::Start;
use persistence::unit::NewEvent;
use persistence::{Settings, Store, StoreError};
use runtime::Clock;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Keys that `list` shows.
const LIST_MAX: usize = 1_000;
const HOURS_PER_DAY: u32 = 24;
const SECONDS_PER_HOUR: u64 = 60 * 60;
/// Who makes the changes, for the record.
const BY: &str = "owner";

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
    /// Make a key that takes the place of another, and show it, this once.
    Rotate {
        /// The other one's prefix (`smk_…`) or id, as `list` shows them.
        key: String,
        /// Hours for which the other one goes on working.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8_760))]
        overlap_hours: u32,
    },
    /// Take a key back.
    Revoke {
        /// Its prefix (`smk_…`) or its id, as `list` shows them.
        key: String,
    },
    /// Show a link that logs one browser in, while a node runs on the folder.
    Link,
}

fn scope(text: &str) -> Result<String, String> {
    match SCOPES.iter().find(|scope| **scope == text) {
        Some(scope) => Ok((*scope).to_owned()),
        None => Err(format!("there is no such scope; the scopes are {}", SCOPES.join(", "))),
    }
}

pub(crate) async fn run(Args { command }: Args, config: &Config) -> anyhow::Result<Exit> {
    let settings: Settings = config.section("store")?;
    let store = match Store::open(&settings).await {
        Ok(store) => store,
        Err(StoreError::Locked(_)) => return on_node(command, &Socket::of(&settings.data_dir)).await,
        Err(error) => return Err(error.into()),
    };
    let writer = TaskTracker::new();
    let written = writer.spawn({
        let store = store.clone();
        async move { store.run_writer().await }
    });
    let carried_out = in_store(command, &store, Clock::System.now()).await;
    store.close();
    written.await.context("the writer ended badly")??;
    carried_out
}

/// Has the node that runs on the folder carry `command` out.
async fn on_node(command: Command, node: &Socket) -> anyhow::Result<Exit> {
    match command {
        Command::Create { name, scopes, expires_days } => {
            let scopes = if scopes.is_empty() { SCOPES.map(str::to_owned).to_vec() } else { scopes };
            let mut wanted = json!({ "name": name, "scopes": scopes });
            if let Some(days) = expires_days {
                wanted["expires_in_hours"] = json!(days * HOURS_PER_DAY);
            }
            told(&node.post("/api/v1/keys", &wanted).await?, "key")?;
        }
        Command::List => {
            let keys = node.get(&format!("/api/v1/keys?limit={LIST_MAX}")).await?;
            for key in keys.as_array().context("the node did not send a list")? {
                let text = |name: &str| key[name].as_str().unwrap_or("-");
                let scopes: Vec<&str> =
                    key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                output::line(format_args!(
                    "{}  {}  created {}  {} until {}  used {}  {}",
                    text("prefix"),
                    text("name"),
                    text("created_at"),
                    text("state"),
                    text("expires_at"),
                    text("last_used_at"),
                    scopes.join(",")
                ))?;
            }
        }
        Command::Rotate { key, overlap_hours } => {
            let path = format!("/api/v1/keys/{key}/rotate");
            told(&node.post(&path, &json!({ "overlap_hours": overlap_hours })).await?, "key")?;
        }
        Command::Revoke { key } => {
            let told = node.post(&format!("/api/v1/keys/{key}/revoke"), &json!({})).await?;
            let (prefix, name) = (told["prefix"].as_str().unwrap_or(&key), told["name"].as_str().unwrap_or("-"));
            output::line(format_args!("{prefix} ({name}) was taken back"))?;
        }
        Command::Link => told(&node.post("/api/v1/sessions/links", &json!({})).await?, "url")?,
    }
    Ok(Exit::Done)
}

/// Prints what the node told of `what`.
fn told(answer: &Value, what: &str) -> anyhow::Result<()> {
    output::line(answer[what].as_str().context("the node did not tell it")?)?;
    Ok(())
}

/// Carries `command` out in a store that no node uses.
async fn in_store(command: Command, store: &Store, now: Timestamp) -> anyhow::Result<Exit> {
    match command {
        Command::Create { name, scopes, expires_days } => {
            let scopes = if scopes.is_empty() { SCOPES.map(str::to_owned).to_vec() } else { scopes };
            let days = |days: u32| now + hours(days * HOURS_PER_DAY);
            let NewKey { secret, kept } = new_key(&name, scopes, now, expires_days.map(days))?;
            commit(store, change::creation(kept, BY), now).await.with_context(|| {
                format!("the key cannot be kept; is there one called {name} that was not taken back?")
            })?;
            output::line(secret)?;
        }
        Command::List => {
            for key in keys::list(&store.history(), &Start::default(), LIST_MAX).await?.rows {
                output::line(described(&key, now))?;
            }
        }
        Command::Rotate { key, overlap_hours } => {
            let old = find(store, &key).await?;
            anyhow::ensure!(change::is_replaceable(&old, now), "the key has ended, or has a successor already");
            let NewKey { secret, kept } = change::successor(&old, now)?;
            commit(store, change::rotation(&old, kept, now + hours(overlap_hours), BY), now).await?;
            output::line(secret)?;
        }
        Command::Revoke { key } => {
            let key = find(store, &key).await?;
            commit(store, change::revocation(&key, now, BY), now).await?;
            output::line(format_args!("{} ({}) was taken back", key.prefix, key.name))?;
        }
        Command::Link => anyhow::bail!("no node runs on this folder; start one first"),
    }
    Ok(Exit::Done)
}

fn hours(n_hours: u32) -> Duration {
    Duration::from_secs(u64::from(n_hours) * SECONDS_PER_HOUR)
}

async fn commit(store: &Store, (change, event): (Change, Event), now: Timestamp) -> anyhow::Result<()> {
    let event = NewEvent {
        id: EventId(Uuid::now_v7()),
        cause: None,
        correlation: CorrelationId::new(Uuid::new_v4().to_string()),
        traceparent: None,
        source: "command_line".into(),
        at: now,
        event,
    };
    Ok(store.admin_told(change, vec![event]).await?)
}

async fn find(store: &Store, wanted: &str) -> anyhow::Result<ApiKey> {
    let keys = keys::list(&store.history(), &Start::default(), LIST_MAX).await?.rows;
    let found = keys.into_iter().find(|key| key.prefix == wanted || key.id.to_string() == wanted);
    found.with_context(|| format!("there is no key {wanted}"))
}

fn described(key: &ApiKey, now: Timestamp) -> String {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, Some(at)) => format!("valid until {at}"),
        (None, None) => "valid".to_owned(),
    };
    let used = key.last_used_at.map_or("never used".to_owned(), |at| format!("used {at}"));
    format!("{}  {}  created {}  {state}  {used}  {}", key.prefix, key.name, key.created_at, key.scopes.join(","))
}
