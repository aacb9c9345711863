//! Tells people and other systems, no more often than is good for them.
//!
//! Takes in: `CaseOpened`, `CaseUpdated`, `DecisionRequired`, `DecisionExpired`, `MaintenanceScheduled`,
//! `SchedulingFailed`, `DriftDetected`, `TrainingFailed`; what answers a question (`MaintenanceApproved`,
//! `MaintenanceDeclined`, `CaseClosed`); its timers.
//! Emits: `NotificationRequested`, with `NotificationSent` beside it where the console is the channel: a
//! message there is delivered by being stored. The webhook's messages are carried out by a worker.
//! Remembers: what each recipient got within the last hour, the open cases by name, and the questions that
//! are repeated until they are answered.

use anyhow::ensure;
use domain::case::{Opened, Priority, Updated};
use domain::decision::{Expired, OnExpiry, Proposal, Required};
use domain::drift::Detected;
use domain::model::TrainingFailed;
use domain::notification::{Channel, Requested, Sent};
use domain::work_order::{Scheduled, SchedulingFailed};
use domain::{CaseId, DecisionRequestId, Event, NotificationId, Timestamp};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const OPERATOR: &str = "operator";
const SUPERVISOR: &str = "maintenance_supervisor";
const PLANNER: &str = "planner";

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
}

