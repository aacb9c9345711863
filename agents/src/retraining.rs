//! Has detectors fitted anew after drift, and promotes what is better on data that it had not seen.
//!
//! Takes in: `DriftDetected`, `ModelTrained`, `TrainingFailed`, its timers.
//! Emits: `TrainingRequested`, which the `trainer` carries out; `ModelPromoted`, `ModelRejected`.
//! Remembers: the training under way, the sensors that wait for one, and when each was last begun. One training at a
//! time, and none of a sensor within its cooldown; a drift that comes earlier waits, it is not forgotten.

use domain::drift::Detected;
use domain::model::{Promoted, Refused, Trained, TrainingFailed, TrainingRequested};
use domain::{Event, SensorId, Timestamp};
use jiff::SignedDuration;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Timer for a training that nobody hears of again. No sensor's: those begin with `sensor/`.
const OVERDUE: &str = "overdue";

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
}

impl Agent for Retraining {
    const NAME: &'static str = "retraining";
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { overdue_minutes, margin, .. } = settings;
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
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Drifted(detected) => self.drifted(state, &detected, ctx),
            Message::Trained(trained) => {
                let sensor = trained.sensor.clone();
                ctx.emit(self.judged(*trained));
                ended(state, &sensor, ctx);
            }
            Message::Failed(failed) => ended(state, &failed.sensor, ctx),
            Message::Due(key) if key == OVERDUE => state.running = None,
            Message::Due(key) => {
                let cooled = key.strip_prefix("sensor/").and_then(|id| state.cooling.remove(&SensorId::from(id)));
                state.waiting.extend(cooled);
            }
        }
        self.begin_next(state, ctx);
        Ok(())
    }
}

impl Retraining {
    fn drifted(&self, state: &mut State, detected: &Detected, ctx: &mut Ctx) {
        let sensor = detected.sensor.clone();
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

    /// What becomes of the challenger.
    fn judged(&self, trained: Trained) -> Event {
        let Trained { model, sensor, comparison, artefact, .. } = trained;
        let (champion, challenger) = (comparison.champion_loss, comparison.challenger_loss);
        let better = challenger < champion * (1.0 - self.settings.margin);
        let reason = format!(
            "loss {challenger:.4} against the champion's {champion:.4} on {} unseen readings; it takes {:.0} % less to win",
            comparison.n_holdout,
            100.0 * self.settings.margin
        );
        if better {
            Event::ModelPromoted(Promoted { model, sensor, artefact, by: None, reason })
        } else {
            Event::ModelRejected(Refused { model, sensor, reason })
        }
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
    use domain::ModelId;
    use domain::model::Comparison;
    use runtime::bench::Bench;
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
        })
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
