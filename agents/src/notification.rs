//! Tells people and other systems, no more often than is good for them.
//!
//! Takes in: `CaseOpened`, `CaseUpdated`, `DecisionRequired`, `DecisionExpired`, `MaintenanceScheduled`,
//! `SchedulingFailed`, `DriftDetected`, `TrainingFailed`; what answers a question (`MaintenanceApproved`,
//! `MaintenanceDeclined`, `CaseClosed`); what people do to a case (`CaseAcknowledged`, `CaseShelved`,
//! `CaseUnshelved`); what became of its messages (`NotificationSent`, `NotificationFailed`); its timers.
//! Emits: `NotificationRequested`, with `NotificationSent` beside it where the console is the channel: a
//! message there is delivered by being stored. E-mails and the webhook's messages are carried out by workers.
//! Remembers: what each recipient got within the last hour, the open cases, the questions that are repeated until
//! they are answered, what quiet hours hold back, and the messages that are on their way out.
//!
//! A role hears of what its routes say. What goes out for one notice is one e-mail for each address, however many
//! of its roles hear of it, and one message to the webhook.

mod outbox;
mod quiet;

use anyhow::ensure;
use domain::case::{Opened, Priority, Updated};
use domain::decision::{Expired, OnExpiry, Proposal, Required};
use domain::drift::Detected;
use domain::model::TrainingFailed;
use domain::notification::{Channel, Failed, Requested, Sent};
use domain::work_order::{Scheduled, SchedulingFailed};
use domain::{CaseId, DecisionRequestId, Event, NotificationId, Timestamp};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use outbox::Outbox;
use quiet::Quiet;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Lines of what quiet hours held back that one mail tells.
const HELD_LINES_MAX: usize = 100;

/// `[agents.notification]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A recipient gets the same subject once within this time.
    pub dedupe_minutes: i64,
    /// Messages that a recipient gets within an hour; critical ones come through always.
    pub per_hour_max: usize,
    /// An open question is repeated after this time, again and again.
    pub repeat_minutes: i64,
    /// Least priority that goes to the webhook as well.
    pub webhook_priority_min: Priority,
    /// Least priority that goes out by e-mail as well.
    pub email_priority_min: Priority,
    /// An urgent case that nobody has taken up is told to `routes.escalation` after this time; 0 never does.
    pub escalate_minutes: i64,
    /// Pauses after which a message is handed out anew when it could not be delivered.
    pub resend_minutes: Vec<i64>,
    /// Least priority that goes out by e-mail in quiet hours.
    pub quiet_priority_min: Priority,
    /// When mails of less priority wait.
    pub quiet: Vec<Quiet>,
    /// Who stands behind a role.
    pub contacts: Vec<Contact>,
    /// Which roles hear of what.
    pub routes: Routes,
}

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

/// Where messages can go, and how they tell the time.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Whether there is a webhook.
    pub webhook: bool,
    /// Whether there is a mail server.
    pub email: bool,
    /// The site's.
    pub time_zone: TimeZone,
}

/// The agent.
pub struct Notification {
    settings: Settings,
    outlets: Outlets,
}

/// What it remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    inboxes: BTreeMap<String, Inbox>,
    cases: BTreeMap<CaseId, Open>,
    questions: BTreeMap<DecisionRequestId, Question>,
    /// What quiet hours hold back, by address.
    quiet: BTreeMap<String, Held>,
    outbox: Outbox,
}

/// An open case.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    name: String,
    priority: Priority,
    /// Nobody wants to hear of it for now.
    is_shelved: bool,
    /// Somebody has seen it.
    is_taken_up: bool,
}

/// Mails to one address that wait for the end of quiet hours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Held {
    lines: Vec<String>,
    n_more: u32,
}

/// What one recipient got within the last hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Inbox {
    /// Subjects, oldest first.
    got: VecDeque<(Timestamp, String)>,
    /// Messages held back since the last one.
    n_held: u32,
}

/// A question that is repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    case: Option<CaseId>,
    recipients: Vec<String>,
    priority: Priority,
    subject: String,
    body: String,
    n_reminders: u32,
    due: Timestamp,
}

