//! Models: asked for, trained, compared, promoted or not.

use crate::reading::SensorType;
use crate::{ModelId, SensorId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A wish to have a sensor's detector fitted anew. It is an intent: a worker carries it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingRequested {
    /// The sensor.
    pub sensor: SensorId,
    /// Source time of the newest reading to learn from.
    pub as_of: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// How champion and challenger did on data that neither had seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Mean pinball loss of the champion, in the sensor's unit; lower is better.
    pub champion_loss: f64,
    /// The challenger's.
    pub challenger_loss: f64,
    /// Readings fitted on.
    pub n_train: u32,
    /// Readings held out.
    pub n_holdout: u32,
}

/// A challenger was fitted and compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trained {
    /// The challenger.
    pub model: ModelId,
    /// Name of the model: `stream_detector/<sensor>`.
    pub name: String,
    /// The sensor.
    pub sensor: SensorId,
    /// How it did.
    pub comparison: Comparison,
    /// The fitted parameters, as the detector reads them.
    pub artefact: serde_json::Value,
    /// Those of the champion that it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<serde_json::Value>,
}

/// Training was not possible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingFailed {
    /// The sensor.
    pub sensor: SensorId,
    /// Why, in words.
    pub reason: String,
}

/// The challenger is the champion from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promoted {
    /// The new champion.
    pub model: ModelId,
    /// The sensor.
    pub sensor: SensorId,
    /// The fitted parameters, as the detector reads them.
    pub artefact: serde_json::Value,
    /// Who wanted it; absent when the comparison alone decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// A version of a model was trained, and its artefact kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// The version's own id.
    pub model: ModelId,
    /// Name of the model.
    pub name: String,
    /// SHA-256 of the artefact, in hexadecimal digits: what it is kept under.
    pub sha256: String,
    /// What it learnt from, how well it does on what it had not seen, and what it is not for.
    pub card: serde_json::Value,
}

/// It was chosen which version of a model answers from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    /// The version.
    pub model: ModelId,
    /// Name of the model.
    pub name: String,
    /// Who chose it.
    pub by: String,
    /// Why, in words.
    pub reason: String,
}

/// The challenger was no better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The challenger.
    pub model: ModelId,
    /// The sensor.
    pub sensor: SensorId,
    /// Why, in words.
    pub reason: String,
}

/// What was learnt about one kind of alarm from what people said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackLearned {
    /// The failure mode that was judged.
    pub failure_mode: String,
    /// The sensor whose evidence opened the case.
    pub sensor: SensorId,
    /// Cases confirmed so far.
    pub confirmed: u32,
    /// Cases dismissed so far.
    pub dismissed: u32,
    /// Posterior mean that the next such case is real, 0 to 1.
    pub precision: f64,
    /// How sure that is, and how many of the dismissed ones were inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// What people made of the alarms of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Cases that were real.
    pub confirmed: u32,
    /// Cases that were not.
    pub dismissed: u32,
    /// Of the dismissed ones, those in which somebody looked at the machine and found nothing.
    pub no_fault_found: u32,
    /// Share of the confirmed ones: lower end of its interval, 0 to 1.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence of the interval: 0.95.
    pub level: f64,
}

impl Record {
    /// Cases that were judged.
    pub fn n_judged(&self) -> u32 {
        self.confirmed + self.dismissed
    }
}

impl fmt::Display for Record {
    /// "12 of 14 confirmed, 2 no fault found".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} confirmed", self.confirmed, self.n_judged())?;
        match self.no_fault_found {
            0 => {}
            n_inspected => write!(f, ", {n_inspected} no fault found")?,
        }
        match self.dismissed - self.no_fault_found.min(self.dismissed) {
            0 => Ok(()),
            n_declined => write!(f, ", {n_declined} dismissed"),
        }
    }
}

/// What alarms of one detector on one type of sensor are worth, over the whole plant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DetectorRated {
    /// Name and version of the detector.
    pub detector: String,
    /// What its sensors measure.
    pub sensor_type: SensorType,
    /// Posterior mean that the next such case is real, 0 to 1.
    pub precision: f64,
    /// What it rests on.
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_people_say_it() {
        let record = |confirmed, dismissed, no_fault_found| {
            Record { confirmed, dismissed, no_fault_found, low: 0.0, high: 1.0, level: 0.95 }.to_string()
        };
        assert_eq!(record(12, 2, 2), "12 of 14 confirmed, 2 no fault found");
        assert_eq!(record(3, 0, 0), "3 of 3 confirmed");
        assert_eq!(record(0, 4, 1), "0 of 4 confirmed, 1 no fault found, 3 dismissed");
    }
}
