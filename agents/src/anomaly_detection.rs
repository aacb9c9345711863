//! State detection: reports readings that leave their sensor's normal behaviour.
//!
//! Takes in: `ReadingsAccepted`, `ModelPromoted`.
//! Emits: `AnomalyDetected`, for each of the first readings of an anomalous run and for a sample of the rest.
//! Remembers: one streaming detector per sensor, a few kilobytes each. It decides nothing about cases: one outlier
//! is a reading to look at, and `validation` says what it amounts to.

use analytics::joint;
use analytics::stream::{self, Baseline, Detector, Verdict};
use domain::anomaly::{Anomaly, Aspect, Attribution, Range};
use domain::model::Promoted;
use domain::reading::{Accepted, Reading};
use domain::{Event, SensorId, Timestamp};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Name and version of the detector, as each anomaly carries it.
const DETECTOR: &str = "stream/1";

/// `[agents.anomaly_detection]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Readings of an anomalous run that are each reported. At least 1.
    pub evidence_run_max: u32,
    /// Of a run longer than that, one reading in so many is reported. At least 1.
    pub evidence_stride: u32,
    /// How cautious the detectors of single sensors are.
    pub stream: stream::Settings,
    /// How the sensors of an asset are watched together.
    pub joint: joint::Settings,
}

/// Reports readings that leave their sensor's normal behaviour.
#[derive(Debug)]
pub struct AnomalyDetection {
    settings: Settings,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    sensors: HashMap<SensorId, Watched>,
}

/// One sensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watched {
    detector: Detector,
    newest: Option<Timestamp>,
    /// Anomalous late readings in a row. They are no part of the detector's run, which is in order of source time.
    late_run: u32,
    /// Normal readings since the last anomalous one.
    normal_since: u32,
}

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// Readings to judge.
    Accepted(Accepted),
    /// A sensor's new normal.
    Promoted(Promoted),
}

impl Agent for AnomalyDetection {
    const NAME: &'static str = "anomaly_detection";
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { evidence_run_max, evidence_stride, stream, .. } = &settings;
        anyhow::ensure!(1 <= *evidence_run_max, "evidence_run_max must be at least 1");
        anyhow::ensure!(1 <= *evidence_stride, "evidence_stride must be at least 1");
        for (name, value) in [("tail_sigmas", stream.tail_sigmas), ("record_margin", stream.record_margin)] {
            anyhow::ensure!(value.is_finite() && 1.0 <= value, "stream.{name} must be at least 1, got {value}");
        }
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::ReadingsAccepted(accepted) => Some(Message::Accepted(accepted.clone())),
            Event::ModelPromoted(promoted) => Some(Message::Promoted(promoted.clone())),
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
                watched(state, &promoted.sensor).detector.adopt(&baseline);
            }
        }
        Ok(())
    }
}

impl AnomalyDetection {
    /// Scores `reading` and learns from it. Gives the anomaly, if it is one that is reported.
    fn judge(&self, state: &mut State, reading: &Reading) -> Option<Anomaly> {
        let watched = watched(state, &reading.sensor.id);
        let late = watched.newest.is_some_and(|newest| reading.taken_at <= newest);
        let seconds = reading.taken_at.as_microsecond() as f64 / 1e6;
        let verdict = watched.detector.observe(&self.settings.stream, seconds, reading.value, reading.quality);
        let run_length = if late {
            watched.late_run = if verdict.anomalous { watched.late_run.saturating_add(1) } else { 0 };
            watched.late_run
        } else {
            watched.newest = Some(reading.taken_at);
            verdict.run_length
        };
        if !verdict.anomalous {
            watched.normal_since = watched.normal_since.saturating_add(u32::from(!late));
            return None;
        }
        // A late reading says nothing of what was normal in between.
        let normal_before = if late { 0 } else { std::mem::take(&mut watched.normal_since) };
        self.reported(run_length).then(|| Anomaly { run_length, normal_before, ..anomaly(reading, &verdict) })
    }