/// What it hears.
pub enum Message {
    /// A case.
    Opened(Opened),
    /// Its new urgency.
    Updated(Updated),
    /// A question.
    Required(Required),
    /// A question that nobody answered in time.
    Expired(Expired),
    /// The answer to a question, if one was asked, or to the one about a case.
    Answered(Option<DecisionRequestId>, Option<CaseId>),
    /// The end of a case.
    Closed(CaseId),
    /// Somebody has seen a case.
    Acknowledged(CaseId),
    /// A case was put aside.
    Shelved(CaseId),
    /// A case is back from the shelf.
    Unshelved(CaseId, String),
    /// A message arrived.
    Sent(Sent),
    /// A message did not.
    Failed(Failed),
    /// One that did not may do so now.
    Resend(String),
    /// Quiet hours are over.
    QuietIsOver,
    /// An urgent case may still lie there.
    Escalate(CaseId),
    /// A booked repair.
    Scheduled(Box<Scheduled>),
    /// One that could not be booked.
    SchedulingFailed(SchedulingFailed),
    /// A sensor that has changed.
    Drift(Detected),
    /// A detector that could not be fitted.
    TrainingFailed(TrainingFailed),
    /// A question is to be repeated.
    Repeat(DecisionRequestId),
    /// A recipient may be told how many messages were held back.
    Held(String),
}

impl Agent for Notification {
    const NAME: &'static str = "notification";
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = Outlets;
    type State = State;
    type Message = Message;

    fn start(settings: Settings, outlets: Outlets) -> anyhow::Result<Self> {
        let Settings { dedupe_minutes, per_hour_max, repeat_minutes, .. } = settings;
        ensure!((0..=60).contains(&dedupe_minutes), "dedupe_minutes must be 0 to 60, got {dedupe_minutes}");
        ensure!(0 < per_hour_max, "per_hour_max must be at least 1");
        ensure!((1..=10_080).contains(&repeat_minutes), "repeat_minutes must be 1 to 10080, got {repeat_minutes}");
        let escalate_minutes = settings.escalate_minutes;
        ensure!(
            (0..=10_080).contains(&escalate_minutes),
            "escalate_minutes must be 0 to 10080, got {escalate_minutes}"
        );
        let resend_minutes = &settings.resend_minutes;
        ensure!(
            resend_minutes.len() <= 20 && resend_minutes.iter().all(|minutes| (1..=10_080).contains(minutes)),
            "resend_minutes must be at most 20 times of 1 to 10080, got {resend_minutes:?}"
        );
        settings.quiet.iter().try_for_each(Quiet::check)?;
        for Contact { role, email } in &settings.contacts {
            let is_address = email.parse::<lettre::Address>().is_ok();
            ensure!(!role.is_empty() && is_address, "contacts: {role:?} has the address {email:?}, which is none");
        }
        Ok(Self { settings, outlets })
    }

