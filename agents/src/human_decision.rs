//! Decides what may be approved by itself, and asks a person about the rest.
//!
//! Takes in: `MaintenancePredicted`, `DecisionReceived`, `MaintenanceRequested`, `CaseClosed`, `WorkOrderCancelled`
//! (its case is asked about again), `GoldenPathStarted` (a demonstration may want a person to be asked), its own
//! `DecisionRequired`, `MaintenanceApproved` and `MaintenanceDeclined`, its timers.
//! Emits: `DecisionRequired`, `DecisionExpired`, `MaintenanceApproved`, `MaintenanceDeclined`.
//! Remembers: the open questions, which cases are asked about or decided, and what it said and has not heard yet. At
//! most one question is open for a case, and none is dropped silently: it is answered, it expires as it said it would,
//! a surer prognosis falls under the policy before a person has taken it up, or its case closes.
//!
//! The log has the last word: what was asked or decided with other settings still stands.

use anyhow::ensure;
use domain::case::Priority;
use domain::decision::{Approved, By, Declined, Expired, Meaning, OnExpiry, Proposal, Received, Requested, Required};
use domain::prediction::{Outlook, Prediction};
use domain::work_order::Cancelled;
use domain::{CaseId, CorrelationId, DecisionRequestId, Event, EventId, Timestamp};
use jiff::SignedDuration;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Closed cases, and demonstrations, that are remembered for messages which arrive late.
const RECENT_MAX: usize = 1024;
/// What the key of a timer begins with that is about a case whose work was called off.
const AGAIN: &str = "again/";
/// Answers that a question offers.
const OPTIONS: [&str; 4] = ["approve", "reject", "defer", "escalate"];
/// Furthest that a prognosis moves a date, so that none leaves the calendar.
const AHEAD_HOURS_MAX: f64 = 10.0 * 365.0 * 24.0;

/// `[agents.human_decision]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A failure predicted within this many days is urgent.
    pub urgent_days: f64,
    /// The part of `urgent_days` within which it is very urgent.
    pub very_urgent_factor: f64,
    /// Confidence, 0 to 1, from which maintenance is approved whatever its urgency.
    pub high_confidence: f64,
    /// Confidence from which it is approved when the failure is near.
    pub moderate_confidence: f64,
    /// How near: fewer days than this.
    pub auto_approval_days_moderate: f64,
    /// Time a person has to answer.
    pub deadline_hours: f64,
    /// Shortest time a person has to answer, however near the failure is.
    pub deadline_minutes_min: f64,
    /// What happens when nobody answered by then.
    pub on_expiry: OnExpiry,
    /// Escalations after which a question is critical.
    pub escalations_until_critical: u32,
    /// Days to the failure up to which a repair is `urgent_corrective`.
    pub urgent_corrective_days: f64,
    /// Days up to which it is `preventive`; beyond, it is an `inspection`.
    pub preventive_days: f64,
}

/// The agent.
pub struct HumanDecision {
    settings: Settings,
}

/// What it remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    questions: BTreeMap<DecisionRequestId, Question>,
    /// Cases that were asked about or decided and are not closed yet.
    cases: BTreeMap<CaseId, Standing>,
    /// Cases closed lately: a prognosis that was under way meanwhile is too late.
    closed: VecDeque<CaseId>,
    /// Demonstrations in which a person is to be asked.
    asked_for: VecDeque<CorrelationId>,
    /// What was said of which case and not heard yet, in order.
    said: VecDeque<(EventId, CaseId)>,
}

/// How far the decision on a case has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Standing {
    /// A question is open.
    Asked(DecisionRequestId),
    /// It is approved, or declined.
    Decided(Proposal),
    /// It was approved, and the work was called off; why, in words.
    CalledOff(Proposal, String),
}

/// A question that waits for its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    proposal: Proposal,
    reason: String,
    deadline: Timestamp,
    on_expiry: OnExpiry,
    escalations: u32,
    /// A person has answered, though not finally: it is theirs to settle.
    in_hand: bool,
    /// The policy has settled it, as far as this agent knows: the log may say otherwise, and then it is open.
    is_settled: bool,
    /// Longest time to answer, each time it is asked.
    within: SignedDuration,
}

/// What it hears.
pub enum Message {
    /// A prognosis.
    Predicted(Prediction),
    /// An answer.
    Received(Received),
    /// Maintenance that somebody asked for outright.
    Requested(Requested),
    /// The end of a case.
    CaseClosed(CaseId),
    /// The work for a case was called off; why, in words.
    CalledOff(CaseId, String),
    /// A case is to be asked about again.
    Again(CaseId),
    /// What was asked, by this agent.
    Asked(Box<Required>),
    /// What was decided, by this agent.
    Decided(Proposal),
    /// A demonstration in which a person is to be asked.
    AskedFor,
    /// The deadline of a question.
    Due(DecisionRequestId),
}

