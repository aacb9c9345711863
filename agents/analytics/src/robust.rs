//! Order statistics that a few wild values cannot move.
//!
//! All functions take finite values in any order and copy what they must sort. What cannot be computed is `None`,
//! never a made-up number.

/// Makes the median absolute deviation an estimate of the standard deviation of normal data.
///
/// # Source
///
/// Rousseeuw & Croux, *Alternatives to the Median Absolute Deviation*, JASA 88, 1993, section 1: 1 / Φ⁻¹(3/4).
pub const MAD_TO_SD: f64 = 1.482_602_218_505_602;

/// Pairs that [`theil_sen`] looks at, at most; enough for all pairs of 200 points.
const PAIRS_MAX: usize = 20_000;

/// `values` in ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    // Whole numbers in the same order are compared, and so sorted, a third faster.
    let mut keys: Vec<i64> = values.iter().map(|value| flipped(value.to_bits() as i64)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| f64::from_bits(flipped(key) as u64)).collect()
}

/// The bits of a number as one that is ordered as [`f64::total_cmp`] has it, and back.
fn flipped(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Quantile of values that are already in ascending order, by linear interpolation.
///
/// `probability` is in 0..=1. `None` when `ascending` is empty.
///
/// # Source
///
/// Hyndman & Fan, *Sample Quantiles in Statistical Packages*, The American Statistician 50, 1996, definition 7.
pub fn quantile_of_sorted(ascending: &[f64], probability: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let position = probability.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(ascending[below] + (position - below as f64) * (ascending[above] - ascending[below]))
}

/// Quantile of `values`, see [`quantile_of_sorted`].
pub fn quantile(values: &[f64], probability: f64) -> Option<f64> {
    quantile_of_sorted(&sorted(values), probability)
}

/// Median of `values`; `None` when there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Median absolute deviation from the median, in the unit of `values` and without the factor for normal data.
pub fn mad(values: &[f64]) -> Option<f64> {
    let centre = median(values)?;
    median(&values.iter().map(|value| (value - centre).abs()).collect::<Vec<_>>())
}

/// Spread of `values` as a standard deviation that outliers hardly move.
///
/// The scaled median absolute deviation; where more than half of the values are equal, so that it is zero, the scaled
/// interquartile range, and after that the ordinary standard deviation. `None` for fewer than two values; zero only
/// when all are equal.
pub fn robust_sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let ascending = sorted(values);
    let from_mad = MAD_TO_SD * mad(values)?;
    if 0.0 < from_mad {
        return Some(from_mad);
    }
    let range = quantile_of_sorted(&ascending, 0.75)? - quantile_of_sorted(&ascending, 0.25)?;
    if 0.0 < range {
        return Some(range * MAD_TO_SD / 2.0);
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    Some((values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// Robust z-score of `value` against `window`: distance from the median in robust standard deviations.
///
/// `None` when the window has fewer than two values or no spread to measure against.
///
/// # Source
///
/// Iglewicz & Hoaglin, *How to Detect and Handle Outliers*, 1993, eq. 1.
pub fn robust_z(window: &[f64], value: f64) -> Option<f64> {
    let spread = robust_sd(window)?;
    (0.0 < spread).then_some((value - median(window)?) / spread)
}

/// A straight line through points, `value = intercept + slope · x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Unit of the values per unit of x.
    pub slope: f64,
    /// Value at x = 0.
    pub intercept: f64,
}

impl Line {
    /// The value of the line at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// Line through `points` (x, value) by the median of pairwise slopes: up to 29 % of the points may be wild.
///
/// Of more than 200 points, 20,000 evenly spread pairs stand for all pairs, widest distances in x first among
/// neighbours in rank, so that time and memory are bounded. `None` when no two points differ in x.
///
/// # Source
///
/// Sen, *Estimates of the Regression Coefficient Based on Kendall's Tau*, JASA 63, 1968.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len();
    let stride = (n * n.saturating_sub(1) / 2).div_ceil(PAIRS_MAX).max(1);
    let mut slopes = Vec::with_capacity(PAIRS_MAX.min(n * n));
    let mut pair_idx = 0usize;
    for gap in 1..n {
        for start in 0..n - gap {
            if pair_idx.is_multiple_of(stride) {
                let (a, b) = (points[start], points[start + gap]);
                if a.0 != b.0 {
                    slopes.push((b.1 - a.1) / (b.0 - a.0));
                }
            }
            pair_idx += 1;
        }
    }
    let slope = median(&slopes)?;
    let intercept = median(&points.iter().map(|(x, value)| value - slope * x).collect::<Vec<_>>())?;
    Some(Line { slope, intercept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_those_of_definition_seven() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.25), Some(1.75));
        assert_eq!(quantile(&values, 0.5), Some(2.5));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn one_wild_value_does_not_move_the_spread() {
        let values = [1.0, 2.0, 3.0, 4.0, 1e9];
        assert_eq!(mad(&values), Some(1.0));
        assert_eq!(robust_z(&values, 3.0), Some(0.0));
    }

    #[test]
    fn a_mostly_constant_window_still_has_a_spread() {
        let values = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0];
        assert_eq!(mad(&values), Some(0.0));
        assert!(0.0 < robust_sd(&values).unwrap());
        assert_eq!(robust_sd(&[5.0; 8]), Some(0.0));
        assert_eq!(robust_z(&[5.0; 8], 6.0), None);
    }

    #[test]
    fn a_quarter_of_wild_points_does_not_turn_the_line() {
        let points: Vec<_> =
            (0..40).map(|i| (f64::from(i), if i % 4 == 0 { -500.0 } else { 3.0 + 0.5 * f64::from(i) })).collect();
        let line = theil_sen(&points).unwrap();
        assert!((line.slope - 0.5).abs() < 0.05, "{line:?}");
    }

    #[test]
    fn a_long_history_is_fitted_from_a_bounded_number_of_pairs() {
        let points: Vec<_> = (0..3_000).map(|i| (f64::from(i), 7.0 - 2.0 * f64::from(i))).collect();
        let line = theil_sen(&points).unwrap();
        assert!((line.slope + 2.0).abs() < 1e-9 && (line.at(10.0) + 13.0).abs() < 1e-6, "{line:?}");
        assert_eq!(theil_sen(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }

    proptest! {
        #[test]
        fn spread_follows_unit_and_ignores_offset(
            values in prop::collection::vec(-1e3..1e3f64, 2..40), factor in 0.1..10.0f64, offset in -1e3..1e3f64,
        ) {
            let moved: Vec<f64> = values.iter().map(|value| factor * value + offset).collect();
            let (before, after) = (robust_sd(&values).unwrap(), robust_sd(&moved).unwrap());
            prop_assert!((after - factor * before).abs() <= 1e-6 * (1.0 + after));
        }
    }
}
