//! Exponential smoothing of a series without seasons.

use crate::robust;

/// Levels of the smoothing constants that are tried.
const ALPHAS: [f64; 9] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95];
const BETAS: [f64; 4] = [0.0, 0.02, 0.1, 0.3];
const DAMPINGS: [f64; 3] = [0.8, 0.9, 0.98];

/// The next `horizon` values by Holt's linear trend, damped, with the constants of the least squared error one step
/// ahead. `None` for fewer than three values.
///
/// # Source
///
/// Gardner & McKenzie, *Forecasting Trends in Time Series*, Management Science 31, 1985.
pub fn damped(series: &[f64], horizon: usize) -> Option<Vec<f64>> {
    if series.len() < 3 {
        return None;
    }
    let run = |alpha: f64, beta: f64, damping: f64| {
        let (mut level, mut trend, mut squares) = (series[0], 0.0, 0.0);
        for value in &series[1..] {
            let expected = level + damping * trend;
            let error = value - expected;
            squares += error * error;
            level = expected + alpha * error;
            trend = damping * trend + alpha * beta * error;
        }
        (squares, level, trend)
    };
    let mut best = (f64::INFINITY, 0.0, 0.0, 0.0);
    for alpha in ALPHAS {
        for beta in BETAS {
            for damping in DAMPINGS {
                let (squares, level, trend) = run(alpha, beta, damping);
                if squares < best.0 {
                    best = (squares, level, trend, damping);
                }
            }
        }
    }
    let (squares, level, trend, damping) = best;
    let mut ahead = 0.0;
    let mut factor = 1.0;
    let point = |_| {
        factor *= damping;
        ahead += factor;
        level + ahead * trend
    };
    squares.is_finite().then(|| (0..horizon).map(point).collect())
}

/// The next `horizon` values by the theta method: a smoothed level, and half the slope of the whole series.
/// `None` for fewer than three values.
///
/// # Source
///
/// Assimakopoulos & Nikolopoulos, *The theta model*, IJF 16, 2000, in the form of Hyndman & Billah, IJF 19, 2003; the
/// slope by Theil–Sen.
pub fn theta(series: &[f64], horizon: usize) -> Option<Vec<f64>> {
    if series.len() < 3 {
        return None;
    }
    let run = |alpha: f64| {
        let (mut level, mut squares) = (series[0], 0.0);
        for value in &series[1..] {
            let error = value - level;
            squares += error * error;
            level += alpha * error;
        }
        (squares, level)
    };
    let fitted = ALPHAS.map(|alpha| (alpha, run(alpha)));
    let (alpha, (_, level)) = fitted.into_iter().min_by(|one, other| one.1.0.total_cmp(&other.1.0))?;
    // Slope over thinned points: Theil–Sen looks at every pair.
    let stride = series.len().div_ceil(200);
    let points: Vec<(f64, f64)> =
        series.iter().enumerate().step_by(stride).map(|(at, value)| (at as f64, *value)).collect();
    let half = 0.5 * robust::theil_sen(&points)?.slope;
    let lag = (1.0 - (1.0 - alpha).powi(series.len() as i32)) / alpha;
    Some((0..horizon).map(|step| level + half * (step as f64 + lag)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays() {
        for said in [damped(&[4.0; 20], 5).unwrap(), theta(&[4.0; 20], 5).unwrap()] {
            assert!(said.iter().all(|value| (value - 4.0).abs() < 1e-9), "{said:?}");
        }
    }

    #[test]
    fn a_line_goes_on_more_slowly() {
        let line: Vec<f64> = (0..100).map(f64::from).collect();
        let said = damped(&line, 10).unwrap();
        assert!(said.windows(2).all(|pair| pair[0] < pair[1]), "{said:?}");
        assert!((99.0..110.0).contains(&said[9]), "{said:?}");
        // Theta of a straight line: half its slope from the smoothed level on, which lags behind by 1/α − 1.
        let said = theta(&line, 10).unwrap();
        assert!((said[9] - said[0] - 4.5).abs() < 1e-9, "{said:?}");
        assert!((said[0] - 99.5).abs() < 0.1, "{said:?}");
    }

    #[test]
    fn two_values_are_not_enough() {
        assert_eq!((damped(&[1.0, 2.0], 3), theta(&[1.0, 2.0], 3)), (None, None));
    }
}
