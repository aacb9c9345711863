//! Stories of cases and the time they have left, on the bench.

use super::*;
use crate::anomaly_detection::AnomalyDetection;
use crate::stored::Stored;
use crate::validation::Validation;
use config::Config;
use domain::anomaly::{Anomaly, Aspect, Range};
use domain::case::{Closed, Priority, Resolution};
use domain::{EventId, ReadingNo};
use runtime::bench::Bench;
use uuid::Uuid;

const CASE: CaseId = CaseId(Uuid::from_u128(1));

fn settings() -> Settings {
    Config::defaults().section("agents.prediction").expect("the defaults are complete")
}

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + 3_600 * hour).expect("an hour of this century")
}

fn sensor(limit_high: Option<f64>) -> Arc<Sensor> {
    Arc::new(Sensor {
        id: "sensor-1".into(),
        asset: "pump-1".into(),
        sensor_type: SensorType::Temperature,
        unit: None,
        limit_high,
        limit_low: None,
    })
}

/// 300 hours around 50, then a degree an hour, with some noise throughout.
fn value(at: i64) -> f64 {
    50.0 + 0.3 * (at as f64 * 1.7).sin() + 0.2 * (at as f64 * 0.61).cos() + (at - 300).max(0) as f64
}

fn course(sensor: &Arc<Sensor>, hours: std::ops::Range<i64>) -> Vec<(Arc<Sensor>, Timestamp, f64)> {
    hours.map(|at| (Arc::clone(sensor), hour(at), value(at))).collect()
}

fn opened(failure_mode: FailureMode) -> Event {
    Event::CaseOpened(Opened {
        case: CASE,
        asset: "pump-1".into(),
        failure_mode,
        sensor: "sensor-1".into(),
        priority: Priority::High,
        first_evidence_at: hour(303),
        last_evidence_at: hour(307),
        reason: "a test".to_owned(),
        evidence: Vec::new(),
        recurrence_of: None,
        detector: None,
        sensor_type: None,
    })
}

/// Evidence from the reading of that hour, which is stored as the one after as many.
fn evidence(at: i64) -> Event {
    Event::AnomalyValidated(Validated {
        anomaly_event: EventId(Uuid::from_u128(2)),
        anomaly: Anomaly {
            sensor: "sensor-1".into(),
            asset: "pump-1".into(),
            sensor_type: SensorType::Temperature,
            reading: ReadingNo(at + 1),
            taken_at: hour(at),
            value: value(at),
            quality: 1.0,
            score: 3.0,
            expected: Range { low: 48.0, high: 52.0 },
            aspect: Aspect::Level,
            attribution: Vec::new(),
            run_length: 1,
            normal_before: 0,
            detector: "stream/1".to_owned(),
            shares: Vec::new(),
            mode: None,
        },
        verdict: Verdict::CredibleAnomaly,
        confidence: 0.95,
        reasons: Vec::new(),
        case: Some(CASE),
    })
}

fn abnormal() -> Event {
    opened(FailureMode::abnormal(SensorType::Temperature))
}

fn only(said: Vec<Event>) -> prediction::Prediction {
    match &said[..] {
        [Event::MaintenancePredicted(prediction)] => prediction.clone(),
        other => panic!("said {other:?}"),
    }
}

/// What is said of a case with evidence in hour 320, from the hours up to 330 of the given readings.
async fn predicted(settings: Settings, readings: &[(Arc<Sensor>, Timestamp, f64)]) -> prediction::Prediction {
    let stored = Stored::with(readings, Vec::new()).await;
    let mut bench = Bench::<Prediction>::start(settings, stored.history());
    assert_eq!(bench.feed(abnormal()).await, []);
    only(bench.feed(evidence(320)).await)
}

