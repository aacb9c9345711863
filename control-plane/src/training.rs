//! Simulated rows for the models of the catalogue, and their training in the background.

use crate::app::App;
use agents::models::{CATALOGUE, Source, Table};
use serde::Deserialize;
use simulations::labelled::{self, Labelled};
use std::time::Duration;

/// `[models]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seconds after the start from which on models without a version are trained, one after the other.
    pub train_after_seconds: f64,
}

/// Rows of `source`, the same for the same `seed`.
pub fn rows(source: Source, seed: u64) -> Table {
    let Labelled { columns, rows, labels, machines, source } = match source {
        Source::Milling => labelled::milling(10_000, seed),
        Source::Vibration => labelled::vibration(240, 12, seed),
        Source::Pump => labelled::pump(200, 20, seed),
        Source::Audio => labelled::audio(200, 20, seed),
        Source::SingleValues => labelled::single_values(60, 100, seed),
        Source::Turbofan => labelled::turbofan(80, seed),
        Source::Sensors => labelled::sensors(40, 400, seed),
    };
    Table {
        columns: columns.into_iter().map(str::to_owned).collect(),
        rows,
        labels,
        machines,
        source: format!("simulated with seed {seed}: {source}"),
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
