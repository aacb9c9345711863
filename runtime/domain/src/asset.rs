//! Technicians and their shifts.

use crate::TechnicianId;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};

/// Somebody who repairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Technician {
    /// The technician.
    pub id: TechnicianId,
    /// Name for people.
    pub name: String,
    /// What they can do: `electrical`, `mechanical`, …
    pub skills: Vec<String>,
    /// Years of experience.
    pub experience_years: f64,
    /// When they work.
    pub shift: Shift,
    /// Came with the program and stands for nobody until replaced.
    pub example: bool,
}

/// The same hours on some days of each week, in the site's time zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// 1 = Monday … 7 = Sunday.
    pub weekdays: Vec<i8>,
    /// Start of work.
    pub from: Time,
    /// End of work, later the same day.
    pub to: Time,
}
