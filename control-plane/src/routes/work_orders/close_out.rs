//! What can be said when an order is completed: the choices, and which of them the case suggests.

use crate::api_error::ApiError;
use crate::app::App;
use domain::close_out::{Action, Cause, CloseOut, Mode};
use persistence::work_orders::WorkOrder;
use persistence::{cases, knowledge};
use schemars::JsonSchema;
use serde::Serialize;

/// Past cases that are looked at for a suggestion.
const SIMILAR: usize = 10;

/// The names of all choices, as they are told.
pub(super) const MODES: [&str; Mode::ALL.len()] = [
    "bearing_damage",
    "imbalance",
    "misalignment",
    "looseness",
    "leakage",
    "blockage",
    "overheating",
    "electrical_fault",
    "wear",
    "sensor_fault",
    "other",
    "no_fault_found",
];
/// The names of all choices, as they are told.
pub(super) const CAUSES: [&str; Cause::ALL.len()] = [
    "ageing",
    "lubrication",
    "contamination",
    "corrosion",
    "overload",
    "operation",
    "installation",
    "design",
    "power_supply",
    "environment",
    "unknown",
    "none",
];
/// The names of all choices, as they are told.
pub(super) const ACTIONS: [&str; Action::ALL.len()] = [
    "replaced",
    "repaired",
    "adjusted",
    "aligned",
    "balanced",
    "tightened",
    "lubricated",
    "cleaned",
    "calibrated",
    "reset",
    "inspected",
    "none",
];

/// The choices, and a suggestion.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Form {
    modes: [&'static str; Mode::ALL.len()],
    causes: [&'static str; Cause::ALL.len()],
    actions: [&'static str; Action::ALL.len()],
    /// What the case, and what was found in similar ones, suggests.
    prefilled: Prefilled,
}

/// A suggestion. What nothing speaks for is null.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Prefilled {
    mode: Option<Mode>,
    cause: Option<Cause>,
    action: Option<Action>,
}

/// The form for closing `order` out.
pub(super) async fn form(app: &App, order: &WorkOrder) -> Result<Form, ApiError> {
    let case = match order.order.proposal.case {
        Some(case) => cases::get(&app.history, case).await?,
        None => None,
    };
    let mut prefilled = Prefilled::default();
    if let Some(case) = case {
        let similar = knowledge::similar_cases(&app.history, &case, SIMILAR).await?;
        let codes: Vec<CloseOut> = similar.iter().filter_map(|past| past.completion.as_ref()?.close_out).collect();
        prefilled.mode = Mode::suspected(&case.failure_mode).or(codes.first().map(|codes| codes.mode));
        let same = codes.iter().find(|codes| Some(codes.mode) == prefilled.mode);
        (prefilled.cause, prefilled.action) = (same.map(|codes| codes.cause), same.map(|codes| codes.action));
    }
    Ok(Form { modes: MODES, causes: CAUSES, actions: ACTIONS, prefilled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_offered_by_its_name() {
        assert_eq!(MODES, Mode::ALL.map(Mode::as_str));
        assert_eq!(CAUSES, Cause::ALL.map(Cause::as_str));
        assert_eq!(ACTIONS, Action::ALL.map(Action::as_str));
    }
}
