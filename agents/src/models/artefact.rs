//! A trained version as it is kept: numbers and names, nothing that runs.
//!
//! The bytes are postcard of [`Artefact`], whose first field is the number of the form; who reads them checks every
//! index and every number before use.

use super::catalogue::{Derived, Task};
use super::fit::WINDOWS;
use super::table::{number, plain};
use analytics::conformal::Bands;
use analytics::forest::Forest;
use analytics::onnx;
use analytics::remaining_life::{self, Fusion};
use analytics::shapley;
use analytics::support_vectors::Machine;
use analytics::trees::shap::{Explainer, Explanation};
use analytics::trees::{Ensemble, sigmoid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// The form that is written now.
pub const FORMAT: u16 = 1;

/// What the numbers mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Estimator {
    /// Trees whose sum is a probability or a value.
    Forest(Ensemble),
    /// Trees whose sum is the log odds.
    Boosted(Ensemble),
    /// A border between failure (positive) and health.
    Border(Machine),
    /// A border around healthy rows.
    Around(Machine),
    /// An isolation forest of healthy rows.
    Isolation(Forest),
    /// The choice among forecasting methods.
    Forecaster,
    /// What another program trained and wrote as ONNX.
    Exported(Box<onnx::Model>),
    /// Trees whose sum is a value, on the columns and on those of the channels weighed together.
    Fused(Fusion, Ensemble),
}

/// How often rows of about this probability were failures, among rows that the model had not seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Probability up to which the bin reaches.
    pub up_to: f64,
    /// Rows.
    pub n_rows: u32,
    /// Failures among them.
    pub n_failures: u32,
}

/// A trained version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artefact {
    /// [`FORMAT`].
    pub format: u16,
    /// The name it was trained under.
    pub name: String,
    /// What it says.
    pub task: Task,
    /// Columns that a request must name, in the order of training.
    pub inputs: Vec<String>,
    /// What is made of them.
    pub derived: Derived,
    /// Mean and standard deviation of the columns that the model sees; empty where the scale does not matter.
    pub scaling: Vec<(f64, f64)>,
    /// The numbers.
    pub estimator: Estimator,
    /// Probability, or score, from which on the answer is 1.
    pub threshold: f64,
    /// Slope and offset that make a probability of a border's decision.
    pub calibration: Option<(f64, f64)>,
    /// How far probabilities can be trusted.
    pub reliability: Vec<Bin>,
    /// Intervals of 90 % around a value.
    pub bands: Option<Bands>,
    /// Rows as the model sees them, against which a model without trees is explained.
    pub background: Vec<Vec<f64>>,
}

/// What a model says of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The class, 0 or 1, or the value.
    pub prediction: f64,
    /// The probability of class 1.
    pub probability: Option<f64>,
    /// For an anomaly detector the score, 1.0 being the threshold.
    pub score: Option<f64>,
    /// 90 %: of the value, or of the share of failures among rows of that probability.
    pub interval: Option<(f64, f64)>,
    /// The classes, with the probability of each; empty for what is no classifier.
    pub classes: Vec<(f64, f64)>,
}

/// A feature that a model cannot take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct FeatureError {
    /// The feature.
    pub feature: String,
    /// What is wrong with it.
    pub message: String,
}

impl Answer {
    /// A bare value.
    fn of(prediction: f64) -> Self {
        Self { prediction, probability: None, score: None, interval: None, classes: Vec::new() }
    }

    /// How sure the prediction is, 0 to 1, where the model says so.
    pub fn confidence(&self) -> Option<f64> {
        let own = self.classes.iter().find(|(label, _)| *label == self.prediction);
        own.map(|(_, probability)| *probability)
    }
}

/// What a model from elsewhere says, whose classes are called `labels`.
fn exported(labels: &[f64], output: onnx::Output) -> Answer {
    match output {
        onnx::Output::Value(value) => Answer::of(value),
        onnx::Output::Class { label, scores } => Answer {
            probability: (scores.len() == 2).then(|| scores[1]),
            classes: labels.iter().copied().zip(scores).collect(),
            ..Answer::of(label)
        },
    }
}

impl Artefact {
    /// The bytes it is kept as, and their digest in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// None that can happen: numbers and names can always be written.
    pub fn packed(&self) -> anyhow::Result<(Vec<u8>, String)> {
        let bytes = postcard::to_stdvec(self)?;
        let digest = hex(&Sha256::digest(&bytes));
        Ok((bytes, digest))
    }

