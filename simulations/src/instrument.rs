//! A sensor: adds noise to what is true, and rounds.

use crate::Sample;
use crate::chance::stream;
use crate::signal::Noise;
use domain::reading::SensorType;
use domain::{AssetId, SensorId, Timestamp};

/// The data sheet of a sensor.
pub(crate) struct Sheet {
    /// What it is called on its asset.
    pub(crate) name: &'static str,
    pub(crate) sensor_type: SensorType,
    pub(crate) unit: &'static str,
    /// Standard deviation of its noise, in `unit`.
    pub(crate) sigma: f64,
    pub(crate) correlation_seconds: f64,
    /// Values per unit that it can tell apart.
    pub(crate) steps_per_unit: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    sensor: SensorId,
    asset: AssetId,
    sensor_type: SensorType,
    unit: &'static str,
    steps_per_unit: f64,
    noise: Noise,
}

impl Instrument {
    /// The sensor `<asset>-<name>`.
    pub(crate) fn new(sheet: &Sheet, asset: &AssetId, seed: u64) -> Self {
        let id = format!("{asset}-{}", sheet.name);
        Self {
            noise: Noise::new(sheet.sigma, sheet.correlation_seconds, stream(seed, &id)),
            sensor: SensorId::new(id),
            asset: asset.clone(),
            sensor_type: sheet.sensor_type,
            unit: sheet.unit,
            steps_per_unit: sheet.steps_per_unit,
        }
    }

    /// What it shows when `truth` is true and its noise is `scatter` times as large as usual.
    pub(crate) fn read(&mut self, truth: f64, scatter: f64, at: Timestamp) -> Sample {
        let value = truth + scatter * self.noise.at(at);
        Sample {
            sensor: self.sensor.clone(),
            asset: self.asset.clone(),
            sensor_type: self.sensor_type,
            unit: self.unit,
            value: (value * self.steps_per_unit).round() / self.steps_per_unit,
            taken_at: at,
        }
    }
}
