//! What a machine's readings looked like lately: the columns from which its remaining life is learnt.
//!
//! Causal: the columns at one step use that step and earlier ones only. Learns how channels are weighed together, and
//! no more; what is made here goes to [`crate::trees::boosting`], and its errors to [`crate::conformal`].

use crate::forecast::ridge;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Columns made of each channel.
const WIDTH: usize = 6;

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

/// Name of the last column: the step, counted from 1.
pub const AGE: &str = "age";

/// Names of the columns that [`columns`] makes of `channel`. They tell the looks back, so that what was learnt from
/// others is not taken for the same.
pub fn names(channel: &str, Windows { short, long, start }: Windows) -> [String; WIDTH] {
    let names = [
        format!("mean_{short}"),
        format!("mean_{long}"),
        format!("slope_{long}"),
        format!("spread_{long}"),
        format!("moved_since_{start}"),
        format!("moved_most_since_{start}"),
    ];
    names.map(|name| format!("{channel}_{name}"))
}

/// Columns that [`columns`] makes of so many channels.
pub fn n_columns(n_channels: usize) -> usize {
    n_channels * WIDTH + 1
}

/// Columns for every step of one run: per channel those of [`names`], then the age in steps.
///
/// `run` holds a step per row in order of time, from the first of the machine's life, and a channel per column. The
/// slope is per step, by least squares; before a window is full it is taken over what there is. The last two of a channel
/// are the distances of the short mean from the mean of the first steps, now and at its farthest so far.
pub fn columns(run: &ArrayView2<'_, f64>, windows: Windows) -> Array2<f64> {
    let (n_steps, n_channels) = run.dim();
    let mut made = Array2::zeros((n_steps, n_columns(n_channels)));
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
            found.iter().enumerate().for_each(|(idx, value)| made[[step, channel * WIDTH + idx]] = *value);
        }
    }
    (0..n_steps).for_each(|step| made[[step, n_channels * WIDTH]] = (step + 1) as f64);
    made
}

/// How channels are weighed together into one. Trees cut one column at a time, so they cannot take a mean over channels
/// that all show the same wear in noise of their own; this can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// One per channel.
    weights: Vec<f64>,
}

/// Columns of a channel that are sums of its values, so that those of a sum of channels follow from them.
const SUMS: [usize; 4] = [0, 1, 2, 4];
/// Penalty on weights of channels in standard deviations, per row: it leaves what one channel says, and keeps two that
/// say the same from weighing against each other.
const PENALTY: f64 = 1e-3;

impl Fusion {
    /// Weights with which the short means of the channels foretell `lives` best, one per row of `columns`, as
    /// [`columns`] makes them. `None` for no row, or when a number is not finite.
    ///
    /// # Source
    ///
    /// Hoerl & Kennard, *Ridge Regression*, Technometrics 12, 1970.
    pub fn fit(columns: &ArrayView2<'_, f64>, lives: &[f64]) -> Option<Self> {
        let (n_rows, n_channels) = (columns.nrows(), columns.ncols() / WIDTH);
        if n_rows == 0 || n_rows != lives.len() {
            return None;
        }
        let mut values = Array2::from_shape_fn((n_rows, n_channels), |(row, channel)| columns[[row, channel * WIDTH]]);
        let mut sds = Vec::with_capacity(n_channels);
        for mut channel in values.columns_mut() {
            let mean = channel.sum() / n_rows as f64;
            channel.mapv_inplace(|value| value - mean);
            let sd = (channel.dot(&channel) / n_rows as f64).sqrt();
            // A channel that never moves says nothing; what is left of it is rounding.
            let sd = if mean.abs() * 1e-9 < sd { sd } else { f64::INFINITY };
            channel.mapv_inplace(|value| value / sd);
            sds.push(sd);
        }
        let middle = mean(lives);
        let targets = Array2::from_shape_fn((n_rows, 1), |(row, _)| lives[row] - middle);
        let mut gram = values.t().dot(&values);
        gram.diag_mut().mapv_inplace(|square| square + PENALTY * n_rows as f64);
        let weights = ridge::solve(gram, values.t().dot(&targets))?;
        Some(Self { weights: weights.iter().zip(&sds).map(|(weight, sd)| weight / sd).collect() })
    }

    /// Channels that are weighed.
    pub fn n_channels(&self) -> usize {
        self.weights.len()
    }

    /// Names of the columns that [`extended`](Self::extended) adds.
    pub fn names(windows: Windows) -> [String; SUMS.len()] {
        let names = names("fused", windows);
        SUMS.map(|idx| names[idx].clone())
    }

    /// A row of [`columns`] with those of the fused channel at its end.
    ///
    /// # Panics
    ///
    /// When it has fewer channels than were weighed.
    pub fn extended(&self, row: &[f64]) -> Vec<f64> {
        let fused = SUMS.map(|idx| {
            self.weights.iter().enumerate().map(|(channel, weight)| weight * row[channel * WIDTH + idx]).sum::<f64>()
        });
        row.iter().copied().chain(fused).collect()
    }
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
    use ndarray::Axis;
    use proptest::prelude::*;

    const WINDOWS: Windows = Windows { short: 2, long: 4, start: 2 };

    #[test]
    fn names_tell_how_far_back_is_looked() {
        let names = names("speed", Windows { short: 5, long: 30, start: 10 });
        assert_eq!((names[1].as_str(), names[5].as_str()), ("speed_mean_30", "speed_moved_most_since_10"));
    }

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
    fn a_fused_channel_is_the_sum_of_its_channels() {
        // Given two channels that foretell the life by their difference, and one that stands still,
        let run = Array2::from_shape_fn((40, 3), |(step, channel)| match channel {
            0 => step as f64 + (step * 7 % 11) as f64,
            1 => 3.0 * (step * 7 % 11) as f64,
            _ => 5.0,
        });
        let made = columns(&run.view(), WINDOWS);
        let lives: Vec<f64> = (0..40).map(|step| 3.0 * made[[step, 0]] - made[[step, WIDTH]]).collect();
        let fusion = Fusion::fit(&made.view(), &lives).unwrap();
        // then its columns are those of that difference, but for what the penalty takes.
        let fused = run.map_axis(Axis(1), |step| 3.0 * step[0] - step[1]).insert_axis(Axis(1));
        let expected = columns(&fused.view(), WINDOWS);
        let extended = fusion.extended(&made.row(39).to_vec());
        for (found, idx) in extended[made.ncols()..].iter().zip(SUMS) {
            assert!((found - expected[[39, idx]]).abs() < 0.02 * expected[[39, 0]], "{found} {}", expected[[39, idx]]);
        }
        assert!(fusion.weights[2].abs() < 1e-9);
        assert_eq!(Fusion::fit(&made.view(), &[]), None);
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
