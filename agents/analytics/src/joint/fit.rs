//! How the sensors of an asset used to deviate together.

use serde::{Deserialize, Serialize};

/// Weight of "no correlation" against what was seen.
///
/// The rows are few and follow one another closely, so that small eigenvalues come out far too small; a tenth keeps the
/// condition number below ten times the number of sensors.
const SHRINKAGE: f64 = 0.1;

/// Scales, correlations and records of clean deviations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fit {
    /// Root mean square deviation of each channel; 0 for one that did not move and so takes no part.
    scales: Vec<f64>,
    /// Largest deviation of each channel, in its scales.
    records: Vec<f64>,
    /// Lower triangle of the correlations, row by row.
    correlations: Vec<f64>,
    /// Lower Cholesky factor of the correlations of the channels that are there, row by row.
    factor: Vec<f64>,
    absent: Vec<bool>,
    /// Largest distance of a clean row.
    record: f64,
}

impl Fit {
    /// From rows of `width` deviations, one row after the other. `None` without a row or when nothing ever moved.
    pub(super) fn new(rows: &[f32], width: usize) -> Option<Self> {
        let n = (rows.len() / width.max(1)) as f64;
        let mut products = vec![0.0; width * width];
        for row in rows.chunks_exact(width) {
            for (i, one) in row.iter().enumerate() {
                for (j, other) in row[..=i].iter().enumerate() {
                    products[i * width + j] += f64::from(*one) * f64::from(*other);
                }
            }
        }
        let scales: Vec<f64> = (0..width).map(|i| (products[i * width + i] / n).sqrt()).collect();
        if n == 0.0 || scales.iter().all(|scale| *scale == 0.0) {
            return None;
        }
        let mut correlations = vec![0.0; width * width];
        for i in 0..width {
            for j in 0..i {
                let scale = n * scales[i] * scales[j];
                if 0.0 < scale {
                    correlations[i * width + j] = (1.0 - SHRINKAGE) * products[i * width + j] / scale;
                }
            }
        }
        let absent = vec![false; width];
        let factor = factored(&correlations, &absent);
        let mut fit = Self { scales, records: vec![0.0; width], correlations, factor, absent, record: 0.0 };
        for row in rows.chunks_exact(width) {
            let row: Vec<f64> = row.iter().map(|deviation| f64::from(*deviation)).collect();
            fit.record = fit.record.max(fit.distance(&row));
            for (idx, record) in fit.records.iter_mut().enumerate() {
                *record = record.max(scaled(row[idx], fit.scales[idx]).abs());
            }
        }
        Some(fit)
    }

    /// Leaves the channels that are `absent` out of the distance, as if there were no such channel.
    pub(super) fn leave_out(&mut self, absent: impl Iterator<Item = bool> + Clone) {
        if absent.clone().ne(self.absent.iter().copied()) {
            self.absent = absent.collect();
            self.factor = factored(&self.correlations, &self.absent);
        }
    }

    /// The distance of `deviations` in limits of `margin` records, and the channel farthest out by its own record.
    pub(super) fn judge(&self, deviations: &[f64], margin: f64) -> (f64, usize) {
        let shares = deviations.iter().enumerate().map(|(idx, deviation)| self.share(idx, *deviation));
        let driver = shares.enumerate().max_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(idx, _)| idx);
        (self.distance(deviations) / (margin * self.record), driver)
    }

    /// A channel's deviation in its records.
    pub(super) fn share(&self, channel: usize, deviation: f64) -> f64 {
        if self.records[channel] == 0.0 {
            return 0.0;
        }
        scaled(deviation, self.scales[channel]).abs() / self.records[channel]
    }

    /// Largest clean deviation of a channel in its unit; `None` for one that takes no part.
    pub(super) fn reach(&self, channel: usize) -> Option<f64> {
        (0.0 < self.records[channel]).then(|| self.records[channel] * self.scales[channel])
    }

    /// Mahalanobis distance: the length of the solution of `factor · x = scaled deviations`.
    fn distance(&self, deviations: &[f64]) -> f64 {
        let width = deviations.len();
        let mut solution = vec![0.0; width];
        let mut square = 0.0;
        for i in 0..width {
            let row = &self.factor[i * width..i * width + i];
            let sum: f64 = row.iter().zip(&solution).map(|(factor, x)| factor * x).sum();
            solution[i] = (scaled(deviations[i], self.scales[i]) - sum) / self.factor[i * width + i];
            square += solution[i] * solution[i];
        }
        square.sqrt()
    }
}

/// Lower Cholesky factor of `correlations` with ones on the diagonal, where what is absent goes with nothing.
fn factored(correlations: &[f64], absent: &[bool]) -> Vec<f64> {
    let width = absent.len();
    let mut factor = vec![0.0; width * width];
    for i in 0..width {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[i * width + k] * factor[j * width + k]).sum();
            let there = !absent[i] && !absent[j];
            let rest = if there { correlations[i * width + j] } else { 0.0 } - sum;
            factor[i * width + j] = if i == j {
                // The shrinkage keeps the matrix positive definite, so the root exists.
                (1.0 - sum).max(f64::EPSILON).sqrt()
            } else {
                rest / factor[j * width + j]
            };
        }
    }
    factor
}

fn scaled(deviation: f64, scale: f64) -> f64 {
    if scale == 0.0 { 0.0 } else { deviation / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_against_the_correlation_is_farther_than_one_along_it() {
        let rows: Vec<f32> =
            (0..200).flat_map(|i| [(i as f32).sin(), (i as f32).sin() + 0.1 * (i as f32 * 1.7).cos()]).collect();
        let fit = Fit::new(&rows, 2).unwrap();
        let (along, against) = (fit.distance(&[0.7, 0.7]), fit.distance(&[0.7, -0.7]));
        assert!(3.0 * along < against, "{along} {against}");
    }

    #[test]
    fn without_correlation_the_distance_is_the_length_in_scales() {
        // Each channel is ±2 and ±3, each combination as often as the others.
        let rows: Vec<f32> = [[2.0, 3.0], [-2.0, 3.0], [2.0, -3.0], [-2.0, -3.0]].concat();
        let fit = Fit::new(&rows, 2).unwrap();
        assert!((fit.distance(&[6.0, 12.0]) - 5.0).abs() < 1e-6);
        let (score, driver) = fit.judge(&[6.0, 12.0], 1.0);
        assert!((score - 5.0 / 2.0f64.sqrt()).abs() < 1e-6 && driver == 1, "{score} {driver}");
    }

    #[test]
    fn a_channel_that_never_moved_takes_no_part() {
        let fit = Fit::new(&[1.0, 0.0, -1.0, 0.0], 2).unwrap();
        assert_eq!((fit.distance(&[0.0, 9.0]), fit.share(1, 9.0), fit.reach(1)), (0.0, 0.0, None));
        assert!(Fit::new(&[0.0, 0.0], 2).is_none());
        assert!(Fit::new(&[], 2).is_none());
    }
}
