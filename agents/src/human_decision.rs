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

#[cfg(test)]
mod tests;

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
