//! Stories of readings and the anomalies they make, on the bench.

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
    Arc::new(Sensor { id, asset, sensor_type: SensorType::Temperature, unit: None, limit_high: None, limit_low: None })
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
    let points: Vec<(f64, f64)> = moved.iter().map(|(at, value)| (at.as_microsecond() as f64 / 1e6, *value)).collect();
    let baseline = Baseline::fit(&points).expect("a thousand points are enough");
    let artefact = serde_json::to_value(&baseline).expect("a baseline is JSON");
    let model = ModelId(Uuid::from_u128(1));
    let promoted = Promoted { model, sensor: sensor.id.clone(), artefact, by: None, reason: "better".to_owned() };
    assert_eq!(bench.feed(Event::ModelPromoted(promoted)).await, []);
    // then the new level is normal and the old one is not.
    assert_eq!(bench.feed_readings(&sensor, &calm(80.0, 2_000..2_200)).await, []);
    assert_eq!(bench.feed_readings(&sensor, &[(minute(2_200), 50.0)]).await.len(), 1);
}

fn opened(case: CaseId) -> Event {
    Event::CaseOpened(Opened {
        case,
        asset: AssetId::from("pump-1"),
        failure_mode: domain::case::FailureMode::abnormal(SensorType::Temperature),
        sensor: SensorId::from("fault"),
        priority: domain::case::Priority::High,
        first_evidence_at: minute(0),
        last_evidence_at: minute(0),
        reason: "a test".to_owned(),
        evidence: vec![domain::EventId(Uuid::from_u128(7))],
        recurrence_of: None,
        detector: None,
        sensor_type: None,
    })
}

