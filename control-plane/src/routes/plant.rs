//! `/site`, `/assets`, `/sensors`, `/technicians`, `/plant/import`: what there is to watch, and who repairs it.

mod declare;

use super::{Kind, Mounted, Param, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::plant::{self, Report};
use crate::reply::Reply;
use crate::request::{Call, lax};
pub(crate) use declare::{ASSET, SENSOR, SITE, TECHNICIAN};
use domain::asset::{MaintenanceBegan, MaintenanceEnded};
use domain::decision::By;
use domain::{AssetId, CorrelationId, Event, TechnicianId, Timestamp};
use jiff::SignedDuration;
use persistence::assets::{self, Asset};
use persistence::page::Page;
use persistence::seen::Seen;
use persistence::sensors::{self, Summary};
use persistence::{anomalies, readings, technicians};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;
/// Words of a person, in bytes.
const TEXT_BYTES_MAX: usize = 8192;
/// Sensors of one asset that are told.
const SENSORS_MAX: usize = 1_000;
/// Problems that an error tells; the rest is counted.
const PROBLEMS_MAX: usize = 100;

/// Members of the bodies.
pub(crate) const MAINTENANCE: &[Param] = &[
    Param::required("reason", Kind::Text, "Why it is out of service"),
    Param::optional("until", Kind::Time, "When it is back by itself; never if absent"),
];
pub(crate) const MAINTENANCE_END: &[Param] = &[Param::optional("reason", Kind::Text, "A note")];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/assets") }, list),
        mount(app, const { entry("GET", "/api/v1/assets/{id}") }, one),
        mount(app, const { entry("POST", "/api/v1/assets/{id}/maintenance") }, begin),
        mount(app, const { entry("POST", "/api/v1/assets/{id}/maintenance/end") }, end),
        mount(app, const { entry("GET", "/api/v1/technicians") }, list_technicians),
        mount(app, const { entry("POST", "/api/v1/technicians/{id}/remove") }, remove_technician),
        mount(app, const { entry("POST", "/api/v1/plant/import") }, import),
        declare::routes(app),
    ])
}

/// An asset with its sensors.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document {
    #[serde(flatten)]
    asset: Asset,
    /// Whether somebody declared it. One that nobody did is there because a sensor is an asset of its own.
    declared: bool,
    sensors: Vec<Sensor>,
    /// Anomalies since it is out of service: none of them raised an alarm.
    held_alarms: u64,
}

/// A sensor, and how far it can be trusted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Sensor {
    #[serde(flatten)]
    summary: Summary,
    /// Whether somebody declared it.
    declared: bool,
    readiness: Readiness,
}

/// How far a sensor's detector has learnt what is normal. Declared limits hold from the first reading.
#[derive(Serialize, JsonSchema)]
struct Readiness {
    /// Readings of what is needed, 0 to 1.
    share: f64,
    /// Readings that are needed.
    readings_needed: u64,
    /// Whether there are enough.
    trusted: bool,
    /// When there were enough; or when there will be, if it goes on as it did. Absent when nothing can be said.
    trusted_from: Option<Timestamp>,
}

async fn readiness(app: &App, summary: &Summary) -> Result<Readiness, ApiError> {
    let needed = app.warm_up_readings;
    let have = summary.baseline_readings;
    let trusted = needed <= have;
    let trusted_from = if trusted {
        let since = summary.baseline_at.or(summary.first_reading).unwrap_or(Timestamp::MIN);
        readings::nth_since(&app.history, &summary.sensor.id, since, needed).await?
    } else {
        expected(summary, needed - have)
    };
    let share = (have as f64 / needed.max(1) as f64).min(1.0);
    Ok(Readiness { share, readings_needed: needed, trusted, trusted_from })
}

