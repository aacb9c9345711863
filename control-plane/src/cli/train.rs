//! `train`: new versions of models, from simulated rows or from a CSV file. It works on the folder of a node that does
//! not run.

use super::{Exit, output};
use agents::models::{CATALOGUE, Card, Recipe, Remote, Serving, Table, Trained, catalogue};
use anyhow::Context as _;
use clap::Args as ClapArgs;
use config::Config;
use control_plane::training;
use indicatif::{ProgressBar, ProgressStyle};
use persistence::{Store, StoreError};
use runtime::Clock;
use std::fs::File;
use std::path::PathBuf;
use tokio_util::task::TaskTracker;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The model to train; may be repeated. Every model without this.
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// Seed of the simulated rows. The same one leads to the same version.
    #[arg(long, value_name = "N", default_value_t = catalogue::SEED)]
    seed: u64,
    /// Rows to learn from, with a heading, instead of simulated ones. Needs one --model and --label.
    #[arg(long, value_name = "FILE", requires = "label", conflicts_with = "seed")]
    csv: Option<PathBuf>,
    /// The column that is to be foretold.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Columns to learn from, separated by commas; those of the model without this.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    inputs: Vec<String>,
    /// The column that tells machines apart, so that none is on both sides of the split.
    #[arg(long, value_name = "COLUMN")]
    machine: Option<String>,
}

pub(crate) async fn run(args: Args, config: &Config) -> anyhow::Result<Exit> {
    let recipes: Vec<&'static Recipe> = match args.models.as_slice() {
        [] => CATALOGUE.iter().collect(),
        names => names
            .iter()
            .map(|name| catalogue::find(name).with_context(|| format!("there is no model {name:?}")))
            .collect::<anyhow::Result<_>>()?,
    };
    let own = match (&args.csv, &args.label) {
        (Some(file), Some(label)) => {
            let [recipe] = recipes.as_slice() else { anyhow::bail!("--csv trains one model; name it with --model") };
            Some(read(file, recipe, &args, label)?)
        }
        _ => None,
    };
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
    let trained = train(&Serving::new(store.clone(), training::rows, Remote::Unset), &recipes, own, args.seed).await;
    store.close();
    written.await.context("the writer ended badly")??;
    trained
}

fn read(file: &PathBuf, recipe: &Recipe, args: &Args, label: &str) -> anyhow::Result<Table> {
    let inputs: Vec<&str> =
        if args.inputs.is_empty() { recipe.inputs.to_vec() } else { args.inputs.iter().map(String::as_str).collect() };
    anyhow::ensure!(!inputs.is_empty(), "name the columns to learn from with --inputs");
    let csv = File::open(file).with_context(|| file.display().to_string())?;
    Table::read(csv, &inputs, label, args.machine.as_deref(), &file.display().to_string())
        .with_context(|| file.display().to_string())
}

async fn train(serving: &Serving, recipes: &[&'static Recipe], own: Option<Table>, seed: u64) -> anyhow::Result<Exit> {
    let bar = ProgressBar::new(recipes.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    for &recipe in recipes {
        bar.set_message(recipe.name);
        let own = own.clone();
        let table = move || own.unwrap_or_else(|| training::rows(recipe.source, seed));
        let Trained { model, card, is_new } = serving.train(recipe, table, Clock::System.now()).await?;
        let before = if is_new { "" } else { " was there before" };
        bar.suspend(|| {
            output::line(format_args!("{} version {}{before}: {}", recipe.name, model.version, in_short(&card)))
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Exit::Done)
}

/// The figure that counts, with its interval, beside that of an answer that is always the same.
fn in_short(card: &Card) -> String {
    let Some(figure) = card.figures.get(&card.compared) else { return "no figure".to_owned() };
    let interval = figure.interval.map_or(String::new(), |(low, high)| format!(" ({low:.3} to {high:.3})"));
    let verdict = if card.beats_baseline { "better than" } else { "NO BETTER THAN" };
    format!("{} {:.3}{interval}, {verdict} the baseline's {:.3}", card.compared, figure.value, card.baseline)
}
