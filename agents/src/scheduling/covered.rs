//! Work that needs no order of its own as long as another one on its asset is open.

use super::{Order, State, Wanted};
use domain::case::{Closed, Resolution};
use domain::decision::Proposal;
use domain::{Event, EventId, Timestamp, WorkOrderId};
use runtime::Ctx;
use serde::{Deserialize, Serialize};

/// What an order does on the side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Covered {
    pub(super) proposal: Proposal,
    pub(super) order: WorkOrderId,
}

/// The order that makes another one for `wanted` needless, and when it begins. `earliest` is the slot that another one
/// would get.
pub(super) fn covering(
    state: &State,
    Wanted { proposal, by_person, order, .. }: &Wanted,
    earliest: Option<Timestamp>,
) -> Option<(WorkOrderId, Timestamp)> {
    if order.is_some() {
        return None;
    }
    let begins = |(id, order): (&WorkOrderId, &Order)| (*id, order.start_at);
    let of_case = |order: &Order| proposal.case.is_some() && order.proposal.case == proposal.case;
    if let Some(ours) = state.orders.iter().find(|(_, order)| of_case(order)) {
        return Some(begins(ours));
    }
    // A person who asks for more work on the asset gets it; the policy does not pile it up.
    let of_asset = |order: &Order| !by_person && order.proposal.asset == proposal.asset;
    // One that comes too late still covers what could not be done any earlier.
    let in_time = |order: &Order| {
        proposal.due_at.is_none_or(|due| order.start_at <= due)
            || earliest.is_none_or(|earliest| order.start_at <= earliest)
    };
    let others = state.orders.iter().filter(|(_, order)| of_asset(order) && in_time(order));
    others.min_by_key(|(_, order)| order.start_at).map(begins)
}

/// Remembers that `order`, which is for another case, does what was approved as well.
pub(super) fn cover(state: &mut State, approval: EventId, proposal: Proposal, order: WorkOrderId) {
    if state.orders.get(&order).is_some_and(|order| order.proposal.case != proposal.case) {
        state.waiting.remove(&approval);
        state.covered.insert(approval, Covered { proposal, order });
    }
}

/// Has booked by itself what `order` does not cover any more.
pub(super) fn uncover(state: &mut State, order: WorkOrderId, is_meant: impl Fn(&Covered) -> bool, ctx: &mut Ctx) {
    for (approval, Covered { proposal, .. }) in
        state.covered.extract_if(.., |_, covered| covered.order == order && is_meant(covered))
    {
        ctx.wake_at(approval.to_string(), ctx.now());
        state.waiting.insert(approval, Wanted { proposal, by_person: false, n_attempts: 0, order: None });
    }
}

/// Ends the cases that `order` covered, as its own case ends: somebody found a fault on the asset and repaired it.
pub(super) fn repaired(state: &mut State, order: WorkOrderId, ctx: &mut Ctx) {
    for (_, Covered { proposal, .. }) in state.covered.extract_if(.., |_, covered| covered.order == order) {
        if let Some(case) = proposal.case {
            let reason = format!("work order {order}, which covered it, was completed, a fault was found");
            ctx.emit(Event::CaseClosed(Closed { case, resolution: Resolution::Repaired, reason }));
        }
    }
}
