//! Finds a technician and a time.
//!
//! Takes in: `MaintenanceApproved`, `MaintenanceCompleted`, `WorkOrderCancelled`, `CaseOpened` and `CaseClosed` (the
//! failure mode tells which skills it takes), `TechnicianDeclared`, `TechnicianRemoved`, `SiteDeclared`, its own
//! `MaintenanceScheduled`, its timers.
//! Emits: `MaintenanceScheduled`, `SchedulingFailed`, `ApprovalWithdrawn`.
//! Remembers: the crew, the open work orders, and the approvals that still want a slot.
//!
//! An approval gets the cheapest slot for which it does not have to outbid a more urgent one that waits;
//! each waiting approval is tried again by its own timer, so that its order carries its own correlation.
//! Orders that are booked are never moved. The log has the last word on bookings: what was said with
//! other settings still stands.

mod crew;
mod search;

pub use crew::{examples, site_time_zone};

use anyhow::ensure;
use domain::asset::Technician;
use domain::case::FailureMode;
use domain::decision::{Approved, By, Proposal};
use domain::work_order::{Scheduled, SchedulingFailed, Slot, Withdrawn};
use domain::{AssetId, CaseId, Event, EventId, TechnicianId, Timestamp, WorkOrderId};
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
    waiting: BTreeMap<EventId, Waiting>,
    failure_modes: BTreeMap<CaseId, FailureMode>,
    crew: BTreeMap<TechnicianId, Technician>,
    #[serde(with = "jiff::fmt::serde::tz::optional")]
    time_zone: Option<TimeZone>,
}

/// An open work order.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    approval: EventId,
    case: Option<CaseId>,
    asset: AssetId,
    technician: TechnicianId,
    start_at: Timestamp,
    end_at: Timestamp,
}

/// An approval that found no slot so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    proposal: Proposal,
    n_retries: u32,
}

/// What it hears.
pub enum Message {
    /// Work to be booked.
    Approved(Approved),
    /// What was booked, by this agent.
    Scheduled(Box<Scheduled>),
    /// Work that is done, or that will not be.
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
    const STATE_VERSION: u16 = 2;
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
            Message::Scheduled(scheduled) => booked(state, *scheduled),
            Message::Over(order) => {
                state.orders.remove(&order);
            }
            Message::CaseOpened(case, failure_mode) => {
                state.failure_modes.insert(case, failure_mode);
            }
            Message::CaseClosed(case) => {
                state.failure_modes.remove(&case);
                withdraw(state, case, ctx);
            }
            Message::Joined(mut technician) => {
                lowercase(&mut technician.skills);
                if !technician.example {
                    state.crew.retain(|_, other| !other.example);
                }
                state.crew.insert(technician.id.clone(), technician);
            }
            Message::Left(technician) => {
                state.crew.remove(&technician);
            }
            Message::Site(time_zone) => state.time_zone = Some(time_zone),
            Message::Retry(approval) => {
                if let Some(Waiting { proposal, n_retries }) = state.waiting.remove(&approval) {
                    self.book(state, approval, proposal, n_retries + 1, ctx);
                }
            }
        }
        Ok(())
    }
}

impl Scheduling {
    fn approved(&self, state: &mut State, Approved { proposal, by, .. }: Approved, ctx: &mut Ctx) {
        let approval = ctx.event();
        let covering = state.orders.iter().find(|(_, order)| {
            let same_case = proposal.case.is_some() && order.case == proposal.case;
            // A person who asks for more work on the asset gets it; the policy does not pile it up.
            same_case || (!matches!(by, By::Person(_)) && order.asset == proposal.asset)
        });
        if let Some((id, order)) = covering {
            let reason = format!("work order {id} from {} covers it already", order.start_at);
            let covered_by = Some(*id);
            let failed = SchedulingFailed { approval, proposal, reasons: vec![reason], covered_by };
            ctx.emit(Event::SchedulingFailed(failed));
            return;
        }
        if proposal.case.is_some() {
            state.waiting.retain(|_, waiting| waiting.proposal.case != proposal.case);
        }
        self.book(state, approval, proposal, 0, ctx);
    }

