//! What a machine's readings looked like lately: the columns from which its remaining life is learnt.
//!
//! Causal: the columns at one step use that step and earlier ones only. Does not learn; what is made here goes to
//! [`crate::trees::boosting`], and its errors to [`crate::conformal`].

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Columns made of each channel.
pub const COLUMNS: [&str; 6] = ["last_mean", "mean", "slope", "spread", "since_start", "worst"];

/// How far back is looked, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Steps of the mean that follows quickly. At least 1.
    pub short: usize,
    /// Steps of the mean, the slope and the spread. At least 2.
    pub long: usize,
    /// First steps that stand for the machine when it was new. At least 1.
    pub start: usize,
}

/// Columns for every step of one run: per channel those of [`COLUMNS`], then the age in steps.
///
/// `run` holds a step per row in order of time, from the first of the machine's life, and a channel per column. The
/// slope is per step, by least squares; before a window is full it is taken over what there is. `since_start` and
/// `worst` are the distances of the short mean from the mean of the first steps, now and at its farthest so far.
pub fn columns(run: &ArrayView2<'_, f64>, windows: Windows) -> Array2<f64> {
    let (n_steps, n_channels) = run.dim();
    let width = COLUMNS.len();
    let mut columns = Array2::zeros((n_steps, n_channels * width + 1));
    for channel in 0..n_channels {
        let values = run.column(channel).to_vec();
        let mut worst = 0.0_f64;
        for step in 0..n_steps {
            let window = |length: usize| &values[(step + 1).saturating_sub(length.max(1))..=step];
            let (short, long) = (mean(window(windows.short)), window(windows.long));
            let start = mean(&values[..(step + 1).min(windows.start.max(1))]);
            let since_start = short - start;
            if worst.abs() < since_start.abs() {
                worst = since_start;
            }
            let (slope, spread) = line(long);
            let found = [short, mean(long), slope, spread, since_start, worst];
            found.iter().enumerate().for_each(|(idx, value)| columns[[step, channel * width + idx]] = *value);
        }
    }
    (0..n_steps).for_each(|step| columns[[step, n_channels * width]] = (step + 1) as f64);
    columns
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Slope per step by least squares, and standard deviation about the mean.
fn line(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let (middle, level) = ((n - 1.0) / 2.0, mean(values));
    let (mut product, mut extent, mut squares) = (0.0, 0.0, 0.0);
    for (idx, value) in values.iter().enumerate() {
        let (step, distance) = (idx as f64 - middle, value - level);
        product += step * distance;
        extent += step * step;
        squares += distance * distance;
    }
    let slope = if 0.0 < extent { product / extent } else { 0.0 };
    (slope, (squares / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { short: 2, long: 4, start: 2 };

    #[test]
    fn a_ramp_has_the_columns_of_arithmetic() {
        let run = Array2::from_shape_fn((6, 1), |(step, _)| 10.0 + 2.0 * step as f64);
        let columns = columns(&run.view(), WINDOWS);
        // At the last step: 18 and 20; 14 to 20; twice a step; the start was 10 and 12.
        let expected = [19.0, 17.0, 2.0, 5.0_f64.sqrt(), 8.0, 8.0, 6.0];
        assert!(columns.row(5).iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12));
        // At the first there is but one value.
        assert_eq!(columns.row(0).to_vec(), [10.0, 10.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_worst_so_far_stays_when_the_value_returns() {
        let run = ndarray::array![[0.0], [0.0], [-6.0], [-6.0], [0.0], [0.0]];
        let columns = columns(&run.view(), WINDOWS);
        assert_eq!((columns[[5, 4]], columns[[5, 5]]), (0.0, -6.0));
    }

    proptest! {
        #[test]
        fn the_past_does_not_change_with_the_future(
            values in prop::collection::vec(-1e3..1e3f64, 2..40), at in 0..38usize, other in -1e3..1e3f64,
        ) {
            let n_steps = values.len();
            let at = at % (n_steps - 1);
            let run = Array2::from_shape_vec((n_steps, 1), values).unwrap();
            let mut changed = run.clone();
            changed[[at + 1, 0]] = other;
            let (before, after) = (columns(&run.view(), WINDOWS), columns(&changed.view(), WINDOWS));
            for step in 0..=at {
                prop_assert_eq!(before.row(step), after.row(step));
            }
        }
    }
}
