//! What a series will do next: several methods, the one that would have done best lately, and how far to trust it.
//!
//! Each method is tried at moments of the past from which the next steps are known (rolling origin); the errors
//! there choose the method and, as conformal quantiles, the width of the interval. Knows no sensor and no calendar: a
//! period is a number of steps.

pub mod ridge;
pub mod season;
pub mod smoothing;

use crate::{conformal, robust};
use ridge::Ridge;
use serde::{Deserialize, Serialize};

/// Values below which nothing is said.
pub const POINTS_MIN: usize = 10;
/// Moments of the past at which the methods are tried, at most.
const ORIGINS_MAX: usize = 12;
/// A series of fewer values than this many periods does not show the period.
const CYCLES_MIN: usize = 2;
/// Lags of the regression, at most.
const LAGS_MAX: usize = 336;
const RIDGE_PENALTY: f64 = 0.1;

/// How the next values are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// As the last value.
    Last,
    /// As one period ago.
    SeasonalNaive,
    /// A damped trend on the series without its seasons.
    DampedTrend,
    /// Half the trend of the whole and a smoothed level on the series without its seasons.
    Theta,
    /// A regression on the values before.
    Ridge,
    /// At each step the middle of what the methods with a season say.
    Median,
}

impl Method {
    /// All of them, the simplest first: it wins a tie.
    pub const ALL: [Self; 6] =
        [Self::Last, Self::SeasonalNaive, Self::DampedTrend, Self::Theta, Self::Ridge, Self::Median];

    /// The method's name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::SeasonalNaive => "seasonal_naive",
            Self::DampedTrend => "damped_trend",
            Self::Theta => "theta",
            Self::Ridge => "ridge",
            Self::Median => "median",
        }
    }

    /// The next `horizon` values after `history`; `periods` in steps, shortest first. `None` when the history is too
    /// short for the method.
    pub fn forecast(self, history: &[f64], periods: &[usize], horizon: usize) -> Option<Vec<f64>> {
        let last = *history.last()?;
        let shown: Vec<usize> =
            periods.iter().copied().filter(|n| 2 <= *n && CYCLES_MIN * n <= history.len()).collect();
        match self {
            Self::Last => Some(vec![last; horizon]),
            Self::SeasonalNaive => season::naive(history, *shown.last()?, horizon),
            Self::DampedTrend | Self::Theta => {
                let split = season::Split::of(history, &shown);
                let level = match self {
                    Self::Theta => smoothing::theta(&split.rest, horizon)?,
                    _ => smoothing::damped(&split.rest, horizon)?,
                };
                Some(level.iter().enumerate().map(|(step, level)| level + split.season(history.len() + step)).collect())
            }
            Self::Ridge => {
                let longest = shown.last().copied().unwrap_or(POINTS_MIN);
                let lags = (2 * longest).min(history.len() / 3).clamp(1, LAGS_MAX);
                // Steps beyond the longest period repeat the forecast of the period before them.
                let steps = horizon.min(longest.max(24)).min(history.len() / 4);
                let ridge = Ridge::fit(&[history], lags, steps, RIDGE_PENALTY, ridge::Scale::One)?;
                let mut extended = history.to_vec();
                while extended.len() < history.len() + horizon {
                    extended.extend(ridge.forecast(&extended)?);
                }
                extended.truncate(history.len() + horizon);
                Some(extended.split_off(history.len()))
            }
            Self::Median => {
                let said = [Self::DampedTrend, Self::Theta, Self::Ridge];
                let mut said: Vec<Vec<f64>> =
                    said.into_iter().filter_map(|method| method.forecast(history, periods, horizon)).collect();
                said.extend(season::naive(history, *shown.first()?, horizon));
                Some(median(&said))
            }
        }
    }
}

/// At each step the middle of several forecasts of the same length.
pub fn median(forecasts: &[Vec<f64>]) -> Vec<f64> {
    let n_steps = forecasts.iter().map(Vec::len).min().unwrap_or(0);
    let at = |step: usize| forecasts.iter().map(|said| said[step]).collect::<Vec<f64>>();
    (0..n_steps).filter_map(|step| robust::median(&at(step))).collect()
}

