//! `/metrics`: figures for Prometheus.

use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::Call;
use persistence::{cases, dead_letters, decisions};
use runtime::metrics::{Backlog, Form};
use warp::http::header;

pub(crate) fn routes(app: &App) -> Mounted {
    mount(app, const { entry("GET", "/metrics") }, metrics)
}

async fn metrics(app: App, call: Call) -> Result<Reply, ApiError> {
    let open = cases::Filter { open: Some(true), ..cases::Filter::default() };
    let unsettled = dead_letters::Filter { state: Some(dead_letters::State::Open), ..Default::default() };
    let backlog = Backlog {
        open_cases: cases::count(&app.history, &open).await?,
        pending_decisions: decisions::count_pending(&app.history).await?,
        oldest_decision_at: decisions::oldest_pending_at(&app.history).await?,
        open_dead_letters: dead_letters::count(&app.history, &unsettled).await?,
    };
    app.metrics.agents(&app.runtime.status().await?);
    app.metrics.backlog(&backlog, app.now());
    app.metrics.writer(&app.store.stats());
    let accept = call.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let form = Form::of(accept);
    Ok(Reply::new(form.content_type(), app.metrics.encode(form).into()))
}
