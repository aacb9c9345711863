//! When will a degrading value reach its limit?
//!
//! Fits where the recent trend began, and how steep it is, and gives the time of the first passage as an interval. Says
//! so when there is no trend or too little history; it never invents a date. Knows no failure mode: one value, one limit.

use crate::bounded;
use crate::robust::{self, Line};
use linfa::{
    Dataset,
    traits::{Fit, Predict},
};
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

const SECONDS_PER_HOUR: f64 = 3_600.0;
/// Longer histories are reduced to this many block medians, which bounds time and tames outliers.
const BLOCKS_MAX: usize = 240;
/// Places tried for the beginning of the trend, spread over the first three quarters of the history.
const ONSETS: usize = 16;
/// Blocks a trend must have been going on for.
const SEGMENT_MIN: usize = 8;
/// Uncertainty of the future slope beyond what the fit knows, as a share of it: wear is seldom linear.
const SLOPE_ERROR: f64 = 0.2;
/// Distance of a derived limit from the clean median, in robust standard deviations: twice what an alarm takes.
const DERIVED_SDS: f64 = 8.0;

/// How far to look ahead, and on what grounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Readings needed before anything is said. At least 16.
    pub points_min: usize,
    /// A limit that is reached later than this counts as no trend.
    pub horizon_hours: f64,
    /// Slope of a trend in its own standard errors, at least. Below 3, noise looks like a trend now and then.
    pub significance_min: f64,
}

/// On which side of a limit failure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Higher is worse.
    Above,
    /// Lower is worse.
    Below,
}

/// A value that must not be passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The limit, in the unit of the readings.
    pub value: f64,
    /// Where failure lies.
    pub side: Side,
    /// Where the limit comes from, in words for a person.
    pub source: String,
}

/// What can be said about the time that remains. Hours count from the last reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// The limit will be reached: after the median time in half of all cases, before the 10 % time in a tenth.
    Remaining {
        /// Time before which the limit is reached with a chance of 10 %.
        p10_hours: f64,
        /// Time before which the limit is reached with a chance of 50 %.
        p50_hours: f64,
        /// Time before which the limit is reached with a chance of 90 %.
        p90_hours: f64,
        /// 0..=1: share of the variation that the trend explains, reduced as the interval widens.
        confidence: f64,
    },
    /// The level is beyond the limit already.
    LimitPassed,
    /// Nothing moves towards the limit fast enough to reach it within the horizon.
    NoTrend {
        /// How far was looked ahead.
        horizon_hours: f64,
    },
    /// Too few readings to say anything.
    NotEnoughData {
        /// Readings there are.
        have: usize,
        /// Readings needed.
        need: usize,
    },
}

/// Time until `history` reaches `limit`.
///
/// `history` holds (seconds since the epoch, value) in order of time, all finite. Without a limit, one is derived from
/// the part before the trend began, see [`derive_limit`].
pub fn outlook(history: &[(f64, f64)], limit: Option<Limit>, settings: &Settings) -> Outlook {
    let need = settings.points_min.max(2 * SEGMENT_MIN);
    if history.len() < need {
        return Outlook::NotEnoughData { have: history.len(), need };
    }
    let no_trend = Outlook::NoTrend { horizon_hours: settings.horizon_hours };
    let blocks = blocks(history);
    let onset = onset(&blocks);
    let trend = Trend::fit(&blocks[onset..]);
    let Some(limit) = limit.or_else(|| {
        let rising = 0.0 < trend.as_ref()?.line.slope;
        // A trend from the very beginning leaves no clean part; the first quarter is the cleanest there is.
        let clean: Vec<f64> = blocks[..onset.max(blocks.len() / 4)].iter().map(|block| block.1).collect();
        derive_limit(&clean, if rising { Side::Above } else { Side::Below })
    }) else {
        return no_trend;
    };
    // From here on failure lies above.
    let sign = if limit.side == Side::Above { 1.0 } else { -1.0 };
    let recent: Vec<f64> = blocks[blocks.len() - SEGMENT_MIN / 2..].iter().map(|block| block.1).collect();
    if robust::median(&recent).is_some_and(|level| 0.0 <= sign * (level - limit.value)) {
        return Outlook::LimitPassed;
    }
    let Some(trend) = trend else { return no_trend };
    let slope = sign * trend.line.slope;
    if slope < settings.significance_min * trend.slope_error || slope <= 0.0 {
        return no_trend;
    }
    let distance = (sign * (limit.value - trend.line.at(0.0))).max(0.0);
    let [p10_hours, p50_hours, p90_hours] = [0.1, 0.5, 0.9].map(|chance| trend.passage(distance, slope, chance));
    if settings.horizon_hours < p50_hours || !p90_hours.is_finite() {
        return no_trend;
    }
    let width = (p90_hours - p10_hours) / p50_hours.max(f64::MIN_POSITIVE);
    Outlook::Remaining {
        p10_hours,
        p50_hours,
        p90_hours,
        confidence: (trend.explained / (1.0 + 0.5 * width)).clamp(0.0, 1.0),
    }
}

