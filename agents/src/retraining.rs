//! Has detectors fitted anew after drift, and promotes what is better on data that it had not seen.
//!
//! Takes in: `DriftDetected`, `ModelTrained`, `TrainingFailed`, its timers; `ReadingsAccepted`, `CaseOpened`,
//! `CaseClosed`, `AssetMaintenanceBegan`, `AssetMaintenanceEnded`, `ModelPromoted`.
//! Emits: `TrainingRequested`, which the `trainer` carries out; `ModelPromoted`, `ModelRejected`.
//! Remembers: the training under way, the sensors that wait for one, and when each was last begun. One training at a
//! time, and none of a sensor within its cooldown; a drift that comes earlier waits, it is not forgotten. And the
//! challengers in the shadow, with the champions that they are watched beside.
//!
//! A challenger that wins on held-out readings is not in use yet: it foretells live ones beside the champion, and is
//! promoted when it wins there too, after it has learnt them. Until then its sensor's drift begins nothing new. Readings
//! of poor quality, of an asset with an open case or in maintenance do not count.

use analytics::stream::Baseline;
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::case::Opened;
use domain::drift::Detected;
use domain::model::{Promoted, Refused, Trained, TrainingFailed, TrainingRequested};
use domain::reading::{Accepted, Reading};
use domain::{AssetId, CaseId, Event, ModelId, SensorId, Timestamp};
use jiff::SignedDuration;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Timer for a training that nobody hears of again. No sensor's: those begin with `sensor/` or `shadow/`.
const OVERDUE: &str = "overdue";
/// Challengers in the shadow. What comes beyond is judged by held-out readings alone.
const SHADOWS_MAX: usize = 256;

/// `[agents.retraining]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Time between two trainings of one sensor at least.
    pub cooldown_hours: u32,
    /// A training that nothing was heard of for this long is given up. At least 1.
    pub overdue_minutes: u32,
    /// Share of the champion's loss by which the challenger must be better, 0 to 1.
    pub margin: f64,
    /// Live readings that a challenger foretells beside the champion before it is promoted; 0 for none.
    pub shadow_readings: u32,
    /// A challenger that has not seen as many by then is rejected. At least 1.
    pub shadow_hours: u32,
    /// Readings of a quality below this do not count, 0 to 1.
    pub quality_min: f64,
}

/// Has detectors fitted anew.
#[derive(Debug)]
pub struct Retraining {
    settings: Settings,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    running: Option<SensorId>,
    /// In order of their turn; a sensor at most once.
    waiting: VecDeque<TrainingRequested>,
    /// Sensors within their cooldown that drifted again.
    cooling: BTreeMap<SensorId, TrainingRequested>,
    begun_at: BTreeMap<SensorId, Timestamp>,
    shadows: BTreeMap<SensorId, Shadow>,
    /// Open cases, and what they are about.
    cases: BTreeMap<CaseId, AssetId>,
    maintained: BTreeSet<AssetId>,
}

/// A challenger that foretells live readings beside the champion.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shadow {
    model: ModelId,
    challenger: Baseline,
    champion: Baseline,
    /// Sums over the readings so far.
    challenger_loss: f64,
    champion_loss: f64,
    n_readings: u32,
    /// Those readings, (seconds since the epoch, value), for the challenger to learn once it is judged.
    live: Vec<(f64, f64)>,
}

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// A sensor has a new normal.
    Drifted(Detected),
    /// A challenger to judge.
    Trained(Box<Trained>),
    /// There is none.
    Failed(TrainingFailed),
    /// A timer.
    Due(String),
    /// Readings to foretell.
    Accepted(Accepted),
    /// An asset is not to be judged by.
    Opened(CaseId, AssetId),
    /// It is again, unless there is another reason.
    Closed(CaseId),
    /// Somebody works on an asset.
    Began(AssetId),
    /// They are done.
    Ended(AssetId),
    /// A version is in use.
    Promoted(ModelId, SensorId),
}

