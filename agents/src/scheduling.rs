//! Finds a technician and a time.
//!
//! Takes in: `MaintenanceApproved`, `WorkOrderStarted`, `MaintenanceCompleted`, `WorkOrderCancelled`, `CaseOpened` and
//! `CaseClosed` (the failure mode tells which skills it takes), `TechnicianDeclared`, `TechnicianRemoved`,
//! `SiteDeclared`, its own `MaintenanceScheduled` and `SchedulingFailed`, its timers.
//! Emits: `MaintenanceScheduled`, `SchedulingFailed`, `ApprovalWithdrawn`; `CaseClosed` for cases that an order covered
//! when it was completed.
//! Remembers: the crew, the open work orders with the approvals that they cover, and the approvals that still want a
//! slot.
//!
//! An approval gets the cheapest slot for which it does not have to outbid a more urgent one that waits;
//! each waiting approval is tried again by its own timer, so that its order carries its own correlation.
//! An order is moved only when its technician is removed before it began. The log has the last word on bookings: what
//! was said with other settings still stands, and what is to be booked because something else ended is booked by a
//! timer, so that a replay books nothing that the log does not know.

mod covered;
mod crew;
mod search;
#[cfg(test)]
mod tests;

pub use crew::{examples, site_time_zone};

use anyhow::ensure;
use covered::{Covered, cover, covering, uncover};
use domain::asset::Technician;
use domain::case::FailureMode;
use domain::decision::{Approved, By, Proposal};
use domain::work_order::{Scheduled, SchedulingFailed, Slot, Withdrawn};
use domain::{CaseId, Event, EventId, TechnicianId, Timestamp, WorkOrderId};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use runtime::{Agent, Ctx, Failure};
use search::{Candidate, HORIZON_DAYS_MAX, Job};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest that a setting in minutes may be.
const WEEK_MINUTES: i64 = 7 * 24 * 60;

/// `[agents.scheduling]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How far ahead a slot is looked for; further if the work is due later.
    pub horizon_days: i32,
    /// Shortest notice that a technician gets.
    pub lead_minutes: i64,
    /// Slots begin at multiples of this after the shift does.
    pub grid_minutes: i64,
    /// Length of a corrective repair.
    pub corrective_hours: f64,
    /// Length of any other work.
    pub other_hours: f64,
    /// What one minute beyond the due time costs, in minutes of waiting.
    pub late_weight: f64,
    /// How long to wait rather than send somebody who lacks one of the wanted skills.
    pub missing_skill_minutes: f64,
    /// How long to wait for ten years of experience rather than none.
    pub experience_minutes: f64,
    /// Pause between attempts to book what could not be booked.
    pub retry_minutes: i64,
    /// Attempts after the first.
    pub retries_max: u32,
    /// Skills by words in the name of the asset, the sensor or the failure mode; the first word found counts.
    pub skills: Vec<SkillRule>,
    /// Skills when no word is found.
    pub skills_otherwise: Vec<String>,
}

/// A word and the skills that it calls for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillRule {
    /// The word, in any case.
    pub word: String,
    /// The skills.
    pub skills: Vec<String>,
}

/// The agent.
pub struct Scheduling {
    settings: Settings,
    /// The site's, until somebody declares where it is.
    time_zone: TimeZone,
}

/// What it remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    orders: BTreeMap<WorkOrderId, Order>,
    /// Approvals that want a slot.
    waiting: BTreeMap<EventId, Wanted>,
    /// Approvals that need none as long as an order for another case of their asset is open.
    covered: BTreeMap<EventId, Covered>,
    /// Of the open cases.
    failure_modes: BTreeMap<CaseId, FailureMode>,
    crew: BTreeMap<TechnicianId, Technician>,
    #[serde(with = "jiff::fmt::serde::tz::optional")]
    time_zone: Option<TimeZone>,
}

