//! The operators that are known, each on the values of one row.
//!
//! # Source
//!
//! ONNX, *Operators* and *ai.onnx.ml Operators*, whose names are kept in the code.

use super::ensemble::Ensemble;
use super::wire::{self, Node};
use super::{OnnxError, malformed, unsupported};
use crate::trees::sigmoid;
use serde::{Deserialize, Serialize};

/// What is made of a row's scores at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Transform {
    None,
    Logistic,
    Softmax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Norm {
    Max,
    L1,
    L2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shape {
    Relu,
    Sigmoid,
    Tanh,
    Softmax,
}

/// Weights of a linear model: those of each target one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Linear {
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    n_targets: usize,
}

/// An operator with its attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Operator {
    /// The same values: `Identity`, `ZipMap`, and what only changes a row's shape or widens its numbers.
    Same,
    /// `Cast` to single precision.
    Single,
    /// `Cast` to whole numbers.
    Whole,
    Concat,
    Arithmetic(Arithmetic),
    MatMul,
    Elementwise(Shape),
    Scaler {
        offset: Vec<f64>,
        scale: Vec<f64>,
    },
    Normalizer(Norm),
    Imputer {
        by: Vec<f64>,
        replaced: f64,
    },
    LinearRegressor(Linear, Transform),
    LinearClassifier(Linear, Transform, Vec<f64>),
    TreeEnsembleRegressor {
        trees: Ensemble,
        base: Vec<f64>,
        average: bool,
    },
    TreeEnsembleClassifier {
        trees: Ensemble,
        base: Vec<f64>,
        transform: Transform,
        positive: Positive,
        labels: Vec<f64>,
    },
}

/// How the scores of two classes come of what the leaves add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Positive {
    /// Each class has a sum of its own.
    Each,
    /// There is but one sum, that of the second class, and it is a probability.
    Chance(usize),
    /// There is but one sum, and it has a sign.
    Sign(usize),
}

impl Operator {
    /// Reads the operator of `node`; for a classifier, with the labels of its classes.
    pub(super) fn read(node: &Node) -> Result<(Self, Option<Vec<f64>>), OnnxError> {
        let operator = match node.operator.as_str() {
            "Identity" | "ZipMap" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => Self::Same,
            "Cast" => match i32::try_from(node.int("to").unwrap_or_default()).unwrap_or_default() {
                wire::FLOAT => Self::Single,
                wire::DOUBLE => Self::Same,
                wire::INT64 | wire::INT32 => Self::Whole,
                other => return unsupported(format!("a cast to the type {other}")),
            },
            "Concat" => Self::Concat,
            "Add" => Self::Arithmetic(Arithmetic::Add),
            "Sub" => Self::Arithmetic(Arithmetic::Sub),
            "Mul" => Self::Arithmetic(Arithmetic::Mul),
            "Div" => Self::Arithmetic(Arithmetic::Div),
            "MatMul" => Self::MatMul,
            "Relu" => Self::Elementwise(Shape::Relu),
            "Sigmoid" => Self::Elementwise(Shape::Sigmoid),
            "Tanh" => Self::Elementwise(Shape::Tanh),
            "Softmax" => Self::Elementwise(Shape::Softmax),
            "Scaler" => Self::Scaler { offset: node.floats("offset")?, scale: node.floats("scale")? },
            "Normalizer" => Self::Normalizer(match node.text("norm", "MAX").as_str() {
                "MAX" => Norm::Max,
                "L1" => Norm::L1,
                "L2" => Norm::L2,
                other => return unsupported(format!("the norm {other:?}")),
            }),
            "Imputer" => {
                let replaced = node.attribute("replaced_value_float").and_then(|own| own.float);
                let replaced = replaced.map_or(f64::NAN, f64::from);
                Self::Imputer { by: node.floats("imputed_value_floats")?, replaced }
            }
            "LinearRegressor" => {
                let n_targets = usize::try_from(node.int("targets").unwrap_or(1)).unwrap_or(1);
                Self::LinearRegressor(Linear::read(node, n_targets)?, transform(node)?)
            }
            "LinearClassifier" => {
                let labels = labels(node)?;
                let linear = Linear::read(node, node.floats("intercepts")?.len().max(1))?;
                if linear.n_targets != labels.len() && (linear.n_targets, labels.len()) != (1, 2) {
                    return malformed("a linear classifier with more or fewer weights than classes");
                }
                Self::LinearClassifier(linear, transform(node)?, labels)
            }
            "TreeEnsembleRegressor" => {
                let n_targets = usize::try_from(node.int("n_targets").unwrap_or(1)).unwrap_or_default();
                if n_targets != 1 {
                    return unsupported(format!("trees that say {n_targets} values"));
                }
                let average = match node.text("aggregate_function", "SUM").as_str() {
                    "SUM" => false,
                    "AVERAGE" => true,
                    other => return unsupported(format!("the aggregate {other:?}")),
                };
                if transform(node)? != Transform::None {
                    return unsupported("trees whose value is transformed");
                }
                let trees = Ensemble::read(node, "target", n_targets)?;
                Self::TreeEnsembleRegressor { trees, base: base(node, n_targets)?, average }
            }
            "TreeEnsembleClassifier" => Self::trees_of_classes(node)?,
            other => return unsupported(format!("the operator {other} is not known here")),
        };
        let labels = match &operator {
            Self::LinearClassifier(.., labels) | Self::TreeEnsembleClassifier { labels, .. } => Some(labels.clone()),
            _ => None,
        };
        Ok((operator, labels))
    }