/// How a method did in the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The method.
    pub method: Method,
    /// Its mean absolute error over all moments and steps tried, in the unit of the series.
    pub mean_absolute_error: f64,
}

/// The next values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The method with the smallest error in the past.
    pub method: Method,
    /// One value per step.
    pub points: Vec<f64>,
    /// Lower and upper end per step; absent when the past was too short to measure errors.
    pub intervals: Option<Vec<(f64, f64)>>,
    /// Every method that could be tried.
    pub trials: Vec<Trial>,
    /// Moments of the past at which they were.
    pub n_origins: usize,
}

/// The next `horizon` values after `history`, at least one, with intervals of `level`, above 0 and below 1.
///
/// `history` holds finite values at equal steps, oldest first; `periods` the lengths of its seasons in steps. `None` for
/// fewer than [`POINTS_MIN`] values. Takes time in proportion to the values and the square of the lags.
pub fn forecast(history: &[f64], periods: &[usize], horizon: usize, level: f64) -> Option<Forecast> {
    if history.len() < POINTS_MIN || horizon == 0 || !history.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut periods = periods.to_vec();
    periods.sort_unstable();
    periods.dedup();
    let origins = origins(history.len(), horizon, periods.first().copied().unwrap_or(1));
    let tried: Vec<(Method, Vec<Vec<f64>>)> = Method::ALL
        .into_iter()
        .filter_map(|method| {
            let errors = origins.iter().map(|origin| {
                let (before, after) = history.split_at(*origin);
                let said = method.forecast(before, &periods, horizon.min(after.len()))?;
                Some(said.iter().zip(after).map(|(said, came)| came - said).collect())
            });
            Some((method, errors.collect::<Option<Vec<Vec<f64>>>>()?))
        })
        .collect();
    let trials: Vec<Trial> = tried
        .iter()
        .filter(|(_, errors)| !errors.is_empty())
        .map(|(method, errors)| {
            let sum: f64 = errors.iter().flatten().map(|error| error.abs()).sum();
            Trial { method: *method, mean_absolute_error: sum / errors.iter().map(Vec::len).sum::<usize>() as f64 }
        })
        .collect();
    let best = trials.iter().min_by(|one, other| one.mean_absolute_error.total_cmp(&other.mean_absolute_error));
    let method = best.map_or(Method::Last, |trial| trial.method);
    let points = method.forecast(history, &periods, horizon)?;
    let errors = tried.iter().find(|(tried, _)| *tried == method).map(|(_, errors)| errors.as_slice()).unwrap_or(&[]);
    let intervals = widths(errors, horizon, level)
        .map(|widths| points.iter().zip(widths).map(|(point, width)| (point - width, point + width)).collect());
    Some(Forecast { method, points, intervals, trials, n_origins: origins.len() })
}

/// Moments from which at least half the horizon is known, the latest last, and before which there is half the history.
fn origins(n: usize, horizon: usize, period: usize) -> Vec<usize> {
    let latest = n - horizon.min(n / 4).max(1);
    let earliest = (n / 2).max(POINTS_MIN - 1).min(latest);
    let room = latest - earliest;
    // At other times of the day other errors are made, so the moments are no whole period apart.
    let step = (room / ORIGINS_MAX).max(1);
    let step = if 1 < period && step.is_multiple_of(period) { step + 1 } else { step };
    let mut origins: Vec<usize> = (0..ORIGINS_MAX).map_while(|back| latest.checked_sub(back * step)).collect();
    origins.retain(|origin| earliest <= *origin);
    origins.reverse();
    origins
}

/// Half the width of the interval at each step: the conformal quantile of the errors made at steps of its like.
fn widths(errors: &[Vec<f64>], horizon: usize, level: f64) -> Option<Vec<f64>> {
    let known = errors.iter().map(Vec::len).min()?;
    let mut widths: Vec<f64> = Vec::with_capacity(horizon);
    for step in 0..known {
        // The nearest steps, as many as are needed for the quantile to be steady.
        let reach = (60 / errors.len()).max(1);
        let from = step.saturating_sub(reach / 2).min(known.saturating_sub(reach));
        let near = from..(from + reach).min(known);
        let sizes: Vec<f64> = errors.iter().flat_map(|errors| &errors[near.clone()]).map(|error| error.abs()).collect();
        let width = conformal::quantile(&sizes, level)?;
        // Nothing gets surer with distance.
        widths.push(widths.last().map_or(width, |last| last.max(width)));
    }
    let last = *widths.last()?;
    // Beyond what was tried errors grow as a random walk's.
    widths.extend((known..horizon).map(|step| last * ((step + 1) as f64 / known as f64).sqrt()));
    Some(widths)
}

