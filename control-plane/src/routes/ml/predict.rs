//! What a model says of named features: of one row, or of many lines.

use super::super::route::{Kind, Param};
use super::super::{Mounted, Route, entry, mount};
use super::{Info, info, resolved};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::offset;
use crate::reply::Reply;
use crate::request::{Call, lax};
use agents::models::{Answer, FeatureError, Version};
use domain::Timestamp;
use persistence::models::{self, Predicted};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

const PREDICT: &Route = entry("POST", "/api/v1/ml/predict");
const BATCH: &Route = entry("POST", "/api/v1/ml/predict/batch");
const KEPT: &Route = entry("GET", "/api/v1/ml/predictions/{id}");

/// Rows of a request that are shown again.
const ROWS_MAX: usize = 100_000;

/// What a prediction is asked for with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("model_name", Kind::Text, "The model"),
    Param::or("model_version", Kind::Text, "\"auto\"", "Its version; `auto` and `latest` mean the one in use"),
    Param::required("features", Kind::Map(&Kind::Any), "A number for each feature that the model takes, by name"),
    Param::optional("sensor_id", Kind::Text, "The sensor that it is about"),
    Param::or("explain", Kind::Flag, "true", "Whether to tell what each feature added"),
    Param::optional("include_explainability", Kind::Flag, "Another name of `explain`"),
];

/// What a model says of one row.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Prediction {
    /// The class, 0 or 1, or the value; a list, as clients of the old system know it.
    prediction: [f64; 1],
    /// How sure the model is of the class, 0 to 1; absent where there are none.
    confidence: Option<f64>,
    /// Of class 1.
    probability: Option<f64>,
    /// Of each class, by its number; empty where there are none.
    probabilities: BTreeMap<String, f64>,
    /// Of a detector; 1.0 is the threshold.
    score: Option<f64>,
    /// Where the value, or the share of class 1 among rows like it, lies with 90 %.
    interval: Option<(f64, f64)>,
    model_info: Info,
    sensor_id: Option<String>,
    timestamp: String,
    request_id: String,
    /// What the model says when it knows nothing of the row.
    base_value: Option<f64>,
    feature_importance: Option<BTreeMap<String, f64>>,
    /// What each feature added to `base_value`; absent when nobody wants to know.
    shap_values: Option<BTreeMap<String, f64>>,
}

/// A line of an answer to many rows.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Said {
        row: usize,
        prediction: f64,
        probability: Option<f64>,
        score: Option<f64>,
        interval: Option<(f64, f64)>,
        base_value: Option<f64>,
        shap_values: Option<BTreeMap<String, f64>>,
    },
    Refused {
        row: usize,
        error: String,
        /// Null when the line itself cannot be read.
        feature: Option<String>,
    },
}

/// What was said in answer to a request.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Kept {
    request_id: String,
    predictions: Vec<Predicted>,
}

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, PREDICT, predict), mount(app, BATCH, batch), mount(app, KEPT, kept)])
}

/// One row as the model sees it, and what it says.
pub(super) struct Said {
    pub(super) seen: Vec<f64>,
    pub(super) answer: Answer,
    pub(super) kept: Predicted,
}

/// What `version` says of `features`; `row` of those of one `request`.
pub(super) fn said(
    version: &Version,
    features: &serde_json::Map<String, Value>,
    request: &str,
    row: usize,
    now: Timestamp,
) -> Result<Said, Vec<FeatureError>> {
    let artefact = &version.loaded.artefact;
    if artefact.inputs.is_empty() {
        let message = "This model takes no features; ask /api/v1/ml/forecast".to_owned();
        return Err(vec![FeatureError { feature: "model_name".to_owned(), message }]);
    }
    let inputs = artefact.row(features)?;
    let mut digest = Sha256::new();
    inputs.iter().for_each(|value| digest.update(value.to_le_bytes()));
    let seen = artefact.seen(&inputs);
    let answer = artefact.answer(&seen).map_err(|error| vec![error])?;
    let kept = Predicted {
        request: request.to_owned(),
        row: i64::try_from(row).unwrap_or(i64::MAX),
        name: version.model.name.clone(),
        version: version.model.version.to_string(),
        sha256: version.model.sha256.clone().unwrap_or_default(),
        input_sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        prediction: answer.prediction,
        probability: answer.probability,
        at: now,
    };
    Ok(Said { seen, answer, kept })
}

/// What each column added, by name.
pub(super) fn explained(version: &Version, seen: &[f64]) -> Option<(f64, BTreeMap<String, f64>)> {
    let artefact = &version.loaded.artefact;
    let explained = artefact.explain(version.loaded.explainer.as_ref(), seen)?;
    Some((explained.base, artefact.columns().into_iter().zip(explained.values).collect()))
}

/// The features at `location` that make no sense, with why.
pub(super) fn problems(location: &str, errors: Vec<FeatureError>) -> impl Iterator<Item = (String, String)> {
    errors.into_iter().map(move |FeatureError { feature, message }| (format!("{location} → {feature}"), message))
}

