//! Times what `tests/speed` compares with Python packages, and prints seconds by name as JSON.

use agents::anomaly_detection::Settings;
use analytics::drift;
use analytics::forest::Forest;
use analytics::stream::Detector;
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
    let figures = serde_json::json!({
        "isolation forest, 10,000 x 8, fit and score": fit_and_score,
        "isolation forest, one row": one_row,
        "Kolmogorov-Smirnov, 1,000 against 1,000": kolmogorov_smirnov,
        "one reading of a stream": stream / readings.len() as f64,
    });
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}
