//! Health assessment: judges anomalies by rules and history, and gathers the credible ones into cases.
//!
//! Takes in: `AnomalyDetected`; `MaintenanceScheduled`, `MaintenanceCompleted` and `MaintenanceDeclined`;
//! `FeedbackLearned`; `CaseClosed`; its timers.
//! Emits: `AnomalyValidated` for each anomaly, `CaseOpened`, `CaseUpdated`, `CaseClosed`.
//! Remembers: for each asset and failure mode the evidence under way, the open case and the last one that ended;
//! planned work; what people said of earlier alarms.
//!
//! Only what is *sustained* is evidence: no single reading opens a case, however far out it is, and none keeps one
//! open. Stored readings are asked only about a reading that is not sustained, and can then move its verdict between
//! "probably not real" and "may be": whether a case opens depends on the log alone, so that a replay decides the same.

mod episode;
mod rules;

pub use rules::Weights;

use analytics::evidence;
use domain::anomaly::{Anomaly, Validated, Verdict};
use domain::case::{Closed, FailureMode, Opened, Priority, Resolution, Updated};
use domain::model::FeedbackLearned;
use domain::{AssetId, CaseId, Event, ReadingNo, SensorId, Timestamp, WorkOrderId, decision, work_order};
use episode::{Ended, Episode, Open, Suspicion};
use jiff::SignedDuration;
use persistence::{History, readings};
use rules::{Feedback, Reasons, Work};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[agents.validation]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Confidence from which sustained evidence is credible, 0 to 1.
    pub credible_min: f64,
    /// Confidence below which an anomaly is probably not real, 0 to 1.
    pub false_positive_max: f64,
    /// Readings of a quality below this are no evidence, 0 to 1.
    pub quality_min: f64,
    /// Score from which a case is of high priority, if its confidence is high as well.
    pub high_score_min: f64,
    /// Score from which a case is critical, if its confidence is very high as well.
    pub critical_score_min: f64,
    /// An episode ends when there is no evidence for this long. At least 1.
    pub episode_gap_hours: u32,
    /// A case that returns within this time after the last evidence repeats the earlier one.
    pub recurrence_days: u32,
    /// How long a person's "it is nothing" keeps an episode from opening a case again, unless it becomes more urgent.
    pub declined_days: u32,
    /// Another sensor of the asset corroborates an anomaly if it had one at most this long before or after.
    pub corroboration_minutes: u32,
    /// Anomalies of a sensor that are kept as evidence until a case opens; the newest ones. At least 1.
    pub pending_max: usize,
    /// Stored readings that an anomaly which is not sustained is compared with.
    pub history_readings: usize,
    /// When evidence is sustained.
    pub evidence: evidence::Settings,
    /// What each rule adds to the confidence.
    pub weights: Weights,
}

/// Judges anomalies and keeps cases.
#[derive(Debug)]
pub struct Validation {
    settings: Settings,
    history: History,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    episodes: BTreeMap<Place, Episode>,
    /// Where the open cases are.
    open: BTreeMap<CaseId, Place>,
    /// Source time of each sensor's newest anomaly.
    abnormal_at: BTreeMap<AssetId, BTreeMap<SensorId, Timestamp>>,
    work: BTreeMap<WorkOrderId, Work>,
    feedback: BTreeMap<(FailureMode, SensorId), Feedback>,
}

/// What fails, and how: at most one case is open for each.
type Place = (AssetId, FailureMode);

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// An anomaly to judge.
    Detected(Box<Anomaly>),
    /// Somebody will work on an asset.
    Scheduled(Box<work_order::Scheduled>),
    /// They did.
    Completed(work_order::Completed),
    /// A person said that a case is nothing.
    Declined(Box<decision::Declined>),
    /// A case ended; this agent's own word, or somebody else's.
    Closed(Closed),
    /// What alarms of a kind are worth.
    Learned(FeedbackLearned),
    /// A case may have been quiet for long enough.
    Quiet(String),
}

impl Agent for Validation {
    const NAME: &'static str = "validation";
    type Settings = Settings;
    type Deps = History;
    type State = State;
    type Message = Message;

