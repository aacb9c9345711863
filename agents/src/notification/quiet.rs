//! Quiet hours: when nobody is to be woken by what can wait.

use super::{Notification, State};
use anyhow::ensure;
use domain::case::Priority;
use domain::notification::{Channel, Requested};
use domain::{NotificationId, Timestamp};
use jiff::ToSpan as _;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use runtime::Ctx;
use serde::Deserialize;

/// The one timer.
const KEY: &str = "quiet/end";

/// Hours of some weekdays, by the clock on the wall.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// Days on which they begin, 1 = Monday to 7 = Sunday.
    pub weekdays: Vec<i8>,
    /// When they begin.
    pub from: Time,
    /// When they end; on the next day if that is not after `from`.
    pub to: Time,
}

impl Quiet {
    /// Refuses hours that are on no day.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { weekdays, .. } = self;
        ensure!(
            !weekdays.is_empty() && weekdays.iter().all(|day| (1..=7).contains(day)),
            "quiet: weekdays go from 1 = Monday to 7 = Sunday, got {weekdays:?}"
        );
        Ok(())
    }

    /// When these hours end, if `now` is in them.
    fn end(&self, now: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        let today = now.to_zoned(time_zone.clone()).date();
        // Those that began yesterday may last until today.
        let days = [today.yesterday().ok()?, today];
        days.into_iter().filter(|day| self.weekdays.contains(&day.weekday().to_monday_one_offset())).find_map(|day| {
            let last = if self.from < self.to { day } else { day.checked_add(1.day()).ok()? };
            let begin = day.to_datetime(self.from).to_zoned(time_zone.clone()).ok()?.timestamp();
            let end = last.to_datetime(self.to).to_zoned(time_zone.clone()).ok()?.timestamp();
            (begin <= now && now < end).then_some(end)
        })
    }
}

impl Notification {
    /// When the quiet that holds back a mail of that priority ends, if it is quiet now.
    pub(super) fn quiet_until(&self, state: &State, priority: Priority, now: Timestamp) -> Option<Timestamp> {
        let holds = priority < self.settings.quiet_priority_min;
        holds.then(|| until(&self.settings.quiet, now, self.zone(state))).flatten()
    }

    /// Holds a mail to `address` back until the quiet ends at `end`.
    pub(super) fn hold_back(
        &self,
        state: &mut State,
        (address, priority, subject): (&str, Priority, &str),
        end: Timestamp,
        ctx: &mut Ctx,
    ) {
        let line = self.line(state, ctx.now(), priority, subject);
        state.quiet.entry(address.to_owned()).or_default().add(line, priority);
        ctx.wake_at(KEY, end);
    }

    /// Sends what quiet hours held back, one mail an address.
    pub(super) fn quiet_is_over(&self, state: &mut State, ctx: &mut Ctx) {
        for (address, held) in std::mem::take(&mut state.quiet) {
            let requested = Requested {
                notification: NotificationId(ctx.id()),
                channel: Channel::Email,
                recipient: address,
                priority: held.priority(),
                subject: format!("During quiet hours: {} messages", held.count()),
                body: held.text(),
            };
            state.outbox.send(requested, ctx);
        }
    }
}

/// When the quiet of `hours` ends, if `now` is in them; hours that follow one another are one quiet.
fn until(hours: &[Quiet], now: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
    let mut end = None;
    // A week of hours without a gap would never end.
    for _ in 0..=hours.len() * 7 {
        let at = end.unwrap_or(now);
        match hours.iter().filter_map(|quiet| quiet.end(at, time_zone)).max() {
            Some(later) => end = Some(later),
            None => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(weekdays: &[i8], from: &str, to: &str) -> Quiet {
        Quiet { weekdays: weekdays.to_vec(), from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn check(hours: &[Quiet], now: &str, expected: Option<&str>) {
        let time_zone = TimeZone::get("Europe/Berlin").unwrap();
        let end = until(hours, now.parse().unwrap(), &time_zone);
        assert_eq!(end, expected.map(|at| at.parse().unwrap()), "at {now}");
    }

    #[test]
    fn a_night_begins_on_its_weekday_and_ends_on_the_next_day() {
        // 2 January 2026 is a Friday.
        let nights = [quiet(&[1, 2, 3, 4, 5], "22:00", "06:00")];
        check(&nights, "2026-01-02T20:59:00Z", None);
        check(&nights, "2026-01-02T21:00:00Z", Some("2026-01-03T05:00:00Z"));
        check(&nights, "2026-01-03T04:59:59Z", Some("2026-01-03T05:00:00Z"));
        check(&nights, "2026-01-03T05:00:00Z", None);
        check(&nights, "2026-01-03T22:00:00Z", None);
    }

    #[test]
    fn hours_that_follow_one_another_are_one_quiet() {
        let weekend = [quiet(&[5], "18:00", "00:00"), quiet(&[6, 7], "00:00", "00:00")];
        check(&weekend, "2026-01-02T17:30:00Z", Some("2026-01-04T23:00:00Z"));
    }

    #[test]
    fn a_night_in_which_the_clock_changes_ends_by_the_clock() {
        let nights = [quiet(&[6], "22:00", "06:00")];
        check(&nights, "2026-03-28T23:00:00Z", Some("2026-03-29T04:00:00Z"));
    }
}
