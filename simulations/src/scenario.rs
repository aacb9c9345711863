//! Stories with a known end.

use crate::chance::stream;
use crate::fault::{Growth, Shape};
use crate::pump::{BEARING_TEMPERATURE_MAX, Fault, Pump};
use crate::{Duty, OutOfRange, Sample, within};
use domain::{AssetId, SensorId, Timestamp};
use jiff::SignedDuration;
use rand::RngExt;
use std::ops::RangeInclusive;

/// Readings of the healthy machine that come first.
pub const N_HISTORY: usize = 400;
/// How many readings of the fault can be asked for.
pub const N_FAULT: RangeInclusive<usize> = 5..=200;
/// Time between two readings, in both parts: a detector that minds the cadence sees no change of it.
pub const CADENCE: SignedDuration = SignedDuration::from_hours(1);

/// Hours from the last reading to the failure. Six days leave a technician room on either side of a weekend.
const REMAINING_HOURS: RangeInclusive<f64> = 144.0..=192.0;

/// What really is the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The sensor that shows it.
    pub sensor: SensorId,
    /// The machine that fails.
    pub asset: AssetId,
    /// When the fault began.
    pub fault_onset: Timestamp,
    /// The value of the sensor that counts as failure.
    pub limit: f64,
    /// When the sensor gets there.
    pub failure_at: Timestamp,
}

/// What a machine sent, and what was really the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The healthy machine, oldest first.
    pub history: Vec<Sample>,
    /// What follows, from the onset of the fault on, oldest first.
    pub fault: Vec<Sample>,
    /// The truth.
    pub truth: Truth,
}

impl Scenario {
    /// Everything, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.history.iter().chain(&self.fault)
    }
}

