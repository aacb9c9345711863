//! Who hears of what, how often, and by which channel.

use super::held::Held;
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
    /// The handover of a shift that ended.
    pub handover: Vec<String>,
}

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// The id of what it is about. The same subject about the same thing is a repeat; about another thing it is news,
    /// however alike the two are.
    pub(super) about: String,
    pub(super) priority: Priority,
    pub(super) subject: String,
    pub(super) body: String,
}

impl Notice {
    fn key(&self) -> String {
        format!("{}: {}", self.about, self.subject)
    }
}

/// What one recipient got within the last hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Inbox {
    /// What they were about and their subjects, oldest first.
    got: VecDeque<(Timestamp, String)>,
    /// What was held back.
    held: Option<Held>,
}

impl Notification {
    /// The roles that hear of a case of that priority.
    pub(super) fn by_priority(&self, priority: Priority) -> &[String] {
        let Routes { case, case_urgent, .. } = &self.settings.routes;
        if Priority::High <= priority { case_urgent } else { case }
    }

    /// Tells a recipient what was held back, as soon as there is room for it.
    pub(super) fn held(&self, state: &mut State, recipient: &str, ctx: &mut Ctx) {
        let Some(inbox) = state.inboxes.get_mut(recipient) else { return };
        inbox.forget_before(ctx.now() - HOUR);
        if let Some((oldest, _)) = inbox.got.front().filter(|_| self.settings.per_hour_max <= inbox.got.len()) {
            ctx.wake_at(held_key(recipient), *oldest + HOUR);
            return;
        }
        let Some(held) = inbox.held.take() else { return };
        let notice = Notice {
            about: recipient.to_owned(),
            priority: held.priority(),
            subject: format!("Messages held back: {}", held.count()),
            body: held.text(),
        };
        // What was held back is told for the first time, so nothing that was told before makes a repeat of it.
        inbox.receive(recipient, &notice, ctx);
        self.send_out(state, &[recipient], &notice, ctx);
    }

    /// Tells each of `recipients`, unless they got it just now; who has too many already is told later.
    pub(super) fn tell(&self, state: &mut State, recipients: &[String], notice: &Notice, ctx: &mut Ctx) {
        let now = ctx.now();
        state.inboxes.retain(|_, inbox| {
            inbox.forget_before(now - HOUR);
            !inbox.got.is_empty() || inbox.held.is_some()
        });
        let Notice { priority, subject, .. } = notice;
        let line = self.line(state, now, *priority, subject);
        let mut heard = Vec::new();
        for recipient in recipients {
            let inbox = state.inboxes.entry(recipient.clone()).or_default();
            let window = now - SignedDuration::from_mins(self.settings.dedupe_minutes);
            if inbox.got.iter().any(|(at, got)| window < *at && *got == notice.key()) {
                continue;
            }
            if let Some((oldest, _)) = inbox.got.front()
                && self.settings.per_hour_max <= inbox.got.len()
                && *priority != Priority::Critical
            {
                ctx.wake_at(held_key(recipient), *oldest + HOUR);
                inbox.held.get_or_insert_default().add(line.clone(), *priority);
                continue;
            }
            inbox.receive(recipient, notice, ctx);
            heard.push(recipient.as_str());
        }
        self.send_out(state, &heard, notice, ctx);
    }

    /// Sends what the roles `heard` to systems outside: a mail to each address behind them, and one message to the
    /// webhook.
    fn send_out(&self, state: &mut State, heard: &[&str], notice: &Notice, ctx: &mut Ctx) {
        let priority = notice.priority;
        let message = |channel, recipient: String, ctx: &mut Ctx| Requested {
            notification: NotificationId(ctx.id()),
            channel,
            recipient,
            priority,
            subject: notice.subject.clone(),
            body: notice.body.trim().to_owned(),
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
                Some(end) => self.hold_back(state, (address, priority, &notice.subject), end, ctx),
            }
        }
    }
}

impl Inbox {
    /// Takes `notice` in, on the console.
    fn receive(&mut self, recipient: &str, notice: &Notice, ctx: &mut Ctx) {
        self.got.push_back((ctx.now(), notice.key()));
        let notification = NotificationId(ctx.id());
        let channel = Channel::Console;
        ctx.emit(Event::NotificationRequested(Requested {
            notification,
            channel,
            recipient: recipient.to_owned(),
            priority: notice.priority,
            subject: notice.subject.clone(),
            body: notice.body.trim().to_owned(),
        }));
        ctx.emit(Event::NotificationSent(Sent { notification, channel, tries: Vec::new() }));
    }

    fn forget_before(&mut self, limit: Timestamp) {
        while self.got.front().is_some_and(|(at, _)| *at <= limit) {
            self.got.pop_front();
        }
    }
}

fn held_key(recipient: &str) -> String {
    format!("held/{recipient}")
}
