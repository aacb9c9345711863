//! When the scores of a sensor amount to evidence for a case.
//!
//! A single outlier is a reading to look at, not a fault; a fault lasts. Keeps a few numbers per sensor. Opens and closes
//! nothing: it says, reading by reading, whether there is strong evidence now. How much that takes follows from how many
//! false alarms are tolerated: see [`crate::budget`].

use crate::stream::Verdict;
use serde::{Deserialize, Serialize};

/// How much has to come together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Cases a month that a sensor may open while nothing is wrong with it. Fewer are later and surer.
    pub false_alarms_per_month: f64,
    /// The least weight at which evidence is strong, however many false alarms are tolerated: an anomalous reading adds
    /// its score, a normal one takes 1 away.
    pub weight_min: f64,
    /// The most weight that it takes, however restless the sensor is: what lasts for so many readings is a case.
    pub weight_max: f64,
    /// The most that one reading adds, so that no single reading is a case.
    pub score_max: f64,
    /// Seconds of source time that the readings have to span. The on-delay of the alarm standards: fast sensors see
    /// much that is over before anybody could act.
    pub delay_seconds: f64,
    /// This many anomalous readings are enough without the delay: a burst cannot be told by the time it spans.
    pub burst_readings: u32,
}

/// The evidence against one sensor so far.
///
/// # Source
///
/// A cumulative sum with a bound: Page, *Continuous Inspection Schemes*, Biometrika 41, 1954; the delay follows
/// ANSI/ISA-18.2, *Management of Alarm Systems*, on-delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    weight: f64,
    /// The most that the weight came to.
    peak: f64,
    since: f64,
    n_anomalous: u32,
}

impl Confirmation {
    /// Takes the sensor's next verdict, for a reading at `at` (seconds since the epoch); true while evidence is strong,
    /// which it is from a weight of `limit` on.
    ///
    /// The weight is kept below twice the limit, so that old evidence is forgotten as fast as it was gathered.
    pub fn observe(&mut self, settings: &Settings, limit: f64, at: f64, verdict: &Verdict) -> bool {
        if self.weight == 0.0 {
            self.since = at;
            self.n_anomalous = 0;
        }
        self.n_anomalous = self.n_anomalous.saturating_add(u32::from(verdict.anomalous));
        let step = if verdict.anomalous { verdict.score.min(settings.score_max) } else { -1.0 };
        self.weight = (self.weight + step).clamp(0.0, 2.0 * limit);
        self.peak = self.peak.max(self.weight);
        verdict.anomalous && self.is_strong(settings, limit, at)
    }

    /// What is held against the sensor.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The most that was held against the sensor since it was last asked, if it was anything.
    pub fn take_peak(&mut self) -> Option<f64> {
        Some(std::mem::take(&mut self.peak)).filter(|peak| 0.0 < *peak)
    }

    /// Whether nothing is held against the sensor.
    pub fn is_clear(&self) -> bool {
        self.weight == 0.0
    }

    fn is_strong(&self, settings: &Settings, limit: f64, at: f64) -> bool {
        let lasted = settings.delay_seconds <= at - self.since || settings.burst_readings <= self.n_anomalous;
        limit <= self.weight && lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Aspect, Readiness};

    const SETTINGS: Settings = Settings {
        false_alarms_per_month: 1.0,
        weight_min: 4.0,
        weight_max: 60.0,
        score_max: 2.0,
        delay_seconds: 60.0,
        burst_readings: 60,
    };
    const LIMIT: f64 = 10.0;

    fn verdict(score: f64) -> Verdict {
        Verdict {
            score,
            expected: (0.0, 1.0),
            aspect: Aspect::Level,
            attribution: [(Aspect::Level, score); 6],
            run_length: 1,
            novelty: 0.0,
            anomalous: 1.0 <= score,
            readiness: Readiness::Ready,
        }
    }

    /// The index of the first reading that is evidence, for readings `interval` seconds apart.
    fn first(interval: f64, scores: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut confirmation = Confirmation::default();
        scores
            .into_iter()
            .enumerate()
            .position(|(idx, score)| confirmation.observe(&SETTINGS, LIMIT, interval * idx as f64, &verdict(score)))
    }

    #[test]
    fn one_reading_is_no_evidence_however_large() {
        assert_eq!(first(3_600.0, [1e3, 0.1, 0.1, 1e3, 0.1, 0.1, 1e3, 0.1]), None);
    }

    #[test]
    fn strong_scores_are_evidence_sooner_than_weak_ones() {
        assert_eq!(first(3_600.0, [5.0; 20]), Some(4));
        assert_eq!(first(3_600.0, [1.0; 20]), Some(9));
    }

    #[test]
    fn a_fast_sensor_has_to_stay_abnormal_for_the_delay() {
        assert_eq!(first(1.0, [5.0; 59]), None);
        assert_eq!(first(1.0, [5.0; 90]), Some(59));
    }

    #[test]
    fn a_burst_is_evidence_although_it_spans_no_time() {
        assert_eq!(first(0.0, [5.0; 64]), Some(59));
    }

    #[test]
    fn the_peak_is_told_once() {
        let mut confirmation = Confirmation::default();
        for (at, score) in [(0.0, 2.0), (60.0, 1.5), (120.0, 0.1)] {
            confirmation.observe(&SETTINGS, LIMIT, at, &verdict(score));
        }
        assert_eq!((confirmation.weight(), confirmation.take_peak(), confirmation.take_peak()), (2.5, Some(3.5), None));
    }

    #[test]
    fn now_and_then_a_normal_reading_does_not_stop_it() {
        let scores = (0..60).map(|idx| if idx % 4 == 3 { 0.5 } else { 1.5 });
        assert!(first(60.0, scores).is_some());
        let rarely = (0..600).map(|idx| if idx % 4 == 3 { 1.5 } else { 0.5 });
        assert_eq!(first(60.0, rarely), None);
    }
}