impl Agent for Retraining {
    const NAME: &'static str = "retraining";
    const STATE_VERSION: u16 = 3;
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { overdue_minutes, margin, shadow_hours, .. } = settings;
        anyhow::ensure!(1 <= shadow_hours, "shadow_hours must be at least 1");
        anyhow::ensure!(1 <= overdue_minutes, "overdue_minutes must be at least 1");
        anyhow::ensure!((0.0..1.0).contains(&margin), "margin must be at least 0 and below 1, got {margin}");
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::DriftDetected(detected) => Some(Message::Drifted(detected.clone())),
            Event::ModelTrained(trained) => Some(Message::Trained(Box::new(trained.clone()))),
            Event::TrainingFailed(failed) => Some(Message::Failed(failed.clone())),
            Event::TimerDue { agent, key } if agent == Self::NAME => Some(Message::Due(key.clone())),
            Event::ReadingsAccepted(accepted) => Some(Message::Accepted(accepted.clone())),
            Event::CaseOpened(Opened { case, asset, .. }) => Some(Message::Opened(*case, asset.clone())),
            Event::CaseClosed(closed) => Some(Message::Closed(closed.case)),
            Event::AssetMaintenanceBegan(MaintenanceBegan { asset, .. }) => Some(Message::Began(asset.clone())),
            Event::AssetMaintenanceEnded(MaintenanceEnded { asset, .. }) => Some(Message::Ended(asset.clone())),
            Event::ModelPromoted(promoted) => Some(Message::Promoted(promoted.model, promoted.sensor.clone())),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Drifted(detected) => self.drifted(state, &detected, ctx),
            Message::Trained(trained) => {
                let sensor = trained.sensor.clone();
                self.trained(state, *trained, ctx);
                ended(state, &sensor, ctx);
            }
            Message::Failed(failed) => ended(state, &failed.sensor, ctx),
            Message::Due(key) if key == OVERDUE => state.running = None,
            // The id may hold a slash of its own.
            Message::Due(key) => match key.split_once('/') {
                Some(("shadow", sensor)) => self.leave_shadow(state, sensor.into(), ctx),
                Some(("sensor", sensor)) => state.waiting.extend(state.cooling.remove(&SensorId::from(sensor))),
                _ => {}
            },
            Message::Accepted(accepted) => {
                if !state.shadows.is_empty() {
                    for reading in ctx.readings(&accepted).await?.iter() {
                        self.watch(state, reading, ctx);
                    }
                }
                return Ok(());
            }
            Message::Opened(case, asset) => drop(state.cases.insert(case, asset)),
            Message::Closed(case) => drop(state.cases.remove(&case)),
            Message::Began(asset) => drop(state.maintained.insert(asset)),
            Message::Ended(asset) => drop(state.maintained.remove(&asset)),
            Message::Promoted(model, sensor) => {
                // Its own promotion has taken it out of the shadow already.
                if let Some(other) = state.shadows.remove(&sensor).filter(|shadow| shadow.model != model) {
                    ctx.cancel_wake(format!("shadow/{sensor}"));
                    let reason = "another version was put in use while it was in the shadow".to_owned();
                    ctx.emit(Event::ModelRejected(Refused { model: other.model, sensor, reason }));
                }
            }
        }
        self.begin_next(state, ctx);
        Ok(())
    }
}

impl Retraining {
    fn drifted(&self, state: &mut State, detected: &Detected, ctx: &mut Ctx) {
        let sensor = detected.sensor.clone();
        // The readings that drift are those on which its challenger is being judged. A new one would begin that anew, and
        // never end it where a sensor keeps moving.
        if state.shadows.contains_key(&sensor) {
            return;
        }
        let cooldown = SignedDuration::from_hours(self.settings.cooldown_hours.into());
        state.begun_at.retain(|_, begun_at| ctx.now().duration_since(*begun_at) < cooldown);
        let reason = format!(
            "the median moved by {:.1} standard deviations (Kolmogorov-Smirnov {:.2}, stability index {:.2})",
            detected.effect_size, detected.ks_statistic, detected.psi
        );
        let wish = TrainingRequested { sensor: sensor.clone(), as_of: detected.as_of, reason };
        if let Some(begun_at) = state.begun_at.get(&sensor) {
            ctx.wake_at(format!("sensor/{sensor}"), *begun_at + cooldown);
            state.cooling.insert(sensor, wish);
        } else if !state.waiting.iter().any(|waiting| waiting.sensor == sensor) {
            state.waiting.push_back(wish);
        }
    }

