//! Health assessment: judges anomalies by rules and history, and gathers the credible ones into cases.
//!
//! Takes in: `AnomalyDetected`; `MaintenanceScheduled`, `WorkOrderStarted`, `WorkOrderCancelled`,
//! `MaintenanceCompleted` and `MaintenanceDeclined`; `CaseShelved` and `CaseUnshelved`; `AssetMaintenanceBegan` and
//! `AssetMaintenanceEnded`; `SensorDeclared`; `FeedbackLearned` and `DetectorRated`; `CaseClosed`; what it
//! said itself, `CaseOpened`, `CaseUpdated` and `AnomalyValidated` of a case; its timers.
//! Emits: `AnomalyValidated` for each anomaly, `CaseOpened`, `CaseUpdated`, `CaseClosed`; when their time is over,
//! `CaseUnshelved` and `AssetMaintenanceEnded`.
//! Remembers: for each asset and failure mode the evidence under way, the open case and the last one that ended;
//! of each sensor, how far evidence rose that came to nothing; planned work; what is put aside; what people said of earlier
//! alarms.
//!
//! Only what is *sustained* is evidence: no single reading opens a case, however far out it is, and none keeps one
//! open. How much it takes follows from the false alarms that the operator tolerates and from the sensor's clean past.
//! Stored readings are asked only about a reading that is not sustained, and can then move its verdict between "probably
//! not real" and "may be": whether a case opens depends on the log alone, so that a replay decides the same. The log has
//! the last word on cases: what was opened with other settings is open all the same.

mod aside;
mod episode;
mod judge;
mod life;
mod past;
mod rules;
#[cfg(test)]
mod tests;

pub use rules::Weights;

use analytics::evidence;
use aside::Window;
use domain::anomaly::Anomaly;
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::case::{Closed, FailureMode, Opened, Priority, Resolution, Shelved};
use domain::model::{DetectorRated, FeedbackLearned};
use domain::reading::SensorType;
use domain::{AssetId, CaseId, Event, SensorId, Timestamp, WorkOrderId, decision, work_order};
use episode::Episode;
use jiff::SignedDuration;
use past::Past;
use persistence::History;
use rules::{Feedback, Work};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

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
    /// Cases that it opened and has not heard of in the log yet, in that order.
    unheard: VecDeque<CaseId>,
    /// Source time of each sensor's newest anomaly.
    abnormal_at: BTreeMap<AssetId, BTreeMap<SensorId, Timestamp>>,
    /// Each sensor's clean past.
    pasts: BTreeMap<SensorId, Past>,
    work: BTreeMap<WorkOrderId, Work>,
    feedback: BTreeMap<(FailureMode, SensorId), Feedback>,
    /// What each detector's alarms are worth, by type of sensor.
    ratings: BTreeMap<(String, SensorType), Feedback>,
    /// How an asset fails when a sensor is abnormal, where somebody declared it.
    modes: BTreeMap<SensorId, FailureMode>,
    /// Cases on the shelf, and until when.
    shelf: BTreeMap<CaseId, Timestamp>,
    /// Each asset's last time out of service.
    out_of_service: BTreeMap<AssetId, Window>,
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
    /// A case was opened, by this agent.
    Opened(Box<Opened>),
    /// It became more urgent, as this agent said.
    Updated(CaseId, Priority),
    /// An anomaly of that source time was taken for evidence of it, by this agent.
    Evidence(CaseId, Timestamp),
    /// A case ended; this agent's own word, or somebody else's.
    Closed(Closed),
    /// What alarms of a kind are worth.
    Learned(FeedbackLearned),
    /// What alarms of a detector are worth.
    Rated(DetectorRated),
    /// Somebody is at work for a case.
    Started(CaseId),
    /// Nobody will be.
    Cancelled(WorkOrderId, Option<CaseId>),
    /// A case was put aside.
    Shelved(Shelved),
    /// It is back.
    Unshelved(CaseId),
    /// An asset was taken out of service.
    Began(MaintenanceBegan),
    /// It is back.
    Ended(MaintenanceEnded),
    /// How the asset fails when a sensor is abnormal.
    Declared(SensorId, Option<FailureMode>),
    /// A timer.
    Due(Due),
}

/// What is to be looked at.
#[derive(Debug)]
pub enum Due {
    /// A case may have been quiet for long enough.
    Quiet(CaseId),
    /// A case's time on the shelf may be over.
    Shelf(CaseId),
    /// An asset's time out of service may be.
    OutOfService(AssetId),
}

