//! Readings and the sensors they come from.

use crate::{AssetId, ReadingNo, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a sensor measures. The names are the old contract's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum SensorType {
    Temperature,
    Vibration,
    Pressure,
    Humidity,
    Bearing,
    Pump,
    Manufacturing,
    Audio,
    Forecasting,
    Voltage,
    #[default]
    General,
}

impl SensorType {
    /// Every type, in the old contract's order.
    pub const ALL: [Self; 11] = [
        Self::Temperature,
        Self::Vibration,
        Self::Pressure,
        Self::Humidity,
        Self::Bearing,
        Self::Pump,
        Self::Manufacturing,
        Self::Audio,
        Self::Forecasting,
        Self::Voltage,
        Self::General,
    ];

    /// The name as it stands in JSON and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Vibration => "vibration",
            Self::Pressure => "pressure",
            Self::Humidity => "humidity",
            Self::Bearing => "bearing",
            Self::Pump => "pump",
            Self::Manufacturing => "manufacturing",
            Self::Audio => "audio",
            Self::Forecasting => "forecasting",
            Self::Voltage => "voltage",
            Self::General => "general",
        }
    }

    /// The type of that exact lowercase name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A sensor as it registered itself with its first reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sensor {
    /// The sensor's name.
    pub id: SensorId,
    /// The asset it sits on. A sensor that named none is an asset of its own.
    pub asset: AssetId,
    /// What it measures.
    pub sensor_type: SensorType,
    /// Unit of its values, if it told one.
    pub unit: Option<String>,
    /// The value from which on it counts as failed, if told (`limit_high` in the first reading's metadata).
    pub limit_high: Option<f64>,
    /// The value down from which it counts as failed, if told (`limit_low` in the first reading's metadata).
    pub limit_low: Option<f64>,
}

/// One stored measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Order of arrival.
    pub no: ReadingNo,
    /// Where it came from.
    pub sensor: Arc<Sensor>,
    /// The measured value, finite, in the sensor's unit.
    pub value: f64,
    /// 0 (worthless) to 1 (good), as the sender rated it.
    pub quality: f64,
    /// When it was measured (source time).
    pub taken_at: Timestamp,
    /// When we learnt of it (receive time).
    pub received_at: Timestamp,
}

/// A committed batch of readings: those numbered `first` to `first + count - 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Number of the first reading of the batch.
    pub first: ReadingNo,
    /// How many readings were stored; at least 1.
    pub count: u32,
    /// How many different sensors they came from.
    pub n_sensors: u32,
}

/// Items of a batch that made no sense.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// How many items were refused.
    pub count: u32,
    /// What was wrong with the first few of them, for people.
    pub examples: Vec<String>,
}

/// A reading as a sender told it, before anybody judged whether it makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The sensor's name.
    pub sensor: String,
    /// The measured value.
    pub value: f64,
    /// When it was measured; the time of receipt if the sender did not say.
    pub taken_at: Option<Timestamp>,
    /// What it measures, if told.
    pub sensor_type: Option<SensorType>,
    /// Its unit, if told.
    pub unit: Option<String>,
    /// 0 to 1.
    pub quality: f64,
    /// Anything else. `asset_id` or `equipment_id` in it names the asset that the sensor sits on.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Why one item was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The field, as a path: `sensor_id`, `metadata`, …
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
}
