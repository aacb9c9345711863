//! The comparison of two samples: what it finds, and what it takes for drift although nothing changed.
//!
//! Seeded normal values against values that have changed in one way each, and against values that have not changed, for
//! samples of every size; the share of trials that a test calls drift. Whether the statistics equal the reference
//! implementation is held by unit tests.

use crate::report::{Must, Report, say};
use agents::drift::Settings;
use analytics::drift::{self, Comparison};
use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

const SIZE: usize = 1_000;
const TRIALS: usize = 4_000;
/// Largest chance of a false alarm at which power is compared.
const LEVEL: f64 = 0.05;
/// Difference of the means of two samples of [`SIZE`] at which the best test calls drift: 1.96 standard errors.
const BEST_BOUND: f64 = 1.959_963_984_540_054 * 0.044_721_359_549_995_79;
/// How much less often than the best test the product's may find a shift.
const LOSS_MAX: f64 = 0.03;
/// Sizes of two samples of which nothing has changed, and how often they are drawn.
const STEADY: [(usize, usize, usize); 9] = [
    (30, 30, 10_000),
    (100, 100, 10_000),
    (300, 300, 10_000),
    (336, 48, 10_000),
    (1_000, 30, 4_000),
    (1_000, 1_000, 4_000),
    (10_000, 10_000, 1_000),
    (100_000, 300, 1_000),
    (100_000, 100_000, 300),
];

/// Its name, what it makes of a value (with a chance of 0 to 1), and the published shares.
type Change = (&'static str, fn(f64, f64) -> f64, [f64; 3]);

/// What is done to the recent sample, and what Kolmogorov–Smirnov at 5 %, PSI above 0.1 and Wasserstein above a tenth of
/// a standard deviation were found to call drift.
const CHANGES: [Change; 4] = [
    ("mean + 0.1 sd", |value, _| value + 0.1, [0.475, 0.0, 0.552]),
    ("mean + 0.2 sd", |value, _| value + 0.2, [0.963, 0.010, 0.990]),
    ("spread x 1.2", |value, _| 1.2 * value, [0.748, 0.043, 0.988]),
    ("a tenth at + 4 sd", |value, chance| if chance < 0.1 { value + 4.0 } else { value }, [1.0, 0.17, 1.0]),
];

/// Prints the tables of power and of false alarms.
///
/// # Errors
///
/// The settings cannot be read.
pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    let settings: Settings = config::Config::defaults().section("agents.drift")?;
    say(&format!("\nDrift; the verdict is that of {:?}", settings.comparison))?;
    report.table(&format!("Drift, share of {TRIALS} trials of {SIZE} against {SIZE} values that is called drift"))?;
    for (name, change, published) in CHANGES {
        let mut called = [0usize; 6];
        for trial in 0..TRIALS {
            let mut chance = Pcg32::seed_from_u64(trial as u64);
            let baseline = normals(SIZE, &mut chance);
            let recent: Vec<f64> = (0..SIZE).map(|_| change(normal(&mut chance), chance.random())).collect();
            let comparison = compared(&baseline, &recent)?;
            let (_, by_shape) = drift::kolmogorov_smirnov(&baseline, &recent).context("samples are not empty")?;
            let moved = drift::wasserstein(&baseline, &recent).context("samples are not empty")?;
            let hits = [
                BEST_BOUND < (mean(&recent) - mean(&baseline)).abs(),
                comparison.p_value < LEVEL,
                drift::verdict(&comparison, &settings.comparison),
                by_shape < LEVEL,
                0.1 < comparison.psi,
                0.1 < moved,
            ];
            called.iter_mut().zip(hits).for_each(|(count, hit)| *count += usize::from(hit));
        }
        let [best, ours, verdict, by_shape, psi, moved] = called.map(|count| count as f64 / TRIALS as f64);
        let least = if name.starts_with("mean") { best - LOSS_MAX } else { 0.99 };
        let least = (1_000.0 * least).round() / 1_000.0;
        report.figure(&format!("{name}: p < {LEVEL}"), ours, Must::AtLeast(least), "", "")?;
        report.figure(&format!("{name}: best test of means"), best, Must::Shown, "", "")?;
        report.figure(&format!("{name}: KS, p < {LEVEL}"), by_shape, Must::Shown, "", &format!("{}", published[0]))?;
        report.figure(&format!("{name}: PSI > 0.1"), psi, Must::Shown, "", &format!("{}", published[1]))?;
        report.figure(
            &format!("{name}: Wasserstein / sd > 0.1"),
            moved,
            Must::Shown,
            "",
            &format!("{}", published[2]),
        )?;
        report.figure(&format!("{name}: large enough for a verdict"), verdict, Must::Shown, "", "")?;
    }
    report.table("Drift, share of trials without a change that is called drift")?;
    for (n, m, trials) in STEADY {
        let (mut called, mut verdicts) = (0usize, 0usize);
        for trial in 0..trials {
            let mut chance = Pcg32::seed_from_u64((trial + n + m) as u64);
            let comparison = compared(&normals(n, &mut chance), &normals(m, &mut chance))?;
            called += usize::from(comparison.p_value < LEVEL);
            verdicts += usize::from(drift::verdict(&comparison, &settings.comparison));
        }
        let share = |count: usize| count as f64 / trials as f64;
        // Three standard errors above what is allowed: more is no chance.
        let most = LEVEL + 3.0 * (LEVEL * (1.0 - LEVEL) / trials as f64).sqrt();
        let most = (1_000.0 * most).round() / 1_000.0;
        report.figure(&format!("{n} against {m}: p < {LEVEL}"), share(called), Must::AtMost(most), "", "0.033")?;
        let most = settings.comparison.p_value_max;
        let most = (1e4 * (most + 3.0 * (most / trials as f64).sqrt())).round() / 1e4;
        report.figure(&format!("{n} against {m}: the verdict"), share(verdicts), Must::AtMost(most), "", "")?;
    }
    Ok(())
}

fn compared(baseline: &[f64], recent: &[f64]) -> anyhow::Result<Comparison> {
    drift::compare(baseline, recent).context("samples are large enough")
}

fn normals(n: usize, chance: &mut Pcg32) -> Vec<f64> {
    (0..n).map(|_| normal(chance)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
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
