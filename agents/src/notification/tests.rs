use super::*;
use domain::case::{Closed, FailureMode, Resolution};
use domain::decision::{Approved, By, OnExpiry};
use domain::report::Generated;
use domain::{EventId, WorkOrderId};
use jiff::SignedDuration;
use runtime::bench::Bench;
use uuid::Uuid;

fn settings() -> Settings {
    let defaults: Settings = config::Config::defaults().section("agents.notification").unwrap();
    let contact = |role: &str, email: &str| Contact { role: role.to_owned(), email: email.to_owned() };
    Settings {
        webhook_priority_min: Priority::Medium,
        contacts: vec![
            contact("operator", "ana@example.org"),
            contact("maintenance_supervisor", "ana@example.org"),
            contact("maintenance_supervisor", "rui@example.org"),
        ],
        ..defaults
    }
}

async fn bench_with(settings: Settings, webhook: bool) -> Bench<Notification> {
    Bench::start(settings, (outlets(webhook, false), nothing().await))
}

async fn nothing() -> History {
    History::empty().await.unwrap()
}

fn outlets(webhook: bool, email: bool) -> Outlets {
    Outlets { webhook, email, time_zone: TimeZone::get("America/Sao_Paulo").unwrap() }
}

async fn mailing(settings: Settings) -> Bench<Notification> {
    Bench::start(settings, (outlets(false, true), nothing().await))
}

/// Address and subject of the mails among what is said.
fn mails(said: &[Event]) -> Vec<(String, String)> {
    let requested = said.iter().filter_map(|event| match event {
        Event::NotificationRequested(requested) if requested.channel == Channel::Email => Some(requested),
        _ => None,
    });
    requested.map(|requested| (requested.recipient.clone(), requested.subject.clone())).collect()
}

async fn bench() -> Bench<Notification> {
    bench_with(settings(), false).await
}

fn case(n: u128) -> CaseId {
    CaseId(Uuid::from_u128(n))
}

fn opened(n: u128, priority: Priority) -> Event {
    let at = "2026-01-01T11:00:00Z".parse().unwrap();
    Event::CaseOpened(Opened {
        case: case(n),
        asset: format!("pump-{n}").as_str().into(),
        failure_mode: FailureMode("abnormal_pump".to_owned()),
        sensor: "s".into(),
        priority,
        first_evidence_at: at,
        last_evidence_at: at,
        reason: "three in a row".to_owned(),
        evidence: Vec::new(),
        recurrence_of: None,
        detector: None,
        sensor_type: None,
    })
}

fn proposal() -> Proposal {
    Proposal {
        case: Some(case(1)),
        asset: "pump-1".into(),
        sensor: "s".into(),
        maintenance_type: "urgent_corrective".to_owned(),
        priority: Priority::High,
        due_at: None,
        confidence: 0.5,
        recommended_actions: vec!["Repair soon: one in ten fails by then".to_owned(), "check the seal.".to_owned()],
    }
}

fn required(escalations: u32) -> Event {
    Event::DecisionRequired(Required {
        request: "r1".into(),
        proposal: proposal(),
        options: vec!["approve".to_owned(), "reject".to_owned()],
        reason: "Confidence is low".to_owned(),
        deadline: "2026-01-02T11:00:00Z".parse().unwrap(),
        on_expiry: OnExpiry::Escalate,
        escalations,
    })
}

fn after(bench: &Bench<Notification>, minutes: i64) -> Timestamp {
    bench.now() + SignedDuration::from_mins(minutes)
}

/// Recipient, subject and channel of what is sent; each console message must be delivered on the spot.
fn sent(said: &[Event]) -> Vec<(String, String, Channel)> {
    let mut sent = Vec::new();
    let mut rest = said;
    while let [Event::NotificationRequested(requested), more @ ..] = rest {
        rest = match (requested.channel, more) {
            (Channel::Console, [Event::NotificationSent(done), more @ ..]) => {
                assert_eq!(done.notification, requested.notification);
                more
            }
            (Channel::Console, _) => panic!("the console's message is delivered at once: {said:?}"),
            (Channel::Webhook | Channel::Email, more) => more,
        };
        sent.push((requested.recipient.clone(), requested.subject.clone(), requested.channel));
    }
    assert_eq!(rest, [], "only notifications are said");
    sent
}

