//! `/ml`: models that answer, and what they say of it.

mod anomaly;
mod explanations;
mod forecast;
mod mlflow;
mod predict;
mod registry;

use super::{Mounted, Route, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::offset;
use crate::reply::Reply;
use crate::request::Call;
use agents::models::serving::ServingError;
use agents::models::{Origin, Remote, Resolved, Version};
use domain::Timestamp;
use persistence::models::State;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use anomaly::{Anomalies, CHECK_MEMBERS, DETECT_MEMBERS, Drift};
pub(crate) use explanations::{Begun, Jobs, MEMBERS as EXPLAIN_MEMBERS, Progress};
pub(crate) use forecast::{Forecast, MEMBERS as FORECAST_MEMBERS};
pub(crate) use predict::{Kept, MEMBERS as PREDICT_MEMBERS, Prediction};
pub(crate) use registry::{
    Enthroned, Latest, Live, Models, PROMOTE_MEMBERS, ROLLBACK_MEMBERS, Recommended, TRAIN_MEMBERS, Trained, Versions,
};

const HEALTH: &Route = entry("GET", "/api/v1/ml/health");

/// The model whose state stands for the registry's.
const PROBE: &str = "anomaly_detector_refined_v2";
/// Where a version of the store is loaded from.
const EMBEDDED: &str = "embedded";

/// Where a version is loaded from.
fn origin(version: &Version) -> &'static str {
    match version.origin {
        Origin::Embedded => EMBEDDED,
        Origin::Mlflow => "mlflow",
    }
}

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        predict::routes(app),
        forecast::routes(app),
        anomaly::routes(app),
        explanations::routes(app),
        registry::routes(app),
        mount(app, HEALTH, health),
    ])
}

impl From<ServingError> for ApiError {
    fn from(error: ServingError) -> Self {
        match error {
            ServingError::Store(error) => error.into(),
            ServingError::Refused(refused) => refused.into(),
            ServingError::Unserved(why) => Self::BadGateway(why),
            ServingError::Away(why) => Self::unavailable(why),
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

/// What every answer of a model tells of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Info {
    model_name: String,
    model_version: String,
    /// "embedded", or "mlflow" for a version that such a server registers.
    loaded_from: &'static str,
    feature_adaptation: String,
    sha256: Option<String>,
    stage: &'static str,
}

fn info(version: &Version) -> Info {
    let n_inputs = version.loaded.artefact.inputs.len();
    Info {
        model_name: version.model.name.clone(),
        model_version: version.model.version.to_string(),
        loaded_from: origin(version),
        feature_adaptation: format!("{n_inputs} features taken by name, none added"),
        sha256: version.model.sha256.clone(),
        stage: stage(version.model.state),
    }
}

/// How the registry is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    status: &'static str,
    mlflow_connection: &'static str,
    model_registry: &'static str,
    loaded_from: &'static str,
    test_model_loaded: bool,
    test_model_version: String,
    timestamp: String,
}

async fn health(app: App, _: Call) -> Result<Reply, ApiError> {
    let version = resolved(&app, PROBE, "auto").await?;
    Reply::json(&Health {
        status: "healthy",
        mlflow_connection: match app.serving.remote() {
            Remote::Unset => "not_configured",
            Remote::Disabled => "disabled",
            Remote::Server(server) => match server.resolve(PROBE, None, app.now()).await {
                Ok(_) => "ok",
                Err(_) => "error",
            },
        },
        model_registry: "accessible",
        loaded_from: origin(&version),
        test_model_loaded: true,
        test_model_version: version.model.version.to_string(),
        timestamp: offset(app.now()),
    })
}

/// An instant in seconds.
fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}