    fn trees_of_classes(node: &Node) -> Result<Self, OnnxError> {
        let labels = labels(node)?;
        let trees = Ensemble::read(node, "class", labels.len())?;
        let (targets, weights) = (node.ints("class_ids"), node.floats("class_weights")?);
        let single = targets.first().filter(|first| targets.iter().all(|target| target == *first));
        let transform = transform(node)?;
        let positive = match single.and_then(|single| usize::try_from(*single).ok()) {
            Some(single) if labels.len() == 2 => {
                if transform == Transform::None && weights.iter().all(|weight| 0.0 <= *weight) {
                    Positive::Chance(single)
                } else {
                    Positive::Sign(single)
                }
            }
            _ => Positive::Each,
        };
        let n_base = node.floats("base_values")?.len();
        let base = base(node, if positive == Positive::Each || n_base == 2 { labels.len() } else { 1 })?;
        Ok(Self::TreeEnsembleClassifier { trees, base, transform, positive, labels })
    }

    /// Whether it can have so many inputs and outputs.
    pub(super) fn fits(&self, n_inputs: usize, n_outputs: usize) -> bool {
        match self {
            Self::Concat => 1 <= n_inputs && n_outputs == 1,
            Self::Arithmetic(_) | Self::MatMul => n_inputs == 2 && n_outputs == 1,
            // The second input of some is a shape.
            Self::Same => (1..=2).contains(&n_inputs) && n_outputs == 1,
            Self::LinearClassifier(..) | Self::TreeEnsembleClassifier { .. } => n_inputs == 1 && n_outputs == 2,
            _ => n_inputs == 1 && n_outputs == 1,
        }
    }

    /// What comes of the values `taken`, which are as many as fit.
    pub(super) fn apply(&self, taken: &[&[f64]]) -> Result<Vec<Vec<f64>>, OnnxError> {
        let x = taken[0];
        let one = match self {
            Self::Same => x.to_vec(),
            Self::Single => x.iter().map(|value| f64::from(*value as f32)).collect(),
            Self::Whole => x.iter().map(|value| value.trunc()).collect(),
            Self::Concat => taken.concat(),
            Self::Arithmetic(arithmetic) => arithmetic.apply(x, taken[1])?,
            Self::MatMul => product(x, taken[1])?,
            Self::Elementwise(shape) => shape.apply(x),
            Self::Scaler { offset, scale } => {
                let shifted = Arithmetic::Sub.apply(x, offset)?;
                Arithmetic::Mul.apply(&shifted, scale)?
            }
            Self::Normalizer(norm) => norm.apply(x),
            Self::Imputer { by, replaced } => {
                if by.len() != 1 && by.len() != x.len() {
                    return malformed("an imputer of another width");
                }
                let is_gap = |value: f64| if replaced.is_nan() { value.is_nan() } else { value == *replaced };
                let fill = |idx: usize| by[if by.len() == 1 { 0 } else { idx }];
                x.iter().enumerate().map(|(idx, value)| if is_gap(*value) { fill(idx) } else { *value }).collect()
            }
            Self::LinearRegressor(linear, transform) => transform.apply(linear.scores(x)?),
            Self::LinearClassifier(linear, transform, labels) => {
                let scores = linear.scores(x)?;
                let scores = match (scores[..].first(), scores.len(), labels.len()) {
                    (Some(score), 1, 2) => two(*score, *transform),
                    _ => transform.apply(scores),
                };
                return Ok(labelled(labels, scores));
            }
            Self::TreeEnsembleRegressor { trees, base, average } => {
                let share = if *average { 1.0 / trees.n_trees() as f64 } else { 1.0 };
                trees.sums(x)?.iter().zip(base).map(|(sum, base)| sum * share + base).collect()
            }
            Self::TreeEnsembleClassifier { trees, base, transform, positive, labels } => {
                let sums = trees.sums(x)?;
                let of = |single: usize| sums[single] + base[base.len() - 1];
                let scores = match positive {
                    Positive::Each => transform.apply(sums.iter().zip(base).map(|(sum, base)| sum + base).collect()),
                    Positive::Chance(single) => vec![1.0 - of(*single), of(*single)],
                    Positive::Sign(single) => two(of(*single), *transform),
                };
                return Ok(labelled(labels, scores));
            }
        };
        Ok(vec![one])
    }
}

