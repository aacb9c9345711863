use super::*;
use domain::case::{Closed, Resolution};
use domain::prediction::RemainingHours;
use runtime::bench::Bench;
use uuid::Uuid;

fn settings() -> Settings {
    config::Config::defaults().section("agents.human_decision").unwrap()
}

fn bench(settings: Settings) -> Bench<HumanDecision> {
    Bench::start(settings, ())
}

fn case() -> CaseId {
    CaseId(Uuid::from_u128(7))
}

fn remaining(days: f64) -> Outlook {
    let p50 = days * 24.0;
    Outlook::Remaining { remaining_hours: RemainingHours { p10: p50 / 2.0, p50, p90: p50 * 2.0 } }
}

fn predicted(outlook: Outlook, confidence: f64) -> Event {
    Event::MaintenancePredicted(Prediction {
        case: case(),
        asset: "pump-1".into(),
        sensor: "pump-1/t".into(),
        as_of: "2026-01-01T00:00:00Z".parse().unwrap(),
        limit: Some(90.0),
        limit_source: "derived".to_owned(),
        outlook,
        confidence,
        method: "test/1".to_owned(),
        n_readings: 100,
        recommended_actions: vec!["Check the bearing.".to_owned()],
    })
}

fn answer(request: &DecisionRequestId, decision: &str) -> Event {
    Event::DecisionReceived(Received {
        request: request.clone(),
        decision: decision.to_owned(),
        meaning: Meaning::of(decision),
        operator: "ana".to_owned(),
        key: None,
        justification: None,
        confidence: 1.0,
        notes: None,
        decided_at: "2026-01-01T00:00:00Z".parse().unwrap(),
    })
}

fn closed() -> Event {
    let resolution = Resolution::ReturnedToNormal;
    Event::CaseClosed(Closed { case: case(), resolution, reason: "calm".to_owned() })
}

fn required(said: &[Event]) -> Required {
    let [Event::DecisionRequired(required)] = said else { panic!("one question is asked, not {said:?}") };
    required.clone()
}

fn approved(said: &[Event]) -> Approved {
    let [Event::MaintenanceApproved(approved)] = said else { panic!("it is approved, not {said:?}") };
    approved.clone()
}

async fn asked(bench: &mut Bench<HumanDecision>) -> Required {
    required(&bench.feed(predicted(remaining(20.0), 0.5)).await)
}