/// An open work order.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    approval: EventId,
    proposal: Proposal,
    technician: TechnicianId,
    start_at: Timestamp,
    end_at: Timestamp,
    /// Somebody is at work, or was.
    begun: bool,
}

/// What is to be booked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wanted {
    proposal: Proposal,
    /// A person asked for it: other work on the asset does not make it needless.
    by_person: bool,
    /// How often a slot was looked for.
    n_attempts: u32,
    /// The order that it has, whose technician is no longer in the crew.
    order: Option<WorkOrderId>,
}

/// What it hears.
pub enum Message {
    /// Work to be booked.
    Approved(Approved),
    /// What was booked, by this agent.
    Scheduled(Box<Scheduled>),
    /// An approval that an order covers, as this agent said.
    Covered(EventId, Proposal, WorkOrderId),
    /// Work that began, or went on.
    Started(WorkOrderId),
    /// A repair that is done.
    Repaired(WorkOrderId),
    /// Work that ended without a repair, or that will not be done.
    Over(WorkOrderId),
    /// A case, and how its asset seems to fail.
    CaseOpened(CaseId, FailureMode),
    /// The end of one.
    CaseClosed(CaseId),
    /// An approval is to be tried again.
    Retry(EventId),
    /// Somebody who can be sent.
    Joined(Technician),
    /// Somebody who cannot be any more.
    Left(TechnicianId),
    /// Where the clock on the wall is.
    Site(TimeZone),
}

impl Agent for Scheduling {
    const NAME: &'static str = "scheduling";
    const STATE_VERSION: u16 = 3;
    type Settings = Settings;
    type Deps = TimeZone;
    type State = State;
    type Message = Message;

