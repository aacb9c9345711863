//! What was committed can be asked for, and what contradicts it is refused.

use crate::bench::{Bench, at, note, opened, reading, said, sensor};
use domain::case::Priority;
use domain::decision::Proposal;
use domain::event::Control;
use domain::work_order::Scheduled;
use domain::{CaseId, Event, EventId, Timestamp, WorkOrderId};
use persistence::page::Start;
use persistence::unit::{Appended, NewEvent, NewReading, Refused};
use persistence::{cases, readings, sensors, work_orders};
use serde_json::json;
use uuid::Uuid;

fn booked(start: &str, end: &str) -> NewEvent {
    said(Event::MaintenanceScheduled(Scheduled {
        work_order: WorkOrderId(Uuid::new_v4()),
        approval: EventId(Uuid::new_v4()),
        proposal: Proposal {
            case: None,
            asset: "press".into(),
            sensor: "T1".into(),
            maintenance_type: "inspection".to_owned(),
            priority: Priority::Low,
            due_at: None,
            confidence: 0.5,
            recommended_actions: Vec::new(),
        },
        technician: "ana".into(),
        start_at: at(start),
        end_at: at(end),
        skills: Vec::new(),
        score: 1.0,
        reason: "she is free".to_owned(),
        satisfied: Vec::new(),
        violated: Vec::new(),
        alternatives: Vec::new(),
    }))
}

#[tokio::test]
async fn of_many_that_open_a_case_one_succeeds() {
    // Given sixteen requests that open the same case, all of them waiting,
    let mut bench = Bench::idle().await;
    let requests = (0..16).map(|_| {
        let store = bench.store.clone();
        let case = CaseId(Uuid::new_v4());
        async move { (case, store.append(vec![opened(case)], None).await) }
    });
    let requests: Vec<_> = requests.collect();
    // when they are committed,
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(requests), async { bench.run() });
    // then one case is open, and everybody else is told so.
    let (stored, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
    assert_eq!((stored.len(), refused.len()), (1, 15));
    for (_, outcome) in refused {
        assert!(matches!(outcome, Err(Refused::Conflict(_))), "{outcome:?}");
    }
    let page = cases::list(&bench.store.history(), &cases::Filter::default(), &Start::default(), 10)
        .await
        .expect("it is read");
    assert_eq!(page.rows.iter().map(|case| case.id).collect::<Vec<_>>(), [stored[0].0]);
    assert_eq!(bench.events().await.len(), 1);
}

#[tokio::test]
async fn a_unit_that_books_a_technician_twice_changes_nothing() {
    // Given a booking until ten,
    let bench = Bench::running().await;
    let first = booked("2026-11-22T08:00:00Z", "2026-11-22T10:00:00Z");
    bench.store.append(vec![first], None).await.expect("she is free");
    // when a unit says something else and books the same technician from half past nine,
    let second = booked("2026-11-22T09:30:00Z", "2026-11-22T11:00:00Z");
    let refused = bench.store.append(vec![note(Control::Pause), second], None).await;
    // then all of it is refused,
    assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
    assert_eq!(bench.events().await.len(), 1);
    let orders =
        work_orders::list(&bench.store.history(), &work_orders::Filter::default(), &Start::default(), 10).await;
    assert_eq!(orders.expect("they are read").rows.len(), 1);
    // and from ten on she is free.
    let third = booked("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z");
    assert!(matches!(bench.store.append(vec![third], None).await, Ok(Appended::Stored(_))));
}

#[tokio::test]
async fn readings_and_sensors_are_found_as_they_came() {
    // Given readings of two sensors, one of them with metadata,
    let bench = Bench::running().await;
    let location = json!({"location": "hall"}).as_object().cloned().map(Box::new);
    bench.stored(vec![reading("T1", 1.5), NewReading { extra: location.clone(), ..reading("T2", 2.5) }]).await;
    bench.stored(vec![NewReading { taken_at: at("2026-11-20T00:00:00Z"), ..reading("T1", 0.5) }]).await;
    let history = bench.store.history();
    // then they are listed, the newest measurement first,
    let entries = readings::list(&history, &readings::Filter::default(), &Start::default(), 10)
        .await
        .expect("they are read")
        .rows;
    let values: Vec<f64> = entries.iter().map(|entry| entry.reading.value).collect();
    assert_eq!(values, [2.5, 1.5, 0.5]);
    assert_eq!(entries[0].extra, location.map(|extra| *extra));
    assert_eq!(entries[1].reading.sensor, sensor("T1"));
    // and the sensors tell how much they sent.
    let summaries = sensors::list(&history, &Start::default(), 10).await.expect("they are read").rows;
    let sent: Vec<(&str, u64, Option<Timestamp>)> = summaries
        .iter()
        .map(|summary| (summary.sensor.id.as_str(), summary.reading_count, summary.first_reading))
        .collect();
    assert_eq!(sent, [("T1", 2, Some(at("2026-11-20T00:00:00Z"))), ("T2", 1, Some(at("2026-11-21T07:59:59.5Z")))]);
    assert_eq!(summaries[0].sensor, *sensor("T1"));
}
