//! A window over a stream that is as long as nothing changes in it. Memory grows with the logarithm of its length.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Buckets of one size before two of them are merged. More finds the place of a change more exactly.
const BUCKETS_MAX: usize = 5;
/// Values between two looks for a change.
const CLOCK: u32 = 32;
/// Values on either side of a cut at least.
const SIDE_MIN: u32 = 5;
/// Values before the first look.
const WINDOW_MIN: u32 = 10;

/// Some values in a row: what is left of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    /// Sum of squared deviations from their mean.
    scatter: f64,
}

/// Adaptive windowing: drops the old part of the window when its mean differs from that of the new one.
///
/// # Source
///
/// Bifet & Gavaldà, *Learning from Time-Changing Data with Adaptive Windowing*, SIAM Data Mining 2007, ADWIN2; the
/// constants are those of the reference implementations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    /// Buckets of 1, 2, 4, … values, the oldest of each size first.
    rows: Vec<VecDeque<Bucket>>,
    n_taken: u32,
    width: u32,
    total: f64,
    scatter: f64,
}

impl Adwin {
    /// Values in the window.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Mean of the window; `None` before the first value.
    pub fn mean(&self) -> Option<f64> {
        (0 < self.width).then(|| self.total / f64::from(self.width))
    }

    /// Takes the next value, 0 to 1, and says whether the window had to be cut. `false_alarms` is about the chance of a
    /// cut where nothing has changed.
    pub fn take(&mut self, false_alarms: f64, value: f64) -> bool {
        self.n_taken = self.n_taken.wrapping_add(1);
        if let Some(mean) = self.mean() {
            let width = f64::from(self.width);
            self.scatter += width * (value - mean).powi(2) / (width + 1.0);
        }
        self.width = self.width.saturating_add(1);
        self.total += value;
        self.insert(Bucket { total: value, scatter: 0.0 });
        if !self.n_taken.is_multiple_of(CLOCK) || self.width <= WINDOW_MIN {
            return false;
        }
        let before = self.width;
        while self.differs(false_alarms) {
            self.drop_oldest();
        }
        self.width < before
    }

    fn insert(&mut self, bucket: Bucket) {
        let mut carried = Some(bucket);
        let mut size = 1.0;
        for row in 0.. {
            let Some(bucket) = carried.take() else { return };
            if self.rows.len() == row {
                self.rows.push(VecDeque::with_capacity(BUCKETS_MAX + 1));
            }
            let buckets = &mut self.rows[row];
            buckets.push_back(bucket);
            if BUCKETS_MAX < buckets.len()
                && let (Some(one), Some(other)) = (buckets.pop_front(), buckets.pop_front())
            {
                carried = Some(Bucket {
                    total: one.total + other.total,
                    scatter: one.scatter + other.scatter + (one.total - other.total).powi(2) / (2.0 * size),
                });
            }
            size *= 2.0;
        }
    }

    /// Whether some cut parts the window into two of different means.
    fn differs(&self, false_alarms: f64) -> bool {
        let width = f64::from(self.width);
        let doubt = (2.0 * width.ln() / false_alarms).ln();
        let variance = self.scatter / width;
        let (mut n_old, mut old) = (0u32, 0.0);
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                n_old += 1 << row;
                old += bucket.total;
                let n_new = self.width - n_old;
                if n_old < SIDE_MIN || n_new < SIDE_MIN {
                    continue;
                }
                let one_in = |n: u32| 1.0 / f64::from(n - SIDE_MIN + 1);
                let worth = one_in(n_old) + one_in(n_new);
                let bound = (2.0 * worth * variance * doubt).sqrt() + 2.0 / 3.0 * doubt * worth;
                if bound < (old / f64::from(n_old) - (self.total - old) / f64::from(n_new)).abs() {
                    return true;
                }
            }
        }
        false
    }

    fn drop_oldest(&mut self) {
        let Some(bucket) = self.rows.last_mut().and_then(VecDeque::pop_front) else { return };
        let n = 1u32 << (self.rows.len() - 1);
        self.width -= n;
        self.total -= bucket.total;
        let (n, rest) = (f64::from(n), f64::from(self.width));
        self.scatter -= bucket.scatter + n * rest / (n + rest) * (bucket.total / n - self.total / rest).powi(2);
        while self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is added to evenly scattered values: nothing, …
    pub(in crate::drift) const STEADY: fn(usize) -> f64 = |_| 0.0;
    /// … a step after 1,000, …
    pub(in crate::drift) const STEP: fn(usize) -> f64 = |idx| if idx < 1_000 { 0.0 } else { 0.25 };
    /// … one up and one half back, …
    pub(in crate::drift) const SHIFTS: fn(usize) -> f64 = |idx| match idx {
        0..1_000 => 0.0,
        1_000..1_700 => 0.8,
        _ => 0.8 - 0.5,
    };
    /// … or a slow rise.
    pub(in crate::drift) const CREEP: fn(usize) -> f64 = |idx| 0.0002 * idx.saturating_sub(1_000) as f64;

    /// 3,000 values, the same in Python and here.
    pub(in crate::drift) fn stream(added: fn(usize) -> f64) -> impl Iterator<Item = f64> {
        (0..3_000).map(move |idx| ((idx * 7_919) % 10_007) as f64 / 10_007.0 + added(idx))
    }

    #[test]
    fn windows_are_cut_where_the_reference_implementation_cuts_them() {
        // river.drift.ADWIN with its default settings, version 0.26, which starts anew after each cut: index of the
        // value, and what is left of the window with its mean.
        let check = |added: fn(usize) -> f64, expected: &[(usize, u32, f64)], (width, total): (u32, f64)| {
            let (mut window, mut cuts) = (Adwin::default(), Vec::new());
            for (idx, value) in stream(added).enumerate() {
                if window.take(0.002, value) {
                    cuts.push((idx, window.width(), window.mean().expect("it is not empty")));
                    window = Adwin::default();
                }
            }
            assert_eq!(cuts.len(), expected.len(), "{cuts:?}");
            for (cut, expected) in cuts.iter().zip(expected) {
                assert!((cut.0, cut.1) == (expected.0, expected.1) && (cut.2 - expected.2).abs() < 1e-9, "{cut:?}");
            }
            assert!(window.width() == width && (window.total - total).abs() < 1e-9, "{window:?}");
        };
        check(STEADY, &[], (3_000, 1500.240831418008));
        check(STEP, &[(1_087, 384, 0.556644724)], (1_912, 1434.1591885680027));
        check(SHIFTS, &[(1_023, 112, 0.673739454), (1_759, 128, 1.058490931)], (1_240, 991.8511042270413));
        check(CREEP, &[(1_695, 1_440, 0.534032122), (2_719, 896, 0.755575558)], (280, 243.26660577595683));
    }

    #[test]
    fn memory_grows_with_the_logarithm() {
        let mut window = Adwin::default();
        for idx in 0..1_000_000u32 {
            window.take(0.002, f64::from(idx % 7) / 7.0);
        }
        let buckets: usize = window.rows.iter().map(VecDeque::len).sum();
        assert!(window.width() == 1_000_000 && buckets <= 6 * 18, "{} values in {buckets}", window.width());
    }
}