    fn start(mut settings: Settings, time_zone: TimeZone) -> anyhow::Result<Self> {
        let Settings { horizon_days, lead_minutes, grid_minutes, retry_minutes, corrective_hours, other_hours, .. } =
            settings;
        ensure!((1..=HORIZON_DAYS_MAX).contains(&horizon_days), "horizon_days must be 1 to 90, got {horizon_days}");
        ensure!((1..=1440).contains(&grid_minutes), "grid_minutes must be 1 to 1440, got {grid_minutes}");
        ensure!((0..=WEEK_MINUTES).contains(&lead_minutes), "lead_minutes must be 0 to 10080, got {lead_minutes}");
        ensure!((1..=WEEK_MINUTES).contains(&retry_minutes), "retry_minutes must be 1 to 10080, got {retry_minutes}");
        for hours in [corrective_hours, other_hours] {
            ensure!(0.0 < hours && hours <= 24.0, "work must last above 0 and up to 24 hours, got {hours}");
        }
        for weight in [settings.late_weight, settings.missing_skill_minutes, settings.experience_minutes] {
            ensure!((0.0..=1e6).contains(&weight), "a weight must be from 0 to 1000000, got {weight}");
        }
        ensure!(!settings.skills_otherwise.is_empty(), "skills_otherwise must name a skill");
        for SkillRule { word, skills } in &mut settings.skills {
            ensure!(!word.is_empty() && !skills.is_empty(), "each of skills must have a word and name a skill");
            *word = word.to_lowercase();
            lowercase(skills);
        }
        lowercase(&mut settings.skills_otherwise);
        Ok(Self { settings, time_zone })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::MaintenanceApproved(approved) => Some(Message::Approved(approved.clone())),
            Event::MaintenanceScheduled(scheduled) => Some(Message::Scheduled(Box::new(scheduled.clone()))),
            Event::SchedulingFailed(failed) => {
                Some(Message::Covered(failed.approval, failed.proposal.clone(), failed.covered_by?))
            }
            Event::WorkOrderStarted(started) => Some(Message::Started(started.work_order)),
            Event::MaintenanceCompleted(completed) if completed.fault_found => {
                Some(Message::Repaired(completed.work_order))
            }
            Event::MaintenanceCompleted(completed) => Some(Message::Over(completed.work_order)),
            Event::WorkOrderCancelled(cancelled) => Some(Message::Over(cancelled.work_order)),
            Event::TechnicianDeclared { technician, .. } => Some(Message::Joined(technician.clone())),
            Event::TechnicianRemoved { technician, .. } => Some(Message::Left(technician.clone())),
            // A zone that nobody knows was refused when it was declared.
            Event::SiteDeclared { site, .. } => Some(Message::Site(TimeZone::get(&site.time_zone).ok()?)),
            Event::CaseOpened(opened) => Some(Message::CaseOpened(opened.case, opened.failure_mode.clone())),
            Event::CaseClosed(closed) => Some(Message::CaseClosed(closed.case)),
            Event::TimerDue { agent, key } if agent == Self::NAME => Some(Message::Retry(key.parse().ok()?)),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Approved(approved) => self.approved(state, approved, ctx),
            Message::Scheduled(scheduled) => {
                let (order, start_at) = (scheduled.work_order, scheduled.start_at);
                booked(state, *scheduled);
                // One that was moved may have become too late for what it covered.
                let is_late = |covered: &Covered| covered.proposal.due_at.is_some_and(|due| due < start_at);
                uncover(state, order, is_late, ctx);
                // Its technician may have been removed before this was heard.
                reassign(state, |id, _| id == order, ctx);
            }
            Message::Covered(approval, proposal, order) => {
                // One that was booked for it with other settings does not count.
                state.orders.retain(|_, order| order.approval != approval);
                // Its case may have ended before this was heard.
                if proposal.case.is_some_and(|case| state.failure_modes.contains_key(&case)) {
                    cover(state, approval, proposal, order);
                }
            }
            Message::Started(id) => {
                if let Some(order) = state.orders.get_mut(&id) {
                    order.begun = true;
                }
                stays(state, id, ctx);
            }
            Message::Repaired(order) => {
                over(state, order, ctx);
                covered::repaired(state, order, ctx);
            }
            Message::Over(order) => {
                over(state, order, ctx);
                uncover(state, order, |_| true, ctx);
            }
            Message::CaseOpened(case, failure_mode) => {
                state.failure_modes.insert(case, failure_mode);
            }
            Message::CaseClosed(case) => {
                state.failure_modes.remove(&case);
                state.covered.retain(|_, covered| covered.proposal.case != Some(case));
                withdraw(state, case, ctx);
            }
            Message::Joined(mut technician) => {
                lowercase(&mut technician.skills);
                if !technician.example {
                    state.crew.retain(|_, other| !other.example);
                }
                state.crew.insert(technician.id.clone(), technician);
                // With another crew the attempts count from the start, but that there was no slot is said already.
                for (approval, wanted) in &mut state.waiting {
                    wanted.n_attempts = wanted.n_attempts.min(1);
                    ctx.wake_at(approval.to_string(), ctx.now());
                }
            }
            Message::Left(technician) => {
                state.crew.remove(&technician);
                reassign(state, |_, order| order.technician == technician, ctx);
            }
            Message::Site(time_zone) => state.time_zone = Some(time_zone),
            Message::Retry(approval) => {
                let Some(wanted) = state.waiting.remove(&approval) else { return Ok(()) };
                let order = wanted.order.and_then(|order| state.orders.get(&order));
                // Its technician may be back.
                if order.is_none_or(|order| !state.crew.contains_key(&order.technician)) {
                    self.book(state, approval, wanted, ctx);
                }
            }
        }
        Ok(())
    }
}

impl Scheduling {
    fn approved(&self, state: &mut State, Approved { proposal, by, .. }: Approved, ctx: &mut Ctx) {
        let by_person = matches!(by, By::Person(_));
        // A newer approval of a case takes the place of one that waits.
        let older = |wanted: &Wanted| wanted.order.is_none() && wanted.proposal.case == proposal.case;
        if proposal.case.is_some() {
            state.waiting.retain(|_, wanted| !older(wanted));
        }
        self.book(state, ctx.event(), Wanted { proposal, by_person, n_attempts: 0, order: None }, ctx);
    }

