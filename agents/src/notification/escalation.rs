//! Urgent cases that nobody takes up are told to more people.

use super::routing::Notice;
use super::{Notification, State};
use domain::CaseId;
use domain::case::Priority;
use jiff::SignedDuration;
use runtime::Ctx;

impl Notification {
    /// Sets the time after which an urgent case must have been taken up.
    pub(super) fn watch(&self, case: CaseId, priority: Priority, ctx: &mut Ctx) {
        if Priority::High <= priority && 0 < self.settings.escalate_minutes {
            let minutes = SignedDuration::from_mins(self.settings.escalate_minutes);
            ctx.wake_at(escalate_key(case), ctx.now() + minutes);
        }
    }

    pub(super) fn escalate(&self, state: &mut State, case: CaseId, ctx: &mut Ctx) {
        // The timer may have fired just before somebody took the case up.
        let Some(open) = state.cases.get(&case).filter(|open| !open.is_taken_up) else { return };
        let minutes = self.settings.escalate_minutes;
        let notice = Notice {
            about: case.to_string(),
            priority: Priority::Critical,
            subject: format!("Nobody has taken up: {}", open.name),
            body: format!("It was told {minutes} minutes ago, and nobody has acknowledged, answered or shelved it."),
        };
        self.tell(state, &self.settings.routes.escalation, &notice, ctx);
    }
}

/// Somebody has seen `case`.
pub(super) fn take_up(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    if let Some(open) = state.cases.get_mut(&case) {
        open.is_taken_up = true;
        ctx.cancel_wake(escalate_key(case));
    }
}

fn escalate_key(case: CaseId) -> String {
    format!("escalate/{case}")
}