    /// Reads what [`packed`](Self::packed) wrote.
    ///
    /// # Errors
    ///
    /// The bytes do not have that digest, are of another form, or hold trees that lead astray.
    pub fn unpacked(bytes: &[u8], sha256: &str) -> anyhow::Result<Self> {
        let digest = hex(&Sha256::digest(bytes));
        anyhow::ensure!(digest == sha256, "the artefact's digest is {digest}, not {sha256}");
        let artefact: Self = postcard::from_bytes(bytes)?;
        anyhow::ensure!(artefact.format == FORMAT, "artefact of form {}, this program reads {FORMAT}", artefact.format);
        let n_columns = artefact.columns().len();
        let sound = match &artefact.estimator {
            Estimator::Forest(trees) | Estimator::Boosted(trees) => {
                trees.clone().checked().is_ok() && trees.n_features() == n_columns
            }
            Estimator::Fused(fusion, trees) => {
                let of_channels = remaining_life::n_columns(fusion.n_channels()) == artefact.inputs.len();
                of_channels && trees.clone().checked().is_ok() && trees.n_features() == n_columns
            }
            Estimator::Border(machine) | Estimator::Around(machine) => {
                machine.is_sound() && machine.n_features() == n_columns
            }
            Estimator::Isolation(forest) => forest.n_features() == n_columns,
            Estimator::Forecaster | Estimator::Exported(_) => true,
        };
        let scaled = artefact.scaling.is_empty() || artefact.scaling.len() == n_columns;
        anyhow::ensure!(sound && scaled, "the artefact is not whole");
        Ok(artefact)
    }

    /// Names of the columns that the model sees, in order: what an explanation is given in.
    pub fn columns(&self) -> Vec<String> {
        let mut columns = self.derived.columns(&self.inputs);
        if let Estimator::Fused(..) = &self.estimator {
            columns.extend(Fusion::names(WINDOWS));
        }
        columns
    }

    /// The inputs of `features`, in the order of training.
    ///
    /// # Errors
    ///
    /// Every feature that is not known or no number, and then every one that is missing.
    pub fn row(&self, features: &Map<String, Value>) -> Result<Vec<f64>, Vec<FeatureError>> {
        let refused = |feature: &str, message: String| FeatureError { feature: feature.to_owned(), message };
        let (mut row, mut wrong) = (vec![None; self.inputs.len()], Vec::new());
        for (name, value) in features {
            let own = plain(name);
            let Some(idx) = self.inputs.iter().position(|input| *input == own) else {
                let known = self.inputs.join(", ");
                wrong.push(refused(name, format!("Unknown feature; the model {} takes {known}", self.name)));
                continue;
            };
            let number = value.as_f64().or_else(|| value.as_str().and_then(number)).filter(|number| number.is_finite());
            if number.is_none() {
                wrong.push(refused(name, "Input should be a finite number".to_owned()));
            }
            row[idx] = Some(number.unwrap_or_default());
        }
        let missing = self.inputs.iter().zip(&row).filter(|(_, value)| value.is_none());
        wrong.extend(missing.map(|(input, _)| refused(input, "Field required".to_owned())));
        if wrong.is_empty() { Ok(row.into_iter().flatten().collect()) } else { Err(wrong) }
    }

    /// What the model sees of `row`, which holds the inputs in order.
    pub fn seen(&self, row: &[f64]) -> Vec<f64> {
        let mut seen = self.derived.of(row);
        for (value, (mean, sd)) in seen.iter_mut().zip(&self.scaling) {
            *value = (*value - mean) / sd;
        }
        match &self.estimator {
            Estimator::Fused(fusion, _) => fusion.extended(&seen),
            _ => seen,
        }
    }

    /// What the estimator says of a row as it sees it: a probability, a value or a score.
    pub fn output(&self, seen: &[f64]) -> f64 {
        match &self.estimator {
            Estimator::Forest(trees) | Estimator::Fused(_, trees) => trees.margin(seen),
            Estimator::Boosted(trees) => {
                let margin = trees.margin(seen);
                if self.task == Task::Classification { sigmoid(margin) } else { margin }
            }
            Estimator::Border(machine) => {
                let (slope, offset) = self.calibration.unwrap_or((1.0, 0.0));
                sigmoid(slope * machine.decision(seen) + offset)
            }
            Estimator::Around(machine) => -machine.decision(seen),
            Estimator::Isolation(forest) => forest.score(seen),
            Estimator::Forecaster => f64::NAN,
            Estimator::Exported(model) => match model.run(seen) {
                Ok(onnx::Output::Value(value)) => value,
                // Of two classes the second is the one that is spoken of.
                Ok(onnx::Output::Class { scores, .. }) if scores.len() == 2 => scores[1],
                Ok(onnx::Output::Class { scores, .. }) => scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Err(_) => f64::NAN,
            },
        }
    }

