//! Which models there are, which version answers, and how another one comes to.

use super::super::route::{Kind, Param};
use super::super::{Mounted, Route, entry, mount};
use super::{EMBEDDED, mlflow, stage};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::offset;
use crate::reply::Reply;
use crate::request::{Call, lax};
use crate::training;
use agents::models::CATALOGUE;
use agents::models::Remote;
use agents::models::catalogue;
use agents::models::mlflow::Listed as Registered;
use domain::ModelId;
use domain::model::Comparison;
use persistence::models::{self, Model, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

const MODELS: &Route = entry("GET", "/api/v1/ml/models");
const MODELS_LIST: &Route = entry("GET", "/api/v1/ml/models/list");
const RECOMMENDATIONS: &Route = entry("GET", "/api/v1/ml/models/recommendations");
const VERSIONS: &Route = entry("GET", "/api/v1/ml/models/{name}/versions");
const LATEST: &Route = entry("GET", "/api/v1/ml/models/{name}/latest");
const LIVE: &Route = entry("GET", "/api/v1/ml/models/{name}/live");
const PROMOTE: &Route = entry("POST", "/api/v1/ml/models/{name}/promote");
const ROLLBACK: &Route = entry("POST", "/api/v1/ml/models/{name}/rollback");
const TRAIN: &Route = entry("POST", "/api/v1/ml/models/{name}/train");

/// Rows that are read of the registry at once.
const ROWS_MAX: usize = 1_000;
/// What stands for a version, a stage or a run that there is not.
const UNKNOWN: &str = "unknown";
/// The status of a version that can answer, as clients of the old system know it.
const READY: &str = "READY";

/// What a version is promoted with.
pub(crate) const PROMOTE_MEMBERS: &[Param] = &[
    Param::required("version", Kind::Text, "The version that is to answer"),
    Param::or("reason", Kind::Text, "\"promoted by a person\"", "Why"),
];

/// What the version before is called back with.
pub(crate) const ROLLBACK_MEMBERS: &[Param] = &[Param::or("reason", Kind::Text, "\"rolled back\"", "Why")];
/// What rows to train from are simulated with.
pub(crate) const TRAIN_MEMBERS: &[Param] = &[Param::or(
    "seed",
    Kind::Int(Some(0), Some(SEED_MAX)),
    "42",
    "Seed of the simulated rows. The same one leads to the same version, so a training may be asked for again",
)];
/// What any client's numbers hold.
const SEED_MAX: i64 = u32::MAX as i64;

pub(super) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, MODELS, list),
        mount(app, MODELS_LIST, list),
        mount(app, RECOMMENDATIONS, recommendations),
        mount(app, VERSIONS, versions),
        mount(app, LATEST, latest),
        mount(app, LIVE, live),
        mount(app, PROMOTE, promote),
        mount(app, ROLLBACK, rollback),
        mount(app, TRAIN, train),
    ])
}

/// The models there are.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Models {
    models: Vec<Listed>,
    count: usize,
    registry: Registries,
}

/// How it stands with registries beside the one in the store.
#[derive(Serialize, JsonSchema)]
struct Registries {
    mlflow: mlflow::Standing,
}

/// A model with the version in use, or the newest.
#[derive(Serialize, JsonSchema)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) description: String,
    /// "unknown" for one that waits to be trained.
    pub(super) latest_version: String,
    /// When its first version was trained, in milliseconds since the epoch.
    pub(super) creation_timestamp: Option<i64>,
    /// When it was last decided about one of them, likewise.
    pub(super) last_updated_timestamp: Option<i64>,
    pub(super) tags: BTreeMap<String, String>,
    /// What its card says of the version: its task, and whether it beats the baseline.
    pub(super) version_tags: BTreeMap<String, Value>,
    pub(super) current_stage: &'static str,
    pub(super) run_id: String,
    /// "embedded", or "mlflow" for one that such a server registers; that one answers.
    pub(super) registry: &'static str,
}

/// The versions of a model, newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Versions {
    model_name: String,
    versions: Vec<Told>,
}

/// One of them.
#[derive(Serialize, JsonSchema)]
struct Told {
    version: String,
    current_stage: &'static str,
    status: &'static str,
    /// When it was trained, in milliseconds since the epoch.
    creation_timestamp: i64,
    id: ModelId,
    /// "champion" for the one that answers, "challenger" for one that waits.
    alias: Option<&'static str>,
    sha256: Option<String>,
    comparison: Option<Comparison>,
    reason: Option<String>,
    /// What it learnt from, how well it does, and what it is not for.
    card: Option<Value>,
}

/// The version that answers now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Latest {
    model_name: String,
    resolved_version: String,
    current_stage: &'static str,
    status: &'static str,
    card: Option<Value>,
}

