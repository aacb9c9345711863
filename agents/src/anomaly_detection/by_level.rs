//! One sensor's detectors of the levels at which its asset works: those that are declared, or those between which its own
//! values switch.
//!
//! Of levels that were found, nothing is ever made less of: the sensor's detector of all readings goes on as without
//! them, and the ones by level see what is ordinary somewhere, but not here.

use analytics::levels::{Levels, Place};
use analytics::stream::{Detector, Settings, Verdict};
use domain::mode::LEVELS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Detectors by level.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ByLevel {
    declared: BTreeMap<String, Detector>,
    levels: Levels,
    /// By the index of the level. There is none for a level of rest.
    found: BTreeMap<usize, Detector>,
    /// When the newest reading was taken that they were asked about.
    newest: Option<f64>,
}

impl ByLevel {
    /// The detector of a declared level.
    pub(super) fn declared(&mut self, level: &str, seed: impl FnOnce() -> u64) -> &mut Detector {
        if !self.declared.contains_key(level) {
            if self.declared.len() == LEVELS_MAX {
                // The asset was declared anew, and nobody asks for the old ones.
                self.declared.clear();
            }
            self.declared.insert(level.to_owned(), Detector::new(seed()));
        }
        self.declared.get_mut(level).expect("it is there")
    }

    /// Judges a reading by the level that it belongs to, if there is one. `own` is what the detector of all readings
    /// says, and `learn` whether the reading may be learnt from. Gives the worse verdict, and the level.
    pub(super) fn judge(
        &mut self,
        settings: &Settings,
        (at, value): (f64, f64),
        learn: bool,
        own: Verdict,
        seed: impl FnOnce() -> u64,
    ) -> (Verdict, Option<usize>) {
        let learn = learn && !own.anomalous;
        let (level, learn) = match self.levels.take(value, learn) {
            Some(Place::At(level)) => (Some(level), learn),
            Some(Place::Leaving { overdue: true, .. }) => (self.levels.nearest_in_work(value), false),
            Some(Place::Leaving { overdue: false, .. }) | None => (None, false),
        };
        let newest = self.newest.replace(at);
        let Some(level) = level.filter(|level| !self.levels.is_rest(*level)) else { return (own, level) };
        let detector = self.found.entry(level).or_insert_with(|| Detector::new(seed().wrapping_add(1 + level as u64)));
        detector.skip_to(newest.unwrap_or(at));
        let here = detector.observe(settings, at, value, learn);
        let worse = here.anomalous && (!own.anomalous || own.score < here.score);
        (if worse { Verdict { novelty: own.novelty, ..here } } else { own }, Some(level))
    }

    /// What a person calls a level that was found.
    pub(super) fn name(&self, level: usize) -> Option<String> {
        let mean = self.levels.mean(level)?;
        let decimals = (2.0 - mean.abs().log10().floor()).clamp(0.0, 6.0) as usize;
        Some(if self.levels.is_rest(level) { "off".to_owned() } else { format!("around {mean:.decimals$}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { warm_up_readings: 200, tail_sigmas: 4.0, record_margin: 1.5, hold_readings: 16 };

    /// A sensor that is judged as the agent does it, and its readings so far.
    struct Sensor {
        detector: Detector,
        by_level: ByLevel,
        at: f64,
    }

    impl Sensor {
        /// One that has switched between off and 100 for a while, by a ramp of three readings.
        fn switching() -> Self {
            let mut sensor = Self { detector: Detector::new(7), by_level: ByLevel::default(), at: 0.0 };
            for cycle in 0..12 {
                sensor.feed(60 + cycle, |_| 0.0);
                sensor.feed(3, |idx| 25.0 * f64::from(idx + 1));
                sensor.feed(120 - cycle, |_| 100.0);
                sensor.feed(3, |idx| 75.0 - 25.0 * f64::from(idx));
            }
            sensor.feed(60, |_| 0.0);
            sensor.feed(3, |idx| 25.0 * f64::from(idx + 1));
            sensor.feed(60, |_| 100.0);
            sensor
        }

        /// The verdict of all readings, and the worse one with the level, for each of `n`.
        fn feed(&mut self, n: u32, level: impl Fn(u32) -> f64) -> Vec<(Verdict, Verdict, Option<usize>)> {
            (0..n)
                .map(|idx| {
                    self.at += 60.0;
                    let hum = (self.at * 1.7).sin() + (self.at * 0.61).cos();
                    let reading = (self.at, level(idx) + 0.5 * hum);
                    let own = self.detector.observe(&SETTINGS, reading.0, reading.1, true);
                    let (worse, level) = self.by_level.judge(&SETTINGS, reading, true, own, || 7);
                    (own, worse, level)
                })
                .collect()
        }
    }

    #[test]
    fn what_is_ordinary_in_passing_is_abnormal_when_it_lasts() {
        // Given a sensor that switches between off and 100, with everything in between on the way,
        let mut sensor = Sensor::switching();
        let on = sensor.feed(20, |_| 100.0);
        assert!(on.iter().all(|(_, worse, _)| !worse.anomalous));
        let level = on[19].2.expect("it is at a level");
        assert_eq!(sensor.by_level.name(level).as_deref(), Some("around 100.0"));
        // when it is stuck half way,
        let half = sensor.feed(60, |_| 50.0);
        // then that is abnormal, once it takes longer than it should.
        assert!(!half[5].1.anomalous, "{:?}", half[5]);
        assert!(half[40..].iter().all(|(_, worse, _)| worse.anomalous), "{:?}", half[40]);
        // Off is no fault,
        let off = sensor.feed(60, |_| 0.0);
        assert!(off[5..].iter().all(|(own, worse, _)| own == worse), "{off:?}");
        assert_eq!(sensor.by_level.name(off[59].2.expect("it is at a level")).as_deref(), Some("off"));
    }

    #[test]
    fn nothing_is_made_less_of() {
        let mut sensor = Sensor::switching();
        for (own, worse, _) in sensor.feed(100, |idx| if idx < 50 { 170.0 } else { -70.0 }) {
            assert!(!own.anomalous || worse.anomalous && own.score <= worse.score, "{own:?} {worse:?}");
        }
    }

    #[test]
    fn declared_levels_are_bounded_though_names_change() {
        let mut by_level = ByLevel::default();
        for idx in 0..100 {
            by_level.declared(&format!("level {idx}"), || 7);
        }
        assert!(by_level.declared.len() <= LEVELS_MAX);
    }
}
