//! Who can be sent until somebody says otherwise: the crew of the settings.

use anyhow::ensure;
use config::Config;
use domain::TechnicianId;
use domain::asset::{Shift, Technician};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::HashSet;

/// A technician as `[crew]` describes one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    id: TechnicianId,
    name: String,
    skills: Vec<String>,
    experience_years: f64,
    weekdays: Vec<i8>,
    from: Time,
    to: Time,
    #[serde(default)]
    example: bool,
}

/// The time zone of `[site]`, which holds until a site is declared.
///
/// # Errors
///
/// An unknown time zone.
pub fn site_time_zone(config: &Config) -> anyhow::Result<TimeZone> {
    let name: String = config.section("site.time_zone")?;
    TimeZone::get(&name).map_err(|error| anyhow::anyhow!("site.time_zone: {name:?}: {error}"))
}

/// The crew of `[crew]`, with which a new plant begins. A node declares it in its log, so that who could be sent at
/// any time is there to be read.
///
/// # Errors
///
/// A technician twice, without skills, or with a shift that has no days or hours.
pub fn examples(config: &Config) -> anyhow::Result<Vec<Technician>> {
    let members: Vec<Member> = config.section("crew.technicians")?;
    let mut known = HashSet::new();
    for Member { id, skills, experience_years, weekdays, from, to, .. } in &members {
        let id = id.as_str();
        ensure!(!id.trim().is_empty(), "crew.technicians: an id is empty");
        ensure!(known.insert(id), "crew.technicians: {id:?} stands there twice");
        ensure!(!skills.is_empty(), "crew.technicians: {id:?} has no skills");
        ensure!(0.0 <= *experience_years, "crew.technicians: {id:?} has {experience_years} years of experience");
        ensure!(
            !weekdays.is_empty() && weekdays.iter().all(|day| (1..=7).contains(day)),
            "crew.technicians: {id:?} has weekdays {weekdays:?}, but they go from 1 = Monday to 7 = Sunday"
        );
        ensure!(from < to, "crew.technicians: the shift of {id:?} ends at {to}, not after it began at {from}");
    }
    let technician = |Member { id, name, skills, experience_years, weekdays, from, to, example }| Technician {
        id,
        name,
        skills,
        experience_years,
        shifts: vec![Shift { weekdays, from, to }],
        example,
    };
    Ok(members.into_iter().map(technician).collect())
}