impl Agent for HumanDecision {
    const NAME: &'static str = "human_decision";
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { moderate_confidence, high_confidence, deadline_hours, deadline_minutes_min, .. } = settings;
        ensure!(
            0.0 <= moderate_confidence && moderate_confidence <= high_confidence && high_confidence <= 1.0,
            "0 <= moderate_confidence <= high_confidence <= 1 must hold, got {moderate_confidence} and {high_confidence}"
        );
        ensure!(
            0.0 < deadline_minutes_min && deadline_minutes_min <= deadline_hours * 60.0 && deadline_hours <= 8760.0,
            "deadline_hours must be at most 8760 and deadline_minutes_min above 0 and no longer, got {deadline_hours} h and {deadline_minutes_min} min"
        );
        ensure!(
            settings.urgent_corrective_days <= settings.preventive_days,
            "urgent_corrective_days must not exceed preventive_days"
        );
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::MaintenancePredicted(prediction) => Some(Message::Predicted(prediction.clone())),
            Event::DecisionReceived(received) => Some(Message::Received(received.clone())),
            Event::MaintenanceRequested(requested) => Some(Message::Requested(requested.clone())),
            Event::CaseClosed(closed) => Some(Message::CaseClosed(closed.case)),
            Event::WorkOrderCancelled(Cancelled { case, by, reason, .. }) => {
                Some(Message::CalledOff((*case)?, format!("its work was called off by {by}: {reason}")))
            }
            Event::DecisionRequired(required) => Some(Message::Asked(Box::new(required.clone()))),
            Event::MaintenanceApproved(approved) => Some(Message::Decided(approved.proposal.clone())),
            Event::MaintenanceDeclined(declined) => Some(Message::Decided(declined.proposal.clone())),
            Event::GoldenPathStarted { include_decision: true, .. } => Some(Message::AskedFor),
            Event::TimerDue { agent, key } if agent == Self::NAME => match key.strip_prefix(AGAIN) {
                Some(case) => Some(Message::Again(case.parse().ok()?)),
                None => Some(Message::Due(key.as_str().into())),
            },
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Predicted(prediction) => self.predicted(state, &prediction, ctx),
            Message::Received(received) => self.received(state, received, ctx),
            Message::Requested(requested) => requested_outright(state, requested, ctx),
            Message::CaseClosed(case) => {
                if let Some(Standing::Asked(request)) = state.cases.remove(&case) {
                    withdraw(state, &request, ctx);
                }
                remember(&mut state.closed, case);
            }
            Message::CalledOff(case, why) => {
                if let Some(Standing::Decided(proposal)) = state.cases.get(&case).cloned() {
                    state.cases.insert(case, Standing::CalledOff(proposal, why));
                    // A log that knows of no question must not give one when it is read again, but for the timer's word.
                    ctx.wake_at(format!("{AGAIN}{case}"), ctx.now());
                }
            }
            Message::Again(case) => self.again(state, case, ctx),
            Message::Asked(required) => asked(state, *required, ctx),
            Message::Decided(proposal) => decided(state, proposal, ctx),
            Message::AskedFor => remember(&mut state.asked_for, ctx.correlation().clone()),
            Message::Due(request) => self.due(state, request, ctx),
        }
        Ok(())
    }
}

impl HumanDecision {
    fn predicted(&self, state: &mut State, prediction: &Prediction, ctx: &mut Ctx) {
        if state.closed.contains(&prediction.case) {
            return;
        }
        let proposal = self.propose(prediction, ctx.now());
        let person_wanted = state.asked_for.contains(ctx.correlation());
        match state.cases.get(&prediction.case).cloned() {
            Some(Standing::Asked(request)) => {
                if let (Ok(reason), false) = (self.policy(prediction), person_wanted) {
                    settle_by_policy(state, request, proposal, reason, ctx);
                }
                return;
            }
            Some(Standing::Decided(_)) => return,
            Some(Standing::CalledOff(..)) | None => {}
        }
        match self.policy(prediction) {
            Ok(reason) if !person_wanted => {
                state.cases.insert(prediction.case, Standing::Decided(proposal.clone()));
                let approved = Approved { request: None, proposal, by: By::Policy, reason };
                say(state, Some(prediction.case), Event::MaintenanceApproved(approved), ctx);
            }
            policy => {
                let request = DecisionRequestId::new(format!("maintenance_approval_{}", ctx.event()));
                state.cases.insert(prediction.case, Standing::Asked(request.clone()));
                let half_of_what_is_left = match &prediction.outlook {
                    Outlook::Remaining { remaining_hours } => remaining_hours.p10 / 2.0,
                    Outlook::LimitPassed => 0.0,
                    Outlook::NoTrend { .. } | Outlook::NotEnoughData { .. } => f64::INFINITY,
                };
                let question = Question {
                    proposal,
                    reason: match policy {
                        Ok(_) => "a demonstration in which a person is to be asked".to_owned(),
                        Err(reason) => reason,
                    },
                    deadline: ctx.now(),
                    on_expiry: self.settings.on_expiry,
                    escalations: 0,
                    in_hand: false,
                    is_settled: false,
                    within: hours(half_of_what_is_left.min(self.settings.deadline_hours)),
                };
                self.ask(state, request, question, ctx);
            }
        }
    }