/// The label of the highest score, the first of several, and the scores.
fn labelled(labels: &[f64], scores: Vec<f64>) -> Vec<Vec<f64>> {
    let mut best = 0;
    for (idx, score) in scores.iter().enumerate() {
        if scores[best] < *score {
            best = idx;
        }
    }
    vec![vec![labels[best]], scores]
}

/// The scores of two classes of which only the second has one.
fn two(score: f64, transform: Transform) -> Vec<f64> {
    match transform {
        Transform::Logistic => vec![sigmoid(-score), sigmoid(score)],
        Transform::None | Transform::Softmax => transform.apply(vec![-score, score]),
    }
}

fn labels(node: &Node) -> Result<Vec<f64>, OnnxError> {
    if !node.texts("classlabels_strings").is_empty() {
        return unsupported("its classes are called by words; only whole numbers are served");
    }
    let mut ints = node.ints("classlabels_int64s");
    if ints.is_empty() {
        ints = node.ints("classlabels_ints");
    }
    if ints.len() < 2 {
        return malformed("a classifier with fewer than two classes");
    }
    Ok(ints.iter().map(|label| *label as f64).collect())
}

fn transform(node: &Node) -> Result<Transform, OnnxError> {
    match node.text("post_transform", "NONE").as_str() {
        "NONE" => Ok(Transform::None),
        "LOGISTIC" => Ok(Transform::Logistic),
        "SOFTMAX" => Ok(Transform::Softmax),
        other => unsupported(format!("the transform {other:?}")),
    }
}

fn base(node: &Node, n_targets: usize) -> Result<Vec<f64>, OnnxError> {
    let base = node.floats("base_values")?;
    match base.len() {
        0 => Ok(vec![0.0; n_targets]),
        n if n == n_targets => Ok(base),
        n => malformed(format!("{n} base values for {n_targets} sums")),
    }
}

impl Linear {
    fn read(node: &Node, n_targets: usize) -> Result<Self, OnnxError> {
        let coefficients = node.floats("coefficients")?;
        let mut intercepts = node.floats("intercepts")?;
        if intercepts.is_empty() {
            intercepts = vec![0.0; n_targets];
        }
        if n_targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(n_targets) {
            return malformed("a linear model without weights");
        }
        if intercepts.len() != n_targets {
            return malformed("a linear model with more or fewer intercepts than targets");
        }
        Ok(Self { coefficients, intercepts, n_targets })
    }

    fn scores(&self, x: &[f64]) -> Result<Vec<f64>, OnnxError> {
        let width = self.coefficients.len() / self.n_targets;
        if x.len() != width {
            return malformed(format!("a linear model takes {width} columns, not {}", x.len()));
        }
        let of = |(weights, intercept): (&[f64], &f64)| {
            intercept + weights.iter().zip(x).map(|(weight, value)| weight * value).sum::<f64>()
        };
        Ok(self.coefficients.chunks(width).zip(&self.intercepts).map(of).collect())
    }
}