/// When `missing` more readings will be there, at the pace of those that came.
fn expected(summary: &Summary, missing: u64) -> Option<Timestamp> {
    let (first, last) = (summary.first_reading?, summary.last_reading?);
    let n_steps = summary.reading_count.checked_sub(1).filter(|steps| 0 < *steps)?;
    let seconds = last.duration_since(first).as_secs_f64() / n_steps as f64 * missing as f64;
    last.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

async fn sensor_document(app: &App, summary: Summary) -> Result<Sensor, ApiError> {
    let readiness = readiness(app, &summary).await?;
    Ok(Sensor { declared: summary.declared_at.is_some(), readiness, summary })
}

async fn documents(app: &App, found: Vec<Asset>) -> Result<Vec<Document>, ApiError> {
    let ids: Vec<AssetId> = found.iter().map(|asset| asset.id.clone()).collect();
    let mut all = sensors::of_assets(&app.history, &ids).await?;
    let mut documents = Vec::with_capacity(found.len());
    for asset in found {
        let (ours, others) = all.into_iter().partition(|summary: &Summary| summary.sensor.asset == asset.id);
        all = others;
        let mut sensors = Vec::new();
        for summary in Vec::<Summary>::into_iter(ours).take(SENSORS_MAX) {
            sensors.push(sensor_document(app, summary).await?);
        }
        let held_alarms = match &asset.maintenance {
            Some(maintenance) => {
                let (asset, from) = (Some(asset.id.clone()), Some(maintenance.since));
                let since = anomalies::Filter { asset, from, ..anomalies::Filter::default() };
                anomalies::count(&app.history, &since).await?
            }
            None => 0,
        };
        documents.push(Document { declared: asset.declared_at.is_some(), asset, sensors, held_alarms });
    }
    Ok(documents)
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    query.finish()?;
    let here = app.clone();
    let page = move |start, limit| {
        let app = here.clone();
        async move {
            let Page { rows, next } = assets::list(&app.history, &start, limit).await?;
            Ok(Page { rows: documents(&app, rows).await?, next })
        }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn found(app: &App, id: &str) -> Result<Asset, ApiError> {
    let asset = assets::get(&app.history, &AssetId::from(id)).await?;
    asset.ok_or_else(|| ApiError::NotFound(format!("There is no asset {id}")))
}

async fn told(app: &App, id: &str) -> Result<Reply, ApiError> {
    let asset = found(app, id).await?;
    Reply::json(&documents(app, vec![asset]).await?.pop())
}

async fn one(app: App, call: Call) -> Result<Reply, ApiError> {
    let asset = found(&app, call.param(0)).await?;
    let told = Reply::json(&documents(&app, vec![asset.clone()]).await?.pop())?;
    Ok(told.of_state(asset))
}

async fn begin(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let reason = body.required("reason", lax::name_max(TEXT_BYTES_MAX));
    let until = body.optional("until", lax::datetime);
    if until.is_some_and(|until| until <= app.now()) {
        body.refuse("until", "Input should lie in the future");
    }
    body.finish()?;
    let asset = found(&app, call.param(0)).await?;
    let seen = call.if_match(asset.clone())?;
    let by = call.caller.name.clone();
    let began = MaintenanceBegan { asset: asset.id, by, reason, until, work_order: None };
    say(&app, &call.correlation(), seen, Event::AssetMaintenanceBegan(began)).await?;
    told(&app, call.param(0)).await
}

async fn end(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let reason = body.optional("reason", lax::string_max(TEXT_BYTES_MAX)).unwrap_or_default();
    body.finish()?;
    let asset = found(&app, call.param(0)).await?;
    let seen = call.if_match(asset.clone())?;
    let Asset { id: asset, maintenance, .. } = asset;
    match maintenance {
        None => Err(ApiError::Conflict(format!("Asset {asset}: it is in service"))),
        Some(assets::Maintenance { work_order: Some(order), .. }) => {
            Err(ApiError::Conflict(format!("Asset {asset}: work order {order} is under way; it ends with that")))
        }
        Some(_) => {
            let by = By::Person(call.caller.name.clone());
            let ended = MaintenanceEnded { asset, by, reason };
            say(&app, &call.correlation(), seen, Event::AssetMaintenanceEnded(ended)).await?;
            told(&app, call.param(0)).await
        }
    }
}

async fn say(app: &App, correlation: &CorrelationId, seen: Option<Seen>, event: Event) -> Result<(), ApiError> {
    app.store.append_if(seen, vec![app.event(correlation, event)]).await?;
    Ok(())
}

async fn list_technicians(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let history = history.clone();
        async move { Ok(technicians::list(&history, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn remove_technician(app: App, call: Call) -> Result<Reply, ApiError> {
    let id = TechnicianId::from(call.param(0));
    let unknown = || ApiError::NotFound(format!("There is no technician {}", call.param(0)));
    let technician = technicians::get(&app.history, &id).await?.ok_or_else(unknown)?;
    let removed = Event::TechnicianRemoved { technician: id, by: call.caller.name.clone() };
    say(&app, &call.correlation(), None, removed).await?;
    Reply::json(&technician)
}

async fn import(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let dry_run = query.or("dry_run", false, lax::boolean);
    query.finish()?;
    let text = std::str::from_utf8(&call.body).map_err(|_| ApiError::invalid("body", "Input should be UTF-8"))?;
    let plan = plant::checked(text, &plant::known(&app.history).await?);
    let report = plant::report(&plan);
    if let Some(first) = report.problems.first() {
        let more = report.problems.len() - 1;
        let detail = format!("The plant file cannot be taken over: {first} (and {more} more)");
        let problems: Vec<_> = report.problems.iter().take(PROBLEMS_MAX).collect();
        let mut members = Map::new();
        members.insert("problems".to_owned(), json!(problems));
        members.insert("problems_total".to_owned(), Value::from(report.problems.len()));
        return Err(ApiError::InvalidItems { detail, members });
    }
    if dry_run {
        return Reply::json(&report);
    }
    app.append(plant::events(plan, &call.caller.name, &call.correlation(), app.now()), None).await?;
    Reply::json(&Report { applied: true, ..report })
}
