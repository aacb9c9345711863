//! Prognostics: says for each case how long the asset can go on.
//!
//! Takes in: `CaseOpened`, `AnomalyValidated`, `CaseClosed`, `RepairVerified`.
//! Emits: `MaintenancePredicted`, with the first evidence of a case and again each time the evidence has doubled,
//! but not more often than the settings allow by source time. That there is no trend is not said of a case that is
//! young: from a few readings it cannot be known.
//! Remembers: for each open case how much evidence there is and when it was last looked at; when an asset was repaired.
//!
//! A model that learnt from machines run to failure speaks where the settings assign it to the asset and it applies
//! (`prediction/learnt.rs`). Else it follows the sensor that opened the case. The limit is declared in the settings, or by
//! the sensor itself, or derived from the clean history before the first evidence; a derived one is no ground to act
//! without a person, and the confidence says so. "Not enough data" is an answer.

mod learnt;

use analytics::prognosis::{self, Limit, Side};
use analytics::robust;
use domain::anomaly::{Anomaly, Validated, Verdict};
use domain::case::{FailureMode, Opened};
use domain::prediction::{self, Outlook, RemainingHours};
use domain::reading::{Reading, Sensor, SensorType};
use domain::work_order::Verified;
use domain::{AssetId, CaseId, Event, SensorId, Timestamp};
use jiff::SignedDuration;
use learnt::{Asked, Assigned};
use persistence::{History, readings};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name and version of the methods, as each prediction carries them; a model has its own.
const METHOD: &str = "first_passage/1";
const NO_METHOD: &str = "none/1";
/// Source of a limit that there is none of.
const NO_TREND_TO_FOLLOW: &str = "none: a sensor that does not measure has no trend";
const NOT_ENOUGH: &str = "none: the clean history before the first evidence is too short to derive one";
const NO_SPREAD: &str = "none: the clean history does not vary, so there is nothing to measure a distance in";

/// `[agents.prediction]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Newest readings up to the evidence that are looked at.
    pub history_readings: usize,
    /// Newest readings before the first evidence from which a limit is derived.
    pub clean_readings: usize,
    /// Readings of a quality below this are left out, 0 to 1.
    pub quality_min: f64,
    /// Time between two predictions of a case at least, by source time.
    pub again_minutes: u32,
    /// Evidence from which on it is said that there is no trend.
    pub no_trend_evidence_min: u32,
    /// The most confidence that a prediction against a derived limit can have, 0 to 1.
    pub derived_confidence_max: f64,
    /// A failure that is closer than this calls for a repair now.
    pub urgent_hours: f64,
    /// Values that count as failure, the first that fits; they win over what sensors declare themselves.
    pub limits: Vec<Declared>,
    /// Models that learnt from machines run to failure, the first whose assets fit.
    pub lives: Vec<Assigned>,
    /// How far to look ahead, and on what grounds.
    pub prognosis: prognosis::Settings,
}

/// A value that counts as failure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Sensors that it is for: a name, or the beginning of names and a `*`.
    pub sensors: String,
    /// What they measure; absent for anything.
    pub sensor_type: Option<SensorType>,
    /// On which side failure lies.
    pub side: Side,
    /// The value, in the sensors' unit.
    pub value: f64,
}

impl Declared {
    fn fits(&self, sensor: &SensorId, sensor_type: SensorType) -> bool {
        is_named(&self.sensors, sensor.as_str()) && self.sensor_type.is_none_or(|declared| declared == sensor_type)
    }
}

/// Whether `pattern`, a name or the beginning of names and a `*`, names `name`.
fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |beginning| name.starts_with(beginning))
}

/// Says for each case how long the asset can go on.
#[derive(Debug)]
pub struct Prediction {
    settings: Settings,
    history: History,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    cases: BTreeMap<CaseId, Followed>,
    /// Since when an asset is as good as new.
    renewed: BTreeMap<AssetId, Timestamp>,
}

/// A case that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Followed {
    sensor: SensorId,
    failure_mode: FailureMode,
    first_evidence_at: Timestamp,
    /// Evidence from before the case opened, and since.
    n_before: u32,
    n_since: u32,
    /// Evidence since then with which the next look is due.
    n_due: u32,
    looked_as_of: Option<Timestamp>,
}

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// A case to follow.
    Opened(Opened),
    /// Evidence of a case.
    Evidence(CaseId, Box<Validated>),
    /// A case to forget.
    Closed(CaseId),
    /// A repair was found good.
    Repaired(AssetId, Timestamp),
}

impl Agent for Prediction {
    const NAME: &'static str = "prediction";
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = History;
    type State = State;
    type Message = Message;

