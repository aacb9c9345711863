//! One asset: whether anything is learnt from it, and its sensors judged together.

use analytics::joint::{Detector, Rows, Settings};
use domain::anomaly::Share;
use domain::mode::LEVELS_MAX;
use domain::{CaseId, SensorId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Sensors of an asset that are judged together; what comes later has its own detector alone. Work grows with the
/// square of it.
const SENSORS_MAX: usize = 64;

/// One asset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Machine {
    open: BTreeSet<CaseId>,
    in_maintenance: bool,
    /// In the order of their first reading.
    sensors: Vec<SensorId>,
    rows: Rows,
    detector: Detector,
    /// The declared level that the detector is of, …
    level: Option<String>,
    /// … and those of the levels at which the asset does not work now.
    elsewhere: BTreeMap<Option<String>, Detector>,
    /// Whether the row under way may be learnt from.
    row_is_clean: bool,
    /// What the last complete row showed.
    found: Option<(usize, f64)>,
}

/// A reading of the sensor that is farthest out while the asset is abnormal.
#[derive(Clone, Debug)]
pub(super) struct Together {
    pub(super) score: f64,
    pub(super) expected: (f64, f64),
    /// Largest first.
    pub(super) shares: Vec<Share>,
}

impl Machine {
    pub(super) fn open(&mut self, case: CaseId) {
        self.open.insert(case);
    }

    pub(super) fn close(&mut self, case: CaseId) {
        self.open.remove(&case);
    }

    pub(super) fn set_maintenance(&mut self, on: bool) {
        self.in_maintenance = on;
    }

    pub(super) fn is_in_maintenance(&self) -> bool {
        self.in_maintenance
    }

    pub(super) fn has_open_case(&self) -> bool {
        !self.open.is_empty()
    }

    /// Begins anew, with the sensors that are known.
    pub(super) fn renew(&mut self) {
        self.watch(self.sensors.len());
    }

    /// Goes on with what was learnt at that level.
    pub(super) fn work_at(&mut self, level: Option<&str>) {
        if self.level.as_deref() == level {
            return;
        }
        let (level, n_sensors) = (level.map(str::to_owned), self.sensors.len());
        let known = self.elsewhere.remove(&level);
        if LEVELS_MAX < self.elsewhere.len() {
            // The asset was declared anew, and nobody asks for the old ones.
            self.elsewhere.clear();
        }
        let there = known.unwrap_or_else(|| Detector::new(n_sensors));
        let here = std::mem::replace(&mut self.detector, there);
        self.elsewhere.insert(std::mem::replace(&mut self.level, level), here);
        self.begin_row();
    }

    /// The asset does not work, so its sensors have nothing to do with one another.
    pub(super) fn rest(&mut self) {
        self.begin_row();
    }

    fn watch(&mut self, n_sensors: usize) {
        self.detector = Detector::new(n_sensors);
        self.elsewhere.clear();
        self.begin_row();
    }

    fn begin_row(&mut self) {
        self.rows = Rows::new(self.sensors.len());
        self.row_is_clean = true;
        self.found = None;
    }

    /// Takes a reading of one of its sensors. Gives what is abnormal when the sensor is the one that drives it.
    pub(super) fn take(
        &mut self,
        settings: &Settings,
        sensor: &SensorId,
        at: f64,
        value: f64,
        learn: bool,
    ) -> Option<Together> {
        let channel = self.channel(sensor)?;
        if self.sensors.len() < 2 {
            return None;
        }
        if let Some(row) = self.rows.take(channel, at, value) {
            let verdict = self.detector.observe(settings, &row, self.row_is_clean);
            self.found = (verdict.abnormal && 1.0 <= verdict.evidence).then_some((verdict.driver, verdict.evidence));
            self.row_is_clean = true;
        }
        self.row_is_clean &= learn;
        let (_, score) = self.found.filter(|(driver, _)| *driver == channel)?;
        let expected = self.detector.expected(settings, channel)?;
        Some(Together { score, expected, shares: self.shares(settings) })
    }

    /// The sensor's place in a row. A sensor that was not heard of before joins, and all begin anew.
    fn channel(&mut self, sensor: &SensorId) -> Option<usize> {
        if let Some(known) = self.sensors.iter().position(|known| known == sensor) {
            return Some(known);
        }
        if self.sensors.len() == SENSORS_MAX {
            return None;
        }
        self.sensors.push(sensor.clone());
        self.watch(self.sensors.len());
        Some(self.sensors.len() - 1)
    }

    fn shares(&self, settings: &Settings) -> Vec<Share> {
        let contributions = self.detector.contributions(settings);
        let named = self.sensors.iter().zip(contributions);
        let mut shares: Vec<Share> = named.map(|(sensor, share)| Share { sensor: sensor.clone(), share }).collect();
        shares.sort_by(|one, other| other.share.total_cmp(&one.share));
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { fit_rows: 400, window_rows: 16, reference_rows: 200, record_margin: 1.75, release_share: 0.2 };

    /// A value that looks like noise, another one for each sensor.
    fn hum(sensor: usize, at: u32) -> f64 {
        let at = f64::from(at) + 1_000.0 * sensor as f64;
        (at * 1.7).sin() + 0.7 * (at * 0.61).cos()
    }

    #[test]
    fn the_sensor_that_leaves_the_others_is_named_first() {
        let mut machine = Machine::default();
        let sensors = ["a", "b", "c"].map(SensorId::from);
        let mut found = Vec::new();
        for at in 0..1_100 {
            for (idx, sensor) in sensors.iter().enumerate() {
                let off = if idx == 1 && 1_000 <= at { 10.0 } else { 0.0 };
                let together = machine.take(&SETTINGS, sensor, f64::from(at), hum(idx, at) + off, true);
                found.extend(together.map(|together| (at, idx, together)));
            }
        }
        assert!(50 < found.len(), "found {} times", found.len());
        assert!(found.iter().all(|(at, idx, _)| 1_000 <= *at && *idx == 1), "{found:?}");
        let (_, _, first) = &found[0];
        assert_eq!((first.shares.len(), &first.shares[0].sensor), (3, &sensors[1]));
    }

    #[test]
    fn an_asset_with_one_sensor_is_left_to_its_own_detector() {
        let mut machine = Machine::default();
        for at in 0..1_000 {
            let value = if at < 900 { hum(0, at) } else { 1e6 };
            assert!(machine.take(&SETTINGS, &SensorId::from("a"), f64::from(at), value, true).is_none());
        }
    }
}
