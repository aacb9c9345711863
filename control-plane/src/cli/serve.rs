//! `serve`: a node until it is told to stop.

use super::{Exit, output};
use config::Config;
use control_plane::Node;
use runtime::{Clock, Fatal};
use std::io;

pub(crate) async fn run(config: Config) -> anyhow::Result<Exit> {
    let node = Node::start(config, Clock::System).await?;
    // Standard output is the log, and a key must not stand in a log.
    for line in announcement(&node) {
        output::aside(line);
    }
    until_stopped(node).await
}

/// Where `node` listens, and the key that nobody can be told again.
pub(crate) fn announcement(node: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(key) = node.first_key() {
        lines.push("first API key, with every scope, shown this once:".to_owned());
        lines.push(key.to_owned());
    }
    lines.push(format!("listening on {}", node.base()));
    lines
}

/// Runs `node` until a signal asks for its end, or a part of it fails for good.
pub(crate) async fn until_stopped(node: Node) -> anyhow::Result<Exit> {
    let exit = tokio::select! {
        asked = asked_to_stop() => {
            asked?;
            Exit::Done
        }
        Fatal { part, disk } = node.failed() => {
            tracing::error!(part, disk, "the node cannot go on");
            if disk { Exit::StoreUnavailable } else { Exit::EssentialPartFailed }
        }
    };
    tokio::select! {
        () = node.stop() => Ok(exit),
        // What was acknowledged is on disk, so that a second signal may end everything at once.
        asked = asked_to_stop() => {
            asked?;
            Ok(Exit::Failed)
        }
    }
}

/// Waits for the signal of a terminal or of whatever supervises the process.
#[cfg(unix)]
pub(super) async fn asked_to_stop() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for the signal of a terminal.
#[cfg(not(unix))]
pub(super) async fn asked_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
