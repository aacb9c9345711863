//! Tells people and other systems, no more often than is good for them.
//!
//! Takes in: `CaseOpened`, `CaseUpdated`, `DecisionRequired`, `DecisionExpired`, `MaintenanceScheduled`,
//! `SchedulingFailed`, `DriftDetected`, `TrainingFailed`, `ReportGenerated` at the end of a shift, `SiteDeclared`; what answers a question (`MaintenanceApproved`,
//! `MaintenanceDeclined`, `CaseClosed`); what people put aside and take back (`CaseAcknowledged`, `CaseShelved`,
//! `CaseUnshelved`, `AssetMaintenanceBegan`, `AssetMaintenanceEnded`); what became of its messages (`NotificationSent`, `NotificationFailed`); its timers.
//! Emits: `NotificationRequested`, with `NotificationSent` beside it where the console is the channel: a
//! message there is delivered by being stored. E-mails and the webhook's messages are carried out by workers.
//! Remembers: what each recipient got within the last hour, the open cases, the assets out of service, the questions
//! that are repeated until they are answered, what quiet hours hold back, and the messages that are on their way out.
//!
//! A role hears of what its routes say. What goes out for one notice is one e-mail for each address, however many
//! of its roles hear of it, and one message to the webhook.

mod aside;
mod escalation;
mod held;
mod outbox;
mod questions;
mod quiet;
mod routing;
#[cfg(test)]
mod tests;

use anyhow::ensure;
use aside::{sentence, sentences};
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::case::{Opened, Priority, Unshelved, Updated};
use domain::decision::{Expired, Proposal, Required};
use domain::drift::Detected;
use domain::model::TrainingFailed;
use domain::notification::{Channel, Failed, Sent};
use domain::work_order::{Scheduled, SchedulingFailed};
use domain::{AssetId, CaseId, DecisionRequestId, Event, ReportId, SensorId, Timestamp};
use escalation::take_up;
use held::Held;
use jiff::tz::TimeZone;
use outbox::Outbox;
use persistence::History;
use questions::{Question, answered};
use quiet::Quiet;
pub use routing::{Contact, Routes};
use routing::{Inbox, Notice};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[agents.notification]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A recipient gets the same subject about the same thing once within this time.
    pub dedupe_minutes: i64,
    /// Messages that a recipient gets within an hour; critical ones come through always, the others later in one.
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

/// Where messages can go, and how they tell the time.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Whether there is a webhook.
    pub webhook: bool,
    /// Whether there is a mail server.
    pub email: bool,
    /// The site's, until somebody declares where it is.
    pub time_zone: TimeZone,
}

/// The agent.
pub struct Notification {
    settings: Settings,
    outlets: Outlets,
    history: History,
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
    /// Assets out of service, and since when.
    out_of_service: BTreeMap<AssetId, Timestamp>,
    #[serde(with = "jiff::fmt::serde::tz::optional")]
    time_zone: Option<TimeZone>,
}

/// An open case.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    name: String,
    priority: Priority,
    /// Since when nobody wants to hear of it.
    shelved_at: Option<Timestamp>,
    /// Somebody has seen it.
    is_taken_up: bool,
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
    Unshelved(Unshelved),
    /// An asset was taken out of service.
    Began(MaintenanceBegan),
    /// It is back.
    Ended(MaintenanceEnded),
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
    /// A shift ended: the report, and what of it is told.
    Handover(ReportId, String),
    /// Where the clock on the wall is.
    Site(TimeZone),
    /// A question is to be repeated.
    Repeat(DecisionRequestId),
    /// A recipient may be told what was held back.
    Held(String),
}

