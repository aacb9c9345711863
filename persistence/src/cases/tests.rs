//! Stories of cases: what the store refuses, counts and lists.

use super::*;
use crate::story::{
    Story, anomaly, case, completed, declined, hot, opened, predicted, proposal, required, scheduled, second, started,
    validated,
};
use domain::Event;
use domain::decision::{Approved, By};
use sea_orm::SqlErr;
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn a_second_open_case_is_refused_by_the_store() -> Outcome {
    // Given an open case,
    let mut story = Story::begin().await?;
    story.open(0, 1, "pump-1").await?;
    // when another one is opened for the same asset and failure mode, it is refused,
    let error = story.open(1, 2, "pump-1").await.expect_err("one is open already");
    assert!(matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))), "{error}");
    assert_eq!(get(&story.history, case(2)).await?, None);
    // but not on another asset, nor for another failure mode,
    story.open(2, 3, "pump-2").await?;
    let other = Opened { failure_mode: FailureMode::sensor_fault(), ..opened(3, 4, "pump-1") };
    story.tell(3, None, Event::CaseOpened(other)).await?;
    // nor when the first one has ended.
    story.close(4, 1).await?;
    story.open(5, 5, "pump-1").await?;
    let open = open_for(&story.history, &AssetId::from("pump-1"), &hot()).await?;
    assert_eq!(open.map(|open| open.id), Some(case(5)));
    let closed = last_closed_for(&story.history, &AssetId::from("pump-1"), &hot()).await?;
    assert_eq!(closed.map(|closed| closed.id), Some(case(1)));
    Ok(())
}

#[tokio::test]
async fn evidence_is_counted_and_dated_by_source_time() -> Outcome {
    // Given a case whose first evidence was told of before it was opened,
    let mut story = Story::begin().await?;
    let mut evidence = Vec::new();
    for at in [10, 0, 20] {
        let detected = story.tell(at, None, Event::AnomalyDetected(anomaly(at, "pump-1"))).await?;
        evidence.push((at, detected));
    }
    story.tell(21, None, validated(10, "pump-1", evidence[0].1, Some(case(1)))).await?;
    story.open(22, 1, "pump-1").await?;
    // when a late reading and 62 newer ones join it,
    story.tell(23, None, validated(0, "pump-1", evidence[1].1, Some(case(1)))).await?;
    for at in 24_i64..86 {
        let unseen = EventId(Uuid::from_u128(at.unsigned_abs().into()));
        story.tell(at, None, validated(at, "pump-1", unseen, Some(case(1)))).await?;
    }
    // and one that is nobody's evidence,
    story.tell(90, None, validated(20, "pump-1", evidence[2].1, None)).await?;
    // then there are 64, from the oldest source time to the newest.
    let known = get(&story.history, case(1)).await?.expect("it was opened");
    assert_eq!(known.evidence_count, 64);
    assert_eq!((known.first_evidence_at, known.last_evidence_at), (second(0), second(85)));
    Ok(())
}

#[tokio::test]
async fn a_case_passes_its_states_and_never_goes_back() -> Outcome {
    let mut story = Story::begin().await?;
    let approved = || {
        Event::MaintenanceApproved(Approved {
            request: Some("q-1".into()),
            proposal: proposal(Some(1), "pump-1"),
            by: By::Policy,
            reason: "sure".to_owned(),
        })
    };
    let steps = [
        (Event::CaseOpened(opened(0, 1, "pump-1")), State::Open),
        (Event::MaintenancePredicted(predicted(1, "pump-1")), State::Predicted),
        (required("q-1", 1, 60), State::DecisionPending),
        // A later forecast does not hide that a person is asked.
        (Event::MaintenancePredicted(predicted(1, "pump-1")), State::DecisionPending),
        (declined("q-1", 1), State::Declined),
        (required("q-1", 1, 60), State::DecisionPending),
        (approved(), State::Approved),
        (Event::MaintenanceScheduled(scheduled(1, Some(1), "tech-1", 100, 200)), State::Scheduled),
        (approved(), State::Scheduled),
        (started(1, Some(case(1))), State::InProgress),
        (completed(1, Some(case(1)), 180, true), State::InProgress),
        (
            Event::CaseClosed(Closed {
                case: case(1),
                resolution: Resolution::Repaired,
                reason: "fan replaced".to_owned(),
            }),
            State::Closed,
        ),
        (Event::MaintenancePredicted(predicted(1, "pump-1")), State::Closed),
    ];
    for (at, (event, state)) in (0..).zip(steps) {
        let name = event.name();
        story.tell(at, None, event).await?;
        let known = get(&story.history, case(1)).await?.expect("it was opened");
        assert_eq!(known.state, state, "after {name}");
    }
    let known = get(&story.history, case(1)).await?.expect("it was opened");
    assert_eq!((known.resolution, known.closed_at), (Some(Resolution::Repaired), Some(second(11))));
    Ok(())
}

