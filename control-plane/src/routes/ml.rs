//! `/ml`: the registry of models, and which version answers.

mod anomaly;
mod explanations;
mod forecast;
mod predict;

use super::route::{Kind, Param};
use super::{Route, either, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::offset;
use crate::reply::Reply;
use crate::request::{Call, lax};
use crate::training;
use agents::models::catalogue;
use agents::models::serving::ServingError;
use agents::models::{CATALOGUE, Resolved, Version};
use domain::Timestamp;
use persistence::models::{self, Model, State};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub(crate) use anomaly::{CHECK_MEMBERS, DETECT_MEMBERS};
pub(crate) use explanations::{Jobs, MEMBERS as EXPLAIN_MEMBERS};
pub(crate) use forecast::MEMBERS as FORECAST_MEMBERS;
pub(crate) use predict::MEMBERS as PREDICT_MEMBERS;

const MODELS: &Route = entry("GET", "/api/v1/ml/models");
const MODELS_LIST: &Route = entry("GET", "/api/v1/ml/models/list");
const VERSIONS: &Route = entry("GET", "/api/v1/ml/models/{name}/versions");
const LATEST: &Route = entry("GET", "/api/v1/ml/models/{name}/latest");
const LIVE: &Route = entry("GET", "/api/v1/ml/models/{name}/live");
const PROMOTE: &Route = entry("POST", "/api/v1/ml/models/{name}/promote");
const ROLLBACK: &Route = entry("POST", "/api/v1/ml/models/{name}/rollback");
const TRAIN: &Route = entry("POST", "/api/v1/ml/models/{name}/train");
const RECOMMENDATIONS: &Route = entry("GET", "/api/v1/ml/recommendations");
const HEALTH: &Route = entry("GET", "/api/v1/ml/health");

/// Rows that are read of the registry at once.
const ROWS_MAX: usize = 1_000;
/// The model whose state stands for the registry's.
const PROBE: &str = "anomaly_detector_refined_v2";
/// Where a version of the store is loaded from.
const EMBEDDED: &str = "embedded";

/// What a version is promoted with.
pub(crate) const PROMOTE_MEMBERS: &[Param] = &[
    Param::required("version", Kind::Text, "The version that is to answer"),
    Param::or("reason", Kind::Text, "\"promoted by a person\"", "Why"),
];

/// What the version before is called back with.
pub(crate) const ROLLBACK_MEMBERS: &[Param] = &[Param::or("reason", Kind::Text, "\"rolled back\"", "Why")];

pub(crate) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    either([
        predict::routes(app),
        forecast::routes(app),
        anomaly::routes(app),
        explanations::routes(app),
        mount(app, MODELS, list),
        mount(app, MODELS_LIST, list),
        mount(app, VERSIONS, versions),
        mount(app, LATEST, latest),
        mount(app, LIVE, live),
        mount(app, PROMOTE, promote),
        mount(app, ROLLBACK, rollback),
        mount(app, TRAIN, train),
        mount(app, RECOMMENDATIONS, recommendations),
        mount(app, HEALTH, health),
    ])
}

impl From<ServingError> for ApiError {
    fn from(error: ServingError) -> Self {
        match error {
            ServingError::Store(error) => error.into(),
            ServingError::Refused(refused) => refused.into(),
            ServingError::Broken(error) => Self::internal(format!("{error:#}")),
        }
    }
}

/// The version of `name` that `version` means.
async fn resolved(app: &App, name: &str, version: &str) -> Result<Version, ApiError> {
    match app.serving.resolve(name, version, app.now()).await? {
        Resolved::Found(version) => Ok(*version),
        Resolved::NoModel => Err(ApiError::NotFound(format!("There is no model {name:?}"))),
        Resolved::NoVersion => Err(ApiError::NotFound(format!("The model {name:?} has no version {version:?}"))),
    }
}

/// The stage that clients of the old system know.
fn stage(state: State) -> &'static str {
    match state {
        State::Champion => "Production",
        State::Challenger => "Staging",
        State::Archived | State::Rejected => "Archived",
    }
}