    fn start(settings: Settings, history: History) -> anyhow::Result<Self> {
        let Settings { credible_min, false_positive_max, .. } = settings;
        anyhow::ensure!(
            0.0 < false_positive_max && false_positive_max < credible_min && credible_min <= 1.0,
            "0 < false_positive_max < credible_min <= 1 must hold, got {false_positive_max} and {credible_min}"
        );
        anyhow::ensure!(1 <= settings.pending_max, "pending_max must be at least 1");
        anyhow::ensure!(1 <= settings.episode_gap_hours, "episode_gap_hours must be at least 1");
        settings.weights.check()?;
        Ok(Self { settings, history })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::AnomalyDetected(anomaly) => Some(Message::Detected(Box::new(anomaly.clone()))),
            Event::MaintenanceScheduled(order) => Some(Message::Scheduled(Box::new(order.clone()))),
            Event::MaintenanceCompleted(completed) => Some(Message::Completed(completed.clone())),
            Event::MaintenanceDeclined(declined) => Some(Message::Declined(Box::new(declined.clone()))),
            Event::CaseClosed(closed) => Some(Message::Closed(closed.clone())),
            Event::FeedbackLearned(learned) => Some(Message::Learned(learned.clone())),
            Event::TimerDue { agent, key } if agent == Self::NAME => Some(Message::Quiet(key.clone())),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Detected(anomaly) => self.judge(state, *anomaly, ctx).await?,
            Message::Scheduled(order) => self.scheduled(state, *order, ctx),
            Message::Completed(completed) => completed_work(state, &completed, ctx),
            Message::Declined(declined) => {
                if let Some(case) = declined.proposal.case {
                    close(state, case, Resolution::Declined, declined.reason, ctx);
                }
            }
            Message::Closed(closed) => {
                forget(state, closed.case, closed.resolution, ctx);
            }
            Message::Learned(FeedbackLearned { failure_mode, sensor, confirmed, dismissed, precision, .. }) => {
                let kind = (FailureMode(failure_mode), sensor);
                state.feedback.insert(kind, Feedback { confirmed, dismissed, precision });
            }
            Message::Quiet(key) => self.quiet(state, &key, ctx),
        }
        Ok(())
    }
}

impl Validation {
    async fn judge(&self, state: &mut State, anomaly: Anomaly, ctx: &mut Ctx) -> Result<(), Failure> {
        let weights = &self.settings.weights;
        let mode = rules::failure_mode(&anomaly);
        let place = (anomaly.asset.clone(), mode.clone());
        self.end_if_paused(state, &place, anomaly.taken_at, ctx);

        let mut reasons = Reasons::default();
        let disturbed = self.disturbed(state, &anomaly, &mut reasons);
        let corroborated = self.corroborated(state, &anomaly);
        let episode = state.episodes.entry(place.clone()).or_default();
        let disturbed = disturbed || self.foreign(episode, &anomaly, &mut reasons);
        let sustained = !disturbed && {
            let suspicion = episode.suspicions.entry(anomaly.sensor.clone());
            suspicion.or_insert_with(|| Suspicion::new(anomaly.taken_at)).observe(&self.settings.evidence, &anomaly)
        };
        reasons.strength(weights, &anomaly, sustained);
        if let Some(last) = episode.last.as_ref().filter(|last| self.recurs(last, anomaly.taken_at))
            && last.resolution != Resolution::Declined
        {
            reasons.recurrence(weights, last);
        }
        if let Some(feedback) = state.feedback.get(&(mode.clone(), anomaly.sensor.clone())) {
            reasons.feedback(weights, feedback);
        }
        if let Some((sensor, at)) = corroborated {
            let text = format!("sensor {sensor} of the same asset was abnormal at {at}");
            reasons.add("corroboration", weights.corroboration, text);
        }
        let Settings { high_score_min, critical_score_min, .. } = self.settings;
        let confidence = reasons.confidence();
        let priority = rules::priority(&mode, anomaly.score, confidence, high_score_min, critical_score_min);
        let declined = self.declined(episode, &anomaly, priority, ctx.now());
        if declined && let Some(last) = &episode.last {
            reasons.declined(weights, last);
        }
        if !sustained {
            reasons.history(weights, &anomaly, &self.values_before(&anomaly).await?);
        }

        let confidence = reasons.confidence();
        let verdict = match confidence {
            low if low < self.settings.false_positive_max => Verdict::FalsePositiveSuspected,
            high if self.settings.credible_min <= high && sustained && !declined => Verdict::CredibleAnomaly,
            _ => Verdict::FurtherInvestigationNeeded,
        };
        let mut update = None;
        let case = if verdict == Verdict::CredibleAnomaly {
            update = raise(episode, priority, &anomaly, confidence);
            let case = self.attach(episode, &anomaly, mode, priority, ctx);
            state.open.insert(case, place);
            Some(case)
        } else {
            if episode.case.is_none()
                && !disturbed
                && let Some(suspicion) = episode.suspicions.get_mut(&anomaly.sensor)
            {
                suspicion.keep(ctx.event(), anomaly.taken_at, self.settings.pending_max);
            }
            None
        };
        let reasons = reasons.into_list();
        let anomaly_event = ctx.event();
        ctx.emit(Event::AnomalyValidated(Validated { anomaly_event, anomaly, verdict, confidence, reasons, case }));
        if let Some(update) = update {
            ctx.emit(Event::CaseUpdated(update));
        }
        Ok(())
    }

    /// Ends the open case of `place` if `taken_at` comes after a longer pause than an episode may have.
    fn end_if_paused(&self, state: &mut State, place: &Place, taken_at: Timestamp, ctx: &mut Ctx) {
        let Some(episode) = state.episodes.get_mut(place) else { return };
        episode.forget_before_pause(taken_at, self.gap());
        let Some(open) = &episode.case else { return };
        let booked = open.booked_until.is_some_and(|until| taken_at <= until);
        if self.gap() < taken_at.duration_since(open.evidence_at) && !booked {
            let (case, reason) = (open.case, format!("no evidence from {} to {taken_at}", open.evidence_at));
            close(state, case, Resolution::ReturnedToNormal, reason, ctx);
        }
    }

