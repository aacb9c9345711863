//! Times what `tests/speed` compares with Python packages, and prints seconds by name as JSON.

use agents::anomaly_detection::Settings;
use analytics::drift;
use analytics::forest::Forest;
use analytics::stream::Detector;
use analytics::trees::shap::Explainer;
use analytics::trees::{Ensemble, Rule, boosting, forest, sigmoid};
use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

/// Shortest of `repeats` runs, in seconds: a busy machine does not count.
fn seconds(repeats: usize, mut work: impl FnMut()) -> f64 {
    let run = |_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    (0..repeats).map(run).fold(f64::INFINITY, f64::min)
}

fn main() -> anyhow::Result<()> {
    let settings: Settings = config::Config::defaults().section("agents.anomaly_detection")?;
    let mut chance = Pcg32::seed_from_u64(7);
    let mut normal = move || (0..12).map(|_| chance.random::<f64>()).sum::<f64>() - 6.0;

    let rows = ndarray::Array2::from_shape_simple_fn((10_000, 8), &mut normal);
    let fit = || Forest::fit(&rows.view(), 100, 256, 7).context("there are rows");
    let forest = fit()?;
    let row = rows.row(0).to_vec();
    let (one, other): (Vec<f64>, Vec<f64>) =
        ((0..1_000).map(|_| normal()).collect(), (0..1_000).map(|_| normal()).collect());
    let readings: Vec<f64> = (0..200_000).map(|_| normal()).collect();

    let fit_and_score = seconds(5, || {
        black_box(fit().map(|forest| forest.score_rows(&rows.view())).ok());
    });
    let one_row = seconds(200, || {
        black_box(forest.score(black_box(&row)));
    });
    let kolmogorov_smirnov = seconds(200, || {
        black_box(drift::kolmogorov_smirnov(black_box(&one), black_box(&other)));
    });
    let stream = seconds(3, || {
        let mut detector = Detector::new(7);
        for (idx, value) in readings.iter().enumerate() {
            black_box(detector.observe(&settings.stream, 60.0 * idx as f64, *value, true));
        }
    });
    let mut figures = serde_json::json!({
        "isolation forest, 10,000 x 8, fit and score": fit_and_score,
        "isolation forest, one row": one_row,
        "Kolmogorov-Smirnov, 1,000 against 1,000": kolmogorov_smirnov,
        "one reading of a stream": stream / readings.len() as f64,
    });
    let trees = trees(&mut normal)?;
    figures.as_object_mut().context("it was just made")?.extend(trees);
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}

/// Forests and boosted trees of the size that `speed.py` grows, on a rule of the same kind.
fn trees(normal: &mut impl FnMut() -> f64) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let rows = ndarray::Array2::from_shape_simple_fn((10_000, 10), &mut *normal);
    let failed = |row: ndarray::ArrayView1<'_, f64>, noise: f64| row[0] * row[1] + 0.5 * row[2] + 0.3 * noise > 0.0;
    let labels: Vec<f64> = rows.rows().into_iter().map(|row| f64::from(u8::from(failed(row, normal())))).collect();
    let weights = vec![1.0; labels.len()];
    let full = Rule { depth_max: 48, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 3 };
    let grown = forest::Settings { n_trees: 100, rule: full, seed: 7 };
    let grow = || forest::fit(&rows.view(), &labels, &weights, &grown).context("there are rows");
    let boosted = boosting::Settings {
        loss: boosting::Loss::Logistic,
        n_trees: 100,
        rate: 0.1,
        // About as many leaves as LightGBM's 31.
        rule: Rule { depth_max: 5, leaf_rows_min: 20, leaf_weight_min: 1e-3, ridge: 0.0, columns_per_cut: usize::MAX },
        row_share: 1.0,
        column_share: 1.0,
        bins_max: 255,
        seed: 7,
    };
    let boost = || boosting::fit(&rows.view(), &labels, &weights, &boosted).context("there are rows");
    let some: Vec<Vec<f64>> = rows.rows().into_iter().take(20).map(|row| row.to_vec()).collect();
    let of = |ensemble: &Ensemble| {
        let explainer = Explainer::of(ensemble);
        let row = seconds(200, || {
            black_box(sigmoid(ensemble.margin(black_box(&some[0]))));
        });
        let explained = seconds(5, || some.iter().for_each(|row| drop(black_box(explainer.explain(row)))));
        (row, explained / some.len() as f64)
    };
    let (forest_row, forest_explained) = of(&grow()?.forest);
    let (boosted_row, boosted_explained) = of(&boost()?);
    let figures = [
        ("random forest, 10,000 x 10, 100 trees, fit", seconds(3, || drop(black_box(grow())))),
        ("random forest, one row", forest_row),
        ("random forest, SHAP of a row", forest_explained),
        ("boosted trees, 10,000 x 10, 100 trees, fit", seconds(3, || drop(black_box(boost())))),
        ("boosted trees, one row", boosted_row),
        ("boosted trees, SHAP of a row", boosted_explained),
    ];
    Ok(figures.into_iter().map(|(name, seconds)| (name.to_owned(), seconds.into())).collect())
}
