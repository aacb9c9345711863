//! A store that cannot be written to says so, and recovers.

use crate::bench::{Bench, execute, key, note, reading};
use domain::Seq;
use domain::event::Control;
use persistence::StoreError;
use persistence::unit::{Appended, Ingested, Refused};
use sea_orm::TransactionTrait;

#[tokio::test]
async fn a_store_that_others_have_locked_answers_and_recovers() {
    // Given a writer at work, and another program that locks the database,
    let mut bench = Bench::running().await;
    bench.stored(vec![reading("T1", 1.0)]).await;
    let stranger = bench.stranger().await;
    let locked = stranger.begin().await.expect("others may begin");
    sea_orm::ConnectionTrait::execute_unprepared(&locked, "DELETE FROM checkpoints").await.expect("and write");
    // when something is submitted,
    let answer = bench.ingest(vec![reading("T1", 2.0)], Some(key("k", 1)));
    // then it is answered, the writer ends, and what comes next is answered at once.
    assert!(matches!(answer.await.expect("the writer answers"), Err(Refused::Unavailable(_))));
    assert!(matches!(bench.ended().await, Err(StoreError::Unavailable(_))));
    let next = bench.ingest(vec![reading("T1", 3.0)], None);
    assert!(matches!(next.await.expect("the queue answers"), Err(Refused::Unavailable(_))));
    // A writer that starts meanwhile fails too.
    bench.run();
    assert!(matches!(bench.ended().await, Err(StoreError::Unavailable(_))));
    // When the other program is done, the writer goes on as if nothing had been.
    locked.rollback().await.expect("others may end");
    bench.run();
    while bench.store.append(vec![note(Control::Pause)], None).await.is_err() {
        tokio::task::yield_now().await;
    }
    let again = bench.ingest(vec![reading("T1", 2.0)], Some(key("k", 1))).await.expect("the writer answers");
    assert!(matches!(again, Ok(Ingested::Stored { first, .. }) if first.0 == 2));
    let values: Vec<_> = bench.readings().await.iter().map(|reading| reading.value).collect();
    assert_eq!(values, [1.0, 2.0]);
    assert_eq!(bench.store.log().head(), Seq(3));
    assert_eq!(bench.store.stats().failures, 1);
}

#[tokio::test]
async fn a_full_store_takes_whole_groups_or_nothing() {
    // Given a store with little room,
    let mut bench = Bench::with(|settings| settings.size_bytes_max = 1 << 20).await;
    bench.run();
    let batch = || (0..1_000).map(|n| reading("T1", f64::from(n))).collect::<Vec<_>>();
    let mut n_stored = 0;
    // when more is sent than it holds,
    while bench.ingest(batch(), None).await.expect("the writer answers").is_ok() {
        n_stored += 1_000;
    }
    assert!(matches!(bench.ended().await, Err(StoreError::Unavailable(_))));
    // and small units wait beside a large one,
    bench.run();
    while bench.store.append(vec![note(Control::Pause)], None).await.is_err() {
        tokio::task::yield_now().await;
    }
    bench.kill().await;
    let head = bench.store.log().head();
    let small = bench.ingest(vec![reading("T1", 1.0)], None);
    let large = bench.ingest(batch(), None);
    let late = bench.ingest(vec![reading("T1", 2.0)], None);
    bench.run();
    // then none of that group is stored, and none is acknowledged.
    for answer in [small, large, late] {
        assert!(matches!(answer.await.expect("the writer answers"), Err(Refused::Unavailable(_))));
    }
    assert!(bench.ended().await.is_err());
    assert_eq!(bench.readings().await.len(), n_stored);
    assert_eq!(bench.store.log().head(), head);
    // When there is room again, it goes on.
    let stranger = bench.stranger().await;
    execute(&stranger, "DELETE FROM readings WHERE no <= 1000").await;
    stranger.close().await.expect("others may end");
    bench.run();
    let mut appended = Err(Refused::KeyReused);
    while appended.is_err() {
        appended = bench.store.append(vec![note(Control::Resume)], None).await;
    }
    assert_eq!(appended, Ok(Appended::Stored(Seq(head.0 + 1))));
    bench.stored(vec![reading("T1", 3.0)]).await;
    let bench = bench.reopened().await;
    assert_eq!(bench.readings().await.len(), n_stored - 1_000 + 1);
}

#[tokio::test]
async fn what_waits_while_no_writer_runs_is_committed_by_the_next() {
    let mut bench = Bench::running().await;
    bench.stored(vec![reading("T1", 1.0)]).await;
    bench.kill().await;
    let waiting = bench.ingest(vec![reading("T1", 2.0)], None);
    assert_eq!(bench.store.stats().queue_depth, 1);
    bench.run();
    assert!(matches!(waiting.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
    assert_eq!(bench.store.stats().queue_depth, 0);
}
