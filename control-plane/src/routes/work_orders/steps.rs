//! The steps of an order: each is an event with who, when and why. What cannot be done now is refused by the store,
//! and told in words.

use super::close_out::{ACTIONS, CAUSES, MODES};
use super::{document, found};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use crate::routes::{Kind, Mounted, Param, Route, entry, mount};
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::close_out::{Action, Cause, CloseOut, Mode};
use domain::decision::By;
use domain::work_order::{Cancelled, Completed, Held, Started, State, Step, Verified};
use domain::{AssetId, Event, Timestamp, WorkOrderId};
use persistence::page::Start;
use persistence::seen::Seen;
use persistence::unit::Refused;
use persistence::work_orders::{self, Filter, WorkOrder};
use persistence::{assets, sensors};
use std::fmt::Display;

/// Words of a person, in bytes.
const TEXT_BYTES_MAX: usize = 8192;
/// Orders and sensors of one asset that are looked at.
const OF_ASSET_MAX: usize = 1_000;
const HOURS_MAX: f64 = 10_000.0;

/// Members of the bodies.
pub(crate) const START: &[Param] = &[
    Param::optional("reason", Kind::Text, "A note"),
    Param::or("maintenance", Kind::Flag, "true", "Whether the asset is out of service until the work ends"),
];
pub(crate) const HOLD: &[Param] = &[Param::required("reason", Kind::Text, "What it waits for")];
pub(crate) const CANCEL: &[Param] = &[Param::required("reason", Kind::Text, "Why it is not done")];
pub(crate) const VERIFY: &[Param] = &[Param::optional("reason", Kind::Text, "A note")];
pub(crate) const COMPLETE: &[Param] = &[
    Param::required("mode", Kind::OneOf(&MODES), "How the asset failed"),
    Param::optional("cause", Kind::OneOf(&CAUSES), "Why; needed when a fault was found"),
    Param::optional("action", Kind::OneOf(&ACTIONS), "What was done; needed when a fault was found"),
    Param::or("notes", Kind::Text, "\"\"", "What was found and done, in words"),
    Param::optional("completed_at", Kind::Time, "When it ended; now if absent"),
    Param::optional("duration_hours", Kind::Number(Some(0.0), Some(HOURS_MAX)), "Hours of work; counted if absent"),
    Param::or("verified", Kind::Flag, "false", "Whether the asset was seen to run as it should"),
];