/// A pump on steady duty whose bearing wears out: [`N_HISTORY`] healthy readings of its bearing temperature, then
/// `n_readings` of the fault, the last at `end`.
///
/// The wear is linear and clear: each reading lies two to five standard deviations of the noise above the one
/// before, and the trend leads to the limit six to eight days after `end`. Names contain the lower half of `seed`,
/// so that two runs are two machines.
///
/// # Errors
///
/// `n_readings` outside of [`N_FAULT`]; it is called `sensor_events`, as clients know it.
///
/// # Panics
///
/// `end` lies within a month of the first or last instant that a [`Timestamp`] can hold.
pub fn golden_path(seed: u64, n_readings: usize, end: Timestamp) -> Result<Scenario, OutOfRange> {
    within("sensor_events", n_readings, N_FAULT)?;
    let fault_onset = end - CADENCE * n_readings as i32;
    let remaining_hours = stream(seed, "golden path").random_range(REMAINING_HOURS);
    let failure_at = end + SignedDuration::from_secs((remaining_hours * 3600.0) as i64);

    let tag = seed as u32;
    let sensor = SensorId::new(format!("demo-sensor-{tag:08x}"));
    let asset = AssetId::new(format!("demo-pump-{tag:08x}"));
    let wear = Fault::BearingWear(Growth { onset: fault_onset, failure_at, shape: Shape::Linear });
    let mut pump = Pump::new(asset.clone(), Duty::Steady, seed).with_fault(wear);
    let mut reading = |step: usize| {
        let [temperature, ..] = pump.sample(fault_onset + CADENCE * (step as i32 - N_HISTORY as i32 + 1));
        Sample { sensor: sensor.clone(), ..temperature }
    };
    // The last healthy reading is taken at the onset, when there is nothing to see yet.
    let history = (0..N_HISTORY).map(&mut reading).collect();
    let fault = (N_HISTORY..N_HISTORY + n_readings).map(&mut reading).collect();
    let truth = Truth { sensor, asset, fault_onset, limit: BEARING_TEMPERATURE_MAX, failure_at };
    Ok(Scenario { history, fault, truth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end() -> Timestamp {
        "2026-03-06T17:00:00.25Z".parse().unwrap()
    }

    fn mean_and_deviation(samples: &[Sample]) -> (f64, f64) {
        let n_samples = samples.len() as f64;
        let mean = samples.iter().map(|sample| sample.value).sum::<f64>() / n_samples;
        let variance = samples.iter().map(|sample| (sample.value - mean).powi(2)).sum::<f64>() / n_samples;
        (mean, variance.sqrt())
    }

    /// Hours from `end` until the least-squares line through the fault's readings reaches the limit.
    fn extrapolated_hours(scenario: &Scenario) -> f64 {
        let hours = |sample: &Sample| sample.taken_at.duration_since(end()).as_secs_f64() / 3600.0;
        let n_samples = scenario.fault.len() as f64;
        let mean_hours = scenario.fault.iter().map(hours).sum::<f64>() / n_samples;
        let (mean_value, _) = mean_and_deviation(&scenario.fault);
        let (mut both, mut square) = (0.0, 0.0);
        for sample in &scenario.fault {
            both += (hours(sample) - mean_hours) * (sample.value - mean_value);
            square += (hours(sample) - mean_hours).powi(2);
        }
        mean_hours + (scenario.truth.limit - mean_value) * square / both
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_truth_is_what_the_readings_lead_to(seed: u64, n_readings in N_FAULT) {
            let scenario = golden_path(seed, n_readings, end()).unwrap();
            let remaining = scenario.truth.failure_at.duration_since(end()).as_secs_f64() / 3600.0;
            prop_assert!(REMAINING_HOURS.contains(&remaining.ceil()));
            // Five readings fix the slope to a tenth or so, fifteen to a fiftieth.
            let tolerance = if n_readings < 15 { 0.45 } else { 0.10 };
            let error = extrapolated_hours(&scenario) / remaining - 1.0;
            prop_assert!(error.abs() < tolerance, "off by {error}");
        }

        #[test]
        fn the_fault_departs_clearly_and_only_upwards(seed: u64, n_readings in N_FAULT) {
            let scenario = golden_path(seed, n_readings, end()).unwrap();
            let (mean, deviation) = mean_and_deviation(&scenario.history);
            let score = |sample: &Sample| (sample.value - mean) / deviation;
            prop_assert!(scenario.fault[3..].iter().all(|sample| 3.0 < score(sample)));
            prop_assert!(12.0 < score(&scenario.fault[n_readings - 1]));
            prop_assert!(scenario.fault.windows(5).all(|five| five[0].value < five[4].value));
            prop_assert!(scenario.fault[n_readings - 1].value < scenario.truth.limit);
        }

        #[test]
        fn the_history_is_stationary(seed: u64) {
            let scenario = golden_path(seed, 5, end()).unwrap();
            let (early, late) = scenario.history.split_at(N_HISTORY / 2);
            let ((early_mean, early_deviation), (late_mean, late_deviation)) =
                (mean_and_deviation(early), mean_and_deviation(late));
            // Means of 200 values differ by a tenth of their deviation, give or take; five times that is no chance.
            prop_assert!((early_mean - late_mean).abs() < 0.5 * early_deviation);
            prop_assert!((0.7..1.4).contains(&(early_deviation / late_deviation)));
        }
    }

    #[test]
    fn the_parts_join_and_end_where_they_should() {
        let scenario = golden_path(7, 15, end()).unwrap();
        let times: Vec<Timestamp> = scenario.samples().map(|sample| sample.taken_at).collect();
        assert_eq!(times.len(), N_HISTORY + 15);
        assert!(times.windows(2).all(|pair| pair[1].duration_since(pair[0]) == CADENCE));
        assert_eq!(times[times.len() - 1], end());
        assert_eq!(times[N_HISTORY - 1], scenario.truth.fault_onset);
        let Truth { sensor, asset, .. } = &scenario.truth;
        assert!(scenario.samples().all(|sample| sample.sensor == *sensor && sample.asset == *asset));
        assert_eq!((sensor.as_str(), asset.as_str()), ("demo-sensor-00000007", "demo-pump-00000007"));
    }

    #[test]
    fn the_same_seed_gives_the_same_scenario() {
        assert_eq!(golden_path(7, 15, end()), golden_path(7, 15, end()));
        assert_ne!(golden_path(7, 15, end()), golden_path(8, 15, end()));
    }

    #[test]
    fn too_few_or_too_many_readings_are_refused() {
        for n_readings in [0, 4, 201] {
            let message = golden_path(7, n_readings, end()).unwrap_err().to_string();
            assert_eq!(message, format!("sensor_events must be between 5 and 200, got {n_readings}"));
        }
    }
}
