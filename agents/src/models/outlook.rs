//! What routes ask of a sensor's history: its next values, whether its distribution changed, which of its values are
//! unlike the ones before.

use super::artefact::Artefact;
use analytics::stream::Baseline;
use analytics::{drift, forecast, robust};

/// A history of which a step is missing is filled in up to so many steps per value that there is.
const STEPS_PER_VALUE_MAX: usize = 4;
/// Robust standard deviations from the median at which a value is unlike those before whatever the model says: a forest
/// has not seen what lies outside its training, and takes it for the nearest that it has.
const FAR_SDS: f64 = 6.0;

/// The next values of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// Minutes between two values.
    pub cadence_minutes: i64,
    /// What is said, and how it was chosen.
    pub forecast: forecast::Forecast,
}

/// The next `horizon` values after `history`, (seconds, value) in order of time.
///
/// Without a cadence the median pause is taken, in whole minutes, at least one. Values are brought to equal steps; a gap
/// is bridged by a straight line. `None` for fewer than [`forecast::POINTS_MIN`] values.
pub fn ahead(history: &[(f64, f64)], cadence_minutes: Option<i64>, horizon: usize) -> Option<Ahead> {
    let pauses: Vec<f64> = history.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|pause| 0.0 < *pause).collect();
    let inferred = || robust::median(&pauses).map_or(5, |pause| ((pause / 60.0).round() as i64).max(1));
    let cadence_minutes = cadence_minutes.unwrap_or_else(inferred);
    let step = cadence_minutes as f64 * 60.0;
    let series = even(history, step);
    let candidates = [60, 8 * 60, 24 * 60, 7 * 24 * 60].map(|minutes| (minutes / cadence_minutes) as usize);
    let periods = forecast::periods(&series, &candidates);
    Some(Ahead { cadence_minutes, forecast: forecast::forecast(&series, &periods, horizon, super::fit::LEVEL)? })
}

/// The history at equal steps that end with its last value.
fn even(history: &[(f64, f64)], step: f64) -> Vec<f64> {
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return Vec::new() };
    let most = STEPS_PER_VALUE_MAX * history.len();
    let n_steps = (((last.0 - first.0) / step).floor().max(0.0) as usize).min(most);
    let at = |time: f64| {
        let after = history.partition_point(|point| point.0 < time).min(history.len() - 1);
        let (one, other) = (history[after.saturating_sub(1)], history[after]);
        let span = other.0 - one.0;
        if 0.0 < span { one.1 + (other.1 - one.1) * ((time - one.0) / span).clamp(0.0, 1.0) } else { other.1 }
    };
    (0..=n_steps).rev().map(|back| at(last.0 - back as f64 * step)).collect()
}

/// Kolmogorov–Smirnov distance of two samples and its two-sided p-value; `None` when one is empty.
pub fn distance(baseline: &[f64], recent: &[f64]) -> Option<(f64, f64)> {
    drift::kolmogorov_smirnov(baseline, recent)
}

/// What is said of one value beside those before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// 1.0 is the threshold.
    pub score: f64,
    /// Whether the model found it, or only the distance from what is usual.
    pub by_model: bool,
    /// What the model saw, by name.
    pub features: Vec<(String, f64)>,
}

/// What a detector of single values says of `value`, with the values `before` it, newest first, and the quality of the
/// reading, 0 to 1. Its features are in standard deviations of what was before; `None` when that is fewer than five
/// values or the model takes other features.
pub fn unlike(artefact: &Artefact, value: f64, before: &[f64], quality: f64) -> Option<Judged> {
    let median = robust::median(before)?;
    let spread = robust::robust_sd(before).filter(|spread| 0.0 < *spread);
    // A sensor that never varied: any other value is far away, the same one is not.
    let unit = spread.unwrap_or_else(|| (median.abs() * 1e-3).max(1e-9));
    let scaled = |value: f64| ((value - median) / unit).clamp(-1e6, 1e6);
    let row: Option<Vec<f64>> = artefact
        .inputs
        .iter()
        .map(|name| match name.as_str() {
            "value" => Some(scaled(value)),
            "quality" => Some(quality),
            lag => {
                let lag: usize = lag.strip_prefix("value_lag_")?.parse().ok()?;
                before.get(lag.checked_sub(1)?).map(|value| scaled(*value))
            }
        })
        .collect();
    let row = row?;
    let (model, distance) = (artefact.answer(&artefact.seen(&row)).ok()?.score?, scaled(value).abs() / FAR_SDS);
    let features = artefact.inputs.iter().cloned().zip(row).collect();
    Some(Judged { score: model.max(distance), by_model: distance <= model, features })
}

/// What the detector of one sensor says of `value` at `at`, in seconds since the epoch, by what it was fitted on.
pub fn beyond(baseline: &Baseline, at: f64, value: f64) -> Judged {
    let distance = baseline.distance(at, value);
    let features = vec![("level".to_owned(), baseline.level), ("distance_sds".to_owned(), distance)];
    Judged { score: distance.abs() / FAR_SDS, by_model: true, features }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_bridged_and_the_cadence_is_the_median_pause() {
        let mut history: Vec<(f64, f64)> = (0..40).map(|at| (300.0 * f64::from(at), f64::from(at))).collect();
        history.drain(10..13);
        assert_eq!(even(&history, 300.0), (0..40).map(f64::from).collect::<Vec<_>>());
        let ahead = ahead(&history, None, 3).expect("long enough");
        assert_eq!((ahead.cadence_minutes, ahead.forecast.points.len()), (5, 3));
        assert_eq!(super::ahead(&history[..9], None, 3), None);
    }

    #[test]
    fn a_long_silence_does_not_grow_the_series() {
        let history = [(0.0, 1.0), (60.0, 2.0), (1e9, 3.0)];
        assert!(even(&history, 60.0).len() <= 13);
    }
}