    fn book(&self, state: &mut State, approval: EventId, proposal: Proposal, n_retries: u32, ctx: &mut Ctx) {
        match self.search(state, &proposal, ctx.now()) {
            Ok((best, alternatives)) => {
                let work_order = WorkOrderId(ctx.id());
                let scheduled = self.describe(state, work_order, approval, proposal, &best, &alternatives, ctx.now());
                booked(state, scheduled.clone());
                ctx.emit(Event::MaintenanceScheduled(scheduled));
            }
            Err(mut reasons) => {
                let Settings { retry_minutes, retries_max, .. } = self.settings;
                if n_retries < retries_max {
                    ctx.wake_at(approval.to_string(), ctx.now() + SignedDuration::from_mins(retry_minutes));
                    state.waiting.insert(approval, Waiting { proposal: proposal.clone(), n_retries });
                    if 0 < n_retries {
                        return;
                    }
                    reasons.push(format!("it is tried again every {retry_minutes} min, {retries_max} times"));
                } else {
                    reasons.push(format!("given up after {} attempts", n_retries + 1));
                }
                ctx.emit(Event::SchedulingFailed(SchedulingFailed { approval, proposal, reasons, covered_by: None }));
            }
        }
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

/// Gives up what waits for a case that is over.
fn withdraw(state: &mut State, case: CaseId, ctx: &mut Ctx) {
    let over = |waiting: &Waiting| waiting.proposal.case == Some(case);
    let approvals: Vec<EventId> =
        state.waiting.iter().filter(|(_, waiting)| over(waiting)).map(|(approval, _)| *approval).collect();
    for approval in approvals {
        let Some(Waiting { proposal, .. }) = state.waiting.remove(&approval) else { continue };
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
    state.waiting.remove(&approval);
    state.orders.retain(|_, order| order.approval != approval);
    let order = Order { approval, case: proposal.case, asset: proposal.asset, technician, start_at, end_at };
    state.orders.insert(work_order, order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;
    use domain::asset::{Shift, Site};
    use domain::case::{Closed, Opened, Priority, Resolution};
    use domain::work_order::{Cancelled, Completed};
    use runtime::bench::Bench;
    use uuid::Uuid;

    fn settings() -> Settings {
        Config::defaults().section("agents.scheduling").unwrap()
    }

    fn technician(id: &str, skills: &[&str], experience_years: f64) -> Technician {
        Technician {
            id: id.into(),
            name: id.to_owned(),
            skills: skills.iter().map(|skill| (*skill).to_owned()).collect(),
            experience_years,
            shifts: vec![Shift {
                weekdays: vec![1, 2, 3, 4, 5],
                from: "08:00".parse().unwrap(),
                to: "16:00".parse().unwrap(),
            }],
            example: false,
        }
    }

    /// The bench begins on Thursday, 2026-01-01 at 00:00 UTC.
    async fn bench(technicians: Vec<Technician>) -> Bench<Scheduling> {
        bench_at("UTC", technicians).await
    }

    async fn bench_at(time_zone: &str, technicians: Vec<Technician>) -> Bench<Scheduling> {
        bench_with(settings(), time_zone, technicians).await
    }

    async fn bench_with(settings: Settings, time_zone: &str, technicians: Vec<Technician>) -> Bench<Scheduling> {
        let mut bench = Bench::start(settings, TimeZone::UTC);
        let site = Site { name: "works".to_owned(), time_zone: time_zone.to_owned() };
        bench.feed(Event::SiteDeclared { site, by: "console".to_owned() }).await;
        for technician in technicians {
            bench.feed(joined(technician)).await;
        }
        bench
    }

    fn joined(technician: Technician) -> Event {
        Event::TechnicianDeclared { technician, by: "console".to_owned() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn proposal(asset: &str, due_at: Option<&str>) -> Proposal {
        Proposal {
            case: None,
            asset: asset.into(),
            sensor: "s".into(),
            maintenance_type: "preventive".to_owned(),
            priority: Priority::Low,
            due_at: due_at.map(at),
            confidence: 0.9,
            recommended_actions: Vec::new(),
        }
    }

    fn of_case(case: u128, asset: &str) -> Proposal {
        Proposal { case: Some(CaseId(Uuid::from_u128(case))), ..proposal(asset, None) }
    }

    fn opened(case: u128, failure_mode: FailureMode) -> Event {
        Event::CaseOpened(Opened {
            case: CaseId(Uuid::from_u128(case)),
            asset: "press".into(),
            failure_mode,
            sensor: "s".into(),
            priority: Priority::Low,
            first_evidence_at: at("2026-01-01T00:00:00Z"),
            last_evidence_at: at("2026-01-01T00:00:00Z"),
            reason: String::new(),
            evidence: Vec::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        })
    }

    fn approved(proposal: Proposal) -> Event {
        Event::MaintenanceApproved(Approved { request: None, proposal, by: By::Policy, reason: String::new() })
    }

    fn scheduled(said: &[Event]) -> Scheduled {
        let [Event::MaintenanceScheduled(scheduled)] = said else { panic!("one order is booked, not {said:?}") };
        scheduled.clone()
    }

    fn failed(said: &[Event]) -> SchedulingFailed {
        let [Event::SchedulingFailed(failed)] = said else { panic!("no order is booked, not {said:?}") };
        failed.clone()
    }

    fn completed(order: &Scheduled) -> Event {
        Event::MaintenanceCompleted(Completed {
            work_order: order.work_order,
            case: order.proposal.case,
            asset: order.proposal.asset.clone(),
            technician: order.technician.clone(),
            completed_at: order.end_at,
            duration_hours: None,
            fault_found: true,
            notes: String::new(),
            close_out: None,
            by: None,
        })
    }

    #[tokio::test]
    async fn the_first_slot_of_the_shift_is_booked_and_the_next_ones_are_named() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 10.0)]).await;
        let approval = bench.next_event();
        let order = scheduled(&bench.feed(approved(proposal("press", Some("2026-01-09T00:00:00Z")))).await);
        assert_eq!(order.approval, approval);
        assert_eq!((order.start_at, order.end_at), (at("2026-01-01T08:00:00Z"), at("2026-01-01T10:00:00Z")));
        assert_eq!(order.violated, [""; 0]);
        assert!(order.satisfied.contains(&"due_at".to_owned()), "{:?}", order.satisfied);
        let starts: Vec<_> = order.alternatives.iter().map(|slot| slot.start_at.to_string()).collect();
        assert_eq!(starts, ["2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T14:00:00Z"]);
        assert!(order.reason.contains("ana") && order.reason.contains("2026-01-09"), "{}", order.reason);
        assert!((0.9..=1.0).contains(&order.score), "{}", order.score);
    }

    #[tokio::test]
    async fn nobody_is_booked_twice_and_a_shift_is_not_overrun() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let mut starts = Vec::new();
        for machine in 0..5 {
            let corrective =
                Proposal { maintenance_type: "urgent_corrective".into(), ..proposal(&format!("m{machine}"), None) };
            starts.push(scheduled(&bench.feed(approved(corrective)).await).start_at.to_string());
        }
        assert_eq!(
            starts,
            [
                "2026-01-01T08:00:00Z",
                "2026-01-01T12:00:00Z",
                "2026-01-02T08:00:00Z",
                "2026-01-02T12:00:00Z",
                "2026-01-05T08:00:00Z"
            ],
            "four hours each, two a day, not at the weekend"
        );
    }

    #[tokio::test]
    async fn a_slot_leaves_the_notice_that_a_technician_gets() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        bench.advance(at("2026-01-01T09:10:00Z")).await;
        let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
        assert_eq!(order.start_at, at("2026-01-01T10:30:00Z"), "an hour's notice, on the grid");
    }

