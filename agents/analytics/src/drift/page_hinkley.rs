//! Has the mean of a stream begun to move? One number a side, whatever was seen.

use serde::{Deserialize, Serialize};

/// How soon, and how carelessly, a change is called. Both in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Deviation from the mean that is forgiven in each value. Half the shift that is to be found is best.
    pub allowance: f64,
    /// What the deviations beyond it may add up to.
    pub threshold: f64,
    /// Values before the first verdict.
    pub values_min: u32,
}

/// Deviations added up on one side, from where they were last made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    sum: f64,
    since: u32,
}

/// The test of Page and Hinkley on both sides, against the running mean.
///
/// # Source
///
/// Page, *Continuous Inspection Schemes*, Biometrika 41, 1954; Hinkley, *Inference about the Change-Point from
/// Cumulative Sum Tests*, Biometrika 58, 1971.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    n: u32,
    mean: f64,
    up: Side,
    down: Side,
}

impl PageHinkley {
    /// Takes the next value. Gives how many of the last values, this one included, lie after the change, once there is
    /// one; it goes on giving that until [`Self::restart`].
    pub fn take(&mut self, settings: &Settings, value: f64) -> Option<u32> {
        self.n = self.n.saturating_add(1);
        self.mean += (value - self.mean) / f64::from(self.n);
        let deviation = value - self.mean;
        self.up.add(deviation - settings.allowance);
        self.down.add(-deviation - settings.allowance);
        let farther = if self.down.sum <= self.up.sum { self.up } else { self.down };
        (settings.values_min <= self.n && settings.threshold < farther.sum).then_some(farther.since)
    }

    /// Forgives what was added up, and keeps the mean.
    pub fn restart(&mut self) {
        (self.up, self.down) = (Side::default(), Side::default());
    }
}

impl Side {
    fn add(&mut self, excess: f64) {
        let sum = self.sum + excess;
        *self = if 0.0 < sum { Self { sum, since: self.since.saturating_add(1) } } else { Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::adwin::tests::{CREEP, SHIFTS, STEADY, STEP, stream};

    #[test]
    fn changes_are_called_where_the_reference_implementation_calls_them() {
        // river.drift.PageHinkley(delta=0.05, threshold=8, alpha=1), version 0.26, which starts anew after each.
        let settings = Settings { allowance: 0.05, threshold: 8.0, values_min: 30 };
        let called = |value: fn(usize) -> f64| {
            let (mut test, mut called) = (PageHinkley::default(), Vec::new());
            for (idx, value) in stream(value).enumerate() {
                if test.take(&settings, value).is_some() {
                    called.push(idx);
                    test = PageHinkley::default();
                }
            }
            called
        };
        assert_eq!(called(STEADY), [0usize; 0]);
        assert_eq!(called(STEP), [1_040]);
        assert_eq!(called(SHIFTS), [1_009, 1_718]);
        assert_eq!(called(CREEP), [1_578, 2_441]);
    }

    #[test]
    fn it_tells_since_when() {
        let settings = Settings { allowance: 0.05, threshold: 8.0, values_min: 30 };
        let mut test = PageHinkley::default();
        let called = stream(SHIFTS).enumerate().find_map(|(idx, value)| Some((idx, test.take(&settings, value)?)));
        // The step is at 1,000: of the values up to 1,009 ten lie after it.
        let (idx, since) = called.expect("there is a step");
        assert!(idx == 1_009 && (10..=13).contains(&since), "{since} values up to {idx}");
        test.restart();
        assert_eq!(test.take(&settings, 0.5), None);
    }
}
