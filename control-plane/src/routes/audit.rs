//! `/api/v1/audit`: whether what was recorded of keys and decisions is still as it was.

use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::Call;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) fn routes(app: &App) -> Mounted {
    mount(app, const { entry("GET", "/api/v1/audit/verify") }, verify)
}

/// What was found of the audit chain.
#[derive(Serialize, JsonSchema)]
pub(super) struct Verified {
    /// Whether every link is as it should be.
    ok: bool,
    /// Links that are, from the first one on.
    links: u64,
    /// What is wrong after them.
    fault: Option<String>,
}

async fn verify(app: App, _: Call) -> Result<Reply, ApiError> {
    let verdict = app.store.verify_audit().await?;
    app.metrics.audit_chain(verdict.fault.is_none());
    Reply::json(&Verified { ok: verdict.fault.is_none(), links: verdict.n_links, fault: verdict.fault })
}