#[tokio::test]
async fn a_trend_is_followed_to_the_limit_that_the_sensor_declares() {
    // Given a sensor at 70 that rises by a degree an hour and fails at 80, and ten hours more that came later,
    let prediction = predicted(settings(), &course(&sensor(Some(80.0)), 0..330)).await;
    // then it fails in ten hours from the evidence, give or take.
    let Outlook::Remaining { remaining_hours } = prediction.outlook else { panic!("{prediction:?}") };
    assert!((9.0..11.0).contains(&remaining_hours.p50), "{prediction:?}");
    assert!(remaining_hours.p10 < 10.0 && 10.0 < remaining_hours.p90, "{prediction:?}");
    assert_eq!((prediction.limit, prediction.limit_source.as_str()), (Some(80.0), "declared by the sensor"));
    assert_eq!(prediction.as_of, hour(320));
    assert!(0.7 < prediction.confidence && prediction.confidence <= 0.95, "{prediction:?}");
    assert!(prediction.recommended_actions[0].starts_with("Repair within 0."), "{prediction:?}");
    assert_eq!(prediction.recommended_actions[1], "Check lubrication, cooling and load");
}

#[tokio::test]
async fn a_limit_of_the_settings_wins_where_it_fits() {
    let limit = |sensors: &str, side, value| Declared {
        sensors: sensors.to_owned(),
        sensor_type: Some(SensorType::Temperature),
        side,
        value,
    };
    let limits = vec![
        limit("other", Side::Above, 1.0),
        limit("sensor-*", Side::Below, 20.0),
        limit("sensor-*", Side::Above, 90.0),
    ];
    let prediction = predicted(Settings { limits, ..settings() }, &course(&sensor(Some(80.0)), 0..321)).await;
    let source = "declared in the settings for sensor-*";
    assert_eq!((prediction.limit, prediction.limit_source.as_str()), (Some(90.0), source));
    let Outlook::Remaining { remaining_hours } = prediction.outlook else { panic!("{prediction:?}") };
    assert!((18.0..22.0).contains(&remaining_hours.p50), "{remaining_hours:?}");
}

#[tokio::test]
async fn a_derived_limit_is_no_ground_to_act_without_a_person() {
    let prediction = predicted(settings(), &course(&sensor(None), 0..321)).await;
    assert!(prediction.limit_source.starts_with("derived"), "{prediction:?}");
    assert!(prediction.confidence <= 0.7, "{prediction:?}");
}

#[tokio::test]
async fn a_short_history_says_so() {
    let prediction = predicted(settings(), &course(&sensor(None), 0..3)).await;
    assert_eq!(prediction.outlook, Outlook::NotEnoughData { have: 3, need: 30 });
    assert_eq!((prediction.limit, prediction.confidence), (None, 0.0));
    let prediction = predicted(settings(), &[]).await;
    assert_eq!(prediction.outlook, Outlook::NotEnoughData { have: 0, need: 30 });
}

#[tokio::test]
async fn a_broken_sensor_has_no_remaining_life() {
    let stored = Stored::with(&course(&sensor(Some(80.0)), 0..330), Vec::new()).await;
    let mut bench = Bench::<Prediction>::start(settings(), stored.history());
    bench.feed(opened(FailureMode::sensor_fault())).await;
    let prediction = only(bench.feed(evidence(320)).await);
    assert!(matches!(prediction.outlook, Outlook::NoTrend { .. }), "{prediction:?}");
    assert_eq!(prediction.recommended_actions[0], "Check the sensor, its wiring and its gateway");
    // It is said once.
    for at in 321..330 {
        assert_eq!(bench.feed(evidence(at)).await, []);
    }
}

#[tokio::test]
async fn a_case_is_predicted_again_when_its_evidence_has_doubled() {
    let stored = Stored::with(&course(&sensor(Some(500.0)), 0..400), Vec::new()).await;
    let mut bench = Bench::<Prediction>::start(settings(), stored.history());
    bench.feed(abnormal()).await;
    let mut predicted_at = Vec::new();
    for at in 320..400 {
        if !bench.feed(evidence(at)).await.is_empty() {
            predicted_at.push(at - 319);
        }
    }
    assert_eq!(predicted_at, [1, 2, 4, 8, 16, 32, 64]);
    // At one instant it is predicted once, however much evidence comes.
    let mut n_predictions = 0;
    for _ in 0..200 {
        n_predictions += bench.feed(evidence(399)).await.len();
    }
    assert_eq!(n_predictions, 1);
}