fn told(model: &Model) -> Value {
    json!({
        "version": model.version.to_string(),
        "current_stage": stage(model.state),
        "status": "READY",
        "creation_timestamp": model.trained_at.as_millisecond(),
        "id": model.id,
        "alias": match model.state {
            State::Champion => Some("champion"),
            State::Challenger => Some("challenger"),
            State::Archived | State::Rejected => None,
        },
        "sha256": model.sha256,
        "comparison": model.comparison,
        "reason": model.reason,
        "card": model.card,
    })
}

/// Models with the version in use, or the newest; those of the catalogue that wait to be trained have none.
async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let limit = query.or("limit", ROWS_MAX, lax::count_in(1, ROWS_MAX));
    query.finish()?;
    let mut by_name: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    for model in models::list(&app.history, None, ROWS_MAX, 0).await? {
        by_name.entry(model.name.clone()).or_default().push(model);
    }
    let mut listed = Vec::new();
    for (name, versions) in &by_name {
        let newest = versions.iter().max_by_key(|model| model.version);
        let Some(shown) = versions.iter().find(|model| model.state == State::Champion).or(newest) else { continue };
        let tags = catalogue::find(name).map_or(json!({}), |recipe| json!({ "sensor_type": recipe.sensor_type }));
        listed.push(json!({
            "name": name,
            "description": shown.card.as_ref().map_or(json!("The detector of one sensor"), |card| card["description"].clone()),
            "latest_version": shown.version.to_string(),
            "creation_timestamp": versions.iter().map(|model| model.trained_at.as_millisecond()).min(),
            "last_updated_timestamp": shown.decided_at.unwrap_or(shown.trained_at).as_millisecond(),
            "tags": tags,
            "version_tags": shown.card.as_ref().map_or(json!({}), |card| json!({
                "task": card["task"], "beats_baseline": card["beats_baseline"],
            })),
            "current_stage": stage(shown.state),
            "run_id": shown.id,
            "registry": EMBEDDED,
        }));
    }
    for recipe in CATALOGUE.iter().filter(|recipe| !by_name.contains_key(recipe.name)) {
        listed.push(json!({
            "name": recipe.name,
            "description": recipe.description,
            "latest_version": "unknown",
            "creation_timestamp": null,
            "last_updated_timestamp": null,
            "tags": { "sensor_type": recipe.sensor_type },
            "version_tags": {},
            "current_stage": "unknown",
            "run_id": "unknown",
            "registry": EMBEDDED,
        }));
    }
    listed.truncate(limit);
    Reply::json(&json!({ "models": listed, "count": listed.len() }))
}

async fn versions(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let found = models::versions(&app.history, name, ROWS_MAX).await?;
    if found.is_empty() {
        return Err(ApiError::NotFound(format!("There is no version of a model {name:?}")));
    }
    Reply::json(&json!({ "model_name": name, "versions": found.iter().map(told).collect::<Vec<_>>() }))
}

async fn latest(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let found = app.serving.find(name, "auto").await?;
    let model = found.ok_or_else(|| ApiError::NotFound(format!("There is no version of a model {name:?}")))?;
    Reply::json(&json!({
        "model_name": name,
        "resolved_version": model.version.to_string(),
        "current_stage": stage(model.state),
        "status": "READY",
        "card": model.card,
    }))
}

/// Which version answered at a moment, and which did before.
async fn live(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let mut query = call.query();
    let at = query.optional("at", lax::datetime).unwrap_or_else(|| app.now());
    query.finish()?;
    let tenures = models::tenures(&app.history, name, at, ROWS_MAX).await?;
    let Some(tenure) = tenures.first() else {
        return Err(ApiError::NotFound(format!("No version of a model {name:?} was in use at {}", offset(at))));
    };
    let model = models::get(&app.history, tenure.model).await?;
    let model = model.ok_or_else(|| ApiError::internal("a tenure names a model that is not there"))?;
    Reply::json(&json!({
        "model_name": name,
        "at": offset(at),
        "version": model.version.to_string(),
        "id": model.id,
        "sha256": model.sha256,
        "since": offset(tenure.from),
        "chosen_by": tenure.chosen_by,
        "reason": tenure.reason,
    }))
}