    fn reported(&self, run_length: u32) -> bool {
        let Settings { evidence_run_max, evidence_stride, .. } = self.settings;
        run_length <= evidence_run_max || (run_length - evidence_run_max).is_multiple_of(evidence_stride)
    }
}

/// The sensor's place in `state`. One look-up; cloning an id counts a reference, it allocates nothing.
fn watched<'a>(state: &'a mut State, sensor: &SensorId) -> &'a mut Watched {
    state.sensors.entry(sensor.clone()).or_insert_with(|| Watched {
        detector: Detector::new(seed(sensor)),
        newest: None,
        late_run: 0,
        normal_since: 0,
    })
}

/// Chance that is the sensor's own and the same in every replay.
fn seed(sensor: &SensorId) -> u64 {
    let digest = Sha256::digest(sensor.as_str());
    u64::from_le_bytes(digest[..8].try_into().expect("a SHA-256 digest has 32 bytes"))
}

fn anomaly(reading: &Reading, verdict: &Verdict) -> Anomaly {
    let mut attribution: Vec<Attribution> = verdict
        .attribution
        .iter()
        .filter(|(_, score)| 0.0 < *score)
        .map(|(of, score)| Attribution { aspect: aspect(*of), score: *score })
        .collect();
    attribution.sort_by(|one, other| other.score.total_cmp(&one.score));
    let (low, high) = verdict.expected;
    Anomaly {
        sensor: reading.sensor.id.clone(),
        asset: reading.sensor.asset.clone(),
        sensor_type: reading.sensor.sensor_type,
        reading: reading.no,
        taken_at: reading.taken_at,
        value: reading.value,
        quality: reading.quality,
        score: verdict.score,
        expected: Range { low, high },
        aspect: aspect(verdict.aspect),
        attribution,
        run_length: verdict.run_length,
        normal_before: 0,
        detector: DETECTOR.to_owned(),
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
mod tests {
    use super::*;
    use domain::model::Promoted;
    use domain::reading::{Sensor, SensorType};
    use domain::{AssetId, ModelId};
    use jiff::SignedDuration;
    use runtime::bench::Bench;
    use std::sync::Arc;
    use uuid::Uuid;

    fn settings() -> Settings {
        let config = config::Config::defaults();
        config.section("agents.anomaly_detection").expect("the defaults are complete")
    }

    fn bench() -> Bench<AnomalyDetection> {
        Bench::start(settings(), ())
    }

    fn sensor(id: &str) -> Arc<Sensor> {
        let (id, asset) = (SensorId::from(id), AssetId::from("pump-1"));
        Arc::new(Sensor {
            id,
            asset,
            sensor_type: SensorType::Temperature,
            unit: None,
            limit_high: None,
            limit_low: None,
        })
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + 60 * minute).expect("a minute of this century")
    }

    /// A value around `level` that looks like noise and is the same in every run.
    fn hum(level: f64, minute: i64) -> f64 {
        level + (minute as f64 * 1.7).sin() + 0.7 * (minute as f64 * 0.61).cos()
    }

    fn calm(level: f64, minutes: std::ops::Range<i64>) -> Vec<(Timestamp, f64)> {
        minutes.map(|at| (minute(at), hum(level, at))).collect()
    }

    fn anomalies(said: Vec<Event>) -> Vec<Anomaly> {
        said.into_iter()
            .map(|event| match event {
                Event::AnomalyDetected(anomaly) => anomaly,
                other => panic!("said {other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_calm_sensor_is_not_reported() {
        let mut bench = bench();
        assert_eq!(bench.feed_readings(&sensor("calm"), &calm(50.0, 0..2_000)).await, []);
    }

    #[tokio::test]
    async fn a_jump_is_reported_with_what_was_expected_and_why() {
        // Given a sensor that hums around 50,
        let mut bench = bench();
        let sensor = sensor("jump");
        assert_eq!(bench.feed_readings(&sensor, &calm(50.0, 0..1_000)).await, []);
        // when it jumps to 80,
        let said = anomalies(bench.feed_readings(&sensor, &[(minute(1_000), 80.0)]).await);
        // then that reading is reported, with a range that does not hold it and the largest share first.
        let [anomaly] = &said[..] else { panic!("{said:?}") };
        assert!(1.0 < anomaly.score && anomaly.expected.high < 80.0 && 45.0 < anomaly.expected.high, "{anomaly:?}");
        assert_eq!(anomaly.attribution[0].score, anomaly.score);
        assert_eq!(anomaly.attribution[0].aspect, anomaly.aspect);
        assert!(anomaly.attribution.windows(2).all(|pair| pair[1].score <= pair[0].score), "{anomaly:?}");
        assert_eq!((anomaly.run_length, anomaly.value, anomaly.reading.0), (1, 80.0, 1_001));
    }

    #[tokio::test]
    async fn a_lasting_fault_stays_anomalous_and_is_reported_sparsely() {
        // Given a sensor that hums around 50, and settings that thin early,
        let settings = Settings { evidence_run_max: 10, evidence_stride: 5, ..settings() };
        let mut bench = Bench::<AnomalyDetection>::start(settings, ());
        let sensor = sensor("fault");
        assert_eq!(bench.feed_readings(&sensor, &calm(50.0, 0..1_000)).await, []);
        // when it stays at 80 for two days,
        let said = anomalies(bench.feed_readings(&sensor, &calm(80.0, 1_000..3_880)).await);
        // then the first ten are reported, after that every fifth, and the last ones as well.
        let runs: Vec<u32> = said.iter().map(|anomaly| anomaly.run_length).collect();
        assert_eq!(runs[..13], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]);
        assert_eq!(runs.last(), Some(&2_880), "the fault became the new normal");
    }

    #[tokio::test]
    async fn a_new_sensor_is_not_judged_before_it_is_known() {
        let mut bench = bench();
        let wild = [(minute(0), 1.0), (minute(1), 1e9), (minute(2), -1e9)];
        assert_eq!(bench.feed_readings(&sensor("new"), &wild).await, []);
    }

    #[tokio::test]
    async fn a_late_reading_is_scored_and_leaves_the_run_alone() {
        // Given a sensor in an anomalous run,
        let mut bench = bench();
        let sensor = sensor("late");
        bench.feed_readings(&sensor, &calm(50.0, 0..1_000)).await;
        assert_eq!(anomalies(bench.feed_readings(&sensor, &[(minute(1_000), 80.0)]).await).len(), 1);
        // when buffered readings arrive, one of them abnormal,
        let late = [(minute(900), 50.0), (minute(901), 90.0), (minute(902), 50.0)];
        let said = anomalies(bench.feed_readings(&sensor, &late).await);
        // then that one is reported,
        assert_eq!(said.iter().map(|anomaly| (anomaly.value, anomaly.run_length)).collect::<Vec<_>>(), [(90.0, 1)]);
        // and the run goes on where it was.
        let said = anomalies(bench.feed_readings(&sensor, &[(minute(1_001), 80.0)]).await);
        assert_eq!(said[0].run_length, 2);
    }

    #[tokio::test]
    async fn sensors_of_one_batch_are_judged_apart() {
        // Given two sensors that share their batches, one around 10 and one around 90,
        let mut bench = bench();
        let (low, high) = (sensor("low"), sensor("high"));
        let both =
            |at: i64| [(Arc::clone(&low), minute(at), hum(10.0, at)), (Arc::clone(&high), minute(at), hum(90.0, at))];
        assert_eq!(bench.feed_batch((0..1_000).flat_map(both).collect()).await, []);
        // when the low one goes where the high one lives,
        let odd = vec![(Arc::clone(&low), minute(1_000), 90.0), (Arc::clone(&high), minute(1_000), 90.0)];
        let said = anomalies(bench.feed_batch(odd).await);
        // then it alone is reported.
        assert_eq!(said.iter().map(|anomaly| anomaly.sensor.as_str()).collect::<Vec<_>>(), ["low"]);
    }

    #[tokio::test]
    async fn a_promoted_model_makes_the_new_level_normal() {
        // Given a sensor that moved from 50 to 80 for good,
        let mut bench = bench();
        let sensor = sensor("moved");
        bench.feed_readings(&sensor, &calm(50.0, 0..1_000)).await;
        let moved = calm(80.0, 1_000..2_000);
        assert!(!bench.feed_readings(&sensor, &moved).await.is_empty());
        // when a model that was fitted on the new level is promoted,
        let points: Vec<(f64, f64)> =
            moved.iter().map(|(at, value)| (at.as_microsecond() as f64 / 1e6, *value)).collect();
        let baseline = Baseline::fit(&points).expect("a thousand points are enough");
        let artefact = serde_json::to_value(&baseline).expect("a baseline is JSON");
        let model = ModelId(Uuid::from_u128(1));
        let promoted = Promoted { model, sensor: sensor.id.clone(), artefact, reason: "better".to_owned() };
        assert_eq!(bench.feed(Event::ModelPromoted(promoted)).await, []);
        // then the new level is normal and the old one is not.
        assert_eq!(bench.feed_readings(&sensor, &calm(80.0, 2_000..2_200)).await, []);
        assert_eq!(bench.feed_readings(&sensor, &[(minute(2_200), 50.0)]).await.len(), 1);
    }

    #[tokio::test]
    async fn an_artefact_that_is_no_baseline_is_a_failure() {
        let promoted = Promoted {
            model: ModelId(Uuid::from_u128(1)),
            sensor: SensorId::from("any"),
            artefact: serde_json::json!({ "level": "high" }),
            reason: "better".to_owned(),
        };
        let failure = bench().try_feed(Event::ModelPromoted(promoted)).await.expect_err("no baseline");
        assert!(matches!(failure, Failure::Failed(_)), "{failure}");
    }

    #[tokio::test]
    async fn the_bearing_of_the_demo_is_found_before_it_fails() {
        let end: Timestamp = "2026-03-06T17:00:00Z".parse().expect("a time");
        for seed in 0..20 {
            let scenario = simulations::scenario::golden_path(seed, 15, end).expect("15 readings are allowed");
            let sensor = sensor("demo");
            let values = |samples: &[simulations::Sample]| -> Vec<(Timestamp, f64)> {
                samples.iter().map(|sample| (sample.taken_at, sample.value)).collect()
            };
            let mut bench = bench();
            let early = bench.feed_readings(&sensor, &values(&scenario.history)).await.len();
            let found = anomalies(bench.feed_readings(&sensor, &values(&scenario.fault)).await);
            // A healthy machine gives a false alarm in 400 readings now and then, a failing one gives many in a row.
            assert!(early <= 2, "seed {seed}: {early} false alarms");
            assert!(10 <= found.len(), "seed {seed}: {} of 15 readings of the fault", found.len());
            assert!(found[0].taken_at.duration_since(scenario.truth.fault_onset) <= SignedDuration::from_hours(5));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let error = AnomalyDetection::start(Settings { evidence_stride: 0, ..settings() }, ()).expect_err("no stride");
        assert_eq!(error.to_string(), "evidence_stride must be at least 1");
        let stream = stream::Settings { tail_sigmas: f64::NAN, ..settings().stream };
        let error = AnomalyDetection::start(Settings { stream, ..settings() }, ()).expect_err("no number");
        assert_eq!(error.to_string(), "stream.tail_sigmas must be at least 1, got NaN");
    }
}