pub(super) fn routes(app: &App) -> Mounted {
    const fn step(path: &'static str) -> &'static Route {
        entry("POST", path)
    }
    Mounted::all([
        mount(app, const { step("/api/v1/work-orders/{id}/start") }, start),
        mount(app, const { step("/api/v1/work-orders/{id}/hold") }, hold),
        mount(app, const { step("/api/v1/work-orders/{id}/complete") }, complete),
        mount(app, const { step("/api/v1/work-orders/{id}/verify") }, verify),
        mount(app, const { step("/api/v1/work-orders/{id}/cancel") }, cancel),
    ])
}

/// Appends `events` about `order`, which must stand as `seen`, and tells how it stands then.
async fn take(
    app: &App,
    order: &WorkOrder,
    seen: Option<Seen>,
    step: Step,
    events: Vec<Event>,
) -> Result<Reply, ApiError> {
    let said = |event| {
        let mut event = app.event(&order.correlation, event);
        event.cause = Some(order.event);
        event
    };
    let id = order.order.work_order;
    match app.store.append_if(seen, events.into_iter().map(said).collect()).await {
        Ok(_) => {
            let order = found(app, &id.to_string()).await?;
            Reply::json(&document(app, order).await?)
        }
        Err(Refused::Conflict(why)) => {
            // Somebody may have been faster: what counts is how the order stands now.
            let order = found(app, &id.to_string()).await?;
            let why = order.state.after(step).err().map_or(why, |refusal| refusal.to_string());
            Err(not_now(id, why))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// A step that order `id` cannot take, because of `why`.
fn not_now(id: WorkOrderId, why: impl Display) -> ApiError {
    ApiError::Conflict(format!("Work order {id}: {why}"))
}

fn text(body: &mut Fields) -> Option<String> {
    body.optional("reason", lax::string_max(TEXT_BYTES_MAX)).filter(|reason| !reason.trim().is_empty())
}

async fn start(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let reason = text(&mut body);
    let out_of_service = body.or("maintenance", true, lax::boolean);
    body.finish()?;
    let order = found(&app, call.param(0)).await?;
    let seen = call.if_match(order.clone())?;
    let (work_order, case) = (order.order.work_order, order.order.proposal.case);
    let (asset, by) = (order.order.proposal.asset.clone(), call.caller.name.clone());
    let known = assets::get(&app.history, &asset).await?;
    let begun = Started { work_order, case, asset: asset.clone(), by: by.clone(), reason };
    let mut events = vec![Event::WorkOrderStarted(begun)];
    if out_of_service && known.is_none_or(|known| known.maintenance.is_none()) {
        events.push(out(asset, by, work_order));
    }
    take(&app, &order, seen, Step::Start, events).await
}

fn out(asset: AssetId, by: String, work_order: WorkOrderId) -> Event {
    let reason = format!("work order {work_order} is carried out");
    Event::AssetMaintenanceBegan(MaintenanceBegan { asset, by, reason, until: None, work_order: Some(work_order) })
}

async fn hold(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let reason = body.required("reason", lax::name_max(TEXT_BYTES_MAX));
    body.finish()?;
    let order = found(&app, call.param(0)).await?;
    let seen = call.if_match(order.clone())?;
    let (work_order, case) = (order.order.work_order, order.order.proposal.case);
    let held = Held { work_order, case, asset: order.order.proposal.asset.clone(), by: call.caller.name, reason };
    take(&app, &order, seen, Step::Hold, vec![Event::WorkOrderHeld(held)]).await
}

async fn cancel(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let reason = body.required("reason", lax::name_max(TEXT_BYTES_MAX));
    body.finish()?;
    let order = found(&app, call.param(0)).await?;
    let seen = call.if_match(order.clone())?;
    let (work_order, case) = (order.order.work_order, order.order.proposal.case);
    let (asset, by) = (order.order.proposal.asset.clone(), call.caller.name);
    let mut events = vec![Event::WorkOrderCancelled(Cancelled { work_order, case, asset, by: by.clone(), reason })];
    events.extend(back_in_service(&app, &order, &by, "the work was called off").await?);
    take(&app, &order, seen, Step::Cancel, events).await
}

async fn verify(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let reason = text(&mut body);
    body.finish()?;
    let order = found(&app, call.param(0)).await?;
    let seen = call.if_match(order.clone())?;
    let id = order.order.work_order;
    order.state.after(Step::Verify).map_err(|refusal| not_now(id, refusal))?;
    let completion = order.completion.as_ref().ok_or_else(|| not_now(id, "what was done is not recorded"))?;
    if !completion.fault_found {
        return Err(not_now(id, "no fault was found, so that there is no repair to verify"));
    }
    let event = verified(&app, &order, completion.completed_at, call.caller.name, reason).await?;
    take(&app, &order, seen, Step::Verify, vec![event]).await
}

async fn verified(
    app: &App,
    order: &WorkOrder,
    since: Timestamp,
    by: String,
    reason: Option<String>,
) -> Result<Event, ApiError> {
    let asset = order.order.proposal.asset.clone();
    let sensors = sensors::of_asset(&app.history, &asset, OF_ASSET_MAX).await?;
    Ok(Event::RepairVerified(Verified {
        work_order: order.order.work_order,
        case: order.order.proposal.case,
        asset,
        sensors: sensors.into_iter().map(|sensor| sensor.sensor.id).collect(),
        since,
        by,
        reason,
    }))
}

async fn complete(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let mode = body.required("mode", |value| lax::named(&MODES, Mode::parse)(value).map(Some));
    let cause = body.optional("cause", lax::named(&CAUSES, Cause::parse));
    let action = body.optional("action", lax::named(&ACTIONS, Action::parse));
    let notes = body.or("notes", String::new(), lax::string_max(TEXT_BYTES_MAX));
    let now = app.now();
    let completed_at = body.optional("completed_at", lax::datetime);
    let duration_hours = body.optional("duration_hours", lax::float_in(0.0, HOURS_MAX));
    let is_verified = body.or("verified", false, lax::boolean);
    let found_nothing = mode == Some(Mode::NoFaultFound);
    if mode.is_some() && !found_nothing {
        for (name, given) in [("cause", cause.is_some()), ("action", action.is_some())] {
            if !given && !body.has(name) {
                body.refuse(name, "Field required");
            }
        }
    }
    if found_nothing && is_verified {
        body.refuse("verified", "Input should be false: where no fault was found, no repair can be verified");
    }
    if completed_at.is_some_and(|at| now < at) {
        body.refuse("completed_at", "Input should not lie in the future");
    }
    body.finish()?;
    let order = found(&app, call.param(0)).await?;
    let seen = call.if_match(order.clone())?;
    let completed_at = completed_at.unwrap_or(now);
    let close_out = CloseOut {
        mode: mode.unwrap_or(Mode::NoFaultFound),
        cause: cause.unwrap_or(Cause::None),
        action: action.unwrap_or(Action::Inspected),
    };
    let by = call.caller.name;
    let done = Completed {
        work_order: order.order.work_order,
        case: order.order.proposal.case,
        asset: order.order.proposal.asset.clone(),
        technician: order.order.technician.clone(),
        completed_at,
        duration_hours: duration_hours.or(order.worked_hours(completed_at)),
        fault_found: close_out.fault_found(),
        notes,
        close_out: Some(close_out),
        by: Some(by.clone()),
    };
    let mut events = vec![Event::MaintenanceCompleted(done)];
    events.extend(back_in_service(&app, &order, &by, "the work is done").await?);
    if is_verified {
        events.push(verified(&app, &order, completed_at, by, None).await?);
    }
    take(&app, &order, seen, Step::Complete, events).await
}

/// What is to be said of the asset when `order` ends: it is back, unless somebody else is at work on it.
async fn back_in_service(app: &App, order: &WorkOrder, by: &str, why: &str) -> Result<Option<Event>, ApiError> {
    let asset = order.order.proposal.asset.clone();
    let known = assets::get(&app.history, &asset).await?;
    let of_this_order = |known: assets::Asset| known.maintenance?.work_order.filter(|id| *id == order.order.work_order);
    if known.and_then(of_this_order).is_none() {
        return Ok(None);
    }
    let filter = Filter { asset: Some(asset.clone()), open: true, ..Filter::default() };
    let others = work_orders::list(&app.history, &filter, &Start::default(), OF_ASSET_MAX).await?.rows;
    let at_work = others
        .iter()
        .filter(|other| other.order.work_order != order.order.work_order)
        .find(|other| matches!(other.state, State::InProgress | State::OnHold));
    Ok(Some(match at_work {
        Some(other) => out(asset, by.to_owned(), other.order.work_order),
        None => Event::AssetMaintenanceEnded(MaintenanceEnded {
            asset,
            by: By::Person(by.to_owned()),
            reason: why.to_owned(),
        }),
    }))
}
