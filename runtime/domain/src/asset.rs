//! The plant: its site, its assets, the sensors that are declared on them, and those who repair.

use crate::case::FailureMode;
use crate::decision::By;
use crate::mode::Modes;
use crate::reading::Sensor;
use crate::{AssetId, TechnicianId, WorkOrderId};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the plant is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Site {
    /// Name for people.
    pub name: String,
    /// Time zone by its IANA name. Shifts go by it.
    pub time_zone: String,
}

/// A machine, or a part of one that is maintained as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Asset {
    /// The asset.
    pub id: AssetId,
    /// Name for people.
    pub name: String,
    /// What kind of machine it is: `pump`, `motor`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The asset that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<AssetId>,
    /// How it is told what it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
}

/// A sensor as the plant declares it. It wins over what the sensor tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Declared {
    /// What it is, where it sits, and its limits: each alarms from the first reading on.
    #[serde(flatten)]
    pub sensor: Sensor,
    /// How its asset fails when this sensor is abnormal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<FailureMode>,
}

/// Somebody who repairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Technician {
    /// The technician.
    pub id: TechnicianId,
    /// Name for people.
    pub name: String,
    /// What they can do: `electrical`, `mechanical`, …
    pub skills: Vec<String>,
    /// Years of experience.
    pub experience_years: f64,
    /// When they work. No two of them overlap.
    pub shifts: Vec<Shift>,
    /// Came with the program and stands for nobody until replaced.
    #[serde(default)]
    pub example: bool,
}

/// The same hours on some days of each week, in the site's time zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shift {
    /// 1 = Monday … 7 = Sunday: the days on which it begins.
    pub weekdays: Vec<i8>,
    /// Start of work.
    pub from: Time,
    /// End of work: later the same day, or on the next one if it is not after `from`.
    pub to: Time,
}

const MINUTES_PER_DAY: i64 = 24 * 60;
const MINUTES_PER_WEEK: i64 = 7 * MINUTES_PER_DAY;

impl Shift {
    /// Whether it ends on the day after it began.
    pub fn is_overnight(&self) -> bool {
        self.to <= self.from
    }

    /// Begin and end of the shift that begins on `day`, if one does.
    pub fn on(&self, day: Date, time_zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.weekdays.contains(&day.weekday().to_monday_one_offset()) {
            return None;
        }
        let instant = |day: Date, time: Time| Some(day.to_datetime(time).to_zoned(time_zone.clone()).ok()?.timestamp());
        let last_day = if self.is_overnight() { day.tomorrow().ok()? } else { day };
        Some((instant(day, self.from)?, instant(last_day, self.to)?))
    }

    /// Whether the two share a minute of the week, the wall clock's.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.spans().any(|(from, to)| {
            // A shift of the last night of the week reaches into the first day of the next.
            other.spans().any(|(other_from, other_to)| {
                [-MINUTES_PER_WEEK, 0, MINUTES_PER_WEEK]
                    .into_iter()
                    .any(|week| from < other_to + week && other_from + week < to)
            })
        })
    }

    /// Beginnings and ends in minutes of the week.
    fn spans(&self) -> impl Iterator<Item = (i64, i64)> {
        let minutes = |time: Time| i64::from(time.hour()) * 60 + i64::from(time.minute());
        let (from, to) = (minutes(self.from), minutes(self.to));
        let to = if self.is_overnight() { to + MINUTES_PER_DAY } else { to };
        self.weekdays.iter().map(move |day| {
            let midnight = (i64::from(*day) - 1) * MINUTES_PER_DAY;
            (midnight + from, midnight + to)
        })
    }
}

/// An asset was taken out of service. Its readings are recorded; nothing is learnt from them, and they raise no alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceBegan {
    /// The asset.
    pub asset: AssetId,
    /// The name of the key with which it was said.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// When it ends by itself; never without this.
    pub until: Option<Timestamp>,
    /// The order that is carried out, if that is the reason.
    pub work_order: Option<WorkOrderId>,
}

/// An asset is back in service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceEnded {
    /// The asset.
    pub asset: AssetId,
    /// Who said so, or that its time was over.
    pub by: By,
    /// Why, in words.
    pub reason: String,
}

/// A description of the plant was taken over. What it declares follows in events of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// The name of the key with which it came.
    pub by: String,
    /// Assets that are new or changed.
    pub n_assets: u32,
    /// Sensors that are.
    pub n_sensors: u32,
    /// Technicians that are.
    pub n_technicians: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(weekdays: &[i8], from: &str, to: &str) -> Shift {
        let time = |text: &str| text.parse().expect("a time");
        Shift { weekdays: weekdays.to_vec(), from: time(from), to: time(to) }
    }

    #[test]
    fn shifts_overlap_when_they_share_a_minute_of_the_week() {
        let check = |one: &Shift, other: &Shift, expected: bool| {
            assert_eq!(one.overlaps(other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(one), expected, "{other:?} {one:?}");
        };
        let early = shift(&[1, 2, 3, 4, 5], "06:00", "14:00");
        check(&early, &shift(&[5], "13:59", "22:00"), true);
        check(&early, &shift(&[5], "14:00", "22:00"), false);
        check(&early, &shift(&[6, 7], "06:00", "14:00"), false);
        // The night from Sunday to Monday.
        let night = shift(&[7], "22:00", "06:00");
        check(&early, &night, false);
        check(&shift(&[1], "05:00", "14:00"), &night, true);
    }
}