/// Where messages can go, and how they tell the time.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// Whether there is a webhook.
    pub webhook: bool,
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
    /// Open cases by name.
    cases: BTreeMap<CaseId, String>,
    questions: BTreeMap<DecisionRequestId, Question>,
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
    type Settings = Settings;
    type Deps = Outlets;
    type State = State;
    type Message = Message;

    fn start(settings: Settings, outlets: Outlets) -> anyhow::Result<Self> {
        let Settings { dedupe_minutes, per_hour_max, repeat_minutes, .. } = settings;
        ensure!((0..=60).contains(&dedupe_minutes), "dedupe_minutes must be 0 to 60, got {dedupe_minutes}");
        ensure!(0 < per_hour_max, "per_hour_max must be at least 1");
        ensure!((1..=10_080).contains(&repeat_minutes), "repeat_minutes must be 1 to 10080, got {repeat_minutes}");
        Ok(Self { settings, outlets })
    }

    fn accept(event: &Event) -> Option<Message> {
        Some(match event {
            Event::CaseOpened(opened) => Message::Opened(opened.clone()),
            Event::CaseUpdated(updated) => Message::Updated(updated.clone()),
            Event::CaseClosed(closed) => Message::Closed(closed.case),
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
                _ => return None,
            },
            _ => return None,
        })
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Opened(opened) => self.opened(state, &opened, ctx),
            Message::Updated(Updated { case, priority, reason }) => {
                let subject = format!("Case now {}: {}", priority.as_str(), case_name(state, case));
                self.tell(state, &by_priority(priority), priority, &subject, &reason, ctx);
            }
            Message::Closed(case) => {
                state.cases.remove(&case);
                answered(state, None, Some(case), ctx);
            }
            Message::Required(required) => self.required(state, required, ctx),
            Message::Expired(expired) => self.expired(state, &expired, ctx),
            Message::Answered(request, case) => answered(state, request, case, ctx),
            Message::Scheduled(scheduled) => self.scheduled(state, &scheduled, ctx),
            Message::SchedulingFailed(SchedulingFailed { proposal, reasons, .. }) => {
                let subject = format!("Not booked: {}", self.work(state, &proposal));
                let priority = proposal.priority.raised();
                self.tell(state, &[PLANNER, SUPERVISOR], priority, &subject, &reasons.join("; "), ctx);
            }
            Message::Drift(detected) => {
                let subject = format!("Sensor has drifted: {}", detected.sensor);
                let body = format!(
                    "Its median moved by {:.1} robust standard deviations (PSI {:.2}, KS {:.2}). A detector fitted to its new values is on the way; check whether the sensor or the machine has changed.",
                    detected.effect_size, detected.psi, detected.ks_statistic
                );
                self.tell(state, &[OPERATOR], Priority::Low, &subject, &body, ctx);
            }
            Message::TrainingFailed(TrainingFailed { sensor, reason }) => {
                let subject = format!("Detector not fitted: {sensor}");
                self.tell(state, &[OPERATOR], Priority::Low, &subject, &reason, ctx);
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
        state.cases.insert(opened.case, name);
        let body = format!("{} First seen at {}.", opened.reason, self.wall(opened.first_evidence_at));
        self.tell(state, &by_priority(opened.priority), opened.priority, &subject, &body, ctx);
    }

    fn required(&self, state: &mut State, required: Required, ctx: &mut Ctx) {
        let Required { request, proposal, options, reason, deadline, on_expiry, escalations } = required;
        let work = self.work(state, &proposal);
        let (recipients, subject) = match escalations {
            0 => (vec![SUPERVISOR], format!("Decision needed: {work}")),
            n => (vec![SUPERVISOR, OPERATOR], format!("Decision needed, escalated {n} times: {work}")),
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
        self.tell(state, &recipients, proposal.priority, &subject, &body, ctx);
        let due = ctx.now() + SignedDuration::from_mins(self.settings.repeat_minutes);
        ctx.wake_at(repeat_key(&request), due);
        let recipients = recipients.into_iter().map(str::to_owned).collect();
        let case = proposal.case;
        let question = Question { case, recipients, priority: proposal.priority, subject, body, n_reminders: 0, due };
        state.questions.insert(request, question);
    }

    fn expired(&self, state: &mut State, Expired { request, outcome }: &Expired, ctx: &mut Ctx) {
        let Some(question) = state.questions.get(request) else { return };
        let subject = format!("Nobody answered in time: {}", question.subject);
        let follows = match outcome {
            OnExpiry::Escalate => "It is asked again, more urgently.",
            OnExpiry::Approve => "It is approved, as the question said.",
            OnExpiry::Decline => "It is declined, as the question said.",
        };
        self.tell(state, &[SUPERVISOR], Priority::High, &subject, follows, ctx);
    }

    fn scheduled(&self, state: &mut State, scheduled: &Scheduled, ctx: &mut Ctx) {
        let Scheduled { proposal, technician, start_at, end_at, reason, violated, .. } = scheduled;
        let subject = format!("Work order at {}: {}", self.wall(*start_at), self.work(state, proposal));
        let actions = proposal.recommended_actions.join(" ");
        let late =
            if violated.iter().any(|constraint| constraint == "due_at") { " It comes after it was due." } else { "" };
        let body = format!("From {} to {}.{late} {actions} {reason}.", self.wall(*start_at), self.wall(*end_at));
        let recipients = [format!("technician_{technician}"), SUPERVISOR.to_owned()];
        self.tell(state, &recipients, proposal.priority, &subject, &body, ctx);
    }

    fn repeat(&self, state: &mut State, request: &DecisionRequestId, ctx: &mut Ctx) {
        // The timer may have fired just before the question was answered or asked anew.
        let Some(question) = state.questions.get_mut(request).filter(|question| question.due <= ctx.now()) else {
            return;
        };
        question.n_reminders += 1;
        question.due = ctx.now() + SignedDuration::from_mins(self.settings.repeat_minutes);
        ctx.wake_at(repeat_key(request), question.due);
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
                &[recipient],
                Priority::Low,
                "Messages were held back",
                "The list of notifications has them all.",
                ctx,
            ),
        }
    }

    /// Sends a message to each of `recipients`, unless they got it just now or have too many already.
    fn tell(
        &self,
        state: &mut State,
        recipients: &[impl AsRef<str>],
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
        for recipient in recipients.iter().map(AsRef::as_ref) {
            let inbox = state.inboxes.entry(recipient.to_owned()).or_default();
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
            self.send(recipient, priority, subject, body, ctx);
        }
    }

    fn send(&self, recipient: &str, priority: Priority, subject: &str, body: String, ctx: &mut Ctx) {
        let to_webhook = self.outlets.webhook && self.settings.webhook_priority_min <= priority;
        for channel in std::iter::once(Channel::Console).chain(to_webhook.then_some(Channel::Webhook)) {
            let notification = NotificationId(ctx.id());
            ctx.emit(Event::NotificationRequested(Requested {
                notification,
                channel,
                recipient: recipient.to_owned(),
                priority,
                subject: subject.to_owned(),
                body: body.clone(),
            }));
            if channel == Channel::Console {
                ctx.emit(Event::NotificationSent(Sent { notification, channel }));
            }
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

fn by_priority(priority: Priority) -> Vec<&'static str> {
    if Priority::High <= priority { vec![OPERATOR, SUPERVISOR] } else { vec![OPERATOR] }
}

fn case_name(state: &State, case: CaseId) -> String {
    state.cases.get(&case).cloned().unwrap_or_else(|| format!("case {case}"))
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
        Settings { dedupe_minutes: 5, per_hour_max: 20, repeat_minutes: 60, webhook_priority_min: Priority::Medium }
    }

    fn bench_with(settings: Settings, webhook: bool) -> Bench<Notification> {
        Bench::start(settings, Outlets { webhook, time_zone: TimeZone::get("America/Sao_Paulo").unwrap() })
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
                (Channel::Webhook, more) => more,
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
        let mut bench = bench_with(Settings { per_hour_max: 2, ..settings() }, false);
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
}
