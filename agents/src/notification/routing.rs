//! Who hears of what, how often, and by which channel.

use super::{Notification, State};
use domain::case::Priority;
use domain::notification::{Channel, Requested, Sent};
use domain::{Event, NotificationId, Timestamp};
use jiff::SignedDuration;
use runtime::Ctx;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Somebody who stands behind a role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The role.
    pub role: String,
    /// The address.
    pub email: String,
}

/// Which roles hear of what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// A case.
    pub case: Vec<String>,
    /// One of high or critical priority.
    pub case_urgent: Vec<String>,
    /// A question.
    pub decision: Vec<String>,
    /// One that was asked before, in vain.
    pub decision_escalated: Vec<String>,
    /// Booked work, beside whoever does it.
    pub booked: Vec<String>,
    /// Work that could not be booked.
    pub not_booked: Vec<String>,
    /// Sensors that drift, and detectors that could not be fitted.
    pub sensor: Vec<String>,
    /// An urgent case that nobody has taken up.
    pub escalation: Vec<String>,
}

/// What one recipient got within the last hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Inbox {
    /// Subjects, oldest first.
    got: VecDeque<(Timestamp, String)>,
    /// Messages held back since the last one.
    n_held: u32,
}

impl Notification {
    /// The roles that hear of a case of that priority.
    pub(super) fn by_priority(&self, priority: Priority) -> &[String] {
        let Routes { case, case_urgent, .. } = &self.settings.routes;
        if Priority::High <= priority { case_urgent } else { case }
    }

    /// Tells a recipient how many messages were held back, when nothing else took that along.
    pub(super) fn held(&self, state: &mut State, recipient: &str, ctx: &mut Ctx) {
        let Some(inbox) = state.inboxes.get_mut(recipient) else { return };
        inbox.forget_before(ctx.now() - HOUR);
        match (inbox.n_held, inbox.got.front()) {
            (0, _) => {}
            (_, Some((oldest, _))) if self.settings.per_hour_max <= inbox.got.len() => {
                ctx.wake_at(held_key(recipient), *oldest + HOUR);
            }
            _ => self.tell(
                state,
                &[recipient.to_owned()],
                Priority::Low,
                "Messages were held back",
                "The list of notifications has them all.",
                ctx,
            ),
        }
    }

    /// Tells each of `recipients`, unless they got it just now or have too many already.
    pub(super) fn tell(
        &self,
        state: &mut State,
        recipients: &[String],
        priority: Priority,
        subject: &str,
        body: &str,
        ctx: &mut Ctx,
    ) {
        let now = ctx.now();
        state.inboxes.retain(|_, inbox| {
            inbox.forget_before(now - HOUR);
            !inbox.got.is_empty() || 0 < inbox.n_held
        });
        let mut heard = Vec::new();
        for recipient in recipients {
            let inbox = state.inboxes.entry(recipient.clone()).or_default();
            let window = now - SignedDuration::from_mins(self.settings.dedupe_minutes);
            if inbox.got.iter().any(|(at, got)| window < *at && got == subject) {
                continue;
            }
            if let Some((oldest, _)) = inbox.got.front()
                && self.settings.per_hour_max <= inbox.got.len()
                && priority != Priority::Critical
            {
                inbox.n_held += 1;
                ctx.wake_at(held_key(recipient), *oldest + HOUR);
                continue;
            }
            let mut body = body.trim().to_owned();
            if 0 < inbox.n_held {
                body += &format!(" ({} messages before this one were held back.)", inbox.n_held);
                inbox.n_held = 0;
                ctx.cancel_wake(held_key(recipient));
            }
            inbox.got.push_back((now, subject.to_owned()));
            let subject = subject.to_owned();
            heard.push(recipient.as_str());
            let notification = NotificationId(ctx.id());
            let channel = Channel::Console;
            let recipient = recipient.clone();
            ctx.emit(Event::NotificationRequested(Requested {
                notification,
                channel,
                recipient,
                priority,
                subject,
                body,
            }));
            ctx.emit(Event::NotificationSent(Sent { notification, channel, tries: Vec::new() }));
        }
        self.send_out(state, &heard, priority, subject, body.trim(), ctx);
    }

    /// Sends what the roles `heard` to systems outside: a mail to each address behind them, and one message to the
    /// webhook.
    fn send_out(
        &self,
        state: &mut State,
        heard: &[&str],
        priority: Priority,
        subject: &str,
        body: &str,
        ctx: &mut Ctx,
    ) {
        let message = |channel, recipient: String, ctx: &mut Ctx| Requested {
            notification: NotificationId(ctx.id()),
            channel,
            recipient,
            priority,
            subject: subject.to_owned(),
            body: body.to_owned(),
        };
        if self.outlets.webhook && self.settings.webhook_priority_min <= priority && !heard.is_empty() {
            let requested = message(Channel::Webhook, heard.join(", "), ctx);
            state.outbox.send(requested, ctx);
        }
        if !self.outlets.email || priority < self.settings.email_priority_min {
            return;
        }
        let behind = |contact: &&Contact| heard.contains(&contact.role.as_str());
        let addresses: BTreeSet<&str> =
            self.settings.contacts.iter().filter(behind).map(|contact| contact.email.as_str()).collect();
        let quiet_until = self.quiet_until(state, priority, ctx.now());
        for address in addresses {
            match quiet_until {
                None => {
                    let requested = message(Channel::Email, address.to_owned(), ctx);
                    state.outbox.send(requested, ctx);
                }
                Some(end) => self.hold_back(state, (address, priority, subject), end, ctx),
            }
        }
    }
}

impl Inbox {
    fn forget_before(&mut self, limit: Timestamp) {
        while self.got.front().is_some_and(|(at, _)| *at <= limit) {
            self.got.pop_front();
        }
    }
}

fn held_key(recipient: &str) -> String {
    format!("held/{recipient}")
}
