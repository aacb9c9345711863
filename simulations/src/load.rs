//! Endless readings for measuring throughput: many sensors, a steady rate, nothing ever wrong.

use crate::chance::{normal, stream};
use crate::{OutOfRange, Sample, within};
use domain::reading::SensorType;
use domain::{AssetId, SensorId, Timestamp};
use jiff::SignedDuration;
use rand_pcg::Pcg64;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sensors, 1 to 1,000,000; ten to a machine.
    pub n_sensors: usize,
    /// Readings per second of source time, from all of them, 1 to 10,000,000.
    pub readings_per_second: u32,
    /// Readings in a batch, 1 to 1,000,000.
    pub batch: usize,
}

/// Batches without end: the sensors take turns, so each reads at the same steady cadence.
#[derive(Clone, Debug)]
pub struct Load {
    settings: Settings,
    start: Timestamp,
    rng: Pcg64,
    sensors: Vec<(SensorId, AssetId, f64)>,
    n_made: u64,
}

impl Load {
    /// Load that begins at `start`.
    ///
    /// # Errors
    ///
    /// A setting outside of its range.
    pub fn new(seed: u64, settings: Settings, start: Timestamp) -> Result<Self, OutOfRange> {
        within("n_sensors", settings.n_sensors, 1..=1_000_000)?;
        within("readings_per_second", settings.readings_per_second, 1..=10_000_000)?;
        within("batch", settings.batch, 1..=1_000_000)?;
        let mut rng = stream(seed, "load");
        let sensor = |idx: usize| {
            let asset = AssetId::new(format!("load-{:05}", idx / 10));
            (SensorId::new(format!("load-{:05}-{}", idx / 10, idx % 10)), asset, 60.0 + 10.0 * normal(&mut rng))
        };
        let sensors = (0..settings.n_sensors).map(sensor).collect();
        Ok(Self { settings, start, rng, sensors, n_made: 0 })
    }

    fn sample(&mut self) -> Option<Sample> {
        let nanoseconds = u128::from(self.n_made) * 1_000_000_000 / u128::from(self.settings.readings_per_second);
        let elapsed = SignedDuration::from_nanos(i64::try_from(nanoseconds).ok()?);
        let taken_at = self.start.checked_add(elapsed).ok()?;
        let (sensor, asset, base) = &self.sensors[(self.n_made % self.sensors.len() as u64) as usize];
        self.n_made += 1;
        Some(Sample {
            sensor: sensor.clone(),
            asset: asset.clone(),
            sensor_type: SensorType::Temperature,
            unit: "celsius",
            value: base + 0.5 * normal(&mut self.rng),
            taken_at,
        })
    }
}

impl Iterator for Load {
    type Item = Vec<Sample>;

    /// The next batch. There is none when the calendar ends, some centuries after the start.
    fn next(&mut self) -> Option<Vec<Sample>> {
        (0..self.settings.batch).map(|_| self.sample()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const SETTINGS: Settings = Settings { n_sensors: 25, readings_per_second: 100, batch: 40 };

    fn load(seed: u64) -> Load {
        Load::new(seed, SETTINGS, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_batches() {
        assert!(load(1).take(20).eq(load(1).take(20)));
        assert!(load(1).take(20).ne(load(2).take(20)));
    }

    #[test]
    fn every_sensor_reads_at_the_same_cadence() {
        let mut times: BTreeMap<SensorId, Vec<Timestamp>> = BTreeMap::new();
        for sample in load(1).take(100).flatten() {
            times.entry(sample.sensor).or_default().push(sample.taken_at);
        }
        assert_eq!(times.len(), 25);
        for times in times.values() {
            assert_eq!(times.len(), 160);
            assert!(times.windows(2).all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_millis(250)));
        }
    }

    #[test]
    fn a_batch_has_its_size_and_its_sensors_sit_ten_to_a_machine() {
        let batch = load(1).next().unwrap();
        assert_eq!(batch.len(), 40);
        assert_eq!((batch[9].asset.as_str(), batch[10].asset.as_str()), ("load-00000", "load-00001"));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let error = Load::new(1, Settings { batch: 0, ..SETTINGS }, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.to_string(), "batch must be between 1 and 1000000, got 0");
    }
}