    fn begin_next(&self, state: &mut State, ctx: &mut Ctx) {
        if state.running.is_some() {
            return;
        }
        let Some(wish) = state.waiting.pop_front() else { return };
        state.begun_at.insert(wish.sensor.clone(), ctx.now());
        state.running = Some(wish.sensor.clone());
        ctx.wake_at(OVERDUE, ctx.now() + SignedDuration::from_mins(self.settings.overdue_minutes.into()));
        ctx.emit(Event::TrainingRequested(wish));
    }

    /// What becomes of a challenger that was just trained: into the shadow, if it won.
    fn trained(&self, state: &mut State, trained: Trained, ctx: &mut Ctx) {
        let Trained { model, sensor, comparison, artefact, champion, .. } = trained;
        let verdict = self.verdict(
            (comparison.challenger_loss, comparison.champion_loss),
            &format!("{} unseen readings", comparison.n_holdout),
        );
        let shadow = champion.and_then(|champion| {
            let [challenger, champion] = [&artefact, &champion].map(|one| serde_json::from_value(one.clone()).ok());
            Some(Shadow {
                model,
                challenger: challenger?,
                champion: champion?,
                challenger_loss: 0.0,
                champion_loss: 0.0,
                n_readings: 0,
                live: Vec::new(),
            })
        });
        let room = 0 < self.settings.shadow_readings && state.shadows.len() < SHADOWS_MAX;
        match (verdict, shadow.filter(|_| room)) {
            (Err(reason), _) => {
                ctx.emit(Event::ModelRejected(Refused { model, sensor, reason }));
            }
            (Ok(reason), None) => {
                ctx.emit(Event::ModelPromoted(Promoted { model, sensor, artefact, by: None, reason }));
            }
            (Ok(_), Some(shadow)) => {
                ctx.wake_at(
                    format!("shadow/{sensor}"),
                    ctx.now() + SignedDuration::from_hours(self.settings.shadow_hours.into()),
                );
                if let Some(older) = state.shadows.insert(sensor.clone(), shadow) {
                    let reason = "a newer version was trained while it was in the shadow".to_owned();
                    ctx.emit(Event::ModelRejected(Refused { model: older.model, sensor, reason }));
                }
            }
        }
    }

    /// Has both foretell a live reading, and judges when there were enough.
    fn watch(&self, state: &mut State, reading: &Reading, ctx: &mut Ctx) {
        let Reading { sensor, value, quality, taken_at, .. } = reading;
        let is_busy =
            || state.maintained.contains(&sensor.asset) || state.cases.values().any(|asset| *asset == sensor.asset);
        if !state.shadows.contains_key(&sensor.id) || *quality < self.settings.quality_min || is_busy() {
            return;
        }
        let Some(shadow) = state.shadows.get_mut(&sensor.id) else { return };
        let point = [(taken_at.as_microsecond() as f64 / 1e6, *value)];
        shadow.challenger_loss += shadow.challenger.loss(&point);
        shadow.champion_loss += shadow.champion.loss(&point);
        shadow.n_readings += 1;
        shadow.live.extend(point);
        if shadow.n_readings < self.settings.shadow_readings {
            return;
        }
        let Some(Shadow { model, mut challenger, challenger_loss, champion_loss, n_readings, live, .. }) =
            state.shadows.remove(&sensor.id)
        else {
            return;
        };
        let (sensor, n) = (sensor.id.clone(), f64::from(n_readings));
        ctx.cancel_wake(format!("shadow/{sensor}"));
        let grounds = format!("{n_readings} live readings, in the shadow");
        let verdict = self.verdict((challenger_loss / n, champion_loss / n), &grounds);
        challenger.catch_up(&live);
        ctx.emit(match (verdict, serde_json::to_value(challenger)) {
            (Ok(reason), Ok(artefact)) => Event::ModelPromoted(Promoted { model, sensor, artefact, by: None, reason }),
            (Err(reason), _) => Event::ModelRejected(Refused { model, sensor, reason }),
            (_, Err(error)) => {
                Event::ModelRejected(Refused { model, sensor, reason: format!("it cannot be kept: {error}") })
            }
        });
    }