    fn book(&self, state: &mut State, approval: EventId, wanted: Wanted, ctx: &mut Ctx) {
        let found = self.search(state, &wanted.proposal, ctx.now());
        let earliest = found.as_ref().ok().map(|(best, _)| best.start_at);
        if let Some((covered_by, start_at)) = covering(state, &wanted, earliest) {
            let reasons = vec![format!("work order {covered_by} from {start_at} covers it already")];
            let proposal = wanted.proposal;
            cover(state, approval, proposal.clone(), covered_by);
            let covered_by = Some(covered_by);
            ctx.emit(Event::SchedulingFailed(SchedulingFailed { approval, proposal, reasons, covered_by }));
            return;
        }
        match found {
            Ok((best, alternatives)) => {
                let moved = wanted.order.and_then(|order| state.orders.get(&order));
                let moved =
                    moved.map(|order| format!("; {}, who was to do it, is no longer in the crew", order.technician));
                let work_order = wanted.order.unwrap_or_else(|| WorkOrderId(ctx.id()));
                let proposal = wanted.proposal;
                let mut scheduled =
                    self.describe(state, work_order, approval, proposal, &best, &alternatives, ctx.now());
                scheduled.reason.extend(moved);
                booked(state, scheduled.clone());
                ctx.emit(Event::MaintenanceScheduled(scheduled));
            }
            Err(reasons) => self.wait(state, approval, wanted, reasons, ctx),
        }
    }

    /// Keeps what cannot be booked for another attempt, and says so once; in the end it is given up.
    fn wait(&self, state: &mut State, approval: EventId, wanted: Wanted, mut reasons: Vec<String>, ctx: &mut Ctx) {
        let Settings { retry_minutes, retries_max, .. } = self.settings;
        let n_retries = wanted.n_attempts;
        if let Some((id, order)) = wanted.order.and_then(|order| state.orders.get_key_value(&order)) {
            reasons.push(format!(
                "work order {id} is still booked for {}, who is no longer in the crew",
                order.technician
            ));
        }
        let proposal = wanted.proposal.clone();
        if n_retries < retries_max {
            ctx.wake_at(approval.to_string(), ctx.now() + SignedDuration::from_mins(retry_minutes));
            state.waiting.insert(approval, Wanted { n_attempts: n_retries + 1, ..wanted });
            if 0 < n_retries {
                return;
            }
            reasons.push(format!("it is tried again every {retry_minutes} min, {retries_max} times"));
        } else {
            reasons.push(format!("given up after {} attempts", n_retries + 1));
        }
        ctx.emit(Event::SchedulingFailed(SchedulingFailed { approval, proposal, reasons, covered_by: None }));
    }

