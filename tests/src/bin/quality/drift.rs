//! The comparison of two samples: what it finds, and what it takes for drift although nothing changed.
//!
//! Samples of 1,000 normal values, seeded, against samples that have changed in one way each; the share of trials that
//! a statistic calls drift. Whether the statistics equal the reference implementation is held by unit tests.

use crate::report::{Must, Report, say};
use agents::drift::Settings;
use analytics::drift;
use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

const SIZE: usize = 1_000;
const TRIALS: usize = 2_000;
/// Three standard errors of a share near one half from so many trials.
const CHANCE: f64 = 0.075;

/// Its name, what it makes of a value (with a chance of 0 to 1), and the published shares.
type Change = (&'static str, fn(f64, f64) -> f64, [f64; 3]);

/// What is done to the recent sample, and what Kolmogorov–Smirnov at 5 %, PSI above 0.1 and Wasserstein above a tenth of
/// a standard deviation were found to call drift.
const CHANGES: [Change; 5] = [
    ("none", |value, _| value, [0.033, 0.0, 0.030]),
    ("mean + 0.1 sd", |value, _| value + 0.1, [0.475, 0.0, 0.552]),
    ("mean + 0.2 sd", |value, _| value + 0.2, [0.963, 0.010, 0.990]),
    ("spread x 1.2", |value, _| 1.2 * value, [0.748, 0.043, 0.988]),
    ("a tenth at + 4 sd", |value, chance| if chance < 0.1 { value + 4.0 } else { value }, [1.0, 0.17, 1.0]),
];

/// Prints the table of power.
///
/// # Errors
///
/// The settings cannot be read.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let settings: Settings = config::Config::defaults().section("agents.drift")?;
    say(&format!(
        "\nDrift, {TRIALS} trials of {SIZE} against {SIZE} normal values; the verdict is that of {:?}",
        settings.comparison
    ))?;
    report.table("Drift, share of trials that is called drift")?;
    for (name, change, published) in CHANGES {
        let mut called = [0usize; 4];
        for trial in 0..TRIALS {
            let mut chance = Pcg32::seed_from_u64(trial as u64);
            let baseline: Vec<f64> = (0..SIZE).map(|_| normal(&mut chance)).collect();
            let recent: Vec<f64> = (0..SIZE).map(|_| change(normal(&mut chance), chance.random())).collect();
            let comparison = drift::compare(&baseline, &recent).context("samples are large enough")?;
            let moved = drift::wasserstein(&baseline, &recent).context("samples are not empty")?;
            let verdict = drift::verdict(&comparison, &settings.comparison);
            for (count, hit) in
                called.iter_mut().zip([comparison.p_value < 0.05, 0.1 < comparison.psi, 0.1 < moved, verdict])
            {
                *count += usize::from(hit);
            }
        }
        let [ks, psi, moved, verdict] = called.map(|count| count as f64 / TRIALS as f64);
        let must = if name == "none" { Must::AtMost(0.05 + CHANCE) } else { Must::AtLeast(published[0] - CHANCE) };
        report.figure(&format!("{name}: KS, p < 0.05"), ks, must, "", &format!("{}", published[0]))?;
        report.figure(&format!("{name}: PSI > 0.1"), psi, Must::Shown, "", &format!("{}", published[1]))?;
        report.figure(
            &format!("{name}: Wasserstein / sd > 0.1"),
            moved,
            Must::Shown,
            "",
            &format!("{}", published[2]),
        )?;
        let quiet = if name == "none" { Must::AtMost(0.005) } else { Must::Shown };
        report.figure(&format!("{name}: the product's verdict"), verdict, quiet, "", "")?;
    }
    Ok(())
}

/// A standard normal value.
///
/// # Source
///
/// Box & Muller, *A Note on the Generation of Random Normal Deviates*, Annals of Mathematical Statistics 29, 1958.
fn normal(chance: &mut Pcg32) -> f64 {
    let (one, other): (f64, f64) = (1.0 - chance.random::<f64>(), chance.random());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}