#[tokio::test]
async fn that_there_is_no_trend_is_not_said_too_early() {
    // Given a sensor that was around 50 all the time and has a limit far away,
    let flat: Vec<_> = (0..400).map(|at| (sensor(Some(500.0)), hour(at), value(at.min(299)))).collect();
    let stored = Stored::with(&flat, Vec::new()).await;
    let mut bench = Bench::<Prediction>::start(settings(), stored.history());
    bench.feed(abnormal()).await;
    // then the first few pieces of evidence do not show it, and the sixteenth does.
    for at in 320..335 {
        assert_eq!(bench.feed(evidence(at)).await, []);
    }
    let prediction = only(bench.feed(evidence(335)).await);
    assert!(matches!(prediction.outlook, Outlook::NoTrend { .. }), "{prediction:?}");
}

#[tokio::test]
async fn a_case_that_closed_is_forgotten() {
    let stored = Stored::with(&course(&sensor(Some(80.0)), 0..330), Vec::new()).await;
    let mut bench = Bench::<Prediction>::start(settings(), stored.history());
    bench.feed(abnormal()).await;
    let closed = Closed { case: CASE, resolution: Resolution::Repaired, reason: "a test".to_owned() };
    bench.feed(Event::CaseClosed(closed)).await;
    assert_eq!(bench.feed(evidence(320)).await, []);
}

#[tokio::test]
async fn the_demonstration_is_foretold() {
    let history = History::empty().await.expect("an empty history");
    let section = |name: &str| format!("agents.{name}");
    let config = Config::defaults();
    let end: Timestamp = "2026-03-06T17:00:00Z".parse().expect("a time");
    for seed in 0..10 {
        // Given what the demonstration's pump sends,
        let scenario = simulations::scenario::golden_path(seed, 15, end).expect("15 readings are allowed");
        let sensor = Arc::new(Sensor {
            id: scenario.truth.sensor.clone(),
            asset: scenario.truth.asset.clone(),
            limit_high: Some(scenario.truth.limit),
            ..(*sensor(None)).clone()
        });
        let readings: Vec<_> =
            scenario.samples().map(|sample| (Arc::clone(&sensor), sample.taken_at, sample.value)).collect();
        let stored = Stored::with(&readings, Vec::new()).await;
        let (healthy, faulty) = readings.split_at(scenario.history.len());
        let batches = std::iter::once(healthy.to_vec()).chain(faulty.iter().map(|reading| vec![reading.clone()]));
        // when it passes the agents from detection to prediction,
        let detection = config.section(&section(AnomalyDetection::NAME)).expect("a section");
        let mut detection = Bench::<AnomalyDetection>::start(detection, ());
        let validation = config.section(&section(Validation::NAME)).expect("a section");
        let mut validation = Bench::<Validation>::start(validation, history.clone());
        let mut prediction = Bench::<Prediction>::start(settings(), stored.history());
        let (mut n_cases, mut predictions) = (0, Vec::new());
        for batch in batches {
            for anomaly in detection.feed_batch(batch).await {
                for event in validation.feed(anomaly).await {
                    n_cases += usize::from(matches!(event, Event::CaseOpened(_)));
                    predictions.extend(prediction.feed(event).await);
                }
            }
        }
        // then there is one case, and each prediction of it is near the truth: the first one rests on few readings
        // of the fault.
        assert_eq!(n_cases, 1, "seed {seed}");
        assert!(!predictions.is_empty(), "seed {seed}");
        for event in predictions {
            let Event::MaintenancePredicted(prediction) = event else { panic!("said {event:?}") };
            let Outlook::Remaining { remaining_hours } = prediction.outlook else { panic!("{seed}: {prediction:?}") };
            let truth = scenario.truth.failure_at.duration_since(prediction.as_of).as_secs_f64() / 3_600.0;
            assert!(
                (remaining_hours.p10 / 2.0..remaining_hours.p90 * 2.0).contains(&truth),
                "{seed}: {prediction:?}, in truth {truth}"
            );
        }
    }
}