    fn accept(event: &Event) -> Option<Message> {
        Some(match event {
            Event::CaseOpened(opened) => Message::Opened(opened.clone()),
            Event::CaseUpdated(updated) => Message::Updated(updated.clone()),
            Event::CaseClosed(closed) => Message::Closed(closed.case),
            Event::CaseAcknowledged(acknowledged) => Message::Acknowledged(acknowledged.case),
            Event::CaseShelved(shelved) => Message::Shelved(shelved.case),
            Event::CaseUnshelved(unshelved) => Message::Unshelved(unshelved.case, unshelved.reason.clone()),
            Event::NotificationSent(sent) if sent.channel != Channel::Console => Message::Sent(sent.clone()),
            Event::NotificationFailed(failed) => Message::Failed(failed.clone()),
            Event::DecisionRequired(required) => Message::Required(required.clone()),
            Event::DecisionExpired(expired) => Message::Expired(expired.clone()),
            Event::MaintenanceApproved(approved) => Message::Answered(approved.request.clone(), approved.proposal.case),
            Event::MaintenanceDeclined(declined) => {
                Message::Answered(Some(declined.request.clone()), declined.proposal.case)
            }
            Event::MaintenanceScheduled(scheduled) => Message::Scheduled(Box::new(scheduled.clone())),
            // That work is booked already is no news.
            Event::SchedulingFailed(failed) if failed.covered_by.is_none() => Message::SchedulingFailed(failed.clone()),
            Event::DriftDetected(detected) => Message::Drift(detected.clone()),
            Event::TrainingFailed(failed) => Message::TrainingFailed(failed.clone()),
            Event::TimerDue { agent, key } if agent == Self::NAME => match key.split_once('/')? {
                ("repeat", request) => Message::Repeat(request.into()),
                ("held", recipient) => Message::Held(recipient.to_owned()),
                ("resend", message) => Message::Resend(message.to_owned()),
                ("quiet", _) => Message::QuietIsOver,
                ("escalate", case) => Message::Escalate(CaseId(case.parse().ok()?)),
                _ => return None,
            },
            _ => return None,
        })
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Opened(opened) => self.opened(state, &opened, ctx),
            Message::Updated(updated) => self.updated(state, &updated, ctx),
            Message::Closed(case) => {
                take_up(state, case, ctx);
                state.cases.remove(&case);
                answered(state, None, Some(case), ctx);
            }
            Message::Acknowledged(case) => {
                take_up(state, case, ctx);
                answered(state, None, Some(case), ctx);
            }
            Message::Shelved(case) => {
                take_up(state, case, ctx);
                if let Some(open) = state.cases.get_mut(&case) {
                    open.is_shelved = true;
                }
            }
            Message::Unshelved(case, reason) => self.unshelved(state, case, &reason, ctx),
            Message::Sent(Sent { notification, channel, .. }) => state.outbox.sent(notification, channel, ctx),
            Message::Failed(failed) => state.outbox.failed(&failed, &self.settings.resend_minutes, ctx),
            Message::Resend(key) => state.outbox.resend(&key, ctx),
            Message::QuietIsOver => self.quiet_is_over(state, ctx),
            Message::Escalate(case) => self.escalate(state, case, ctx),
            Message::Required(required) => self.required(state, required, ctx),
            Message::Expired(expired) => self.expired(state, &expired, ctx),
            Message::Answered(request, case) => {
                if let Some(case) = case {
                    take_up(state, case, ctx);
                }
                answered(state, request, case, ctx);
            }
            Message::Scheduled(scheduled) => self.scheduled(state, &scheduled, ctx),
            Message::SchedulingFailed(SchedulingFailed { proposal, reasons, .. }) => {
                let subject = format!("Not booked: {}", self.work(state, &proposal));
                let priority = proposal.priority.raised();
                self.tell(state, &self.settings.routes.not_booked, priority, &subject, &reasons.join("; "), ctx);
            }
            Message::Drift(detected) => {
                let subject = format!("Sensor has drifted: {}", detected.sensor);
                let body = format!(
                    "Its median moved by {:.1} robust standard deviations (PSI {:.2}, KS {:.2}). A detector fitted to its new values is on the way; check whether the sensor or the machine has changed.",
                    detected.effect_size, detected.psi, detected.ks_statistic
                );
                self.tell(state, &self.settings.routes.sensor, Priority::Low, &subject, &body, ctx);
            }
            Message::TrainingFailed(TrainingFailed { sensor, reason }) => {
                let subject = format!("Detector not fitted: {sensor}");
                self.tell(state, &self.settings.routes.sensor, Priority::Low, &subject, &reason, ctx);
            }
            Message::Repeat(request) => self.repeat(state, &request, ctx),
            Message::Held(recipient) => self.held(state, &recipient, ctx),
        }
        Ok(())
    }
}

impl Notification {
    fn opened(&self, state: &mut State, opened: &Opened, ctx: &mut Ctx) {
        let name = format!("{} on {}", opened.failure_mode.0, opened.asset);
        let again = if opened.recurrence_of.is_some() { " again" } else { "" };
        let subject = format!("Case opened{again}: {name}");
        let priority = opened.priority;
        let open = Open { name, priority, is_shelved: false, is_taken_up: false };
        state.cases.insert(opened.case, open);
        let body = format!("{} First seen at {}.", opened.reason, self.wall(opened.first_evidence_at));
        self.tell(state, self.by_priority(priority), priority, &subject, &body, ctx);
        self.watch(opened.case, priority, ctx);
    }

    fn updated(&self, state: &mut State, Updated { case, priority, reason }: &Updated, ctx: &mut Ctx) {
        let (case, priority) = (*case, *priority);
        let mut is_lying = false;
        if let Some(open) = state.cases.get_mut(&case) {
            is_lying = !open.is_taken_up && open.priority < Priority::High;
            open.priority = priority;
        }
        if is_lying {
            self.watch(case, priority, ctx);
        }
        if !is_shelved(state, Some(case)) {
            let subject = format!("Case now {}: {}", priority.as_str(), case_name(state, case));
            self.tell(state, self.by_priority(priority), priority, &subject, reason, ctx);
        }
    }

    fn unshelved(&self, state: &mut State, case: CaseId, reason: &str, ctx: &mut Ctx) {
        let Some(open) = state.cases.get_mut(&case).filter(|open| open.is_shelved) else { return };
        open.is_shelved = false;
        open.is_taken_up = false;
        let (priority, subject) = (open.priority, format!("Back from the shelf, still open: {}", open.name));
        self.tell(state, self.by_priority(priority), priority, &subject, reason, ctx);
        self.watch(case, priority, ctx);
    }

