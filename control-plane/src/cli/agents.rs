//! `agents`: the supervision tree of a running node.

use super::{Exit, output};
use anyhow::Context as _;
use reqwest::Client;
use serde::Deserialize;
use std::time::Duration;

/// Longest time for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the node is.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// A key with the scope agents:read.
    #[arg(long, env = "API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tree {
    agents: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
struct Agent {
    name: String,
    kind: String,
    state: String,
    restarts: u64,
    mailbox: u64,
    lag: i64,
    oldest_seconds: f64,
    last_error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
struct LastError {
    at: String,
    error: String,
}

pub(crate) async fn run(Args { url, api_key }: Args) -> anyhow::Result<Exit> {
    let url = format!("{}/api/v1/agents", url.trim_end_matches('/'));
    let request = Client::builder().timeout(TIMEOUT).build()?.get(&url);
    let request = api_key.iter().fold(request, |request, key| request.header("x-api-key", key));
    let response = request.send().await.with_context(|| format!("no node answers at {url}"))?;
    let status = response.status();
    if !status.is_success() {
        anyhow::bail!("the node answers {status}: {}", response.text().await?);
    }
    let Tree { agents } = response.json().await?;
    output::line(table(&agents))?;
    Ok(Exit::Done)
}

/// A line for each child of the tree, and one more for what went wrong with it last.
fn table(agents: &[Agent]) -> String {
    let mut lines = vec![format!(
        "{:<20} {:<10} {:<12} {:>8} {:>7} {:>8} {:>9}",
        "agent", "kind", "state", "restarts", "mailbox", "lag", "oldest"
    )];
    for Agent { name, kind, state, restarts, mailbox, lag, oldest_seconds, last_error } in agents {
        lines.push(format!(
            "{name:<20} {kind:<10} {state:<12} {restarts:>8} {mailbox:>7} {lag:>8} {oldest_seconds:>7.1} s"
        ));
        if let Some(LastError { at, error }) = last_error {
            lines.push(format!("  last error, {at}: {error}"));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_how_each_agent_is_and_what_went_wrong_last() {
        let answer = r#"{"agents":[
            {"name":"drift","kind":"agent","state":"paused","restarts":2,"mailbox":1,"lag":7,"oldest_seconds":1.25,
             "cursor":9,"last_error":{"at":"2026-01-01T00:00:00Z","error":"event 9: it broke"}}],"count":1}"#;
        let Tree { agents } = serde_json::from_str(answer).expect("the form of the route");
        assert_eq!(
            table(&agents),
            "agent                kind       state        restarts mailbox      lag    oldest\n\
             drift                agent      paused              2       1        7     1.2 s\n  \
             last error, 2026-01-01T00:00:00Z: event 9: it broke"
        );
    }
}
