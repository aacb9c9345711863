//! A plant as a file describes it: read, checked line by line, and compared with what is declared already.
//!
//! It says what is wrong with a file, all of it at once, and takes over none of a file that has anything wrong.

mod check;
mod entry;
mod file;

pub use check::{Known, Plan, Problem, checked};
pub use entry::{entry, member};

use crate::trace_context;
use domain::asset::{Imported, Site};
use domain::{AssetId, CorrelationId, Event, EventId, Timestamp};
use persistence::page::Start;
use persistence::unit::NewEvent;
use persistence::{History, StoreError, assets, sensors, technicians};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// Assets, sensors and technicians of one plant that are compared at most.
const OF_PLANT_MAX: usize = 100_000;

/// What an import does, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Whether it was done.
    pub applied: bool,
    /// The site, if the file names it.
    pub site: Option<Site>,
    /// Of the file's assets.
    pub assets: Counts,
    /// Of its sensors.
    pub sensors: Counts,
    /// Of its technicians.
    pub technicians: Counts,
    /// What is wrong with the file; with anything wrong, nothing is done.
    pub problems: Vec<Problem>,
}

/// How many of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Not declared so far.
    pub new: u32,
    /// Declared otherwise.
    pub changed: u32,
    /// Declared just so.
    pub unchanged: u32,
}

impl Counts {
    fn touched(self) -> u32 {
        self.new + self.changed
    }
}

/// What is declared so far.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn known(history: &History) -> Result<Known, StoreError> {
    let assets = assets::list(history, &Start::default(), OF_PLANT_MAX).await?.rows;
    let ids: Vec<AssetId> = assets.iter().map(|asset| asset.id.clone()).collect();
    let mut sensors_known = Vec::new();
    for some in ids.chunks(500) {
        sensors_known.extend(sensors::of_assets(history, some).await?);
    }
    let technicians = technicians::list(history, &Start::default(), OF_PLANT_MAX).await?.rows;
    Ok(Known {
        assets: assets
            .into_iter()
            .filter(|asset| asset.declared_at.is_some())
            .map(|one| (one.id.clone(), one))
            .collect(),
        sensors: sensors_known.into_iter().map(|one| (one.sensor.id.clone(), one)).collect(),
        technicians: technicians.into_iter().map(|one| (one.id.clone(), one)).collect(),
    })
}

/// What `plan` would do.
pub fn report(plan: &Plan) -> Report {
    Report {
        applied: false,
        site: plan.site.clone(),
        assets: plan.n_assets,
        sensors: plan.n_sensors,
        technicians: plan.n_technicians,
        problems: plan.problems.clone(),
    }
}

/// The events that carry `plan` out, the plan of an import by `by`, in the request `correlation`.
pub fn events(plan: Plan, by: &str, correlation: &CorrelationId, at: Timestamp) -> Vec<NewEvent> {
    let imported = Event::PlantImported(Imported {
        by: by.to_owned(),
        n_assets: plan.n_assets.touched(),
        n_sensors: plan.n_sensors.touched(),
        n_technicians: plan.n_technicians.touched(),
    });
    let mut events: Vec<NewEvent> = Vec::new();
    for event in std::iter::once(imported).chain(declarations(plan, by)) {
        let cause = events.first().map(|first| first.id);
        let (id, correlation) = (EventId(Uuid::now_v7()), correlation.clone());
        let traceparent = trace_context::current();
        events.push(NewEvent { id, cause, correlation, traceparent, source: "control_plane".into(), at, event });
    }
    events
}

/// What `plan` declares, each thing after what it refers to.
pub fn declarations(plan: Plan, by: &str) -> Vec<Event> {
    let by = || by.to_owned();
    let Plan { site, assets, sensors, technicians, .. } = plan;
    let site = site.into_iter().map(|site| Event::SiteDeclared { site, by: by() });
    let assets = assets.into_iter().map(|asset| Event::AssetDeclared { asset, by: by() });
    let sensors = sensors.into_iter().map(|sensor| Event::SensorDeclared { sensor, by: by() });
    let technicians = technicians.into_iter().map(|technician| Event::TechnicianDeclared { technician, by: by() });
    site.chain(assets).chain(sensors).chain(technicians).collect()
}