    #[tokio::test]
    async fn shifts_go_by_the_clock_of_the_site() {
        let mut bench = bench_at("America/Sao_Paulo", vec![technician("ana", &["mechanical"], 1.0)]).await;
        let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
        assert_eq!(order.start_at, at("2026-01-01T11:00:00Z"), "08:00 in São Paulo");
        assert!(order.reason.contains("08:00"), "{}", order.reason);
    }

    #[tokio::test]
    async fn a_shift_keeps_its_hours_when_the_clocks_change() {
        // Europe goes to summer time on Sunday, 2026-03-29.
        let mut bench = bench_at("Europe/Berlin", vec![technician("ana", &["mechanical"], 1.0)]).await;
        bench.advance(at("2026-03-27T18:00:00Z")).await;
        let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
        assert_eq!(order.start_at, at("2026-03-30T06:00:00Z"));
    }

    #[tokio::test]
    async fn skills_follow_the_machine_and_its_failure() {
        let crew = || vec![technician("mech", &["mechanical"], 10.0), technician("elec", &["electrical"], 0.0)];
        let mut bench = bench(crew()).await;
        let order = scheduled(&bench.feed(approved(proposal("Pump-3", None))).await);
        assert_eq!((order.technician.as_str(), order.skills.as_slice()), ("mech", &["mechanical".to_owned()][..]));

        bench.feed(opened(1, FailureMode::sensor_fault())).await;
        let order = scheduled(&bench.feed(approved(of_case(1, "Pump-4"))).await);
        assert_eq!(order.technician.as_str(), "elec", "a sensor's fault is no pump's");
    }