/// The version that answered at a moment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Live {
    model_name: String,
    at: String,
    version: String,
    id: ModelId,
    sha256: Option<String>,
    since: String,
    chosen_by: String,
    reason: String,
}

/// The version that was made to answer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Enthroned {
    model_name: String,
    version: String,
    current_stage: &'static str,
    chosen_by: String,
    reason: String,
}

/// What a training led to.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Trained {
    model_name: String,
    version: String,
    id: ModelId,
    /// False when a version that is the same to the last bit was there before.
    is_new: bool,
    card: Option<Value>,
}

/// Models that suit a kind of sensor, best fit first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Recommended {
    sensor_type: String,
    models: Vec<String>,
}

fn told(model: Model) -> Told {
    Told {
        version: model.version.to_string(),
        current_stage: stage(model.state),
        status: READY,
        creation_timestamp: model.trained_at.as_millisecond(),
        id: model.id,
        alias: match model.state {
            State::Champion => Some("champion"),
            State::Challenger => Some("challenger"),
            State::Archived | State::Rejected => None,
        },
        sha256: model.sha256,
        comparison: model.comparison,
        reason: model.reason,
        card: model.card,
    }
}

/// A version that MLflow registers. Nothing was measured of it here.
fn of_mlflow(listed: &Registered) -> Told {
    Told {
        version: listed.version.clone(),
        current_stage: stage(listed.state()),
        status: READY,
        creation_timestamp: listed.creation_timestamp,
        id: listed.id(),
        alias: (listed.state() == State::Champion).then_some("champion"),
        sha256: listed.tags().remove("sha256"),
        comparison: None,
        reason: None,
        card: None,
    }
}

fn sensor_type(kind: &str) -> (String, String) {
    ("sensor_type".to_owned(), kind.to_owned())
}

/// `versions`, at least one, as one line of the list.
fn listed(name: &str, versions: &[Model]) -> Option<Listed> {
    let newest = versions.iter().max_by_key(|model| model.version);
    let shown = versions.iter().find(|model| model.state == State::Champion).or(newest)?;
    let said = |what: &str| shown.card.as_ref().map(|card| (what.to_owned(), card[what].clone()));
    let description = shown.card.as_ref().and_then(|card| card["description"].as_str());
    Some(Listed {
        name: name.to_owned(),
        description: description.unwrap_or("The detector of one sensor").to_owned(),
        latest_version: shown.version.to_string(),
        creation_timestamp: versions.iter().map(|model| model.trained_at.as_millisecond()).min(),
        last_updated_timestamp: Some(shown.decided_at.unwrap_or(shown.trained_at).as_millisecond()),
        tags: catalogue::find(name).map(|recipe| sensor_type(recipe.sensor_type)).into_iter().collect(),
        version_tags: [said("task"), said("beats_baseline")].into_iter().flatten().collect(),
        current_stage: stage(shown.state),
        run_id: shown.id.to_string(),
        registry: EMBEDDED,
    })
}

/// Models of MLflow, then those of the store by name, then those of the catalogue that wait to be trained.
async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let limit = query.or("limit", ROWS_MAX, lax::count_in(1, ROWS_MAX));
    query.finish()?;
    let mut by_name: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    for model in models::list(&app.history, None, ROWS_MAX, 0).await? {
        by_name.entry(model.name.clone()).or_default().push(model);
    }
    let (standing, remote) = mlflow::asked(&app).await;
    let mut models: Vec<Listed> = remote.iter().map(mlflow::listed).collect();
    models.extend(by_name.iter().filter_map(|(name, versions)| listed(name, versions)));
    models.extend(CATALOGUE.iter().filter(|recipe| !by_name.contains_key(recipe.name)).map(|recipe| Listed {
        name: recipe.name.to_owned(),
        description: recipe.description.to_owned(),
        latest_version: UNKNOWN.to_owned(),
        creation_timestamp: None,
        last_updated_timestamp: None,
        tags: [sensor_type(recipe.sensor_type)].into(),
        version_tags: BTreeMap::new(),
        current_stage: UNKNOWN,
        run_id: UNKNOWN.to_owned(),
        registry: EMBEDDED,
    }));
    // A name that stands in both is answered by MLflow.
    models.retain(|model| model.registry != EMBEDDED || !remote.iter().any(|other| other.name == model.name));
    models.truncate(limit);
    Reply::json(&Models { count: models.len(), models, registry: Registries { mlflow: standing } })
}

