//! Rank tests of level and of spread by normal scores.
//!
//! Only the order of the values counts, so the chances hold for any distribution; and for normal values the tests lose
//! nothing against the best ones, those of means and of variances.

use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::SQRT_2;

/// Skewness below which a sum is taken as symmetric: its correction would only lose digits.
const SKEWNESS_MIN: f64 = 1e-6;

/// Chances of a difference as large as between two samples of one distribution: in level, and in spread.
///
/// Both samples in ascending order and not empty.
///
/// # Source
///
/// Level: van der Waerden, *Order Tests for the Two-Sample Problem*, Indagationes Mathematicae 14, 1952. Spread: Klotz,
/// *Nonparametric Tests for Scale*, Annals of Mathematical Statistics 33, 1962. Equal values share the mean of their
/// scores.
pub(super) fn p_values(one: &[f64], other: &[f64]) -> (f64, f64) {
    let (n, m) = (one.len() as f64, other.len() as f64);
    let (mut level, mut spread) = (Scores::default(), Scores::default());
    let total = n + m;
    let (mut i, mut j) = (0, 0);
    while i < one.len() || j < other.len() {
        let value = one.get(i).copied().unwrap_or(f64::INFINITY).min(other.get(j).copied().unwrap_or(f64::INFINITY));
        let equal = |rest: &[f64]| rest.iter().take_while(|seen| **seen <= value).count();
        let (of_one, of_other) = (equal(&one[i..]), equal(&other[j..]));
        let ranks = i + j + 1..=i + j + of_one + of_other;
        let (sum, squares) = ranks.fold((0.0, 0.0), |(sum, squares), rank| {
            let score = quantile(rank as f64 / (total + 1.0));
            (sum + score, squares + score * score)
        });
        let (all, recent) = ((of_one + of_other) as f64, of_other as f64);
        level.add(sum / all, all, recent);
        spread.add(squares / all, all, recent);
        (i, j) = (i + of_one, j + of_other);
    }
    (level.p_value(n, m), spread.p_value(n, m))
}

/// Groups of equal values: the score of each, how many there are, and how many of them the other sample holds.
#[derive(Default)]
struct Scores(Vec<(f64, f64, f64)>);

impl Scores {
    fn add(&mut self, score: f64, all: f64, of_other: f64) {
        self.0.push((score, all, of_other));
    }

    /// Two-sided chance of the sum that the other sample has, were its `m` values drawn from all without a choice.
    fn p_value(&self, n: f64, m: f64) -> f64 {
        let total = n + m;
        let mean = self.0.iter().map(|(score, all, _)| score * all).sum::<f64>() / total;
        let moment =
            |power: i32| self.0.iter().map(|(score, all, _)| (score - mean).powi(power) * all).sum::<f64>() / total;
        let variance = n * m / (total - 1.0) * moment(2);
        if variance <= 0.0 {
            return 1.0;
        }
        let sum: f64 = self.0.iter().map(|(score, _, of_other)| (score - mean) * of_other).sum();
        let skewness = n * m * (n - m) / ((total - 1.0) * (total - 2.0)) * moment(3) / variance.powf(1.5);
        erfc(normalised(sum / variance.sqrt(), skewness).abs() / SQRT_2)
    }
}

/// The normal value that is as far out as `z` is in a distribution of that skewness.
///
/// # Source
///
/// Wilson & Hilferty, *The Distribution of Chi-Square*, PNAS 17, 1931, for a gamma distribution of any skewness.
fn normalised(z: f64, skewness: f64) -> f64 {
    if skewness.abs() < SKEWNESS_MIN {
        return z;
    }
    let base = (1.0 + 0.5 * skewness * z).max(0.0);
    6.0 / skewness * (base.cbrt() - 1.0) + skewness / 6.0
}

/// The normal value below which that share lies.
fn quantile(share: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    #[test]
    fn scores_are_the_quantiles_of_the_normal_distribution() {
        // scipy.stats.norm.ppf, version 1.17.
        for (share, expected) in [(0.5, 0.0), (0.975, 1.959963984540054), (0.001, -3.090232306167813)] {
            assert!((quantile(share) - expected).abs() < 1e-9, "{share}: {}", quantile(share));
        }
    }

    #[test]
    fn every_value_alike_is_no_difference() {
        assert_eq!(p_values(&[2.0; 9], &[2.0; 12]), (1.0, 1.0));
    }

    #[test]
    fn a_shift_is_one_of_level_and_a_wider_sample_one_of_spread() {
        let even = |n: usize, centre: f64, width: f64| -> Vec<f64> {
            (0..n).map(|i| centre + width * ((i as f64 + 0.5) / n as f64 - 0.5)).collect()
        };
        let (level, spread) = p_values(&even(200, 0.0, 1.0), &even(150, 0.15, 1.0));
        assert!(level < 1e-3 && 0.05 < spread, "{level} {spread}");
        let (level, spread) = p_values(&even(200, 0.0, 1.0), &even(150, 0.0, 1.6));
        assert!(0.5 < level && spread < 1e-6, "{level} {spread}");
    }

    #[test]
    fn chances_are_those_of_all_ways_to_draw_the_sample() {
        // Given samples of 9 and 7 values, two of them equal,
        let (one, other) = ([0.1, 0.4, 0.9, 1.3, 1.3, 2.2, 2.9, 3.1, 4.0], [1.3, 2.5, 3.3, 3.7, 4.4, 5.0, 9.0]);
        let pooled: Vec<f64> = one.iter().chain(&other).copied().collect();
        let split = |mask: u32| -> (Vec<f64>, Vec<f64>) {
            let drawn = |wanted: bool| {
                let chosen = pooled.iter().enumerate().filter(|(idx, _)| (mask >> idx & 1 == 1) == wanted);
                crate::robust::sorted(&chosen.map(|(_, value)| *value).collect::<Vec<_>>())
            };
            (drawn(false), drawn(true))
        };
        // when each of the 11,440 ways to draw the seven is tried,
        let (level, spread) = p_values(&one, &other);
        let ways: Vec<(f64, f64)> = (0..1u32 << 16)
            .filter(|mask| mask.count_ones() == 7)
            .map(split)
            .map(|(one, other)| p_values(&one, &other))
            .collect();
        let share =
            |hit: &dyn Fn(&(f64, f64)) -> bool| ways.iter().filter(|way| hit(way)).count() as f64 / ways.len() as f64;
        // then the chance is the share of ways that are as far out.
        let (exact_level, exact_spread) = (share(&|way| way.0 <= level + 1e-12), share(&|way| way.1 <= spread + 1e-12));
        assert!((level - exact_level).abs() < 0.01, "{level} {exact_level}");
        assert!((spread - exact_spread).abs() < 0.02, "{spread} {exact_spread}");
    }

    #[test]
    fn rare_chances_hold_for_samples_of_very_unequal_size() {
        let mut chance = Pcg32::seed_from_u64(3);
        let mut sample = |n: usize| crate::robust::sorted(&(0..n).map(|_| chance.random()).collect::<Vec<f64>>());
        let trials = 4_000;
        let rare =
            (0..trials).map(|_| p_values(&sample(400), &sample(20))).filter(|(_, spread)| *spread < 0.01).count();
        // Three standard errors above 40; without the correction for skewness it is about 60.
        assert!(rare <= 58, "{rare} of {trials}");
    }
}
