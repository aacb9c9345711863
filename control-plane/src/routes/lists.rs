//! Lists that only show what stands in the store: notifications, the maintenance log, dead letters.

use super::{either, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use domain::notification::Channel;
use domain::{AssetId, CaseId};
use persistence::{dead_letters, maintenance_log, notifications};
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;

pub(crate) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    either([
        mount(app, const { entry("GET", "/api/v1/notifications") }, list_notifications),
        mount(app, const { entry("GET", "/api/v1/maintenance/log") }, list_maintenance_log),
        mount(app, const { entry("GET", "/api/v1/dead-letters") }, list_dead_letters),
    ])
}

/// `limit` and `offset`.
fn page(app: &App, query: &mut Fields) -> (usize, usize) {
    let limit = query.or("limit", ROWS_DEFAULT, lax::count_in(1, app.limits.page_size_max));
    (limit, query.or("offset", 0, lax::count_in(0, usize::MAX >> 1)))
}

async fn list_notifications(app: App, call: Call) -> Result<Reply, ApiError> {
    use notifications::State;

    let mut query = call.query();
    let channels = [Channel::Console, Channel::Webhook];
    let states = [State::Requested, State::Sent, State::Failed];
    let (limit, offset) = page(&app, &mut query);
    let filter = notifications::Filter {
        channel: query.optional("channel", one_of(channels, Channel::as_str)),
        state: query.optional("state", one_of(states, State::as_str)),
        case: query.optional("case", lax::uuid).map(CaseId),
    };
    query.finish()?;
    Reply::json(&notifications::list(&app.history, &filter, limit, offset).await?)
}

async fn list_maintenance_log(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asset = query.optional("asset", lax::string).map(AssetId::from);
    let (limit, offset) = page(&app, &mut query);
    query.finish()?;
    Reply::json(&maintenance_log::list(&app.history, asset.as_ref(), limit, offset).await?)
}

async fn list_dead_letters(app: App, call: Call) -> Result<Reply, ApiError> {
    use dead_letters::State;

    let mut query = call.query();
    let states = [State::Open, State::Replayed, State::Discarded];
    let (limit, offset) = page(&app, &mut query);
    let filter = dead_letters::Filter {
        agent: query.optional("agent", lax::string),
        state: query.optional("state", one_of(states, State::as_str)),
    };
    query.finish()?;
    Reply::json(&dead_letters::list(&app.history, &filter, limit, offset).await?)
}

/// Reads the one of `values` that has the given name.
fn one_of<T: Copy, const N: usize>(
    values: [T; N],
    name: fn(T) -> &'static str,
) -> impl Fn(&serde_json::Value) -> Result<T, lax::Wrong> {
    lax::named(&values.map(name), move |given| values.into_iter().find(|value| name(*value) == given))
}
