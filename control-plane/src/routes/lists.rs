//! Lists that only show what stands in the store: notifications, the maintenance log.

use super::{Mounted, entry, mount, one_of, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::notification::Channel;
use domain::{AssetId, CaseId, Timestamp};
use jiff::SignedDuration;
use persistence::kpis::Kpi;
use persistence::maintenance_log::Line;
use persistence::{kpis, maintenance_log, notifications};
use schemars::JsonSchema;
use serde::Serialize;

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/notifications") }, list_notifications),
        mount(app, const { entry("GET", "/api/v1/maintenance/log") }, list_maintenance_log),
    ])
}

async fn list_notifications(app: App, call: Call) -> Result<Reply, ApiError> {
    use notifications::State;

    let mut query = call.query();
    let states = [State::Requested, State::Sent, State::Failed];
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    let filter = notifications::Filter {
        channel: query.optional("channel", one_of(Channel::ALL, Channel::as_str)),
        state: query.optional("state", one_of(states, State::as_str)),
        case: query.optional("case", lax::uuid).map(CaseId),
    };
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(notifications::list(&history, &filter, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn list_maintenance_log(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asset = query.optional("asset", lax::string).map(AssetId::from);
    let (from, to) = (query.optional("from", lax::datetime), query.optional("to", lax::datetime));
    if from.zip(to).is_some_and(|(from, to)| to < from) {
        query.refuse("from", "Input should be before to");
    }
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    query.finish()?;
    let filter = maintenance_log::Filter { asset, from, to };
    if call.prefers(pages::CSV) {
        let history = app.history.clone();
        let page = move |start, limit| {
            let (history, filter) = (history.clone(), filter.clone());
            async move { Ok(maintenance_log::list(&history, &filter, &start, limit).await?) }
        };
        return pages::answer(&app, &call, asked, page).await;
    }
    let page = maintenance_log::list(&app.history, &filter, &asked.start, asked.limit).await?;
    let to = to.unwrap_or_else(|| from.map_or(app.now(), |from| app.now().max(from)));
    let from = from.unwrap_or_else(|| to.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN));
    let kpis = kpis::list(&app.history, filter.asset.as_ref(), from, to).await?;
    let reply = Reply::json(&MaintenanceLog { entries: page.rows, from, to, kpis })?;
    Ok(pages::linked(reply, &call, page.next.as_ref()))
}

/// Days that the figures cover when nobody says which.
const DAYS: i64 = 90;

/// The maintenance log, and what it amounts to.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MaintenanceLog {
    /// Newest first.
    entries: Vec<Line>,
    /// The figures cover what was from then on.
    from: Timestamp,
    /// And before then.
    to: Timestamp,
    /// Each with numerator, denominator and what they are.
    kpis: Vec<Kpi>,
}