    #[tokio::test]
    async fn whoever_has_every_skill_is_worth_waiting_for_and_the_lack_is_told() {
        let both = technician("both", &["electrical", "mechanical"], 5.0);
        let mut bench = bench(vec![technician("elec", &["electrical"], 5.0), both]).await;
        let first = scheduled(&bench.feed(approved(proposal("motor-1", None))).await);
        assert_eq!((first.technician.as_str(), first.violated.len()), ("both", 0));
        let all_day: Vec<_> = (2..=4).map(|n| proposal(&format!("motor-{n}"), None)).collect();
        for proposal in all_day {
            assert_eq!(scheduled(&bench.feed(approved(proposal)).await).technician.as_str(), "both");
        }
        let fifth = scheduled(&bench.feed(approved(proposal("motor-5", None))).await);
        assert_eq!((fifth.technician.as_str(), fifth.start_at), ("elec", at("2026-01-01T08:00:00Z")));
        assert_eq!(fifth.violated, ["technician_skills_match"]);
        assert!(fifth.reason.contains("mechanical"), "{}", fifth.reason);
    }

    #[tokio::test]
    async fn experience_decides_between_equals() {
        let crew = vec![technician("new", &["mechanical"], 0.0), technician("old", &["mechanical"], 30.0)];
        let order = scheduled(&bench(crew).await.feed(approved(proposal("press", None))).await);
        assert_eq!(order.technician.as_str(), "old");
    }