    /// Whether the reading is no evidence, whatever its score.
    fn disturbed(&self, state: &State, anomaly: &Anomaly, reasons: &mut Reasons) -> bool {
        let poor = anomaly.quality < self.settings.quality_min;
        if poor {
            reasons.poor_quality(&self.settings.weights, anomaly);
        }
        let work = state.work.iter().find(|(_, work)| {
            work.asset == anomaly.asset && work.start_at <= anomaly.taken_at && anomaly.taken_at <= work.end_at
        });
        if let Some((order, work)) = work {
            reasons.maintenance(&self.settings.weights, *order, work);
        }
        poor || work.is_some()
    }

    /// Whether a late reading is of another time than the evidence that there is.
    fn foreign(&self, episode: &Episode, anomaly: &Anomaly, reasons: &mut Reasons) -> bool {
        let Some(begun_at) = episode.begun_at(&anomaly.sensor) else { return false };
        let foreign = self.gap() < begun_at.duration_since(anomaly.taken_at);
        if foreign {
            reasons.add(
                "late",
                0.0,
                format!("it is from long before the evidence under way, which begins at {begun_at}"),
            );
        }
        foreign
    }

    /// Notes when the sensor was abnormal. Gives another sensor of the asset that was at about the same time.
    fn corroborated(&self, state: &mut State, anomaly: &Anomaly) -> Option<(SensorId, Timestamp)> {
        let sensors = state.abnormal_at.entry(anomaly.asset.clone()).or_default();
        let newest = sensors.entry(anomaly.sensor.clone()).or_insert(anomaly.taken_at);
        *newest = anomaly.taken_at.max(*newest);
        let near = SignedDuration::from_mins(self.settings.corroboration_minutes.into());
        let mut others = sensors.iter().filter(|(sensor, _)| **sensor != anomaly.sensor);
        let other = others.find(|(_, at)| anomaly.taken_at.duration_since(**at).abs() <= near);
        other.map(|(sensor, at)| (sensor.clone(), *at))
    }

    /// Whether a person said that this is nothing. It holds for as long as the episode goes on, but not for ever, and
    /// not when it becomes more urgent than what they saw.
    fn declined(&self, episode: &mut Episode, anomaly: &Anomaly, priority: Priority, now: Timestamp) -> bool {
        let Some(last) = episode.last.as_mut().filter(|last| last.resolution == Resolution::Declined) else {
            return false;
        };
        let same_episode = anomaly.taken_at.duration_since(last.evidence_at) <= self.gap();
        if episode.case.is_some()
            || !same_episode
            || days(self.settings.declined_days) < now.duration_since(last.closed_at)
        {
            return false;
        }
        last.evidence_at = last.evidence_at.max(anomaly.taken_at);
        priority <= last.priority
    }

    /// Stored values of the sensor from before the reading, newest first.
    async fn values_before(&self, anomaly: &Anomaly) -> Result<Vec<f64>, Failure> {
        let before = ReadingNo(anomaly.reading.0 - 1);
        let limit = self.settings.history_readings;
        let newest = readings::recent_as_of(&self.history, &anomaly.sensor, before, limit).await?;
        Ok(newest.iter().filter(|reading| reading.taken_at <= anomaly.taken_at).map(|reading| reading.value).collect())
    }

