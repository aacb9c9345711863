//! The messages of the ONNX format, as far as they are read.
//!
//! # Source
//!
//! The ONNX project's `onnx.proto`: numbers of the fields and of the types of elements.

use super::{OnnxError, malformed, unsupported};

/// Types of a tensor's elements.
pub(super) const FLOAT: i32 = 1;
pub(super) const INT32: i32 = 6;
pub(super) const INT64: i32 = 7;
pub(super) const DOUBLE: i32 = 11;
pub(super) const BOOL: i32 = 9;
/// Of a tensor whose numbers lie in another file.
const EXTERNAL: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Model {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) operator: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, optional, tag = "2")]
    pub(super) float: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(super) int: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) text: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(super) tensor: Option<Tensor>,
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub(super) floats: Vec<f32>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(super) texts: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(super) dimensions: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) element: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) ints: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) longs: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) bytes: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub(super) doubles: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub(super) location: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Kind {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorKind {
    #[prost(int32, tag = "1")]
    pub(super) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dimensions: Vec<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(super) size: Option<i64>,
}

impl Tensor {
    /// The numbers of the tensor, row by row.
    pub(super) fn numbers(&self) -> Result<Vec<f64>, OnnxError> {
        if self.location == EXTERNAL {
            return unsupported(format!("the numbers of {:?} lie in another file", self.name));
        }
        let numbers: Vec<f64> = match (self.element, self.bytes.is_empty()) {
            (FLOAT, true) => self.floats.iter().map(|value| f64::from(*value)).collect(),
            (FLOAT, false) => chunks(&self.bytes).map(|bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
            (DOUBLE, true) => self.doubles.clone(),
            (DOUBLE, false) => chunks(&self.bytes).map(f64::from_le_bytes).collect(),
            (INT64, true) => self.longs.iter().map(|value| *value as f64).collect(),
            (INT64, false) => chunks(&self.bytes).map(|bytes| i64::from_le_bytes(bytes) as f64).collect(),
            (INT32 | BOOL, true) => self.ints.iter().map(|value| f64::from(*value)).collect(),
            (INT32, false) => chunks(&self.bytes).map(|bytes| f64::from(i32::from_le_bytes(bytes))).collect(),
            (BOOL, false) => self.bytes.iter().map(|byte| f64::from(*byte)).collect(),
            (other, _) => return unsupported(format!("{:?} holds no numbers (type {other})", self.name)),
        };
        let expected = self
            .dimensions
            .iter()
            .try_fold(1_usize, |product, size| usize::try_from(*size).ok().and_then(|size| product.checked_mul(size)));
        if expected == Some(numbers.len()) { Ok(numbers) } else { malformed(format!("the shape of {:?}", self.name)) }
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(|chunk| chunk.try_into().expect("chunks have that size"))
}

impl Node {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn ints(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// Numbers in single precision, or under `<name>_as_tensor` in double.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<f64>, OnnxError> {
        if let Some(tensor) = self.attribute(&format!("{name}_as_tensor")).and_then(|own| own.tensor.as_ref()) {
            return tensor.numbers();
        }
        let floats = self.attribute(name).map_or(&[][..], |attribute| &attribute.floats);
        Ok(floats.iter().map(|value| f64::from(*value)).collect())
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.int)
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> String {
        let text = self.attribute(name).and_then(|attribute| attribute.text.as_deref());
        text.map_or(default.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.attribute(name).map_or(&[][..], |attribute| &attribute.texts);
        texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }
}
