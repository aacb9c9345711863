//! The shift handover: what happened in a shift, and what the next one takes over.

use super::{Figures, named};
use domain::Timestamp;
use domain::asset::{Shift, Technician};
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use persistence::page::Start;
use persistence::reports::{self, ShiftCounts};
use persistence::{History, StoreError, assets, cases, decisions, work_orders};
use serde_json::{Value, json};

/// Rows of each list; the count beside it is of all.
const ROWS_MAX: usize = 50;

/// What the shift from `from` to `to` hands over. What is open is open now, when the report is made.
pub(super) async fn figures(history: &History, from: Timestamp, to: Timestamp) -> Result<Figures, StoreError> {
    let ShiftCounts {
        n_readings,
        n_anomalies,
        n_cases_closed,
        n_orders_started,
        n_orders_completed,
        n_decisions,
        n_messages_failed,
        n_dead_letters,
    } = reports::shift_counts(history, from, to).await?;
    let cases = reports::case_counts(history, from, to).await?;
    let mut figures = Figures::of(n_readings + n_anomalies + cases.opened + n_orders_completed);
    figures.put("readings", n_readings);
    figures.put("anomalies", n_anomalies);
    figures.put("cases_opened", cases.opened);
    figures.put("cases_opened_by_priority", named(&cases.by_priority));
    figures.put("cases_closed", n_cases_closed);
    figures.put("work_orders_started", n_orders_started);
    figures.put("work_orders_completed", n_orders_completed);
    figures.put("decisions_made", n_decisions);
    figures.put("messages_not_delivered", n_messages_failed);
    figures.put("dead_letters", n_dead_letters);
    still_open(&mut figures, history).await?;
    Ok(figures)
}

/// What the next shift finds.
async fn still_open(figures: &mut Figures, history: &History) -> Result<(), StoreError> {
    let first = Start::Offset(0);
    let open = cases::Filter { open: Some(true), ..cases::Filter::default() };
    figures.put("open_cases", cases::count(history, &open).await?);
    let list = cases::list(history, &open, &first, ROWS_MAX).await?.rows;
    figures.put("open_cases_list", list.iter().map(case).collect::<Value>());
    figures.put("pending_decisions", decisions::count_pending(history).await?);
    let list = decisions::pending(history, &first, ROWS_MAX).await?.rows;
    let question = |waiting: &decisions::Request| {
        json!({
            "request_id": waiting.request, "asset": waiting.proposal.asset, "priority": waiting.proposal.priority,
            "deadline": waiting.deadline,
        })
    };
    figures.put("pending_decisions_list", list.iter().map(question).collect::<Value>());
    let open = work_orders::Filter { open: true, ..work_orders::Filter::default() };
    figures.put("open_work_orders", work_orders::count_open(history).await?);
    let list = work_orders::list(history, &open, &first, ROWS_MAX).await?.rows;
    figures.put("open_work_orders_list", list.iter().map(order).collect::<Value>());
    let list = assets::out_of_service(history, ROWS_MAX).await?;
    let asset = |asset: &assets::Asset| json!({ "asset": asset.id, "maintenance": asset.maintenance });
    figures.put("assets_out_of_service", list.iter().map(asset).collect::<Value>());
    Ok(())
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
