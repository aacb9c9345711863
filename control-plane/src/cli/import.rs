//! `import`: takes over the description of a plant. It works on the folder of a node that does not run.

use super::{Exit, output};
use anyhow::Context as _;
use clap::Args as ClapArgs;
use config::Config;
use control_plane::plant::{self, Counts, Known, Report};
use domain::CorrelationId;
use persistence::{Settings, Store, StoreError};
use runtime::Clock;
use std::path::PathBuf;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// By whom, as the log tells it.
const BY: &str = "command_line";

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The plant file: `[site]`, `[[asset]]`, `[[sensor]]`, `[[technician]]`.
    file: PathBuf,
    /// Only say what would be done, and what is wrong with the file.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(Args { file, dry_run }: Args, config: &Config) -> anyhow::Result<Exit> {
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let settings: Settings = config.section("store")?;
    if dry_run && !Store::exists(&settings) {
        // What is only tried out leaves no store behind, and nothing is declared in one that is not there.
        let report = plant::report(&plant::checked(&text, &Known::default()));
        return if is_good(&report)? { unchanged() } else { Ok(Exit::Failed) };
    }
    let opened = Store::open(&settings).await;
    let store = opened.map_err(|error| match error {
        StoreError::Locked(_) => anyhow::Error::new(error).context(format!(
            "a node runs on this folder; stop it first, or send it the file: curl --data-binary @{} -H 'X-API-Key: …' \
             http://HOST/api/v1/plant/import",
            file.display()
        )),
        other => anyhow::Error::new(other),
    })?;
    let writer = TaskTracker::new();
    let written = writer.spawn({
        let store = store.clone();
        async move { store.run_writer().await }
    });
    let carried_out = carry_out(&text, dry_run, &store).await;
    store.close();
    written.await.context("the writer ended badly")??;
    carried_out
}

async fn carry_out(text: &str, dry_run: bool, store: &Store) -> anyhow::Result<Exit> {
    let plan = plant::checked(text, &plant::known(&store.history()).await?);
    if !is_good(&plant::report(&plan))? {
        return Ok(Exit::Failed);
    }
    if dry_run {
        return unchanged();
    }
    let correlation = CorrelationId::new(Uuid::new_v4().to_string());
    store.append(plant::events(plan, BY, &correlation, Clock::System.now()), None).await?;
    output::line("taken over")?;
    Ok(Exit::Done)
}

fn unchanged() -> anyhow::Result<Exit> {
    output::line("the file is good; nothing was changed (--dry-run)")?;
    Ok(Exit::Done)
}

/// Prints what a file would do. False when anything is wrong with it.
fn is_good(report: &Report) -> anyhow::Result<bool> {
    for problem in &report.problems {
        output::line(problem)?;
    }
    for (what, counts) in [("assets", report.assets), ("sensors", report.sensors), ("technicians", report.technicians)]
    {
        let Counts { new, changed, unchanged } = counts;
        output::line(format_args!("{what}: {new} new, {changed} changed, {unchanged} as before"))?;
    }
    if !report.problems.is_empty() {
        output::line(format_args!("{} problems: nothing was taken over", report.problems.len()))?;
    }
    Ok(report.problems.is_empty())
}
