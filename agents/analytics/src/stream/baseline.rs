//! What a sensor is like, fitted on a stretch of history in one go.

use super::{Detector, Settings};
use crate::robust;
use serde::{Deserialize, Serialize};

/// Fewer points say too little about a sensor to replace what its detector knows.
const POINTS_MIN: usize = 50;
/// Points farther outside the middle 90 % than this many times its width are not history but mistakes.
const WILD: f64 = 3.0;
/// Half the width of the middle 90 % of a normal distribution, in standard deviations.
const HALF_RANGE_SDS: f64 = 1.645;
/// The quantiles that a baseline is judged by.
const LOW: f64 = 0.05;
const HIGH: f64 = 0.95;
/// Settings of the fit; a detector that adopts the baseline applies its own.
const FIT: Settings = Settings { warm_up_readings: u32::MAX, tail_sigmas: 4.0, record_margin: 1.5, hold_readings: 0 };

/// Level, scale, rhythm and statistics of a sensor over a stretch of clean history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// Median, in the unit of the readings.
    pub level: f64,
    /// Robust standard deviation, in the unit of the readings.
    pub scale: f64,
    /// The middle 90 % of the values.
    range: (f64, f64),
    /// The middle 90 % of the deviations from the rhythm, in its spreads.
    seasonal_range: (f64, f64),
    learnt: Detector,
}

