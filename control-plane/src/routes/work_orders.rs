//! `/work-orders`: what is to be repaired, by whom, and what came of it.

mod close_out;
mod steps;

use super::{Mounted, Route, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use close_out::Form;
use domain::work_order::{State, Step};
use domain::{AssetId, CaseId, TechnicianId, WorkOrderId};
use persistence::work_orders::{self, Filter, WorkOrder};
use schemars::JsonSchema;
use serde::Serialize;
pub(crate) use steps::{CANCEL, COMPLETE, HOLD, START, VERIFY};

const LIST: &Route = entry("GET", "/api/v1/work-orders");
const ONE: &Route = entry("GET", "/api/v1/work-orders/{id}");

/// The states of an order, as they are told.
pub(crate) const STATES: [&str; State::ALL.len()] =
    ["scheduled", "in_progress", "on_hold", "completed", "verified", "cancelled"];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, LIST, list), mount(app, ONE, one), steps::routes(app)])
}

/// An order, and what can be done with it now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    #[serde(flatten)]
    order: WorkOrder,
    /// Steps that it can take now.
    next_steps: Vec<&'static str>,
    /// Hours of work so far, without rests.
    worked_hours: Option<f64>,
    /// It should have ended by now.
    overdue: bool,
    /// What can be said when it is completed, and what the case suggests.
    close_out: Form,
}

async fn document(app: &App, order: WorkOrder) -> Result<Document, ApiError> {
    let now = app.now();
    let end = order.completion.as_ref().map_or(now, |completion| completion.completed_at);
    Ok(Document {
        next_steps: Step::ALL.into_iter().filter(|step| order.state.after(*step).is_ok()).map(Step::as_str).collect(),
        worked_hours: order.worked_hours(end),
        overdue: order.state.is_open() && order.order.end_at < now,
        close_out: close_out::form(app, &order).await?,
        order,
    })
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let name = lax::string_max(app.limits.string_bytes_max);
    let asked = pages::asked(&mut query, 100, app.limits.page_size_max);
    let called = |name: &str| State::ALL.into_iter().find(|state| state.as_str() == name);
    let filter = Filter {
        state: query.optional("state", lax::named(&STATES, called)),
        asset: query.optional("asset", &name).map(AssetId::from),
        technician: query.optional("technician", &name).map(TechnicianId::from),
        case: query.optional("case", lax::uuid).map(CaseId),
        open: query.or("open", false, lax::boolean),
        correlation: None,
    };
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(work_orders::list(&history, &filter, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn one(app: App, call: Call) -> Result<Reply, ApiError> {
    let order = found(&app, call.param(0)).await?;
    let seen = order.clone();
    Ok(Reply::json(&document(&app, order).await?)?.of_state(seen))
}

/// The order called `id`.
async fn found(app: &App, id: &str) -> Result<WorkOrder, ApiError> {
    let unknown = || ApiError::NotFound(format!("There is no work order {id}"));
    let id: WorkOrderId = id.parse().map_err(|_| unknown())?;
    work_orders::get(&app.history, id).await?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_are_told_by_their_names() {
        assert_eq!(STATES, State::ALL.map(State::as_str));
    }
}
