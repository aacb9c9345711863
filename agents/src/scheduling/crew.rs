//! Who can be sent, as the settings describe them.

use anyhow::ensure;
use config::Config;
use domain::TechnicianId;
use domain::asset::{Shift, Technician};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::HashSet;

/// Who can be sent, and where the clock on the wall is.
#[derive(Clone, Debug)]
pub struct Crew {
    /// In the order of the settings.
    pub technicians: Vec<Technician>,
    /// The site's.
    pub time_zone: TimeZone,
}

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

impl Crew {
    /// The crew of `[crew]`, in the time zone of `[site]`.
    ///
    /// # Errors
    ///
    /// A technician twice, without skills, or with a shift that has no days or hours; an unknown time zone.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let time_zone: String = config.section("site.time_zone")?;
        let time_zone =
            TimeZone::get(&time_zone).map_err(|error| anyhow::anyhow!("site.time_zone: {time_zone:?}: {error}"))?;
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
        let technicians = members
            .into_iter()
            .map(|Member { id, name, skills, experience_years, weekdays, from, to, example }| Technician {
                id,
                name,
                skills: skills.iter().map(|skill| skill.to_lowercase()).collect(),
                experience_years,
                shifts: vec![Shift { weekdays, from, to }],
                example,
            })
            .collect();
        Ok(Self { technicians, time_zone })
    }
}
