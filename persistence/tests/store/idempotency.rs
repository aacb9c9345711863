//! A request is carried out once, however often it comes.

use crate::bench::{Bench, at, key, note, reading};
use domain::event::Control;
use persistence::unit::{Appended, Idempotency, Ingested, Refused, Repeat};

async fn ingested(bench: &Bench, body: u8, used: Idempotency) -> Result<Ingested, Refused> {
    bench.ingest(vec![reading("T1", f64::from(body))], Some(used)).await.expect("the writer answers")
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_has_no_effect() {
    // Given a request that was carried out,
    let bench = Bench::running().await;
    let first = ingested(&bench, 1, key("k", 1)).await;
    let Ok(Ingested::Stored { event, .. }) = first else { panic!("{first:?}") };
    // when it comes again, also after the program went down,
    let again = Ok(Ingested::Repeat(Repeat { event, response: "answer to 1".to_owned() }));
    assert_eq!(ingested(&bench, 1, key("k", 1)).await, again);
    let bench = bench.reopened().await;
    let late = Idempotency { response: "another answer".to_owned(), at: at("2026-11-28T07:00:00Z"), ..key("k", 1) };
    assert_eq!(ingested(&bench, 1, late).await, again);
    // then it was stored once.
    assert_eq!(bench.readings().await.len(), 1);
    assert_eq!(bench.events().await.len(), 1);
}

#[tokio::test]
async fn a_key_that_comes_with_another_body_is_refused() {
    let bench = Bench::running().await;
    ingested(&bench, 1, key("k", 1)).await.expect("the key is new");
    assert_eq!(ingested(&bench, 2, key("k", 2)).await, Err(Refused::KeyReused));
    assert_eq!(bench.store.append(vec![note(Control::Pause)], Some(key("k", 3))).await, Err(Refused::KeyReused));
    // The same key of somebody else, or for something else, is another key.
    let elsewhere = Idempotency { scope: "office/ingest".to_owned(), ..key("k", 2) };
    assert!(matches!(ingested(&bench, 2, elsewhere).await, Ok(Ingested::Stored { .. })));
    assert_eq!(bench.readings().await.len(), 2);
}

#[tokio::test]
async fn repeats_within_one_group_are_told_from_the_first() {
    // Given one request three times, and its key with another body,
    let mut bench = Bench::idle().await;
    let answers: Vec<_> =
        [1, 1, 2, 1].map(|body| bench.ingest(vec![reading("T1", 1.0)], Some(key("k", body)))).into_iter().collect();
    let neighbour = bench.ingest(vec![reading("T2", 2.0)], None);
    // when they are committed together,
    bench.run();
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.expect("the writer answers"));
    }
    // then the first is carried out, without a second run of the group.
    let Ok(Ingested::Stored { event, .. }) = outcomes[0] else { panic!("{outcomes:?}") };
    let again = Ok(Ingested::Repeat(Repeat { event, response: "answer to 1".to_owned() }));
    assert_eq!(outcomes[1..], [again.clone(), Err(Refused::KeyReused), again]);
    assert!(matches!(neighbour.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
    assert_eq!(bench.readings().await.len(), 2);
    let stats = bench.store.stats();
    assert_eq!((stats.commits, stats.groups_rerun), (1, 0));
}

#[tokio::test]
async fn a_key_is_free_again_if_its_first_use_was_refused() {
    let mut bench = Bench::idle().await;
    let senseless = bench.ingest(vec![reading("T1", f64::NAN)], Some(key("k", 1)));
    let sound = bench.ingest(vec![reading("T1", 1.0)], Some(key("k", 2)));
    bench.run();
    assert!(matches!(senseless.await.expect("the writer answers"), Err(Refused::Conflict(_))));
    assert!(matches!(sound.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
}

#[tokio::test]
async fn events_repeat_with_their_first_ones_id() {
    let bench = Bench::running().await;
    let events = vec![note(Control::Pause), note(Control::Resume)];
    let event = events[0].id;
    assert!(matches!(bench.store.append(events.clone(), Some(key("k", 1))).await, Ok(Appended::Stored(_))));
    let again = Appended::Repeat(Repeat { event, response: "answer to 1".to_owned() });
    assert_eq!(bench.store.append(events, Some(key("k", 1))).await, Ok(again));
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_days() {
    let bench = Bench::running().await;
    ingested(&bench, 1, key("replaced", 1)).await.expect("the key is new");
    ingested(&bench, 1, key("forgotten", 1)).await.expect("the key is new");
    // Eight days later it is a new key, for whatever body,
    let later = at("2026-11-29T08:00:01Z");
    let replaced = Idempotency { at: later, ..key("replaced", 2) };
    assert!(matches!(ingested(&bench, 2, replaced.clone()).await, Ok(Ingested::Stored { .. })));
    assert!(matches!(ingested(&bench, 2, replaced).await, Ok(Ingested::Repeat(_))));
    // and the old ones are deleted as time goes by.
    bench.store.fire_timers(later).await.expect("no timer is due");
    assert!(matches!(ingested(&bench, 1, key("forgotten", 3)).await, Ok(Ingested::Stored { .. })));
}
