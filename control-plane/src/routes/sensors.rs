//! `/api/v1/sensors`: what was measured, and by what.

use super::{Mounted, entry, mount, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::reading::SensorType;
use domain::{AssetId, SensorId};
use persistence::{readings, sensors};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Rows in a page of readings when nobody says how many.
const READINGS_DEFAULT: usize = 100;
/// Sensors that are listed at once at most. The old contract lists all of them.
const SENSORS_MAX: usize = 10_000;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/sensors/readings") }, list_readings),
        mount(app, const { entry("GET", "/api/v1/sensors/sensors") }, list_sensors),
    ])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Reading {
    sensor_id: SensorId,
    sensor_type: SensorType,
    value: f64,
    unit: Option<String>,
    timestamp: String,
    quality: f64,
    sensor_metadata: Option<Map<String, Value>>,
    ingestion_timestamp: String,
}

impl From<readings::Entry> for Reading {
    fn from(readings::Entry { reading, extra }: readings::Entry) -> Self {
        let sensor = Arc::unwrap_or_clone(reading.sensor);
        Self {
            sensor_id: sensor.id,
            sensor_type: sensor.sensor_type,
            value: reading.value,
            unit: sensor.unit,
            timestamp: instants::zulu(reading.taken_at),
            quality: reading.quality,
            sensor_metadata: extra,
            ingestion_timestamp: instants::zulu(reading.received_at),
        }
    }
}

async fn list_readings(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, READINGS_DEFAULT, app.limits.page_size_max);
    let sensor = query.optional("sensor_id", lax::string).filter(|sensor| !sensor.is_empty());
    let filter = readings::Filter {
        sensor: sensor.map(SensorId::from),
        from: query.optional("start_ts", lax::datetime),
        to: query.optional("end_ts", lax::datetime),
    };
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(readings::list(&history, &filter, &start, limit).await?.map(Reading::from)) }
    };
    pages::answer(&app, &call, asked, page).await
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Sensor {
    sensor_id: SensorId,
    reading_count: u64,
    last_reading: Option<String>,
    first_reading: Option<String>,
    asset: AssetId,
    sensor_type: SensorType,
    unit: Option<String>,
}

impl From<sensors::Summary> for Sensor {
    fn from(summary: sensors::Summary) -> Self {
        Self {
            sensor_id: summary.sensor.id,
            reading_count: summary.reading_count,
            last_reading: summary.last_reading.map(instants::offset),
            first_reading: summary.first_reading.map(instants::offset),
            asset: summary.sensor.asset,
            sensor_type: summary.sensor.sensor_type,
            unit: summary.sensor.unit,
        }
    }
}

async fn list_sensors(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, SENSORS_MAX, SENSORS_MAX);
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let history = history.clone();
        async move { Ok(sensors::list(&history, &start, limit).await?.map(Sensor::from)) }
    };
    pages::answer(&app, &call, asked, page).await
}