impl Baseline {
    /// Fits a baseline on `points`, (seconds since the epoch, value) in order of time.
    ///
    /// All points count as clean, but for those that are wildly off. `None` for fewer than 50.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let ascending = robust::sorted(&points.iter().map(|point| point.1).collect::<Vec<_>>());
        if ascending.len() < POINTS_MIN {
            return None;
        }
        let range = (robust::quantile_of_sorted(&ascending, LOW)?, robust::quantile_of_sorted(&ascending, HIGH)?);
        let far = WILD * (range.1 - range.0);
        let mut learnt = Detector::new(points.len() as u64);
        for (at, value) in points.iter().filter(|point| range.0 - far <= point.1 && point.1 <= range.1 + far) {
            learnt.observe(&FIT, *at, *value, true);
        }
        let residuals: Vec<f64> = points
            .iter()
            .filter_map(|(at, value)| learnt.season.forecast(*at).map(|forecast| forecast.residual(*value)))
            .collect();
        Some(Self {
            level: robust::median(&ascending)?,
            scale: robust::robust_sd(&ascending)?,
            range,
            seasonal_range: (
                robust::quantile(&residuals, LOW).unwrap_or(0.0),
                robust::quantile(&residuals, HIGH).unwrap_or(0.0),
            ),
            learnt,
        })
    }

    /// Has it learn `points` that came after those it was fitted on, in order of time, as far as they are normal to it, so
    /// that a detector that adopts it knows them.
    pub fn catch_up(&mut self, points: &[(f64, f64)]) {
        for (at, value) in points {
            self.learnt.observe(&FIT, *at, *value, true);
        }
    }

    /// How badly the baseline foretells `points`: mean pinball loss at 5 % and 95 %, in the unit of the readings.
    ///
    /// Lower is better; 0 for no points.
    ///
    /// # Source
    ///
    /// Koenker & Bassett, *Regression Quantiles*, Econometrica 46, 1978.
    pub fn loss(&self, points: &[(f64, f64)]) -> f64 {
        let pinball = |probability: f64, error: f64| (probability * error).max((probability - 1.0) * error);
        let total: f64 = points
            .iter()
            .map(|(at, value)| {
                let (low, high) = self.foretold(*at);
                0.5 * (pinball(LOW, value - low) + pinball(HIGH, value - high))
            })
            .sum();
        total / points.len().max(1) as f64
    }

    /// How far `value`, at `at` seconds since the epoch, is from the middle of what is foretold: in standard deviations
    /// of a normal distribution as wide, with a sign.
    pub fn distance(&self, at: f64, value: f64) -> f64 {
        let (low, high) = self.foretold(at);
        // A sensor that never varied: any other value is far away, the same one is not.
        let spread = (0.5 * (high - low) / HALF_RANGE_SDS).max(self.level.abs() * 1e-3).max(1e-9);
        (value - 0.5 * (low + high)) / spread
    }

    fn foretold(&self, at: f64) -> (f64, f64) {
        match self.learnt.season.forecast(at).filter(|forecast| forecast.holds) {
            Some(season) => (
                season.mean + self.seasonal_range.0 * season.spread,
                season.mean + self.seasonal_range.1 * season.spread,
            ),
            None => self.range,
        }
    }

    pub(super) fn learnt(&self) -> &Detector {
        &self.learnt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    /// Three weeks of half-hourly readings around `level`, with a daily swing.
    fn history(level: f64, swing: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut chance = Pcg32::seed_from_u64(seed);
        let value = |at: f64, noise: f64| level + noise - 0.5 + swing * (std::f64::consts::TAU * at / 86_400.0).sin();
        (0..21 * 48).map(|idx| 1_800.0 * f64::from(idx)).map(|at| (at, value(at, chance.random()))).collect()
    }

    #[test]
    fn a_baseline_foretells_its_own_regime_better_than_another() {
        let (old, new) =
            (Baseline::fit(&history(10.0, 0.0, 1)).unwrap(), Baseline::fit(&history(12.0, 0.0, 2)).unwrap());
        let fresh = history(12.0, 0.0, 3);
        assert!(10.0 * new.loss(&fresh) < old.loss(&fresh), "{} {}", new.loss(&fresh), old.loss(&fresh));
        assert!((new.level - 12.0).abs() < 0.1 && (new.scale - 0.37).abs() < 0.1, "{new:?}");
    }

    #[test]
    fn a_rhythm_is_part_of_the_baseline() {
        let rhythmic = Baseline::fit(&history(10.0, 5.0, 1)).unwrap();
        // Without the rhythm the middle 90 % is about ±5 wide, so the loss is at least 0.05 · 5 on either side.
        assert!(rhythmic.loss(&history(10.0, 5.0, 2)) < 0.15, "{}", rhythmic.loss(&history(10.0, 5.0, 2)));
    }

    #[test]
    fn a_distance_is_counted_from_the_middle_in_standard_deviations() {
        // Evenly between 9.5 and 10.5: the middle 90 % is 0.9 wide.
        let baseline = Baseline::fit(&history(10.0, 0.0, 1)).unwrap();
        let far = baseline.distance(0.0, 12.0);
        assert!((far - 2.0 * 1.645 / 0.45).abs() < 0.3, "{far}");
        assert!(baseline.distance(0.0, 10.0).abs() < 0.2 && baseline.distance(0.0, 9.0) < -3.0);
    }

    #[test]
    fn too_short_a_history_gives_no_baseline_and_json_keeps_one() {
        assert!(Baseline::fit(&history(1.0, 0.0, 1)[..49]).is_none());
        let baseline = Baseline::fit(&history(1.0, 2.0, 1)).unwrap();
        let kept: Baseline = serde_json::from_str(&serde_json::to_string(&baseline).unwrap()).unwrap();
        let (before, after) = (baseline.loss(&history(1.0, 2.0, 2)), kept.loss(&history(1.0, 2.0, 2)));
        assert!((before - after).abs() < 1e-12, "{before} {after}");
    }

    proptest! {
        #[test]
        fn a_loss_is_never_negative(values in prop::collection::vec(-1e6..1e6f64, 60)) {
            let points: Vec<_> = values.iter().enumerate().map(|(idx, value)| (60.0 * idx as f64, *value)).collect();
            prop_assert!(0.0 <= Baseline::fit(&points).unwrap().loss(&points));
        }
    }
}