    #[expect(clippy::too_many_arguments, reason = "one place describes an order, from all that is known of it")]
    fn describe(
        &self,
        state: &State,
        work_order: WorkOrderId,
        approval: EventId,
        proposal: Proposal,
        best: &Candidate<'_>,
        alternatives: &[Candidate<'_>],
        now: Timestamp,
    ) -> Scheduled {
        let Job { skills, duration, .. } = self.job(state, &proposal);
        let Candidate { technician, start_at, .. } = *best;
        let end_at = start_at + duration;
        let missing: Vec<&str> =
            skills.iter().filter(|skill| !technician.skills.contains(skill)).map(String::as_str).collect();
        let in_time = proposal.due_at.is_none_or(|due| end_at <= due);
        let (mut satisfied, mut violated) =
            (vec!["technician_available".to_owned(), "within_shift".to_owned()], Vec::new());
        if missing.is_empty() { &mut satisfied } else { &mut violated }.push("technician_skills_match".to_owned());
        if proposal.due_at.is_some() {
            if in_time { &mut satisfied } else { &mut violated }.push("due_at".to_owned());
        }
        let wall = |at: Timestamp| self.on_site(state, at).strftime("%a %Y-%m-%d %H:%M %Z").to_string();
        let mut reason = format!(
            "{} ({} years of experience) is the best choice that is free from {}",
            technician.name,
            technician.experience_years,
            wall(start_at)
        );
        reason += &match missing.is_empty() {
            true => format!("; skills: {}", skills.join(", ")),
            false => format!("; {} is wanted too, and nobody who knows that is free soon enough", missing.join(", ")),
        };
        reason += &match proposal.due_at {
            None => "; there is no due time".to_owned(),
            Some(due) if in_time => format!("; it is due by {}", wall(due)),
            Some(due) => format!("; it was due by {}, and nothing earlier is free", wall(due)),
        };
        let slot = |candidate: &Candidate<'_>| Slot {
            technician: candidate.technician.id.clone(),
            start_at: candidate.start_at,
            end_at: candidate.start_at + duration,
        };
        Scheduled {
            score: self.score(&proposal, technician, &skills, start_at, now),
            work_order,
            approval,
            technician: technician.id.clone(),
            start_at,
            end_at,
            reason,
            satisfied,
            violated,
            alternatives: alternatives.iter().map(slot).collect(),
            skills,
            proposal,
        }
    }
}

/// Forgets an order that takes nobody's time any more.
fn over(state: &mut State, id: WorkOrderId, ctx: &mut Ctx) {
    state.orders.remove(&id);
    stays(state, id, ctx);
}

/// An order is not to be moved any more.
fn stays(state: &mut State, id: WorkOrderId, ctx: &mut Ctx) {
    for (approval, _) in state.waiting.extract_if(.., |_, wanted| wanted.order == Some(id)) {
        ctx.cancel_wake(approval.to_string());
    }
}

/// Has those orders booked anew that nobody has begun and whose technician is no longer in the crew.
fn reassign(state: &mut State, is_meant: impl Fn(WorkOrderId, &Order) -> bool, ctx: &mut Ctx) {
    for (id, order) in &state.orders {
        let is_theirs = order.begun || state.crew.contains_key(&order.technician);
        if is_meant(*id, order) && !is_theirs && !state.waiting.contains_key(&order.approval) {
            let proposal = order.proposal.clone();
            let wanted = Wanted { proposal, by_person: false, n_attempts: 0, order: Some(*id) };
            state.waiting.insert(order.approval, wanted);
            ctx.wake_at(order.approval.to_string(), ctx.now());
        }
    }
}

/// Gives up what waits for a case that is over. An order that is there already is for people to call off.
fn withdraw(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    let over = |wanted: &Wanted| wanted.proposal.case == Some(case) && wanted.order.is_none();
    for (approval, Wanted { proposal, .. }) in state.waiting.extract_if(.., |_, wanted| over(wanted)) {
        ctx.cancel_wake(approval.to_string());
        let reason = "its case was closed before a slot was found".to_owned();
        ctx.emit(Event::ApprovalWithdrawn(Withdrawn { approval, proposal, reason }));
    }
}

/// Case makes no difference between two skills.
fn lowercase(skills: &mut [String]) {
    for skill in skills {
        *skill = skill.to_lowercase();
    }
}

/// Takes note of a booking. One that was made for the same approval with other settings does not count.
fn booked(state: &mut State, scheduled: Scheduled) {
    let Scheduled { work_order, approval, proposal, technician, start_at, end_at, .. } = scheduled;
    let is_same = |other: &Proposal| proposal.case.is_some() && other.case == proposal.case;
    state.waiting.remove(&approval);
    state.covered.retain(|covered, Covered { proposal, .. }| *covered != approval && !is_same(proposal));
    state.orders.retain(|_, order| order.approval != approval);
    state.orders.insert(work_order, Order { approval, proposal, technician, start_at, end_at, begun: false });
}