async fn promote(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let version = body.required("version", lax::string);
    let reason = body.or("reason", "promoted by a person".to_owned(), lax::string_max(app.limits.string_bytes_max));
    body.finish()?;
    let name = call.param(0).to_owned();
    let found = app.serving.find(&name, &version).await?;
    let model = found.ok_or_else(|| ApiError::NotFound(format!("The model {name:?} has no version {version:?}")))?;
    enthrone(&app, &call, &model, reason).await
}

/// One step back: the version that answered before the present one.
async fn rollback(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = if call.body.is_empty() { crate::request::Fields::of_body(Map::new()) } else { call.object()? };
    let reason = body.or("reason", "rolled back".to_owned(), lax::string_max(app.limits.string_bytes_max));
    body.finish()?;
    let name = call.param(0).to_owned();
    let tenures = models::tenures(&app.history, &name, app.now(), ROWS_MAX).await?;
    let before = tenures.first().and_then(|live| tenures.iter().find(|tenure| tenure.model != live.model));
    let Some(before) = before else {
        return Err(ApiError::NotFound(format!("No version of a model {name:?} was in use before the present one")));
    };
    let model = models::get(&app.history, before.model).await?;
    let model = model.ok_or_else(|| ApiError::internal("a tenure names a model that is not there"))?;
    enthrone(&app, &call, &model, reason).await
}

async fn enthrone(app: &App, call: &Call, model: &Model, reason: String) -> Result<Reply, ApiError> {
    let by = call.caller.name.clone();
    app.serving.choose(model, by.clone(), reason.clone(), app.now()).await?;
    Reply::json(&json!({
        "model_name": model.name,
        "version": model.version.to_string(),
        "current_stage": stage(State::Champion),
        "chosen_by": by,
        "reason": reason,
    }))
}

/// Trains a further version from simulated rows. It waits as challenger until somebody has it answer.
async fn train(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let recipe = catalogue::find(name)
        .ok_or_else(|| ApiError::NotFound(format!("There is no model {name:?} that can be trained here")))?;
    let rows = tokio::task::spawn_blocking(|| training::rows(recipe.source)).await.map_err(ApiError::internal)?;
    let (id, card) = app.serving.train(recipe, rows, app.now()).await?;
    let model = models::get(&app.history, id).await?;
    let model = model.ok_or_else(|| ApiError::internal("a version that was just registered is not there"))?;
    Reply::json(&json!({ "model_name": name, "version": model.version.to_string(), "id": id, "card": card }))
}

async fn recommendations(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let sensor_type = query.required("sensor_type", lax::string_max(app.limits.string_bytes_max));
    let include_general = query.or("include_general", false, lax::boolean);
    query.finish()?;
    let tag = |name: &str| catalogue::find(name).map(|recipe| recipe.sensor_type.to_owned());
    let mut names: Vec<(String, Option<String>)> =
        CATALOGUE.iter().map(|recipe| (recipe.name.to_owned(), tag(recipe.name))).collect();
    for model in models::list(&app.history, None, ROWS_MAX, 0).await? {
        if model.sha256.is_some() && !names.iter().any(|(name, _)| *name == model.name) {
            names.push((model.name, None));
        }
    }
    let mut found = catalogue::recommended(&sensor_type, &names, include_general);
    if found.is_empty() {
        found = catalogue::fallback(&sensor_type).iter().map(|name| (*name).to_owned()).collect();
    }
    Reply::json(&json!({ "sensor_type": catalogue::normalised(&sensor_type), "models": found }))
}

async fn health(app: App, _: Call) -> Result<Reply, ApiError> {
    let version = resolved(&app, PROBE, "auto").await?;
    Reply::json(&json!({
        "status": "healthy",
        "mlflow_connection": "disabled",
        "model_registry": "accessible",
        "loaded_from": EMBEDDED,
        "test_model_loaded": true,
        "test_model_version": version.model.version.to_string(),
        "timestamp": offset(app.now()),
    }))
}

/// What every answer of a model tells of it.
fn info(version: &Version) -> Value {
    let n_inputs = version.loaded.artefact.inputs.len();
    json!({
        "model_name": version.model.name,
        "model_version": version.model.version.to_string(),
        "loaded_from": EMBEDDED,
        "feature_adaptation": format!("{n_inputs} features taken by name, none added"),
        "sha256": version.model.sha256,
        "stage": stage(version.model.state),
    })
}

/// An instant in seconds.
fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}
