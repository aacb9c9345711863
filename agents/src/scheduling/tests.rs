use super::*;
use config::Config;
use domain::asset::{Shift, Site};
use domain::case::{Closed, Opened, Priority, Resolution};
use domain::work_order::{Cancelled, Completed, Started};
use runtime::bench::Bench;
use uuid::Uuid;

fn settings() -> Settings {
    Config::defaults().section("agents.scheduling").unwrap()
}

fn technician(id: &str, skills: &[&str], experience_years: f64) -> Technician {
    Technician {
        id: id.into(),
        name: id.to_owned(),
        skills: skills.iter().map(|skill| (*skill).to_owned()).collect(),
        experience_years,
        shifts: vec![Shift {
            weekdays: vec![1, 2, 3, 4, 5],
            from: "08:00".parse().unwrap(),
            to: "16:00".parse().unwrap(),
        }],
        example: false,
    }
}

/// The bench begins on Thursday, 2026-01-01 at 00:00 UTC.
async fn bench(technicians: Vec<Technician>) -> Bench<Scheduling> {
    bench_at("UTC", technicians).await
}

async fn bench_at(time_zone: &str, technicians: Vec<Technician>) -> Bench<Scheduling> {
    bench_with(settings(), time_zone, technicians).await
}

async fn bench_with(settings: Settings, time_zone: &str, technicians: Vec<Technician>) -> Bench<Scheduling> {
    let mut bench = Bench::start(settings, TimeZone::UTC);
    let site = Site { name: "works".to_owned(), time_zone: time_zone.to_owned() };
    bench.feed(Event::SiteDeclared { site, by: "console".to_owned() }).await;
    for technician in technicians {
        bench.feed(joined(technician)).await;
    }
    bench
}

