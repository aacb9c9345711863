//! `/metrics`: figures for Prometheus.

use super::{entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::Call;
use persistence::{cases, decisions};
use runtime::metrics::CONTENT_TYPE;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub(crate) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    mount(app, const { entry("GET", "/metrics") }, metrics)
}

async fn metrics(app: App, _: Call) -> Result<Reply, ApiError> {
    app.metrics.agents(&app.runtime.status().await?);
    let open = cases::Filter { open: Some(true), ..cases::Filter::default() };
    let open_cases = cases::count(&app.history, &open).await?;
    app.metrics.backlog(open_cases, decisions::count_pending(&app.history).await?);
    Ok(Reply::new(CONTENT_TYPE, app.metrics.encode().into()))
}
