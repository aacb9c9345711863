//! `/api/v1/events`: what happened, in order.

use super::{entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::{CorrelationId, Envelope, Seq};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// Rows in a page when nobody says how many.
const EVENTS_DEFAULT: usize = 100;
/// Events of one request that are looked through at most.
const REQUEST_EVENTS_MAX: usize = 10_000;

pub(crate) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    mount(app, const { entry("GET", "/api/v1/events") }, list)
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Page {
    /// In log order.
    events: Vec<Arc<Envelope>>,
    /// The `after` of the next page; absent when there is none yet.
    next: Option<Seq>,
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let correlation = query.optional("correlation_id", lax::name_max(app.limits.string_bytes_max));
    let after = Seq(query.or("after", 0, lax::int_in(0, i64::MAX)));
    let limit = query.or("limit", EVENTS_DEFAULT, lax::count_in(1, app.limits.page_size_max));
    query.finish()?;
    let log = app.store.log();
    let events = match correlation {
        None => log.after(after, limit).await?,
        Some(correlation) => {
            let events = log.by_correlation(&CorrelationId::from(correlation), REQUEST_EVENTS_MAX).await?;
            events.into_iter().filter(|event| after < event.seq).take(limit).map(Arc::new).collect()
        }
    };
    let next = events.last().filter(|_| events.len() == limit).map(|last| last.seq);
    Reply::json(&Page { events, next })
}
