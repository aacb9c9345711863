//! Models that other programs have trained and written as ONNX: read, checked, and evaluated a row at a time.
//!
//! Knows the operators that scalers, linear models and sums of trees are exported with; a model with any other is
//! refused when it is read, not when it is asked. Evaluates in double precision what the format holds in single, with
//! cuts of trees compared as the format has it; so a label next to a border is the exporter's.

mod ensemble;
mod operators;
mod wire;

use operators::Operator;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Steps of a model, at most.
const STEPS_MAX: usize = 1_000;
/// Columns of a row, at most.
const COLUMNS_MAX: usize = 10_000;

/// Why a model is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// The bytes are no ONNX model, or contradict themselves.
    #[error("the ONNX model is not whole: {0}")]
    Malformed(String),
    /// It uses what is not known here.
    #[error("the ONNX model cannot be served: {0}")]
    Unsupported(String),
}

fn malformed<T>(why: impl Into<String>) -> Result<T, OnnxError> {
    Err(OnnxError::Malformed(why.into()))
}

fn unsupported<T>(why: impl Into<String>) -> Result<T, OnnxError> {
    Err(OnnxError::Unsupported(why.into()))
}

/// One tensor that a model takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Columns of it; `None` when the model leaves that open.
    pub width: Option<usize>,
    /// Whether its numbers are in single precision.
    single: bool,
}

/// One step: an operator, the values that it takes and those that it gives, by their place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    operator: Operator,
    takes: Vec<usize>,
    gives: Vec<usize>,
}

/// What a model says of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The class, and the probability or score of each class.
    Class {
        /// The label.
        label: f64,
        /// In the order of [`Model::classes`].
        scores: Vec<f64>,
    },
    /// A value.
    Value(f64),
}

/// A model that can be evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    inputs: Vec<Input>,
    steps: Vec<Step>,
    n_values: usize,
    /// Numbers that the model brings along, and their place.
    constants: Vec<(usize, Vec<f64>)>,
    outputs: Vec<usize>,
    classes: Vec<f64>,
}

impl Model {
    /// Reads a model.
    ///
    /// # Errors
    ///
    /// The bytes are no sound ONNX model, or it needs what is not known here; the message says what.
    pub fn read(bytes: &[u8]) -> Result<Self, OnnxError> {
        let model = wire::Model::decode(bytes).map_err(|error| OnnxError::Malformed(error.to_string()))?;
        let Some(graph) = model.graph else { return malformed("it holds no graph") };
        if STEPS_MAX < graph.nodes.len() {
            return unsupported(format!("{} steps, at most {STEPS_MAX} are taken", graph.nodes.len()));
        }
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut constants = Vec::new();
        for tensor in &graph.initializers {
            constants.push((places.len(), tensor.numbers()?));
            places.insert(tensor.name.clone(), places.len());
        }
        if places.len() != constants.len() {
            return malformed("two constants have one name");
        }
        let mut inputs = Vec::new();
        // The places of the inputs follow those of the constants, in order.
        for value in graph.inputs.iter().filter(|value| !graph.initializers.iter().any(|own| own.name == value.name)) {
            inputs.push(input(value)?);
            if places.insert(value.name.clone(), places.len()).is_some() {
                return malformed(format!("two inputs are called {:?}", value.name));
            }
        }
        if inputs.is_empty() || graph.outputs.is_empty() || 2 < graph.outputs.len() {
            return unsupported(format!("{} inputs and {} outputs", inputs.len(), graph.outputs.len()));
        }
        let (mut steps, mut classes) = (Vec::new(), None);
        for node in &graph.nodes {
            let takes = node.inputs.iter().map(|name| {
                let place = places.get(name).copied();
                place.ok_or_else(|| OnnxError::Malformed(format!("{name:?} is used before it is made")))
            });
            let takes = takes.collect::<Result<Vec<_>, _>>()?;
            let (operator, labels) = Operator::read(node)?;
            if let Some(labels) = labels
                && classes.replace(labels).is_some()
            {
                return unsupported("more than one classifier");
            }
            if !operator.fits(takes.len(), node.outputs.len()) {
                return malformed(format!("{} with {} inputs", node.operator, takes.len()));
            }
            let gives = node.outputs.iter().map(|name| {
                let place = places.len();
                if places.insert(name.clone(), place).is_some() {
                    return malformed(format!("{name:?} is made twice"));
                }
                Ok(place)
            });
            let gives = gives.collect::<Result<Vec<_>, _>>()?;
            steps.push(Step { operator, takes, gives });
        }
        let outputs = graph.outputs.iter().map(|output| {
            let place = places.get(&output.name).copied();
            place.ok_or_else(|| OnnxError::Malformed(format!("nothing makes the output {:?}", output.name)))
        });
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let classes = classes.unwrap_or_default();
        if (outputs.len() == 2) == classes.is_empty() {
            return unsupported("a classifier has a label and probabilities, any other model one value");
        }
        Ok(Self { inputs, steps, n_values: places.len(), constants, outputs, classes })
    }

