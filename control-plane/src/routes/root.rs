//! `/`: hello.

use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::Call;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Hello {
    message: String,
}

pub(crate) fn routes(app: &App) -> Mounted {
    mount(app, const { entry("GET", "/") }, hello)
}

async fn hello(_: App, _: Call) -> Result<Reply, ApiError> {
    Reply::json(&Hello { message: format!("Welcome to Smart Maintenance v{}", env!("CARGO_PKG_VERSION")) })
}