fn joined(technician: Technician) -> Event {
    Event::TechnicianDeclared { technician, by: "console".to_owned() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn proposal(asset: &str, due_at: Option<&str>) -> Proposal {
    Proposal {
        case: None,
        asset: asset.into(),
        sensor: "s".into(),
        maintenance_type: "preventive".to_owned(),
        priority: Priority::Low,
        due_at: due_at.map(at),
        confidence: 0.9,
        recommended_actions: Vec::new(),
    }
}

fn of_case(case: u128, asset: &str) -> Proposal {
    Proposal { case: Some(CaseId(Uuid::from_u128(case))), ..proposal(asset, None) }
}

fn opened(case: u128, failure_mode: FailureMode) -> Event {
    Event::CaseOpened(Opened {
        case: CaseId(Uuid::from_u128(case)),
        asset: "press".into(),
        failure_mode,
        sensor: "s".into(),
        priority: Priority::Low,
        first_evidence_at: at("2026-01-01T00:00:00Z"),
        last_evidence_at: at("2026-01-01T00:00:00Z"),
        reason: String::new(),
        evidence: Vec::new(),
        recurrence_of: None,
        detector: None,
        sensor_type: None,
    })
}

fn approved(proposal: Proposal) -> Event {
    Event::MaintenanceApproved(Approved { request: None, proposal, by: By::Policy, reason: String::new() })
}

fn scheduled(said: &[Event]) -> Scheduled {
    let [Event::MaintenanceScheduled(scheduled)] = said else { panic!("one order is booked, not {said:?}") };
    scheduled.clone()
}

fn failed(said: &[Event]) -> SchedulingFailed {
    let [Event::SchedulingFailed(failed)] = said else { panic!("no order is booked, not {said:?}") };
    failed.clone()
}

fn completed(order: &Scheduled) -> Event {
    Event::MaintenanceCompleted(Completed {
        work_order: order.work_order,
        case: order.proposal.case,
        asset: order.proposal.asset.clone(),
        technician: order.technician.clone(),
        completed_at: order.end_at,
        duration_hours: None,
        fault_found: true,
        notes: String::new(),
        close_out: None,
        by: None,
    })
}

fn called_off(order: &Scheduled) -> Event {
    Event::WorkOrderCancelled(Cancelled {
        work_order: order.work_order,
        case: order.proposal.case,
        asset: order.proposal.asset.clone(),
        by: "shift".to_owned(),
        reason: "the press is sold".to_owned(),
    })
}

fn nothing_found(order: &Scheduled) -> Event {
    let Event::MaintenanceCompleted(done) = completed(order) else { unreachable!("it is made so") };
    Event::MaintenanceCompleted(Completed { fault_found: false, ..done })
}

fn removed(technician: &str) -> Event {
    Event::TechnicianRemoved { technician: technician.into(), by: "console".to_owned() }
}

fn closed(case: u128) -> Event {
    let case = CaseId(Uuid::from_u128(case));
    Event::CaseClosed(Closed { case, resolution: Resolution::ReturnedToNormal, reason: String::new() })
}

/// Whatever has to be done at once.
async fn at_once(bench: &mut Bench<Scheduling>) -> Vec<Event> {
    bench.advance(bench.now()).await
}

/// Two cases of one press: an order for the first one, and the approval of the second, which it covers.
async fn two_cases(bench: &mut Bench<Scheduling>) -> (Scheduled, EventId) {
    for case in [1, 2] {
        bench.feed(opened(case, FailureMode("abnormal_temperature".to_owned()))).await;
    }
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    bench.feed(Event::MaintenanceScheduled(order.clone())).await;
    let covered = failed(&bench.feed(approved(of_case(2, "press"))).await);
    assert_eq!(covered.covered_by, Some(order.work_order));
    bench.feed(Event::SchedulingFailed(covered.clone())).await;
    (order, covered.approval)
}

#[tokio::test]
async fn the_first_slot_of_the_shift_is_booked_and_the_next_ones_are_named() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 10.0)]).await;
    let approval = bench.next_event();
    let order = scheduled(&bench.feed(approved(proposal("press", Some("2026-01-09T00:00:00Z")))).await);
    assert_eq!(order.approval, approval);
    assert_eq!((order.start_at, order.end_at), (at("2026-01-01T08:00:00Z"), at("2026-01-01T10:00:00Z")));
    assert_eq!(order.violated, [""; 0]);
    assert!(order.satisfied.contains(&"due_at".to_owned()), "{:?}", order.satisfied);
    let starts: Vec<_> = order.alternatives.iter().map(|slot| slot.start_at.to_string()).collect();
    assert_eq!(starts, ["2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T14:00:00Z"]);
    assert!(order.reason.contains("ana") && order.reason.contains("2026-01-09"), "{}", order.reason);
    assert!((0.9..=1.0).contains(&order.score), "{}", order.score);
}

#[tokio::test]
async fn nobody_is_booked_twice_and_a_shift_is_not_overrun() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let mut starts = Vec::new();
    for machine in 0..5 {
        let corrective =
            Proposal { maintenance_type: "urgent_corrective".into(), ..proposal(&format!("m{machine}"), None) };
        starts.push(scheduled(&bench.feed(approved(corrective)).await).start_at.to_string());
    }
    assert_eq!(
        starts,
        [
            "2026-01-01T08:00:00Z",
            "2026-01-01T12:00:00Z",
            "2026-01-02T08:00:00Z",
            "2026-01-02T12:00:00Z",
            "2026-01-05T08:00:00Z"
        ],
        "four hours each, two a day, not at the weekend"
    );
}

#[tokio::test]
async fn a_slot_leaves_the_notice_that_a_technician_gets() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    bench.advance(at("2026-01-01T09:10:00Z")).await;
    let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
    assert_eq!(order.start_at, at("2026-01-01T10:30:00Z"), "an hour's notice, on the grid");
}

#[tokio::test]
async fn shifts_go_by_the_clock_of_the_site() {
    let mut bench = bench_at("America/Sao_Paulo", vec![technician("ana", &["mechanical"], 1.0)]).await;
    let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
    assert_eq!(order.start_at, at("2026-01-01T11:00:00Z"), "08:00 in São Paulo");
    assert!(order.reason.contains("08:00"), "{}", order.reason);
}

#[tokio::test]
async fn a_shift_keeps_its_hours_when_the_clocks_change() {
    // Europe goes to summer time on Sunday, 2026-03-29.
    let mut bench = bench_at("Europe/Berlin", vec![technician("ana", &["mechanical"], 1.0)]).await;
    bench.advance(at("2026-03-27T18:00:00Z")).await;
    let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
    assert_eq!(order.start_at, at("2026-03-30T06:00:00Z"));
}

