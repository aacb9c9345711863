//! Simulated rows for the models of the catalogue, and their training in the background.

use crate::app::App;
use agents::models::{CATALOGUE, Source, Table};
use serde::Deserialize;
use simulations::labelled::{self, Labelled};
use std::time::Duration;

/// Fixes what is left to chance.
const SEED: u64 = 42;

/// `[models]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seconds after the start from which on models without a version are trained, one after the other.
    pub train_after_seconds: f64,
}

/// Rows of `source`, the same each time.
pub fn rows(source: Source) -> Table {
    let Labelled { columns, rows, labels, machines, source } = match source {
        Source::Milling => labelled::milling(10_000, SEED),
        Source::Vibration => labelled::vibration(240, 12, SEED),
        Source::Pump => labelled::pump(200, 20, SEED),
        Source::Audio => labelled::audio(200, 20, SEED),
        Source::SingleValues => labelled::single_values(60, 100, SEED),
        Source::Turbofan => labelled::turbofan(80, SEED),
        Source::Sensors => labelled::sensors(40, 400, SEED),
    };
    Table {
        columns: columns.into_iter().map(str::to_owned).collect(),
        rows,
        labels,
        machines,
        source: format!("simulated: {source}"),
    }
}

/// Trains, in the background, the models that have no version yet.
pub(crate) fn begin(app: &App, settings: &Settings) {
    let after = Duration::from_secs_f64(settings.train_after_seconds.max(0.0));
    let own = app.clone();
    app.tasks.spawn(async move {
        let all = async {
            tokio::time::sleep(after).await;
            for recipe in CATALOGUE {
                if let Err(error) = own.serving.ensure(recipe, own.now()).await {
                    tracing::warn!(%error, model = recipe.name, "a model could not be trained");
                }
            }
        };
        tokio::select! {
            () = own.stopping.cancelled() => {}
            () = all => {}
        }
    });
}
