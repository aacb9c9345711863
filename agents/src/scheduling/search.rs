//! Which slot an approval gets.

use super::{Order, Scheduling, Settings, State};
use analytics::assignment::assign;
use domain::asset::Technician;
use domain::case::Priority;
use domain::decision::Proposal;
use domain::{TechnicianId, Timestamp};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};
use std::cmp::Reverse;

/// Further slots that are named beside the one that was booked.
const ALTERNATIVES: usize = 3;
/// Furthest ahead that a slot is looked for, however late the work is due.
pub(super) const HORIZON_DAYS_MAX: i32 = 90;
/// Approvals that wait which a search makes room for, the most urgent first.
const WAITING_MAX: usize = 20;
/// Outweighs what any slot can cost, so that scarce slots go to urgent work.
const URGENCY_COST: i64 = 10_000_000_000_000;
/// Years after which more experience counts no more.
const EXPERIENCE_YEARS_FULL: f64 = 10.0;

/// One job of those that want a slot.
pub(super) struct Job<'a> {
    pub(super) proposal: &'a Proposal,
    pub(super) skills: Vec<String>,
    pub(super) duration: SignedDuration,
}

/// A technician's free time.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) technician: &'a Technician,
    pub(super) start_at: Timestamp,
    pub(super) end_at: Timestamp,
}

impl Candidate<'_> {
    fn overlaps(&self, technician: &TechnicianId, start_at: Timestamp, end_at: Timestamp) -> bool {
        self.technician.id == *technician && self.start_at < end_at && start_at < self.end_at
    }
}

