//! Sensors that lie: the machine is well, its instrument is not.

use crate::Sample;
use crate::chance::{normal, stream};
use crate::signal::seconds_between;
use domain::{SensorId, Timestamp};

/// What is wrong with an instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Defect {
    /// It repeats the last value from before.
    Stuck,
    /// It adds a bias that grows by so many units an hour.
    Drifting {
        /// Units per hour.
        per_hour: f64,
    },
    /// It adds white noise.
    Noisy {
        /// Standard deviation, in units.
        sigma: f64,
    },
    /// It shows single wrong values.
    Spiking {
        /// Height of a spike, in units.
        height: f64,
        /// One value in so many is a spike.
        one_in: usize,
    },
}

/// Lets `sensor` show `defect` in those of `samples` that were taken at `from` or later.
///
/// `samples` are in order of time; those of other sensors stay as they are.
pub fn inject(samples: &mut [Sample], sensor: &SensorId, from: Timestamp, defect: Defect, seed: u64) {
    let mut rng = stream(seed, sensor.as_str());
    let mut healthy = None;
    let mut n_wrong = 0;
    for sample in samples.iter_mut().filter(|sample| sample.sensor == *sensor) {
        if sample.taken_at < from {
            healthy = Some(sample.value);
            continue;
        }
        n_wrong += 1;
        match defect {
            Defect::Stuck => sample.value = *healthy.get_or_insert(sample.value),
            Defect::Drifting { per_hour } => sample.value += per_hour * seconds_between(from, sample.taken_at) / 3600.0,
            Defect::Noisy { sigma } => sample.value += sigma * normal(&mut rng),
            Defect::Spiking { height, one_in } if n_wrong % one_in.max(1) == 0 => sample.value += height,
            Defect::Spiking { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duty;
    use crate::pump::Pump;
    use domain::AssetId;

    const N_MINUTES: i64 = 60;
    const FROM: i64 = 30;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// By how much each minute's temperature is changed by `defect`, and the vibration beside it.
    fn change(defect: Defect) -> Vec<(f64, f64)> {
        let mut pump = Pump::new(AssetId::from("p"), Duty::Steady, 1);
        let healthy: Vec<Sample> = (0..N_MINUTES).flat_map(|i| pump.sample(minute(i)).into_iter().take(2)).collect();
        let mut samples = healthy.clone();
        inject(&mut samples, &healthy[0].sensor, minute(FROM), defect, 1);
        let changes: Vec<f64> = samples.iter().zip(&healthy).map(|(now, then)| now.value - then.value).collect();
        changes.chunks(2).map(|pair| (pair[0], pair[1])).collect()
    }

    #[test]
    fn a_defect_begins_at_its_time_and_spares_other_sensors() {
        let defects = [
            Defect::Stuck,
            Defect::Drifting { per_hour: 10.0 },
            Defect::Noisy { sigma: 5.0 },
            Defect::Spiking { height: 9.0, one_in: 5 },
        ];
        for defect in defects {
            let changes = change(defect);
            assert!(changes[..FROM as usize].iter().all(|(own, _)| *own == 0.0), "{defect:?}");
            assert!(changes[FROM as usize..].iter().any(|(own, _)| *own != 0.0), "{defect:?}");
            assert!(changes.iter().all(|(_, other)| *other == 0.0), "{defect:?}");
        }
    }

    #[test]
    fn a_drifting_sensor_gains_its_rate_and_a_spiking_one_recovers() {
        let drift = change(Defect::Drifting { per_hour: 10.0 });
        assert!((drift[59].0 - 10.0 * 29.0 / 60.0).abs() < 1e-9);
        let spikes = change(Defect::Spiking { height: 9.0, one_in: 5 });
        assert_eq!(spikes.iter().filter(|(own, _)| *own != 0.0).count(), 6);
    }

    #[test]
    fn a_stuck_sensor_repeats_its_last_healthy_value() {
        let mut pump = Pump::new(AssetId::from("p"), Duty::Daily, 1);
        let mut samples: Vec<Sample> = (0..N_MINUTES).map(|i| pump.sample(minute(i))[0].clone()).collect();
        let sensor = samples[0].sensor.clone();
        inject(&mut samples, &sensor, minute(FROM), Defect::Stuck, 1);
        let last = samples[FROM as usize - 1].value;
        assert!(samples[FROM as usize..].iter().all(|sample| sample.value == last));
    }
}