    /// Sets the time after which an urgent case must have been taken up.
    fn watch(&self, case: CaseId, priority: Priority, ctx: &mut Ctx) {
        if Priority::High <= priority && 0 < self.settings.escalate_minutes {
            let minutes = SignedDuration::from_mins(self.settings.escalate_minutes);
            ctx.wake_at(escalate_key(case), ctx.now() + minutes);
        }
    }

    fn escalate(&self, state: &mut State, case: CaseId, ctx: &mut Ctx) {
        // The timer may have fired just before somebody took the case up.
        let Some(open) = state.cases.get(&case).filter(|open| !open.is_taken_up) else { return };
        let subject = format!("Nobody has taken up: {}", open.name);
        let minutes = self.settings.escalate_minutes;
        let body = format!("It was told {minutes} minutes ago, and nobody has acknowledged, answered or shelved it.");
        self.tell(state, &self.settings.routes.escalation, Priority::Critical, &subject, &body, ctx);
    }

    fn by_priority(&self, priority: Priority) -> &[String] {
        let Routes { case, case_urgent, .. } = &self.settings.routes;
        if Priority::High <= priority { case_urgent } else { case }
    }

    fn required(&self, state: &mut State, required: Required, ctx: &mut Ctx) {
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
        let actions = proposal.recommended_actions.join(" ");
        let body = format!(
            "{reason}. {actions} Answer {} by {}, or {expiry}. Request {request}.",
            options.join(", "),
            self.wall(deadline)
        );
        if !is_shelved(state, proposal.case) {
            self.tell(state, recipients, proposal.priority, &subject, &body, ctx);
        }
        let due = ctx.now() + SignedDuration::from_mins(self.settings.repeat_minutes);
        ctx.wake_at(repeat_key(&request), due);
        let (recipients, case) = (recipients.clone(), proposal.case);
        let question = Question { case, recipients, priority: proposal.priority, subject, body, n_reminders: 0, due };
        state.questions.insert(request, question);
    }

    fn expired(&self, state: &mut State, Expired { request, outcome }: &Expired, ctx: &mut Ctx) {
        let Some(question) = state.questions.get(request).filter(|question| !is_shelved(state, question.case)) else {
            return;
        };
        let subject = format!("Nobody answered in time: {}", question.subject);
        let follows = match outcome {
            OnExpiry::Escalate => "It is asked again, more urgently.",
            OnExpiry::Approve => "It is approved, as the question said.",
            OnExpiry::Decline => "It is declined, as the question said.",
        };
        self.tell(state, &self.settings.routes.decision, Priority::High, &subject, follows, ctx);
    }

    fn scheduled(&self, state: &mut State, scheduled: &Scheduled, ctx: &mut Ctx) {
        let Scheduled { proposal, technician, start_at, end_at, reason, violated, .. } = scheduled;
        let subject = format!("Work order at {}: {}", self.wall(*start_at), self.work(state, proposal));
        let actions = proposal.recommended_actions.join(" ");
        let late =
            if violated.iter().any(|constraint| constraint == "due_at") { " It comes after it was due." } else { "" };
        let body = format!("From {} to {}.{late} {actions} {reason}.", self.wall(*start_at), self.wall(*end_at));
        let mut recipients = vec![format!("technician_{technician}")];
        recipients.extend_from_slice(&self.settings.routes.booked);
        self.tell(state, &recipients, proposal.priority, &subject, &body, ctx);
    }

    fn repeat(&self, state: &mut State, request: &DecisionRequestId, ctx: &mut Ctx) {
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
        self.tell(state, &recipients, priority, &format!("Reminder {n_reminders}: {subject}"), &body, ctx);
    }