impl Agent for Notification {
    const NAME: &'static str = "notification";
    const STATE_VERSION: u16 = 4;
    type Settings = Settings;
    type Deps = (Outlets, History);
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (outlets, history): (Outlets, History)) -> anyhow::Result<Self> {
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
        Ok(Self { settings, outlets, history })
    }

    fn accept(event: &Event) -> Option<Message> {
        Some(match event {
            Event::CaseOpened(opened) => Message::Opened(opened.clone()),
            Event::CaseUpdated(updated) => Message::Updated(updated.clone()),
            Event::CaseClosed(closed) => Message::Closed(closed.case),
            Event::CaseAcknowledged(acknowledged) => Message::Acknowledged(acknowledged.case),
            Event::CaseShelved(shelved) => Message::Shelved(shelved.case),
            Event::CaseUnshelved(unshelved) => Message::Unshelved(unshelved.clone()),
            Event::AssetMaintenanceBegan(began) => Message::Began(began.clone()),
            Event::AssetMaintenanceEnded(ended) => Message::Ended(ended.clone()),
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
            Event::ReportGenerated(made) => Message::Handover(made.report.clone(), made.notice.clone()?),
            Event::SiteDeclared { site, .. } => Message::Site(TimeZone::get(&site.time_zone).ok()?),
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
                    open.shelved_at = Some(ctx.now());
                }
            }
            Message::Unshelved(unshelved) => self.unshelved(state, unshelved, ctx).await?,
            // One that goes on was only given another reason, or another end.
            Message::Began(began) => {
                state.out_of_service.entry(began.asset).or_insert(ctx.now());
            }
            Message::Ended(ended) => self.in_service(state, ended, ctx).await?,
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
            Message::SchedulingFailed(SchedulingFailed { approval, proposal, reasons, .. }) => {
                let notice = Notice {
                    about: approval.to_string(),
                    priority: proposal.priority.raised(),
                    subject: format!("Not booked: {}", self.work(state, &proposal)),
                    body: reasons.join("; "),
                };
                self.tell(state, &self.settings.routes.not_booked, &notice, ctx);
            }
            Message::Drift(detected) => {
                let sensor = &detected.sensor;
                let spread = detected.spread_ratio;
                let spread =
                    spread.map_or(String::new(), |ratio| format!(", its spread is {ratio:.1} times what it was"));
                let body = format!(
                    "Its median moved by {:.1} robust standard deviations{spread} (PSI {:.2}, KS {:.2}). A detector fitted to its new values is on the way; check whether the sensor or the machine has changed.",
                    detected.effect_size, detected.psi, detected.ks_statistic
                );
                self.of_sensor(state, sensor, format!("Sensor has drifted: {sensor}"), body, ctx);
            }
            Message::TrainingFailed(TrainingFailed { sensor, reason }) => {
                self.of_sensor(state, &sensor, format!("Detector not fitted: {sensor}"), reason, ctx);
            }
            Message::Handover(report, body) => {
                let subject = format!("Shift handover at {}", self.wall(state, ctx.now()));
                let body = format!("{body}\nThe whole report is {report}.");
                let notice = Notice { about: report.to_string(), priority: Priority::Medium, subject, body };
                self.tell(state, &self.settings.routes.handover, &notice, ctx);
            }
            Message::Site(time_zone) => state.time_zone = Some(time_zone),
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
        let open = Open { name, priority, shelved_at: None, is_taken_up: false };
        state.cases.insert(opened.case, open);
        let seen_at = self.wall(state, opened.first_evidence_at);
        let body = format!("{}First seen at {seen_at}.", sentence(&opened.reason));
        let notice = Notice { about: opened.case.to_string(), priority, subject, body };
        self.tell(state, self.by_priority(priority), &notice, ctx);
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
            let notice = Notice { about: case.to_string(), priority, subject, body: reason.clone() };
            self.tell(state, self.by_priority(priority), &notice, ctx);
        }
    }

    fn scheduled(&self, state: &mut State, scheduled: &Scheduled, ctx: &mut Ctx) {
        let Scheduled { work_order, proposal, technician, start_at, end_at, reason, violated, .. } = scheduled;
        let subject = format!("Work order at {}: {}", self.wall(state, *start_at), self.work(state, proposal));
        let actions = sentences(&proposal.recommended_actions);
        let late =
            if violated.iter().any(|constraint| constraint == "due_at") { " It comes after it was due." } else { "" };
        let (from, to) = (self.wall(state, *start_at), self.wall(state, *end_at));
        let body = format!("From {from} to {to}.{late} {actions}{}", sentence(reason));
        let mut recipients = vec![format!("technician_{technician}")];
        recipients.extend_from_slice(&self.settings.routes.booked);
        let notice = Notice { about: work_order.to_string(), priority: proposal.priority, subject, body };
        self.tell(state, &recipients, &notice, ctx);
    }

    fn of_sensor(&self, state: &mut State, sensor: &SensorId, subject: String, body: String, ctx: &mut Ctx) {
        let notice = Notice { about: sensor.to_string(), priority: Priority::Low, subject, body };
        self.tell(state, &self.settings.routes.sensor, &notice, ctx);
    }

    /// What is to be done and to what, in words.
    fn work(&self, state: &State, proposal: &Proposal) -> String {
        let what = proposal.maintenance_type.replace('_', " ");
        match proposal.case {
            Some(case) if state.cases.contains_key(&case) => format!("{what} for {}", case_name(state, case)),
            _ => format!("{what} on {}", proposal.asset),
        }
    }

    /// The site's.
    fn zone<'a>(&'a self, state: &'a State) -> &'a TimeZone {
        state.time_zone.as_ref().unwrap_or(&self.outlets.time_zone)
    }

    fn wall(&self, state: &State, at: Timestamp) -> String {
        at.to_zoned(self.zone(state).clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }
}

fn is_shelved(state: &State, case: Option<CaseId>) -> bool {
    case.and_then(|case| state.cases.get(&case)).is_some_and(|open| open.shelved_at.is_some())
}

fn case_name(state: &State, case: CaseId) -> String {
    state.cases.get(&case).map_or_else(|| format!("case {case}"), |open| open.name.clone())
}