    #[tokio::test]
    async fn what_cannot_be_done_in_time_is_done_as_early_as_can_be() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let order = scheduled(&bench.feed(approved(proposal("press", Some("2026-01-01T09:00:00Z")))).await);
        assert_eq!(order.start_at, at("2026-01-01T08:00:00Z"));
        assert_eq!(order.violated, ["due_at"]);
    }

    #[tokio::test]
    async fn a_case_has_one_open_order_and_so_has_an_asset_by_policy() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
        for again in [of_case(1, "press"), of_case(2, "press")] {
            assert_eq!(failed(&bench.feed(approved(again)).await).covered_by, Some(order.work_order));
        }
        let by_person = |proposal| {
            let by = By::Person("ana".to_owned());
            Event::MaintenanceApproved(Approved { request: None, proposal, by, reason: String::new() })
        };
        assert_eq!(failed(&bench.feed(by_person(of_case(1, "press"))).await).covered_by, Some(order.work_order));
        scheduled(&bench.feed(by_person(of_case(2, "press"))).await);
        assert_eq!(bench.feed(completed(&order)).await, []);
        let again = scheduled(&bench.feed(by_person(of_case(1, "press"))).await);
        assert_eq!(again.start_at, order.start_at, "the freed slot can be had again");
    }

    #[tokio::test]
    async fn a_skill_that_nobody_has_is_said_once_and_given_up_in_the_end() {
        let mut bench = bench(vec![technician("ana", &["electrical"], 1.0)]).await;
        let first = failed(&bench.feed(approved(proposal("press", None))).await);
        assert_eq!(first.reasons[0], "no technician is skilled in mechanical");
        let retries = i64::from(settings().retries_max);
        let minutes = settings().retry_minutes;
        let before_last = bench.now() + SignedDuration::from_mins(minutes * retries) - SignedDuration::from_secs(1);
        assert_eq!(bench.advance(before_last).await, [], "a retry that fails says nothing new");
        let last = failed(&bench.advance(before_last + SignedDuration::from_secs(1)).await);
        assert!(last.reasons[1].starts_with("given up after"), "{:?}", last.reasons);
        assert_eq!((last.approval, last.proposal), (first.approval, first.proposal));
        assert_eq!(bench.advance(before_last + SignedDuration::from_hours(9999)).await, []);
    }

    #[tokio::test]
    async fn what_waits_is_booked_as_soon_as_a_retry_finds_a_slot() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let mut orders = Vec::new();
        let waiting = loop {
            let said = bench.feed(approved(proposal(&format!("m{}", orders.len()), None))).await;
            match &said[..] {
                [Event::MaintenanceScheduled(order)] => orders.push(order.clone()),
                _ => break failed(&said),
            }
        };
        assert_eq!(orders.len(), 4 * 10, "four a day on ten days of two weeks");
        bench.feed(completed(&orders[39])).await;
        let order = scheduled(&bench.advance(bench.now() + SignedDuration::from_mins(60)).await);
        assert_eq!((order.approval, order.start_at), (waiting.approval, orders[39].start_at));
    }

    #[tokio::test]
    async fn the_last_slot_is_kept_for_more_urgent_work_that_waits() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let mut orders = Vec::new();
        for machine in 0..40 {
            orders.push(scheduled(&bench.feed(approved(proposal(&format!("m{machine}"), None))).await));
        }
        let urgent = Proposal { priority: Priority::Critical, ..proposal("urgent", None) };
        failed(&bench.feed(approved(urgent)).await);
        bench.feed(completed(&orders[39])).await;
        let later = failed(&bench.feed(approved(proposal("idle", None))).await);
        assert_eq!(later.reasons[0], "every free slot is needed for more urgent work that waits");
    }

    #[tokio::test]
    async fn a_booking_in_the_log_counts_even_if_it_would_be_another_one_today() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let ours = scheduled(&bench.feed(approved(proposal("press", None))).await);
        let start_at = at("2026-01-01T10:00:00Z");
        let in_log = Scheduled {
            work_order: WorkOrderId(Uuid::from_u128(5)),
            start_at,
            end_at: start_at + SignedDuration::from_hours(2),
            ..ours.clone()
        };
        bench.feed(Event::MaintenanceScheduled(in_log)).await;
        let next = |said: &[Event]| scheduled(said).start_at;
        assert_eq!(next(&bench.feed(approved(proposal("a", None))).await), ours.start_at);
        assert_eq!(next(&bench.feed(approved(proposal("b", None))).await), at("2026-01-01T12:00:00Z"));
    }

    #[tokio::test]
    async fn a_closed_case_is_forgotten() {
        let crew = vec![technician("mech", &["mechanical"], 0.0), technician("elec", &["electrical"], 9.0)];
        let mut bench = bench(crew).await;
        bench.feed(opened(1, FailureMode::sensor_fault())).await;
        let resolution = Resolution::Repaired;
        let closed = Closed { case: CaseId(Uuid::from_u128(1)), resolution, reason: String::new() };
        bench.feed(Event::CaseClosed(closed)).await;
        let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
        assert_eq!(order.technician.as_str(), "mech", "how it failed is not known any more");
    }

    #[tokio::test]
    async fn an_order_that_was_called_off_frees_its_slot_and_its_case() {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
        let called_off = Cancelled {
            work_order: order.work_order,
            case: order.proposal.case,
            asset: order.proposal.asset.clone(),
            by: "shift".to_owned(),
            reason: "the press is sold".to_owned(),
        };
        assert_eq!(bench.feed(Event::WorkOrderCancelled(called_off)).await, []);
        let again = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
        assert_eq!(again.start_at, order.start_at);
    }

    #[tokio::test]
    async fn what_waits_for_a_slot_is_withdrawn_when_its_case_closes() {
        let mut bench = bench(Vec::new()).await;
        let waiting = failed(&bench.feed(approved(of_case(1, "press"))).await);
        let closed =
            Closed { case: CaseId(Uuid::from_u128(1)), resolution: Resolution::Declined, reason: String::new() };
        let said = bench.feed(Event::CaseClosed(closed)).await;
        let [Event::ApprovalWithdrawn(withdrawn)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((withdrawn.approval, &withdrawn.proposal), (waiting.approval, &waiting.proposal));
        bench.feed(joined(technician("ana", &["mechanical"], 1.0))).await;
        assert_eq!(bench.advance(bench.now() + SignedDuration::from_hours(9999)).await, [], "nothing is tried again");
    }

    #[tokio::test]
    async fn the_crew_is_who_the_log_says() {
        // Given the two examples,
        let example = |id| Technician { example: true, ..technician(id, &["mechanical"], 9.0) };
        let mut bench = bench(vec![example("tech_001"), example("tech_002")]).await;
        assert_eq!(scheduled(&bench.feed(approved(proposal("a", None))).await).technician.as_str(), "tech_001");
        // when somebody real joins, who works at night,
        let night = Shift { weekdays: vec![4], from: "22:00".parse().unwrap(), to: "06:00".parse().unwrap() };
        let ana = Technician { shifts: vec![night], ..technician("ana", &["Mechanical"], 1.0) };
        bench.feed(joined(ana)).await;
        // then the examples are gone, and the shift goes on after midnight,
        let starts: Vec<String> = {
            let mut starts = Vec::new();
            for machine in 0..5 {
                let order = scheduled(&bench.feed(approved(proposal(&format!("m{machine}"), None))).await);
                assert_eq!(order.technician.as_str(), "ana");
                starts.push(order.start_at.to_string());
            }
            starts
        };
        assert_eq!(
            starts,
            [
                "2026-01-01T22:00:00Z",
                "2026-01-02T00:00:00Z",
                "2026-01-02T02:00:00Z",
                "2026-01-02T04:00:00Z",
                "2026-01-08T22:00:00Z"
            ]
        );
        // and nobody is there when she leaves.
        let technician = "ana".into();
        bench.feed(Event::TechnicianRemoved { technician, by: "console".to_owned() }).await;
        failed(&bench.feed(approved(proposal("b", None))).await);
    }

    fn crew_error(path: &str, technicians: &str) -> String {
        let text = format!("[site]\n{path}\n[crew]\ntechnicians = [{technicians}]");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let config = Config::load(Some(file.path()), []).unwrap();
        let refused = site_time_zone(&config).err().or_else(|| examples(&config).err());
        refused.expect("it is refused").to_string()
    }

    #[test]
    fn a_crew_that_cannot_work_is_refused() {
        let ana = r#"{ id = "ana", name = "Ana", skills = ["x"], experience_years = 1, weekdays = [1], from = "08:00", to = "16:00" }"#;
        assert!(crew_error("", &format!("{ana}, {ana}")).contains("stands there twice"));
        assert!(crew_error("", &ana.replace("[1]", "[8]")).contains("weekdays [8]"));
        assert!(crew_error("", &ana.replace("16:00", "08:00")).contains("not after it began"));
        assert!(crew_error("", &ana.replace(r#"["x"]"#, "[]")).contains("has no skills"));
        assert!(crew_error(r#"time_zone = "Mars/Olympus""#, ana).contains("Mars/Olympus"));
    }
}