#[tokio::test]
async fn skills_follow_the_machine_and_its_failure() {
    let crew = || vec![technician("mech", &["mechanical"], 10.0), technician("elec", &["electrical"], 0.0)];
    let mut bench = bench(crew()).await;
    let order = scheduled(&bench.feed(approved(proposal("Pump-3", None))).await);
    assert_eq!((order.technician.as_str(), order.skills.as_slice()), ("mech", &["mechanical".to_owned()][..]));

    bench.feed(opened(1, FailureMode::sensor_fault())).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "Pump-4"))).await);
    assert_eq!(order.technician.as_str(), "elec", "a sensor's fault is no pump's");
}

#[tokio::test]
async fn whoever_has_every_skill_is_worth_waiting_for_and_the_lack_is_told() {
    let both = technician("both", &["electrical", "mechanical"], 5.0);
    let mut bench = bench(vec![technician("elec", &["electrical"], 5.0), both]).await;
    let first = scheduled(&bench.feed(approved(proposal("motor-1", None))).await);
    assert_eq!((first.technician.as_str(), first.violated.len()), ("both", 0));
    let all_day: Vec<_> = (2..=4).map(|n| proposal(&format!("motor-{n}"), None)).collect();
    for proposal in all_day {
        assert_eq!(scheduled(&bench.feed(approved(proposal)).await).technician.as_str(), "both");
    }
    let fifth = scheduled(&bench.feed(approved(proposal("motor-5", None))).await);
    assert_eq!((fifth.technician.as_str(), fifth.start_at), ("elec", at("2026-01-01T08:00:00Z")));
    assert_eq!(fifth.violated, ["technician_skills_match"]);
    assert!(fifth.reason.contains("mechanical"), "{}", fifth.reason);
}

#[tokio::test]
async fn experience_decides_between_equals() {
    let crew = vec![technician("new", &["mechanical"], 0.0), technician("old", &["mechanical"], 30.0)];
    let order = scheduled(&bench(crew).await.feed(approved(proposal("press", None))).await);
    assert_eq!(order.technician.as_str(), "old");
}

#[tokio::test]
async fn what_cannot_be_done_in_time_is_done_as_early_as_can_be() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let order = scheduled(&bench.feed(approved(proposal("press", Some("2026-01-01T09:00:00Z")))).await);
    assert_eq!(order.start_at, at("2026-01-01T08:00:00Z"));
    assert_eq!(order.violated, ["due_at"]);
}

#[tokio::test]
async fn a_case_has_one_open_order_and_so_has_an_asset_by_policy() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    for again in [of_case(1, "press"), of_case(2, "press")] {
        assert_eq!(failed(&bench.feed(approved(again)).await).covered_by, Some(order.work_order));
    }
    let by_person = |proposal| {
        let by = By::Person("ana".to_owned());
        Event::MaintenanceApproved(Approved { request: None, proposal, by, reason: String::new() })
    };
    assert_eq!(failed(&bench.feed(by_person(of_case(1, "press"))).await).covered_by, Some(order.work_order));
    scheduled(&bench.feed(by_person(of_case(2, "press"))).await);
    assert_eq!(bench.feed(completed(&order)).await, []);
    let again = scheduled(&bench.feed(by_person(of_case(1, "press"))).await);
    assert_eq!(again.start_at, order.start_at, "the freed slot can be had again");
}

#[tokio::test]
async fn a_skill_that_nobody_has_is_said_once_and_given_up_in_the_end() {
    let mut bench = bench(vec![technician("ana", &["electrical"], 1.0)]).await;
    let first = failed(&bench.feed(approved(proposal("press", None))).await);
    assert_eq!(first.reasons[0], "no technician is skilled in mechanical");
    let retries = i64::from(settings().retries_max);
    let minutes = settings().retry_minutes;
    let before_last = bench.now() + SignedDuration::from_mins(minutes * retries) - SignedDuration::from_secs(1);
    assert_eq!(bench.advance(before_last).await, [], "a retry that fails says nothing new");
    let last = failed(&bench.advance(before_last + SignedDuration::from_secs(1)).await);
    assert!(last.reasons[1].starts_with("given up after"), "{:?}", last.reasons);
    assert_eq!((last.approval, last.proposal), (first.approval, first.proposal));
    assert_eq!(bench.advance(before_last + SignedDuration::from_hours(9999)).await, []);
}

