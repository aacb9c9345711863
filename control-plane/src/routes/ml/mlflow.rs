//! What an MLflow server adds to the registry, and how it stands with it.

use super::registry::Listed;
use super::stage;
use crate::app::App;
use agents::models::Remote;
use agents::models::mlflow::Named;
use persistence::models::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

/// How it stands with the server.
#[derive(Serialize, JsonSchema)]
pub(super) struct Standing {
    /// "not_configured" when no server is named, "disabled" when it is switched off, "error" when it cannot be asked,
    /// "empty" and "populated" when it can.
    status: &'static str,
    /// Models that are registered there.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// Why it cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How it stands with the server, and what it has.
pub(super) async fn asked(app: &App) -> (Standing, Vec<Named>) {
    let bare = |status| Standing { status, count: None, error: None };
    let server = match app.serving.remote() {
        Remote::Unset => return (bare("not_configured"), Vec::new()),
        Remote::Disabled => return (bare("disabled"), Vec::new()),
        Remote::Server(server) => server,
    };
    match server.models(app.now()).await {
        Ok(models) if models.is_empty() => (bare("empty"), models),
        Ok(models) => (Standing { count: Some(models.len()), ..bare("populated") }, models),
        Err(error) => (Standing { error: Some(error.to_string()), ..bare("error") }, Vec::new()),
    }
}

/// A model of the server as one line of the list.
pub(super) fn listed(model: &Named) -> Listed {
    let version = model.in_use();
    Listed {
        name: model.name.clone(),
        description: model.description.clone(),
        latest_version: version.unwrap_or("unknown").to_owned(),
        creation_timestamp: Some(model.creation_timestamp),
        last_updated_timestamp: model.updated_at(),
        tags: model.tags(),
        version_tags: version
            .and_then(|version| model.version(version))
            .map(|version| version.tags().into_iter().map(|(key, value)| (key, json!(value))).collect())
            .unwrap_or_default(),
        current_stage: match version.and_then(|version| model.version(version)) {
            _ if model.has_champion() => stage(State::Champion),
            Some(version) => stage(version.state()),
            None => "unknown",
        },
        run_id: version
            .and_then(|version| model.version(version))
            .map_or("unknown".to_owned(), |version| version.run_id.clone()),
        registry: "mlflow",
    }
}