impl Agent for Validation {
    const NAME: &'static str = "validation";
    const STATE_VERSION: u16 = 4;
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
        let evidence::Settings { false_alarms_per_month, weight_min, weight_max, .. } = settings.evidence;
        anyhow::ensure!(
            0.0 < false_alarms_per_month && false_alarms_per_month.is_finite(),
            "evidence.false_alarms_per_month must be above 0, got {false_alarms_per_month}"
        );
        anyhow::ensure!(
            0.0 < weight_min && weight_min <= weight_max && weight_max.is_finite(),
            "0 < evidence.weight_min <= evidence.weight_max must hold, got {weight_min} and {weight_max}"
        );
        settings.weights.check()?;
        Ok(Self { settings, history })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::AnomalyDetected(anomaly) => Some(Message::Detected(Box::new(anomaly.clone()))),
            Event::MaintenanceScheduled(order) => Some(Message::Scheduled(Box::new(order.clone()))),
            Event::MaintenanceCompleted(completed) => Some(Message::Completed(completed.clone())),
            Event::MaintenanceDeclined(declined) => Some(Message::Declined(Box::new(declined.clone()))),
            Event::CaseOpened(opened) => Some(Message::Opened(Box::new(opened.clone()))),
            Event::CaseUpdated(updated) => Some(Message::Updated(updated.case, updated.priority)),
            Event::AnomalyValidated(validated) => {
                validated.case.map(|case| Message::Evidence(case, validated.anomaly.taken_at))
            }
            Event::CaseClosed(closed) => Some(Message::Closed(closed.clone())),
            Event::FeedbackLearned(learned) => Some(Message::Learned(learned.clone())),
            Event::DetectorRated(rated) => Some(Message::Rated(rated.clone())),
            Event::WorkOrderStarted(started) => started.case.map(Message::Started),
            Event::WorkOrderCancelled(cancelled) => Some(Message::Cancelled(cancelled.work_order, cancelled.case)),
            Event::CaseShelved(shelved) => Some(Message::Shelved(shelved.clone())),
            Event::CaseUnshelved(unshelved) => Some(Message::Unshelved(unshelved.case)),
            Event::AssetMaintenanceBegan(began) => Some(Message::Began(began.clone())),
            Event::AssetMaintenanceEnded(ended) => Some(Message::Ended(ended.clone())),
            Event::SensorDeclared { sensor, .. } => {
                Some(Message::Declared(sensor.sensor.id.clone(), sensor.failure_mode.clone()))
            }
            Event::TimerDue { agent, key } if agent == Self::NAME => Due::of(key).map(Message::Due),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Detected(anomaly) => self.judge(state, *anomaly, ctx).await?,
            Message::Scheduled(order) => self.scheduled(state, *order, ctx),
            Message::Started(case) => life::started(state, case),
            Message::Cancelled(order, case) => self.cancelled(state, order, case, ctx),
            Message::Completed(completed) => life::completed(state, &completed, ctx),
            Message::Declined(declined) => {
                if let Some(case) = declined.proposal.case {
                    life::close(state, case, Resolution::Declined, declined.reason, ctx);
                }
            }
            Message::Opened(opened) => life::opened(state, *opened, ctx.now()),
            Message::Updated(case, priority) => {
                if let Some(open) = life::open(state, case) {
                    open.priority = open.priority.max(priority);
                }
            }
            Message::Evidence(case, taken_at) => {
                if let Some(open) = life::open(state, case) {
                    open.hear(taken_at, ctx.now());
                }
            }
            Message::Closed(closed) => {
                life::forget(state, closed.case, closed.resolution, ctx);
            }
            Message::Learned(learned) => {
                let kind = (FailureMode(learned.failure_mode.clone()), learned.sensor.clone());
                state.feedback.insert(kind, Feedback::from(learned));
            }
            Message::Rated(DetectorRated { detector, sensor_type, precision, record }) => {
                state.ratings.insert((detector, sensor_type), Feedback { precision, record });
            }
            Message::Shelved(shelved) => aside::shelved(state, &shelved, ctx),
            Message::Unshelved(case) => aside::unshelved(state, case, ctx),
            Message::Began(began) => aside::began(state, began, ctx),
            Message::Ended(ended) => self.ended(state, &ended.asset, ctx),
            Message::Declared(sensor, Some(mode)) => {
                state.modes.insert(sensor, mode);
            }
            Message::Declared(sensor, None) => {
                state.modes.remove(&sensor);
            }
            Message::Due(Due::Quiet(case)) => self.quiet(state, case, ctx),
            Message::Due(Due::Shelf(case)) => aside::shelf_due(state, case, ctx),
            Message::Due(Due::OutOfService(asset)) => aside::service_due(state, asset, ctx),
        }
        Ok(())
    }
}

impl Validation {
    fn recurs(&self, last: &episode::Ended, taken_at: Timestamp) -> bool {
        taken_at.duration_since(last.evidence_at) <= days(self.settings.recurrence_days)
    }

    fn gap(&self) -> SignedDuration {
        SignedDuration::from_hours(self.settings.episode_gap_hours.into())
    }
}

impl Due {
    /// The timer's key.
    fn key(&self) -> String {
        match self {
            Self::Quiet(case) => case.to_string(),
            Self::Shelf(case) => format!("shelf/{case}"),
            Self::OutOfService(asset) => format!("service/{asset}"),
        }
    }

    /// What the timer of that key is about.
    fn of(key: &str) -> Option<Self> {
        match key.split_once('/') {
            None => key.parse().ok().map(Self::Quiet),
            Some(("shelf", case)) => case.parse().ok().map(Self::Shelf),
            Some(("service", asset)) => Some(Self::OutOfService(asset.into())),
            Some(_) => None,
        }
    }
}

fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}
