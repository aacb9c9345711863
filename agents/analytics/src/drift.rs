//! Has a sensor's distribution changed, and by enough to matter?
//!
//! Compares two samples. Whether they differ is asked of three tests that share one chance of a false alarm, which
//! holds for any number of values: one of level, one of spread, and Kolmogorov–Smirnov for every other change of shape.
//! Significance alone is not drift: with enough data every difference is significant, so [`verdict`] asks for a size as
//! well. Knows nothing of time: whoever calls chooses the two samples, and [`Watch`] says when it is worth doing so.

pub mod adwin;
mod kolmogorov;
pub mod page_hinkley;
mod ranks;
mod watch;

pub use watch::Watch;

use crate::{bounded, robust};
use serde::{Deserialize, Serialize};

/// Square of the statistic times n·m/(n+m) above which the p-value is below 1e-15, by Massart's bound 2·exp(−2x).
const P_VANISHES: f64 = 18.0;
/// Above this many values in the larger sample the p-value is the asymptotic one.
const EXACT_MAX: usize = 10_000;
/// Bins of the population stability index, as the practice has them.
const PSI_BINS: usize = 10;
/// Values needed on either side before a comparison says anything.
const SAMPLE_MIN: usize = 8;
/// Shift at which [`effect_size`] is cut off, so that a constant baseline gives a finite number.
const EFFECT_MAX: f64 = 1_000.0;
/// Shares of the tests of level, spread and shape in the chance of a false alarm. Level has most, since a small shift is
/// what is hard to see: at 5 % it costs 0.02 of the power of the best test for it. A spread a fifth wider is six
/// standard errors at 1,000 values, and is seen with a twelfth.
const SHARES: [f64; 3] = [0.88, 0.08, 0.04];
/// Part on either side that [`spread_ratio`] leaves out.
const TAIL: f64 = 0.05;

/// From when on a difference counts as drift.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Largest chance that a difference as clear comes about although nothing changed.
    pub p_value_max: f64,
    /// Shift of the median, in robust standard deviations of the baseline, from which the level counts as changed.
    pub effect_size_min: f64,
    /// How many times as wide, or as narrow, the values must scatter for the spread to count as changed. Above 1.
    pub spread_ratio_min: f64,
    /// Population stability index, beyond what chance gives, from which the shape counts as changed.
    pub psi_min: f64,
}

/// How a recent sample differs from a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Largest distance between the two empirical distributions, 0..=1.
    pub ks_statistic: f64,
    /// Chance of a difference at least as clear, in level, spread or shape, if both samples came from one continuous
    /// distribution.
    pub p_value: f64,
    /// Population stability index over the baseline's deciles, at least 0.
    pub psi: f64,
    /// What that index is by chance, for samples of this size from one distribution.
    ///
    /// # Source
    ///
    /// Yurdakul & Naranjo, *Statistical Properties of the Population Stability Index*, Journal of Risk Model Validation
    /// 14, 2020: (1/n + 1/m) times a χ² variable with one degree of freedom fewer than there are bins.
    pub psi_by_chance: f64,
    /// Shift of the median in robust standard deviations of the baseline, with its sign, within ±1000.
    pub effect_size: f64,
    /// Width of the middle nine tenths, as a multiple of the baseline's, within 0.001..=1000.
    pub spread_ratio: f64,
}

impl Comparison {
    /// How much level, spread and shape have changed: each at least 0, and to be held against [`Settings::sizes`].
    pub fn sizes(&self) -> [f64; 3] {
        [self.effect_size.abs(), self.spread_ratio.ln().abs(), (self.psi - self.psi_by_chance).max(0.0)]
    }
}

impl Settings {
    /// How much level, spread and shape must have changed.
    pub fn sizes(&self) -> [f64; 3] {
        [self.effect_size_min, self.spread_ratio_min.ln(), self.psi_min]
    }
}

/// Compares `recent` with `baseline`, each in any order; `None` for fewer than 8 values on either side.
pub fn compare(baseline: &[f64], recent: &[f64]) -> Option<Comparison> {
    if baseline.len().min(recent.len()) < SAMPLE_MIN {
        return None;
    }
    let sorted = |values: &[f64]| robust::sorted(values).into_iter().map(bounded).collect::<Vec<_>>();
    let (was, is) = (sorted(baseline), sorted(recent));
    let (ks_statistic, shape) = kolmogorov_smirnov(&was, &is)?;
    let (level, spread) = ranks::p_values(&was, &is);
    let p_values = [level, spread, shape].into_iter().zip(SHARES).map(|(p_value, share)| p_value / share);
    Some(Comparison {
        ks_statistic,
        p_value: p_values.fold(1.0, f64::min),
        psi: psi(&was, &is, PSI_BINS)?,
        psi_by_chance: (PSI_BINS - 1) as f64 * (1.0 / was.len() as f64 + 1.0 / is.len() as f64),
        effect_size: effect_size(&was, &is)?,
        spread_ratio: spread_ratio(&was, &is)?,
    })
}

