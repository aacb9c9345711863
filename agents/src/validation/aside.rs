//! What people put aside for a while: cases on the shelf, and assets out of service. Each comes back by its timer.

use super::life::open;
use super::{Due, State};
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::case::{Shelved, Unshelved};
use domain::decision::By;
use domain::{AssetId, CaseId, Event, Timestamp};
use runtime::Ctx;
use serde::{Deserialize, Serialize};

/// An asset's time out of service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) since: Timestamp,
    /// When it ends by itself.
    until: Option<Timestamp>,
    /// When it ended. Kept for readings that come late.
    ended_at: Option<Timestamp>,
    pub(super) reason: String,
}

impl Window {
    /// Whether a reading of that source time was measured out of service.
    pub(super) fn holds(&self, taken_at: Timestamp) -> bool {
        self.since <= taken_at && self.ended_at.is_none_or(|ended_at| taken_at <= ended_at)
    }
}

/// Whether the asset is out of service now.
pub(super) fn is_out(state: &State, asset: &AssetId) -> bool {
    state.out_of_service.get(asset).is_some_and(|window| window.ended_at.is_none())
}

pub(super) fn shelved(state: &mut State, Shelved { case, until, .. }: &Shelved, ctx: &mut Ctx) {
    if open(state, *case).is_some() {
        state.shelf.insert(*case, *until);
        ctx.wake_at(Due::Shelf(*case).key(), *until);
    }
}

/// A case is back from the shelf, or over.
pub(super) fn unshelved(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    if state.shelf.remove(&case).is_some() {
        ctx.cancel_wake(Due::Shelf(case).key());
    }
}

/// Takes `case` back from the shelf, if it is there, and says so.
pub(super) fn take_back(state: &mut State, case: CaseId, by: By, reason: String, ctx: &mut Ctx) {
    if state.shelf.contains_key(&case) {
        unshelved(state, case, ctx);
        ctx.emit(Event::CaseUnshelved(Unshelved { case, by, reason }));
    }
}

pub(super) fn shelf_due(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    // The timer may have fired just before the case was taken back, or shelved anew.
    if state.shelf.get(&case).is_some_and(|until| *until <= ctx.now()) {
        take_back(state, case, By::Expiry, "its time on the shelf was over".to_owned(), ctx);
    }
}

pub(super) fn began(state: &mut State, MaintenanceBegan { asset, until, reason, .. }: MaintenanceBegan, ctx: &mut Ctx) {
    let key = Due::OutOfService(asset.clone()).key();
    match until {
        Some(until) => ctx.wake_at(key, until),
        None => ctx.cancel_wake(key),
    }
    // One that goes on was only given another reason, or another end.
    let since = state.out_of_service.get(&asset).filter(|window| window.ended_at.is_none());
    let since = since.map_or(ctx.now(), |window| window.since);
    state.out_of_service.insert(asset, Window { since, until, ended_at: None, reason });
}

pub(super) fn ended(state: &mut State, asset: &AssetId, ctx: &mut Ctx) {
    if let Some(window) = state.out_of_service.get_mut(asset).filter(|window| window.ended_at.is_none()) {
        window.ended_at = Some(ctx.now());
        ctx.cancel_wake(Due::OutOfService(asset.clone()).key());
    }
}

pub(super) fn service_due(state: &mut State, asset: AssetId, ctx: &mut Ctx) {
    let over = |window: &Window| window.ended_at.is_none() && window.until.is_some_and(|until| until <= ctx.now());
    if state.out_of_service.get(&asset).is_some_and(over) {
        let reason = "its time out of service was over".to_owned();
        ctx.emit(Event::AssetMaintenanceEnded(MaintenanceEnded { asset, by: By::Expiry, reason }));
    }
}
