//! The life of a case: it opens, work is booked for it, it is repaired or has been quiet for long enough.

use super::episode::{Episode, Open};
use super::rules::Work;
use super::{Due, Place, State, Validation, aside};
use domain::anomaly::Anomaly;
use domain::case::{Closed, FailureMode, Opened, Priority, Resolution, Updated};
use domain::model::Record;
use domain::{AssetId, CaseId, Event, Timestamp, WorkOrderId, work_order};
use runtime::Ctx;

impl Validation {
    /// Ends the open case of `place` if `taken_at` comes after a longer pause than an episode may have.
    pub(super) fn end_if_paused(&self, state: &mut State, place: &Place, taken_at: Timestamp, ctx: &mut Ctx) {
        let over = |open: &&Open| {
            let booked = open.at_work || open.booked_until.is_some_and(|until| taken_at <= until);
            self.gap() < taken_at.duration_since(open.evidence_at) && !booked
        };
        let case = state.episodes.get(place).and_then(|episode| episode.case.as_ref());
        if let Some(open) = case.filter(over) {
            let (case, reason) = (open.case, format!("no evidence from {} to {taken_at}", open.evidence_at));
            close(state, case, Resolution::ReturnedToNormal, reason, ctx);
        }
        let Some(episode) = state.episodes.get_mut(place) else { return };
        for (sensor, peak) in episode.forget_before_pause(taken_at, self.gap()) {
            state.pasts.entry(sensor).or_default().learn(peak);
        }
    }

    /// Makes the anomaly evidence of the open case, or of a new one.
    pub(super) fn attach(
        &self,
        episode: &mut Episode,
        anomaly: &Anomaly,
        (failure_mode, priority, record): (FailureMode, Priority, Option<Record>),
        ctx: &mut Ctx,
    ) -> CaseId {
        let now = ctx.now();
        if let Some(open) = &mut episode.case {
            open.hear(anomaly.taken_at, now);
            return open.case;
        }
        let case = CaseId(ctx.id());
        let pending = episode.take_pending(&anomaly.sensor, anomaly.taken_at);
        let times = || pending.iter().map(|(_, taken_at)| *taken_at);
        let first_evidence_at = times().fold(anomaly.taken_at, Timestamp::min);
        let last_evidence_at = times().fold(anomaly.taken_at, Timestamp::max);
        let recurrence_of =
            episode.last.as_ref().filter(|last| self.recurs(last, first_evidence_at)).map(|last| last.case);
        episode.case = Some(Open {
            case,
            priority,
            begun_at: first_evidence_at,
            evidence_at: last_evidence_at,
            heard_at: now,
            booked_until: None,
            at_work: false,
        });
        let record = record.map_or_else(String::new, |record| format!("; earlier cases of this kind: {record}"));
        ctx.emit(Event::CaseOpened(Opened {
            case,
            asset: anomaly.asset.clone(),
            failure_mode,
            sensor: anomaly.sensor.clone(),
            priority,
            first_evidence_at,
            last_evidence_at,
            reason: format!(
                "{} anomalies since {first_evidence_at}, the last one of sensor {} {:.1} times the threshold{record}",
                pending.len() + 1,
                anomaly.sensor,
                anomaly.score
            ),
            evidence: pending.into_iter().map(|(event, _)| event).collect(),
            recurrence_of,
            detector: Some(anomaly.detector.clone()),
            sensor_type: Some(anomaly.sensor_type),
        }));
        ctx.wake_at(Due::Quiet(case).key(), now + self.gap());
        case
    }

    pub(super) fn scheduled(&self, state: &mut State, order: work_order::Scheduled, ctx: &mut Ctx) {
        // Kept for a while after its end, for readings that come late.
        state.work.retain(|_, work| ctx.now().duration_since(work.end_at) <= self.gap());
        if let Some(open) = order.proposal.case.and_then(|case| open(state, case)) {
            open.booked_until = open.booked_until.max(Some(order.end_at));
        }
        let work = Work { asset: order.proposal.asset, start_at: order.start_at, end_at: order.end_at };
        state.work.insert(order.work_order, work);
    }

    /// Ends a case that has been quiet for long enough by now, or looks again when it could be.
    pub(super) fn quiet(&self, state: &mut State, case: CaseId, ctx: &mut Ctx) {
        let held = state.open.get(&case).is_some_and(|(asset, _)| aside::is_out(state, asset));
        let Some(open) = open(state, case) else { return };
        let quiet_at = open.heard_at + self.gap();
        let due = open.booked_until.map_or(quiet_at, |until| until.max(quiet_at));
        // Silence says nothing while somebody is at work: it is looked at again when they are done.
        if open.at_work || held {
            return;
        }
        if ctx.now() < due {
            ctx.wake_at(Due::Quiet(case).key(), due);
        } else {
            let reason = format!("no evidence since {}", open.evidence_at);
            close(state, case, Resolution::ReturnedToNormal, reason, ctx);
        }
    }

