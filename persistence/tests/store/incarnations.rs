//! An agent's place in the log belongs to one incarnation at a time.

use crate::bench::{Bench, handled, note, now};
use domain::Seq;
use domain::event::Control;
use persistence::in_hand::Held;
use persistence::unit::{AgentUnit, DeadLetter, Incarnation, Origin, Refused};
use std::collections::HashSet;

async fn with_events(n_events: usize) -> Bench {
    let bench = Bench::running().await;
    for _ in 0..n_events {
        bench.store.append(vec![note(Control::Pause)], None).await.expect("it is appended");
    }
    bench
}

#[tokio::test]
async fn an_old_incarnation_is_fenced() {
    // Given an agent that was started twice,
    let bench = with_events(2).await;
    let old = bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    let new = bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    assert_eq!((old.epoch, new.epoch), (1, 2));
    // when the old one goes on,
    let fenced = Err(Refused::Fenced { agent: "drift".to_owned(), epoch: 1 });
    let late = bench.store.commit(handled(1, Seq(0), Seq(1), vec![note(Control::Resume)])).await;
    // then nothing of it is committed, and the new one can do the same work.
    assert_eq!(late, fenced);
    assert_eq!(bench.store.rest("drift", 1).await, fenced);
    assert_eq!(bench.store.checkpoint("drift", 1, Seq(0), 1, vec![]).await, fenced);
    assert_eq!(bench.events().await.len(), 2);
    assert_eq!(bench.store.commit(handled(2, Seq(0), Seq(1), vec![note(Control::Resume)])).await, Ok(()));
    assert_eq!(bench.events().await.len(), 3);
    // The same unit once more does not start from where the agent is.
    let again = bench.store.commit(handled(2, Seq(0), Seq(1), vec![note(Control::Resume)])).await;
    assert!(matches!(again, Err(Refused::Fenced { .. })));
}

#[tokio::test]
async fn a_start_counts_as_an_attempt_at_the_event_after_the_cursor() {
    let bench = with_events(2).await;
    let begin = |charged, held: Option<(i64, i64)>| {
        let held = held.map(|(epoch, seq)| Held { epoch, seq: Seq(seq) });
        bench.store.begin("drift", Origin::Beginning, charged, held)
    };
    let begun = |epoch, cursor, attempts, alone_until| {
        Ok(Incarnation { epoch, cursor: Seq(cursor), attempts, alone_until: Seq(alone_until) })
    };
    assert_eq!(begin(true, None).await, begun(1, 0, 1, 0), "an agent that nobody knew");
    // One that ended with an event in hand is followed by one that goes there one event at a time.
    assert_eq!(begin(true, Some((1, 2))).await, begun(2, 0, 2, 2));
    // A start after the store was away makes the attempt that was counted before; so does one that is told once more.
    assert_eq!(begin(false, Some((1, 2))).await, begun(3, 0, 2, 2));
    // An orderly end is remembered, and takes no attempt back.
    bench.store.rest("drift", 3).await.expect("it is the newest");
    assert_eq!(begin(true, Some((3, 1))).await, begun(4, 0, 3, 2));
    // The commit that moves the cursor tells the attempts at the next event.
    bench.store.commit(handled(4, Seq(0), Seq(1), vec![])).await.expect("it is the newest");
    assert_eq!(begin(true, Some((4, 1))).await, begun(5, 1, 1, 2), "what was in hand is done");
    let claimed = |reply| AgentUnit { attempts: 2, ..handled(5, Seq(1), Seq(2), vec![note(Control::Pause)])(reply) };
    bench.store.commit(claimed).await.expect("it is the newest");
    assert_eq!(begin(true, Some((5, 3))).await, begun(6, 2, 3, 3));
    // With all events done, starts are held against none.
    bench.store.commit(handled(6, Seq(2), Seq(3), vec![])).await.expect("it is the newest");
    for epoch in 7..10 {
        assert_eq!(begin(true, None).await, begun(epoch, 3, 1, 3));
    }
}

