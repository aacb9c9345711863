//! The three generators of the old system's simulate routes, with bounds.
//!
//! All give temperatures in °C, rounded to two decimals. Their chance is fixed, as it was there: the same
//! parameters give the same values. They panic if `now` lies within a year of the first instant that a
//! [`Timestamp`] can hold.

use crate::chance::{normal, stream};
use crate::{OutOfRange, within};
use domain::Timestamp;
use domain::reading::SensorType;
use jiff::SignedDuration;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::f64::consts::TAU;

/// What all of them measure.
pub const SENSOR_TYPE: SensorType = SensorType::Temperature;
/// The unit of all values.
pub const UNIT: &str = "celsius";
/// Most values that one call generates.
pub const SAMPLES_MAX: i64 = 10_000;
/// Values generated for each anomaly that is asked for, the anomaly included.
pub const SAMPLES_PER_ANOMALY: i64 = 5;

const DRIFT_SEED: u64 = 42;
const ANOMALY_SEED: u64 = 123;
const NORMAL_SEED: u64 = 456;
/// Longest time that normal data may cover: one year.
const DURATION_MINUTES_MAX: i64 = 525_600;

/// One generated value.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicSample {
    /// The value, in °C.
    pub value: f64,
    /// When it was, supposedly, measured.
    pub taken_at: Timestamp,
    /// What it is part of, for those who look at the reading later.
    pub metadata: Map<String, Value>,
}

/// Values that climb.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Drift {
    /// The sensor; `None` leaves the choice to the caller.
    pub sensor_id: Option<String>,
    /// By how much they climb in all, -100 to 100.
    pub drift_magnitude: f64,
    /// How many, 1 to [`SAMPLES_MAX`]; one a minute.
    pub num_samples: i64,
    /// Where they begin, -100 to 200.
    pub base_value: f64,
    /// Standard deviation of their noise, 0 to 100.
    pub noise_level: f64,
}

impl Default for Drift {
    fn default() -> Self {
        Self { sensor_id: None, drift_magnitude: 2.0, num_samples: 50, base_value: 25.0, noise_level: 1.0 }
    }
}

/// Values among which one in five is far off.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Anomaly {
    /// The sensor; `None` leaves the choice to the caller.
    pub sensor_id: Option<String>,
    /// How far off, 0 to 100; multiplied by 2 to 5.
    pub anomaly_magnitude: f64,
    /// How many are, 1 to a fifth of [`SAMPLES_MAX`].
    pub num_anomalies: i64,
}

impl Default for Anomaly {
    fn default() -> Self {
        Self { sensor_id: None, anomaly_magnitude: 5.0, num_anomalies: 10 }
    }
}

/// Values of a quiet day.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Normal {
    /// The sensor; `None` leaves the choice to the caller.
    pub sensor_id: Option<String>,
    /// How many, 1 to [`SAMPLES_MAX`].
    pub num_samples: i64,
    /// The time they cover, 1 minute to a year.
    pub duration_minutes: i64,
}

impl Default for Normal {
    fn default() -> Self {
        Self { sensor_id: None, num_samples: 100, duration_minutes: 60 }
    }
}

/// Values that climb, one a minute, the last a minute before `now`.
///
/// # Errors
///
/// A parameter outside of its range.
pub fn drift_event(drift: &Drift, now: Timestamp) -> Result<Vec<ClassicSample>, OutOfRange> {
    let n_samples = within("num_samples", drift.num_samples, 1..=SAMPLES_MAX)?;
    let magnitude = within("drift_magnitude", drift.drift_magnitude, -100.0..=100.0)?;
    let base = within("base_value", drift.base_value, -100.0..=200.0)?;
    let noise = within("noise_level", drift.noise_level, 0.0..=100.0)?;
    let mut rng = stream(DRIFT_SEED, "drift");
    let sample = |idx: i64| {
        let progress = idx as f64 / n_samples as f64;
        let value = base + progress * magnitude + noise * normal(&mut rng);
        ClassicSample {
            value: rounded(value.clamp(0.0, 100.0)),
            taken_at: now - SignedDuration::from_mins(n_samples - idx),
            metadata: metadata("drift", idx, [("drift_magnitude", json!(magnitude)), ("progress", json!(progress))]),
        }
    };
    Ok((0..n_samples).map(sample).collect())
}

