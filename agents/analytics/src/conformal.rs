//! Intervals whose coverage follows from errors on rows that the model had not seen.
//!
//! Assumes nothing of the model or of the errors' distribution, only that the next row is like those. Where errors
//! differ in size along the prediction, they are compared with their like: see [`Bands`].

use serde::{Deserialize, Serialize};

/// The value that the next of `errors` stays at or below with a chance of at least `level`, above 0 and below 1.
///
/// `None` when there are too few errors to promise that.
///
/// # Source
///
/// Vovk, Gammerman & Shafer, *Algorithmic Learning in a Random World*, 2005, ch. 4: the ⌈(n+1)·level⌉-th smallest.
pub fn quantile(errors: &[f64], level: f64) -> Option<f64> {
    let mut sorted = errors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = ((sorted.len() + 1) as f64 * level - 1e-9).ceil() as usize;
    rank.checked_sub(1).and_then(|idx| sorted.get(idx)).copied()
}

/// The shortest interval that holds the next of `errors` with a chance of about `level`, above 0 and below 1.
fn shortest(errors: &[f64], level: f64) -> Option<(f64, f64)> {
    let mut sorted = errors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n_inside = ((sorted.len() + 1) as f64 * level - 1e-9).ceil() as usize;
    let ends = sorted.windows(n_inside.max(1)).map(|inside| (inside[0], inside[inside.len() - 1]));
    ends.min_by(|one, other| (one.1 - one.0).total_cmp(&(other.1 - other.0)))
}

/// How far the truth lies below and above a prediction, by the size of the prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// Prediction at the middle of each band, in order.
    middles: Vec<f64>,
    /// Errors (truth − prediction) between which the next one lies.
    errors: Vec<(f64, f64)>,
}

impl Bands {
    /// Sorts rows by prediction into at most `n_bands` bands of the same size and takes in each the shortest interval
    /// of errors that holds `level` of them: where the truth cannot exceed a cap, none of the misses is spent there.
    ///
    /// `None` when there are too few rows for even one band.
    pub fn fit(predicted: &[f64], truths: &[f64], level: f64, n_bands: usize) -> Option<Self> {
        let mut rows: Vec<(f64, f64)> = predicted.iter().zip(truths).map(|(one, other)| (*one, other - one)).collect();
        rows.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let size_min = (level / (1.0 - level)).ceil() as usize;
        let n_bands = n_bands.min(rows.len() / size_min.max(1)).max(1);
        let (mut middles, mut errors) = (Vec::new(), Vec::new());
        for band in rows.chunks(rows.len().div_ceil(n_bands).max(1)) {
            let own: Vec<f64> = band.iter().map(|row| row.1).collect();
            if let Some(shortest) = shortest(&own, level) {
                middles.push(band[band.len() / 2].0);
                errors.push(shortest);
            }
        }
        (!middles.is_empty()).then_some(Self { middles, errors })
    }

    /// The interval around `predicted`; between the middles of two bands it is interpolated.
    pub fn around(&self, predicted: f64) -> (f64, f64) {
        let after = self.middles.partition_point(|middle| *middle < predicted);
        let (low, high) = match (after.checked_sub(1), after < self.middles.len()) {
            (Some(before), true) => {
                let (from, to) = (self.middles[before], self.middles[after]);
                let share = if from < to { (predicted - from) / (to - from) } else { 0.0 };
                let mix = |one: f64, other: f64| one + share * (other - one);
                let (one, other) = (self.errors[before], self.errors[after]);
                (mix(one.0, other.0), mix(one.1, other.1))
            }
            (Some(before), false) => self.errors[before],
            (None, _) => self.errors[0],
        };
        (predicted + low, predicted + high)
    }
}

/// Share of `truths` that lie in their interval. `None` for no row.
pub fn coverage(intervals: &[(f64, f64)], truths: &[f64]) -> Option<f64> {
    let inside = intervals.iter().zip(truths).filter(|((low, high), truth)| low <= truth && *truth <= high).count();
    (!truths.is_empty()).then(|| inside as f64 / truths.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    #[test]
    fn the_quantile_is_an_order_statistic() {
        let errors: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(quantile(&errors, 0.9), Some(9.0));
        assert_eq!(quantile(&errors, 0.5), Some(5.0));
        // Nine errors cannot promise more than nine in ten.
        assert_eq!(quantile(&errors, 0.91), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn bands_follow_the_spread_and_cover_what_they_promise() {
        // Given errors that grow with the prediction,
        let draw = |seed: u64, n: usize| -> (Vec<f64>, Vec<f64>) {
            let mut chance = Pcg32::seed_from_u64(seed);
            let predicted: Vec<f64> = (0..n).map(|_| 100.0 * chance.random::<f64>()).collect();
            let truths = predicted.iter().map(|value| value + value * (chance.random::<f64>() - 0.5)).collect();
            (predicted, truths)
        };
        let (predicted, truths) = draw(1, 4_000);
        let bands = Bands::fit(&predicted, &truths, 0.9, 10).unwrap();
        let (low, high) = bands.around(90.0);
        assert!((low - 49.5).abs() < 6.0 && (high - 130.5).abs() < 6.0, "{low} {high}");
        // then other rows lie inside as often as promised, small and large alike.
        let (predicted, truths) = draw(2, 4_000);
        // (in the lowest band the errors of its upper end count for the lower, which is on the safe side).
        for part in [10.0..40.0, 40.0..70.0, 70.0..100.0] {
            let rows: Vec<usize> = (0..4_000).filter(|row| part.contains(&predicted[*row])).collect();
            let intervals: Vec<(f64, f64)> = rows.iter().map(|row| bands.around(predicted[*row])).collect();
            let own: Vec<f64> = rows.iter().map(|row| truths[*row]).collect();
            let share = coverage(&intervals, &own).unwrap();
            assert!((0.87..0.94).contains(&share), "{part:?} {share}");
        }
    }

    #[test]
    fn too_few_rows_promise_nothing() {
        assert_eq!(Bands::fit(&[1.0; 8], &[1.0; 8], 0.9, 5), None);
        assert!(Bands::fit(&[1.0; 9], &[1.0; 9], 0.9, 5).is_some());
        assert_eq!(coverage(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn the_rows_themselves_are_covered(rows in prop::collection::vec((0.0..1.0f64, -1.0..1.0f64), 40..200)) {
            let (predicted, truths): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
            let bands = Bands::fit(&predicted, &truths, 0.9, 1).unwrap();
            // What is taken from a number and added again may be off by a rounding.
            let around = |value: &f64| {
                let (low, high) = bands.around(*value);
                (low - 1e-9, high + 1e-9)
            };
            let intervals: Vec<(f64, f64)> = predicted.iter().map(around).collect();
            prop_assert!(0.9 <= coverage(&intervals, &truths).unwrap() + 1e-9);
        }
    }
}
