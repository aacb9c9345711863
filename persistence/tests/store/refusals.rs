//! A unit that cannot be committed harms only itself.

use crate::bench::{Bench, at, drift, handled, id, note, opened, reading, said};
use domain::case::{Acknowledged, Priority, Shelved, Updated};
use domain::event::Control;
use domain::reading::Rejected;
use domain::{CaseId, Event, Seq};
use persistence::cases;
use persistence::seen::Seen;
use persistence::unit::{Appended, Ingested, NewEvent, Origin, Refused};
use uuid::Uuid;

#[tokio::test]
async fn a_unit_that_contradicts_what_is_stored_is_refused_alone() {
    // Given three requests that wait, and the one in the middle uses an event id twice,
    let mut bench = Bench::idle().await;
    let twice = note(Control::Pause);
    let first = bench.ingest(vec![reading("T1", 1.0)], None);
    let store = bench.store.clone();
    let guilty = store.append(vec![twice.clone(), twice], None);
    let third = store.append(vec![note(Control::Resume)], None);
    // when they are committed as one group,
    let (refused, third, ()) = tokio::join!(guilty, third, async { bench.run() });
    drop(store);
    // then only that one is refused, and leaves no gap.
    assert!(matches!(refused, Err(Refused::Conflict(_))), "{refused:?}");
    assert_eq!(third, Ok(Appended::Stored(Seq(2))));
    assert!(matches!(first.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
    let stats = bench.store.stats();
    assert_eq!((stats.commits, stats.groups_rerun, stats.units, stats.units_refused), (1, 1, 2, 1));
    let events = bench.events().await;
    assert_eq!(events.iter().map(|envelope| envelope.seq.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bench.reopened().await.events().await, events);
}

#[tokio::test]
async fn a_reading_without_a_value_refuses_its_own_request_only() {
    let mut bench = Bench::idle().await;
    let senseless = bench.ingest(vec![reading("T1", 1.0), reading("T2", f64::NAN)], None);
    let sound = bench.ingest(vec![reading("T3", 3.0)], None);
    bench.run();
    assert!(matches!(senseless.await.expect("the writer answers"), Err(Refused::Conflict(_))));
    assert!(matches!(sound.await.expect("the writer answers"), Ok(Ingested::Stored { first, .. }) if first.0 == 1));
    // The sensors of the refused request were not registered either.
    bench.stored(vec![reading("T2", 2.0)]).await;
    let names: Vec<_> = bench.readings().await.iter().map(|reading| reading.sensor.id.to_string()).collect();
    assert_eq!(names, ["T3", "T2"]);
    let bench = bench.reopened().await;
    let names: Vec<_> = bench.readings().await.iter().map(|reading| reading.sensor.id.to_string()).collect();
    assert_eq!(names, ["T3", "T2"]);
}

#[tokio::test]
async fn a_change_that_rests_on_what_another_unit_of_its_group_changes_is_refused() {
    // Given a case as it was seen, and an agent that is at work on it,
    let mut bench = Bench::running().await;
    let case = CaseId(Uuid::new_v4());
    bench.store.append(vec![opened(case)], None).await.expect("nobody has opened it");
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    let seen = cases::get(&bench.store.history(), case).await.expect("it is read").expect("it is there");
    let seen = Some(Seen::from(seen));
    bench.kill().await;
    // when an acknowledgement that rests on it waits behind evidence, and one behind the agent's word as well,
    let acknowledged = || {
        let (by, reason) = ("ana".to_owned(), None);
        said(Event::CaseAcknowledged(Acknowledged { case, by, reason }))
    };
    let updated = said(Event::CaseUpdated(Updated { case, priority: Priority::Critical, reason: "worse".to_owned() }));
    let agent = bench.store.commit(handled(1, Seq(0), Seq(1), vec![updated]));
    let late = bench.store.append_if(seen.clone(), vec![acknowledged()]);
    let unconditional = bench.store.append_if(None, vec![acknowledged()]);
    let store = bench.store.clone();
    let outcomes = tokio::select! {
        outcomes = async { tokio::join!(agent, late, unconditional) } => outcomes,
        ended = store.run_writer() => panic!("{ended:?}"),
    };
    // then what rests on the case as it was is refused, and nothing else is.
    assert!(matches!(outcomes, (Ok(()), Err(Refused::Changed), Ok(_))), "{outcomes:?}");
    assert_eq!(bench.events().await.len(), 3);
}

#[tokio::test]
async fn a_change_that_rests_on_what_is_still_so_is_made_once() {
    let bench = Bench::running().await;
    let case = CaseId(Uuid::new_v4());
    bench.store.append(vec![opened(case)], None).await.expect("nobody has opened it");
    let seen = cases::get(&bench.store.history(), case).await.expect("it is read").expect("it is there");
    let shelved = |until: &str| {
        let (by, reason, until) = ("ana".to_owned(), "spare part".to_owned(), at(until));
        vec![said(Event::CaseShelved(Shelved { case, by, reason, until }))]
    };
    let both = [shelved("2026-11-22T07:00:00Z"), shelved("2026-11-23T07:00:00Z")];
    let both = both.map(|events| bench.store.append_if(Some(seen.clone().into()), events));
    let outcomes = futures_util::future::join_all(both).await;
    assert!(matches!(outcomes[..], [Ok(_), Err(Refused::Changed)]), "{outcomes:?}");
}

#[tokio::test]
async fn an_event_that_could_not_be_read_back_is_refused() {
    let bench = Bench::running().await;
    let senseless = bench.store.append(vec![drift(f64::INFINITY)], None).await;
    assert!(matches!(senseless, Err(Refused::Conflict(_))));
    assert_eq!(bench.events().await, []);
}

#[tokio::test]
async fn requests_without_content_are_refused() {
    let bench = Bench::running().await;
    assert!(matches!(bench.store.append(vec![], None).await, Err(Refused::Conflict(_))));
    assert!(matches!(bench.ingest(vec![], None).await.expect("the writer answers"), Err(Refused::Conflict(_))));
    assert_eq!(bench.events().await, []);
}

#[tokio::test]
async fn items_that_were_rejected_are_in_the_log_beside_those_accepted() {
    let bench = Bench::running().await;
    let rejected = Rejected { count: 2, examples: vec!["sensor_id: empty".to_owned()] };
    for readings in [vec![reading("T1", 1.0)], vec![]] {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let unit =
            persistence::unit::Ingest { rejected: Some(rejected.clone()), ..crate::bench::unit(readings, None, reply) };
        let event = unit.event;
        bench.store.ingest(unit).expect("the store is open");
        let ingested = answer.await.expect("the writer answers");
        assert!(matches!(ingested, Ok(Ingested::Stored { event: told, .. }) if told == event));
    }
    let events = bench.events().await;
    let names: Vec<_> = events.iter().map(|envelope| envelope.event.name()).collect();
    assert_eq!(names, ["readings_accepted", "readings_rejected", "readings_rejected"]);
    assert!(events.iter().all(|envelope| envelope.source == "data_acquisition" && envelope.cause.is_none()));
}

#[tokio::test]
async fn a_refused_event_can_be_submitted_again_under_another_id() {
    let bench = Bench::running().await;
    let event = note(Control::Pause);
    bench.store.append(vec![event.clone()], None).await.expect("it is new");
    assert!(matches!(bench.store.append(vec![event.clone()], None).await, Err(Refused::Conflict(_))));
    let renamed = NewEvent { id: id(), ..event };
    assert_eq!(bench.store.append(vec![renamed], None).await, Ok(Appended::Stored(Seq(2))));
    let due = said(Event::TimerDue { agent: "drift".to_owned(), key: "x".to_owned() });
    assert_eq!(bench.store.append(vec![due], None).await, Ok(Appended::Stored(Seq(3))));
}