/// Whether a comparison amounts to drift: significant, and large in level, in spread or in shape.
pub fn verdict(comparison: &Comparison, settings: &Settings) -> bool {
    comparison.p_value <= settings.p_value_max
        && settings.sizes().into_iter().zip(comparison.sizes()).any(|(least, size)| least <= size)
}

/// Population stability index of `recent` against `n_bins` bins with equal shares of `baseline`.
///
/// Bins that coincide, because the baseline repeats values, are merged. Half a value is added to each bin, so that an
/// empty one gives a finite number. `None` when a sample is empty or there is no bin.
///
/// # Source
///
/// Siddiqi, *Credit Risk Scorecards*, 2006, chapter 9; the half value is Jeffreys' prior.
pub fn psi(baseline: &[f64], recent: &[f64], n_bins: usize) -> Option<f64> {
    if baseline.is_empty() || recent.is_empty() || n_bins == 0 {
        return None;
    }
    let ascending = robust::sorted(baseline);
    let mut edges = (1..n_bins)
        .map(|bin| robust::quantile_of_sorted(&ascending, bin as f64 / n_bins as f64))
        .collect::<Option<Vec<f64>>>()?;
    edges.dedup();
    let shares = |values: &[f64]| {
        let mut counts = vec![0.5; edges.len() + 1];
        for value in values {
            counts[edges.partition_point(|edge| edge < value)] += 1.0;
        }
        let total: f64 = counts.iter().sum();
        counts.into_iter().map(move |count| count / total)
    };
    Some(shares(baseline).zip(shares(recent)).map(|(was, is)| (is - was) * (is / was).ln()).sum())
}

/// Shift of the median from `baseline` to `recent`, in robust standard deviations of the baseline, within ±1000.
///
/// `None` for fewer than two baseline values or an empty recent sample.
fn effect_size(baseline: &[f64], recent: &[f64]) -> Option<f64> {
    let shift = robust::median(recent)? - robust::median(baseline)?;
    let spread = robust::robust_sd(baseline)?;
    Some(if shift == 0.0 { 0.0 } else { (shift / spread).clamp(-EFFECT_MAX, EFFECT_MAX) })
}

/// Width of the middle nine tenths of `recent` as a multiple of that of `baseline`, within 0.001..=1000.
///
/// Where one of them has no such width, because it mostly repeats a value, the standard deviations are compared. `None`
/// for fewer than two values on either side.
fn spread_ratio(baseline: &[f64], recent: &[f64]) -> Option<f64> {
    if baseline.len().min(recent.len()) < 2 {
        return None;
    }
    let width = |values: &[f64]| {
        let ascending = robust::sorted(values);
        Some(robust::quantile_of_sorted(&ascending, 1.0 - TAIL)? - robust::quantile_of_sorted(&ascending, TAIL)?)
    };
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
    };
    let (mut was, mut is) = (width(baseline)?, width(recent)?);
    if was <= 0.0 || is <= 0.0 {
        (was, is) = (deviation(baseline), deviation(recent));
    }
    Some(if was == is { 1.0 } else { (is / was).clamp(1.0 / EFFECT_MAX, EFFECT_MAX) })
}

/// Two-sample Kolmogorov–Smirnov test, two-sided: the statistic and its p-value.
///
/// The p-value is exact while both samples have at most 10,000 values, asymptotic above. `None` when one is empty.
///
/// # Source
///
/// Hodges, *The Significance Probability of the Smirnov Two-Sample Test*, Arkiv för Matematik 3, 1958; equal to
/// `scipy.stats.ks_2samp` with its default method.
pub fn kolmogorov_smirnov(one: &[f64], other: &[f64]) -> Option<(f64, f64)> {
    let (one, other) = (robust::sorted(one), robust::sorted(other));
    let (n, m) = (one.len(), other.len());
    if n == 0 || m == 0 {
        return None;
    }
    let (mut i, mut j, mut gap) = (0, 0, 0u64);
    while i < n && j < m {
        let value = one[i].min(other[j]);
        i += one[i..].iter().take_while(|seen| **seen <= value).count();
        j += other[j..].iter().take_while(|seen| **seen <= value).count();
        gap = gap.max((i as u64 * m as u64).abs_diff(j as u64 * n as u64));
    }
    let statistic = gap as f64 / (n as f64 * m as f64);
    let p_value = if n.max(m) <= EXACT_MAX { exact_p(n, m, gap) } else { asymptotic_p(n, m, statistic) };
    Some((statistic, p_value.clamp(0.0, 1.0)))
}