#[tokio::test]
async fn what_waits_is_booked_as_soon_as_a_retry_finds_a_slot() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let mut orders = Vec::new();
    let waiting = loop {
        let said = bench.feed(approved(proposal(&format!("m{}", orders.len()), None))).await;
        match &said[..] {
            [Event::MaintenanceScheduled(order)] => orders.push(order.clone()),
            _ => break failed(&said),
        }
    };
    assert_eq!(orders.len(), 4 * 10, "four a day on ten days of two weeks");
    bench.feed(completed(&orders[39])).await;
    let order = scheduled(&bench.advance(bench.now() + SignedDuration::from_mins(60)).await);
    assert_eq!((order.approval, order.start_at), (waiting.approval, orders[39].start_at));
}

#[tokio::test]
async fn the_last_slot_is_kept_for_more_urgent_work_that_waits() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let mut orders = Vec::new();
    for machine in 0..40 {
        orders.push(scheduled(&bench.feed(approved(proposal(&format!("m{machine}"), None))).await));
    }
    let urgent = Proposal { priority: Priority::Critical, ..proposal("urgent", None) };
    failed(&bench.feed(approved(urgent)).await);
    bench.feed(completed(&orders[39])).await;
    let later = failed(&bench.feed(approved(proposal("idle", None))).await);
    assert_eq!(later.reasons[0], "every free slot is needed for more urgent work that waits");
}

#[tokio::test]
async fn a_booking_in_the_log_counts_even_if_it_would_be_another_one_today() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let ours = scheduled(&bench.feed(approved(proposal("press", None))).await);
    let start_at = at("2026-01-01T10:00:00Z");
    let in_log = Scheduled {
        work_order: WorkOrderId(Uuid::from_u128(5)),
        start_at,
        end_at: start_at + SignedDuration::from_hours(2),
        ..ours.clone()
    };
    bench.feed(Event::MaintenanceScheduled(in_log)).await;
    let next = |said: &[Event]| scheduled(said).start_at;
    assert_eq!(next(&bench.feed(approved(proposal("a", None))).await), ours.start_at);
    assert_eq!(next(&bench.feed(approved(proposal("b", None))).await), at("2026-01-01T12:00:00Z"));
}

#[tokio::test]
async fn a_closed_case_is_forgotten() {
    let crew = vec![technician("mech", &["mechanical"], 0.0), technician("elec", &["electrical"], 9.0)];
    let mut bench = bench(crew).await;
    bench.feed(opened(1, FailureMode::sensor_fault())).await;
    let resolution = Resolution::Repaired;
    let closed = Closed { case: CaseId(Uuid::from_u128(1)), resolution, reason: String::new() };
    bench.feed(Event::CaseClosed(closed)).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    assert_eq!(order.technician.as_str(), "mech", "how it failed is not known any more");
}

#[tokio::test]
async fn an_order_that_was_called_off_frees_its_slot_and_its_case() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    assert_eq!(bench.feed(called_off(&order)).await, []);
    let again = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    assert_eq!(again.start_at, order.start_at);
}

#[tokio::test]
async fn what_an_order_covered_is_booked_by_itself_when_it_ends_without_a_repair() {
    for end in [called_off, nothing_found] {
        // Given a second case that the order for the first one covers,
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let (order, approval) = two_cases(&mut bench).await;
        // when the order ends and nothing was repaired,
        assert_eq!(bench.feed(end(&order)).await, []);
        // then the second case gets the slot that is free again, once.
        let again = scheduled(&at_once(&mut bench).await);
        assert_eq!((again.approval, again.start_at), (approval, order.start_at));
        assert_eq!(again.proposal.case, Some(CaseId(Uuid::from_u128(2))));
        assert_eq!(bench.advance(bench.now() + SignedDuration::from_hours(9999)).await, []);
    }
}