    /// Asks whether work is still wanted that somebody called off. What a person stopped neither the policy nor silence
    /// begins again.
    fn again(&self, state: &mut State, case: CaseId, ctx: &mut Ctx) {
        // A prognosis may have come first.
        let Some(Standing::CalledOff(proposal, reason)) = state.cases.get(&case).cloned() else { return };
        let request = DecisionRequestId::new(format!("maintenance_approval_{}", ctx.event()));
        state.cases.insert(case, Standing::Asked(request.clone()));
        let question = Question {
            proposal,
            reason,
            deadline: ctx.now(),
            on_expiry: OnExpiry::Escalate,
            escalations: 0,
            in_hand: true,
            is_settled: false,
            within: hours(self.settings.deadline_hours),
        };
        self.ask(state, request, question, ctx);
    }

    /// Why the policy approves, or why a person must decide.
    fn policy(&self, prediction: &Prediction) -> Result<String, String> {
        let Settings {
            high_confidence: high, moderate_confidence: moderate, auto_approval_days_moderate: near, ..
        } = self.settings;
        let confidence = prediction.confidence;
        let (days, when) = match &prediction.outlook {
            Outlook::Remaining { remaining_hours } => {
                let days = remaining_hours.p50 / 24.0;
                (days, format!("failure is expected in {days:.1} days"))
            }
            Outlook::LimitPassed => (0.0, "the limit is passed already".to_owned()),
            Outlook::NoTrend { horizon_hours } => {
                return Err(format!("no trend leads to the limit within {:.0} days", horizon_hours / 24.0));
            }
            Outlook::NotEnoughData { have, need } => {
                return Err(format!("history is too short for a prognosis: {have} of {need} readings"));
            }
        };
        if high <= confidence {
            return Ok(format!("{when}, and confidence {confidence:.2} is high (from {high:.2})"));
        }
        if moderate <= confidence && days < near {
            return Ok(format!("{when}, and confidence {confidence:.2} suffices below {near} days"));
        }
        Err(if moderate <= confidence {
            format!("{when}, but confidence {confidence:.2} suffices below {near} days only")
        } else {
            format!("{when}, but confidence {confidence:.2} is low (below {moderate:.2})")
        })
    }

    fn propose(&self, prediction: &Prediction, now: Timestamp) -> Proposal {
        let Settings { urgent_days, very_urgent_factor, urgent_corrective_days, preventive_days, .. } = self.settings;
        let (maintenance_type, priority, due_at) = match &prediction.outlook {
            Outlook::Remaining { remaining_hours } => {
                let days = remaining_hours.p50 / 24.0;
                let maintenance_type = match days {
                    days if days <= urgent_corrective_days => "urgent_corrective",
                    days if days <= preventive_days => "preventive",
                    _ => "inspection",
                };
                let priority = match days {
                    days if days < urgent_days * very_urgent_factor => Priority::High,
                    days if days < urgent_days => Priority::Medium,
                    _ => Priority::Low,
                };
                (maintenance_type, priority, Some(now + hours(remaining_hours.p10)))
            }
            Outlook::LimitPassed => ("urgent_corrective", Priority::Critical, Some(now + hours(24.0))),
            Outlook::NoTrend { .. } | Outlook::NotEnoughData { .. } => ("inspection", Priority::Medium, None),
        };
        Proposal {
            case: Some(prediction.case),
            asset: prediction.asset.clone(),
            sensor: prediction.sensor.clone(),
            maintenance_type: maintenance_type.to_owned(),
            priority,
            due_at,
            confidence: prediction.confidence,
            recommended_actions: prediction.recommended_actions.clone(),
        }
    }

    /// Asks, or asks again, with a deadline that leaves time to act on the answer.
    fn ask(&self, state: &mut State, request: DecisionRequestId, mut question: Question, ctx: &mut Ctx) {
        let left = question.proposal.due_at.map_or(question.within, |due| due.duration_since(ctx.now()) / 2);
        let shortest = hours(self.settings.deadline_minutes_min / 60.0);
        question.deadline = ctx.now() + question.within.min(left).max(shortest);
        ctx.wake_at(request.as_str(), question.deadline);
        let required = Required {
            request: request.clone(),
            proposal: question.proposal.clone(),
            options: OPTIONS.map(str::to_owned).to_vec(),
            reason: question.reason.clone(),
            deadline: question.deadline,
            on_expiry: question.on_expiry,
            escalations: question.escalations,
        };
        say(state, question.proposal.case, Event::DecisionRequired(required), ctx);
        state.questions.insert(request, question);
    }

