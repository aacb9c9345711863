//! `/api/v1/events`: what happened, in order.

use super::{Mounted, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::{CorrelationId, Envelope, Seq};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Rows in a page when nobody says how many.
const EVENTS_DEFAULT: usize = 100;

pub(crate) fn routes(app: &App) -> Mounted {
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
    let name = lax::name_max(app.limits.string_bytes_max);
    let correlation = query.optional("correlation_id", &name).map(CorrelationId::from);
    let type_name = query.optional("type", &name);
    let mut after = Seq(query.or("after", 0, lax::int_in(0, i64::MAX)));
    let limit = query.or("limit", EVENTS_DEFAULT, lax::count_in(1, app.limits.page_size_max));
    query.finish()?;
    let log = app.store.log();
    let events = match (&type_name, &correlation) {
        (None, None) => log.after(after, limit).await?,
        _ => log.matching(type_name.as_deref(), correlation.as_ref(), after, limit).await?,
    };
    after = events.last().map_or(after, |last| last.seq);
    let next = (events.len() == limit).then_some(after);
    let reply = if call.prefers(pages::CSV) {
        pages::csv_page(call.route, &events)?
    } else {
        Reply::json(&Page { events, next })?
    };
    Ok(match next {
        Some(next) => reply.header("link", &pages::link_to_next(call.route, &call.query, &next.to_string())),
        None => reply,
    })
}