    fn start(settings: Settings, history: History) -> anyhow::Result<Self> {
        let Settings { history_readings, prognosis, limits, .. } = &settings;
        anyhow::ensure!(
            prognosis.points_min <= *history_readings,
            "history_readings must be at least prognosis.points_min, got {history_readings}"
        );
        let horizon = prognosis.horizon_hours;
        anyhow::ensure!(horizon.is_finite() && 0.0 < horizon, "prognosis.horizon_hours must be above 0, got {horizon}");
        for assigned in &settings.lives {
            let Assigned { assets, step_minutes, .. } = assigned;
            anyhow::ensure!(1 <= *step_minutes, "step_minutes of the lives of assets {assets:?} must be at least 1");
        }
        for limit in limits {
            anyhow::ensure!(limit.value.is_finite(), "the limit of sensors {:?} must be a number", limit.sensors);
        }
        Ok(Self { settings, history })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::CaseOpened(opened) => Some(Message::Opened(opened.clone())),
            Event::AnomalyValidated(validated) if validated.verdict == Verdict::CredibleAnomaly => {
                validated.case.map(|case| Message::Evidence(case, Box::new(validated.clone())))
            }
            Event::CaseClosed(closed) => Some(Message::Closed(closed.case)),
            Event::RepairVerified(Verified { asset, since, .. }) => Some(Message::Repaired(asset.clone(), *since)),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Opened(Opened { case, sensor, failure_mode, first_evidence_at, evidence, .. }) => {
                let n_before = u32::try_from(evidence.len()).unwrap_or(u32::MAX);
                let followed = Followed {
                    sensor,
                    failure_mode,
                    first_evidence_at,
                    n_before,
                    n_since: 0,
                    n_due: 1,
                    looked_as_of: None,
                };
                state.cases.insert(case, followed);
            }
            Message::Evidence(case, validated) => {
                let Some(followed) = state.cases.get_mut(&case) else { return Ok(()) };
                if self.due(followed, &validated) {
                    let renewed_at = state.renewed.get(&validated.anomaly.asset).copied();
                    let prognosis = self.prognose(followed, &validated, renewed_at, ctx.now()).await?;
                    if self.can_be_said(followed, &prognosis) {
                        ctx.emit(Event::MaintenancePredicted(self.prediction(case, followed, &validated, prognosis)));
                    }
                }
            }
            Message::Closed(case) => {
                state.cases.remove(&case);
            }
            Message::Repaired(asset, since) => {
                state.renewed.insert(asset, since);
            }
        }
        Ok(())
    }
}

/// (seconds since the epoch, value) in order of time.
type Points = Vec<(f64, f64)>;

/// How a sensor came to where it is.
struct Course {
    /// Absent when nothing is stored of it.
    sensor: Option<Arc<Sensor>>,
    /// From before the first evidence.
    clean: Points,
    /// Since then, the evidence included.
    degrading: Points,
}

/// What was found out, before it is put into words.
struct Prognosis {
    limit: Option<f64>,
    limit_source: String,
    outlook: Outlook,
    confidence: f64,
    method: String,
    n_readings: usize,
}

impl Prediction {
    /// Counts the evidence; true when it is time to look. That depends on no reading, so that a replay looks as often.
    fn due(&self, followed: &mut Followed, validated: &Validated) -> bool {
        let taken_at = validated.anomaly.taken_at;
        if validated.anomaly.sensor != followed.sensor {
            return false;
        }
        followed.n_since = followed.n_since.saturating_add(1);
        let pause = SignedDuration::from_mins(self.settings.again_minutes.into());
        let rested = followed.looked_as_of.is_none_or(|as_of| pause <= taken_at.duration_since(as_of));
        // There is nothing to add to "the sensor is broken".
        let settled = followed.looked_as_of.is_some() && followed.failure_mode == FailureMode::sensor_fault();
        let due = followed.n_due <= followed.n_since && rested && !settled;
        if due {
            followed.n_due = followed.n_since.saturating_mul(2);
            followed.looked_as_of = Some(taken_at);
        }
        due
    }

    fn can_be_said(&self, followed: &Followed, prognosis: &Prognosis) -> bool {
        let n_evidence = followed.n_before.saturating_add(followed.n_since);
        !matches!(prognosis.outlook, Outlook::NoTrend { .. })
            || self.settings.no_trend_evidence_min <= n_evidence
            || followed.failure_mode == FailureMode::sensor_fault()
    }