    fn escalate(&self, state: &mut State, request: DecisionRequestId, mut question: Question, ctx: &mut Ctx) {
        question.escalations += 1;
        question.proposal.priority = if question.escalations < self.settings.escalations_until_critical {
            question.proposal.priority.raised()
        } else {
            Priority::Critical
        };
        self.ask(state, request, question, ctx);
    }

    fn received(&self, state: &mut State, received: Received, ctx: &mut Ctx) {
        // An answer to a question that is not open is audit: the store keeps it, nothing follows.
        let Some(question) = state.questions.get(&received.request).cloned() else { return };
        let by = By::Person(received.operator.clone());
        let said = |what: &str| match &received.justification {
            Some(words) if !words.trim().is_empty() => words.clone(),
            _ => format!("{what} by {}", received.operator),
        };
        match received.meaning {
            Meaning::Approve => approve(state, received.request.clone(), by, said("approved"), ctx),
            Meaning::Decline => decline(state, received.request.clone(), by, said("declined"), ctx),
            Meaning::Defer => self.ask(state, received.request, Question { in_hand: true, ..question }, ctx),
            Meaning::Escalate => self.escalate(state, received.request, Question { in_hand: true, ..question }, ctx),
            Meaning::Note => {}
        }
    }

    fn due(&self, state: &mut State, request: DecisionRequestId, ctx: &mut Ctx) {
        // The timer may have fired just before the question was answered or got a new deadline.
        let is_due = |question: &&Question| question.deadline <= ctx.now() && !question.is_settled;
        let Some(question) = state.questions.get(&request).filter(is_due).cloned() else { return };
        ctx.emit(Event::DecisionExpired(Expired { request: request.clone(), outcome: question.on_expiry }));
        let reason = "nobody answered in time, and the question said so".to_owned();
        match question.on_expiry {
            OnExpiry::Escalate => self.escalate(state, request, question, ctx),
            OnExpiry::Approve => approve(state, request, By::Expiry, reason, ctx),
            OnExpiry::Decline => decline(state, request, By::Expiry, reason, ctx),
        }
    }
}

/// A surer prognosis falls under the policy, so nobody needs to be asked any more.
fn settle_by_policy(state: &mut State, request: DecisionRequestId, proposal: Proposal, reason: String, ctx: &mut Ctx) {
    let is_open = |question: &&mut Question| !question.in_hand && !question.is_settled;
    if let Some(question) = state.questions.get_mut(&request).filter(is_open) {
        // It goes when this is heard: with other settings it was not settled, and somebody may answer it.
        question.is_settled = true;
        ctx.cancel_wake(request.as_str());
        let case = proposal.case;
        let approved = Approved { request: Some(request), proposal, by: By::Policy, reason };
        say(state, case, Event::MaintenanceApproved(approved), ctx);
    }
}

/// Whoever asks for maintenance outright has approved it; a question about the same case is moot.
fn requested_outright(state: &mut State, Requested { proposal, by, .. }: Requested, ctx: &mut Ctx) {
    let case = proposal.case;
    if let Some(case) = case
        && let Some(Standing::Asked(request)) = state.cases.insert(case, Standing::Decided(proposal.clone()))
    {
        withdraw(state, &request, ctx);
    }
    let request = Some(DecisionRequestId::new(format!("maintenance_request_{}", ctx.event())));
    let (reason, by) = (format!("requested by {by}"), By::Person(by));
    say(state, case, Event::MaintenanceApproved(Approved { request, proposal, by, reason }), ctx);
}

/// Says something of `case`, which the agent will hear in its turn.
fn say(state: &mut State, case: Option<CaseId>, event: Event, ctx: &mut Ctx) {
    let word = ctx.emit(event);
    state.said.extend(case.map(|case| (word, case)));
}

/// Whether nothing was said of `case` since the word at hand.
fn is_newest(state: &mut State, case: CaseId, ctx: &Ctx) -> bool {
    let Some(place) = state.said.iter().position(|(word, _)| *word == ctx.event()) else { return true };
    // What was said before it and not heard is in no log: it was said with other settings, when the log was read again.
    state.said.drain(..=place);
    !state.said.iter().any(|(_, about)| *about == case)
}

/// What was asked is open, even if nobody would be asked today.
fn asked(state: &mut State, required: Required, ctx: &mut Ctx) {
    let Required { request, proposal, reason, deadline, on_expiry, escalations, .. } = required;
    let Some(case) = proposal.case else { return };
    if !is_newest(state, case, ctx) || state.closed.contains(&case) {
        return;
    }
    if let Some(Standing::Asked(other)) = state.cases.insert(case, Standing::Asked(request.clone()))
        && other != request
    {
        withdraw(state, &other, ctx);
    }
    let known = state.questions.get(&request);
    let in_hand = known.is_some_and(|known| known.in_hand);
    let within = known.map_or(deadline.duration_since(ctx.now()), |known| known.within);
    let question = Question { proposal, reason, deadline, on_expiry, escalations, in_hand, is_settled: false, within };
    state.questions.insert(request, question);
}

