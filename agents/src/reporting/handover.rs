//! The shift handover: what happened in a shift, and what the next one takes over.

use super::{Figures, wall};
use domain::Timestamp;
use domain::asset::{Shift, Technician};
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use persistence::page::Start;
use persistence::reports::{self, CaseCounts, ShiftCounts};
use persistence::{History, StoreError, assets, cases, decisions, work_orders};
use serde_json::{Value, json};

/// Rows of each list; the count beside it is of all.
const ROWS_MAX: usize = 50;
/// Lines of each part of what people are told: as much as is read in a minute.
const LINES_MAX: usize = 20;

/// What the shift from `from` to `to` hands over. What is open is open now, when the report is made.
pub(super) async fn figures(
    history: &History,
    from: Timestamp,
    to: Timestamp,
    time_zone: &TimeZone,
) -> Result<Figures, StoreError> {
    let shift = reports::shift_counts(history, from, to).await?;
    let cases = reports::case_counts(history, from, to).await?;
    let open = StillOpen::read(history).await?;
    let mut figures = Figures::of(shift.n_readings + shift.n_anomalies + cases.opened + shift.n_orders_completed);
    let wall = |at| wall(at, time_zone);
    figures.notice = Some(notice(&shift, &cases, &open, wall, (from, to)));
    figures.put("readings", shift.n_readings);
    figures.put("anomalies", shift.n_anomalies);
    figures.put("cases_opened", cases.opened);
    figures.put_counts("cases_opened_by_priority", &cases.by_priority);
    figures.put("cases_closed", shift.n_cases_closed);
    figures.put("work_orders_started", shift.n_orders_started);
    figures.put("work_orders_completed", shift.n_orders_completed);
    figures.put("decisions_made", shift.n_decisions);
    figures.put("messages_not_delivered", shift.n_messages_failed);
    figures.put("dead_letters", shift.n_dead_letters);
    figures.put("open_cases", open.n_cases);
    figures.put_list("open_cases_list", open.cases.iter().map(|one| (case(one), case_line(one, wall))));
    figures.put("pending_decisions", open.n_questions);
    figures
        .put_list("pending_decisions_list", open.questions.iter().map(|one| (question(one), question_line(one, wall))));
    figures.put("open_work_orders", open.n_orders);
    figures.put_list("open_work_orders_list", open.orders.iter().map(|one| (order(one), order_line(one, wall))));
    let asset = |asset: &assets::Asset| json!({ "asset": asset.id, "maintenance": asset.maintenance });
    figures.put_list("assets_out_of_service", open.out_of_service.iter().map(|one| (asset(one), asset_line(one))));
    Ok(figures)
}

/// What the next shift finds: the first rows of each, and how many there are.
struct StillOpen {
    cases: Vec<cases::Case>,
    n_cases: u64,
    questions: Vec<decisions::Request>,
    n_questions: u64,
    orders: Vec<work_orders::WorkOrder>,
    n_orders: u64,
    out_of_service: Vec<assets::Asset>,
}

impl StillOpen {
    async fn read(history: &History) -> Result<Self, StoreError> {
        let first = Start::Offset(0);
        let open_cases = cases::Filter { open: Some(true), ..cases::Filter::default() };
        let open_orders = work_orders::Filter { open: true, ..work_orders::Filter::default() };
        Ok(Self {
            cases: cases::list(history, &open_cases, &first, ROWS_MAX).await?.rows,
            n_cases: cases::count(history, &open_cases).await?,
            questions: decisions::pending(history, &first, ROWS_MAX).await?.rows,
            n_questions: decisions::count_pending(history).await?,
            orders: work_orders::list(history, &open_orders, &first, ROWS_MAX).await?.rows,
            n_orders: work_orders::count_open(history).await?,
            out_of_service: assets::out_of_service(history, ROWS_MAX).await?,
        })
    }
}

/// The handover in words, a line for each thing that is open.
fn notice(
    shift: &ShiftCounts,
    cases: &CaseCounts,
    open: &StillOpen,
    wall: impl Fn(Timestamp) -> String,
    (from, to): (Timestamp, Timestamp),
) -> String {
    let mut lines = vec![format!(
        "From {} to {}: cases opened {}, closed {}; work orders started {}, completed {}; decisions made {}.",
        wall(from),
        wall(to),
        cases.opened,
        shift.n_cases_closed,
        shift.n_orders_started,
        shift.n_orders_completed,
        shift.n_decisions
    )];
    let mut part = |name: &str, n_all: u64, rows: Vec<String>| {
        lines.push(format!("{name}: {n_all}"));
        let n_more = n_all.saturating_sub(rows.len().min(LINES_MAX) as u64);
        lines.extend(rows.into_iter().take(LINES_MAX).map(|row| format!("- {row}")));
        if 0 < n_more {
            lines.push(format!("- and {n_more} more, which the report or the lists have"));
        }
    };
    part("Open cases", open.n_cases, open.cases.iter().map(|case| case_line(case, &wall)).collect());
    let questions = open.questions.iter().map(|waiting| question_line(waiting, &wall));
    part("Questions that wait", open.n_questions, questions.collect());
    part("Open work orders", open.n_orders, open.orders.iter().map(|order| order_line(order, &wall)).collect());
    let out_of_service: Vec<String> = open.out_of_service.iter().map(asset_line).collect();
    part("Assets out of service", out_of_service.len() as u64, out_of_service);
    lines.join("\n")
}