fn recipients(said: &[Event]) -> Vec<String> {
    sent(said).into_iter().map(|(recipient, ..)| recipient).collect()
}

fn body(said: &[Event]) -> &str {
    let [Event::NotificationRequested(requested), ..] = said else { panic!("something is sent, not {said:?}") };
    &requested.body
}

#[tokio::test]
async fn urgent_cases_reach_the_supervisor_too() {
    let said = bench().await.feed(opened(1, Priority::Medium)).await;
    assert_eq!(sent(&said), [("operator".into(), "Case opened: abnormal_pump on pump-1".into(), Channel::Console)]);
    assert_eq!(body(&said), "Three in a row. First seen at Thu 2026-01-01 08:00 -03.");
    let said = bench().await.feed(opened(1, Priority::High)).await;
    assert_eq!(recipients(&said), ["operator", "maintenance_supervisor"]);
}

#[tokio::test]
async fn a_webhook_gets_what_is_urgent_enough_as_an_intent() {
    let mut bench = bench_with(settings(), true).await;
    assert_eq!(sent(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
    let said = sent(&bench.feed(opened(2, Priority::Medium)).await);
    assert_eq!(said.iter().map(|(.., channel)| *channel).collect::<Vec<_>>(), [Channel::Console, Channel::Webhook]);
}

#[tokio::test]
async fn the_same_subject_is_told_once_in_a_while() {
    let mut bench = bench().await;
    assert_eq!(recipients(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
    assert_eq!(recipients(&bench.feed(opened(2, Priority::Low)).await).len(), 1, "another subject");
    bench.advance(after(&bench, 4)).await;
    assert_eq!(bench.feed(opened(1, Priority::Low)).await, []);
    bench.advance(after(&bench, 1)).await;
    assert_eq!(recipients(&bench.feed(opened(1, Priority::Low)).await).len(), 1);
}

#[tokio::test]
async fn a_new_case_is_told_however_like_another_one_it_is() {
    let mut bench = bench().await;
    let first = bench.feed(opened(1, Priority::Low)).await;
    let resolution = Resolution::ReturnedToNormal;
    bench.feed(Event::CaseClosed(Closed { case: case(1), resolution, reason: String::new() })).await;
    let Event::CaseOpened(again) = opened(1, Priority::Low) else { unreachable!() };
    let second = bench.feed(Event::CaseOpened(Opened { case: case(2), ..again })).await;
    assert_eq!(sent(&first).len(), 1);
    assert_eq!(sent(&first), sent(&second));
}

#[tokio::test]
async fn a_handover_goes_to_those_whose_role_hears_of_it() {
    let made = |notice: Option<&str>| {
        Event::ReportGenerated(Generated {
            report: "handover-1".into(),
            report_type: "shift_handover".to_owned(),
            format: "json".to_owned(),
            content: "{}".to_owned(),
            data_points: 0,
            error: None,
            notice: notice.map(str::to_owned),
            from: None,
            to: None,
        })
    };
    let mut bench = mailing(settings()).await;
    let said = bench.feed(made(Some("Open cases: 0"))).await;
    let subject = "Shift handover at Wed 2025-12-31 21:00 -03".to_owned();
    let told = sent(&said).into_iter().filter(|(.., channel)| *channel == Channel::Console);
    assert_eq!(told.map(|(role, ..)| role).collect::<Vec<_>>(), ["operator", "maintenance_supervisor"]);
    assert_eq!(
        mails(&said),
        [("ana@example.org".to_owned(), subject.clone()), ("rui@example.org".to_owned(), subject)]
    );
    assert_eq!(body(&said), "Open cases: 0\nThe whole report is handover-1.");
    assert_eq!(bench.feed(made(None)).await, [], "whoever asked for one reads it");
}

#[tokio::test]
async fn a_flood_is_held_back_counted_and_told() {
    let mut bench = bench_with(Settings { per_hour_max: 2, escalate_minutes: 0, ..settings() }, false).await;
    for n in 1..=2 {
        assert_eq!(recipients(&bench.feed(opened(n, Priority::Low)).await).len(), 1);
    }
    for n in 3..=5 {
        assert_eq!(bench.feed(opened(n, Priority::Low)).await, []);
    }
    let critical = bench.feed(opened(6, Priority::Critical)).await;
    assert_eq!(recipients(&critical)[0], "operator", "what is critical comes through");
    assert_eq!(bench.feed(opened(7, Priority::Medium)).await, []);
    let later = bench.advance(after(&bench, 61)).await;
    assert_eq!(sent(&later), [("operator".into(), "Messages held back: 4".into(), Channel::Console)]);
    let lines: Vec<_> = body(&later).lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[3].ends_with("  medium  Case opened: abnormal_pump on pump-7"), "{lines:?}");
    assert!(matches!(&later[0], Event::NotificationRequested(told) if told.priority == Priority::Medium));
    assert_eq!(bench.advance(after(&bench, 600)).await, []);
}

#[tokio::test]
async fn what_was_held_back_is_told_however_soon_after_the_last_time() {
    // Given a recipient who got two messages, a minute apart, and from whom a third was held back,
    let mut bench = bench_with(Settings { per_hour_max: 2, ..settings() }, false).await;
    bench.feed(opened(1, Priority::Low)).await;
    bench.advance(after(&bench, 1)).await;
    bench.feed(opened(2, Priority::Low)).await;
    bench.feed(opened(3, Priority::Low)).await;
    let first = bench.advance(after(&bench, 59)).await;
    assert!(body(&first).ends_with("Case opened: abnormal_pump on pump-3"), "{first:?}");
    // when a fourth is held back at once,
    assert_eq!(bench.feed(opened(4, Priority::Low)).await, []);
    // then it is told as soon as there is room, though as many were told a minute ago.
    let second = bench.advance(after(&bench, 1)).await;
    assert_eq!(sent(&second), sent(&first));
    assert!(body(&second).ends_with("Case opened: abnormal_pump on pump-4"), "{second:?}");
}

#[tokio::test]
async fn a_question_is_repeated_until_it_is_answered() {
    let mut bench = bench().await;
    bench.feed(opened(1, Priority::Low)).await;
    let said = bench.feed(required(0)).await;
    let subject = "Decision needed: urgent corrective for abnormal_pump on pump-1";
    assert_eq!(sent(&said), [("maintenance_supervisor".into(), subject.into(), Channel::Console)]);
    assert_eq!(
        body(&said),
        "Confidence is low. Repair soon: one in ten fails by then. Check the seal. Answer approve, reject by Fri 2026-01-02 08:00 -03, or it is asked again, more urgently. Request r1."
    );
    let fired_before = Event::TimerDue { agent: Notification::NAME.to_owned(), key: "repeat/r1".to_owned() };
    assert_eq!(bench.feed(fired_before).await, [], "a timer of an earlier question does not count");
    let reminders = sent(&bench.advance(after(&bench, 130)).await);
    let subjects: Vec<_> = reminders.iter().map(|(_, subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, [format!("Reminder 1: {subject}"), format!("Reminder 2: {subject}")]);
    let by = By::Person("ana".to_owned());
    let approved = Approved { request: Some("r1".into()), proposal: proposal(), by, reason: String::new() };
    assert_eq!(bench.feed(Event::MaintenanceApproved(approved)).await, []);
    assert_eq!(bench.advance(after(&bench, 600)).await, []);
}

#[tokio::test]
async fn a_closed_case_ends_its_question() {
    let mut bench = bench().await;
    bench.feed(required(0)).await;
    let resolution = Resolution::ReturnedToNormal;
    bench.feed(Event::CaseClosed(Closed { case: case(1), resolution, reason: String::new() })).await;
    assert_eq!(bench.advance(after(&bench, 600)).await, []);
}

#[tokio::test]
async fn an_escalated_question_reaches_more_people_and_expiry_is_told() {
    let mut bench = bench().await;
    bench.feed(required(0)).await;
    let expired = Expired { request: "r1".into(), outcome: OnExpiry::Escalate };
    let said = sent(&bench.feed(Event::DecisionExpired(expired)).await);
    assert!(said[0].1.starts_with("Nobody answered in time: "), "{said:?}");
    let said = bench.feed(required(1)).await;
    assert_eq!(recipients(&said), ["maintenance_supervisor", "operator"]);
}

#[tokio::test]
async fn whoever_does_the_work_is_told() {
    let said = bench()
        .await
        .feed(Event::MaintenanceScheduled(Scheduled {
            work_order: WorkOrderId(Uuid::from_u128(1)),
            approval: EventId(Uuid::from_u128(2)),
            proposal: proposal(),
            technician: "tech_001".into(),
            start_at: "2026-01-05T11:00:00Z".parse().unwrap(),
            end_at: "2026-01-05T15:00:00Z".parse().unwrap(),
            skills: Vec::new(),
            score: 1.0,
            reason: "Ana is free".to_owned(),
            satisfied: Vec::new(),
            violated: vec!["due_at".to_owned()],
            alternatives: Vec::new(),
        }))
        .await;
    assert_eq!(recipients(&said), ["technician_tech_001", "maintenance_supervisor"]);
    assert_eq!(
        body(&said),
        "From Mon 2026-01-05 08:00 -03 to Mon 2026-01-05 12:00 -03. It comes after it was due. Repair soon: one in ten fails by then. Check the seal. Ana is free."
    );
}

#[tokio::test]
async fn only_work_that_nobody_does_is_news() {
    let failed = |covered_by| {
        let (approval, reasons) = (EventId(Uuid::from_u128(2)), vec!["nobody is free".to_owned()]);
        Event::SchedulingFailed(SchedulingFailed { approval, proposal: proposal(), reasons, covered_by })
    };
    assert_eq!(bench().await.feed(failed(Some(WorkOrderId(Uuid::from_u128(1))))).await, []);
    let said = bench().await.feed(failed(None)).await;
    assert_eq!(recipients(&said), ["planner", "maintenance_supervisor"]);
}

#[tokio::test]
async fn an_address_gets_one_mail_for_a_notice_however_many_roles_it_has() {
    let mut bench = mailing(settings()).await;
    let subject = "Case opened: abnormal_pump on pump-1".to_owned();
    let expected = [("ana@example.org".to_owned(), subject.clone()), ("rui@example.org".to_owned(), subject)];
    assert_eq!(mails(&bench.feed(opened(1, Priority::High)).await), expected);
    assert_eq!(mails(&bench.feed(opened(2, Priority::Low)).await), [], "too little for a mail");
}

#[tokio::test]
async fn the_webhook_gets_one_message_for_a_notice() {
    let mut bench = bench_with(settings(), true).await;
    let said = sent(&bench.feed(opened(1, Priority::High)).await);
    let posted: Vec<_> = said.iter().filter(|(.., channel)| *channel == Channel::Webhook).collect();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].0, "operator, maintenance_supervisor");
}

#[tokio::test]
async fn quiet_hours_let_the_urgent_through_and_catch_up_on_the_rest() {
    // The bench begins on a Thursday at 21:00 by the clock on the wall.
    let night = Quiet { weekdays: vec![4], from: "20:00".parse().unwrap(), to: "06:00".parse().unwrap() };
    let mut bench = mailing(Settings { quiet: vec![night], escalate_minutes: 0, ..settings() }).await;
    bench.advance("2026-01-02T00:00:00Z".parse().unwrap()).await;
    let said = bench.feed(opened(1, Priority::Medium)).await;
    assert_eq!((mails(&said), recipients(&said)), (vec![], vec!["operator".to_owned()]), "the console has it");
    assert_eq!(mails(&bench.feed(opened(2, Priority::High)).await).len(), 2);
    assert_eq!(bench.advance("2026-01-02T08:59:59Z".parse().unwrap()).await, []);
    let said = bench.advance("2026-01-02T09:00:00Z".parse().unwrap()).await;
    assert_eq!(mails(&said), [("ana@example.org".to_owned(), "During quiet hours: 1 messages".to_owned())]);
    assert_eq!(body(&said), "Thu 2026-01-01 21:00 -03  medium  Case opened: abnormal_pump on pump-1");
    assert_eq!(mails(&bench.feed(opened(3, Priority::Medium)).await).len(), 1);
}

#[tokio::test]
async fn the_clock_on_the_wall_is_that_of_the_declared_site() {
    let mut bench = bench().await;
    let site = domain::asset::Site { name: "Works".to_owned(), time_zone: "Europe/Berlin".to_owned() };
    bench.feed(Event::SiteDeclared { site, by: "console".to_owned() }).await;
    let said = bench.feed(opened(1, Priority::Medium)).await;
    assert!(body(&said).ends_with("First seen at Thu 2026-01-01 12:00 CET."), "{}", body(&said));
}

#[tokio::test]
async fn an_urgent_case_that_nobody_takes_up_is_escalated_once() {
    let escalated = |said: &[Event]| sent(said).iter().any(|(_, subject, _)| subject.starts_with("Nobody has"));
    let mut bench = bench().await;
    bench.feed(opened(1, Priority::High)).await;
    assert!(escalated(&bench.advance(after(&bench, 120)).await));
    assert_eq!(bench.advance(after(&bench, 600)).await, []);
    let by = "ana".to_owned();
    bench.feed(opened(2, Priority::High)).await;
    let seen = domain::case::Acknowledged { case: case(2), by, reason: None };
    bench.feed(Event::CaseAcknowledged(seen)).await;
    assert_eq!(bench.advance(after(&bench, 600)).await, []);
}

#[tokio::test]
async fn a_shelved_case_is_silent_until_it_is_back() {
    let mut bench = bench().await;
    bench.feed(opened(1, Priority::Medium)).await;
    bench.feed(required(0)).await;
    let (by, reason) = ("ana".to_owned(), "spare part on its way".to_owned());
    let shelved = domain::case::Shelved { case: case(1), by, reason, until: after(&bench, 600) };
    bench.feed(Event::CaseShelved(shelved)).await;
    let updated = Updated { case: case(1), priority: Priority::High, reason: "more of it".to_owned() };
    assert_eq!(bench.feed(Event::CaseUpdated(updated)).await, []);
    assert_eq!(bench.advance(after(&bench, 600)).await, [], "no reminder either");
    let by = By::Person("ana".to_owned());
    let back = Unshelved { case: case(1), by, reason: "The time is over.".to_owned() };
    let said = sent(&bench.feed(Event::CaseUnshelved(back)).await);
    assert_eq!(said[0].1, "Back from the shelf, still open: abnormal_pump on pump-1");
    assert_eq!(said.len(), 2, "it is urgent by now");
    let said = sent(&bench.advance(after(&bench, 60)).await);
    assert!(said.iter().any(|(_, subject, _)| subject.starts_with("Reminder 1: ")), "{said:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let contacts = vec![Contact { role: "operator".to_owned(), email: "ana".to_owned() }];
    let outside = (outlets(false, true), nothing().await);
    let refused = Notification::start(Settings { contacts, ..settings() }, outside);
    assert!(refused.err().unwrap().to_string().contains("contacts"));
}