/// What was decided is so, even if it would be asked about today.
fn decided(state: &mut State, proposal: Proposal, ctx: &mut Ctx) {
    let Some(case) = proposal.case else { return };
    if !is_newest(state, case, ctx) || state.closed.contains(&case) {
        return;
    }
    if let Some(Standing::Asked(request)) = state.cases.insert(case, Standing::Decided(proposal)) {
        withdraw(state, &request, ctx);
    }
}

fn approve(state: &mut State, request: DecisionRequestId, by: By, reason: String, ctx: &mut Ctx) {
    let Some(Question { proposal, .. }) = settle(state, &request, ctx) else { return };
    let case = proposal.case;
    say(state, case, Event::MaintenanceApproved(Approved { request: Some(request), proposal, by, reason }), ctx);
}

fn decline(state: &mut State, request: DecisionRequestId, by: By, reason: String, ctx: &mut Ctx) {
    let Some(Question { proposal, .. }) = settle(state, &request, ctx) else { return };
    let case = proposal.case;
    say(state, case, Event::MaintenanceDeclined(Declined { request, proposal, by, reason }), ctx);
}

/// Ends a question; its case stays decided until it closes.
fn settle(state: &mut State, request: &DecisionRequestId, ctx: &mut Ctx) -> Option<Question> {
    let question = withdraw(state, request, ctx)?;
    if let Some(case) = question.proposal.case {
        state.cases.insert(case, Standing::Decided(question.proposal.clone()));
    }
    Some(question)
}

fn withdraw(state: &mut State, request: &DecisionRequestId, ctx: &mut Ctx) -> Option<Question> {
    let question = state.questions.remove(request)?;
    ctx.cancel_wake(request.as_str());
    Some(question)
}

fn remember<T>(recent: &mut VecDeque<T>, new: T) {
    recent.push_back(new);
    if RECENT_MAX < recent.len() {
        recent.pop_front();
    }
}

