//! What speaks for an anomaly and what against it: each rule adds to a confidence and says why.

use super::aside::Window;
use super::episode::Ended;
use analytics::proportion::{LEVEL, wilson};
use domain::anomaly::{Anomaly, Aspect, Reason};
use domain::case::{FailureMode, Priority};
use domain::model::{FeedbackLearned, Record};
use domain::{Timestamp, WorkOrderId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What each rule adds to a confidence, which is then kept within 0 and 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// An anomaly at the threshold.
    pub threshold: f64,
    /// The most that a higher score adds to that.
    pub score: f64,
    /// It is sustained.
    pub sustained: f64,
    /// It is not.
    pub fleeting: f64,
    /// The reading's quality is poor.
    pub poor_quality: f64,
    /// Somebody is working on the asset.
    pub maintenance: f64,
    /// An earlier case of the same kind.
    pub recurrence: f64,
    /// Another sensor of the asset is abnormal too.
    pub corroboration: f64,
    /// What people said of earlier alarms of the kind: this at precision 1, nothing at 0.5, minus this at 0.
    pub precision: f64,
    /// Somebody looked at the machine three times more often than a fault was confirmed, and found nothing; a third of
    /// it for once more.
    pub no_fault_found: f64,
    /// A person declined this episode.
    pub declined: f64,
    /// A jump out of stable readings.
    pub jump: f64,
    /// Stable readings that are much like it.
    pub stable: f64,
    /// Restless readings.
    pub restless: f64,
    /// Readings that jump about all the time.
    pub erratic: f64,
}

impl Weights {
    /// All of them.
    fn all(&self) -> [f64; 15] {
        let Self { threshold, score, sustained, fleeting, poor_quality, maintenance, recurrence, .. } = *self;
        let Self { corroboration, precision, no_fault_found, declined, jump, stable, restless, erratic, .. } = *self;
        [
            threshold,
            score,
            sustained,
            fleeting,
            poor_quality,
            maintenance,
            recurrence,
            corroboration,
            precision,
            no_fault_found,
            declined,
            jump,
            stable,
            restless,
            erratic,
        ]
    }

    /// # Errors
    ///
    /// A weight that no confidence can have.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.all().into_iter().all(|weight| (-1.0..=1.0).contains(&weight)),
            "weights must be between -1 and 1, got {self:?}"
        );
        Ok(())
    }
}

/// What is held against a sensor, and what a case of it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) weight: f64,
    pub(super) limit: f64,
    /// Whether that rests on the sensor's own past.
    pub(super) is_known: bool,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, limit, is_known } = self;
        let grounds =
            if *is_known { "by its own past" } else { "by what sensors are like, since it is hardly known yet" };
        write!(f, "evidence {weight:.1}; a case takes {limit:.1}, {grounds}")
    }
}

/// What was said about one anomaly so far.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    list: Vec<Reason>,
}

impl Reasons {
    pub(super) fn add(&mut self, rule: &str, weight: f64, text: impl Into<String>) {
        self.list.push(Reason { rule: rule.to_owned(), weight, text: text.into() });
    }

    /// The sum of the weights, within 0 and 1.
    pub(super) fn confidence(&self) -> f64 {
        self.list.iter().map(|reason| reason.weight).sum::<f64>().clamp(0.0, 1.0)
    }

    pub(super) fn into_list(self) -> Vec<Reason> {
        self.list
    }

    /// How far out the reading is, and whether that lasts.
    pub(super) fn strength(&mut self, weights: &Weights, anomaly: &Anomaly, sustained: bool, held: Option<Held>) {
        let Anomaly { score, value, expected, aspect, run_length, .. } = anomaly;
        // The share of the deviation that lies beyond the threshold: 0 at the threshold, near 1 far out.
        let beyond = 1.0 - 1.0 / score.max(1.0);
        let text = format!(
            "{} at {score:.1} times the threshold: {}, expected {} to {}",
            aspect.as_str(),
            figure(*value),
            figure(expected.low),
            figure(expected.high)
        );
        self.add("score", weights.threshold + weights.score * beyond, text);
        let held = held.map_or_else(String::new, |held| format!(", {held}"));
        let (weight, told) = match sustained {
            true => (weights.sustained, "it lasts"),
            false => (weights.fleeting, "not lasting yet"),
        };
        self.add("persistence", weight, format!("{told}: {run_length} abnormal in a row{held}"));
    }

    /// The sender's own rating of the reading.
    pub(super) fn poor_quality(&mut self, weights: &Weights, anomaly: &Anomaly) {
        let text = format!("the sender rates the quality of the reading at {:.2} of 1", anomaly.quality);
        self.add("quality", weights.poor_quality, text);
    }

    /// Work that disturbs what the sensors see.
    pub(super) fn maintenance(&mut self, weights: &Weights, order: WorkOrderId, work: &Work) {
        let text = format!("work order {order} is carried out from {} to {}", work.start_at, work.end_at);
        self.add("maintenance_window", weights.maintenance, text);
    }

    /// An earlier case of the same kind.
    pub(super) fn recurrence(&mut self, weights: &Weights, last: &Ended) {
        let text = format!("it was like this before: case {}, with evidence until {}", last.case, last.evidence_at);
        self.add("recurrence", weights.recurrence, text);
    }

    /// An asset that is out of service.
    pub(super) fn out_of_service(&mut self, weights: &Weights, window: &Window) {
        let text =
            format!("the asset is out of service since {}: {}; its alarms are held", window.since, window.reason);
        self.add("maintenance_window", weights.maintenance, text);
    }

