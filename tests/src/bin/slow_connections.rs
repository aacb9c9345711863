//! 1,000 slow clients of each kind against a node with the settings as they ship, and one that behaves beside them.
//!
//! Build the program first: `cargo build --release -p control-plane`.

use anyhow::{Context as _, ensure};
use clap::Parser;
use std::io::Write as _;
use std::time::Duration;
use tests::process::Process;
use tests::slow::{Kind, behaved, hold, quantile};

/// Twice of less is noticed by nobody: it is what the slow clients themselves take from the same cores.
const UNNOTICED: Duration = Duration::from_millis(1);

/// Holds slow connections and looks who hangs up when.
#[derive(Debug, Parser)]
struct Args {
    /// Connections of each kind.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
}

/// The limit that ends a connection of `kind`, as it ships.
fn limit(kind: Kind) -> anyhow::Result<Duration> {
    let name = match kind {
        Kind::Idle | Kind::HalfHead | Kind::TrickledHead => "server.header_read_timeout_seconds",
        Kind::TrickledBody => "server.body_grace_seconds",
        Kind::SlowReader => "server.write_stall_seconds",
    };
    Ok(Duration::from_secs_f64(config::Config::defaults().section(name)?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { connections } = Args::parse();
    let folder = tempfile::tempdir()?;
    let node = Process::start(folder.path(), None, &[])?;
    let client = node.client();
    let address = client.base().trim_start_matches("http://").parse()?;
    let key = client.key().context("an empty folder gives a key")?;
    let (mut out, mut missed) = (std::io::stdout().lock(), Vec::new());
    for kind in Kind::ALL {
        let limit = limit(kind)?;
        let (calm, ()) = behaved(client, "/livez", tokio::time::sleep(limit)).await?;
        let holding = hold(kind, address, key, connections, limit + Duration::from_secs(30));
        let (beside, held) = behaved(client, "/livez", holding).await?;
        let held = held?;
        let late = held.iter().filter(|held| held.is_none_or(|held| limit + Duration::from_secs(1) < held)).count();
        let longest = held.iter().flatten().max().copied().unwrap_or_default();
        let (before, during) = (quantile(&calm, 0.99), quantile(&beside, 0.99));
        writeln!(
            out,
            "{kind:?}: {connections} connections, limit {limit:?}, longest {longest:.2?}, late {late}; a client that \
             behaves: p99 {before:.2?} alone, {during:.2?} beside them, {} requests, none failed",
            beside.len()
        )?;
        if late != 0 {
            missed.push(format!("{late} connections of {kind:?} outlived their limit by more than a second"));
        }
        if 2 * before.max(UNNOTICED) < during {
            missed.push(format!("p99 more than doubled beside {kind:?}"));
        }
    }
    ensure!(missed.is_empty(), "{}", missed.join("; "));
    Ok(())
}