    /// The tensors that it takes, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Labels of the classes, in the order of their scores; empty for a model that says a value.
    pub fn classes(&self) -> &[f64] {
        &self.classes
    }

    /// What it says of `row`: the columns of its inputs one after the other.
    ///
    /// # Errors
    ///
    /// The row has not as many columns as the model needs, or a number comes out that is none.
    pub fn run(&self, row: &[f64]) -> Result<Output, OnnxError> {
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); self.n_values];
        for (place, numbers) in &self.constants {
            values[*place].clone_from(numbers);
        }
        let mut rest = row;
        for (idx, input) in self.inputs.iter().enumerate() {
            let width = input.width.unwrap_or(rest.len());
            let Some((own, others)) = rest.split_at_checked(width) else {
                return malformed(format!("{} columns are too few", row.len()));
            };
            let single = |value: &f64| if input.single { f64::from(*value as f32) } else { *value };
            values[self.constants.len() + idx] = own.iter().map(single).collect();
            rest = others;
        }
        if !rest.is_empty() {
            return malformed(format!("{} columns are too many", row.len()));
        }
        for step in &self.steps {
            let taken: Vec<&[f64]> = step.takes.iter().map(|place| values[*place].as_slice()).collect();
            let made = step.operator.apply(&taken)?;
            for (place, made) in step.gives.iter().zip(made) {
                values[*place] = made;
            }
        }
        let said: Vec<&[f64]> = self.outputs.iter().map(|place| values[*place].as_slice()).collect();
        let output = match said[..] {
            [[label], scores] if scores.len() == self.classes.len() => {
                Output::Class { label: *label, scores: scores.to_vec() }
            }
            [[value]] => Output::Value(*value),
            _ => return unsupported("more than one value for a row"),
        };
        let finite = match &output {
            Output::Class { label, scores } => label.is_finite() && scores.iter().all(|score| score.is_finite()),
            Output::Value(value) => value.is_finite(),
        };
        if finite { Ok(output) } else { malformed("what comes out is no number") }
    }
}

fn input(value: &wire::ValueInfo) -> Result<Input, OnnxError> {
    let tensor = value.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let Some(tensor) = tensor else { return unsupported(format!("the input {:?} is no tensor", value.name)) };
    let single = match tensor.element {
        wire::FLOAT => true,
        wire::DOUBLE | wire::INT64 | wire::INT32 => false,
        other => return unsupported(format!("the input {:?} holds no numbers (type {other})", value.name)),
    };
    let width = tensor.shape.as_ref().and_then(|shape| shape.dimensions.get(1)).and_then(|dimension| dimension.size);
    let width = width.map(usize::try_from).transpose().ok().flatten().filter(|width| 0 < *width);
    if width.is_some_and(|width| COLUMNS_MAX < width) {
        return unsupported(format!("the input {:?} has more than {COLUMNS_MAX} columns", value.name));
    }
    Ok(Input { name: value.name.clone(), width, single })
}

#[cfg(test)]
mod tests {
    use super::wire::{Attribute, Dimension, Graph, Kind, Node, Shape, Tensor, TensorKind, ValueInfo};
    use super::*;
    use proptest::prelude::*;

