//! State detection: reports readings that leave normal behaviour, of their sensor or of the asset's sensors together.
//!
//! Takes in: `ReadingsAccepted`, `ModelPromoted`; `CaseOpened`, `CaseClosed`, `AssetMaintenanceBegan` and
//! `AssetMaintenanceEnded`; `RepairVerified`; `SensorDeclared`, `AssetDeclared`.
//! Emits: `AnomalyDetected`, for each of the first readings of an anomalous run and for a sample of the rest.
//! Remembers: one streaming detector per sensor, a few kilobytes each, and one per asset with several sensors. It
//! decides nothing about cases: one outlier is a reading to look at, and `validation` says what it amounts to.
//!
//! An asset that is declared with operating modes is judged by the level at which it works; while it is off or starting
//! only declared limits count.
//!
//! Nothing is learnt while the asset is in maintenance, nor from readings of poor quality, and nothing of its sensors
//! together while it has an open case. A sensor's own detector goes on learning then, by its own rules of what to leave
//! out: held still for a whole case, it took every later season for a new fault. A verified repair starts a new baseline.

#[cfg(test)]
mod alarms;
mod by_level;
mod machine;
mod operation;

use analytics::joint;
use analytics::stream::{self, Baseline, Detector, Readiness, Verdict};
use by_level::ByLevel;
use domain::anomaly::{Anomaly, Aspect, Attribution, Range};
use domain::asset::{Asset, Declared, MaintenanceBegan, MaintenanceEnded};
use domain::case::Opened;
use domain::mode::Mode;
use domain::model::Promoted;
use domain::reading::{Accepted, Reading, Sensor};
use domain::work_order::Verified;
use domain::{AssetId, CaseId, Event, SensorId, Timestamp};
use machine::{Machine, Together};
use operation::Operations;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// What raised an anomaly, as it says itself: the sensor's own detector, …
const STREAM: &str = "stream/3";
/// … the first sight of something that the sensor never showed, …
const NOVELTY: &str = "novelty/1";
/// … the asset's sensors together, …
const JOINT: &str = "joint/1";
/// … or a limit that was declared.
pub(crate) const LIMIT: &str = "limit/1";

/// `[agents.anomaly_detection]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Readings of an anomalous run that are each reported. At least 1.
    pub evidence_run_max: u32,
    /// Of a run longer than that, one reading in so many is reported. At least 1.
    pub evidence_stride: u32,
    /// Readings of a quality below this are scored, but nothing is learnt from them. 0 to 1.
    pub quality_min: f64,
    /// How cautious the detectors of single sensors are.
    pub stream: stream::Settings,
    /// How the sensors of an asset are watched together.
    pub joint: joint::Settings,
}

/// Reports readings that leave normal behaviour.
#[derive(Debug)]
pub struct AnomalyDetection {
    settings: Settings,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    sensors: HashMap<SensorId, Watched>,
    assets: HashMap<AssetId, Machine>,
    /// Open cases, and what they are about.
    cases: BTreeMap<CaseId, AssetId>,
    limits: BTreeMap<SensorId, Limits>,
    operations: Operations,
}

/// One sensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watched {
    /// Of all its readings.
    detector: Detector,
    by_level: ByLevel,
    newest: Option<Timestamp>,
    /// Anomalous readings in a row, by whichever detector.
    run: u32,
    /// The same for late ones. They are no part of the run, which is in order of source time.
    late_run: u32,
    /// Normal readings since the last anomalous one.
    normal_since: u32,
    /// Readings from before are of the time before a repair, and say nothing of the new normal.
    renewed_at: Option<Timestamp>,
}

/// Where a declared sensor counts as failed, whatever it used to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Limits {
    high: Option<f64>,
    low: Option<f64>,
}

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// Readings to judge.
    Accepted(Accepted),
    /// A sensor's new normal.
    Promoted(Promoted),
    /// An asset is not to be learnt from.
    Opened(CaseId, AssetId),
    /// It is again, unless there is another reason.
    Closed(CaseId),
    /// Somebody works on an asset.
    Began(AssetId),
    /// They are done.
    Ended(AssetId),
    /// A repair was found good: some sensors begin anew.
    Repaired(Box<Verified>),
    /// A sensor's limits.
    Declared(Box<Sensor>),
    /// An asset's modes.
    Described(Box<Asset>),
}