    /// Makes the anomaly evidence of the open case, or of a new one.
    fn attach(
        &self,
        episode: &mut Episode,
        anomaly: &Anomaly,
        failure_mode: FailureMode,
        priority: Priority,
        ctx: &mut Ctx,
    ) -> CaseId {
        let now = ctx.now();
        if let Some(open) = &mut episode.case {
            open.begun_at = open.begun_at.min(anomaly.taken_at);
            open.evidence_at = open.evidence_at.max(anomaly.taken_at);
            open.heard_at = now;
            return open.case;
        }
        let case = CaseId(ctx.id());
        let pending = episode.take_pending();
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
        });
        ctx.emit(Event::CaseOpened(Opened {
            case,
            asset: anomaly.asset.clone(),
            failure_mode,
            sensor: anomaly.sensor.clone(),
            priority,
            first_evidence_at,
            last_evidence_at,
            reason: format!(
                "{} anomalies of sensor {} since {first_evidence_at}, the last one {:.1} times the threshold",
                pending.len() + 1,
                anomaly.sensor,
                anomaly.score
            ),
            evidence: pending.into_iter().map(|(event, _)| event).collect(),
            recurrence_of,
            detector: Some(anomaly.detector.clone()),
            sensor_type: Some(anomaly.sensor_type),
        }));
        ctx.wake_at(case.to_string(), now + self.gap());
        case
    }

    fn scheduled(&self, state: &mut State, order: work_order::Scheduled, ctx: &mut Ctx) {
        // Kept for a while after its end, for readings that come late.
        state.work.retain(|_, work| ctx.now().duration_since(work.end_at) <= self.gap());
        if let Some(open) = order.proposal.case.and_then(|case| open(state, case)) {
            open.booked_until = open.booked_until.max(Some(order.end_at));
        }
        let work = Work { asset: order.proposal.asset, start_at: order.start_at, end_at: order.end_at };
        state.work.insert(order.work_order, work);
    }

    /// Ends a case that has been quiet for long enough by now, or looks again when it could be.
    fn quiet(&self, state: &mut State, key: &str, ctx: &mut Ctx) {
        let Ok(case) = key.parse::<CaseId>() else { return };
        let Some(open) = open(state, case) else { return };
        let quiet_at = open.heard_at + self.gap();
        let due = open.booked_until.map_or(quiet_at, |until| until.max(quiet_at));
        if ctx.now() < due {
            ctx.wake_at(key, due);
        } else {
            let reason = format!("no evidence since {}", open.evidence_at);
            close(state, case, Resolution::ReturnedToNormal, reason, ctx);
        }
    }

    fn recurs(&self, last: &Ended, taken_at: Timestamp) -> bool {
        taken_at.duration_since(last.evidence_at) <= days(self.settings.recurrence_days)
    }

    fn gap(&self) -> SignedDuration {
        SignedDuration::from_hours(self.settings.episode_gap_hours.into())
    }
}

fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

/// The case, if it is open.
fn open(state: &mut State, case: CaseId) -> Option<&mut Open> {
    let place = state.open.get(&case)?;
    state.episodes.get_mut(place)?.case.as_mut()
}

/// Makes the open case more urgent, if `priority` is.
fn raise(episode: &mut Episode, priority: Priority, anomaly: &Anomaly, confidence: f64) -> Option<Updated> {
    let open = episode.case.as_mut().filter(|open| open.priority < priority)?;
    open.priority = priority;
    let reason = format!("an anomaly {:.1} times the threshold, {:.0} % sure", anomaly.score, 100.0 * confidence);
    Some(Updated { case: open.case, priority, reason })
}

/// Work that ended: its case is repaired, and from now on the sensors see the asset as it is.
fn completed_work(state: &mut State, completed: &work_order::Completed, ctx: &mut Ctx) {
    if let Some(work) = state.work.get_mut(&completed.work_order) {
        work.end_at = completed.completed_at;
    }
    if let Some(case) = completed.case {
        let found = if completed.fault_found { "a fault was found" } else { "no fault was found" };
        let reason = format!("work order {} was completed, {found}: {}", completed.work_order, completed.notes);
        close(state, case, Resolution::Repaired, reason, ctx);
    }
}

/// Ends `case` and says so, if it is open.
fn close(state: &mut State, case: CaseId, resolution: Resolution, reason: String, ctx: &mut Ctx) {
    if forget(state, case, resolution, ctx) {
        ctx.emit(Event::CaseClosed(Closed { case, resolution, reason }));
    }
}