async fn recommendations(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let sensor_type = query.required("sensor_type", lax::string_max(app.limits.string_bytes_max));
    let include_general = query.or("include_general", false, lax::boolean);
    query.finish()?;
    let mut names: Vec<(String, Option<String>)> =
        CATALOGUE.iter().map(|recipe| (recipe.name.to_owned(), Some(recipe.sensor_type.to_owned()))).collect();
    for model in models::list(&app.history, None, ROWS_MAX, 0).await? {
        if model.sha256.is_some() && !names.iter().any(|(name, _)| *name == model.name) {
            names.push((model.name, None));
        }
    }
    let (_, remote) = mlflow::asked(&app).await;
    for model in &remote {
        names.retain(|(name, _)| *name != model.name);
        names.push((model.name.clone(), model.tags().remove("sensor_type")));
    }
    let mut models = catalogue::recommended(&sensor_type, &names, include_general);
    if models.is_empty() {
        models = catalogue::fallback(&sensor_type).iter().map(|name| (*name).to_owned()).collect();
    }
    Reply::json(&Recommended { sensor_type: catalogue::normalised(&sensor_type), models })
}

async fn versions(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let remote = match app.serving.remote() {
        Remote::Server(server) => server.versions(name, app.now()).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    if !remote.is_empty() {
        return Reply::json(&Versions {
            model_name: name.to_owned(),
            versions: remote.iter().map(of_mlflow).collect(),
        });
    }
    let found = models::versions(&app.history, name, ROWS_MAX).await?;
    if found.is_empty() {
        return Err(ApiError::NotFound(format!("There is no version of a model {name:?}")));
    }
    Reply::json(&Versions { model_name: name.to_owned(), versions: found.into_iter().map(told).collect() })
}

async fn latest(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    if let Remote::Server(server) = app.serving.remote()
        && let Ok(Some(listed)) = server.resolve(name, None, app.now()).await
    {
        return Reply::json(&Latest {
            model_name: name.to_owned(),
            current_stage: stage(listed.state()),
            resolved_version: listed.version,
            status: READY,
            card: None,
        });
    }
    let found = app.serving.find(name, "auto").await?;
    let model = found.ok_or_else(|| ApiError::NotFound(format!("There is no version of a model {name:?}")))?;
    Reply::json(&Latest {
        model_name: name.to_owned(),
        resolved_version: model.version.to_string(),
        current_stage: stage(model.state),
        status: READY,
        card: model.card,
    })
}

/// The version called `id`, which something else names.
async fn named(app: &App, id: ModelId) -> Result<Model, ApiError> {
    let model = models::get(&app.history, id).await?;
    model.ok_or_else(|| ApiError::internal(format!("the version {id} is named and not there")))
}

/// Which version answered at a moment, and which did before.
async fn live(app: App, call: Call) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let mut query = call.query();
    let at = query.optional("at", lax::datetime).unwrap_or_else(|| app.now());
    query.finish()?;
    let tenures = models::tenures(&app.history, name, at, ROWS_MAX).await?;
    let Some(tenure) = tenures.into_iter().next() else {
        return Err(ApiError::NotFound(format!("No version of a model {name:?} was in use at {}", offset(at))));
    };
    let model = named(&app, tenure.model).await?;
    Reply::json(&Live {
        model_name: name.to_owned(),
        at: offset(at),
        version: model.version.to_string(),
        id: model.id,
        sha256: model.sha256,
        since: offset(tenure.from),
        chosen_by: tenure.chosen_by,
        reason: tenure.reason,
    })
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
    let mut body = call.object_or_nothing()?;
    let reason = body.or("reason", "rolled back".to_owned(), lax::string_max(app.limits.string_bytes_max));
    body.finish()?;
    let name = call.param(0).to_owned();
    let tenures = models::tenures(&app.history, &name, app.now(), ROWS_MAX).await?;
    let before = tenures.first().and_then(|live| tenures.iter().find(|tenure| tenure.model != live.model));
    let Some(before) = before else {
        return Err(ApiError::NotFound(format!("No version of a model {name:?} was in use before the present one")));
    };
    let model = named(&app, before.model).await?;
    enthrone(&app, &call, &model, reason).await
}

async fn enthrone(app: &App, call: &Call, model: &Model, reason: String) -> Result<Reply, ApiError> {
    let chosen_by = call.caller.name.clone();
    app.serving.choose(model, chosen_by.clone(), reason.clone(), app.now()).await?;
    Reply::json(&Enthroned {
        model_name: model.name.clone(),
        version: model.version.to_string(),
        current_stage: stage(State::Champion),
        chosen_by,
        reason,
    })
}

/// Trains a version from simulated rows. A further one waits as challenger until somebody has it answer.
async fn train(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let seed = body.or("seed", catalogue::SEED, |value| lax::int_in(0, SEED_MAX)(value).map(i64::unsigned_abs));
    body.finish()?;
    let name = call.param(0);
    let recipe = catalogue::find(name)
        .ok_or_else(|| ApiError::NotFound(format!("There is no model {name:?} that can be trained here")))?;
    let trained = app.serving.train(recipe, move || training::rows(recipe.source, seed), app.now()).await?;
    let Model { id, name: model_name, version, card, .. } = trained.model;
    Reply::json(&Trained { model_name, version: version.to_string(), id, is_new: trained.is_new, card })
}