/// Chance that a random path from (0, 0) to (n, m) somewhere has |i·m − j·n| of at least `gap`.
fn exact_p(n: usize, m: usize, gap: u64) -> f64 {
    if gap == 0 {
        return 1.0;
    }
    if n == m {
        return exact_p_of_equal_sizes(n, (gap / n as u64) as usize);
    }
    if P_VANISHES < gap as f64 * gap as f64 / (n as f64 * m as f64 * (n + m) as f64) {
        return 0.0;
    }
    exact_p_by_counting(n, m, gap)
}

/// [`exact_p`] for any sizes, in time proportional to the paths' room: about n·m times the statistic.
fn exact_p_by_counting(n: usize, m: usize, gap: u64) -> f64 {
    // Column j holds, for each i, the chance that a path to (i, j) has been outside. Only the band inside differs
    // from 1, and it moves up with j.
    let (gap, n_wide, m_wide) = (gap as i64, n as i64, m as i64);
    let mut outside = vec![1.0f64; n + 1];
    for j in 0..=m_wide {
        // |i·m − j·n| < gap
        let low = (j * n_wide - gap).div_euclid(m_wide) + 1;
        let high = (j * n_wide + gap - 1).div_euclid(m_wide);
        let low = low.max(0);
        if 0 < low {
            outside[low as usize - 1] = 1.0;
        }
        for i in low..=high.min(n_wide) {
            let at = i as usize;
            outside[at] = match (i, j) {
                (0, 0) => 0.0,
                (0, _) => outside[0],
                (_, 0) => outside[at - 1],
                _ => (i as f64 * outside[at - 1] + j as f64 * outside[at]) / (i + j) as f64,
            };
        }
    }
    outside[n]
}

/// [`exact_p`] for two samples of `n`, where a path has to come `steps` off the diagonal, by the reflection principle.
fn exact_p_of_equal_sizes(n: usize, steps: usize) -> f64 {
    // Sum over k of (−1)^(k+1) · 2 · C(2n, n − k·steps) / C(2n, n), nested from the last term inwards so that nothing
    // grows or cancels.
    let mut p = 0.0;
    for k in (1..=n / steps).rev() {
        let from = (k - 1) * steps;
        let ratio: f64 = (from..from + steps).map(|off| (n - off) as f64 / (n + off + 1) as f64).product();
        p = ratio * (1.0 - p);
    }
    2.0 * p
}

/// P-value from the distribution of the one-sample test with as many values as the two samples together are worth.
///
/// # Source
///
/// Equal to `scipy.stats.ks_2samp` with `method="asymp"`.
fn asymptotic_p(n: usize, m: usize, statistic: f64) -> f64 {
    let worth = n as f64 * m as f64 / (n + m) as f64;
    kolmogorov::survival(worth.round_ties_even().max(1.0), statistic)
}

