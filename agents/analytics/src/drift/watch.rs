//! Whether a sensor has begun to change since its baseline, one reading at a time.
//!
//! Says when a comparison is worth making, and from where on; whether there is drift is for the comparison to say. So it
//! may be wrong now and then, and soon.

use super::adwin::Adwin;
use super::page_hinkley::{PageHinkley, Settings};
use crate::{bounded, robust};
use serde::{Deserialize, Serialize};

/// Deviations are cut off here, in robust standard deviations: one wild reading is no change.
const DEVIATION_MAX: f64 = 4.0;
/// Deviations that add up to this call a change of level: once in about 1,000 independent readings of which nothing has
/// changed, at half a standard deviation of allowance a side in two.
///
/// # Source
///
/// Siegmund, *Sequential Analysis*, 1985, eq. 2.56: (e^b − b − 1) / 2k² for b = 2k(h + 1.166), halved for two sides, at
/// k = 0.25.
const THRESHOLD: f64 = 10.0;
/// Readings before the running mean is one.
const VALUES_MIN: u32 = 30;
/// Chance of a cut where nothing has changed, as in the publication.
const FALSE_ALARMS: f64 = 0.002;

/// Follows the level by its deviations from the mean, whose target is known, and the spread by a window that is cut
/// where it changes, because for that there is no target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    centre: f64,
    scale: f64,
    level: PageHinkley,
    spread: Adwin,
    since: Option<u32>,
}

impl Watch {
    /// Begins after `baseline`, oldest first, to look out for shifts of `shift_min` of its robust standard deviations.
    /// `None` for fewer than two values.
    pub fn of(baseline: &[f64], shift_min: f64) -> Option<Self> {
        let baseline: Vec<f64> = baseline.iter().copied().map(bounded).collect();
        let (centre, scale) = (robust::median(&baseline)?, robust::robust_sd(&baseline)?);
        let mut watch = Self { centre, scale, level: PageHinkley::default(), spread: Adwin::default(), since: None };
        for value in baseline {
            watch.take(shift_min, value);
        }
        watch.restart();
        Some(watch)
    }

    /// Takes the next reading. Gives how many of the last ones, this one included, lie after the change, once one has
    /// begun.
    pub fn take(&mut self, shift_min: f64, value: f64) -> Option<u32> {
        let deviation = self.deviation(value);
        let settings = Settings { allowance: 0.5 * shift_min, threshold: THRESHOLD, values_min: VALUES_MIN };
        let moved = self.level.take(&settings, deviation);
        let cut = self.spread.take(FALSE_ALARMS, deviation.abs() / DEVIATION_MAX);
        self.since = match self.since {
            Some(since) => Some(since.saturating_add(1)),
            None => moved.or_else(|| cut.then(|| self.spread.width())),
        };
        self.since
    }

    /// What has begun was nothing, or is what is normal now.
    pub fn restart(&mut self) {
        self.level.restart();
        self.since = None;
    }

    fn deviation(&self, value: f64) -> f64 {
        let off = bounded(value) - self.centre;
        // Any step off a constant is a large one.
        let deviation = if off == 0.0 { 0.0 } else { off / self.scale };
        deviation.clamp(-DEVIATION_MAX, DEVIATION_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    const SHIFT_MIN: f64 = 0.5;

    /// Roughly normal noise with standard deviation 1.
    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        (0..n).map(|_| (0..12).map(|_| chance.random::<f64>()).sum::<f64>() - 6.0).collect()
    }

    /// Readings until a change is called, and since when it is said to be.
    fn called(seed: u64, change: impl Fn(f64) -> f64) -> Option<(usize, u32)> {
        let values = noise(seed, 1_336);
        let (baseline, rest) = values.split_at(336);
        let mut watch = Watch::of(baseline, SHIFT_MIN).expect("there are values");
        rest.iter().enumerate().find_map(|(idx, value)| Some((idx + 1, watch.take(SHIFT_MIN, change(*value))?)))
    }

    #[test]
    fn a_shift_is_called_within_a_day_of_half_hours_and_a_wider_spread_within_a_week() {
        let seeds = 0..50;
        let within = |most: usize, change: &dyn Fn(f64) -> f64| {
            seeds.clone().filter(|seed| called(*seed, change).is_some_and(|(after, _)| after <= most)).count()
        };
        assert!(48 <= within(48, &|value| value + 1.0));
        assert!(48 <= within(336, &|value| value * 2.0));
    }

    #[test]
    fn it_tells_since_when() {
        let (after, since) = called(7, |value| value + 2.0).expect("a large shift");
        assert!(since.abs_diff(after as u32) <= 3, "{since} of {after}");
    }

    #[test]
    fn a_steady_sensor_is_called_rarely() {
        let early = (0..100).filter(|seed| called(*seed, |value| value).is_some_and(|(after, _)| after <= 336)).count();
        assert!(early <= 45, "{early} of 100 in a week");
    }

    #[test]
    fn a_baseline_of_the_largest_values_leaves_numbers_to_reckon_with() {
        let wild: Vec<f64> = (0..100).map(|idx| if idx % 2 == 0 { f64::MAX } else { f64::MIN }).collect();
        let watch = Watch::of(&wild, SHIFT_MIN).expect("there are values");
        let deviations = [f64::MIN, 0.0, f64::MAX].map(|value| watch.deviation(value));
        assert!(deviations[0] < -0.5 && deviations[1] == 0.0 && 0.5 < deviations[2], "{deviations:?}");
    }

    #[test]
    fn a_constant_sensor_has_changed_when_it_moves() {
        let mut watch = Watch::of(&[5.0; 100], SHIFT_MIN).expect("there are values");
        assert!((0..500).all(|_| watch.take(SHIFT_MIN, 5.0).is_none()));
        assert!((0..5).any(|_| watch.take(SHIFT_MIN, 5.1).is_some()));
    }
}