/// Which of `candidates` (periods in steps) `history` shows: its autocorrelation there is well above chance and higher
/// than at neighbouring lags.
pub fn periods(history: &[f64], candidates: &[usize]) -> Vec<usize> {
    let split = season::Split::of(history, &[]);
    let n = history.len();
    let at = |lag: usize| season::autocorrelation(&split.detrended(), lag);
    let mut found: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|period| 2 <= *period && CYCLES_MIN * period <= n)
        .filter(|period| {
            let (here, half) = (at(*period), at(period / 2));
            // The two standard errors of white noise, and a clear hill.
            2.0 / (n as f64).sqrt() < here && 0.2 < here && half + 0.1 < here
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;
    use std::f64::consts::TAU;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        (0..n).map(|_| (0..12).map(|_| chance.random::<f64>()).sum::<f64>() - 6.0).collect()
    }

    fn daily(n: usize, sd: f64, seed: u64) -> Vec<f64> {
        let wave = |at: usize| 20.0 + 5.0 * (TAU * at as f64 / 24.0).sin();
        noise(n, seed).iter().enumerate().map(|(at, noise)| wave(at) + sd * noise).collect()
    }

    #[test]
    fn a_daily_wave_goes_on() {
        let whole = daily(400, 0.1, 1);
        let found = forecast(&whole[..376], &[24], 24, 0.9).expect("long enough");
        assert_ne!(found.method, Method::Last);
        let error = found.points.iter().zip(&whole[376..]).map(|(said, came)| (said - came).abs()).sum::<f64>() / 24.0;
        assert!(error < 0.2, "{error} {found:?}");
    }

    #[test]
    fn a_random_walk_is_best_left_where_it_is() {
        let mut level = 0.0;
        let walk: Vec<f64> = noise(300, 3)
            .iter()
            .map(|step| {
                level += step;
                level
            })
            .collect();
        let found = forecast(&walk, &[], 12, 0.9).expect("long enough");
        let last = found.trials.iter().find(|trial| trial.method == Method::Last).expect("always tried");
        let best = found.trials.iter().map(|trial| trial.mean_absolute_error).fold(f64::INFINITY, f64::min);
        assert!(last.mean_absolute_error < 1.3 * best, "{found:?}");
    }

    #[test]
    fn intervals_cover_what_they_promise() {
        let (mut inside, mut n) = (0, 0);
        for seed in 0..60 {
            let whole = daily(312, 1.0, seed);
            let found = forecast(&whole[..288], &[24], 24, 0.9).expect("long enough");
            for ((low, high), came) in found.intervals.expect("long enough").iter().zip(&whole[288..]) {
                inside += usize::from(low <= came && came <= high);
                n += 1;
            }
        }
        let share = inside as f64 / n as f64;
        assert!((0.87..0.95).contains(&share), "{share}");
    }

    #[test]
    fn a_short_history_says_little_and_a_shorter_one_nothing() {
        assert_eq!(forecast(&[1.0; 9], &[], 5, 0.9), None);
        let flat = forecast(&[7.0; 10], &[], 5, 0.9).expect("enough");
        assert!(flat.points.iter().all(|point| (point - 7.0).abs() < 1e-9), "{flat:?}");
        let mut broken = vec![1.0; 20];
        broken[3] = f64::NAN;
        assert_eq!(forecast(&broken, &[], 5, 0.9), None);
    }

    #[test]
    fn a_period_is_seen_where_it_is() {
        assert_eq!(periods(&daily(400, 1.0, 5), &[12, 24, 168]), [24, 168]);
        assert_eq!(periods(&noise(400, 5), &[12, 24, 168]), [0; 0]);
    }
}