    /// What the model says of a row as it sees it.
    ///
    /// # Errors
    ///
    /// Nothing but a model from elsewhere can fail: no number comes out of such a row.
    pub fn answer(&self, seen: &[f64]) -> Result<Answer, FeatureError> {
        match &self.estimator {
            Estimator::Exported(model) => match model.run(seen) {
                Ok(output) => Ok(exported(model.classes(), output)),
                Err(error) => Err(FeatureError { feature: self.inputs.join(", "), message: error.to_string() }),
            },
            _ => Ok(self.own_answer(seen)),
        }
    }

    fn own_answer(&self, seen: &[f64]) -> Answer {
        let output = self.output(seen);
        let class = f64::from(u8::from(self.threshold <= output));
        match self.task {
            Task::Classification => {
                let probability = output.clamp(0.0, 1.0);
                let bin = self.reliability.iter().find(|bin| probability <= bin.up_to);
                let interval = bin.map(|bin| wilson(f64::from(bin.n_failures), f64::from(bin.n_rows)));
                let classes = vec![(0.0, 1.0 - probability), (1.0, probability)];
                Answer { prediction: class, probability: Some(probability), score: None, interval, classes }
            }
            Task::AnomalyDetection => {
                // On the scale of the estimator 0 need not be the least, so the distance is what counts.
                let score = match &self.estimator {
                    Estimator::Isolation(_) => output / self.threshold,
                    _ => 1.0 + (output - self.threshold),
                };
                Answer { score: Some(score.max(0.0)), ..Answer::of(class) }
            }
            Task::RemainingLife | Task::Forecasting | Task::Regression => {
                let value = output.max(0.0);
                let interval = self.bands.as_ref().map(|bands| bands.around(value));
                let interval = interval.map(|(low, high)| (low.max(0.0), high.max(0.0)));
                Answer { interval, ..Answer::of(value) }
            }
        }
    }

    /// Looks at the trees once, if there are any.
    pub fn explainer(&self) -> Option<Explainer> {
        match &self.estimator {
            Estimator::Forest(trees) | Estimator::Boosted(trees) | Estimator::Fused(_, trees) => {
                Some(Explainer::of(trees))
            }
            _ => None,
        }
    }

    /// What each column added to the margin of a row as the model sees it: exact for trees, else against the rows kept
    /// for that. `None` when there are none.
    pub fn explain(&self, explainer: Option<&Explainer>, seen: &[f64]) -> Option<Explanation> {
        match (&self.estimator, explainer) {
            (Estimator::Forest(_) | Estimator::Boosted(_) | Estimator::Fused(..), Some(explainer)) => {
                Some(explainer.explain(seen))
            }
            (Estimator::Exported(model), _) => {
                // Of several classes the one that the row is said to be of is spoken of throughout.
                let class = match model.run(seen).ok()? {
                    onnx::Output::Class { label, scores } if scores.len() != 2 => {
                        Some(model.classes().iter().position(|own| *own == label)?)
                    }
                    _ => None,
                };
                shapley::explain(seen, &self.background, 1, |row| match (class, model.run(row)) {
                    (Some(class), Ok(onnx::Output::Class { scores, .. })) => scores[class],
                    _ => self.output(row),
                })
            }
            _ => shapley::explain(seen, &self.background, 1, |row| self.output(row)),
        }
    }
}

/// Interval of 90 % for a share of which `n` rows are a sample.
///
/// # Source
///
/// Wilson, *Probable Inference*, JASA 22, 1927.
fn wilson(k: f64, n: f64) -> (f64, f64) {
    const Z: f64 = 1.644_853_6;
    if n == 0.0 {
        return (0.0, 1.0);
    }
    let (share, square) = (k / n, Z * Z);
    let middle = (share + square / (2.0 * n)) / (1.0 + square / n);
    let half = Z / (1.0 + square / n) * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