impl Scheduling {
    /// The slot for `proposal` and the next best ones, or why there is none.
    ///
    /// With nothing else waiting, the slot is the cheapest there is. Otherwise it is the one that the
    /// cheapest assignment of the waiting jobs gives it, on blocks long enough for any of them and on
    /// what is left between them.
    pub(super) fn search<'a>(
        &self,
        state: &'a State,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<(Candidate<'a>, Vec<Candidate<'a>>), Vec<String>> {
        let ours = self.job(state, proposal);
        let is_known = |job: &Job<'_>| state.crew.values().any(|one| 0 < n_matching(one, &job.skills));
        if !is_known(&ours) {
            return Err(vec![format!("no technician is skilled in {}", ours.skills.join(" or "))]);
        }
        let mut others: Vec<Job<'_>> =
            state.waiting.values().map(|wanted| self.job(state, &wanted.proposal)).filter(is_known).collect();
        others.sort_by_key(|job| Reverse(job.proposal.priority));
        others.truncate(WAITING_MAX);
        let our_duration = ours.duration;
        let jobs: Vec<Job<'_>> = std::iter::once(ours).chain(others).collect();
        let block = jobs.iter().map(|job| job.duration).max().unwrap_or(our_duration);
        let horizon = self.horizon(jobs.iter().filter_map(|job| job.proposal.due_at).max().unwrap_or(now), now);
        // A job never costs less later, so of each technician only as many of the earliest slots can
        // matter as there are jobs.
        let per_technician = jobs.len() + ALTERNATIVES;
        let mut slots = Vec::new();
        for duration in [block, our_duration] {
            for technician in state.crew.values() {
                slots.extend(self.free(state, &slots, technician, duration, horizon, now, per_technician));
            }
        }
        let costs: Vec<Vec<Option<i64>>> =
            jobs.iter().map(|job| slots.iter().map(|slot| self.cost(job, slot, now)).collect()).collect();
        let Some(best) = assign(&costs)[0] else {
            return Err(vec![match costs[0].iter().any(Option::is_some) {
                true => "every free slot is needed for more urgent work that waits".to_owned(),
                false => format!("nobody with the skills is free before {horizon}"),
            }]);
        };
        let mut rest: Vec<usize> = (0..slots.len()).filter(|slot| *slot != best && costs[0][*slot].is_some()).collect();
        rest.sort_by_key(|slot| costs[0][*slot]);
        let alternatives = rest.into_iter().take(ALTERNATIVES).map(|slot| slots[slot].clone()).collect();
        Ok((slots[best].clone(), alternatives))
    }

    pub(super) fn job<'a>(&self, state: &State, proposal: &'a Proposal) -> Job<'a> {
        let failure_mode = proposal.case.and_then(|case| state.failure_modes.get(&case)).map_or("", |mode| &mode.0);
        let names = format!("{} {} {failure_mode}", proposal.asset, proposal.sensor).to_lowercase();
        let rule = self.settings.skills.iter().find(|rule| names.contains(&rule.word));
        let is_corrective = proposal.maintenance_type.contains("corrective");
        let hours = if is_corrective { self.settings.corrective_hours } else { self.settings.other_hours };
        Job {
            proposal,
            skills: rule.map_or(&self.settings.skills_otherwise, |rule| &rule.skills).clone(),
            duration: SignedDuration::from_secs((hours * 3600.0) as i64),
        }
    }

    /// Where the search ends.
    fn horizon(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        let days = |days: i32| SignedDuration::from_hours(24 * i64::from(days));
        due.max(now + days(self.settings.horizon_days)).min(now + days(HORIZON_DAYS_MAX))
    }

    /// The earliest slots of `technician`, `limit` at most, that overlap no order, no slot in `taken` and
    /// not each other.
    #[expect(clippy::too_many_arguments, reason = "a search has that many sides")]
    fn free<'a>(
        &self,
        state: &State,
        taken: &[Candidate<'_>],
        technician: &'a Technician,
        duration: SignedDuration,
        horizon: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Vec<Candidate<'a>> {
        let earliest = now + SignedDuration::from_mins(self.settings.lead_minutes);
        let grid = SignedDuration::from_mins(self.settings.grid_minutes);
        let orders: Vec<&Order> = state.orders.values().filter(|order| order.technician == technician.id).collect();
        let is_free = |start_at: Timestamp, end_at: Timestamp| {
            earliest <= start_at
                && !orders.iter().any(|order| order.start_at < end_at && start_at < order.end_at)
                && !taken.iter().any(|slot| slot.overlaps(&technician.id, start_at, end_at))
        };
        let mut free: Vec<Candidate<'a>> = Vec::new();
        // A shift that began yesterday may go on into today.
        let mut day = self.on_site(state, now - SignedDuration::from_hours(24)).date();
        let last_day = self.on_site(state, horizon).date();
        while day <= last_day && free.len() < limit {
            let mut shifts: Vec<_> =
                technician.shifts.iter().filter_map(|shift| shift.on(day, self.zone(state))).collect();
            shifts.sort();
            for (mut start_at, shift_end) in shifts {
                while start_at + duration <= shift_end && start_at < horizon && free.len() < limit {
                    let end_at = start_at + duration;
                    if free.last().is_none_or(|last| last.end_at <= start_at) && is_free(start_at, end_at) {
                        free.push(Candidate { technician, start_at, end_at });
                    }
                    start_at += grid;
                }
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        free
    }

    pub(super) fn on_site(&self, state: &State, at: Timestamp) -> Zoned {
        at.to_zoned(self.zone(state).clone())
    }

    /// The site's.
    fn zone<'a>(&'a self, state: &'a State) -> &'a TimeZone {
        state.time_zone.as_ref().unwrap_or(&self.time_zone)
    }

    /// What it costs to do `job` in `slot`, mostly minutes of waiting; `None` if the technician has none of
    /// the skills, or not the time.
    fn cost(&self, job: &Job<'_>, slot: &Candidate<'_>, now: Timestamp) -> Option<i64> {
        let n_matching = n_matching(slot.technician, &job.skills);
        let end_at = slot.start_at + job.duration;
        if n_matching == 0 || slot.end_at < end_at {
            return None;
        }
        let minutes = |duration: SignedDuration| duration.as_secs_f64().max(0.0) / 60.0;
        let Settings { late_weight, missing_skill_minutes, experience_minutes, .. } = self.settings;
        let cost = minutes(slot.start_at.duration_since(now))
            + late_weight * job.proposal.due_at.map_or(0.0, |due| minutes(end_at.duration_since(due)))
            + missing_skill_minutes * (job.skills.len() - n_matching) as f64
            + experience_minutes * (1.0 - experience(slot.technician));
        let (weight, patience) = match job.proposal.priority {
            Priority::Critical => (8.0, 0),
            Priority::High => (4.0, 1),
            Priority::Medium => (2.0, 2),
            Priority::Low => (1.0, 3),
        };
        Some((cost * weight) as i64 + URGENCY_COST * patience)
    }

    /// How good a slot is, 0 to 1: 0.4 for the share of skills, 0.2 for experience, 0.4 for the share of
    /// the time until it is due (or until the horizon) that is left when it begins.
    pub(super) fn score(
        &self,
        proposal: &Proposal,
        technician: &Technician,
        skills: &[String],
        start_at: Timestamp,
        now: Timestamp,
    ) -> f64 {
        let until = proposal.due_at.unwrap_or_else(|| self.horizon(now, now));
        let (wait, time) = (start_at.duration_since(now).as_secs_f64(), until.duration_since(now).as_secs_f64());
        let left = if 0.0 < time { (1.0 - wait / time).clamp(0.0, 1.0) } else { 0.0 };
        let skilled = n_matching(technician, skills) as f64 / skills.len() as f64;
        0.4 * skilled + 0.2 * experience(technician) + 0.4 * left
    }
}

fn n_matching(technician: &Technician, skills: &[String]) -> usize {
    skills.iter().filter(|skill| technician.skills.contains(skill)).count()
}

/// Share of the experience that counts, 0 to 1.
fn experience(technician: &Technician) -> f64 {
    technician.experience_years.min(EXPERIENCE_YEARS_FULL) / EXPERIENCE_YEARS_FULL
}