/// A failure limit where nobody declared one: as far from the clean median as no clean reading ever is.
///
/// `clean` holds readings from before the trend, `side` the side the trend moves to. `None` when there are fewer than
/// eight readings or they do not vary, since then there is nothing to measure a distance in.
pub fn derive_limit(clean: &[f64], side: Side) -> Option<Limit> {
    let clean: Vec<f64> = clean.iter().copied().map(bounded).collect();
    let spread = robust::robust_sd(&clean).filter(|spread| SEGMENT_MIN <= clean.len() && 0.0 < *spread)?;
    let (sign, word) = if side == Side::Above { (1.0, "above") } else { (-1.0, "below") };
    Some(Limit {
        value: robust::median(&clean)? + sign * DERIVED_SDS * spread,
        side,
        source: format!("derived: {DERIVED_SDS} robust standard deviations {word} the median of the clean history"),
    })
}

/// (hours before the last reading as a negative number, median value) of at most [`BLOCKS_MAX`] blocks.
fn blocks(history: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let end = history.last().map_or(0.0, |point| point.0);
    let block = |points: &[(f64, f64)]| {
        let middle = points.iter().map(|point| (point.0 - end) / SECONDS_PER_HOUR).sum::<f64>() / points.len() as f64;
        robust::median(&points.iter().map(|point| bounded(point.1)).collect::<Vec<_>>()).map(|value| (middle, value))
    };
    history.chunks(history.len().div_ceil(BLOCKS_MAX)).filter_map(block).collect()
}

/// Index of the block where a level that turns into a ramp fits best, by least squares.
fn onset(blocks: &[(f64, f64)]) -> usize {
    let last = (blocks.len() * 3 / 4).min(blocks.len().saturating_sub(SEGMENT_MIN));
    let starts = (0..ONSETS).map(|idx| idx * last / (ONSETS - 1));
    let errors = starts.filter_map(|start| {
        let ramp: Vec<f64> = blocks.iter().map(|block| (block.0 - blocks[start].0).max(0.0)).collect();
        let inputs = Array2::from_shape_vec((blocks.len(), 1), ramp).ok()?;
        let targets: Array1<f64> = blocks.iter().map(|block| block.1).collect();
        let data = Dataset::new(inputs, targets);
        let fitted = LinearRegression::default().fit(&data).ok()?.predict(data.records());
        Some((start, (&fitted - data.targets()).mapv(|error| error * error).sum()))
    });
    errors.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |best| best.0)
}

/// A straight trend, how well it is known at hour 0, and how much of the variation it explains.
struct Trend {
    line: Line,
    slope_error: f64,
    level_error: f64,
    explained: f64,
}