impl Agent for AnomalyDetection {
    const NAME: &'static str = "anomaly_detection";
    const STATE_VERSION: u16 = 4;
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { evidence_run_max, evidence_stride, quality_min, stream, joint } = &settings;
        anyhow::ensure!(1 <= *evidence_run_max, "evidence_run_max must be at least 1");
        anyhow::ensure!(1 <= *evidence_stride, "evidence_stride must be at least 1");
        anyhow::ensure!((0.0..=1.0).contains(quality_min), "quality_min must be 0 to 1, got {quality_min}");
        for (name, value) in [
            ("stream.tail_sigmas", stream.tail_sigmas),
            ("stream.record_margin", stream.record_margin),
            ("joint.record_margin", joint.record_margin),
        ] {
            anyhow::ensure!(value.is_finite() && 1.0 <= value, "{name} must be at least 1, got {value}");
        }
        for (name, rows) in
            [("fit_rows", joint.fit_rows), ("window_rows", joint.window_rows), ("reference_rows", joint.reference_rows)]
        {
            anyhow::ensure!(1 <= rows, "joint.{name} must be at least 1");
        }
        let share = joint.release_share;
        anyhow::ensure!((0.0..=1.0).contains(&share), "joint.release_share must be 0 to 1, got {share}");
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::ReadingsAccepted(accepted) => Some(Message::Accepted(accepted.clone())),
            Event::ModelPromoted(promoted) => Some(Message::Promoted(promoted.clone())),
            Event::CaseOpened(Opened { case, asset, .. }) => Some(Message::Opened(*case, asset.clone())),
            Event::CaseClosed(closed) => Some(Message::Closed(closed.case)),
            Event::AssetMaintenanceBegan(MaintenanceBegan { asset, .. }) => Some(Message::Began(asset.clone())),
            Event::AssetMaintenanceEnded(MaintenanceEnded { asset, .. }) => Some(Message::Ended(asset.clone())),
            Event::RepairVerified(verified) => Some(Message::Repaired(Box::new(verified.clone()))),
            Event::SensorDeclared { sensor: Declared { sensor, .. }, .. } => {
                Some(Message::Declared(Box::new(sensor.clone())))
            }
            Event::AssetDeclared { asset, .. } => Some(Message::Described(Box::new(asset.clone()))),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Accepted(accepted) => {
                for reading in ctx.readings(&accepted).await?.iter() {
                    if let Some(anomaly) = self.judge(state, reading) {
                        ctx.emit(Event::AnomalyDetected(anomaly));
                    }
                }
            }
            Message::Promoted(promoted) => {
                let baseline: Baseline = serde_json::from_value(promoted.artefact)
                    .map_err(|error| anyhow::anyhow!("artefact of model {}: {error}", promoted.model))?;
                watched(&mut state.sensors, &promoted.sensor).detector.adopt(&baseline);
            }
            Message::Opened(case, asset) => {
                state.assets.entry(asset.clone()).or_default().open(case);
                state.cases.insert(case, asset);
            }
            Message::Closed(case) => {
                if let Some(machine) = state.cases.remove(&case).and_then(|asset| state.assets.get_mut(&asset)) {
                    machine.close(case);
                }
            }
            Message::Began(asset) => state.assets.entry(asset).or_default().set_maintenance(true),
            Message::Ended(asset) => state.assets.entry(asset).or_default().set_maintenance(false),
            Message::Repaired(verified) => renew(state, &verified),
            Message::Described(asset) => state.operations.declare(&asset),
            Message::Declared(sensor) => {
                let limits = Limits { high: sensor.limit_high, low: sensor.limit_low };
                if limits.high.is_none() && limits.low.is_none() {
                    state.limits.remove(&sensor.id);
                } else {
                    state.limits.insert(sensor.id, limits);
                }
            }
        }
        Ok(())
    }
}

/// The most abnormal that can be said of a reading.
struct Finding {
    score: f64,
    detector: &'static str,
    together: Option<Together>,
}