#[tokio::test]
async fn what_an_order_covered_does_not_pile_up_when_it_is_called_off() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let (order, _) = two_cases(&mut bench).await;
    bench.feed(opened(3, FailureMode::sensor_fault())).await;
    let third = failed(&bench.feed(approved(of_case(3, "press"))).await);
    bench.feed(called_off(&order)).await;
    let said = at_once(&mut bench).await;
    let [Event::MaintenanceScheduled(second), Event::SchedulingFailed(covered)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((covered.approval, covered.covered_by), (third.approval, Some(second.work_order)));
}

#[tokio::test]
async fn what_cannot_be_booked_once_its_order_is_called_off_is_told_and_tried_again() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let (order, approval) = two_cases(&mut bench).await;
    bench.feed(removed("ana")).await;
    bench.feed(called_off(&order)).await;
    let told = failed(&at_once(&mut bench).await);
    assert_eq!((told.approval, told.covered_by), (approval, None));
    bench.feed(joined(technician("bea", &["mechanical"], 1.0))).await;
    assert_eq!(scheduled(&at_once(&mut bench).await).approval, approval);
}

#[tokio::test]
async fn a_case_that_an_order_covered_ends_with_its_repair() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let (order, _) = two_cases(&mut bench).await;
    let said = bench.feed(completed(&order)).await;
    let [Event::CaseClosed(closed)] = &said[..] else { panic!("the second case is closed, not {said:?}") };
    assert_eq!((closed.case, closed.resolution), (CaseId(Uuid::from_u128(2)), Resolution::Repaired));
    assert!(closed.reason.contains(&order.work_order.to_string()), "{}", closed.reason);
    assert_eq!(at_once(&mut bench).await, [], "nothing is left to be booked");
}

#[tokio::test]
async fn a_covered_case_that_ended_is_not_booked() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let (order, _) = two_cases(&mut bench).await;
    assert_eq!(bench.feed(closed(2)).await, []);
    bench.feed(called_off(&order)).await;
    assert_eq!(at_once(&mut bench).await, []);
}

#[tokio::test]
async fn an_order_that_comes_too_late_for_a_case_does_not_cover_it() {
    // Given an order on Thursday week,
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    let start_at = at("2026-01-08T08:00:00Z");
    let late = Scheduled { start_at, end_at: start_at + SignedDuration::from_hours(2), ..order };
    bench.feed(Event::MaintenanceScheduled(late.clone())).await;
    // when a second case of the press is due before that,
    let due = |case, due_at| Proposal { due_at: Some(at(due_at)), ..of_case(case, "press") };
    let second = scheduled(&bench.feed(approved(due(2, "2026-01-02T00:00:00Z"))).await);
    // then it gets an order of its own;
    assert_eq!(second.start_at, at("2026-01-01T08:00:00Z"));
    // but one that cannot be done before an order that is there does not get a later one.
    let third = failed(&bench.feed(approved(due(3, "2026-01-01T04:00:00Z"))).await);
    assert_eq!(third.covered_by, Some(second.work_order));
}

#[tokio::test]
async fn what_the_log_says_is_covered_is_so_even_if_it_would_be_booked_today() {
    // Given a log in which an order covers a case for which it comes too late,
    let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
    bench.feed(opened(2, FailureMode("abnormal_temperature".to_owned()))).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    let start_at = at("2026-01-08T08:00:00Z");
    let late = Scheduled { start_at, end_at: start_at + SignedDuration::from_hours(2), ..order };
    bench.feed(Event::MaintenanceScheduled(late.clone())).await;
    let second = Proposal { due_at: Some(at("2026-01-02T00:00:00Z")), ..of_case(2, "press") };
    let not_said = scheduled(&bench.feed(approved(second.clone())).await);
    let covered_by = Some(late.work_order);
    let approval = not_said.approval;
    let in_log = SchedulingFailed { approval, proposal: second, reasons: vec![String::new()], covered_by };
    assert_eq!(bench.feed(Event::SchedulingFailed(in_log)).await, []);
    // then the slot is free,
    let other = scheduled(&bench.feed(approved(proposal("drill", None))).await);
    assert_eq!(other.start_at, not_said.start_at);
    // and the case is booked when that order is called off.
    bench.feed(called_off(&late)).await;
    assert_eq!(scheduled(&at_once(&mut bench).await).approval, approval);
}

