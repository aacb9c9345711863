//! What assets are doing, by the conditions that are declared for them.

use domain::asset::Asset;
use domain::mode::{Condition, Mode, Modes};
use domain::{AssetId, SensorId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All assets that have declared modes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Operations {
    assets: BTreeMap<AssetId, Operation>,
    /// Whose conditions look at a sensor.
    watching: BTreeMap<SensorId, BTreeSet<AssetId>>,
}

/// One asset.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Operation {
    modes: Modes,
    /// Newest reading of each sensor that a condition looks at: when, and what.
    values: BTreeMap<SensorId, (f64, f64)>,
    /// Unknown until all that decides was heard of.
    mode: Option<Mode>,
    /// When it was seen to be off no more.
    started_at: Option<f64>,
}

impl Operations {
    /// The modes of an asset are declared, or taken back.
    pub(super) fn declare(&mut self, asset: &Asset) {
        for watching in self.watching.values_mut() {
            watching.remove(&asset.id);
        }
        self.watching.retain(|_, watching| !watching.is_empty());
        let Some(modes) = &asset.modes else {
            self.assets.remove(&asset.id);
            return;
        };
        for sensor in modes.conditions().flat_map(Condition::sensors) {
            self.watching.entry(sensor.clone()).or_default().insert(asset.id.clone());
        }
        let operation = Operation { modes: modes.clone(), values: BTreeMap::new(), mode: None, started_at: None };
        self.assets.insert(asset.id.clone(), operation);
    }

    /// Hears a reading, `at` in seconds since the epoch. One that is not newer than the last of its sensor changes nothing.
    pub(super) fn hear(&mut self, sensor: &SensorId, at: f64, value: f64) {
        let Some(watching) = self.watching.get(sensor) else { return };
        for asset in watching {
            if let Some(operation) = self.assets.get_mut(asset)
                && operation.values.get(sensor).is_none_or(|(newest, _)| *newest < at)
            {
                operation.values.insert(sensor.clone(), (at, value));
                operation.tell(at);
            }
        }
    }

    /// What the asset is doing `at` that time; `None` for one without modes, and while they cannot be told.
    pub(super) fn mode(&mut self, asset: &AssetId, at: f64) -> Option<&Mode> {
        let operation = self.assets.get_mut(asset)?;
        if operation.mode == Some(Mode::Starting) {
            operation.tell(at);
        }
        operation.mode.as_ref()
    }
}

impl Operation {
    fn tell(&mut self, at: f64) {
        let value = |sensor: &SensorId| self.values.get(sensor).map(|(_, value)| *value);
        let is_off = self.modes.off.as_ref().map_or(Some(false), |off| off.holds(&value));
        self.mode = is_off.map(|is_off| {
            if is_off {
                return Mode::Off;
            }
            if self.mode == Some(Mode::Off) {
                self.started_at = Some(at);
            }
            if self.started_at.is_some_and(|since| at < since + f64::from(self.modes.starting_seconds)) {
                return Mode::Starting;
            }
            let level = self.modes.levels.iter().find(|level| level.when.holds(&value) == Some(true));
            level.map_or(Mode::On, |level| Mode::At(level.name.clone()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pump() -> Asset {
        let modes = serde_json::json!({
            "off": "speed < 50", "starting_seconds": 60,
            "levels": [{ "name": "full", "when": "speed >= 1400" }, { "name": "part", "when": "load > 0" }],
        });
        let modes = Some(serde_json::from_value(modes).expect("they are well formed"));
        Asset { id: AssetId::from("pump"), name: "Pump".to_owned(), class: None, parent: None, modes }
    }

    #[test]
    fn modes_follow_the_readings_and_starting_ends_by_itself() {
        let mut operations = Operations::default();
        operations.declare(&pump());
        let (pump, speed) = (AssetId::from("pump"), SensorId::from("speed"));
        let mut after = |sensor: &SensorId, at: f64, value: f64| {
            operations.hear(sensor, at, value);
            operations.mode(&pump, at).map(|mode| mode.name().to_owned())
        };
        // Nothing is known before the sensor that decides was heard of.
        assert_eq!(after(&SensorId::from("load"), 0.0, 0.0), None);
        assert_eq!(after(&speed, 1.0, 1_500.0).as_deref(), Some("full"));
        assert_eq!(after(&speed, 2.0, 900.0).as_deref(), Some("on"));
        assert_eq!(after(&SensorId::from("load"), 3.0, 5.0).as_deref(), Some("part"));
        assert_eq!(after(&speed, 4.0, 0.0).as_deref(), Some("off"));
        assert_eq!(after(&speed, 10.0, 700.0).as_deref(), Some("starting"));
        // An old reading changes nothing.
        assert_eq!(after(&speed, 5.0, 0.0).as_deref(), Some("starting"));
        assert_eq!(operations.mode(&pump, 69.0).map(Mode::name), Some("starting"));
        assert_eq!(operations.mode(&pump, 70.0).map(Mode::name), Some("part"));
    }

    #[test]
    fn an_asset_whose_modes_are_taken_back_has_none() {
        let mut operations = Operations::default();
        operations.declare(&pump());
        operations.declare(&Asset { modes: None, ..pump() });
        operations.hear(&SensorId::from("speed"), 1.0, 1_500.0);
        assert_eq!(operations.mode(&AssetId::from("pump"), 1.0), None);
        assert!(operations.watching.is_empty() && operations.assets.is_empty());
    }
}
