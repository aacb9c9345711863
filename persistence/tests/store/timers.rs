//! Timers become events when they are due, once.

use crate::bench::{Bench, at, handled, id, note};
use domain::event::Control;
use domain::{CorrelationId, Event, EventId, Seq};
use persistence::unit::{AgentUnit, Origin, TimerChange};
use std::time::Duration;

fn set(key: &str, due_at: &str, cause: EventId) -> TimerChange {
    TimerChange::Set {
        key: key.to_owned(),
        at: at(due_at),
        cause,
        correlation: CorrelationId::from(format!("request of {key}")),
    }
}

/// An agent that has handled as many events as it changes timers.
async fn with_timers(changes: Vec<TimerChange>) -> Bench {
    let bench = Bench::running().await;
    bench.store.append(vec![note(Control::Pause)], None).await.expect("it is appended");
    bench.store.begin("drift", Origin::Beginning, true, None).await.expect("it begins");
    let unit = |reply| AgentUnit { timers: changes, ..handled(1, Seq(0), Seq(1), vec![])(reply) };
    bench.store.commit(unit).await.expect("it is the newest");
    bench
}

#[tokio::test]
async fn a_timer_fires_once_and_says_where_it_came_from() {
    // Given two timers that are due and one that is not,
    let cause = id();
    let bench = with_timers(vec![
        set("second", "2026-11-21T09:00:00Z", cause),
        set("first", "2026-11-21T08:30:00Z", cause),
        set("later", "2026-11-21T10:00:00Z", cause),
    ])
    .await;
    assert_eq!(bench.store.next_timer_at().await, Ok(Some(at("2026-11-21T08:30:00Z"))));
    // when they are looked at twice, and the program goes down in between,
    assert_eq!(bench.store.fire_timers(at("2026-11-21T09:00:00Z")).await, Ok(2));
    let bench = bench.reopened().await;
    assert_eq!(bench.store.fire_timers(at("2026-11-21T09:00:00Z")).await, Ok(0));
    // then each due one is in the log once, the earliest first, with its cause and request.
    let events = bench.after(Seq(1)).await;
    let keys: Vec<_> = events
        .iter()
        .map(|envelope| match &envelope.event {
            Event::TimerDue { agent, key } => (agent.as_str(), key.as_str(), envelope.correlation.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [("drift", "first", "request of first"), ("drift", "second", "request of second")]);
    assert!(events.iter().all(|envelope| envelope.cause == Some(cause) && envelope.source == "timers"));
    assert!(events.iter().all(|envelope| envelope.at == at("2026-11-21T09:00:00Z")));
    assert_eq!(bench.store.next_timer_at().await, Ok(Some(at("2026-11-21T10:00:00Z"))));
}

#[tokio::test]
async fn a_timer_can_be_moved_and_cancelled() {
    let bench = with_timers(vec![
        set("moved", "2026-11-21T08:00:00Z", id()),
        set("cancelled", "2026-11-21T08:00:00Z", id()),
        set("moved", "2026-11-21T09:00:00Z", id()),
        TimerChange::Cancel { key: "cancelled".to_owned() },
        TimerChange::Cancel { key: "unknown".to_owned() },
    ])
    .await;
    assert_eq!(bench.store.fire_timers(at("2026-11-21T08:59:59Z")).await, Ok(0));
    assert_eq!(bench.store.next_timer_at().await, Ok(Some(at("2026-11-21T09:00:00Z"))));
    assert_eq!(bench.store.fire_timers(at("2026-11-21T09:00:00Z")).await, Ok(1));
    assert_eq!(bench.store.next_timer_at().await, Ok(None));
}

#[tokio::test]
async fn whoever_waits_for_timers_is_told_of_a_change() {
    let bench = with_timers(vec![set("first", "2026-11-21T08:30:00Z", id())]).await;
    // The commit came before anybody waited, and is not missed.
    let told = tokio::time::timeout(Duration::from_secs(5), bench.store.timers_changed().notified()).await;
    assert!(told.is_ok());
}
