//! The log reads the same from memory and from the table.

use crate::bench::{Bench, at, drift, execute, id, note, reading, said};
use domain::asset::Declared;
use domain::event::Control;
use domain::reading::{Reading, SensorType};
use domain::{AssetId, CorrelationId, Event, Seq};
use persistence::unit::NewEvent;
use std::sync::Arc;

/// Each form in which an event was ever written, as version 1.
const FORMS: &str = include_str!("../../../runtime/domain/tests/event_forms.jsonl");

/// Fills `bench` with events and batches, in separate commits.
async fn fill(bench: &Bench, n_commits: usize) {
    for n in 0..n_commits {
        let value = 0.1 * n as f64;
        bench.stored(vec![reading("T1", value), reading("T2", value / 3.0), reading("T1", -value)]).await;
        bench.store.append(vec![drift(value / 7.0), note(Control::Pause)], None).await.expect("it is appended");
    }
}

#[tokio::test]
async fn memory_and_table_tell_the_same() {
    // Given a log that is all in memory,
    let mut bench = Bench::idle().await;
    bench.run();
    fill(&bench, 20).await;
    let (events, readings) = (bench.events().await, bench.readings().await);
    assert_eq!((events.len(), readings.len()), (60, 60));
    let mut from_memory = Vec::new();
    for cursor in 0..=60 {
        from_memory.push(bench.after(Seq(cursor)).await);
    }
    // when memory is empty,
    let bench = bench.reopened().await;
    // then each cursor sees the same events, and each event the same readings.
    for (cursor, expected) in (0..).zip(&from_memory) {
        assert_eq!(bench.after(Seq(cursor)).await, *expected);
    }
    assert_eq!(bench.readings().await, readings);
}

#[tokio::test]
async fn what_memory_forgets_is_read_from_the_table() {
    for (events_max, bytes_max) in [(7, usize::MAX), (usize::MAX, 3_000), (0, 0)] {
        // Given a memory that holds a few events only,
        let mut bench = Bench::with(|settings| {
            settings.tail_events_max = events_max;
            settings.tail_bytes_max = bytes_max;
        })
        .await;
        bench.run();
        fill(&bench, 10).await;
        // when the log is read from any cursor in pieces of any size,
        let events = bench.events().await;
        assert!(events.iter().zip(1..).all(|(envelope, seq)| envelope.seq == Seq(seq)));
        for limit in 1..10 {
            let mut read = Vec::new();
            let mut cursor = Seq(0);
            loop {
                let piece = bench.store.log().after(cursor, limit).await.expect("the log can be read");
                assert!(piece.len() <= limit);
                let Some(last) = piece.last() else { break };
                cursor = last.seq;
                read.extend(piece.iter().map(|envelope| domain::Envelope::clone(envelope)));
            }
            // then nothing is missing and nothing comes twice.
            assert_eq!(read, events);
        }
        assert_eq!(bench.readings().await.len(), 30);
        let readings = bench.readings().await;
        assert_eq!(bench.reopened().await.readings().await, readings);
    }
}