/// Distance between two distributions: what it costs to move one onto the other, in the unit of the values.
///
/// Values in any order; `None` when a sample is empty.
///
/// # Source
///
/// Vallender, *Calculation of the Wasserstein Distance Between Probability Distributions on the Line*, Theory of
/// Probability and its Applications 18, 1974: the area between the two distribution functions.
pub fn wasserstein(one: &[f64], other: &[f64]) -> Option<f64> {
    let (one, other) = (robust::sorted(one), robust::sorted(other));
    let (n, m) = (one.len(), other.len());
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut at = one.first()?.min(*other.first()?);
    while i < n || j < m {
        let next = match (one.get(i), other.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(a), None) => *a,
            (None, b) => *b?,
        };
        area += (next - at) * (i as f64 / n as f64 - j as f64 / m as f64).abs();
        at = next;
        i += one[i..].iter().take_while(|value| **value <= at).count();
        j += other[j..].iter().take_while(|value| **value <= at).count();
    }
    Some(area)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    use proptest::prelude::*;

    /// Any finite value: ordinary ones, those of any size, and the largest there are.
    pub(crate) fn finite() -> impl Strategy<Value = f64> {
        let any_size = POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO;
        prop_oneof![-50.0..50.0, any_size, largest()]
    }

    fn largest() -> impl Strategy<Value = f64> {
        prop::sample::select(vec![f64::MIN, f64::MAX])
    }

    fn sample() -> impl Strategy<Value = Vec<f64>> {
        prop_oneof![prop::collection::vec(finite(), 8..40), prop::collection::vec(largest(), 8..40)]
    }

    const SETTINGS: Settings =
        Settings { p_value_max: 0.001, effect_size_min: 0.5, spread_ratio_min: 1.41, psi_min: 0.25 };

    /// `n` values spread over 0..1 + `shift` by a multiplicative sequence, the same in Python and here.
    fn sequence(n: usize, factor: usize, modulus: usize, shift: f64) -> Vec<f64> {
        (0..n).map(|i| ((i * factor) % modulus) as f64 / modulus as f64 + shift).collect()
    }

    fn check(n: usize, m: usize, shift: f64, statistic: f64, p_value: f64) {
        let one = if n <= 101 { sequence(n, 37, 101, 0.0) } else { sequence(n, 7_919, 10_007, 0.0) };
        let other = if m <= 103 { sequence(m, 53, 103, shift) } else { sequence(m, 6_007, 10_009, shift) };
        let (d, p) = kolmogorov_smirnov(&one, &other).unwrap();
        assert!((d - statistic).abs() < 1e-12 && (p - p_value).abs() < 1e-9, "n {n} m {m}: {d} {p}");
    }

    #[test]
    fn statistic_and_p_value_are_those_of_scipy() {
        // scipy.stats.ks_2samp, version 1.17, default method.
        check(10, 10, 0.3, 0.4, 0.41752365281777043);
        check(7, 12, 0.25, 0.42857142857142855, 0.2939191871080416);
        check(25, 40, 0.2, 0.24, 0.2881448317933554);
        check(100, 100, 0.1, 0.12, 0.469506448503778);
        check(150, 90, 0.12, 0.12666666666666668, 0.30441907887313896);
        check(1000, 1000, 0.05, 0.051, 0.14836452078962484);
        check(1000, 900, 0.04, 0.041, 0.390960598647696);
        check(2000, 1500, 0.03, 0.030333333333333334, 0.4024856213768265);
        check(12, 12, 0.0, 0.3333333333333333, 0.5360977695073805);
    }

    #[test]
    fn large_samples_have_the_asymptotic_p_value_of_scipy() {
        // scipy.stats.ks_2samp, version 1.17, which takes it by itself for more than 10,000 values.
        for (n, m, shift, statistic, p_value) in [
            (20_000, 15_000, 0.02, 0.020100000000000007, 0.0019377338691077008),
            (20_000, 60, 0.2, 0.2001, 0.01395430083651028),
            (12_000, 12_000, 0.015, 0.015083333333333337, 0.1290832348687464),
        ] {
            check(n, m, shift, statistic, p_value);
        }
    }

    #[test]
    fn the_cost_of_moving_one_sample_onto_another_is_that_of_scipy() {
        assert!((wasserstein(&[1.0, 2.0, 3.0, 4.0], &[2.0, 2.0, 5.0]).unwrap() - 0.8333333333333334).abs() < 1e-12);
        assert_eq!(wasserstein(&[1.0, 2.0], &[3.5, 4.5]), Some(2.5));
        assert_eq!(wasserstein(&[], &[1.0]), None);
    }

    #[test]
    fn disjoint_samples_of_three_have_the_chance_of_two_orders_in_twenty() {
        let (d, p) = kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!(d == 1.0 && (p - 0.1).abs() < 1e-15, "{d} {p}");
        assert_eq!(kolmogorov_smirnov(&[1.0], &[]), None);
    }

    #[test]
    fn the_asymptotic_p_value_meets_the_exact_one() {
        let gap = 20_000u64;
        let (exact, limit) = (exact_p(1_000, 1_001, gap), asymptotic_p(1_000, 1_001, gap as f64 / 1_001_000.0));
        assert!((exact - limit).abs() < 0.01, "{exact} {limit}");
        assert!((asymptotic_p(20_000, 20_000, 0.0001) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_stability_index_is_computed_as_by_hand() {
        // One edge at the median 2.5; halves 2.5/5 each against 4.5/5 and 0.5/5 after half a value more in each.
        let expected = (0.9f64 - 0.5) * (0.9f64 / 0.5).ln() + (0.1 - 0.5) * (0.1f64 / 0.5).ln();
        assert!((psi(&[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0, 2.0, 2.0], 2).unwrap() - expected).abs() < 1e-12);
        assert_eq!(psi(&[1.0, 2.0], &[], 10), None);
    }

    #[test]
    fn a_significant_trifle_is_not_drift_and_a_shift_is() {
        let baseline = sequence(5_000, 7_919, 10_007, 0.0);
        let trifle = compare(&baseline, &sequence(5_000, 6_007, 10_009, 0.05)).unwrap();
        assert!(trifle.p_value < 1e-4 && !verdict(&trifle, &SETTINGS), "{trifle:?}");
        let shift = compare(&baseline, &sequence(200, 6_007, 10_009, 0.4)).unwrap();
        assert!(verdict(&shift, &SETTINGS) && 0.5 < shift.effect_size, "{shift:?}");
        assert_eq!(compare(&baseline, &[1.0; 7]), None);
    }

    #[test]
    fn a_constant_baseline_gives_finite_numbers() {
        let comparison = compare(&[5.0; 50], &[6.0; 50]).unwrap();
        assert_eq!((comparison.effect_size, comparison.spread_ratio), (1_000.0, 1.0));
        assert!(comparison.psi.is_finite() && verdict(&comparison, &SETTINGS));
        assert!(!verdict(&compare(&[5.0; 50], &[5.0; 50]).unwrap(), &SETTINGS));
    }

    #[test]
    fn a_wider_spread_is_drift_although_the_level_is_the_same() {
        let centred =
            |n: usize, width: f64| -> Vec<f64> { (0..n).map(|i| width * (i as f64 / n as f64 - 0.5)).collect() };
        let wider = compare(&centred(400, 1.0), &centred(300, 1.6)).unwrap();
        assert!((wider.spread_ratio - 1.6).abs() < 0.02 && wider.effect_size.abs() < 0.05, "{wider:?}");
        assert!(verdict(&wider, &SETTINGS));
        // One blip in a hundred more hardly changes the spread of a sensor that mostly stands still.
        let blips = |n: usize| -> Vec<f64> { (0..1_000).map(|i| f64::from(u8::from(i < n))).collect() };
        assert!((spread_ratio(&blips(40), &blips(60)).unwrap() - 1.21).abs() < 0.01);
        assert_eq!(spread_ratio(&[1.0; 9], &[1.0, 2.0]), Some(1_000.0));
        assert_eq!(spread_ratio(&[1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn few_values_have_no_shape_to_speak_of() {
        // Given samples of 20, whose stability index is far above the usual bound by chance,
        let comparison = compare(&sequence(20, 37, 101, 0.0), &sequence(20, 53, 103, 0.0)).unwrap();
        assert!(0.5 < comparison.psi_by_chance && SETTINGS.psi_min < comparison.psi, "{comparison:?}");
        // then that alone is no change.
        assert!(comparison.sizes()[2] < SETTINGS.psi_min, "{comparison:?}");
    }

    proptest! {
        #[test]
        fn the_order_of_samples_and_of_values_does_not_matter(
            one in prop::collection::vec(-50i32..50, 1..30), other in prop::collection::vec(-50i32..50, 1..30),
        ) {
            let values = |sample: &[i32]| sample.iter().copied().map(f64::from).collect::<Vec<_>>();
            let (mut one, other) = (values(&one), values(&other));
            let there = kolmogorov_smirnov(&one, &other).unwrap();
            one.reverse();
            let back = kolmogorov_smirnov(&other, &one).unwrap();
            prop_assert!((there.0 - back.0).abs() < 1e-12 && (there.1 - back.1).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&there.1));
        }

        #[test]
        fn whatever_finite_values_come_a_comparison_is_finite(baseline in sample(), recent in sample()) {
            let Comparison { ks_statistic, p_value, psi, psi_by_chance, effect_size, spread_ratio } =
                compare(&baseline, &recent).unwrap();
            let said = [ks_statistic, p_value, psi, psi_by_chance, effect_size, spread_ratio];
            prop_assert!(said.iter().all(|number| number.is_finite()), "{:?}", said);
        }

        #[test]
        fn both_exact_methods_agree(n in 2usize..40, steps in 1usize..40) {
            let steps = steps.min(n);
            let closed = exact_p_of_equal_sizes(n, steps);
            let counted = exact_p_by_counting(n, n, (steps * n) as u64);
            prop_assert!((closed - counted).abs() < 1e-12, "{closed} {counted}");
        }
    }
}