/// Ends `case` without a word. False if it was not open.
fn forget(state: &mut State, case: CaseId, resolution: Resolution, ctx: &mut Ctx) -> bool {
    let Some(place) = state.open.remove(&case) else { return false };
    if let Some(episode) = state.episodes.get_mut(&place) {
        episode.end(resolution, ctx.now());
    }
    ctx.cancel_wake(case.to_string());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::Stored;
    use domain::anomaly::{Aspect, Range};
    use domain::decision::{By, Proposal};
    use domain::reading::{Sensor, SensorType};
    use domain::{DecisionRequestId, EventId, TechnicianId};
    use jiff::ToSpan;
    use runtime::bench::Bench;
    use std::sync::Arc;
    use uuid::Uuid;

    fn settings() -> Settings {
        config::Config::defaults().section("agents.validation").expect("the defaults are complete")
    }

    async fn bench() -> Bench<Validation> {
        Bench::start(settings(), History::empty().await.expect("an empty history"))
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + 60 * minute).expect("a minute of this century")
    }

    /// An anomaly of the level of `sensor-1` on `pump-1`, twice the threshold, in the given minute.
    fn anomaly(at: i64, run_length: u32) -> Anomaly {
        Anomaly {
            sensor: "sensor-1".into(),
            asset: "pump-1".into(),
            sensor_type: SensorType::Temperature,
            reading: ReadingNo(at + 1),
            taken_at: minute(at),
            value: 60.0,
            quality: 1.0,
            score: 2.0,
            expected: Range { low: 45.0, high: 55.0 },
            aspect: Aspect::Level,
            attribution: Vec::new(),
            run_length,
            // A run begins after an hour of normal readings.
            normal_before: if run_length == 1 { 60 } else { 0 },
            detector: "stream/1".to_owned(),
        }
    }

    /// A run of anomalies, one a minute from `at` on.
    fn run(at: i64, n: u32) -> Vec<Anomaly> {
        (1..=n).map(|run_length| anomaly(at + i64::from(run_length) - 1, run_length)).collect()
    }

    /// Feeds `anomalies` one after another; gives all that is said.
    async fn feed(bench: &mut Bench<Validation>, anomalies: impl IntoIterator<Item = Anomaly>) -> Vec<Event> {
        let mut said = Vec::new();
        for anomaly in anomalies {
            said.extend(bench.feed(Event::AnomalyDetected(anomaly)).await);
        }
        said
    }

    fn opened(said: &[Event]) -> Vec<&Opened> {
        said.iter()
            .filter_map(|event| if let Event::CaseOpened(opened) = event { Some(opened) } else { None })
            .collect()
    }

    fn closed(said: &[Event]) -> Vec<(CaseId, Resolution)> {
        let closed = |event: &Event| match event {
            Event::CaseClosed(closed) => Some((closed.case, closed.resolution)),
            _ => None,
        };
        said.iter().filter_map(closed).collect()
    }

    fn validated(said: &[Event]) -> Vec<&Validated> {
        let mut list = Vec::new();
        for event in said {
            if let Event::AnomalyValidated(validated) = event {
                list.push(validated);
            }
        }
        list
    }

    /// Brings a bench to where a case of the run `run(0, 10)` is open.
    async fn with_case() -> (Bench<Validation>, CaseId) {
        let mut bench = bench().await;
        let said = feed(&mut bench, run(0, 10)).await;
        let case = opened(&said)[0].case;
        (bench, case)
    }

    fn proposal(case: CaseId) -> Proposal {
        Proposal {
            case: Some(case),
            asset: "pump-1".into(),
            sensor: "sensor-1".into(),
            maintenance_type: "preventive".to_owned(),
            priority: Priority::High,
            due_at: None,
            confidence: 0.9,
            recommended_actions: Vec::new(),
        }
    }

    const ORDER: WorkOrderId = WorkOrderId(Uuid::from_u128(77));

    fn scheduled(case: CaseId, from: i64, to: i64) -> Event {
        Event::MaintenanceScheduled(work_order::Scheduled {
            work_order: ORDER,
            approval: EventId(Uuid::from_u128(7)),
            proposal: proposal(case),
            technician: TechnicianId::from("tech_001"),
            start_at: minute(from),
            end_at: minute(to),
            skills: Vec::new(),
            score: 1.0,
            reason: String::new(),
            satisfied: Vec::new(),
            violated: Vec::new(),
            alternatives: Vec::new(),
        })
    }

    fn completed(case: CaseId, at: i64) -> Event {
        Event::MaintenanceCompleted(work_order::Completed {
            work_order: ORDER,
            case: Some(case),
            asset: "pump-1".into(),
            technician: TechnicianId::from("tech_001"),
            completed_at: minute(at),
            duration_hours: None,
            fault_found: true,
            notes: "bearing replaced".to_owned(),
            close_out: None,
            by: None,
        })
    }

    fn declined(case: CaseId) -> Event {
        Event::MaintenanceDeclined(decision::Declined {
            request: DecisionRequestId::from("request"),
            proposal: proposal(case),
            by: By::Person("ann".to_owned()),
            reason: "it is the summer".to_owned(),
        })
    }

    #[tokio::test]
    async fn one_reading_is_no_case_however_far_out_it_is() {
        let mut bench = bench().await;
        let said = feed(&mut bench, [Anomaly { score: 1_000.0, ..anomaly(0, 1) }]).await;
        let [Event::AnomalyValidated(validated)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((validated.verdict, validated.case), (Verdict::FurtherInvestigationNeeded, None));
        let rules: Vec<&str> = validated.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        assert_eq!(rules, ["score", "persistence"]);
        assert_eq!(validated.reasons[0].text, "level at 1000.0 times the threshold: 60.00, expected 45.00 to 55.00");
    }

    #[tokio::test]
    async fn what_lasts_is_a_case_with_all_that_led_to_it() {
        let mut bench = bench().await;
        // Given a run of abnormal readings,
        let first = bench.next_event();
        let said = feed(&mut bench, run(0, 10)).await;
        // then a case is opened once, before the anomaly that is the first to belong to it,
        let [opened] = opened(&said)[..] else { panic!("{said:?}") };
        let at = said.iter().position(|event| matches!(event, Event::CaseOpened(_))).expect("it was opened");
        assert!(matches!(&said[at + 1], Event::AnomalyValidated(validated) if validated.case == Some(opened.case)));
        // with the earlier ones as evidence, and every later one.
        assert_eq!(opened.evidence[0], first);
        let with_case = validated(&said).iter().filter(|validated| validated.case.is_some()).count();
        assert_eq!(opened.evidence.len() + with_case, 10);
        assert_eq!((opened.asset.as_str(), opened.failure_mode.0.as_str()), ("pump-1", "abnormal_temperature"));
        assert_eq!((opened.first_evidence_at, opened.priority), (minute(0), Priority::High));
        assert_eq!(opened.recurrence_of, None);
    }

    #[tokio::test]
    async fn sixty_four_anomalies_at_once_are_one_case_with_sixty_four_pieces_of_evidence() {
        let mut bench = bench().await;
        let two_seconds = |idx: u32| minute(0) + SignedDuration::from_secs(2 * i64::from(idx));
        let burst = (1..=64).map(|idx| Anomaly { taken_at: two_seconds(idx), ..anomaly(0, idx) });
        let said = feed(&mut bench, burst).await;
        let [opened] = opened(&said)[..] else { panic!("{said:?}") };
        let with_case = validated(&said).iter().filter(|validated| validated.case == Some(opened.case)).count();
        assert_eq!(opened.evidence.len() + with_case, 64);
        assert_eq!(validated(&said).len(), 64);
    }

    #[tokio::test]
    async fn what_is_over_before_anybody_could_act_is_no_case() {
        let mut bench = bench().await;
        let at_one_instant = |idx| Anomaly { taken_at: minute(0), ..anomaly(0, idx) };
        assert_eq!(opened(&feed(&mut bench, (1..=32).map(at_one_instant)).await), Vec::<&Opened>::new());
        // But a burst that does not end is one.
        assert_eq!(opened(&feed(&mut bench, (33..=64).map(at_one_instant)).await).len(), 1);
    }

    #[tokio::test]
    async fn blips_with_normal_readings_in_between_never_add_up() {
        // Given two abnormal readings, an hour of normal ones, and so on for a week,
        let mut bench = bench().await;
        let blips = (0..168).flat_map(|hour| run(60 * hour, 2));
        // then there is no case.
        assert_eq!(opened(&feed(&mut bench, blips).await).len(), 0);
    }

    #[tokio::test]
    async fn a_fault_with_a_normal_reading_now_and_then_adds_up() {
        // Given runs of four abnormal readings with one normal reading in between,
        let mut bench = bench().await;
        let runs = (0..5).flat_map(|idx| run(5 * idx, 4));
        assert_eq!(opened(&feed(&mut bench, runs).await).len(), 1);
    }

    #[tokio::test]
    async fn sensors_of_one_asset_speak_for_each_other_and_share_a_case() {
        let mut bench = bench().await;
        let other = |anomaly| Anomaly { sensor: "sensor-2".into(), ..anomaly };
        let both = run(0, 10).into_iter().flat_map(|anomaly| [anomaly.clone(), other(anomaly)]);
        let said = feed(&mut bench, both).await;
        assert_eq!(opened(&said).len(), 1);
        let said = validated(&said);
        assert!(
            said[1].reasons.iter().any(|reason| reason.rule == "corroboration" && reason.text.contains("sensor-1"))
        );
        assert!(said[18..].iter().all(|validated| validated.case.is_some()), "{said:?}");
    }

    #[tokio::test]
    async fn a_stuck_sensor_is_a_case_of_its_own() {
        let (mut bench, case) = with_case().await;
        let stuck = run(20, 10).into_iter().map(|anomaly| Anomaly { aspect: Aspect::Stuck, score: 9.0, ..anomaly });
        let said = feed(&mut bench, stuck).await;
        let [opened] = opened(&said)[..] else { panic!("{said:?}") };
        assert!(opened.case != case && opened.failure_mode == FailureMode::sensor_fault());
        assert_eq!(opened.priority, Priority::Medium);
    }

    #[tokio::test]
    async fn a_case_is_updated_only_when_it_becomes_more_urgent() {
        let (mut bench, case) = with_case().await;
        let scores = [2.0, 1.2, 4.5, 2.0, 9.0];
        let more = (11..).zip(scores).map(|(idx, score)| Anomaly { score, ..anomaly(i64::from(idx), idx) });
        let said = feed(&mut bench, more).await;
        let updates: Vec<_> = said.iter().filter(|event| matches!(event, Event::CaseUpdated(_))).collect();
        let [Event::CaseUpdated(update)] = updates[..] else { panic!("{said:?}") };
        assert_eq!((update.case, update.priority), (case, Priority::Critical));
        assert_eq!(update.reason, "an anomaly 4.5 times the threshold, 100 % sure");
    }

    #[tokio::test]
    async fn evidence_after_a_pause_ends_the_case_and_opens_one_that_repeats_it() {
        let (mut bench, case) = with_case().await;
        let said = feed(&mut bench, run(9 + 24 * 60 + 1, 10)).await;
        assert_eq!(closed(&said), [(case, Resolution::ReturnedToNormal)]);
        let [opened] = opened(&said)[..] else { panic!("{said:?}") };
        assert_eq!(opened.recurrence_of, Some(case));
        assert!(opened.case != case && 4 <= opened.evidence.len() + 1, "it has to last again");
        let rules = &validated(&said)[0].reasons;
        assert!(rules.iter().any(|reason| reason.rule == "recurrence"), "{rules:?}");
    }

    #[tokio::test]
    async fn a_case_without_evidence_ends_after_the_gap_and_not_before() {
        let (mut bench, case) = with_case().await;
        let begin = bench.now();
        // Given more evidence ten hours on,
        assert_eq!(bench.advance(begin + 10.hours()).await, []);
        feed(&mut bench, [anomaly(600, 11)]).await;
        // then the case lives on for a day from there.
        assert_eq!(bench.advance(begin + 33.hours()).await, []);
        assert_eq!(closed(&bench.advance(begin + 34.hours()).await), [(case, Resolution::ReturnedToNormal)]);
        assert_eq!(bench.advance(begin + 340.hours()).await, []);
    }

    #[tokio::test]
    async fn single_readings_do_not_keep_a_case_open() {
        let (mut bench, case) = with_case().await;
        let begin = bench.now();
        // Given one abnormal reading every two hours, as a good detector gives now and then,
        for hour in (2..24).step_by(2) {
            assert_eq!(bench.advance(begin + hour.hours()).await, []);
            let said = feed(&mut bench, [anomaly(60 * hour, 1)]).await;
            assert_eq!(validated(&said)[0].case, None);
        }
        // then the case ends a day after the evidence that lasted.
        assert_eq!(closed(&bench.advance(begin + 24.hours()).await), [(case, Resolution::ReturnedToNormal)]);
    }

    #[tokio::test]
    async fn a_case_with_a_booked_repair_stays_open_until_the_repair() {
        let (mut bench, case) = with_case().await;
        let begin = bench.now();
        let (from, to) = (5 * 1_440, 5 * 1_440 + 240);
        assert_eq!(bench.feed(scheduled(case, from, to)).await, []);
        // Neither silence nor evidence after a pause ends it before somebody came.
        assert_eq!(bench.advance(begin + 100.hours()).await, []);
        let said = feed(&mut bench, run(4 * 1_440, 10)).await;
        assert_eq!((closed(&said), opened(&said).len()), (Vec::new(), 0));
        // What the sensor sees during the repair is no evidence.
        let said = feed(&mut bench, [Anomaly { run_length: 11, ..anomaly(from + 10, 11) }]).await;
        assert_eq!((validated(&said)[0].case, validated(&said)[0].verdict), (None, Verdict::FalsePositiveSuspected));
        // The close-out ends it,
        let said = bench.feed(completed(case, to)).await;
        assert_eq!(closed(&said), [(case, Resolution::Repaired)]);
        // and a fault that goes on has to last before it is a case again.
        let said = feed(&mut bench, run(to + 1, 10)).await;
        let [opened] = opened(&said)[..] else { panic!("{said:?}") };
        assert_eq!(opened.recurrence_of, Some(case));
        assert!(opened.first_evidence_at == minute(to + 1) && !opened.evidence.is_empty());
    }

    #[tokio::test]
    async fn what_a_person_declined_is_asked_again_only_when_it_is_more_urgent() {
        let (mut bench, case) = with_case().await;
        assert_eq!(closed(&bench.feed(declined(case)).await), [(case, Resolution::Declined)]);
        // As before: nothing.
        let same = (11..200).map(|idx| anomaly(i64::from(idx), idx));
        let said = feed(&mut bench, same).await;
        assert_eq!(opened(&said).len(), 0);
        let last = validated(&said)[188];
        assert_eq!(last.verdict, Verdict::FurtherInvestigationNeeded);
        assert!(last.reasons.iter().any(|reason| reason.rule == "declined"), "{last:?}");
        // Worse: a case.
        let worse = (200..210).map(|idx| Anomaly { score: 9.0, ..anomaly(i64::from(idx), idx) });
        let said = feed(&mut bench, worse).await;
        assert_eq!(opened(&said)[0].priority, Priority::Critical);
    }

    #[tokio::test]
    async fn a_declined_episode_may_come_back_after_some_days() {
        let (mut bench, case) = with_case().await;
        bench.feed(declined(case)).await;
        let begin = bench.now();
        bench.advance(begin + SignedDuration::from_hours(7 * 24 + 1)).await;
        let said = feed(&mut bench, (11..30).map(|idx| anomaly(i64::from(idx), idx))).await;
        assert_eq!(opened(&said).len(), 1);
    }

    #[tokio::test]
    async fn readings_of_poor_quality_are_no_evidence() {
        let mut bench = bench().await;
        let poor = run(0, 100).into_iter().map(|anomaly| Anomaly { quality: 0.4, ..anomaly });
        let said = feed(&mut bench, poor).await;
        assert_eq!(opened(&said).len(), 0);
        assert!(validated(&said).iter().all(|validated| validated.verdict != Verdict::CredibleAnomaly));
        assert_eq!(validated(&said)[99].reasons[0].rule, "quality");
    }

    #[tokio::test]
    async fn what_people_said_raises_or_lowers_the_bar() {
        async fn check(confirmed: u32, dismissed: u32, expected: usize) {
            let mut bench = bench().await;
            let learned = FeedbackLearned {
                failure_mode: "abnormal_temperature".to_owned(),
                sensor: "sensor-1".into(),
                confirmed,
                dismissed,
                precision: f64::from(confirmed + 1) / f64::from(confirmed + dismissed + 2),
                record: None,
            };
            assert_eq!(bench.feed(Event::FeedbackLearned(learned)).await, []);
            // An anomaly that lasts, but lies just above the threshold.
            let faint = run(0, 30).into_iter().map(|anomaly| Anomaly { score: 1.1, ..anomaly });
            let said = feed(&mut bench, faint).await;
            assert_eq!(opened(&said).len(), expected, "{confirmed} of {}", confirmed + dismissed);
            let reasons = &validated(&said)[0].reasons;
            let text = format!("{confirmed} of {} earlier cases of this kind were confirmed", confirmed + dismissed);
            assert!(reasons.iter().any(|reason| reason.text == text), "{reasons:?}");
        }
        check(3, 0, 1).await;
        check(0, 3, 0).await;
    }

    #[tokio::test]
    async fn late_anomalies_join_the_case_and_move_no_clock() {
        let (mut bench, case) = with_case().await;
        let late = Anomaly { normal_before: 0, ..anomaly(-300, 1) };
        let said = feed(&mut bench, [late]).await;
        assert_eq!(validated(&said)[0].case, Some(case));
        // The run goes on as if nothing had come in between.
        let said = feed(&mut bench, [anomaly(10, 11)]).await;
        assert_eq!(validated(&said)[0].case, Some(case));
        assert_eq!(said.len(), 1);
    }

    #[tokio::test]
    async fn what_comes_late_from_another_time_is_no_evidence_of_the_case() {
        let (mut bench, _) = with_case().await;
        let long_ago = (1..20).map(|idx| anomaly(i64::from(idx) - 10_000, idx));
        let said = feed(&mut bench, long_ago).await;
        assert_eq!(said.len(), 19);
        for validated in validated(&said) {
            assert!(validated.case.is_none() && validated.verdict != Verdict::CredibleAnomaly, "{validated:?}");
            assert!(validated.reasons.iter().any(|reason| reason.rule == "late"), "{validated:?}");
        }
    }

    #[tokio::test]
    async fn a_case_that_somebody_else_closed_is_closed() {
        let (mut bench, case) = with_case().await;
        let by_hand = Closed { case, resolution: Resolution::Declined, reason: "by hand".to_owned() };
        assert_eq!(bench.feed(Event::CaseClosed(by_hand)).await, []);
        let said = feed(&mut bench, [anomaly(10, 11)]).await;
        assert_eq!(validated(&said)[0].case, None);
    }

    #[tokio::test]
    async fn a_passing_anomaly_is_compared_with_what_is_stored_before_it() {
        async fn check(before: [f64; 6], expected: &[(&str, f64)]) {
            let sensor = Arc::new(Sensor {
                id: "sensor-1".into(),
                asset: "pump-1".into(),
                sensor_type: SensorType::Temperature,
                unit: None,
                limit_high: None,
                limit_low: None,
            });
            let readings: Vec<_> =
                (0..).zip(before).map(|(at, value)| (Arc::clone(&sensor), minute(at), value)).collect();
            let stored = Stored::with(&readings, Vec::new()).await;
            let mut bench = Bench::<Validation>::start(settings(), stored.history());
            let said = feed(&mut bench, [anomaly(6, 1)]).await;
            let rules: Vec<(&str, f64)> =
                validated(&said)[0].reasons[2..].iter().map(|reason| (reason.rule.as_str(), reason.weight)).collect();
            assert_eq!(rules, expected, "{before:?}");
        }
        check([50.0, 50.1, 49.9, 50.0, 50.2, 50.0], &[("stability", 0.15)]).await;
        check([58.0, 58.1, 57.9, 58.0, 58.2, 58.0], &[("stability", -0.05)]).await;
        check([50.0, 53.0, 47.0, 56.0, 52.0, 48.0], &[("stability", 0.05), ("jumps", -0.08)]).await;
    }

    #[test]
    fn figures_have_four_digits_that_count() {
        let cases = [
            (0.0, "0"),
            (95.0, "95.00"),
            (-0.001_234_56, "-0.001235"),
            (123_456.7, "123457"),
            (1e-300, "0.000000000000"),
        ];
        for (value, text) in cases {
            assert_eq!(rules::figure(value), text);
        }
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused() {
        let history = History::empty().await.expect("an empty history");
        let refused = |settings| Validation::start(settings, history.clone()).expect_err("no sense").to_string();
        let message = refused(Settings { credible_min: 0.3, ..settings() });
        assert!(message.ends_with("got 0.4 and 0.3"), "{message}");
        let weights = Weights { score: f64::NAN, ..settings().weights };
        assert!(refused(Settings { weights, ..settings() }).starts_with("weights must be between -1 and 1"));
    }
}