impl AnomalyDetection {
    /// Scores `reading` and learns from it. Gives the anomaly, if it is one that is reported.
    fn judge(&self, state: &mut State, reading: &Reading) -> Option<Anomaly> {
        let Settings { quality_min, stream, joint, .. } = &self.settings;
        let sensor = &reading.sensor.id;
        let limits = state.limits.get(sensor).copied();
        let watched = watched(&mut state.sensors, sensor);
        if watched.renewed_at.is_some_and(|since| reading.taken_at < since) {
            return None;
        }
        if !state.assets.contains_key(&reading.sensor.asset) {
            state.assets.insert(reading.sensor.asset.clone(), Machine::default());
        }
        let machine = state.assets.get_mut(&reading.sensor.asset).expect("it was just put there");
        let late = watched.newest.is_some_and(|newest| reading.taken_at <= newest);
        let seconds = reading.taken_at.as_microsecond() as f64 / 1e6;
        let learn = *quality_min <= reading.quality && !machine.is_in_maintenance();
        let may_be_normal = learn && !machine.has_open_case();
        if *quality_min <= reading.quality && !late {
            state.operations.hear(sensor, seconds, reading.value);
        }
        let mode = state.operations.mode(&reading.sensor.asset, seconds);
        let is_running = mode.is_none_or(Mode::is_running);
        let together = if is_running {
            machine.work_at(mode.and_then(Mode::level));
            machine.take(joint, sensor, seconds, reading.value, may_be_normal)
        } else {
            machine.rest();
            None
        };
        let learn = learn && together.is_none();
        let (verdict, level) = match mode {
            Some(Mode::Off | Mode::Starting) => (watched.detector.unjudged(stream), None),
            Some(mode) => {
                let detector = match mode.level() {
                    Some(level) => watched.by_level.declared(level, || seed(sensor)),
                    None => &mut watched.detector,
                };
                // What came in another mode was for another detector.
                detector.skip_to(watched.newest.map_or(seconds, |newest| newest.as_microsecond() as f64 / 1e6));
                (detector.observe(stream, seconds, reading.value, learn), None)
            }
            None => {
                let own = watched.detector.observe(stream, seconds, reading.value, learn);
                let may_be_normal = learn && may_be_normal;
                if late {
                    (own, None)
                } else {
                    watched.by_level.judge(stream, (seconds, reading.value), may_be_normal, own, || seed(sensor))
                }
            }
        };
        let finding = finding(&verdict, limits.and_then(|limits| limits.score(reading.value)), together);
        let run_length = match (&finding, late) {
            (Some(_), true) => {
                watched.late_run = watched.late_run.saturating_add(1);
                watched.late_run
            }
            (Some(_), false) => {
                watched.run = watched.run.saturating_add(1);
                watched.run
            }
            (None, true) => {
                watched.late_run = 0;
                0
            }
            (None, false) => {
                watched.run = 0;
                watched.normal_since = watched.normal_since.saturating_add(1);
                0
            }
        };
        if !late {
            watched.newest = Some(reading.taken_at);
        }
        let finding = finding?;
        // A late reading says nothing of what was normal in between.
        let normal_before = if late { 0 } else { std::mem::take(&mut watched.normal_since) };
        let reported = self.reported(run_length);
        reported.then(|| {
            let declared = mode.map(|mode| mode.name().to_owned());
            let mode = declared.or_else(|| watched.by_level.name(level?));
            Anomaly { run_length, normal_before, mode, ..anomaly(reading, &verdict, finding) }
        })
    }

    fn reported(&self, run_length: u32) -> bool {
        let Settings { evidence_run_max, evidence_stride, .. } = self.settings;
        run_length <= evidence_run_max || (run_length - evidence_run_max).is_multiple_of(evidence_stride)
    }
}

/// What is abnormal about a reading, if anything is: the largest score counts.
fn finding(verdict: &Verdict, limit: Option<f64>, together: Option<Together>) -> Option<Finding> {
    let own = if verdict.anomalous { verdict.score } else { 0.0 };
    let novelty = if verdict.readiness == Readiness::Ready { verdict.novelty } else { 0.0 };
    let joint = together.as_ref().map_or(0.0, |together| together.score);
    let limit = limit.unwrap_or(0.0);
    let mut best = (own, STREAM);
    for candidate in [(novelty, NOVELTY), (joint, JOINT), (limit, LIMIT)] {
        if best.0 < candidate.0 {
            best = candidate;
        }
    }
    let (score, detector) = best;
    (1.0 <= score).then_some(Finding { score, detector, together: together.filter(|_| detector == JOINT) })
}

