//! One failure mode of one asset: suspicion, the open case, the last one that ended.

use analytics::evidence::{self, Confirmation};
use analytics::stream::{self, Readiness};
use domain::anomaly::Anomaly;
use domain::case::{Priority, Resolution};
use domain::{CaseId, EventId, SensorId, Timestamp};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One failure mode of one asset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Episode {
    pub(super) suspicions: BTreeMap<SensorId, Suspicion>,
    pub(super) case: Option<Open>,
    pub(super) last: Option<Ended>,
}

/// Evidence of one sensor, before it amounts to a case and while it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Suspicion {
    confirmation: Confirmation,
    pub(super) taken_at: Timestamp,
    /// Anomalies that are evidence of no case yet, oldest first, with their source times.
    pending: Vec<(EventId, Timestamp)>,
}

/// A case that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) case: CaseId,
    pub(super) priority: Priority,
    /// Oldest and newest evidence, by source time.
    pub(super) begun_at: Timestamp,
    pub(super) evidence_at: Timestamp,
    /// Newest evidence, by receive time.
    pub(super) heard_at: Timestamp,
    /// A repair is booked until then. The episode does not end before: nothing was done about it yet.
    pub(super) booked_until: Option<Timestamp>,
    /// Somebody is at work on it.
    pub(super) at_work: bool,
}

/// The last case that ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) case: CaseId,
    pub(super) resolution: Resolution,
    pub(super) priority: Priority,
    pub(super) closed_at: Timestamp,
    /// Newest evidence by source time; goes on while a declined episode does.
    pub(super) evidence_at: Timestamp,
}

impl Open {
    /// Takes evidence of that source time, received at `now`.
    pub(super) fn hear(&mut self, taken_at: Timestamp, now: Timestamp) {
        self.begun_at = self.begun_at.min(taken_at);
        self.evidence_at = self.evidence_at.max(taken_at);
        self.heard_at = now;
    }
}

impl Episode {
    /// The open case is over. What was held against the sensors is settled with it, and given back.
    pub(super) fn end(&mut self, resolution: Resolution, now: Timestamp) -> Vec<(SensorId, f64)> {
        let Some(Open { case, priority, evidence_at, .. }) = self.case.take() else { return Vec::new() };
        let settled = std::mem::take(&mut self.suspicions);
        self.last = Some(Ended { case, resolution, priority, closed_at: now, evidence_at });
        peaks(settled)
    }

    /// Source time of the oldest evidence under way, of the open case or else of the sensor alone.
    pub(super) fn begun_at(&self, sensor: &SensorId) -> Option<Timestamp> {
        let suspicion = || self.suspicions.get(sensor).map(Suspicion::begun_at);
        self.case.as_ref().map(|open| open.begun_at).or_else(suspicion)
    }

    /// Evidence from before a pause is no evidence of what comes after it. Gives how far it rose, by sensor, unless it
    /// belongs to a case.
    pub(super) fn forget_before_pause(&mut self, taken_at: Timestamp, gap: SignedDuration) -> Vec<(SensorId, f64)> {
        let over = |_: &SensorId, old: &mut Suspicion| gap < taken_at.duration_since(old.taken_at);
        let forgotten = self.suspicions.extract_if(.., over).collect();
        if self.case.is_some() { Vec::new() } else { peaks(forgotten) }
    }

    /// Takes what is pending and belongs to a case that `sensor` opens at `taken_at`, oldest first: all that is held
    /// against it, and what the other sensors showed since then. What they showed before may long be over.
    pub(super) fn take_pending(&mut self, sensor: &SensorId, taken_at: Timestamp) -> Vec<(EventId, Timestamp)> {
        let of = |suspicion: &mut Suspicion| std::mem::take(&mut suspicion.pending);
        let mut pending = self.suspicions.get_mut(sensor).map(of).unwrap_or_default();
        let begun_at = pending.iter().map(|(_, taken_at)| *taken_at).fold(taken_at, Timestamp::min);
        let others = self.suspicions.values_mut().flat_map(of);
        pending.extend(others.filter(|(_, taken_at)| begun_at <= *taken_at));
        pending.sort_by_key(|(_, taken_at)| *taken_at);
        pending
    }
}

fn peaks(suspicions: BTreeMap<SensorId, Suspicion>) -> Vec<(SensorId, f64)> {
    let peak = |(sensor, mut suspicion): (SensorId, Suspicion)| Some((sensor, suspicion.confirmation.take_peak()?));
    suspicions.into_iter().filter_map(peak).collect()
}

impl Suspicion {
    /// No suspicion yet, of a sensor that was abnormal at `taken_at`.
    pub(super) fn new(taken_at: Timestamp) -> Self {
        Self { confirmation: Confirmation::default(), taken_at, pending: Vec::new() }
    }

    fn begun_at(&self) -> Timestamp {
        self.pending.first().map_or(self.taken_at, |(_, taken_at)| *taken_at)
    }

    /// Takes the normal readings that came before an anomaly.
    ///
    /// Once enough have come, suspicion begins anew, and what was pending is forgotten. Gives how far it rose then; what
    /// belongs to a case is not over before the case is.
    pub(super) fn fall(&mut self, rules: &evidence::Settings, anomaly: &Anomaly, has_case: bool) -> Option<f64> {
        for _ in 0..anomaly.normal_before {
            if self.confirmation.is_clear() {
                break;
            }
            self.confirmation.observe(rules, rules.weight_max, seconds(self.taken_at), &verdict(0.0));
        }
        if !self.confirmation.is_clear() {
            return None;
        }
        self.pending.clear();
        if has_case { None } else { self.confirmation.take_peak() }
    }

    /// Adds one anomaly to what is held against the sensor; true when evidence is sustained, at a weight of `limit`.
    pub(super) fn rise(&mut self, rules: &evidence::Settings, limit: f64, anomaly: &Anomaly) -> bool {
        // A late reading adds its score; it says nothing of how long the run has lasted.
        self.taken_at = self.taken_at.max(anomaly.taken_at);
        self.confirmation.observe(rules, limit, seconds(self.taken_at), &verdict(anomaly.score))
    }

    /// What is held against the sensor.
    pub(super) fn weight(&self) -> f64 {
        self.confirmation.weight()
    }

    /// Keeps an anomaly as evidence for later, the newest `pending_max` of them.
    pub(super) fn keep(&mut self, event: EventId, taken_at: Timestamp, pending_max: usize) {
        if self.pending.len() == pending_max {
            self.pending.remove(0);
        }
        self.pending.push((event, taken_at));
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

/// A reading of that score, as far as evidence cares; 0 is a normal one.
fn verdict(score: f64) -> stream::Verdict {
    use stream::Aspect::{Level, Pattern, Rate, Season, Spread, Stuck};
    stream::Verdict {
        score,
        expected: (0.0, 0.0),
        aspect: Level,
        attribution: [Level, Rate, Spread, Stuck, Pattern, Season].map(|aspect| (aspect, 0.0)),
        run_length: 0,
        novelty: 0.0,
        anomalous: 1.0 <= score,
        readiness: Readiness::Ready,
    }
}
