//! The form of a plant file, with the place of each entry.

use jiff::civil::Time;
use serde::Deserialize;
use toml::Spanned;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) site: Option<Spanned<Site>>,
    #[serde(default, rename = "asset")]
    pub(super) assets: Vec<Spanned<Asset>>,
    #[serde(default, rename = "sensor")]
    pub(super) sensors: Vec<Spanned<Sensor>>,
    #[serde(default, rename = "technician")]
    pub(super) technicians: Vec<Spanned<Technician>>,
}

/// `[site]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) time_zone: Spanned<String>,
}

/// `[[asset]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asset {
    pub(super) id: Spanned<String>,
    pub(super) name: Option<String>,
    pub(super) class: Option<String>,
    pub(super) parent: Option<Spanned<String>>,
    pub(super) modes: Option<Modes>,
}

/// `[asset.modes]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Modes {
    pub(super) off: Option<Spanned<String>>,
    pub(super) starting_seconds: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) levels: Vec<Level>,
}

/// One of its levels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    pub(super) name: Spanned<String>,
    pub(super) when: Spanned<String>,
}

/// `[[sensor]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sensor {
    pub(super) id: Spanned<String>,
    pub(super) asset: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) sensor_type: Spanned<String>,
    pub(super) unit: Spanned<String>,
    pub(super) limit_low: Option<Spanned<f64>>,
    pub(super) limit_high: Option<Spanned<f64>>,
    pub(super) failure_mode: Option<Spanned<String>>,
}

/// `[[technician]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Technician {
    pub(super) id: Spanned<String>,
    pub(super) name: Option<String>,
    pub(super) skills: Spanned<Vec<String>>,
    #[serde(default)]
    pub(super) experience_years: f64,
    pub(super) shifts: Vec<Spanned<Shift>>,
}

/// One of a technician's `shifts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shift {
    pub(super) weekdays: Vec<i8>,
    pub(super) from: Time,
    pub(super) to: Time,
}
