//! What was acknowledged is on disk, and nothing else is acknowledged.

use crate::bench::{Bench, drift, execute, note, reading, said};
use domain::event::Control;
use domain::{Event, Seq};
use persistence::unit::{Appended, Ingested, Origin, Refused};
use persistence::{Store, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::task::JoinSet;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    // Given readings, events and an agent's place that were acknowledged,
    let bench = Bench::running().await;
    bench.stored(vec![reading("T1", 20.25), reading("T2", 0.1 + 0.2)]).await;
    bench.store.append(vec![drift(0.1), note(Control::Pause)], None).await.expect("it is appended");
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    bench.store.checkpoint("drift", 1, Seq(0), 3, vec![1, 2, 3]).await.expect("it is saved");
    let (events, readings) = (bench.events().await, bench.readings().await);
    // when the program goes down without a word,
    let bench = bench.reopened().await;
    // then everything is as it was,
    assert_eq!(bench.events().await, events);
    assert_eq!(bench.readings().await, readings);
    assert_eq!(readings.len(), 2);
    assert_eq!(bench.store.log().checkpoint("drift", 3).await, Ok(Some((Seq(0), vec![1, 2, 3]))));
    // and numbers go on where they were.
    assert!(matches!(bench.stored(vec![reading("T1", 1.0)]).await, Ingested::Stored { first, .. } if first.0 == 3));
    assert_eq!(bench.store.append(vec![note(Control::Resume)], None).await, Ok(Appended::Stored(Seq(5))));
}

#[tokio::test]
async fn what_was_acknowledged_can_be_read_by_others_at_once() {
    let bench = Bench::running().await;
    let stranger = bench.stranger().await;
    for _ in 0..100 {
        let event = note(Control::Pause);
        let event_id = event.id.to_string();
        bench.store.append(vec![event], None).await.expect("it is appended");
        let select = "SELECT seq FROM events WHERE id = $1";
        let row = stranger
            .query_one_raw(Statement::from_sql_and_values(DbBackend::Sqlite, select, [event_id.into()]))
            .await
            .expect("strangers may read");
        assert!(row.is_some(), "acknowledged before it was committed");
    }
}

#[tokio::test]
async fn a_second_store_on_one_folder_is_refused() {
    let bench = Bench::idle().await;
    let second = Store::open(&bench.settings).await;
    assert!(matches!(second, Err(StoreError::Locked(_))));
    drop(bench.reopened().await);
}

#[cfg(unix)]
#[tokio::test]
async fn the_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::idle().await;
    let folder = std::fs::metadata(&bench.settings.data_dir).expect("the folder is there");
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_submitter_that_goes_away_harms_nobody() {
    let mut bench = Bench::idle().await;
    drop(bench.ingest(vec![reading("T1", 1.0)], None));
    let answer = bench.ingest(vec![reading("T2", 2.0)], None);
    bench.run();
    assert!(matches!(answer.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
    assert_eq!(bench.readings().await.len(), 2);
}

#[tokio::test]
async fn closing_commits_what_waits_and_takes_nothing_more() {
    // Given a unit that waits,
    let mut bench = Bench::idle().await;
    let answer = bench.ingest(vec![reading("T1", 1.0)], None);
    // when the store is closed before the writer gets to it,
    bench.store.close();
    bench.run();
    // then it is committed, the WAL is empty, and the next one is refused.
    assert_eq!(bench.ended().await, Ok(()));
    assert!(matches!(answer.await.expect("the writer answers"), Ok(Ingested::Stored { .. })));
    assert_eq!(bench.store.stats().wal_bytes, 0);
    let late = bench.store.append(vec![note(Control::Pause)], None).await;
    assert!(matches!(late, Err(Refused::Unavailable(_))));
}

#[tokio::test]
async fn a_file_that_was_damaged_after_a_crash_is_not_opened() {
    // Given a store that went down with its WAL unwritten,
    let mut bench = Bench::running().await;
    for _ in 0..50 {
        bench.stored((0..100).map(|n| reading("T1", f64::from(n))).collect()).await;
    }
    let stranger = bench.stranger().await;
    execute(&stranger, "PRAGMA wal_checkpoint(PASSIVE)").await;
    bench.stored(vec![reading("T1", 1.0)]).await;
    bench.kill().await;
    let Bench { store, settings, .. } = &bench;
    let file = settings.data_dir.join("store.sqlite");
    assert!(0 < store.stats().wal_bytes);
    // when its pages are overwritten,
    let mut bytes = std::fs::read(&file).expect("the file is there");
    let n_bytes = bytes.len();
    bytes[n_bytes / 2..].fill(0xa5);
    let copy = settings.data_dir.with_file_name("copy");
    std::fs::create_dir(&copy).expect("there is room for a copy");
    std::fs::write(copy.join("store.sqlite"), bytes).expect("there is room for a copy");
    std::fs::copy(settings.data_dir.join("store.sqlite-wal"), copy.join("store.sqlite-wal")).expect("and for the WAL");
    // then it is not opened.
    let opened = Store::open(&persistence::Settings { data_dir: copy, ..settings.clone() }).await;
    assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{:?}", opened.err());
}

#[tokio::test]
async fn a_writer_that_is_interrupted_anywhere_loses_and_doubles_nothing() {
    // Given submitters that remember what was acknowledged,
    let mut bench = Bench::idle().await;
    let mut submitters = JoinSet::new();
    for _ in 0..8 {
        let store = bench.store.clone();
        submitters.spawn(async move {
            let mut acknowledged = Vec::new();
            for _ in 0..100 {
                let event = note(Control::Pause);
                let event_id = event.id;
                match store.append(vec![event], None).await {
                    Ok(_) => acknowledged.push(event_id),
                    // Nothing else may come of an interruption: no number is given twice.
                    Err(refused) => assert!(matches!(refused, Refused::Unavailable(_)), "{refused:?}"),
                }
            }
            acknowledged
        });
    }
    // when the writer is killed again and again, a little later after a commit each time,
    let mut changes = bench.store.log().changes();
    let mut acknowledged = Vec::new();
    let mut pauses = (0..100).cycle();
    while !submitters.is_empty() {
        bench.run();
        tokio::select! {
            changed = changes.changed() => changed.expect("the log is there"),
            Some(submitter) = submitters.join_next() => acknowledged.extend(submitter.expect("no submitter panics")),
        }
        for _ in 0..pauses.next().unwrap_or_default() {
            tokio::task::yield_now().await;
        }
        bench.kill().await;
    }
    bench.run();
    bench
        .store
        .append(vec![said(Event::TimerDue { agent: "drift".to_owned(), key: "last".to_owned() })], None)
        .await
        .expect("the last writer is at work");
    // then all of it is in the log, which has no gap, and memory and table agree.
    let events = bench.events().await;
    assert!(events.iter().zip(1..).all(|(envelope, seq)| envelope.seq == Seq(seq)));
    assert!(!acknowledged.is_empty());
    for event_id in acknowledged {
        assert_eq!(events.iter().filter(|envelope| envelope.id == event_id).count(), 1);
    }
    let bench = bench.reopened().await;
    assert_eq!(bench.events().await, events);
}