fn case_line(case: &cases::Case, wall: impl Fn(Timestamp) -> String) -> String {
    let seen = case.acknowledged.as_ref().map(|seen| format!(", seen by {}", seen.by));
    let shelved = case.shelved.as_ref().map(|shelf| format!(", shelved until {}", wall(shelf.until)));
    let (seen, shelved) = (seen.unwrap_or_default(), shelved.unwrap_or_default());
    format!("{}: {} on {}{seen}{shelved}", case.priority.as_str(), case.failure_mode.0, case.asset)
}

fn question_line(waiting: &decisions::Request, wall: impl Fn(Timestamp) -> String) -> String {
    let decisions::Request { proposal, deadline, .. } = waiting;
    let what = proposal.maintenance_type.replace('_', " ");
    format!("{}: {what} on {}, answer by {}", proposal.priority.as_str(), proposal.asset, wall(*deadline))
}

fn order_line(order: &work_orders::WorkOrder, wall: impl Fn(Timestamp) -> String) -> String {
    let why = order.last_step.as_ref().and_then(|step| step.reason.as_deref());
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    let (booked, state) = (&order.order, order.state.as_str().replace('_', " "));
    format!("{} by {} at {}, {state}{why}", booked.proposal.asset, booked.technician, wall(booked.start_at))
}

fn asset_line(asset: &assets::Asset) -> String {
    let reason = asset.maintenance.as_ref().map_or_else(String::new, |out| format!(": {}", out.reason));
    format!("{}{reason}", asset.name)
}

fn question(waiting: &decisions::Request) -> Value {
    json!({
        "request_id": waiting.request, "asset": waiting.proposal.asset, "priority": waiting.proposal.priority,
        "deadline": waiting.deadline,
    })
}

fn case(case: &cases::Case) -> Value {
    json!({
        "case": case.id, "asset": case.asset, "failure_mode": case.failure_mode, "priority": case.priority,
        "state": case.state, "opened_at": case.opened_at,
        "acknowledged_by": case.acknowledged.as_ref().map(|seen| &seen.by),
        "shelved_until": case.shelved.as_ref().map(|shelf| shelf.until),
    })
}

fn order(order: &work_orders::WorkOrder) -> Value {
    let booked = &order.order;
    json!({
        "work_order": booked.work_order, "asset": booked.proposal.asset, "technician": booked.technician,
        "state": order.state, "start_at": booked.start_at, "end_at": booked.end_at,
        "last_reason": order.last_step.as_ref().and_then(|step| step.reason.as_ref()),
    })
}

/// The next end of a shift of `crew` after `now`, and when that shift begins; of several that end then, the one that
/// begins first. Examples stand for nobody, and have no shifts that end.
pub(super) fn next_shift<'a>(
    crew: impl Iterator<Item = &'a Technician>,
    time_zone: &TimeZone,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let shifts: Vec<&Shift> = crew.filter(|one| !one.example).flat_map(|one| &one.shifts).collect();
    let yesterday = now.to_zoned(time_zone.clone()).date().yesterday().ok()?;
    // A shift that began yesterday may go on into today, and one that is worked on one weekday ends within a week.
    let days = (0..=8).filter_map(|n| yesterday.checked_add(n.days()).ok());
    let ends = days.flat_map(|day| shifts.iter().filter_map(move |shift| shift.on(day, time_zone)));
    ends.filter(|(_, end_at)| now < *end_at).min_by_key(|(begin_at, end_at)| (*end_at, *begin_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn technician(weekdays: &[i8], from: &str, to: &str, example: bool) -> Technician {
        let shift = Shift { weekdays: weekdays.to_vec(), from: from.parse().unwrap(), to: to.parse().unwrap() };
        let (name, skills) = ("Ana".to_owned(), vec!["mechanical".to_owned()]);
        Technician { id: "ana".into(), name, skills, experience_years: 1.0, shifts: vec![shift], example }
    }

    fn check(crew: &[Technician], now: &str, expected: Option<(&str, &str)>) {
        let time_zone = TimeZone::get("Europe/Berlin").unwrap();
        let found = next_shift(crew.iter(), &time_zone, at(now));
        assert_eq!(found, expected.map(|(begin_at, end_at)| (at(begin_at), at(end_at))), "at {now}");
    }

    #[test]
    fn the_next_shift_to_end_is_found_by_the_clock_on_the_wall() {
        // 2 January 2026 is a Friday.
        let early = technician(&[1, 2, 3, 4, 5], "06:00", "14:00", false);
        let night = technician(&[5], "22:00", "06:00", false);
        let both = [early, night];
        check(&both[..1], "2026-01-02T12:59:59Z", Some(("2026-01-02T05:00:00Z", "2026-01-02T13:00:00Z")));
        check(&both[..1], "2026-01-02T13:00:00Z", Some(("2026-01-05T05:00:00Z", "2026-01-05T13:00:00Z")));
        check(&both, "2026-01-02T13:00:00Z", Some(("2026-01-02T21:00:00Z", "2026-01-03T05:00:00Z")));
        check(&[technician(&[1, 2, 3, 4, 5, 6, 7], "06:00", "14:00", true)], "2026-01-02T12:00:00Z", None);
    }
}
