//! `/api/v1/agents`: the supervision tree, and what an operator can do to it.

use super::{either, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::Call;
use domain::event::Control;
use runtime::AgentStatus;
use schemars::JsonSchema;
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub(crate) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let pause = |app: App, call: Call| control(app, call, Control::Pause);
    let resume = |app: App, call: Call| control(app, call, Control::Resume);
    let restart = |app: App, call: Call| control(app, call, Control::Restart);
    either([
        mount(app, const { entry("GET", "/api/v1/agents") }, list),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/pause") }, pause),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/resume") }, resume),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/restart") }, restart),
    ])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Tree {
    /// In start order.
    agents: Vec<AgentStatus>,
    count: usize,
}

/// How the agent is now; null in the moment between two incarnations.
pub(crate) type Controlled = Option<AgentStatus>;

async fn list(app: App, _: Call) -> Result<Reply, ApiError> {
    let agents = app.runtime.status().await?;
    Reply::json(&Tree { count: agents.len(), agents })
}

async fn control(app: App, call: Call, action: Control) -> Result<Reply, ApiError> {
    let name = call.param(0);
    if !app.runtime.control(name, action, &call.caller.name).await? {
        return Err(ApiError::NotFound(format!("There is no agent called {name}")));
    }
    tracing::info!(agent = name, ?action, by = call.caller.name, "agent controlled");
    let status: Controlled = app.runtime.status().await?.into_iter().find(|agent| agent.name == name);
    Reply::json(&status)
}
