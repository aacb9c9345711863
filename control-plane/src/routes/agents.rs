//! `/api/v1/agents`: the supervision tree, and what an operator can do to it.

use super::route::{Kind, Param};
use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::event::Control;
use runtime::{AgentStatus, Outlook};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) fn routes(app: &App) -> Mounted {
    let pause = |app: App, call: Call| control(app, call, Control::Pause);
    let resume = |app: App, call: Call| control(app, call, Control::Resume);
    let drain = |app: App, call: Call| control(app, call, Control::Drain);
    let restart = |app: App, call: Call| control(app, call, Control::Restart);
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/agents") }, list),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/pause") }, pause),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/resume") }, resume),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/drain") }, drain),
        mount(app, const { entry("POST", "/api/v1/agents/{name}/restart") }, restart),
        mount(app, const { entry("GET", "/api/v1/agents/{name}") }, outlook),
    ])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Tree {
    /// In start order.
    agents: Vec<AgentStatus>,
    count: usize,
}

/// What a control answers.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Controlled {
    /// How the agent is now; null in the moment between two incarnations.
    Done(Option<AgentStatus>),
    /// What would queue up: nothing was done.
    Asked(Outlook),
}

pub(crate) const DRY_RUN: &[Param] =
    &[Param::or("dry_run", Kind::Flag, "false", "Whether only to tell what would queue up")];

async fn list(app: App, _: Call) -> Result<Reply, ApiError> {
    let agents = app.runtime.status().await?;
    Reply::json(&Tree { count: agents.len(), agents })
}

async fn outlook(app: App, call: Call) -> Result<Reply, ApiError> {
    let outlook = app.runtime.outlook(call.param(0)).await?;
    Reply::json(&outlook.ok_or_else(|| unknown(call.param(0)))?)
}

/// With `dry_run` it only tells what would queue up.
async fn control(app: App, call: Call, action: Control) -> Result<Reply, ApiError> {
    let name = call.param(0);
    let mut query = call.query();
    let dry_run = query.or("dry_run", false, lax::boolean);
    query.finish()?;
    if dry_run {
        let outlook = app.runtime.outlook(name).await?.ok_or_else(|| unknown(name))?;
        return Reply::json(&Controlled::Asked(outlook));
    }
    if !app.runtime.control(name, action, &call.caller.name).await? {
        return Err(unknown(name));
    }
    tracing::info!(agent = name, ?action, by = call.caller.name, "agent controlled");
    let status = app.runtime.status().await?.into_iter().find(|agent| agent.name == name);
    Reply::json(&Controlled::Done(status))
}

fn unknown(name: &str) -> ApiError {
    ApiError::NotFound(format!("There is no agent called {name}"))
}