    async fn prognose(
        &self,
        followed: &Followed,
        validated: &Validated,
        renewed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Prognosis, Failure> {
        let horizon_hours = self.settings.prognosis.horizon_hours;
        if followed.failure_mode == FailureMode::sensor_fault() {
            return Ok(Prognosis {
                limit: None,
                limit_source: NO_TREND_TO_FOLLOW.to_owned(),
                outlook: Outlook::NoTrend { horizon_hours },
                confidence: validated.confidence,
                method: NO_METHOD.to_owned(),
                n_readings: 0,
            });
        }
        let mut prognosis = self.by_trend(followed, validated).await?;
        // What has passed its limit has no life to be foretold.
        if prognosis.outlook != Outlook::LimitPassed
            && let Some(learnt) = self.by_model(validated, renewed_at, now).await?
        {
            prognosis = learnt;
        }
        // No outlook is surer than the evidence it rests on.
        prognosis.confidence = prognosis.confidence.min(validated.confidence);
        Ok(prognosis)
    }

    /// By the model that the settings assign to the asset, where it applies.
    async fn by_model(
        &self,
        validated: &Validated,
        renewed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Prognosis>, Failure> {
        let anomaly = &validated.anomaly;
        let fits = |assigned: &&Assigned| is_named(&assigned.assets, anomaly.asset.as_str());
        let Some(assigned) = self.settings.lives.iter().find(fits) else { return Ok(None) };
        let asked = Asked {
            asset: &anomaly.asset,
            up_to: anomaly.reading,
            as_of: anomaly.taken_at,
            renewed_at,
            now,
            readings_max: self.settings.history_readings,
            quality_min: self.settings.quality_min,
        };
        let said = learnt::life(&self.history, assigned, &asked).await?;
        Ok(said.map(|said| Prognosis {
            limit: None,
            limit_source: said.instead_of_limit,
            outlook: said.outlook,
            confidence: said.confidence,
            method: said.method,
            n_readings: said.n_readings,
        }))
    }

    /// By the course of the sensor that opened the case.
    async fn by_trend(&self, followed: &Followed, validated: &Validated) -> Result<Prognosis, Failure> {
        let horizon_hours = self.settings.prognosis.horizon_hours;
        let Course { sensor, clean, degrading } = self.course(followed, validated).await?;
        let values = |points: &[(f64, f64)]| -> Vec<f64> { points.iter().map(|(_, value)| *value).collect() };
        let clean_values = values(&clean);
        let level = |points: &[f64]| robust::median(points).unwrap_or(validated.anomaly.value);
        let rises = level(&clean_values) <= level(&values(&degrading));
        let side = if rises { Side::Above } else { Side::Below };
        let declared = self.declared(validated, sensor.as_deref(), side);
        let derived = declared.is_none();
        let limit = declared.or_else(|| prognosis::derive_limit(&clean_values, side));

        // The trend is looked for in the time that is degrading and as long before, where it began.
        let points: Points = clean.into_iter().chain(degrading.iter().copied()).collect();
        let n_points = (2 * degrading.len()).max(self.settings.prognosis.points_min).min(points.len());
        let recent = &points[points.len() - n_points..];
        let have = u32::try_from(points.len()).unwrap_or(u32::MAX);
        let need = u32::try_from(self.settings.prognosis.points_min).unwrap_or(u32::MAX);
        let (outlook, limit_source) = match &limit {
            Some(limit) => {
                (prognosis::outlook(recent, Some(limit.clone()), &self.settings.prognosis), limit.source.clone())
            }
            None if have < need => {
                let (have, need) = (points.len(), self.settings.prognosis.points_min);
                (prognosis::Outlook::NotEnoughData { have, need }, NOT_ENOUGH.to_owned())
            }
            None => (prognosis::Outlook::NoTrend { horizon_hours }, NO_SPREAD.to_owned()),
        };
        let (outlook, confidence) = match outlook {
            prognosis::Outlook::Remaining { p10_hours: p10, p50_hours: p50, p90_hours: p90, confidence } => {
                (Outlook::Remaining { remaining_hours: RemainingHours { p10, p50, p90 } }, confidence)
            }
            prognosis::Outlook::LimitPassed => (Outlook::LimitPassed, 1.0),
            prognosis::Outlook::NoTrend { horizon_hours } => (Outlook::NoTrend { horizon_hours }, 1.0),
            prognosis::Outlook::NotEnoughData { have, need } => {
                let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                (Outlook::NotEnoughData { have: count(have), need: count(need) }, 0.0)
            }
        };
        // Nor is it surer than the limit it looks for.
        let confidence = if derived { confidence.min(self.settings.derived_confidence_max) } else { confidence };
        Ok(Prognosis {
            limit: limit.map(|limit| limit.value),
            limit_source,
            outlook,
            confidence,
            method: METHOD.to_owned(),
            n_readings: n_points,
        })
    }

    /// What is stored of the sensor up to the evidence.
    async fn course(&self, followed: &Followed, validated: &Validated) -> Result<Course, Failure> {
        let anomaly = &validated.anomaly;
        let Settings { history_readings, clean_readings, .. } = self.settings;
        let Anomaly { reading, taken_at, .. } = *anomaly;
        let newest =
            readings::recent_as_of(&self.history, &anomaly.sensor, reading, taken_at, history_readings).await?;
        let sensor = newest.first().map(|reading| Arc::clone(&reading.sensor));
        let cut = newest.len() == history_readings;
        let (degrading, mut clean): (Vec<Reading>, Vec<Reading>) =
            newest.into_iter().partition(|reading| followed.first_evidence_at <= reading.taken_at);
        if cut && clean.len() < clean_readings {
            let before = Some(followed.first_evidence_at);
            clean = readings::recent(&self.history, &anomaly.sensor, before, clean_readings).await?;
            clean.retain(|reading| reading.taken_at < followed.first_evidence_at && reading.no < anomaly.reading);
        }
        clean.truncate(clean_readings);
        Ok(Course { sensor, clean: self.points(&clean), degrading: self.points(&degrading) })
    }

    /// Points in order of time, of readings in the opposite order.
    fn points(&self, newest_first: &[Reading]) -> Points {
        let good = newest_first.iter().rev().filter(|reading| self.settings.quality_min <= reading.quality);
        good.map(|reading| (reading.taken_at.as_microsecond() as f64 / 1e6, reading.value)).collect()
    }

    /// The limit that somebody declared on the side to which the sensor moves.
    fn declared(&self, validated: &Validated, sensor: Option<&Sensor>, side: Side) -> Option<Limit> {
        let anomaly = &validated.anomaly;
        let fits = |limit: &&Declared| limit.side == side && limit.fits(&anomaly.sensor, anomaly.sensor_type);
        if let Some(limit) = self.settings.limits.iter().find(fits) {
            let source = format!("declared in the settings for {}", limit.sensors);
            return Some(Limit { value: limit.value, side, source });
        }
        let value = match side {
            Side::Above => sensor?.limit_high,
            Side::Below => sensor?.limit_low,
        };
        value.map(|value| Limit { value, side, source: "declared by the sensor".to_owned() })
    }

    fn prediction(
        &self,
        case: CaseId,
        followed: &Followed,
        validated: &Validated,
        prognosis: Prognosis,
    ) -> prediction::Prediction {
        let Prognosis { limit, limit_source, outlook, confidence, method, n_readings } = prognosis;
        let anomaly = &validated.anomaly;
        let recommended_actions = self.actions(followed, anomaly.sensor_type, &outlook);
        prediction::Prediction {
            case,
            asset: anomaly.asset.clone(),
            sensor: anomaly.sensor.clone(),
            as_of: anomaly.taken_at,
            limit,
            limit_source,
            outlook,
            confidence,
            method,
            n_readings: u32::try_from(n_readings).unwrap_or(u32::MAX),
            recommended_actions,
        }
    }

    /// What to do: first what the outlook calls for, then what to look at.
    fn actions(&self, followed: &Followed, sensor_type: SensorType, outlook: &Outlook) -> Vec<String> {
        if followed.failure_mode == FailureMode::sensor_fault() {
            return vec![
                "Check the sensor, its wiring and its gateway".to_owned(),
                "Compare with a handheld measurement before you trust the sensor again".to_owned(),
            ];
        }
        let first = match outlook {
            Outlook::LimitPassed => {
                "Inspect the asset now; take it out of service if the value is confirmed".to_owned()
            }
            Outlook::Remaining { remaining_hours } if remaining_hours.p50 <= self.settings.urgent_hours => {
                format!("Repair within {:.1} days: one in ten fails by then", remaining_hours.p10 / 24.0)
            }
            Outlook::Remaining { remaining_hours } => {
                format!("Plan the repair for the next {:.0} days", remaining_hours.p10 / 24.0)
            }
            Outlook::NoTrend { .. } => "Inspect the asset at the next round: it is abnormal, but not moving".to_owned(),
            Outlook::NotEnoughData { .. } => "Inspect the asset: its history is too short for a forecast".to_owned(),
        };
        vec![first, look_at(sensor_type).to_owned()]
    }
}

/// Where to look first, by what is abnormal.
fn look_at(sensor_type: SensorType) -> &'static str {
    match sensor_type {
        SensorType::Temperature => "Check lubrication, cooling and load",
        SensorType::Vibration | SensorType::Bearing => "Check bearings, alignment, balance and mounting",
        SensorType::Pressure => "Check for leaks, blockages and valves that do not close or open",
        SensorType::Humidity => "Check seals, drains and ventilation",
        SensorType::Pump => "Check suction, impeller, seals and the valves on either side",
        SensorType::Manufacturing => "Check tool wear and the settings of the process",
        SensorType::Audio => "Listen on site, and check for loose parts and leaks",
        SensorType::Voltage => "Check supply, terminals and insulation",
        SensorType::Forecasting | SensorType::General => "Compare with neighbouring measurements and with the process",
    }
}

#[cfg(test)]
mod tests;