async fn predict(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = body.required("model_name", lax::string_max(app.limits.string_bytes_max));
    let version = body.or("model_version", "auto".to_owned(), lax::string);
    let features = body.required("features", lax::object);
    let sensor = body.optional("sensor_id", lax::string);
    let wanted = body.optional("include_explainability", lax::boolean);
    let explain = body.or("explain", wanted.unwrap_or(true), lax::boolean);
    body.finish()?;
    let version = resolved(&app, &name, &version).await?;
    let (request, now) = (Uuid::now_v7().to_string(), app.now());
    let said = said(&version, &features, &request, 0, now);
    let said =
        said.map_err(|errors| ApiError::all_invalid(&problems("body → features", errors).collect::<Vec<_>>()))?;
    let explained = match &version.loaded.explainer {
        _ if !explain => None,
        Some(_) => explained(&version, &said.seen),
        // Any other model is asked some thousand times.
        None => {
            let (version, seen) = (version.clone(), said.seen);
            tokio::task::spawn_blocking(move || explained(&version, &seen)).await.map_err(ApiError::internal)?
        }
    };
    app.serving.keep(vec![said.kept]).await?;
    let answer = said.answer;
    let (base, values) = explained.unzip();
    Reply::json(&Prediction {
        prediction: [answer.prediction],
        confidence: answer.confidence(),
        probability: answer.probability,
        probabilities: answer.classes.iter().map(|(label, chance)| (label.to_string(), *chance)).collect(),
        score: answer.score,
        interval: answer.interval,
        model_info: info(&version),
        sensor_id: sensor,
        timestamp: offset(now),
        request_id: request,
        base_value: base,
        feature_importance: values.clone(),
        shap_values: values,
    })
}

/// What `version` says of the features in `line`; or what is wrong with it first, and the feature if it is one.
fn said_of_line(
    version: &Version,
    line: &[u8],
    request: &str,
    row: usize,
    now: Timestamp,
) -> Result<Said, (String, Option<String>)> {
    let features = match crate::request::decode(line) {
        Ok(Value::Object(features)) => features,
        Ok(_) => return Err(("Input should be a valid dictionary".to_owned(), None)),
        Err(_) => return Err(("JSON decode error".to_owned(), None)),
    };
    said(version, &features, request, row, now).map_err(|errors| {
        let first = errors.into_iter().next().expect("features are refused for at least one of them");
        (first.message, Some(first.feature))
    })
}

/// What `version` says of each line of `body`, and what is kept of it.
fn answered(
    version: &Version,
    body: &[u8],
    request: &str,
    explain: bool,
    items_max: usize,
    now: Timestamp,
) -> Result<(String, Vec<Predicted>), ApiError> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let (mut text, mut kept) = (String::new(), Vec::new());
    for (row, line) in lines.enumerate() {
        if items_max <= row {
            return Err(ApiError::invalid("body", &format!("at most {items_max} lines")));
        }
        let told = match said_of_line(version, line, request, row, now) {
            Ok(said) => {
                let explained = if explain { explained(version, &said.seen) } else { None };
                let (base, values) = explained.unzip();
                kept.push(said.kept);
                Line::Said {
                    row,
                    prediction: said.answer.prediction,
                    probability: said.answer.probability,
                    score: said.answer.score,
                    interval: said.answer.interval,
                    base_value: base,
                    shap_values: values,
                }
            }
            Err((error, feature)) => Line::Refused { row, error, feature },
        };
        text.push_str(&serde_json::to_string(&told).map_err(ApiError::internal)?);
        text.push('\n');
    }
    Ok((text, kept))
}

/// A line of JSON features each, answered by a line each, in order.
async fn batch(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let name = query.required("model_name", lax::string_max(app.limits.string_bytes_max));
    let version = query.or("model_version", "auto".to_owned(), lax::string);
    let explain = query.or("explain", false, lax::boolean);
    query.finish()?;
    let version = resolved(&app, &name, &version).await?;
    let (request, now) = (Uuid::now_v7().to_string(), app.now());
    let (items_max, body, own) = (app.limits.batch_items_max, call.body.clone(), request.clone());
    let answered = tokio::task::spawn_blocking(move || answered(&version, &body, &own, explain, items_max, now));
    let (text, kept) = answered.await.map_err(ApiError::internal)??;
    if !kept.is_empty() {
        app.serving.keep(kept).await?;
    }
    Ok(Reply::new("application/x-ndjson", text.into()).header("x-prediction-id", &request))
}

/// What was said in answer to a request, with the model's hash and the inputs' digest.
async fn kept(app: App, call: Call) -> Result<Reply, ApiError> {
    let request = call.param(0);
    let rows = models::predictions(&app.history, request, ROWS_MAX).await?;
    if rows.is_empty() {
        return Err(ApiError::NotFound(format!("There is no prediction {request:?}")));
    }
    Reply::json(&Kept { request_id: request.to_owned(), predictions: rows })
}
