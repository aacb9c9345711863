//! What a sensor's clean past says of the evidence that its cases take.

use analytics::budget::Excursions;
use analytics::evidence::Settings;
use domain::Timestamp;
use domain::anomaly::Anomaly;
use serde::{Deserialize, Serialize};

/// One sensor, in all its failure modes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Past {
    excursions: Excursions,
    /// Source time of the newest anomaly.
    abnormal_at: Option<Timestamp>,
}

impl Past {
    /// Takes the time up to an anomaly. It counts when readings came in it and no case was open.
    pub(super) fn pass(&mut self, anomaly: &Anomaly, had_case: bool) {
        if let Some(last) = self.abnormal_at
            && 0 < anomaly.normal_before
            && !had_case
        {
            self.excursions.pass(anomaly.taken_at.duration_since(last).as_secs_f64());
        }
        self.abnormal_at = self.abnormal_at.max(Some(anomaly.taken_at));
    }

    /// Takes evidence that rose to `peak` and came to nothing.
    pub(super) fn learn(&mut self, peak: f64) {
        self.excursions.learn(peak);
    }

    /// The weight that sustained evidence has.
    pub(super) fn limit(&self, settings: &Settings) -> f64 {
        self.excursions.limit(settings.false_alarms_per_month).clamp(settings.weight_min, settings.weight_max)
    }

    /// Whether that rests on the sensor's own past more than on what sensors are like in general.
    pub(super) fn is_known(&self) -> bool {
        self.excursions.is_known()
    }
}