#[tokio::test]
async fn what_waits_for_a_slot_is_withdrawn_when_its_case_closes() {
    let mut bench = bench(Vec::new()).await;
    let waiting = failed(&bench.feed(approved(of_case(1, "press"))).await);
    let closed = Closed { case: CaseId(Uuid::from_u128(1)), resolution: Resolution::Declined, reason: String::new() };
    let said = bench.feed(Event::CaseClosed(closed)).await;
    let [Event::ApprovalWithdrawn(withdrawn)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((withdrawn.approval, &withdrawn.proposal), (waiting.approval, &waiting.proposal));
    bench.feed(joined(technician("ana", &["mechanical"], 1.0))).await;
    assert_eq!(bench.advance(bench.now() + SignedDuration::from_hours(9999)).await, [], "nothing is tried again");
}

#[tokio::test]
async fn the_crew_is_who_the_log_says() {
    // Given the two examples,
    let example = |id| Technician { example: true, ..technician(id, &["mechanical"], 9.0) };
    let mut bench = bench(vec![example("tech_001"), example("tech_002")]).await;
    assert_eq!(scheduled(&bench.feed(approved(proposal("a", None))).await).technician.as_str(), "tech_001");
    // when somebody real joins, who works at night,
    let night = Shift { weekdays: vec![4], from: "22:00".parse().unwrap(), to: "06:00".parse().unwrap() };
    let ana = Technician { shifts: vec![night], ..technician("ana", &["Mechanical"], 1.0) };
    bench.feed(joined(ana)).await;
    // then the examples are gone, and the shift goes on after midnight,
    let starts: Vec<String> = {
        let mut starts = Vec::new();
        for machine in 0..5 {
            let order = scheduled(&bench.feed(approved(proposal(&format!("m{machine}"), None))).await);
            assert_eq!(order.technician.as_str(), "ana");
            starts.push(order.start_at.to_string());
        }
        starts
    };
    assert_eq!(
        starts,
        [
            "2026-01-01T22:00:00Z",
            "2026-01-02T00:00:00Z",
            "2026-01-02T02:00:00Z",
            "2026-01-02T04:00:00Z",
            "2026-01-08T22:00:00Z"
        ]
    );
    // and nobody is there when she leaves.
    let technician = "ana".into();
    bench.feed(Event::TechnicianRemoved { technician, by: "console".to_owned() }).await;
    failed(&bench.feed(approved(proposal("b", None))).await);
}

#[tokio::test]
async fn the_orders_of_somebody_who_is_removed_are_moved_to_somebody_else() {
    // Given three orders of one technician, of which one has begun,
    let mut bench = bench(vec![technician("ana", &["mechanical"], 9.0)]).await;
    let mut orders = Vec::new();
    for asset in ["a", "b", "c"] {
        orders.push(scheduled(&bench.feed(approved(proposal(asset, None))).await));
    }
    let Scheduled { work_order, ref proposal, .. } = orders[0];
    let (asset, by) = (proposal.asset.clone(), "ana".to_owned());
    bench.feed(Event::WorkOrderStarted(Started { work_order, case: None, asset, by, reason: None })).await;
    bench.feed(joined(technician("bea", &["mechanical"], 1.0))).await;
    // when she is removed,
    assert_eq!(bench.feed(removed("ana")).await, []);
    let said = at_once(&mut bench).await;
    // then the others are moved, each the same order still.
    let moved: Vec<Scheduled> = said
        .iter()
        .map(|event| match event {
            Event::MaintenanceScheduled(order) => order.clone(),
            other => panic!("an order is booked, not {other:?}"),
        })
        .collect();
    let which =
        |orders: &[Scheduled]| orders.iter().map(|order| (order.work_order, order.approval)).collect::<Vec<_>>();
    assert_eq!(which(&moved), which(&orders[1..]));
    assert!(moved.iter().all(|order| order.technician.as_str() == "bea"), "{moved:?}");
    assert!(moved[0].end_at <= moved[1].start_at, "nobody is booked twice");
    assert!(moved[0].reason.ends_with("; ana, who was to do it, is no longer in the crew"), "{}", moved[0].reason);
    assert_eq!(bench.advance(bench.now() + SignedDuration::from_hours(9999)).await, []);
}

#[tokio::test]
async fn an_order_that_nobody_else_can_take_is_told_and_moved_as_soon_as_somebody_joins() {
    let mut bench = bench(vec![technician("ana", &["mechanical"], 9.0)]).await;
    let order = scheduled(&bench.feed(approved(of_case(1, "press"))).await);
    bench.feed(removed("ana")).await;
    let told = failed(&at_once(&mut bench).await);
    assert_eq!((told.approval, told.covered_by), (order.approval, None));
    assert!(told.reasons[1].ends_with("is still booked for ana, who is no longer in the crew"), "{:?}", told.reasons);
    // It is the case's order still,
    assert_eq!(failed(&bench.feed(approved(of_case(1, "press"))).await).covered_by, Some(order.work_order));
    // until somebody joins.
    bench.feed(joined(technician("bea", &["mechanical"], 1.0))).await;
    let moved = scheduled(&at_once(&mut bench).await);
    assert_eq!((moved.work_order, moved.technician.as_str()), (order.work_order, "bea"));
}

#[tokio::test]
async fn an_order_stays_where_it_is_when_its_technician_is_back_or_it_is_over_or_has_begun() {
    let back = |_: &Scheduled| joined(technician("ana", &["mechanical"], 1.0));
    let begun = |order: &Scheduled| {
        let (asset, by) = (order.proposal.asset.clone(), "bea".to_owned());
        Event::WorkOrderStarted(Started { work_order: order.work_order, case: None, asset, by, reason: None })
    };
    for happens in [back, begun, called_off] {
        let mut bench = bench(vec![technician("ana", &["mechanical"], 1.0)]).await;
        let order = scheduled(&bench.feed(approved(proposal("press", None))).await);
        bench.feed(removed("ana")).await;
        bench.feed(happens(&order)).await;
        assert_eq!(at_once(&mut bench).await, []);
        bench.feed(joined(technician("bea", &["mechanical"], 1.0))).await;
        assert_eq!(bench.advance(bench.now() + SignedDuration::from_hours(9999)).await, []);
    }
}

#[tokio::test]
async fn what_waits_for_a_slot_is_tried_at_once_when_somebody_joins() {
    let mut bench = bench(Vec::new()).await;
    let waiting = failed(&bench.feed(approved(proposal("press", None))).await);
    bench.feed(joined(technician("elec", &["electrical"], 1.0))).await;
    assert_eq!(at_once(&mut bench).await, [], "that there is no slot is said already");
    bench.feed(joined(technician("ana", &["mechanical"], 1.0))).await;
    assert_eq!(scheduled(&at_once(&mut bench).await).approval, waiting.approval);
}

fn crew_error(path: &str, technicians: &str) -> String {
    let text = format!("[site]\n{path}\n[crew]\ntechnicians = [{technicians}]");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let config = Config::load(Some(file.path()), []).unwrap();
    let refused = site_time_zone(&config).err().or_else(|| examples(&config).err());
    refused.expect("it is refused").to_string()
}

#[test]
fn a_crew_that_cannot_work_is_refused() {
    let ana = r#"{ id = "ana", name = "Ana", skills = ["x"], experience_years = 1, weekdays = [1], from = "08:00", to = "16:00" }"#;
    assert!(crew_error("", &format!("{ana}, {ana}")).contains("stands there twice"));
    assert!(crew_error("", &ana.replace("[1]", "[8]")).contains("weekdays [8]"));
    assert!(crew_error("", &ana.replace("16:00", "08:00")).contains("not after it began"));
    assert!(crew_error("", &ana.replace(r#"["x"]"#, "[]")).contains("has no skills"));
    assert!(crew_error(r#"time_zone = "Mars/Olympus""#, ana).contains("Mars/Olympus"));
}