/// Values around 25 °C, one a minute until `now`; one in five, at random places, is far above or below.
///
/// # Errors
///
/// A parameter outside of its range.
pub fn anomaly_event(anomaly: &Anomaly, now: Timestamp) -> Result<Vec<ClassicSample>, OutOfRange> {
    let n_anomalies = within("num_anomalies", anomaly.num_anomalies, 1..=SAMPLES_MAX / SAMPLES_PER_ANOMALY)?;
    let magnitude = within("anomaly_magnitude", anomaly.anomaly_magnitude, 0.0..=100.0)?;
    let n_samples = n_anomalies * SAMPLES_PER_ANOMALY;
    let mut rng = stream(ANOMALY_SEED, "anomaly");
    let mut anomalous: Vec<bool> = (0..n_samples).map(|idx| idx < n_anomalies).collect();
    anomalous.shuffle(&mut rng);
    let sample = |(idx, is_anomaly): (i64, bool)| {
        let value = match (is_anomaly, rng.random_bool(0.5)) {
            (true, true) => 25.0 + magnitude * rng.random_range(3.0..5.0),
            (true, false) => 25.0 - magnitude * rng.random_range(2.0..3.0),
            (false, _) => 25.0 + normal(&mut rng),
        };
        ClassicSample {
            value: rounded(value.clamp(-10.0, 60.0)),
            taken_at: now - SignedDuration::from_mins(n_samples - 1 - idx),
            metadata: metadata(
                "anomaly",
                idx,
                [("anomaly_magnitude", json!(magnitude)), ("is_anomaly", json!(is_anomaly))],
            ),
        }
    };
    Ok((0..n_samples).zip(anomalous).map(sample).collect())
}