    /// Work that was called off: its case ends like any other.
    pub(super) fn cancelled(&self, state: &mut State, order: WorkOrderId, case: Option<CaseId>, ctx: &mut Ctx) {
        state.work.remove(&order);
        let Some(case) = case else { return };
        let Some(open) = open(state, case) else { return };
        (open.at_work, open.booked_until) = (false, None);
        let quiet_at = open.heard_at + self.gap();
        ctx.wake_at(Due::Quiet(case).key(), quiet_at.max(ctx.now()));
    }

    /// An asset that is back in service: its cases are given as long as new ones to be quiet.
    pub(super) fn ended(&self, state: &mut State, asset: &AssetId, ctx: &mut Ctx) {
        aside::ended(state, asset, ctx);
        let cases: Vec<CaseId> = state.open.iter().filter(|(_, (at, _))| at == asset).map(|(case, _)| *case).collect();
        for case in cases {
            let Some(open) = open(state, case) else { continue };
            open.heard_at = ctx.now();
            ctx.wake_at(Due::Quiet(case).key(), ctx.now() + self.gap());
        }
    }
}

/// A case that the log holds. What it holds was said, whatever would be said with the settings of now.
pub(super) fn opened(state: &mut State, opened: Opened, now: Timestamp) {
    let Opened { case, asset, failure_mode, priority, first_evidence_at, last_evidence_at, .. } = opened;
    if let Some(idx) = state.unheard.iter().position(|own| *own == case) {
        // The log holds cases in the order in which they were opened, so those before this one it does not hold.
        let never_said: Vec<CaseId> = state.unheard.drain(..=idx).filter(|own| *own != case).collect();
        never_said.into_iter().for_each(|own| unmake(state, own));
        return;
    }
    let place = (asset, failure_mode);
    if let Some(own) = state.episodes.get(&place).and_then(|episode| episode.case.as_ref()).map(|open| open.case) {
        state.unheard.retain(|unheard| *unheard != own);
        unmake(state, own);
    }
    let open = Open {
        case,
        priority,
        begun_at: first_evidence_at,
        evidence_at: last_evidence_at,
        heard_at: now,
        booked_until: None,
        at_work: false,
    };
    state.episodes.entry(place.clone()).or_default().case = Some(open);
    state.open.insert(case, place);
}

/// Forgets a case that never was.
fn unmake(state: &mut State, case: CaseId) {
    if let Some(episode) = state.open.remove(&case).and_then(|place| state.episodes.get_mut(&place)) {
        episode.case = None;
    }
}

/// The case, if it is open.
pub(super) fn open(state: &mut State, case: CaseId) -> Option<&mut Open> {
    let place = state.open.get(&case)?;
    state.episodes.get_mut(place)?.case.as_mut()
}

/// Makes the open case more urgent, if `priority` is.
pub(super) fn raise(episode: &mut Episode, priority: Priority, anomaly: &Anomaly, confidence: f64) -> Option<Updated> {
    let open = episode.case.as_mut().filter(|open| open.priority < priority)?;
    open.priority = priority;
    let reason = format!("an anomaly {:.1} times the threshold, {:.0} % sure", anomaly.score, 100.0 * confidence);
    Some(Updated { case: open.case, priority, reason })
}

/// Somebody is at work: the case stays open until they say what they found.
pub(super) fn started(state: &mut State, case: CaseId) {
    if let Some(open) = open(state, case) {
        open.at_work = true;
    }
}

/// Work that ended: its case is repaired, and from now on the sensors see the asset as it is.
pub(super) fn completed(state: &mut State, completed: &work_order::Completed, ctx: &mut Ctx) {
    if let Some(work) = state.work.get_mut(&completed.work_order) {
        work.end_at = completed.completed_at;
    }
    if let Some(case) = completed.case {
        let (resolution, found) = match completed.fault_found {
            true => (Resolution::Repaired, "a fault was found"),
            false => (Resolution::NoFaultFound, "no fault was found"),
        };
        let notes = Some(completed.notes.trim()).filter(|notes| !notes.is_empty());
        let notes = notes.map_or_else(String::new, |notes| format!(": {notes}"));
        let reason = format!("work order {} was completed, {found}{notes}", completed.work_order);
        close(state, case, resolution, reason, ctx);
    }
}

/// Ends `case` and says so, if it is open.
pub(super) fn close(state: &mut State, case: CaseId, resolution: Resolution, reason: String, ctx: &mut Ctx) {
    if forget(state, case, resolution, ctx) {
        ctx.emit(Event::CaseClosed(Closed { case, resolution, reason }));
    }
}

/// Ends `case` without a word. False if it was not open.
pub(super) fn forget(state: &mut State, case: CaseId, resolution: Resolution, ctx: &mut Ctx) -> bool {
    let Some(place) = state.open.remove(&case) else { return false };
    if let Some(episode) = state.episodes.get_mut(&place) {
        let settled = episode.end(resolution, ctx.now());
        // What was repaired was no false alarm; what ended by itself is taken for one, since nobody said otherwise.
        for (sensor, peak) in settled.into_iter().filter(|_| resolution != Resolution::Repaired) {
            state.pasts.entry(sensor).or_default().learn(peak);
        }
    }
    ctx.cancel_wake(Due::Quiet(case).key());
    aside::unshelved(state, case, ctx);
    true
}
