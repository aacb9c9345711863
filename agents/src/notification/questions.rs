//! Questions are repeated until they are answered.

use super::aside::{sentence, sentences};
use super::routing::Notice;
use super::{Notification, State, is_shelved};
use domain::case::Priority;
use domain::decision::{Expired, OnExpiry, Required};
use domain::{CaseId, DecisionRequestId, Timestamp};
use jiff::SignedDuration;
use runtime::Ctx;
use serde::{Deserialize, Serialize};

/// A question that is repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Question {
    case: Option<CaseId>,
    recipients: Vec<String>,
    priority: Priority,
    subject: String,
    body: String,
    n_reminders: u32,
    due: Timestamp,
}

impl Notification {
    pub(super) fn required(&self, state: &mut State, required: Required, ctx: &mut Ctx) {
        let Required { request, proposal, options, reason, deadline, on_expiry, escalations } = required;
        let work = self.work(state, &proposal);
        let (recipients, subject) = match escalations {
            0 => (&self.settings.routes.decision, format!("Decision needed: {work}")),
            n => (&self.settings.routes.decision_escalated, format!("Decision needed, escalated {n} times: {work}")),
        };
        let expiry = match on_expiry {
            OnExpiry::Escalate => "it is asked again, more urgently",
            OnExpiry::Approve => "it is approved",
            OnExpiry::Decline => "it is declined",
        };
        let body = format!(
            "{}{}Answer {} by {}, or {expiry}. Request {request}.",
            sentence(&reason),
            sentences(&proposal.recommended_actions),
            options.join(", "),
            self.wall(state, deadline)
        );
        let notice = Notice { about: request.to_string(), priority: proposal.priority, subject, body };
        if !is_shelved(state, proposal.case) {
            self.tell(state, recipients, &notice, ctx);
        }
        let due = ctx.now() + SignedDuration::from_mins(self.settings.repeat_minutes);
        ctx.wake_at(repeat_key(&request), due);
        let (recipients, case) = (recipients.clone(), proposal.case);
        let Notice { subject, body, .. } = notice;
        let question = Question { case, recipients, priority: proposal.priority, subject, body, n_reminders: 0, due };
        state.questions.insert(request, question);
    }

    pub(super) fn expired(&self, state: &mut State, Expired { request, outcome }: &Expired, ctx: &mut Ctx) {
        let Some(question) = state.questions.get(request).filter(|question| !is_shelved(state, question.case)) else {
            return;
        };
        let follows = match outcome {
            OnExpiry::Escalate => "It is asked again, more urgently.",
            OnExpiry::Approve => "It is approved, as the question said.",
            OnExpiry::Decline => "It is declined, as the question said.",
        };
        let notice = Notice {
            about: request.to_string(),
            priority: Priority::High,
            subject: format!("Nobody answered in time: {}", question.subject),
            body: follows.to_owned(),
        };
        self.tell(state, &self.settings.routes.decision, &notice, ctx);
    }

    pub(super) fn repeat(&self, state: &mut State, request: &DecisionRequestId, ctx: &mut Ctx) {
        // The timer may have fired just before the question was answered or asked anew.
        let Some(question) = state.questions.get_mut(request).filter(|question| question.due <= ctx.now()) else {
            return;
        };
        question.due = ctx.now() + SignedDuration::from_mins(self.settings.repeat_minutes);
        ctx.wake_at(repeat_key(request), question.due);
        let case = question.case;
        if is_shelved(state, case) {
            return;
        }
        let Some(question) = state.questions.get_mut(request) else { return };
        question.n_reminders += 1;
        let Question { recipients, priority, subject, body, n_reminders, .. } = question.clone();
        let subject = format!("Reminder {n_reminders}: {subject}");
        let notice = Notice { about: request.to_string(), priority, subject, body };
        self.tell(state, &recipients, &notice, ctx);
    }
}

/// Ends the questions that `request` or `case` names.
pub(super) fn answered(state: &mut State, request: Option<DecisionRequestId>, case: Option<CaseId>, ctx: &mut Ctx) {
    state.questions.retain(|open, question| {
        let is_answered = Some(open) == request.as_ref() || (case.is_some() && question.case == case);
        if is_answered {
            ctx.cancel_wake(repeat_key(open));
        }
        !is_answered
    });
}

fn repeat_key(request: &DecisionRequestId) -> String {
    format!("repeat/{request}")
}