    /// What people said of earlier alarms of this kind.
    pub(super) fn feedback(&mut self, weights: &Weights, feedback: &Feedback) {
        let text = format!("earlier cases of this kind: {}", feedback.told());
        self.add("feedback", weights.precision * (2.0 * feedback.precision - 1.0), text);
        let n_in_vain = feedback.record.no_fault_found.saturating_sub(feedback.record.confirmed);
        if 0 < n_in_vain {
            let share = f64::from(n_in_vain.min(IN_VAIN_FULL)) / f64::from(IN_VAIN_FULL);
            let times = feedback.record.no_fault_found;
            let text = format!("somebody looked at the machine {times} times for this and found no fault");
            self.add("no_fault_found", weights.no_fault_found * share, text);
        }
    }

    /// What people said of other alarms of the detector, when nothing is known of this kind.
    pub(super) fn prior(&mut self, weights: &Weights, anomaly: &Anomaly, rating: &Feedback) {
        let (detector, sensor_type) = (&anomaly.detector, anomaly.sensor_type.as_str());
        let text = format!("cases of {detector} on {sensor_type} sensors of the plant: {}", rating.told());
        self.add("prior", PRIOR_SHARE * weights.precision * (2.0 * rating.precision - 1.0), text);
    }

    /// A person said that this episode is nothing.
    pub(super) fn declined(&mut self, weights: &Weights, last: &Ended) {
        let text = format!("a person declined case {} of this episode at {}", last.case, last.closed_at);
        self.add("declined", weights.declined, text);
    }

    /// How the reading looks beside `before`, the values that came before it, newest first.
    pub(super) fn history(&mut self, weights: &Weights, anomaly: &Anomaly, before: &[f64]) {
        // Half of what the sensor is known to range over, so that the rule depends on no unit.
        let usual = (anomaly.expected.high - anomaly.expected.low) / 2.0;
        if usual <= 0.0 {
            return;
        }
        if let Some(newest) = before.get(..5) {
            let mean = newest.iter().sum::<f64>() / 5.0;
            let deviation = (newest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
            if usual / 2.0 <= deviation {
                self.add("stability", weights.restless, "the readings before it were restless already");
            } else if usual < (anomaly.value - mean).abs() {
                self.add("stability", weights.jump, "a jump out of stable readings");
            } else {
                self.add("stability", weights.stable, "the readings before it were stable and much like it");
            }
        }
        if 3 <= before.len() {
            let n_jumps = before.windows(2).filter(|pair| usual < (pair[0] - pair[1]).abs()).count();
            let share = n_jumps as f64 / (before.len() - 1) as f64;
            if 0.3 < share {
                let text = format!("{:.0} % of the steps before it were jumps as well", 100.0 * share);
                self.add("jumps", weights.erratic, text);
            }
        }
    }
}

/// A repair that is planned or under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) asset: domain::AssetId,
    pub(super) start_at: Timestamp,
    pub(super) end_at: Timestamp,
}

/// What people said of alarms of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Feedback {
    pub(super) precision: f64,
    pub(super) record: Record,
}

impl From<FeedbackLearned> for Feedback {
    fn from(learned: FeedbackLearned) -> Self {
        let FeedbackLearned { confirmed, dismissed, precision, record, .. } = learned;
        // Older events tell the counts alone.
        let record = record.unwrap_or_else(|| {
            let (low, high) = wilson(confirmed, confirmed + dismissed);
            Record { confirmed, dismissed, no_fault_found: 0, low, high, level: LEVEL }
        });
        Self { precision, record }
    }
}

impl Feedback {
    /// The record with how sure it is, for people.
    fn told(&self) -> String {
        let Record { low, high, .. } = self.record;
        format!("{} ({:.0} to {:.0} % are real)", self.record, 100.0 * low, 100.0 * high)
    }
}

/// Inspections in vain, beyond the confirmed cases, that count in full.
const IN_VAIN_FULL: u32 = 3;
/// What is known of a detector counts this much of what is known of the alarm itself.
const PRIOR_SHARE: f64 = 0.5;

/// The way in which the asset seems to fail.
pub(super) fn failure_mode(anomaly: &Anomaly, declared: Option<&FailureMode>) -> FailureMode {
    match (anomaly.aspect, declared) {
        (Aspect::Stuck, _) => FailureMode::sensor_fault(),
        (_, Some(declared)) => declared.clone(),
        (Aspect::Level | Aspect::Rate | Aspect::Spread | Aspect::Pattern | Aspect::Season, None) => {
            FailureMode::abnormal(anomaly.sensor_type)
        }
    }
}

/// Confidence that a high and a critical priority take.
const HIGH_CONFIDENCE: f64 = 0.8;
const CRITICAL_CONFIDENCE: f64 = 0.9;

/// How urgent an anomaly is. A broken sensor is no broken machine: it is never more than medium.
pub(super) fn priority(mode: &FailureMode, score: f64, confidence: f64, high: f64, critical: f64) -> Priority {
    if *mode == FailureMode::sensor_fault() {
        Priority::Medium
    } else if critical <= score && CRITICAL_CONFIDENCE <= confidence {
        Priority::Critical
    } else if high <= score && HIGH_CONFIDENCE <= confidence {
        Priority::High
    } else {
        Priority::Medium
    }
}

/// `value` with four significant digits, for people.
pub(super) fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.decimals$}")
}