impl Limits {
    /// 1 at the limit that `value` has reached, more beyond it; `None` between the limits.
    fn score(&self, value: f64) -> Option<f64> {
        let beyond = |limit: f64, excess: f64| {
            let scale = match (self.low, self.high) {
                (Some(low), Some(high)) => 0.5 * (high - low),
                _ => limit.abs().max(1.0),
            };
            (0.0 <= excess).then_some((1.0 + excess / scale).min(SCORE_MAX))
        };
        let above = self.high.and_then(|high| beyond(high, value - high));
        above.or_else(|| self.low.and_then(|low| beyond(low, low - value)))
    }
}

/// Beyond this, all is equally impossible.
const SCORE_MAX: f64 = 1_000.0;

/// What was normal before a repair is so no more.
fn renew(state: &mut State, verified: &Verified) {
    for sensor in &verified.sensors {
        let watched = watched(&mut state.sensors, sensor);
        *watched = Watched { renewed_at: Some(verified.since), ..Watched::new(sensor) };
    }
    if let Some(machine) = state.assets.get_mut(&verified.asset) {
        machine.renew();
    }
}

/// The sensor's place. One look-up; cloning an id counts a reference, it allocates nothing.
fn watched<'a>(sensors: &'a mut HashMap<SensorId, Watched>, sensor: &SensorId) -> &'a mut Watched {
    sensors.entry(sensor.clone()).or_insert_with(|| Watched::new(sensor))
}

impl Watched {
    fn new(sensor: &SensorId) -> Self {
        let (detector, by_level) = (Detector::new(seed(sensor)), ByLevel::default());
        Self { detector, by_level, newest: None, run: 0, late_run: 0, normal_since: 0, renewed_at: None }
    }
}

/// Chance that is the sensor's own and the same in every replay.
fn seed(sensor: &SensorId) -> u64 {
    let digest = Sha256::digest(sensor.as_str());
    u64::from_le_bytes(digest[..8].try_into().expect("a SHA-256 digest has 32 bytes"))
}

fn anomaly(reading: &Reading, verdict: &Verdict, finding: Finding) -> Anomaly {
    let mut attribution: Vec<Attribution> = verdict
        .attribution
        .iter()
        .filter(|(_, score)| 0.0 < *score)
        .map(|(of, score)| Attribution { aspect: aspect(*of), score: *score })
        .collect();
    let aspect = match finding.detector {
        STREAM => aspect(verdict.aspect),
        NOVELTY => Aspect::Pattern,
        _ => Aspect::Level,
    };
    if finding.detector != STREAM {
        attribution.retain(|own| own.aspect != aspect);
        attribution.push(Attribution { aspect, score: finding.score });
    }
    attribution.sort_by(|one, other| other.score.total_cmp(&one.score));
    let (expected, shares) =
        finding.together.map_or((verdict.expected, Vec::new()), |found| (found.expected, found.shares));
    Anomaly {
        sensor: reading.sensor.id.clone(),
        asset: reading.sensor.asset.clone(),
        sensor_type: reading.sensor.sensor_type,
        reading: reading.no,
        taken_at: reading.taken_at,
        value: reading.value,
        quality: reading.quality,
        score: finding.score,
        expected: Range { low: expected.0, high: expected.1 },
        aspect,
        attribution,
        run_length: 0,
        normal_before: 0,
        detector: finding.detector.to_owned(),
        shares,
        mode: None,
    }
}

fn aspect(of: stream::Aspect) -> Aspect {
    match of {
        stream::Aspect::Level => Aspect::Level,
        stream::Aspect::Rate => Aspect::Rate,
        stream::Aspect::Spread => Aspect::Spread,
        stream::Aspect::Stuck => Aspect::Stuck,
        stream::Aspect::Pattern => Aspect::Pattern,
        stream::Aspect::Season => Aspect::Season,
    }
}

#[cfg(test)]
mod tests;