    /// The challenger's time is over.
    fn leave_shadow(&self, state: &mut State, sensor: SensorId, ctx: &mut Ctx) {
        if let Some(Shadow { model, n_readings, .. }) = state.shadows.remove(&sensor) {
            let (hours, wanted) = (self.settings.shadow_hours, self.settings.shadow_readings);
            let reason = format!("only {n_readings} of {wanted} live readings to compare on within {hours} hours");
            ctx.emit(Event::ModelRejected(Refused { model, sensor, reason }));
        }
    }

    /// Whether the challenger wins by the margin, and the reason either way.
    fn verdict(&self, (challenger, champion): (f64, f64), grounds: &str) -> Result<String, String> {
        let reason = format!(
            "loss {challenger:.4} against the champion's {champion:.4} on {grounds}; it takes {:.0} % less to win",
            100.0 * self.settings.margin
        );
        if challenger < champion * (1.0 - self.settings.margin) { Ok(reason) } else { Err(reason) }
    }
}

/// The training of `sensor` is over. One that was asked for by somebody else ends nothing here.
fn ended(state: &mut State, sensor: &SensorId, ctx: &mut Ctx) {
    if state.running.as_ref() == Some(sensor) {
        state.running = None;
        ctx.cancel_wake(OVERDUE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::{Closed, FailureMode, Priority, Resolution};
    use domain::decision::By;
    use domain::model::Comparison;
    use domain::reading::{Sensor, SensorType};
    use runtime::bench::Bench;
    use std::sync::Arc;
    use uuid::Uuid;

    fn settings() -> Settings {
        config::Config::defaults().section("agents.retraining").expect("the defaults are complete")
    }

    fn bench() -> Bench<Retraining> {
        Bench::start(settings(), ())
    }

    fn drifted(sensor: &str) -> Event {
        Event::DriftDetected(Detected {
            sensor: sensor.into(),
            as_of: Timestamp::UNIX_EPOCH,
            ks_statistic: 0.9,
            p_value: 1e-9,
            psi: 2.0,
            effect_size: 3.0,
            spread_ratio: None,
            n_baseline: 100,
            n_recent: 100,
        })
    }

    fn trained(sensor: &str, champion_loss: f64, challenger_loss: f64) -> Event {
        let comparison = Comparison { champion_loss, challenger_loss, n_train: 300, n_holdout: 100 };
        Event::ModelTrained(Trained {
            model: ModelId(Uuid::from_u128(1)),
            name: format!("stream_detector/{sensor}"),
            sensor: sensor.into(),
            comparison,
            artefact: serde_json::json!({ "level": 7.0 }),
            champion: None,
        })
    }

    /// Half a day of one value a minute, spread evenly over `level` ± 1.
    fn around(level: f64, from_minute: i64) -> Vec<(f64, f64)> {
        let at = |minute: i64| (60 * (from_minute + minute)) as f64;
        (0..720).map(|minute| (at(minute), level + 2.0 * ((minute * 7_919 % 101) as f64 / 101.0) - 1.0)).collect()
    }

    /// A challenger fitted on the level 9 beside a champion of the level 5, which it beat.
    fn challenger(sensor: &str) -> Event {
        let Event::ModelTrained(trained) = trained(sensor, 1.0, 0.5) else { unreachable!() };
        let fitted = |level| serde_json::to_value(Baseline::fit(&around(level, 0)).unwrap()).unwrap();
        Event::ModelTrained(Trained { artefact: fitted(9.0), champion: Some(fitted(5.0)), ..trained })
    }

    async fn live(bench: &mut Bench<Retraining>, level: f64, n: usize) -> Vec<Event> {
        let sensor = Arc::new(Sensor {
            id: "a".into(),
            asset: "pump-1".into(),
            sensor_type: SensorType::Pressure,
            unit: None,
            limit_high: None,
            limit_low: None,
        });
        let readings = around(level, 720).into_iter().take(n);
        let readings = readings.map(|(at, value)| (Timestamp::from_second(at as i64).unwrap(), value));
        bench.feed_readings(&sensor, &readings.collect::<Vec<_>>()).await
    }

    #[tokio::test]
    async fn a_challenger_proves_itself_in_the_shadow_before_it_is_promoted() {
        for (level, expected) in [(9.0, "promote a"), (5.0, "reject a")] {
            let mut bench = bench();
            assert_eq!(brief(&bench.feed(challenger("a")).await), [""; 0]);
            // Readings of a faulty asset say nothing, nor do those taken while it is worked on;
            bench.feed(opened(9)).await;
            assert_eq!(live(&mut bench, level, 300).await, []);
            bench.feed(closed(9)).await;
            let (asset, by, reason) = (AssetId::from("pump-1"), "ana".to_owned(), "a test".to_owned());
            let began =
                MaintenanceBegan { asset: asset.clone(), by: by.clone(), reason, until: None, work_order: None };
            bench.feed(Event::AssetMaintenanceBegan(began)).await;
            assert_eq!(live(&mut bench, level, 300).await, []);
            let (by, reason) = (By::Person(by), "a test".to_owned());
            bench.feed(Event::AssetMaintenanceEnded(MaintenanceEnded { asset, by, reason })).await;
            // and of others it takes as many as are set.
            assert_eq!(live(&mut bench, level, 199).await, []);
            let said = live(&mut bench, level, 1).await;
            assert_eq!(brief(&said), [expected], "{said:?}");
            assert_eq!(live(&mut bench, level, 300).await, []);
        }
    }

    #[tokio::test]
    async fn a_challenger_that_sees_too_little_or_is_overtaken_is_rejected() {
        let mut bench = bench();
        let hours = SignedDuration::from_hours(i64::from(settings().shadow_hours));
        // An id may look like a timer's key.
        for sensor in ["a", "shadow/a"] {
            bench.feed(challenger(sensor)).await;
            let over = bench.now() + hours;
            let said = bench.advance(over).await;
            assert_eq!(brief(&said), [format!("reject {sensor}")]);
        }
        bench.feed(challenger("a")).await;
        let other = Promoted {
            model: ModelId(Uuid::from_u128(7)),
            sensor: "a".into(),
            artefact: serde_json::Value::Null,
            by: Some("ana".to_owned()),
            reason: "a test".to_owned(),
        };
        assert_eq!(brief(&bench.feed(Event::ModelPromoted(other)).await), ["reject a"]);
    }

    fn opened(case: u128) -> Event {
        Event::CaseOpened(Opened {
            case: CaseId(Uuid::from_u128(case)),
            asset: "pump-1".into(),
            failure_mode: FailureMode::abnormal(SensorType::Pressure),
            sensor: "a".into(),
            priority: Priority::High,
            first_evidence_at: Timestamp::UNIX_EPOCH,
            last_evidence_at: Timestamp::UNIX_EPOCH,
            reason: "a test".to_owned(),
            evidence: Vec::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        })
    }

    fn closed(case: u128) -> Event {
        let (case, reason) = (CaseId(Uuid::from_u128(case)), "a test".to_owned());
        Event::CaseClosed(Closed { case, resolution: Resolution::Repaired, reason })
    }

    fn failed(sensor: &str) -> Event {
        Event::TrainingFailed(TrainingFailed { sensor: sensor.into(), reason: "too few readings".to_owned() })
    }

    /// What is said, in short.
    fn brief(said: &[Event]) -> Vec<String> {
        let brief = |event: &Event| match event {
            Event::TrainingRequested(wish) => format!("train {}", wish.sensor),
            Event::ModelPromoted(promoted) => format!("promote {}", promoted.sensor),
            Event::ModelRejected(refused) => format!("reject {}", refused.sensor),
            other => panic!("said {other:?}"),
        };
        said.iter().map(brief).collect()
    }

    #[tokio::test]
    async fn one_training_runs_at_a_time_and_the_others_wait_their_turn() {
        let mut bench = bench();
        assert_eq!(brief(&bench.feed(drifted("a")).await), ["train a"]);
        assert_eq!(brief(&bench.feed(drifted("b")).await), [""; 0]);
        assert_eq!(brief(&bench.feed(drifted("c")).await), [""; 0]);
        assert_eq!(brief(&bench.feed(drifted("b")).await), [""; 0]);
        assert_eq!(brief(&bench.feed(trained("a", 1.0, 0.5)).await), ["promote a", "train b"]);
        assert_eq!(brief(&bench.feed(failed("b")).await), ["train c"]);
        assert_eq!(brief(&bench.feed(trained("c", 1.0, 1.0)).await), ["reject c"]);
    }

    #[tokio::test]
    async fn the_challenger_must_be_better_by_the_margin() {
        async fn check(champion: f64, challenger: f64, expected: &str) {
            let said = bench().feed(trained("a", champion, challenger)).await;
            assert_eq!(brief(&said), [expected], "{champion} {challenger}");
        }
        check(1.0, 0.74, "promote a").await;
        check(1.0, 0.75, "reject a").await;
        check(0.0, 0.0, "reject a").await;
        check(1.0, f64::NAN, "reject a").await;
        check(f64::NAN, 1.0, "reject a").await;
    }

    #[tokio::test]
    async fn what_is_promoted_is_what_was_trained() {
        let said = bench().feed(trained("a", 1.0, 0.5)).await;
        let [Event::ModelPromoted(promoted)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(
            (promoted.model, &promoted.artefact),
            (ModelId(Uuid::from_u128(1)), &serde_json::json!({ "level": 7.0 }))
        );
        assert!(promoted.reason.contains("0.5000 against the champion's 1.0000 on 100 unseen"), "{}", promoted.reason);
    }

    #[tokio::test]
    async fn a_drift_within_the_cooldown_is_trained_when_that_is_over() {
        let mut bench = bench();
        assert_eq!(brief(&bench.feed(drifted("a")).await), ["train a"]);
        assert_eq!(brief(&bench.feed(trained("a", 1.0, 0.5)).await), ["promote a"]);
        let begun_at = bench.now();
        bench.advance(begun_at + SignedDuration::from_hours(5)).await;
        assert_eq!(brief(&bench.feed(drifted("a")).await), [""; 0]);
        assert_eq!(brief(&bench.advance(begun_at + SignedDuration::from_hours(23)).await), [""; 0]);
        assert_eq!(brief(&bench.advance(begun_at + SignedDuration::from_hours(24)).await), ["train a"]);
    }

    #[tokio::test]
    async fn a_training_that_is_never_heard_of_again_does_not_hold_up_the_others() {
        let mut bench = bench();
        assert_eq!(brief(&bench.feed(drifted("a")).await), ["train a"]);
        assert_eq!(brief(&bench.feed(drifted("b")).await), [""; 0]);
        let overdue = bench.now() + SignedDuration::from_mins(30);
        assert_eq!(brief(&bench.advance(overdue).await), ["train b"]);
        // A late answer is judged all the same, and does not end the training of another sensor.
        assert_eq!(brief(&bench.feed(trained("a", 1.0, 0.5)).await), ["promote a"]);
        assert_eq!(brief(&bench.feed(drifted("c")).await), [""; 0]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let error = Retraining::start(Settings { margin: 1.0, ..settings() }, ()).expect_err("no challenger can win");
        assert_eq!(error.to_string(), "margin must be at least 0 and below 1, got 1");
    }
}