    /// Tells a recipient how many messages were held back, when nothing else took that along.
    fn held(&self, state: &mut State, recipient: &str, ctx: &mut Ctx) {
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
    fn tell(
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
        let quiet_until = (priority < self.settings.quiet_priority_min)
            .then(|| quiet::until(&self.settings.quiet, ctx.now(), &self.outlets.time_zone))
            .flatten();
        for address in addresses {
            match quiet_until {
                None => {
                    let requested = message(Channel::Email, address.to_owned(), ctx);
                    state.outbox.send(requested, ctx);
                }
                Some(end) => {
                    let held = state.quiet.entry(address.to_owned()).or_default();
                    if held.lines.len() < HELD_LINES_MAX {
                        let at = self.wall(ctx.now());
                        held.lines.push(format!("{at}  {}  {subject}", priority.as_str()));
                    } else {
                        held.n_more += 1;
                    }
                    ctx.wake_at(QUIET_KEY, end);
                }
            }
        }
    }

    /// Sends what quiet hours held back, one mail an address.
    fn quiet_is_over(&self, state: &mut State, ctx: &mut Ctx) {
        for (address, Held { lines, n_more }) in std::mem::take(&mut state.quiet) {
            let n_held = lines.len() as u64 + u64::from(n_more);
            let mut body = lines.join("\r\n");
            if 0 < n_more {
                body += &format!("\r\nand {n_more} more, which the list of notifications has.");
            }
            let requested = Requested {
                notification: NotificationId(ctx.id()),
                channel: Channel::Email,
                recipient: address,
                priority: Priority::Low,
                subject: format!("During quiet hours: {n_held} messages"),
                body,
            };
            state.outbox.send(requested, ctx);
        }
    }

    /// What is to be done and to what, in words.
    fn work(&self, state: &State, proposal: &Proposal) -> String {
        let what = proposal.maintenance_type.replace('_', " ");
        match proposal.case {
            Some(case) if state.cases.contains_key(&case) => format!("{what} for {}", case_name(state, case)),
            _ => format!("{what} on {}", proposal.asset),
        }
    }

    fn wall(&self, at: Timestamp) -> String {
        at.to_zoned(self.outlets.time_zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }
}

impl Inbox {
    fn forget_before(&mut self, limit: Timestamp) {
        while self.got.front().is_some_and(|(at, _)| *at <= limit) {
            self.got.pop_front();
        }
    }
}

/// Ends the questions that `request` or `case` names.
fn answered(state: &mut State, request: Option<DecisionRequestId>, case: Option<CaseId>, ctx: &mut Ctx) {
    state.questions.retain(|open, question| {
        let is_answered = Some(open) == request.as_ref() || (case.is_some() && question.case == case);
        if is_answered {
            ctx.cancel_wake(repeat_key(open));
        }
        !is_answered
    });
}

/// Somebody has seen `case`.
fn take_up(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    if let Some(open) = state.cases.get_mut(&case) {
        open.is_taken_up = true;
        ctx.cancel_wake(escalate_key(case));
    }
}

fn is_shelved(state: &State, case: Option<CaseId>) -> bool {
    case.and_then(|case| state.cases.get(&case)).is_some_and(|open| open.is_shelved)
}

fn case_name(state: &State, case: CaseId) -> String {
    state.cases.get(&case).map_or_else(|| format!("case {case}"), |open| open.name.clone())
}

/// The one timer of quiet hours.
const QUIET_KEY: &str = "quiet/end";

fn escalate_key(case: CaseId) -> String {
    format!("escalate/{case}")
}

fn repeat_key(request: &DecisionRequestId) -> String {
    format!("repeat/{request}")
}

fn held_key(recipient: &str) -> String {
    format!("held/{recipient}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::{Closed, FailureMode, Resolution};
    use domain::decision::{Approved, By};
    use domain::{EventId, WorkOrderId};
    use runtime::bench::Bench;
    use uuid::Uuid;

    fn settings() -> Settings {
        let defaults: Settings = config::Config::defaults().section("agents.notification").unwrap();
        let contact = |role: &str, email: &str| Contact { role: role.to_owned(), email: email.to_owned() };
        Settings {
            webhook_priority_min: Priority::Medium,
            contacts: vec![
                contact("operator", "ana@example.org"),
                contact("maintenance_supervisor", "ana@example.org"),
                contact("maintenance_supervisor", "rui@example.org"),
            ],
            ..defaults
        }
    }

    fn bench_with(settings: Settings, webhook: bool) -> Bench<Notification> {
        Bench::start(settings, outlets(webhook, false))
    }

    fn outlets(webhook: bool, email: bool) -> Outlets {
        Outlets { webhook, email, time_zone: TimeZone::get("America/Sao_Paulo").unwrap() }
    }

    fn mailing(settings: Settings) -> Bench<Notification> {
        Bench::start(settings, outlets(false, true))
    }

    /// Address and subject of the mails among what is said.
    fn mails(said: &[Event]) -> Vec<(String, String)> {
        let requested = said.iter().filter_map(|event| match event {
            Event::NotificationRequested(requested) if requested.channel == Channel::Email => Some(requested),
            _ => None,
        });
        requested.map(|requested| (requested.recipient.clone(), requested.subject.clone())).collect()
    }

    fn bench() -> Bench<Notification> {
        bench_with(settings(), false)
    }

    fn case(n: u128) -> CaseId {
        CaseId(Uuid::from_u128(n))
    }

    fn opened(n: u128, priority: Priority) -> Event {
        let at = "2026-01-01T11:00:00Z".parse().unwrap();
        Event::CaseOpened(Opened {
            case: case(n),
            asset: format!("pump-{n}").as_str().into(),
            failure_mode: FailureMode("abnormal_pump".to_owned()),
            sensor: "s".into(),
            priority,
            first_evidence_at: at,
            last_evidence_at: at,
            reason: "Three in a row.".to_owned(),
            evidence: Vec::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        })
    }

    fn proposal() -> Proposal {
        Proposal {
            case: Some(case(1)),
            asset: "pump-1".into(),
            sensor: "s".into(),
            maintenance_type: "urgent_corrective".to_owned(),
            priority: Priority::High,
            due_at: None,
            confidence: 0.5,
            recommended_actions: vec!["Check the seal.".to_owned()],
        }
    }

    fn required(escalations: u32) -> Event {
        Event::DecisionRequired(Required {
            request: "r1".into(),
            proposal: proposal(),
            options: vec!["approve".to_owned(), "reject".to_owned()],
            reason: "Confidence is low".to_owned(),
            deadline: "2026-01-02T11:00:00Z".parse().unwrap(),
            on_expiry: OnExpiry::Escalate,
            escalations,
        })
    }

    fn after(bench: &Bench<Notification>, minutes: i64) -> Timestamp {
        bench.now() + SignedDuration::from_mins(minutes)
    }

    /// Recipient, subject and channel of what is sent; each console message must be delivered on the spot.
    fn sent(said: &[Event]) -> Vec<(String, String, Channel)> {
        let mut sent = Vec::new();
        let mut rest = said;
        while let [Event::NotificationRequested(requested), more @ ..] = rest {
            rest = match (requested.channel, more) {
                (Channel::Console, [Event::NotificationSent(done), more @ ..]) => {
                    assert_eq!(done.notification, requested.notification);
                    more
                }
                (Channel::Console, _) => panic!("the console's message is delivered at once: {said:?}"),
                (Channel::Webhook | Channel::Email, more) => more,
            };
            sent.push((requested.recipient.clone(), requested.subject.clone(), requested.channel));
        }
        assert_eq!(rest, [], "only notifications are said");
        sent
    }

    fn recipients(said: &[Event]) -> Vec<String> {
        sent(said).into_iter().map(|(recipient, ..)| recipient).collect()
    }

    fn body(said: &[Event]) -> &str {
        let [Event::NotificationRequested(requested), ..] = said else { panic!("something is sent, not {said:?}") };
        &requested.body
    }

    #[tokio::test]
    async fn urgent_cases_reach_the_supervisor_too() {
        let said = bench().feed(opened(1, Priority::Medium)).await;
        assert_eq!(sent(&said), [("operator".into(), "Case opened: abnormal_pump on pump-1".into(), Channel::Console)]);
        assert_eq!(body(&said), "Three in a row. First seen at Thu 2026-01-01 08:00 -03.");
        let said = bench().feed(opened(1, Priority::High)).await;
        assert_eq!(recipients(&said), ["operator", "maintenance_supervisor"]);
    }

    #[tokio::test]
    async fn a_webhook_gets_what_is_urgent_enough_as_an_intent() {
        let mut bench = bench_with(settings(), true);
        assert_eq!(sent(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
        let said = sent(&bench.feed(opened(2, Priority::Medium)).await);
        assert_eq!(said.iter().map(|(.., channel)| *channel).collect::<Vec<_>>(), [Channel::Console, Channel::Webhook]);
    }

    #[tokio::test]
    async fn the_same_subject_is_told_once_in_a_while() {
        let mut bench = bench();
        assert_eq!(recipients(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
        assert_eq!(recipients(&bench.feed(opened(2, Priority::Low)).await).len(), 1, "another subject");
        bench.advance(after(&bench, 4)).await;
        assert_eq!(bench.feed(opened(1, Priority::Low)).await, []);
        bench.advance(after(&bench, 1)).await;
        assert_eq!(recipients(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
    }

    #[tokio::test]
    async fn a_flood_is_held_back_counted_and_told() {
        let mut bench = bench_with(Settings { per_hour_max: 2, escalate_minutes: 0, ..settings() }, false);
        for n in 1..=2 {
            assert_eq!(recipients(&bench.feed(opened(n, Priority::Low)).await).len(), 1);
        }
        for n in 3..=5 {
            assert_eq!(bench.feed(opened(n, Priority::Low)).await, []);
        }
        let critical = bench.feed(opened(6, Priority::Critical)).await;
        assert_eq!(recipients(&critical)[0], "operator", "what is critical comes through");
        assert!(body(&critical).ends_with("(3 messages before this one were held back.)"), "{}", body(&critical));
        assert_eq!(bench.feed(opened(7, Priority::Low)).await, []);
        let later = bench.advance(after(&bench, 61)).await;
        assert_eq!(sent(&later), [("operator".into(), "Messages were held back".into(), Channel::Console)]);
        assert!(body(&later).ends_with("(1 messages before this one were held back.)"), "{}", body(&later));
        assert_eq!(bench.advance(after(&bench, 600)).await, []);
    }

    #[tokio::test]
    async fn a_question_is_repeated_until_it_is_answered() {
        let mut bench = bench();
        bench.feed(opened(1, Priority::Low)).await;
        let said = bench.feed(required(0)).await;
        let subject = "Decision needed: urgent corrective for abnormal_pump on pump-1";
        assert_eq!(sent(&said), [("maintenance_supervisor".into(), subject.into(), Channel::Console)]);
        assert_eq!(
            body(&said),
            "Confidence is low. Check the seal. Answer approve, reject by Fri 2026-01-02 08:00 -03, or it is asked again, more urgently. Request r1."
        );
        let fired_before = Event::TimerDue { agent: Notification::NAME.to_owned(), key: "repeat/r1".to_owned() };
        assert_eq!(bench.feed(fired_before).await, [], "a timer of an earlier question does not count");
        let reminders = sent(&bench.advance(after(&bench, 130)).await);
        let subjects: Vec<_> = reminders.iter().map(|(_, subject, _)| subject.as_str()).collect();
        assert_eq!(subjects, [format!("Reminder 1: {subject}"), format!("Reminder 2: {subject}")]);
        let by = By::Person("ana".to_owned());
        let approved = Approved { request: Some("r1".into()), proposal: proposal(), by, reason: String::new() };
        assert_eq!(bench.feed(Event::MaintenanceApproved(approved)).await, []);
        assert_eq!(bench.advance(after(&bench, 600)).await, []);
    }

    #[tokio::test]
    async fn a_closed_case_ends_its_question() {
        let mut bench = bench();
        bench.feed(required(0)).await;
        let resolution = Resolution::ReturnedToNormal;
        bench.feed(Event::CaseClosed(Closed { case: case(1), resolution, reason: String::new() })).await;
        assert_eq!(bench.advance(after(&bench, 600)).await, []);
    }

    #[tokio::test]
    async fn an_escalated_question_reaches_more_people_and_expiry_is_told() {
        let mut bench = bench();
        bench.feed(required(0)).await;
        let expired = Expired { request: "r1".into(), outcome: OnExpiry::Escalate };
        let said = sent(&bench.feed(Event::DecisionExpired(expired)).await);
        assert!(said[0].1.starts_with("Nobody answered in time: "), "{said:?}");
        let said = bench.feed(required(1)).await;
        assert_eq!(recipients(&said), ["maintenance_supervisor", "operator"]);
    }

    #[tokio::test]
    async fn whoever_does_the_work_is_told() {
        let said = bench()
            .feed(Event::MaintenanceScheduled(Scheduled {
                work_order: WorkOrderId(Uuid::from_u128(1)),
                approval: EventId(Uuid::from_u128(2)),
                proposal: proposal(),
                technician: "tech_001".into(),
                start_at: "2026-01-05T11:00:00Z".parse().unwrap(),
                end_at: "2026-01-05T15:00:00Z".parse().unwrap(),
                skills: Vec::new(),
                score: 1.0,
                reason: "Ana is free".to_owned(),
                satisfied: Vec::new(),
                violated: vec!["due_at".to_owned()],
                alternatives: Vec::new(),
            }))
            .await;
        assert_eq!(recipients(&said), ["technician_tech_001", "maintenance_supervisor"]);
        assert!(body(&said).contains("Mon 2026-01-05 08:00 -03") && body(&said).contains("after it was due"));
    }

    #[tokio::test]
    async fn only_work_that_nobody_does_is_news() {
        let failed = |covered_by| {
            let (approval, reasons) = (EventId(Uuid::from_u128(2)), vec!["nobody is free".to_owned()]);
            Event::SchedulingFailed(SchedulingFailed { approval, proposal: proposal(), reasons, covered_by })
        };
        assert_eq!(bench().feed(failed(Some(WorkOrderId(Uuid::from_u128(1))))).await, []);
        let said = bench().feed(failed(None)).await;
        assert_eq!(recipients(&said), ["planner", "maintenance_supervisor"]);
    }

    #[tokio::test]
    async fn an_address_gets_one_mail_for_a_notice_however_many_roles_it_has() {
        let mut bench = mailing(settings());
        let subject = "Case opened: abnormal_pump on pump-1".to_owned();
        let expected = [("ana@example.org".to_owned(), subject.clone()), ("rui@example.org".to_owned(), subject)];
        assert_eq!(mails(&bench.feed(opened(1, Priority::High)).await), expected);
        assert_eq!(mails(&bench.feed(opened(2, Priority::Low)).await), [], "too little for a mail");
    }

    #[tokio::test]
    async fn the_webhook_gets_one_message_for_a_notice() {
        let mut bench = bench_with(settings(), true);
        let said = sent(&bench.feed(opened(1, Priority::High)).await);
        let posted: Vec<_> = said.iter().filter(|(.., channel)| *channel == Channel::Webhook).collect();
        assert_eq!(posted.len(), 1);
        assert_eq!(posted[0].0, "operator, maintenance_supervisor");
    }

    #[tokio::test]
    async fn quiet_hours_let_the_urgent_through_and_catch_up_on_the_rest() {
        // The bench begins on a Thursday at 21:00 by the clock on the wall.
        let night = Quiet { weekdays: vec![4], from: "20:00".parse().unwrap(), to: "06:00".parse().unwrap() };
        let mut bench = mailing(Settings { quiet: vec![night], escalate_minutes: 0, ..settings() });
        bench.advance("2026-01-02T00:00:00Z".parse().unwrap()).await;
        let said = bench.feed(opened(1, Priority::Medium)).await;
        assert_eq!((mails(&said), recipients(&said)), (vec![], vec!["operator".to_owned()]), "the console has it");
        assert_eq!(mails(&bench.feed(opened(2, Priority::High)).await).len(), 2);
        assert_eq!(bench.advance("2026-01-02T08:59:59Z".parse().unwrap()).await, []);
        let said = bench.advance("2026-01-02T09:00:00Z".parse().unwrap()).await;
        assert_eq!(mails(&said), [("ana@example.org".to_owned(), "During quiet hours: 1 messages".to_owned())]);
        assert_eq!(body(&said), "Thu 2026-01-01 21:00 -03  medium  Case opened: abnormal_pump on pump-1");
        assert_eq!(mails(&bench.feed(opened(3, Priority::Medium)).await).len(), 1);
    }

    #[tokio::test]
    async fn an_urgent_case_that_nobody_takes_up_is_escalated_once() {
        let escalated = |said: &[Event]| sent(said).iter().any(|(_, subject, _)| subject.starts_with("Nobody has"));
        let mut bench = bench();
        bench.feed(opened(1, Priority::High)).await;
        assert!(escalated(&bench.advance(after(&bench, 120)).await));
        assert_eq!(bench.advance(after(&bench, 600)).await, []);
        let by = "ana".to_owned();
        bench.feed(opened(2, Priority::High)).await;
        let seen = domain::case::Acknowledged { case: case(2), by, reason: None };
        bench.feed(Event::CaseAcknowledged(seen)).await;
        assert_eq!(bench.advance(after(&bench, 600)).await, []);
    }

    #[tokio::test]
    async fn a_shelved_case_is_silent_until_it_is_back() {
        let mut bench = bench();
        bench.feed(opened(1, Priority::Medium)).await;
        bench.feed(required(0)).await;
        let (by, reason) = ("ana".to_owned(), "spare part on its way".to_owned());
        let shelved = domain::case::Shelved { case: case(1), by, reason, until: after(&bench, 600) };
        bench.feed(Event::CaseShelved(shelved)).await;
        let updated = Updated { case: case(1), priority: Priority::High, reason: "more of it".to_owned() };
        assert_eq!(bench.feed(Event::CaseUpdated(updated)).await, []);
        assert_eq!(bench.advance(after(&bench, 600)).await, [], "no reminder either");
        let by = By::Person("ana".to_owned());
        let back = domain::case::Unshelved { case: case(1), by, reason: "The time is over.".to_owned() };
        let said = sent(&bench.feed(Event::CaseUnshelved(back)).await);
        assert_eq!(said[0].1, "Back from the shelf, still open: abnormal_pump on pump-1");
        assert_eq!(said.len(), 2, "it is urgent by now");
        let said = sent(&bench.advance(after(&bench, 60)).await);
        assert!(said.iter().any(|(_, subject, _)| subject.starts_with("Reminder 1: ")), "{said:?}");
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let contacts = vec![Contact { role: "operator".to_owned(), email: "ana".to_owned() }];
        let refused = Notification::start(Settings { contacts, ..settings() }, outlets(false, true));
        assert!(refused.err().unwrap().to_string().contains("contacts"));
    }
}