impl Trend {
    /// `None` when the blocks do not extend in time.
    fn fit(blocks: &[(f64, f64)]) -> Option<Self> {
        let line = robust::theil_sen(blocks)?;
        let residuals: Vec<f64> = blocks.iter().map(|(hour, value)| value - line.at(*hour)).collect();
        let n = blocks.len() as f64;
        let centre = blocks.iter().map(|block| block.0).sum::<f64>() / n;
        let extent: f64 = blocks.iter().map(|block| (block.0 - centre).powi(2)).sum();
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        // Neighbouring residuals that agree say the same thing twice, so the fit is less certain than it looks.
        let correlation = (products / squares.max(f64::MIN_POSITIVE)).clamp(0.0, 0.95);
        let noise = robust::robust_sd(&residuals)?.powi(2) * (1.0 + correlation) / (1.0 - correlation);
        let mean = blocks.iter().map(|block| block.1).sum::<f64>() / n;
        let total: f64 = blocks.iter().map(|block| (block.1 - mean).powi(2)).sum();
        Some(Self {
            line,
            slope_error: (noise / extent).sqrt(),
            level_error: (noise * (1.0 / n + centre * centre / extent)).sqrt(),
            explained: 1.0 - squares / total.max(f64::MIN_POSITIVE),
        })
    }

