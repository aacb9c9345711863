//! `dead-letters`: events that agents gave up, listed, looked at and dealt with on a running node.

use super::{Exit, output};
use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, Subcommand};
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where the node listens.
    #[arg(long, default_value = "http://127.0.0.1:8000", global = true)]
    url: String,
    /// Key with the scopes agents:read and agents:control. [default: the secret API_KEY]
    #[arg(long, global = true)]
    api_key: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show dead letters, the newest first.
    List {
        /// Those of one agent.
        #[arg(long)]
        agent: Option<String>,
        /// Those that are open, replayed or discarded.
        #[arg(long, default_value = "open")]
        state: String,
        /// This many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one with its event, its error and its causes.
    Show {
        /// Its number.
        id: i64,
    },
    /// Give events to their agents once more.
    Replay(Chosen),
    /// Decide that events need not be handled.
    Discard(Chosen),
}

#[derive(Debug, ClapArgs)]
struct Chosen {
    /// Their numbers.
    #[arg(required_unless_present = "agent")]
    ids: Vec<i64>,
    /// All open ones of this agent instead, up to --limit.
    #[arg(long, conflicts_with = "ids")]
    agent: Option<String>,
    /// This many at most.
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl Chosen {
    fn body(&self) -> Value {
        match &self.agent {
            Some(agent) => json!({ "agent": agent, "limit": self.limit }),
            None => json!({ "ids": self.ids }),
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let key = match args.api_key {
        Some(key) => Some(key),
        None => config::secret("API_KEY")?,
    };
    let key = key.context("a key is needed: --api-key, or the secret API_KEY")?;
    let client = Client::builder().timeout(REQUEST_TIMEOUT).build()?;
    let ask = async |method: Method, path: &str, query: &[(&str, String)], body: Option<Value>| {
        let mut url = Url::parse(&format!("{}/api/v1/dead-letters{path}", args.url)).context("--url is no address")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = client.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.header("X-API-Key", &key).send().await.context("the node does not answer")?;
        let (status, text) = (response.status(), response.text().await?);
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("the node answered {status}"))?;
        if !status.is_success() {
            bail!("the node answered {status}: {}", answer["detail"].as_str().unwrap_or(&text));
        }
        Ok(answer)
    };
    match args.command {
        Command::List { agent, state, limit } => {
            let mut query = vec![("state", state), ("limit", limit.to_string())];
            query.extend(agent.map(|agent| ("agent", agent)));
            let letters = ask(Method::GET, "", &query, None).await?;
            for letter in letters.as_array().context("the node answered something else than a list")? {
                output::line(described(letter))?;
            }
        }
        Command::Show { id } => {
            let letter = ask(Method::GET, &format!("/{id}"), &[], None).await?;
            output::line(serde_json::to_string_pretty(&letter)?)?;
        }
        Command::Replay(chosen) => return told(&ask(Method::POST, "/replay", &[], Some(chosen.body())).await?),
        Command::Discard(chosen) => return told(&ask(Method::POST, "/discard", &[], Some(chosen.body())).await?),
    }
    Ok(Exit::Done)
}

fn described(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default();
    format!(
        "{}  {}  event {}  {} attempts  {}  {}  {}",
        letter["id"],
        text("agent"),
        letter["seq"],
        letter["attempts"],
        text("at"),
        text("state"),
        text("error")
    )
}

/// Tells what was done; a failure if something was refused.
fn told(answer: &Value) -> anyhow::Result<Exit> {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let (settled, refused) = (list("settled"), list("refused"));
    for one in &refused {
        output::line(format_args!("{}: {}", one["id"], one["reason"].as_str().unwrap_or_default()))?;
    }
    output::line(format_args!("{} dealt with, {} refused, {} open", settled.len(), refused.len(), answer["open"]))?;
    Ok(if refused.is_empty() { Exit::Done } else { Exit::Failed })
}
