//! What lies beside a model that was logged in MLflow, and what is served of it.

use super::MlflowError;
use crate::models::artefact::{Artefact, Estimator, FORMAT};
use crate::models::catalogue::{Derived, Task};
use crate::models::table::plain;
use analytics::onnx::Model;
use serde::Deserialize;

/// Rows of the example that was logged, against which answers are explained.
const BACKGROUND_ROWS: usize = 8;

/// The file `MLmodel` that lies beside a model.
#[derive(Deserialize)]
pub(super) struct Described {
    pub(super) flavors: Flavors,
    #[serde(default)]
    pub(super) signature: Option<Signature>,
    #[serde(default)]
    pub(super) saved_input_example_info: Option<Example>,
}

#[derive(Deserialize)]
pub(super) struct Flavors {
    #[serde(default)]
    pub(super) onnx: Option<Onnx>,
}

#[derive(Deserialize)]
pub(super) struct Onnx {
    pub(super) data: String,
}

#[derive(Deserialize)]
pub(super) struct Signature {
    #[serde(default)]
    pub(super) inputs: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Column {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Example {
    pub(super) artifact_path: String,
}

#[derive(Deserialize)]
pub(super) struct Rows {
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    data: Vec<Vec<f64>>,
}

/// What is served of the model `bytes`, whose columns are `declared`, if anybody did.
pub(super) fn artefact(
    name: String,
    bytes: &[u8],
    declared: Vec<Column>,
    example: Option<Rows>,
) -> Result<Artefact, MlflowError> {
    let model = Model::read(bytes)?;
    let inputs = columns(&model, &declared)?;
    let example = example.filter(|rows| {
        let named: Vec<String> = rows.columns.iter().map(|column| plain(column)).collect();
        named.is_empty() || named == inputs
    });
    let width = inputs.len();
    let background: Vec<Vec<f64>> = example.map_or_else(Vec::new, |rows| {
        rows.data.into_iter().filter(|row| row.len() == width).take(BACKGROUND_ROWS).collect()
    });
    // What would fail at the first question fails now.
    for row in background.iter().chain([&vec![0.0; width]]) {
        model.run(row)?;
    }
    let task = if model.classes().is_empty() { Task::Regression } else { Task::Classification };
    Ok(Artefact {
        format: FORMAT,
        name,
        task,
        inputs,
        derived: Derived::AsGiven,
        scaling: Vec::new(),
        estimator: Estimator::Exported(Box::new(model)),
        threshold: 0.5,
        calibration: None,
        reliability: Vec::new(),
        bands: None,
        background,
    })
}

/// Names of the columns that `model` takes: its own where it takes each by itself, else the declared ones.
fn columns(model: &Model, declared: &[Column]) -> Result<Vec<String>, MlflowError> {
    let broken = |why: String| Err(MlflowError::Broken(why));
    let named: Option<Vec<String>> = declared.iter().map(|column| column.name.clone()).collect();
    let named = named.filter(|names| !names.is_empty());
    let names = match model.inputs() {
        [one] if one.width != Some(1) || named.is_some() => match (one.width, named) {
            (Some(width), Some(names)) if names.len() != width => {
                return broken(format!("its signature names {} columns, the model takes {width}", names.len()));
            }
            (_, Some(names)) => names,
            (Some(width), None) => (0..width).map(|idx| format!("feature_{idx}")).collect(),
            (None, None) => return broken("neither the model nor its signature says how many columns it takes".into()),
        },
        several => {
            if let Some(wide) = several.iter().find(|input| input.width.is_some_and(|width| width != 1)) {
                return broken(format!("its input {:?} has several columns beside others", wide.name));
            }
            several.iter().map(|input| input.name.clone()).collect()
        }
    };
    let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
    if let Some(twice) = plain.iter().enumerate().find(|(idx, name)| plain[..*idx].contains(name)) {
        return broken(format!("two of its columns are called {:?}", twice.1));
    }
    Ok(plain)
}