/// Whole seconds of `hours`, from none to ten years.
fn hours(hours: f64) -> SignedDuration {
    SignedDuration::from_secs((hours.clamp(0.0, AHEAD_HOURS_MAX) * 3600.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::{Closed, Resolution};
    use domain::prediction::RemainingHours;
    use runtime::bench::Bench;
    use uuid::Uuid;

    fn settings() -> Settings {
        config::Config::defaults().section("agents.human_decision").unwrap()
    }

    fn bench(settings: Settings) -> Bench<HumanDecision> {
        Bench::start(settings, ())
    }

    fn case() -> CaseId {
        CaseId(Uuid::from_u128(7))
    }

    fn remaining(days: f64) -> Outlook {
        let p50 = days * 24.0;
        Outlook::Remaining { remaining_hours: RemainingHours { p10: p50 / 2.0, p50, p90: p50 * 2.0 } }
    }

    fn predicted(outlook: Outlook, confidence: f64) -> Event {
        Event::MaintenancePredicted(Prediction {
            case: case(),
            asset: "pump-1".into(),
            sensor: "pump-1/t".into(),
            as_of: "2026-01-01T00:00:00Z".parse().unwrap(),
            limit: Some(90.0),
            limit_source: "derived".to_owned(),
            outlook,
            confidence,
            method: "test/1".to_owned(),
            n_readings: 100,
            recommended_actions: vec!["Check the bearing.".to_owned()],
        })
    }

    fn answer(request: &DecisionRequestId, decision: &str) -> Event {
        Event::DecisionReceived(Received {
            request: request.clone(),
            decision: decision.to_owned(),
            meaning: Meaning::of(decision),
            operator: "ana".to_owned(),
            key: None,
            justification: None,
            confidence: 1.0,
            notes: None,
            decided_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        })
    }

    fn closed() -> Event {
        let resolution = Resolution::ReturnedToNormal;
        Event::CaseClosed(Closed { case: case(), resolution, reason: "calm".to_owned() })
    }

    fn required(said: &[Event]) -> Required {
        let [Event::DecisionRequired(required)] = said else { panic!("one question is asked, not {said:?}") };
        required.clone()
    }

    fn approved(said: &[Event]) -> Approved {
        let [Event::MaintenanceApproved(approved)] = said else { panic!("it is approved, not {said:?}") };
        approved.clone()
    }

    async fn asked(bench: &mut Bench<HumanDecision>) -> Required {
        required(&bench.feed(predicted(remaining(20.0), 0.5)).await)
    }

    fn after(bench: &Bench<HumanDecision>, seconds: i64) -> Timestamp {
        bench.now() + SignedDuration::from_secs(seconds)
    }

    #[tokio::test]
    async fn the_policy_follows_the_table_of_confidence_and_urgency() {
        for (days, confidence, by_policy) in
            [(100.0, 0.90, true), (14.9, 0.75, true), (15.0, 0.75, false), (100.0, 0.89, false), (1.0, 0.74, false)]
        {
            let said = bench(settings()).feed(predicted(remaining(days), confidence)).await;
            let is_approved = matches!(&said[..], [Event::MaintenanceApproved(Approved { by: By::Policy, .. })]);
            assert_eq!(is_approved, by_policy, "{days} days at {confidence}: {said:?}");
            assert!(by_policy || matches!(&said[..], [Event::DecisionRequired(_)]), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_proposal_says_what_how_urgent_and_until_when() {
        for (days, maintenance_type, priority) in [
            (7.0, "urgent_corrective", Priority::High),
            (15.0, "preventive", Priority::Medium),
            (30.0, "preventive", Priority::Low),
            (31.0, "inspection", Priority::Low),
        ] {
            let mut bench = bench(settings());
            let proposal = approved(&bench.feed(predicted(remaining(days), 0.95)).await).proposal;
            assert_eq!((proposal.maintenance_type.as_str(), proposal.priority), (maintenance_type, priority), "{days}");
            assert_eq!(proposal.due_at, Some(bench.now() + hours(days * 12.0)), "the deadline is P10");
        }
        let mut bench = bench(settings());
        let proposal = approved(&bench.feed(predicted(Outlook::LimitPassed, 0.8)).await).proposal;
        assert_eq!((proposal.priority, proposal.due_at), (Priority::Critical, Some(bench.now() + hours(24.0))));
    }

    #[tokio::test]
    async fn without_a_prognosis_a_person_decides_however_confident_it_is() {
        for outlook in [Outlook::NotEnoughData { have: 3, need: 30 }, Outlook::NoTrend { horizon_hours: 720.0 }] {
            let mut bench = bench(settings());
            let required = required(&bench.feed(predicted(outlook, 1.0)).await);
            assert_eq!(required.proposal.due_at, None);
            assert_eq!(required.deadline, bench.now() + hours(24.0));
        }
    }

    #[tokio::test]
    async fn a_question_names_the_event_it_comes_of_and_leaves_time_to_act() {
        let mut bench = bench(settings());
        let id = bench.next_event();
        let near = required(&bench.feed(predicted(remaining(2.0), 0.5)).await);
        assert_eq!(near.request.as_str(), format!("maintenance_approval_{id}"));
        assert_eq!(near.options, OPTIONS);
        assert_eq!(near.deadline, bench.now() + hours(12.0), "half of P10");
        let passed = required(&self::bench(settings()).feed(predicted(Outlook::LimitPassed, 0.1)).await);
        assert_eq!(passed.deadline, bench.now() + hours(0.25), "the shortest time there is");
    }

    #[tokio::test]
    async fn a_case_is_asked_about_once_until_it_closes() {
        let mut bench = bench(settings());
        asked(&mut bench).await;
        assert_eq!(bench.feed(predicted(Outlook::LimitPassed, 0.5)).await, []);
        assert_eq!(bench.feed(closed()).await, []);
        assert_eq!(bench.feed(predicted(remaining(1.0), 1.0)).await, [], "a prognosis that was under way is too late");
        assert_eq!(bench.advance(after(&bench, 10 * 86_400)).await, [], "the question was withdrawn");
    }

    #[tokio::test]
    async fn a_surer_prognosis_settles_a_question_that_nobody_has_taken_up() {
        let mut bench = bench(settings());
        let question = asked(&mut bench).await;
        let said = bench.feed(predicted(remaining(9.0), 0.8)).await;
        assert!(
            matches!(&said[..], [Event::MaintenanceApproved(Approved { request: Some(request), by: By::Policy, proposal, .. })]
                if *request == question.request && proposal.confidence == 0.8),
            "{said:?}"
        );
        assert_eq!(bench.feed(predicted(remaining(9.0), 0.95)).await, [], "it is approved once");
    }

    #[tokio::test]
    async fn a_question_that_a_person_has_put_off_is_theirs_to_settle() {
        let mut bench = bench(settings());
        let question = asked(&mut bench).await;
        bench.feed(answer(&question.request, "defer")).await;
        assert_eq!(bench.feed(predicted(remaining(9.0), 0.95)).await, []);
    }

    #[tokio::test]
    async fn an_approval_is_carried_out_once() {
        let mut bench = bench(settings());
        let question = asked(&mut bench).await;
        let approved = approved(&bench.feed(answer(&question.request, "Approved ")).await);
        assert_eq!(approved.request, Some(question.request.clone()));
        assert_eq!((approved.by, approved.proposal), (By::Person("ana".to_owned()), question.proposal));
        assert_eq!(bench.feed(answer(&question.request, "approve")).await, [], "a second answer is audit");
        assert_eq!(bench.feed(answer(&"made_up".into(), "approve")).await, [], "an unknown request is audit");
        assert_eq!(bench.feed(predicted(remaining(1.0), 1.0)).await, []);
        assert_eq!(bench.advance(after(&bench, 10 * 86_400)).await, [], "an answered question does not expire");
    }

    #[tokio::test]
    async fn a_refusal_declines_and_a_note_changes_nothing() {
        let mut bench = bench(settings());
        let question = asked(&mut bench).await;
        assert_eq!(bench.feed(answer(&question.request, "let me look")).await, []);
        let said = bench.feed(answer(&question.request, "no_action")).await;
        let [Event::MaintenanceDeclined(declined)] = &said[..] else { panic!("it is declined, not {said:?}") };
        assert_eq!((&declined.request, &declined.by), (&question.request, &By::Person("ana".to_owned())));
        assert_eq!(declined.reason, "declined by ana");
    }

    #[tokio::test]
    async fn deferring_asks_again_later() {
        let mut bench = bench(settings());
        let first = asked(&mut bench).await;
        bench.advance(after(&bench, 3600)).await;
        let again = required(&bench.feed(answer(&first.request, "defer")).await);
        assert_eq!((&again.request, again.escalations), (&first.request, 0));
        assert_eq!(again.deadline, first.deadline + hours(1.0));
        assert_eq!(bench.advance(first.deadline).await, [], "the first deadline no longer holds");
        let fired_before = Event::TimerDue { agent: HumanDecision::NAME.to_owned(), key: first.request.to_string() };
        assert_eq!(bench.feed(fired_before).await, [], "not even if its timer had fired already");
        assert!(matches!(
            &bench.advance(again.deadline).await[..],
            [Event::DecisionExpired(_), Event::DecisionRequired(_)]
        ));
    }

    #[tokio::test]
    async fn escalating_asks_again_more_urgently() {
        let mut bench = bench(settings());
        let first = asked(&mut bench).await;
        let again = required(&bench.feed(answer(&first.request, "escalate")).await);
        assert_eq!((first.proposal.priority, again.proposal.priority), (Priority::Medium, Priority::High));
        assert_eq!((&again.request, again.escalations), (&first.request, 1));
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_grows_critical_and_is_never_dropped() {
        let mut bench = bench(settings());
        let mut question = asked(&mut bench).await;
        let mut priorities = vec![question.proposal.priority];
        for escalations in 1..=5 {
            let said = bench.advance(question.deadline).await;
            let [Event::DecisionExpired(expired), rest @ ..] = &said[..] else { panic!("it expires, not {said:?}") };
            assert_eq!(expired.outcome, OnExpiry::Escalate);
            let again = required(rest);
            assert_eq!((&again.request, again.escalations), (&question.request, escalations));
            assert!(question.deadline < again.deadline);
            priorities.push(again.proposal.priority);
            question = again;
        }
        use Priority::{Critical, High, Medium};
        assert_eq!(priorities, [Medium, High, Critical, Critical, Critical, Critical]);
        let approved = approved(&bench.feed(answer(&question.request, "approve")).await);
        assert_eq!(approved.by, By::Person("ana".to_owned()), "the question still stands");
    }

    #[tokio::test]
    async fn a_declared_outcome_follows_when_nobody_answers() {
        for on_expiry in [OnExpiry::Approve, OnExpiry::Decline] {
            let mut bench = bench(Settings { on_expiry, ..settings() });
            let question = asked(&mut bench).await;
            let said = bench.advance(question.deadline).await;
            let [Event::DecisionExpired(_), outcome] = &said[..] else { panic!("it expires, not {said:?}") };
            match (on_expiry, outcome) {
                (OnExpiry::Approve, Event::MaintenanceApproved(approved)) => assert_eq!(approved.by, By::Expiry),
                (OnExpiry::Decline, Event::MaintenanceDeclined(declined)) => assert_eq!(declined.by, By::Expiry),
                _ => panic!("{on_expiry:?} leads to {outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn whoever_asks_for_maintenance_has_approved_it_and_the_open_question_is_moot() {
        let mut bench = bench(settings());
        let question = asked(&mut bench).await;
        let id = bench.next_event();
        let requested = Requested { proposal: question.proposal, by: "ana".to_owned(), context: Default::default() };
        let approved = approved(&bench.feed(Event::MaintenanceRequested(requested)).await);
        assert_eq!(approved.request.unwrap().as_str(), format!("maintenance_request_{id}"));
        assert_eq!(approved.by, By::Person("ana".to_owned()));
        assert_eq!(bench.feed(answer(&question.request, "reject")).await, []);
    }

    #[tokio::test]
    async fn a_demonstration_may_want_a_person_to_be_asked() {
        let mut bench = bench(settings());
        let started = |include_decision| Event::GoldenPathStarted {
            sensor: "pump-1/t".into(),
            sensor_events: 10,
            include_decision,
        };
        bench.feed(started(false)).await;
        approved(&bench.feed(predicted(remaining(1.0), 1.0)).await);
        bench.feed(closed()).await;
        let mut bench = self::bench(settings());
        bench.feed(started(true)).await;
        required(&bench.feed(predicted(remaining(1.0), 1.0)).await);
    }

    #[tokio::test]
    async fn a_case_whose_work_was_called_off_is_decided_again() {
        let mut bench = bench(settings());
        approved(&bench.feed(predicted(remaining(3.0), 0.95)).await);
        assert_eq!(bench.feed(predicted(remaining(3.0), 0.95)).await, [], "it is decided");
        let called_off = Cancelled {
            work_order: domain::WorkOrderId(Uuid::from_u128(1)),
            case: Some(case()),
            asset: "pump-1".into(),
            by: "shift".to_owned(),
            reason: "the wrong pump".to_owned(),
        };
        assert_eq!(bench.feed(Event::WorkOrderCancelled(called_off)).await, []);
        // A person is asked at once, whatever would follow by itself,
        let question = required(&bench.advance(bench.now()).await);
        assert_eq!(question.reason, "its work was called off by shift: the wrong pump");
        assert_eq!(bench.feed(predicted(remaining(3.0), 0.95)).await, [], "a person has called it off");
        let said = bench.advance(question.deadline).await;
        assert!(matches!(&said[..], [Event::DecisionExpired(_), Event::DecisionRequired(_)]), "{said:?}");
        // and their answer counts.
        let again = approved(&bench.feed(answer(&question.request, "approve")).await);
        assert_eq!(again.request, Some(question.request));
    }

    /// What a node with other settings asked, as its log has it.
    async fn asked_elsewhere(prediction: Event) -> (Event, Required) {
        let mut elsewhere = bench(Settings { high_confidence: 1.0, ..settings() });
        let asked = required(&elsewhere.feed(prediction).await);
        (Event::DecisionRequired(asked.clone()), asked)
    }

    #[tokio::test]
    async fn a_question_that_stands_in_the_log_is_open_even_if_nobody_would_be_asked_today() {
        // Given a log in which a person was asked, read with settings under which none would be,
        let prediction = || predicted(remaining(20.0), 0.95);
        let (in_log, question) = asked_elsewhere(prediction()).await;
        let mut bench = bench(settings());
        approved(&bench.feed(prediction()).await);
        assert_eq!(bench.feed(in_log).await, []);
        // and in which the next prognosis settled nothing either,
        approved(&bench.feed(prediction()).await);
        // then the answer is carried out, once.
        let said = approved(&bench.feed(answer(&question.request, "approve")).await);
        assert_eq!((said.request, said.proposal), (Some(question.request.clone()), question.proposal));
        assert_eq!(bench.feed(answer(&question.request, "approve")).await, []);
    }

    #[tokio::test]
    async fn a_question_that_stands_in_the_log_expires_when_it_said_so() {
        let prediction = || predicted(remaining(20.0), 0.95);
        let (in_log, question) = asked_elsewhere(prediction()).await;
        let mut bench = bench(Settings { deadline_hours: 1.0, ..settings() });
        bench.feed(prediction()).await;
        bench.feed(in_log).await;
        bench.advance(question.deadline).await;
        let due = Event::TimerDue { agent: HumanDecision::NAME.to_owned(), key: question.request.to_string() };
        let said = bench.feed(due).await;
        assert!(matches!(&said[..], [Event::DecisionExpired(_), Event::DecisionRequired(_)]), "{said:?}");
    }

    #[tokio::test]
    async fn what_stands_in_the_log_as_approved_is_so_even_if_a_person_would_be_asked_today() {
        let mut bench = bench(Settings { high_confidence: 1.0, ..settings() });
        let prediction = || predicted(remaining(20.0), 0.95);
        let not_asked = required(&bench.feed(prediction()).await);
        let proposal = not_asked.proposal;
        let in_log = Approved { request: None, proposal, by: By::Policy, reason: String::new() };
        assert_eq!(bench.feed(Event::MaintenanceApproved(in_log)).await, []);
        assert_eq!(bench.feed(prediction()).await, []);
        assert_eq!(bench.feed(answer(&not_asked.request, "approve")).await, [], "nobody was asked");
    }

    #[tokio::test]
    async fn a_word_that_is_heard_late_does_not_undo_what_was_said_since() {
        let mut bench = bench(settings());
        let told = bench.feed_said(predicted(remaining(20.0), 0.5)).await;
        let question = required(&[told[0].event.clone()]);
        let settled = bench.feed_said(answer(&question.request, "approve")).await;
        // It hears the question after it was answered, and then its own approval.
        for word in told.into_iter().chain(settled) {
            assert_eq!(bench.hear(word).await, []);
            assert_eq!(bench.feed(answer(&question.request, "approve")).await, [], "it is approved once");
        }
    }
}