    /// Hours after which `distance` has been covered with the given chance; infinite when that is never the case.
    ///
    /// Level and slope are taken as normal, so the chance at hour t is Φ((slope·t − distance) / sd(t)) with
    /// sd(t)² = level² + slope²·t²; that is a quadratic in t, and increases with t.
    fn passage(&self, distance: f64, slope: f64, chance: f64) -> f64 {
        let z = Normal::standard().inverse_cdf(chance);
        let per_hour = self.slope_error.hypot(SLOPE_ERROR * slope);
        let quadratic = slope * slope - z * z * per_hour * per_hour;
        if quadratic <= 0.0 {
            return f64::INFINITY;
        }
        let constant = distance * distance - (z * self.level_error).powi(2);
        let root = ((slope * distance).powi(2) - quadratic * constant).max(0.0).sqrt();
        ((slope * distance
            + if z < 0.0 {
                -root
            } else if 0.0 < z {
                root
            } else {
                0.0
            })
            / quadratic)
            .max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::tests::finite;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    const SETTINGS: Settings = Settings { points_min: 30, horizon_hours: 2_000.0, significance_min: 4.0 };

    /// `n` readings ten minutes apart around 50 with noise of ±0.5, rising by `per_hour` from reading `from` on.
    fn ramp(n: usize, from: usize, per_hour: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut chance = Pcg32::seed_from_u64(seed);
        let value = |idx: usize, noise: f64| 50.0 + noise + per_hour * idx.saturating_sub(from) as f64 / 6.0;
        (0..n).map(|idx| (1.7e9 + 600.0 * idx as f64, value(idx, chance.random::<f64>() - 0.5))).collect()
    }

    fn limit(value: f64, side: Side) -> Option<Limit> {
        Some(Limit { value, side, source: "declared".into() })
    }

    fn remaining(outlook: &Outlook) -> [f64; 3] {
        match outlook {
            Outlook::Remaining { p10_hours, p50_hours, p90_hours, .. } => [*p10_hours, *p50_hours, *p90_hours],
            other => panic!("expected a remaining time, got {other:?}"),
        }
    }

    #[test]
    fn a_ramp_reaches_its_limit_when_arithmetic_says() {
        // Given 50 hours flat and 50 hours of +0.2 an hour, the level is 60; 70 is 50 hours away.
        let answer = outlook(&ramp(600, 300, 0.2, 1), limit(70.0, Side::Above), &SETTINGS);
        let [p10, p50, p90] = remaining(&answer);
        assert!((p50 - 50.0).abs() < 3.0, "{answer:?}");
        assert!(p10 < 50.0 && 50.0 < p90, "{answer:?}");
        assert!(matches!(answer, Outlook::Remaining { confidence, .. } if 0.5 < confidence));
    }

    #[test]
    fn a_falling_value_is_the_mirror_of_a_rising_one() {
        let falling: Vec<_> = ramp(600, 300, 0.2, 1).into_iter().map(|(at, value)| (at, -value)).collect();
        let up = remaining(&outlook(&ramp(600, 300, 0.2, 1), limit(70.0, Side::Above), &SETTINGS));
        let down = remaining(&outlook(&falling, limit(-70.0, Side::Below), &SETTINGS));
        assert!(up.iter().zip(down).all(|(up, down)| (up - down).abs() < 1e-6), "{up:?} {down:?}");
    }

    #[test]
    fn noise_has_no_trend() {
        for seed in 0..40 {
            let answer = outlook(&ramp(600, 600, 0.0, seed), limit(70.0, Side::Above), &SETTINGS);
            assert_eq!(answer, Outlook::NoTrend { horizon_hours: 2_000.0 }, "seed {seed}");
            let derived = outlook(&ramp(600, 600, 0.0, seed), None, &SETTINGS);
            assert_eq!(derived, Outlook::NoTrend { horizon_hours: 2_000.0 }, "seed {seed}");
        }
    }

    #[test]
    fn a_trend_away_from_the_limit_is_no_trend_towards_it() {
        let answer = outlook(&ramp(600, 300, 0.2, 1), limit(10.0, Side::Below), &SETTINGS);
        assert_eq!(answer, Outlook::NoTrend { horizon_hours: 2_000.0 });
    }

    #[test]
    fn a_limit_behind_us_is_passed_and_a_short_history_says_how_much_it_needs() {
        assert_eq!(outlook(&ramp(600, 300, 0.2, 1), limit(55.0, Side::Above), &SETTINGS), Outlook::LimitPassed);
        assert_eq!(outlook(&ramp(29, 0, 9.0, 1), None, &SETTINGS), Outlook::NotEnoughData { have: 29, need: 30 });
    }

    #[test]
    fn without_a_limit_one_is_derived_from_the_time_before_the_trend() {
        let clean: Vec<f64> = ramp(300, 300, 0.0, 3).into_iter().map(|point| point.1).collect();
        let derived = derive_limit(&clean, Side::Above).unwrap();
        // Uniform noise of ±0.5 has a median absolute deviation of 0.25.
        assert!((derived.value - (50.0 + 8.0 * 0.25 * robust::MAD_TO_SD)).abs() < 0.5, "{derived:?}");
        assert!(derived.source.contains("above the median of the clean history"));
        assert_eq!(derive_limit(&[5.0; 40], Side::Above), None);
        let answer = outlook(&ramp(600, 500, 0.05, 3), None, &SETTINGS);
        assert!(matches!(answer, Outlook::Remaining { .. }), "{answer:?}");
    }

    proptest! {
        #[test]
        fn whatever_finite_values_come_all_that_is_said_is_finite(
            values in prop::collection::vec(finite(), 30..60), above: bool, declared in prop::option::of(finite()),
        ) {
            let side = if above { Side::Above } else { Side::Below };
            let derived = derive_limit(&values, side);
            prop_assert!(derived.is_none_or(|limit| limit.value.is_finite()));
            let history: Vec<_> = values.iter().enumerate().map(|(idx, value)| (600.0 * idx as f64, *value)).collect();
            let settings = Settings { significance_min: 0.0, ..SETTINGS };
            let answer = outlook(&history, declared.and_then(|value| limit(value, side)), &settings);
            if let Outlook::Remaining { p10_hours, p50_hours, p90_hours, confidence } = answer {
                let said = [p10_hours, p50_hours, p90_hours, confidence];
                prop_assert!(said.iter().all(|number| number.is_finite()), "{:?}", said);
            }
        }

        #[test]
        fn quantiles_are_in_order_and_a_nearer_limit_is_reached_sooner(
            seed: u64, per_hour in 0.05..2.0f64, distance in 5.0..100.0f64,
        ) {
            let history = ramp(400, 200, per_hour, seed);
            let level = 50.0 + per_hour * 200.0 / 6.0;
            let near = outlook(&history, limit(level + distance, Side::Above), &Settings { horizon_hours: 1e6, ..SETTINGS });
            let far = outlook(&history, limit(level + 2.0 * distance, Side::Above), &Settings { horizon_hours: 1e6, ..SETTINGS });
            let (near, far) = (remaining(&near), remaining(&far));
            prop_assert!(near[0] <= near[1] && near[1] <= near[2], "{:?}", near);
            prop_assert!(near.iter().zip(far).all(|(near, far)| *near < far), "{:?} {:?}", near, far);
        }
    }
}