#[tokio::test]
async fn an_agent_that_is_new_begins_where_it_says() {
    let bench = with_events(3).await;
    let late = bench.store.begin("reporting", Origin::Now, true, None).await.expect("it begins");
    assert_eq!(late.cursor, Seq(3));
    let early = bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    assert_eq!(early.cursor, Seq(0));
    // Its origin says nothing to one that is known.
    let again = bench.store.begin("drift", Origin::Now, true, None).await.expect("it begins");
    assert_eq!(again.cursor, Seq(0));
    let consumers = bench.store.log().consumers().await.expect("it can be read");
    let (drift, reporting) = (&consumers[0], &consumers[1]);
    assert_eq!((drift.name.as_str(), drift.cursor, drift.epoch, drift.attempts), ("drift", Seq(0), 2, 2));
    assert_eq!(drift.oldest_unhandled_at.map(|at| at.as_microsecond()), Some(now().as_microsecond()));
    assert_eq!((reporting.cursor, reporting.oldest_unhandled_at), (Seq(3), None));
}

#[tokio::test]
async fn a_fenced_unit_does_not_harm_its_group() {
    // Given units of an old and of the new incarnation that wait together,
    let mut bench = with_events(1).await;
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    bench.kill().await;
    let old = bench.store.commit(handled(1, Seq(0), Seq(1), vec![note(Control::Pause)]));
    let new = bench.store.commit(handled(2, Seq(0), Seq(1), vec![note(Control::Resume)]));
    let client = bench.store.append(vec![note(Control::Restart)], None);
    let store = bench.store.clone();
    // when they are committed,
    let outcomes = tokio::select! {
        outcomes = async { tokio::join!(old, new, client) } => outcomes,
        ended = store.run_writer() => panic!("{ended:?}"),
    };
    // then the old one alone is refused.
    assert!(matches!(outcomes, (Err(Refused::Fenced { .. }), Ok(()), Ok(_))), "{outcomes:?}");
    assert_eq!(bench.events().await.len(), 3);
}

#[tokio::test]
async fn a_checkpoint_serves_its_own_version_only() {
    let bench = with_events(1).await;
    let store = &bench.store;
    store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    store.checkpoint("drift", 1, Seq(0), 1, vec![1]).await.expect("it is saved");
    store.commit(handled(1, Seq(0), Seq(1), vec![])).await.expect("it is the newest");
    store.checkpoint("drift", 1, Seq(1), 2, vec![2]).await.expect("it is saved");
    assert_eq!(store.log().checkpoint("drift", 2).await, Ok(Some((Seq(1), vec![2]))));
    assert_eq!(store.log().checkpoint("drift", 1).await, Ok(None));
    assert_eq!(store.log().checkpoint("reporting", 1).await, Ok(None));
    // A state cannot be ahead of what is done.
    assert!(matches!(store.checkpoint("drift", 1, Seq(2), 2, vec![3]).await, Err(Refused::Fenced { .. })));
}

#[tokio::test]
async fn an_event_that_is_given_up_is_a_dead_letter_and_the_cursor_moves_on() {
    let bench = with_events(3).await;
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    let buried = |reply| AgentUnit {
        dead_letter: Some(DeadLetter { seq: Seq(2), attempts: 5, error: "it is poison".to_owned(), at: now() }),
        ..handled(1, Seq(0), Seq(2), vec![])(reply)
    };
    bench.store.commit(buried).await.expect("it is the newest");
    let log = bench.store.log();
    assert_eq!(log.buried("drift", Seq(0)).await, Ok(HashSet::from([Seq(2)])));
    assert_eq!(log.buried("drift", Seq(2)).await, Ok(HashSet::new()));
    assert_eq!(log.buried("reporting", Seq(0)).await, Ok(HashSet::new()));
    assert_eq!(bench.store.begin("drift", Origin::Beginning, true, None).await.map(|begun| begun.cursor), Ok(Seq(2)));
}