/// Values that follow the hour of the day (UTC), evenly spread over the time that ends at `now`.
///
/// # Errors
///
/// A parameter outside of its range.
pub fn normal_data(parameters: &Normal, now: Timestamp) -> Result<Vec<ClassicSample>, OutOfRange> {
    let n_samples = within("num_samples", parameters.num_samples, 1..=SAMPLES_MAX)?;
    let n_minutes = within("duration_minutes", parameters.duration_minutes, 1..=DURATION_MINUTES_MAX)?;
    let mut rng = stream(NORMAL_SEED, "normal");
    let sample = |idx: i64| {
        let before_now = SignedDuration::from_millis(n_minutes * 60_000 * (n_samples - 1 - idx) / n_samples);
        let taken_at = now - before_now;
        let hour = taken_at.as_second().rem_euclid(86_400) as f64 / 3600.0;
        let value = 23.0 + 3.0 * (TAU * hour / 24.0).sin() + 0.5 * normal(&mut rng);
        ClassicSample {
            value: rounded(value.clamp(15.0, 35.0)),
            taken_at,
            metadata: metadata("normal", idx, [("hour_of_day", json!(hour.floor()))]),
        }
    };
    Ok((0..n_samples).map(sample).collect())
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Metadata of the value `idx`, with `<kind>_simulation` as its flag.
fn metadata<const N: usize>(kind: &str, idx: i64, own: [(&str, Value); N]) -> Map<String, Value> {
    let common = [
        ("simulation".to_owned(), json!(true)),
        (format!("{kind}_simulation"), json!(true)),
        ("sample_index".to_owned(), json!(idx)),
    ];
    common.into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-02T12:00:00Z".parse().unwrap()
    }

    fn minutes_ago(sample: &ClassicSample) -> f64 {
        now().duration_since(sample.taken_at).as_secs_f64() / 60.0
    }

    fn mean(samples: &[ClassicSample]) -> f64 {
        samples.iter().map(|sample| sample.value).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn drifting_values_climb_by_the_magnitude() {
        let drift = Drift { drift_magnitude: 20.0, num_samples: 1000, ..Drift::default() };
        let samples = drift_event(&drift, now()).unwrap();
        assert_eq!(samples.len(), 1000);
        assert!((mean(&samples[..100]) - 26.0).abs() < 0.5);
        assert!((mean(&samples[900..]) - 44.0).abs() < 0.5);
        assert_eq!((minutes_ago(&samples[0]), minutes_ago(&samples[999])), (1000.0, 1.0));
        assert!(samples.iter().all(|sample| (0.0..=100.0).contains(&sample.value)));
    }

    #[test]
    fn one_value_in_five_is_anomalous() {
        let samples = anomaly_event(&Anomaly::default(), now()).unwrap();
        assert_eq!(samples.len(), 50);
        let (anomalous, others): (Vec<_>, Vec<_>) =
            samples.iter().partition(|sample| sample.metadata["is_anomaly"] == json!(true));
        assert_eq!(anomalous.len(), 10);
        assert!(anomalous.iter().all(|sample| 9.9 < (sample.value - 25.0).abs()));
        assert!(others.iter().all(|sample| (sample.value - 25.0).abs() < 5.0));
        assert_eq!((minutes_ago(&samples[0]), minutes_ago(&samples[49])), (49.0, 0.0));
        assert!(samples.iter().all(|sample| (-10.0..=60.0).contains(&sample.value)));
    }

    #[test]
    fn normal_values_follow_the_hour_and_end_now() {
        let day = Normal { num_samples: 1440, duration_minutes: 1440, ..Normal::default() };
        let samples = normal_data(&day, now()).unwrap();
        assert_eq!((minutes_ago(&samples[0]), minutes_ago(&samples[1439])), (1439.0, 0.0));
        let around = |hour: f64| {
            let near = |sample: &&ClassicSample| sample.metadata["hour_of_day"] == json!(hour);
            mean(&samples.iter().filter(near).cloned().collect::<Vec<_>>())
        };
        assert!((around(6.0) - 26.0).abs() < 0.3 && (around(18.0) - 20.0).abs() < 0.3);
        assert_eq!(normal_data(&Normal { num_samples: 1, ..day }, now()).unwrap()[0].taken_at, now());
    }

    #[test]
    fn metadata_says_that_it_is_a_simulation_and_which() {
        let drift = drift_event(&Drift::default(), now()).unwrap();
        assert_eq!(
            serde_json::to_string(&drift[25].metadata).unwrap(),
            r#"{"drift_magnitude":2.0,"drift_simulation":true,"progress":0.5,"sample_index":25,"simulation":true}"#
        );
    }

    #[test]
    fn values_are_rounded_and_the_same_each_time() {
        let samples = drift_event(&Drift::default(), now()).unwrap();
        assert!(samples.iter().all(|sample| rounded(sample.value) == sample.value));
        assert_eq!(samples, drift_event(&Drift::default(), now()).unwrap());
    }

    #[test]
    fn a_parameter_out_of_range_is_named() {
        let check = |result: Result<Vec<ClassicSample>, OutOfRange>, message: &str| {
            assert_eq!(result.unwrap_err().to_string(), message);
        };
        let drift = |change: fn(&mut Drift)| {
            let mut drift = Drift::default();
            change(&mut drift);
            drift_event(&drift, now())
        };
        check(drift(|d| d.num_samples = 0), "num_samples must be between 1 and 10000, got 0");
        check(drift(|d| d.num_samples = i64::MAX), "num_samples must be between 1 and 10000, got 9223372036854775807");
        check(drift(|d| d.drift_magnitude = f64::NAN), "drift_magnitude must be between -100 and 100, got NaN");
        check(drift(|d| d.base_value = f64::INFINITY), "base_value must be between -100 and 200, got inf");
        check(drift(|d| d.noise_level = -1.0), "noise_level must be between 0 and 100, got -1");
        let anomaly = Anomaly { num_anomalies: 2001, ..Anomaly::default() };
        check(anomaly_event(&anomaly, now()), "num_anomalies must be between 1 and 2000, got 2001");
        let normal = Normal { duration_minutes: -5, ..Normal::default() };
        check(normal_data(&normal, now()), "duration_minutes must be between 1 and 525600, got -5");
    }

    #[test]
    fn absent_parameters_are_the_old_defaults() {
        assert_eq!(serde_json::from_str::<Drift>("{}").unwrap(), Drift::default());
        let anomaly: Anomaly = serde_json::from_str(r#"{"num_anomalies": 3, "sensor_id": null}"#).unwrap();
        assert_eq!(anomaly, Anomaly { num_anomalies: 3, ..Anomaly::default() });
    }
}