    pub(super) fn floats(name: &str, values: &[f32]) -> Attribute {
        Attribute { name: name.to_owned(), floats: values.to_vec(), ..Attribute::default() }
    }

    pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
        Attribute { name: name.to_owned(), ints: values.to_vec(), ..Attribute::default() }
    }

    pub(super) fn text(name: &str, value: &str) -> Attribute {
        Attribute { name: name.to_owned(), text: Some(value.as_bytes().to_vec()), ..Attribute::default() }
    }

    pub(super) fn texts(name: &str, values: &[&str]) -> Attribute {
        let texts = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        Attribute { name: name.to_owned(), texts, ..Attribute::default() }
    }

    pub(super) fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<Attribute>) -> Node {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (inputs, outputs) = (names(inputs), names(outputs));
        Node { inputs, outputs, operator: operator.to_owned(), attributes, ..Node::default() }
    }

    fn value(name: &str, element: i32, width: Option<i64>) -> ValueInfo {
        let dimensions = vec![Dimension::default(), Dimension { size: width }];
        let tensor = Some(TensorKind { element, shape: Some(Shape { dimensions }) });
        ValueInfo { name: name.to_owned(), kind: Some(Kind { tensor }) }
    }

    fn model(width: i64, nodes: Vec<Node>, outputs: &[&str]) -> Vec<u8> {
        let outputs = outputs.iter().map(|name| value(name, wire::FLOAT, None)).collect();
        let inputs = vec![value("X", wire::FLOAT, Some(width))];
        let graph = Graph { nodes, inputs, outputs, ..Graph::default() };
        wire::Model { graph: Some(graph) }.encode_to_vec()
    }

    fn said(bytes: &[u8], row: &[f64]) -> Output {
        Model::read(bytes).expect("sound").run(row).expect("a row that fits")
    }

    /// The class when x0 ≤ 0.5 goes left to 0.2 and else right to 0.9, as a forest of one tree writes it.
    fn stump(transform: &str, weights: [f32; 2]) -> Node {
        let attributes = vec![
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[0, 0, 0]),
            texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
            floats("nodes_values", &[0.5, 0.0, 0.0]),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            ints("class_treeids", &[0, 0]),
            ints("class_nodeids", &[1, 2]),
            ints("class_ids", &[0, 0]),
            floats("class_weights", &weights),
            ints("classlabels_int64s", &[0, 1]),
            text("post_transform", transform),
        ];
        node("TreeEnsembleClassifier", &["X"], &["label", "probabilities"], attributes)
    }

    #[test]
    fn a_tree_gives_the_class_and_both_probabilities() {
        let bytes = model(1, vec![stump("NONE", [0.2, 0.9])], &["label", "probabilities"]);
        assert_eq!(Model::read(&bytes).expect("sound").classes(), [0.0, 1.0]);
        for (x, expected, chance) in [(0.5, 0.0, 0.2), (0.51, 1.0, 0.9)] {
            let Output::Class { label, scores } = said(&bytes, &[x]) else { panic!("no class") };
            assert_eq!(label, expected, "{x}");
            assert!((scores[1] - chance).abs() < 1e-7 && (scores[0] + scores[1] - 1.0).abs() < 1e-12, "{scores:?}");
        }
        // Log odds become a probability.
        let bytes = model(1, vec![stump("LOGISTIC", [-1.0, 2.0])], &["label", "probabilities"]);
        let Output::Class { label, scores } = said(&bytes, &[0.0]) else { panic!("no class") };
        assert_eq!(label, 0.0);
        assert!((scores[1] - 1.0 / (1.0 + 1_f64.exp())).abs() < 1e-12, "{scores:?}");
    }

    #[test]
    fn a_cut_is_compared_in_the_precision_of_the_model() {
        let bytes = model(1, vec![stump("NONE", [0.2, 0.9])], &["label", "probabilities"]);
        // In single precision this is one half.
        let Output::Class { label, .. } = said(&bytes, &[0.5 + 1e-12]) else { panic!("no class") };
        assert_eq!(label, 0.0);
    }

    #[test]
    fn steps_follow_each_other() {
        // (x − (1, 2)) · (2, 0.5), then 3a − b + 0.25.
        let nodes = vec![
            node("Scaler", &["X"], &["scaled"], vec![floats("offset", &[1.0, 2.0]), floats("scale", &[2.0, 0.5])]),
            node(
                "LinearRegressor",
                &["scaled"],
                &["y"],
                vec![floats("coefficients", &[3.0, -1.0]), floats("intercepts", &[0.25])],
            ),
        ];
        assert_eq!(said(&model(2, nodes, &["y"]), &[2.0, 6.0]), Output::Value(4.25));
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let refused =
            |nodes, outputs: &[&str]| Model::read(&model(1, nodes, outputs)).expect_err("refused").to_string();
        let unknown = refused(vec![node("SVMClassifier", &["X"], &["y"], vec![])], &["y"]);
        assert_eq!(unknown, "the ONNX model cannot be served: the operator SVMClassifier is not known here");
        let early = refused(vec![node("Identity", &["Z"], &["y"], vec![])], &["y"]);
        assert_eq!(early, "the ONNX model is not whole: \"Z\" is used before it is made");
        assert!(refused(vec![], &["y"]).contains("nothing makes the output"));
        let labels = vec![ints("classlabels_int64s", &[]), texts("classlabels_strings", &["good", "bad"])];
        let worded = refused(vec![node("LinearClassifier", &["X"], &["l", "p"], labels)], &["l", "p"]);
        assert!(worded.contains("classes are called by words"), "{worded}");
        assert!(Model::read(b"no model at all").is_err());
        assert!(Model::read(&[]).is_err());
    }

    #[test]
    fn a_tree_that_leads_astray_is_refused() {
        for (name, values) in [
            ("nodes_truenodeids", [0, 0, 0]),
            ("nodes_truenodeids", [2, 0, 0]),
            ("nodes_truenodeids", [9, 0, 0]),
            ("nodes_featureids", [-1, 0, 0]),
            ("nodes_nodeids", [0, 1, 1]),
        ] {
            let mut broken = stump("NONE", [0.2, 0.9]);
            let attribute = broken.attributes.iter_mut().find(|attribute| attribute.name == name).unwrap();
            attribute.ints = values.to_vec();
            assert!(Model::read(&model(1, vec![broken], &["label", "probabilities"])).is_err(), "{name} {values:?}");
        }
    }

    #[test]
    fn a_row_must_fit() {
        let model = Model::read(&model(1, vec![stump("NONE", [0.2, 0.9])], &["label", "probabilities"])).unwrap();
        assert!(model.run(&[]).is_err() && model.run(&[1.0, 2.0]).is_err());
    }

    #[test]
    fn constants_are_read_in_either_form() {
        let tensor = |raw: bool| {
            let (floats, bytes) = if raw { (vec![], 1.5_f32.to_le_bytes().to_vec()) } else { (vec![1.5], vec![]) };
            Tensor {
                dimensions: vec![1],
                element: wire::FLOAT,
                floats,
                bytes,
                name: "c".to_owned(),
                ..Tensor::default()
            }
        };
        for raw in [false, true] {
            let mut whole = wire::Model::decode(&model(1, vec![node("Mul", &["X", "c"], &["y"], vec![])], &["y"])[..]);
            let graph = whole.as_mut().unwrap().graph.as_mut().unwrap();
            graph.initializers.push(tensor(raw));
            assert_eq!(said(&whole.unwrap().encode_to_vec(), &[4.0]), Output::Value(6.0));
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..300usize) {
            drop(Model::read(&bytes));
            // And those of a model with one byte changed, which is then asked.
            let mut changed = model(1, vec![stump("NONE", [0.2, 0.9])], &["label", "probabilities"]);
            let (at, byte) = (at % changed.len(), bytes.first().copied().unwrap_or(0xff));
            changed[at] = byte;
            if let Ok(model) = Model::read(&changed) {
                drop(model.run(&[0.7]));
            }
        }
    }
}
