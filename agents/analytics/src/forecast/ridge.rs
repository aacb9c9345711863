//! Linear regression of the next values on those before, with a penalty on large weights.
//!
//! All steps ahead are fitted at once, each with weights of its own (direct forecast), from every window of one or many
//! series; each window is taken relative to its mean, so that the level of a series does not matter.

use ndarray::{Array1, Array2, Axis};

/// Windows gathered before they are multiplied out, which bounds memory.
const BLOCK: usize = 512;

/// What the windows of a series are divided by before they are pooled with those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Nothing: all series have the same unit.
    One,
    /// The standard deviation of the window.
    Spread,
}

/// A fitted regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// One row per lag, the oldest first; one column per step ahead.
    weights: Array2<f64>,
    scale: Scale,
}

impl Ridge {
    /// Fits weights from `lags` values to the next `horizon` ones on all windows of `series`.
    ///
    /// `penalty` is relative to the mean square of a lag; above 0. `None` when there is no window, or the numbers are
    /// such that there is no solution.
    ///
    /// # Source
    ///
    /// Hoerl & Kennard, *Ridge Regression*, Technometrics 12, 1970; (XᵀX + λI)⁻¹XᵀY by Cholesky's decomposition.
    pub fn fit(series: &[&[f64]], lags: usize, horizon: usize, penalty: f64, scale: Scale) -> Option<Self> {
        if lags == 0 || horizon == 0 {
            return None;
        }
        let mut gram = Array2::<f64>::zeros((lags, lags));
        let mut cross = Array2::<f64>::zeros((lags, horizon));
        let mut n_windows = 0;
        for values in series {
            let n = (values.len() + 1).saturating_sub(lags + horizon);
            for from in (0..n).step_by(BLOCK) {
                let rows = BLOCK.min(n - from);
                let (mut inputs, mut targets) = (Array2::zeros((rows, lags)), Array2::zeros((rows, horizon)));
                for row in 0..rows {
                    let window = &values[from + row..from + row + lags + horizon];
                    let (mean, unit) = normal(&window[..lags], scale);
                    (0..lags).for_each(|lag| inputs[[row, lag]] = (window[lag] - mean) / unit);
                    (0..horizon).for_each(|step| targets[[row, step]] = (window[lags + step] - mean) / unit);
                }
                gram += &inputs.t().dot(&inputs);
                cross += &inputs.t().dot(&targets);
                n_windows += rows;
            }
        }
        let square = gram.diag().sum() / lags as f64;
        if n_windows == 0 {
            return None;
        }
        gram.diag_mut().mapv_inplace(|value| value + penalty * square + f64::EPSILON);
        Some(Self { weights: solve(gram, cross)?, scale })
    }

    /// Values that a forecast looks at.
    pub fn lags(&self) -> usize {
        self.weights.nrows()
    }

    /// The values after `history`, as many as were fitted. `None` when it is shorter than the lags.
    pub fn forecast(&self, history: &[f64]) -> Option<Vec<f64>> {
        let window = history.get(history.len().checked_sub(self.lags())?..)?;
        let (mean, unit) = normal(window, self.scale);
        let inputs: Array1<f64> = window.iter().map(|value| (value - mean) / unit).collect();
        Some(inputs.dot(&self.weights).iter().map(|value| mean + unit * value).collect())
    }
}

fn normal(window: &[f64], scale: Scale) -> (f64, f64) {
    let n = window.len() as f64;
    let mean = window.iter().sum::<f64>() / n;
    let unit = match scale {
        Scale::One => 1.0,
        Scale::Spread => {
            let sd = (window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
            if 0.0 < sd { sd } else { 1.0 }
        }
    };
    (mean, unit)
}

/// X with `a`·X = `b` for a symmetric, positive `a`; `None` when it is not.
pub(crate) fn solve(mut a: Array2<f64>, mut b: Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    for column in 0..n {
        for row in column..n {
            let (head, tail) = (a.row(column), a.row(row));
            let (head, tail) = (head.as_slice()?, tail.as_slice()?);
            let product: f64 = head[..column].iter().zip(&tail[..column]).map(|(one, other)| one * other).sum();
            let value = a[[row, column]] - product;
            if row == column {
                if value <= 0.0 || !value.is_finite() {
                    return None;
                }
                a[[row, row]] = value.sqrt();
            } else {
                a[[row, column]] = value / a[[column, column]];
            }
        }
    }
    for row in 0..n {
        let (before, mut rest) = b.view_mut().split_at(Axis(0), row);
        let mut own = rest.row_mut(0);
        (0..row).for_each(|other| own.scaled_add(-a[[row, other]], &before.row(other)));
        own.mapv_inplace(|value| value / a[[row, row]]);
    }
    for row in (0..n).rev() {
        let (mut front, after) = b.view_mut().split_at(Axis(0), row + 1);
        let mut own = front.row_mut(row);
        (row + 1..n).for_each(|other| own.scaled_add(-a[[other, row]], &after.row(other - row - 1)));
        own.mapv_inplace(|value| value / a[[row, row]]);
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn a_small_system_is_solved() {
        let a = array![[4.0, 2.0], [2.0, 3.0]];
        let x = solve(a.clone(), array![[8.0], [7.0]]).unwrap();
        assert!((x[[0, 0]] - 1.25).abs() < 1e-12 && (x[[1, 0]] - 1.5).abs() < 1e-12, "{x}");
        assert_eq!(solve(array![[1.0, 2.0], [2.0, 1.0]], array![[1.0], [1.0]]), None);
    }

    #[test]
    fn a_period_is_learnt_from_the_windows() {
        let series: Vec<f64> = (0..120).map(|at| [1.0, 5.0, -2.0, 0.0, 3.0][at % 5]).collect();
        let ridge = Ridge::fit(&[&series], 10, 7, 1e-9, Scale::One).unwrap();
        let said = ridge.forecast(&series).unwrap();
        let came = [1.0, 5.0, -2.0, 0.0, 3.0, 1.0, 5.0];
        assert!(said.iter().zip(came).all(|(said, came)| (said - came).abs() < 1e-3), "{said:?}");
    }

    #[test]
    fn too_short_a_series_teaches_nothing() {
        assert_eq!(Ridge::fit(&[&[1.0; 9]], 8, 2, 0.1, Scale::One), None);
        let ridge = Ridge::fit(&[&[1.0; 12]], 8, 2, 0.1, Scale::Spread).unwrap();
        assert_eq!(ridge.forecast(&[1.0; 7]), None);
        assert_eq!(ridge.forecast(&[3.0; 8]).unwrap(), [3.0, 3.0]);
    }

    proptest! {
        #[test]
        fn a_forecast_moves_with_the_level(values in prop::collection::vec(-10.0..10.0f64, 40..80), by in -1e3..1e3f64) {
            let moved: Vec<f64> = values.iter().map(|value| value + by).collect();
            let said = |series: &[f64]| Ridge::fit(&[series], 6, 3, 0.1, Scale::Spread).unwrap().forecast(series).unwrap();
            for (one, other) in said(&values).iter().zip(said(&moved)) {
                prop_assert!((one + by - other).abs() < 1e-6, "{one} {other}");
            }
        }
    }
}