#[tokio::test]
async fn a_step_that_lasts_thirty_days_is_abnormal_on_the_last_one_and_a_repair_makes_it_normal() {
    // Given a sensor around 50, read every five minutes, that steps to 80 and whose case opens,
    let mut bench = bench();
    let sensor = sensor("fault");
    let every_five = |level: f64, range: std::ops::Range<i64>| -> Vec<(Timestamp, f64)> {
        range.map(|at| (minute(5 * at), hum(level, at))).collect()
    };
    assert_eq!(bench.feed_readings(&sensor, &every_five(50.0, 0..2_000)).await, []);
    bench.feed_readings(&sensor, &every_five(80.0, 2_000..2_288)).await;
    let case = CaseId(Uuid::from_u128(1));
    bench.feed(opened(case)).await;
    // when it stays there for thirty days,
    bench.feed_readings(&sensor, &every_five(80.0, 2_288..10_352)).await;
    let last_day = anomalies(bench.feed_readings(&sensor, &every_five(80.0, 10_352..10_640)).await);
    // then the last day is as abnormal as the first,
    assert!(28 <= last_day.len(), "{} of 288 readings, one in ten is reported", last_day.len());
    // and after a verified repair the level it has then is normal, once the detector has warmed up,
    let since = minute(5 * 10_640);
    bench
        .feed(Event::RepairVerified(Verified {
            work_order: domain::WorkOrderId(Uuid::from_u128(2)),
            case: Some(case),
            asset: AssetId::from("pump-1"),
            sensors: vec![sensor.id.clone()],
            since,
            by: "a test".to_owned(),
            reason: None,
        }))
        .await;
    let closed =
        domain::case::Closed { case, resolution: domain::case::Resolution::Repaired, reason: "a test".to_owned() };
    bench.feed(Event::CaseClosed(closed)).await;
    let warm_up = i64::from(settings().stream.warm_up_readings);
    assert_eq!(bench.feed_readings(&sensor, &every_five(65.0, 10_640..10_640 + warm_up + 500)).await, []);
    // and the old one is not.
    let at = 10_640 + warm_up + 500;
    assert_eq!(bench.feed_readings(&sensor, &every_five(50.0, at..at + 1)).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_learnt_while_the_asset_is_in_maintenance() {
    let began = Event::AssetMaintenanceBegan(MaintenanceBegan {
        asset: AssetId::from("pump-1"),
        by: "a test".to_owned(),
        reason: "oil".to_owned(),
        until: None,
        work_order: None,
    });
    // Given a new sensor on such an asset,
    let agent = AnomalyDetection::start(settings(), ()).expect("the defaults make sense");
    let mut state = State::default();
    let asset = AssetId::from("pump-1");
    match AnomalyDetection::accept(&began).expect("the agent hears it") {
        Message::Began(asset) => state.assets.entry(asset).or_default().set_maintenance(true),
        other => panic!("heard {other:?}"),
    }
    // when it sends, then it has nothing to measure a jump against however many readings there were.
    let judge =
        |state: &mut State, at: i64, value: f64| agent.judge(state, &reading(&sensor("new"), minute(at), value));
    for at in 0..500 {
        assert_eq!(judge(&mut state, at, hum(50.0, at)), None);
    }
    assert_eq!(judge(&mut state, 500, 1e6), None);
    assert!(state.assets[&asset].is_in_maintenance());
}

fn reading(sensor: &Arc<Sensor>, taken_at: Timestamp, value: f64) -> Reading {
    let sensor = Arc::clone(sensor);
    Reading { no: domain::ReadingNo(1), sensor, value, quality: 1.0, taken_at, received_at: taken_at }
}

#[tokio::test]
async fn a_declared_limit_alarms_from_the_first_reading_on() {
    let mut bench = bench();
    let limited = Sensor { limit_high: Some(90.0), ..Sensor::clone(&sensor("limited")) };
    let sensor = Arc::new(limited.clone());
    let declared = Declared { sensor: limited, failure_mode: None };
    bench.feed(Event::SensorDeclared { sensor: declared, by: "a test".to_owned() }).await;
    let readings = [(minute(0), 89.9), (minute(1), 90.0), (minute(2), 99.0)];
    let said = anomalies(bench.feed_readings(&sensor, &readings).await);
    let scores: Vec<_> = said.iter().map(|anomaly| (anomaly.value, anomaly.score, anomaly.detector.as_str())).collect();
    assert_eq!(scores, [(90.0, 1.0, LIMIT), (99.0, 1.1, LIMIT)]);
}

/// A pump whose speed tells its mode: `(speed, pressure)` each minute, both with a hum.
async fn run(
    bench: &mut Bench<AnomalyDetection>,
    minutes: std::ops::Range<i64>,
    speed: f64,
    pressure: f64,
) -> Vec<Anomaly> {
    let (faster, harder) = (sensor("speed"), sensor("pressure"));
    let mut said = Vec::new();
    for at in minutes {
        let still = if speed == 0.0 { 0.0 } else { hum(speed, at) };
        said.extend(bench.feed_readings(&faster, &[(minute(at), still)]).await);
        said.extend(bench.feed_readings(&harder, &[(minute(at), hum(pressure, at + 500))]).await);
    }
    anomalies(said)
}

#[tokio::test]
async fn declared_modes_are_judged_each_by_itself_and_off_not_at_all() {
    // Given a pump that is declared to be off, starting, or at one of two levels,
    let mut bench = bench();
    let modes = serde_json::json!({
        "off": "speed < 50", "starting_seconds": 300,
        "levels": [{ "name": "full", "when": "speed >= 1200" }, { "name": "part", "when": "speed < 1200" }],
    });
    let modes = Some(serde_json::from_value(modes).expect("they are well formed"));
    let asset = Asset { id: AssetId::from("pump-1"), name: "Pump".to_owned(), class: None, parent: None, modes };
    assert_eq!(bench.feed(Event::AssetDeclared { asset, by: "a test".to_owned() }).await, []);
    // which has worked at both,
    assert_eq!(run(&mut bench, 0..600, 1_500.0, 80.0).await, []);
    assert_eq!(run(&mut bench, 600..1_200, 900.0, 40.0).await, []);
    // when it is off, whatever its sensors say, and when it starts, then that is no anomaly,
    assert_eq!(run(&mut bench, 1_200..1_300, 0.0, 0.0).await, []);
    assert_eq!(run(&mut bench, 1_300..1_304, 1_500.0, 10.0).await, []);
    // what is normal at a level is normal at it again,
    assert_eq!(run(&mut bench, 1_306..1_360, 1_500.0, 80.0).await, []);
    // and abnormal at the other.
    let said = run(&mut bench, 1_360..1_380, 1_500.0, 40.0).await;
    assert!(!said.is_empty() && said.iter().all(|anomaly| anomaly.mode.as_deref() == Some("full")), "{said:?}");
}

#[tokio::test]
async fn what_was_never_seen_is_reported_once_although_each_value_is_ordinary() {
    // Given a sensor that swings between 40 and 60 twice a day,
    let mut bench = bench();
    let sensor = sensor("swinging");
    let swing = |at: i64| hum(50.0 + 10.0 * (std::f64::consts::TAU * at as f64 / 720.0).sin(), at);
    let readings = |minutes: std::ops::Range<i64>, value: &dyn Fn(i64) -> f64| -> Vec<(Timestamp, f64)> {
        minutes.map(|at| (minute(at), value(at))).collect()
    };
    bench.feed_readings(&sensor, &readings(0..4_000, &swing)).await;
    // when it stays where it is for an hour,
    let said = anomalies(bench.feed_readings(&sensor, &readings(4_000..4_060, &|at| hum(50.0, at))).await);
    // then that is news, once.
    let news: Vec<_> = said.iter().filter(|anomaly| anomaly.detector == NOVELTY).collect();
    assert_eq!(news.iter().map(|anomaly| anomaly.aspect).collect::<Vec<_>>(), [Aspect::Pattern], "{said:?}");
}

#[tokio::test]
async fn an_artefact_that_is_no_baseline_is_a_failure() {
    let promoted = Promoted {
        model: ModelId(Uuid::from_u128(1)),
        sensor: SensorId::from("any"),
        artefact: serde_json::json!({ "level": "high" }),
        by: None,
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