impl Transform {
    fn apply(self, scores: Vec<f64>) -> Vec<f64> {
        match self {
            Self::None => scores,
            Self::Logistic => scores.into_iter().map(sigmoid).collect(),
            Self::Softmax => softmax(&scores),
        }
    }
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

impl Arithmetic {
    /// Element by element; one number goes with all.
    fn apply(self, x: &[f64], y: &[f64]) -> Result<Vec<f64>, OnnxError> {
        let n = x.len().max(y.len());
        if [x, y].iter().any(|side| side.len() != n && side.len() != 1) {
            return malformed(format!("{} numbers do not go with {}", x.len(), y.len()));
        }
        let of = |side: &[f64], idx: usize| side[if side.len() == 1 { 0 } else { idx }];
        let both = (0..n).map(|idx| (of(x, idx), of(y, idx)));
        Ok(both
            .map(|(x, y)| match self {
                Self::Add => x + y,
                Self::Sub => x - y,
                Self::Mul => x * y,
                Self::Div => x / y,
            })
            .collect())
    }
}

/// A row times a matrix that stands row by row.
fn product(x: &[f64], matrix: &[f64]) -> Result<Vec<f64>, OnnxError> {
    if x.is_empty() || matrix.is_empty() || !matrix.len().is_multiple_of(x.len()) {
        return malformed(format!("{} numbers do not multiply with {}", x.len(), matrix.len()));
    }
    let n_columns = matrix.len() / x.len();
    let column =
        |column: usize| x.iter().enumerate().map(|(row, value)| value * matrix[row * n_columns + column]).sum();
    Ok((0..n_columns).map(column).collect())
}

impl Shape {
    fn apply(self, x: &[f64]) -> Vec<f64> {
        match self {
            Self::Relu => x.iter().map(|value| value.max(0.0)).collect(),
            Self::Sigmoid => x.iter().map(|value| sigmoid(*value)).collect(),
            Self::Tanh => x.iter().map(|value| value.tanh()).collect(),
            Self::Softmax => softmax(x),
        }
    }
}

impl Norm {
    fn apply(self, x: &[f64]) -> Vec<f64> {
        let size = match self {
            Self::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::L1 => x.iter().map(|value| value.abs()).sum(),
            Self::L2 => x.iter().map(|value| value * value).sum::<f64>().sqrt(),
        };
        // A row of zeros stays as it is.
        x.iter().map(|value| if size == 0.0 { *value } else { value / size }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{floats, ints, node, text};
    use super::*;

    fn apply(operator: &str, attributes: Vec<wire::Attribute>, x: &[f64]) -> Vec<Vec<f64>> {
        let node = node(operator, &["x"], &["y"], attributes);
        Operator::read(&node).expect("known").0.apply(&[x]).expect("fits")
    }

    #[test]
    fn norms_are_those_of_the_definition() {
        for (norm, expected) in [("L1", [0.375, -0.625]), ("L2", [0.6, -1.0]), ("MAX", [1.0, -5.0 / 3.0])] {
            let found = &apply("Normalizer", vec![text("norm", norm)], &[3.0, -5.0])[0];
            let scale = if norm == "L2" { 34_f64.sqrt() / 5.0 } else { 1.0 };
            assert!(
                found.iter().zip(expected).all(|(one, other)| (one * scale - other).abs() < 1e-12),
                "{norm} {found:?}"
            );
        }
        assert_eq!(apply("Normalizer", vec![text("norm", "L1")], &[0.0, 0.0])[0], [0.0, 0.0]);
    }

    #[test]
    fn a_linear_classifier_weighs_each_class_or_only_the_second() {
        let three = vec![
            floats("coefficients", &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]),
            floats("intercepts", &[0.0, 0.0, 0.5]),
            ints("classlabels_ints", &[4, 5, 6]),
            text("post_transform", "SOFTMAX"),
        ];
        let said = apply("LinearClassifier", three, &[0.2, 0.4]);
        assert_eq!(said[0], [5.0]);
        let powers = [0.2_f64, 0.4, -0.1].map(f64::exp);
        let expected = powers.map(|power| power / powers.iter().sum::<f64>());
        assert!(said[1].iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-7), "{said:?}");
        let second = vec![
            floats("coefficients", &[1.0, 0.0]),
            floats("intercepts", &[-0.5]),
            ints("classlabels_ints", &[0, 1]),
            text("post_transform", "LOGISTIC"),
        ];
        let said = apply("LinearClassifier", second, &[0.25, 9.0]);
        assert_eq!(said[0], [0.0]);
        assert!((said[1][1] - sigmoid(-0.25)).abs() < 1e-12 && (said[1][0] + said[1][1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn gaps_are_filled_and_matrices_multiplied() {
        let by = || floats("imputed_value_floats", &[7.0, 8.0]);
        assert_eq!(apply("Imputer", vec![by()], &[f64::NAN, 1.0])[0], [7.0, 1.0]);
        let zero = wire::Attribute { name: "replaced_value_float".to_owned(), float: Some(0.0), ..by() };
        assert_eq!(apply("Imputer", vec![by(), zero], &[2.0, 0.0])[0], [2.0, 8.0]);
        assert_eq!(product(&[1.0, 2.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap(), [9.0, 12.0, 15.0]);
        assert!(product(&[1.0, 2.0], &[1.0, 2.0, 3.0]).is_err());
    }
}