fn after(bench: &Bench<HumanDecision>, seconds: i64) -> Timestamp {
    bench.now() + SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn the_policy_follows_the_table_of_confidence_and_urgency() {
    for (days, confidence, by_policy) in
        [(100.0, 0.90, true), (14.9, 0.75, true), (15.0, 0.75, false), (100.0, 0.89, false), (1.0, 0.74, false)]
    {
        let said = bench(settings()).feed(predicted(remaining(days), confidence)).await;
        let is_approved = matches!(&said[..], [Event::MaintenanceApproved(Approved { by: By::Policy, .. })]);
        assert_eq!(is_approved, by_policy, "{days} days at {confidence}: {said:?}");
        assert!(by_policy || matches!(&said[..], [Event::DecisionRequired(_)]), "{said:?}");
    }
}

#[tokio::test]
async fn a_proposal_says_what_how_urgent_and_until_when() {
    for (days, maintenance_type, priority) in [
        (7.0, "urgent_corrective", Priority::High),
        (15.0, "preventive", Priority::Medium),
        (30.0, "preventive", Priority::Low),
        (31.0, "inspection", Priority::Low),
    ] {
        let mut bench = bench(settings());
        let proposal = approved(&bench.feed(predicted(remaining(days), 0.95)).await).proposal;
        assert_eq!((proposal.maintenance_type.as_str(), proposal.priority), (maintenance_type, priority), "{days}");
        assert_eq!(proposal.due_at, Some(bench.now() + hours(days * 12.0)), "the deadline is P10");
    }
    let mut bench = bench(settings());
    let proposal = approved(&bench.feed(predicted(Outlook::LimitPassed, 0.8)).await).proposal;
    assert_eq!((proposal.priority, proposal.due_at), (Priority::Critical, Some(bench.now() + hours(24.0))));
}

#[tokio::test]
async fn without_a_prognosis_a_person_decides_however_confident_it_is() {
    for outlook in [Outlook::NotEnoughData { have: 3, need: 30 }, Outlook::NoTrend { horizon_hours: 720.0 }] {
        let mut bench = bench(settings());
        let required = required(&bench.feed(predicted(outlook, 1.0)).await);
        assert_eq!(required.proposal.due_at, None);
        assert_eq!(required.deadline, bench.now() + hours(24.0));
    }
}

#[tokio::test]
async fn a_question_names_the_event_it_comes_of_and_leaves_time_to_act() {
    let mut bench = bench(settings());
    let id = bench.next_event();
    let near = required(&bench.feed(predicted(remaining(2.0), 0.5)).await);
    assert_eq!(near.request.as_str(), format!("maintenance_approval_{id}"));
    assert_eq!(near.options, OPTIONS);
    assert_eq!(near.deadline, bench.now() + hours(12.0), "half of P10");
    let passed = required(&self::bench(settings()).feed(predicted(Outlook::LimitPassed, 0.1)).await);
    assert_eq!(passed.deadline, bench.now() + hours(0.25), "the shortest time there is");
}

#[tokio::test]
async fn a_case_is_asked_about_once_until_it_closes() {
    let mut bench = bench(settings());
    asked(&mut bench).await;
    assert_eq!(bench.feed(predicted(Outlook::LimitPassed, 0.5)).await, []);
    assert_eq!(bench.feed(closed()).await, []);
    assert_eq!(bench.feed(predicted(remaining(1.0), 1.0)).await, [], "a prognosis that was under way is too late");
    assert_eq!(bench.advance(after(&bench, 10 * 86_400)).await, [], "the question was withdrawn");
}

#[tokio::test]
async fn a_surer_prognosis_settles_a_question_that_nobody_has_taken_up() {
    let mut bench = bench(settings());
    let question = asked(&mut bench).await;
    let said = bench.feed(predicted(remaining(9.0), 0.8)).await;
    assert!(
        matches!(&said[..], [Event::MaintenanceApproved(Approved { request: Some(request), by: By::Policy, proposal, .. })]
            if *request == question.request && proposal.confidence == 0.8),
        "{said:?}"
    );
    assert_eq!(bench.feed(predicted(remaining(9.0), 0.95)).await, [], "it is approved once");
}

#[tokio::test]
async fn a_question_that_a_person_has_put_off_is_theirs_to_settle() {
    let mut bench = bench(settings());
    let question = asked(&mut bench).await;
    bench.feed(answer(&question.request, "defer")).await;
    assert_eq!(bench.feed(predicted(remaining(9.0), 0.95)).await, []);
}

#[tokio::test]
async fn an_approval_is_carried_out_once() {
    let mut bench = bench(settings());
    let question = asked(&mut bench).await;
    let approved = approved(&bench.feed(answer(&question.request, "Approved ")).await);
    assert_eq!(approved.request, Some(question.request.clone()));
    assert_eq!((approved.by, approved.proposal), (By::Person("ana".to_owned()), question.proposal));
    assert_eq!(bench.feed(answer(&question.request, "approve")).await, [], "a second answer is audit");
    assert_eq!(bench.feed(answer(&"made_up".into(), "approve")).await, [], "an unknown request is audit");
    assert_eq!(bench.feed(predicted(remaining(1.0), 1.0)).await, []);
    assert_eq!(bench.advance(after(&bench, 10 * 86_400)).await, [], "an answered question does not expire");
}

#[tokio::test]
async fn a_refusal_declines_and_a_note_changes_nothing() {
    let mut bench = bench(settings());
    let question = asked(&mut bench).await;
    assert_eq!(bench.feed(answer(&question.request, "let me look")).await, []);
    let said = bench.feed(answer(&question.request, "no_action")).await;
    let [Event::MaintenanceDeclined(declined)] = &said[..] else { panic!("it is declined, not {said:?}") };
    assert_eq!((&declined.request, &declined.by), (&question.request, &By::Person("ana".to_owned())));
    assert_eq!(declined.reason, "declined by ana");
}

#[tokio::test]
async fn deferring_asks_again_later() {
    let mut bench = bench(settings());
    let first = asked(&mut bench).await;
    bench.advance(after(&bench, 3600)).await;
    let again = required(&bench.feed(answer(&first.request, "defer")).await);
    assert_eq!((&again.request, again.escalations), (&first.request, 0));
    assert_eq!(again.deadline, first.deadline + hours(1.0));
    assert_eq!(bench.advance(first.deadline).await, [], "the first deadline no longer holds");
    let fired_before = Event::TimerDue { agent: HumanDecision::NAME.to_owned(), key: first.request.to_string() };
    assert_eq!(bench.feed(fired_before).await, [], "not even if its timer had fired already");
    assert!(matches!(
        &bench.advance(again.deadline).await[..],
        [Event::DecisionExpired(_), Event::DecisionRequired(_)]
    ));
}

#[tokio::test]
async fn escalating_asks_again_more_urgently() {
    let mut bench = bench(settings());
    let first = asked(&mut bench).await;
    let again = required(&bench.feed(answer(&first.request, "escalate")).await);
    assert_eq!((first.proposal.priority, again.proposal.priority), (Priority::Medium, Priority::High));
    assert_eq!((&again.request, again.escalations), (&first.request, 1));
}

#[tokio::test]
async fn a_question_that_nobody_answers_grows_critical_and_is_never_dropped() {
    let mut bench = bench(settings());
    let mut question = asked(&mut bench).await;
    let mut priorities = vec![question.proposal.priority];
    for escalations in 1..=5 {
        let said = bench.advance(question.deadline).await;
        let [Event::DecisionExpired(expired), rest @ ..] = &said[..] else { panic!("it expires, not {said:?}") };
        assert_eq!(expired.outcome, OnExpiry::Escalate);
        let again = required(rest);
        assert_eq!((&again.request, again.escalations), (&question.request, escalations));
        assert!(question.deadline < again.deadline);
        priorities.push(again.proposal.priority);
        question = again;
    }
    use Priority::{Critical, High, Medium};
    assert_eq!(priorities, [Medium, High, Critical, Critical, Critical, Critical]);
    let approved = approved(&bench.feed(answer(&question.request, "approve")).await);
    assert_eq!(approved.by, By::Person("ana".to_owned()), "the question still stands");
}

#[tokio::test]
async fn a_declared_outcome_follows_when_nobody_answers() {
    for on_expiry in [OnExpiry::Approve, OnExpiry::Decline] {
        let mut bench = bench(Settings { on_expiry, ..settings() });
        let question = asked(&mut bench).await;
        let said = bench.advance(question.deadline).await;
        let [Event::DecisionExpired(_), outcome] = &said[..] else { panic!("it expires, not {said:?}") };
        match (on_expiry, outcome) {
            (OnExpiry::Approve, Event::MaintenanceApproved(approved)) => assert_eq!(approved.by, By::Expiry),
            (OnExpiry::Decline, Event::MaintenanceDeclined(declined)) => assert_eq!(declined.by, By::Expiry),
            _ => panic!("{on_expiry:?} leads to {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_asks_for_maintenance_has_approved_it_and_the_open_question_is_moot() {
    let mut bench = bench(settings());
    let question = asked(&mut bench).await;
    let id = bench.next_event();
    let requested = Requested { proposal: question.proposal, by: "ana".to_owned(), context: Default::default() };
    let approved = approved(&bench.feed(Event::MaintenanceRequested(requested)).await);
    assert_eq!(approved.request.unwrap().as_str(), format!("maintenance_request_{id}"));
    assert_eq!(approved.by, By::Person("ana".to_owned()));
    assert_eq!(bench.feed(answer(&question.request, "reject")).await, []);
}

#[tokio::test]
async fn a_demonstration_may_want_a_person_to_be_asked() {
    let mut bench = bench(settings());
    let started =
        |include_decision| Event::GoldenPathStarted { sensor: "pump-1/t".into(), sensor_events: 10, include_decision };
    bench.feed(started(false)).await;
    approved(&bench.feed(predicted(remaining(1.0), 1.0)).await);
    bench.feed(closed()).await;
    let mut bench = self::bench(settings());
    bench.feed(started(true)).await;
    required(&bench.feed(predicted(remaining(1.0), 1.0)).await);
}

#[tokio::test]
async fn a_case_whose_work_was_called_off_is_decided_again() {
    let mut bench = bench(settings());
    approved(&bench.feed(predicted(remaining(3.0), 0.95)).await);
    assert_eq!(bench.feed(predicted(remaining(3.0), 0.95)).await, [], "it is decided");
    let called_off = Cancelled {
        work_order: domain::WorkOrderId(Uuid::from_u128(1)),
        case: Some(case()),
        asset: "pump-1".into(),
        by: "shift".to_owned(),
        reason: "the wrong pump".to_owned(),
    };
    assert_eq!(bench.feed(Event::WorkOrderCancelled(called_off)).await, []);
    // A person is asked at once, whatever would follow by itself,
    let question = required(&bench.advance(bench.now()).await);
    assert_eq!(question.reason, "its work was called off by shift: the wrong pump");
    assert_eq!(bench.feed(predicted(remaining(3.0), 0.95)).await, [], "a person has called it off");
    let said = bench.advance(question.deadline).await;
    assert!(matches!(&said[..], [Event::DecisionExpired(_), Event::DecisionRequired(_)]), "{said:?}");
    // and their answer counts.
    let again = approved(&bench.feed(answer(&question.request, "approve")).await);
    assert_eq!(again.request, Some(question.request));
}

/// What a node with other settings asked, as its log has it.
async fn asked_elsewhere(prediction: Event) -> (Event, Required) {
    let mut elsewhere = bench(Settings { high_confidence: 1.0, ..settings() });
    let asked = required(&elsewhere.feed(prediction).await);
    (Event::DecisionRequired(asked.clone()), asked)
}

#[tokio::test]
async fn a_question_that_stands_in_the_log_is_open_even_if_nobody_would_be_asked_today() {
    // Given a log in which a person was asked, read with settings under which none would be,
    let prediction = || predicted(remaining(20.0), 0.95);
    let (in_log, question) = asked_elsewhere(prediction()).await;
    let mut bench = bench(settings());
    approved(&bench.feed(prediction()).await);
    assert_eq!(bench.feed(in_log).await, []);
    // and in which the next prognosis settled nothing either,
    approved(&bench.feed(prediction()).await);
    // then the answer is carried out, once.
    let said = approved(&bench.feed(answer(&question.request, "approve")).await);
    assert_eq!((said.request, said.proposal), (Some(question.request.clone()), question.proposal));
    assert_eq!(bench.feed(answer(&question.request, "approve")).await, []);
}

#[tokio::test]
async fn a_question_that_stands_in_the_log_expires_when_it_said_so() {
    let prediction = || predicted(remaining(20.0), 0.95);
    let (in_log, question) = asked_elsewhere(prediction()).await;
    let mut bench = bench(Settings { deadline_hours: 1.0, ..settings() });
    bench.feed(prediction()).await;
    bench.feed(in_log).await;
    bench.advance(question.deadline).await;
    let due = Event::TimerDue { agent: HumanDecision::NAME.to_owned(), key: question.request.to_string() };
    let said = bench.feed(due).await;
    assert!(matches!(&said[..], [Event::DecisionExpired(_), Event::DecisionRequired(_)]), "{said:?}");
}

#[tokio::test]
async fn what_stands_in_the_log_as_approved_is_so_even_if_a_person_would_be_asked_today() {
    let mut bench = bench(Settings { high_confidence: 1.0, ..settings() });
    let prediction = || predicted(remaining(20.0), 0.95);
    let not_asked = required(&bench.feed(prediction()).await);
    let proposal = not_asked.proposal;
    let in_log = Approved { request: None, proposal, by: By::Policy, reason: String::new() };
    assert_eq!(bench.feed(Event::MaintenanceApproved(in_log)).await, []);
    assert_eq!(bench.feed(prediction()).await, []);
    assert_eq!(bench.feed(answer(&not_asked.request, "approve")).await, [], "nobody was asked");
}

#[tokio::test]
async fn a_word_that_is_heard_late_does_not_undo_what_was_said_since() {
    let mut bench = bench(settings());
    let told = bench.feed_said(predicted(remaining(20.0), 0.5)).await;
    let question = required(&[told[0].event.clone()]);
    let settled = bench.feed_said(answer(&question.request, "approve")).await;
    // It hears the question after it was answered, and then its own approval.
    for word in told.into_iter().chain(settled) {
        assert_eq!(bench.hear(word).await, []);
        assert_eq!(bench.feed(answer(&question.request, "approve")).await, [], "it is approved once");
    }
}