#[tokio::test]
async fn two_readings_of_one_sensor_at_one_instant_are_both_kept_in_order_of_arrival() {
    let bench = Bench::running().await;
    bench.stored(vec![reading("T1", 1.0), reading("T1", 2.0), reading("T1", 1.0)]).await;
    bench.stored(vec![reading("T1", 0.5)]).await;
    let bench = bench.reopened().await;
    let readings = bench.readings().await;
    assert_eq!(readings.iter().map(|reading| reading.value).collect::<Vec<_>>(), [1.0, 2.0, 1.0, 0.5]);
    assert_eq!(readings.iter().map(|reading| reading.no.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(readings.iter().all(|reading| reading.taken_at == readings[0].taken_at));
}

#[tokio::test]
async fn a_batch_tells_its_readings_and_sensors() {
    let bench = Bench::running().await;
    bench.stored(vec![reading("T1", 1.0), reading("T2", 2.0), reading("T1", 3.0)]).await;
    let events = bench.events().await;
    let Event::ReadingsAccepted(accepted) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((accepted.first.0, accepted.count, accepted.n_sensors), (1, 3, 2));
    assert_eq!(bench.batch(accepted).await.len(), 3);
}

#[tokio::test]
async fn a_batch_may_be_larger_than_a_statement() {
    let bench = Bench::running().await;
    bench.stored((0..5_431).map(|n| reading(&format!("T{}", n % 1_500), f64::from(n))).collect()).await;
    let readings = bench.reopened().await.readings().await;
    assert_eq!(readings.len(), 5_431);
    assert!(readings.iter().zip(0..).all(|(reading, n)| reading.value == f64::from(n)));
}

#[tokio::test]
async fn a_sensor_is_what_it_first_said_it_was() {
    let bench = Bench::running().await;
    bench.stored(vec![reading("T1", 1.0)]).await;
    let mut other = reading("T1", 2.0);
    let mut sensor = (*other.sensor).clone();
    sensor.sensor_type = SensorType::Pressure;
    other.sensor = Arc::new(sensor);
    bench.stored(vec![other]).await;
    for bench in [bench.readings().await, bench.reopened().await.readings().await] {
        assert!(bench.iter().all(|reading| reading.sensor.sensor_type == SensorType::Temperature));
    }
}

#[tokio::test]
async fn what_a_sensor_sent_keeps_the_description_of_its_time() {
    // Given a sensor that is moved to another asset, and back, between its readings, some of them of one group,
    let mut bench = Bench::idle().await;
    let asset = |name: &str| {
        let mut sensor = (*reading("T1", 0.0).sensor).clone();
        sensor.asset = AssetId::from(name);
        Event::SensorDeclared { sensor: Declared { sensor, failure_mode: None }, by: "console".to_owned() }
    };
    let first = bench.ingest(vec![reading("T1", 1.0)], None);
    let store = bench.store.clone();
    let moved = store.append(vec![said(asset("B"))], None);
    let (moved, ()) = tokio::join!(moved, async { bench.run() });
    moved.expect("it is appended");
    drop(store);
    first.await.expect("the writer answers").expect("the reading is stored");
    bench.stored(vec![reading("T1", 2.0)]).await;
    bench.store.append(vec![said(asset("C")), said(asset("A"))], None).await.expect("they are appended");
    bench.stored(vec![reading("T1", 3.0)]).await;
    // when its readings are read from memory, or from the table, then each is of the asset that it was taken on.
    let assets = |readings: Vec<Reading>| -> Vec<String> {
        readings.iter().map(|reading| reading.sensor.asset.as_str().to_owned()).collect()
    };
    let at_first = reading("T1", 0.0).sensor;
    let expected = [at_first.asset.as_str(), "B", "A"];
    assert_eq!(assets(bench.readings().await), expected);
    assert_eq!(assets(bench.reopened().await.readings().await), expected);
}

#[tokio::test]
async fn events_are_found_by_request_id_and_type() {
    let bench = Bench::running().await;
    let ours = |event: NewEvent| NewEvent { correlation: CorrelationId::from("ours"), ..event };
    let events = vec![ours(drift(0.5)), note(Control::Pause), ours(note(Control::Resume)), drift(0.25)];
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    bench.store.append(events, None).await.expect("they are appended");
    let log = bench.store.log();
    let found = log.by_correlation(&CorrelationId::from("ours"), 10).await.expect("it can be read");
    assert_eq!(found.iter().map(|envelope| envelope.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    let found = log.last_of("drift_detected", 10).await.expect("it can be read");
    assert_eq!(found.iter().map(|envelope| envelope.id).collect::<Vec<_>>(), [ids[3], ids[0]]);
    let found = log.by_id(ids[1]).await.expect("it can be read");
    assert_eq!(found.map(|envelope| envelope.seq), Some(Seq(2)));
    assert_eq!(log.by_id(said(Event::TimerDue { agent: String::new(), key: String::new() }).id).await, Ok(None));
}

#[tokio::test]
async fn whoever_watches_the_head_sees_it_move_after_the_commit() {
    let bench = Bench::running().await;
    let mut changes = bench.store.log().changes();
    assert_eq!(*changes.borrow_and_update(), Seq(0));
    bench.store.append(vec![note(Control::Pause), note(Control::Resume)], None).await.expect("they are appended");
    changes.changed().await.expect("the log is there");
    assert_eq!(*changes.borrow(), Seq(2));
    assert_eq!(bench.store.log().head(), Seq(2));
    assert_eq!(bench.reopened().await.store.log().head(), Seq(2));
}

#[tokio::test]
async fn numbers_are_not_given_twice_after_everything_was_deleted() {
    // Given a store whose readings and events were deleted for their age, all but the newest event,
    let bench = Bench::running().await;
    fill(&bench, 2).await;
    let last = bench.readings().await.len();
    execute(&bench.stranger().await, "DELETE FROM readings").await;
    let bench = bench.reopened().await;
    // when more arrives,
    bench.stored(vec![reading("T1", 1.0)]).await;
    // then it is counted on.
    let events = bench.events().await;
    let Event::ReadingsAccepted(accepted) = &events[events.len() - 1].event else { panic!("{events:?}") };
    assert_eq!(accepted.first.0, last as i64 + 1);
}

#[tokio::test]
async fn instants_are_kept_to_the_microsecond() {
    let bench = Bench::running().await;
    let early = NewEvent { at: at("1969-12-31T23:59:59.999999999Z"), ..note(Control::Pause) };
    bench.store.append(vec![early], None).await.expect("it is appended");
    let events = bench.events().await;
    assert_eq!(events[0].at, at("1970-01-01T00:00:00Z").min(events[0].at));
    assert_eq!(bench.reopened().await.events().await, events);
}

#[tokio::test]
async fn an_event_is_read_in_each_form_in_which_it_was_ever_written() {
    // Given a table with an event of each form, as the version that wrote it left it,
    let bench = Bench::idle().await;
    let stranger = bench.stranger().await;
    let forms: Vec<(&str, Event)> =
        FORMS.lines().map(|form| (form, serde_json::from_str(form).expect("a line is an event"))).collect();
    for (seq, (form, event)) in (1..).zip(&forms) {
        let (id, name, form) = (id(), event.name(), form.replace('\'', "''"));
        let values = format!("{seq}, '{id}', 'request', '{name}', 'test', 0, 1, '{form}'");
        let insert = "INSERT INTO events (seq, id, correlation, type, source, at, version, data)";
        execute(&stranger, &format!("{insert} VALUES ({values})")).await;
    }
    // when the store is opened again, then it reads each as it was meant.
    let bench = bench.reopened().await;
    let read = bench.events().await;
    assert_eq!(read.len(), forms.len());
    for (envelope, (form, event)) in read.iter().zip(&forms) {
        assert_eq!((&envelope.event, envelope.version), (event, 1), "{form}");
    }
}
