//! Models: asked for, trained, compared, promoted or not.

use crate::{ModelId, SensorId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A wish to have a sensor's detector fitted anew. It is an intent: a worker carries it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRequested {
    /// The sensor.
    pub sensor: SensorId,
    /// Source time of the newest reading to learn from.
    pub as_of: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// How champion and challenger did on data that neither had seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// Training was not possible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFailed {
    /// The sensor.
    pub sensor: SensorId,
    /// Why, in words.
    pub reason: String,
}

/// The challenger is the champion from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promoted {
    /// The new champion.
    pub model: ModelId,
    /// The sensor.
    pub sensor: SensorId,
    /// The fitted parameters, as the detector reads them.
    pub artefact: serde_json::Value,
    /// Why, in words.
    pub reason: String,
}

/// The challenger was no better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The challenger.
    pub model: ModelId,
    /// The sensor.
    pub sensor: SensorId,
    /// Why, in words.
    pub reason: String,
}

/// What was learnt about one kind of alarm from what people said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}