#[tokio::test]
async fn a_case_is_seen_once_and_shelved_until_it_is_taken_back() -> Outcome {
    let mut story = Story::begin().await?;
    story.open(0, 1, "pump-1").await?;
    let seen = || Event::CaseAcknowledged(Acknowledged { case: case(1), by: "ana".to_owned(), reason: None });
    story.tell(1, None, seen()).await?;
    assert!(story.tell(2, None, seen()).await.is_err(), "it was seen before");
    let shelved = || {
        let (by, reason) = ("ana".to_owned(), "parts on the way".to_owned());
        Event::CaseShelved(Shelved { case: case(1), by, reason, until: second(100) })
    };
    let back = |by| Event::CaseUnshelved(Unshelved { case: case(1), by, reason: String::new() });
    assert!(story.tell(3, None, back(By::Person("bia".to_owned()))).await.is_err(), "it is not on the shelf");
    story.tell(3, None, shelved()).await?;
    assert!(story.tell(4, None, shelved()).await.is_err(), "it is there already");
    let filter = Filter { shelved: Some(true), acknowledged: Some(true), ..Filter::default() };
    let page = list(&story.history, &filter, &Start::default(), 10).await?;
    let [known] = &page.rows[..] else { panic!("{page:?}") };
    assert_eq!(known.shelved.as_ref().map(|shelf| (shelf.at, shelf.until)), Some((second(3), second(100))));
    assert_eq!(known.acknowledged.as_ref().map(|seen| (seen.at, seen.by.as_str())), Some((second(1), "ana")));
    // Its time may be over just after somebody took it back.
    for by in [By::Person("bia".to_owned()), By::Expiry] {
        story.tell(5, None, back(by)).await?;
    }
    assert_eq!(count(&story.history, &Filter { shelved: Some(false), ..Filter::default() }).await?, 1);
    // What ended is on no shelf.
    story.tell(6, None, shelved()).await?;
    story.close(7, 1).await?;
    assert!(!get(&story.history, case(1)).await?.expect("it was opened").standing().shelved);
    Ok(())
}

#[tokio::test]
async fn a_list_is_read_page_by_page() -> Outcome {
    // Given five cases, two of them opened in the same instant,
    let mut story = Story::begin().await?;
    for (id, at) in [(1, 0), (2, 10), (3, 10), (4, 20), (5, 30)] {
        story.open(at, id, &format!("pump-{id}")).await?;
    }
    story.close(40, 4).await?;
    // when they are read two at a time, with the cursor going through a client's hands,
    let mut seen = Vec::new();
    let mut start = Start::default();
    loop {
        let page = list(&story.history, &Filter::default(), &start, 2).await?;
        seen.extend(page.rows.iter().map(|case| case.id));
        let Some(next) = page.next else { break };
        start = Start::After(next.to_string().parse()?);
    }
    // then each comes once, the newest first.
    assert_eq!(seen, [case(5), case(4), case(3), case(2), case(1)]);
    // And filters choose.
    assert_eq!(count_open(&story.history).await?, 4);
    let closed = Filter { state: Some(State::Closed), ..Filter::default() };
    let page = list(&story.history, &closed, &Start::default(), 10).await?;
    assert_eq!(page.rows.iter().map(|case| case.id).collect::<Vec<_>>(), [case(4)]);
    let pump = Filter { asset: Some("pump-2".into()), failure_mode: Some(hot()), ..Filter::default() };
    let page = list(&story.history, &pump, &Start::default(), 10).await?;
    assert_eq!(page.rows.iter().map(|case| case.id).collect::<Vec<_>>(), [case(2)]);
    Ok(())
}
