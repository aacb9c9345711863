//! `/api/v1/data`: the way in for readings.
//!
//! What a reading must be like is judged by the agent that acquires data; here it is only read.

pub(crate) mod batch;

pub(crate) use batch::Batch;

use super::route::{Kind, Param};
use super::{Mounted, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use domain::CorrelationId;
use domain::reading::{Incoming, Problem, SensorType};
use persistence::unit::Ingested;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What a reading is told with.
const MEMBERS_OF_A_READING: &[Param] = &[
    Param::required("sensor_id", Kind::Text, "Who measured"),
    Param::required("value", Kind::Number(None, None), "What, in the sensor's unit"),
    Param::optional("timestamp", Kind::Time, "When; now if absent"),
    Param::optional("sensor_type", Kind::OneOf(&SENSOR_TYPES), "What kind of sensor it is"),
    Param::optional("unit", Kind::Text, "The unit of the value"),
    Param::or("quality", Kind::Number(Some(0.0), Some(1.0)), "1.0", "How far the value can be trusted"),
    Param::or(
        "metadata",
        Kind::Map(&Kind::Any),
        "{}",
        "What else is known; `asset_id`, `limit_high` and `limit_low` describe the sensor",
    ),
];

/// The same for a body that may bear a correlation, or metrics side by side in place of a value.
pub(crate) const MEMBERS: &[Param] = &[
    MEMBERS_OF_A_READING[0],
    Param::optional("value", Kind::Number(None, None), "What, in the sensor's unit; or one of the metrics below"),
    MEMBERS_OF_A_READING[2],
    MEMBERS_OF_A_READING[3],
    MEMBERS_OF_A_READING[4],
    MEMBERS_OF_A_READING[5],
    MEMBERS_OF_A_READING[6],
    Param::optional("correlation_id", Kind::Uuid, "Names the request; one is made up when there is none"),
    Param::optional(
        "temperature",
        Kind::Number(None, None),
        "In place of `value`: a reading of `<sensor_id>.temperature`",
    ),
    Param::optional("pressure", Kind::Number(None, None), "In place of `value`: a reading of `<sensor_id>.pressure`"),
    Param::optional("vibration", Kind::Number(None, None), "In place of `value`: a reading of `<sensor_id>.vibration`"),
    Param::optional("humidity", Kind::Number(None, None), "In place of `value`: a reading of `<sensor_id>.humidity`"),
];

const READINGS: Kind = Kind::List(&Kind::Object(MEMBERS_OF_A_READING));

/// The forms of a batch.
pub(crate) const FORMS: &[(&str, Kind)] = &[
    ("application/json", Kind::AnyOf(&[READINGS, Kind::Object(&[Param::required("readings", READINGS, "The batch")])])),
    ("application/x-ndjson", Kind::Text),
];

/// The kinds of sensors, as they are told.
const SENSOR_TYPES: [&str; SensorType::ALL.len()] = {
    let mut names = [""; SensorType::ALL.len()];
    let mut idx = 0;
    while idx < names.len() {
        names[idx] = SensorType::ALL[idx].as_str();
        idx += 1;
    }
    names
};

/// Metrics that one body may bring side by side in place of a `value`, as the old load script does.
const SIDE_BY_SIDE: [SensorType; 4] =
    [SensorType::Temperature, SensorType::Pressure, SensorType::Vibration, SensorType::Humidity];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("POST", "/api/v1/data/ingest") }, ingest),
        mount(app, const { entry("POST", "/api/v1/data/ingest/batch") }, batch::ingest),
    ])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Ingest {
    status: &'static str,
    event_id: Uuid,
    correlation_id: CorrelationId,
    sensor_id: String,
}

async fn ingest(app: App, mut call: Call) -> Result<Reply, ApiError> {
    let mut fields = call.object()?;
    let correlation = fields.optional("correlation_id", lax::uuid);
    let (sensor_id, readings) = readings(&mut fields);
    let key = call.key(|| digest(fields.values()))?;
    fields.finish()?;
    let correlation = correlation.map_or_else(|| call.correlation(), |id| CorrelationId::new(id.to_string()));
    let permit = call.permit.take().map_or_else(|| app.admit_readings(0), Ok)?;
    let outcome = app.submit(readings.into_iter().map(Ok).collect(), &correlation, key, permit).await?;
    if let Some(Problem { field, message }) = outcome.items.iter().find_map(|item| item.as_ref().err()) {
        return Err(ApiError::invalid(&format!("body → {}", field.replace('.', " → ")), message));
    }
    let (status, event) = match outcome.ingested {
        Ingested::Stored { event, .. } => ("event_published", event),
        Ingested::Repeat(repeat) => ("duplicate_ignored", repeat.event),
    };
    Reply::json(&Ingest { status, event_id: event.0, correlation_id: correlation, sensor_id })
}

/// The sensor that a body names, and the reading that it describes; or several, when it has metrics side by side in
/// place of a value.
///
/// Each of those becomes a sensor of its own, `<sensor_id>.<metric>`, of the asset `<sensor_id>`.
pub(crate) fn readings(fields: &mut Fields) -> (String, Vec<Incoming>) {
    let metrics: Vec<SensorType> =
        SIDE_BY_SIDE.into_iter().filter(|metric| !fields.has("value") && fields.has(metric.as_str())).collect();
    if metrics.is_empty() {
        let reading = reading(fields);
        return (reading.sensor.clone(), vec![reading]);
    }
    let (sensor, quality) = (fields.required("sensor_id", lax::string), quality(fields));
    let taken_at = fields.optional("timestamp", lax::datetime);
    let mut metadata = fields.or("metadata", Map::new(), lax::object);
    metadata.entry("asset_id").or_insert_with(|| Value::String(sensor.clone()));
    let of = |metric: SensorType| Incoming {
        sensor: format!("{sensor}.{}", metric.as_str()),
        value: fields.required(metric.as_str(), lax::float),
        taken_at,
        sensor_type: Some(metric),
        unit: None,
        quality,
        metadata: metadata.clone(),
    };
    let readings = metrics.into_iter().map(of).collect();
    (sensor, readings)
}

/// The one reading that `fields` describe, read the way the old system did.
fn reading(fields: &mut Fields) -> Incoming {
    Incoming {
        sensor: fields.required("sensor_id", lax::string),
        value: fields.required("value", lax::float),
        taken_at: fields.optional("timestamp", lax::datetime),
        sensor_type: fields.optional("sensor_type", lax::named(&SENSOR_TYPES, SensorType::parse)),
        unit: fields.optional("unit", lax::string),
        quality: quality(fields),
        metadata: fields.or("metadata", Map::new(), lax::object),
    }
}

fn quality(fields: &mut Fields) -> f64 {
    fields.or("quality", 1.0, lax::float_in(0.0, 1.0))
}

/// The digest of what a body says, in whatever order and spacing. Its correlation id does not count: a repeat
/// may bear a new one.
fn digest(values: &Map<String, Value>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (name, value) in values.iter().filter(|(name, _)| *name != "correlation_id") {
        digest.update(name.as_bytes());
        digest.update([0]);
        digest.update(value.to_string().as_bytes());
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(body: Value) -> Map<String, Value> {
        match body {
            Value::Object(values) => values,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn metrics_side_by_side_are_a_sensor_each() {
        let body = json!({ "sensor_id": "s1", "timestamp": 1_759_406_400.5, "temperature": 20, "humidity": "40" });
        let mut fields = Fields::of_body(values(body));
        let (sensor, readings) = readings(&mut fields);
        fields.finish().expect("all is well");
        assert_eq!(sensor, "s1");
        let told: Vec<_> = readings.iter().map(|reading| (reading.sensor.as_str(), reading.value)).collect();
        assert_eq!(told, [("s1.temperature", 20.0), ("s1.humidity", 40.0)]);
        assert!(readings.iter().all(|reading| reading.metadata["asset_id"] == "s1"));
    }

    #[test]
    fn a_value_wins_over_a_metric_beside_it() {
        let mut fields = Fields::of_body(values(json!({ "sensor_id": "s1", "temperature": 20, "value": 25 })));
        assert!(matches!(&readings(&mut fields).1[..], [one] if one.value == 25.0 && one.sensor == "s1"));
    }

    #[test]
    fn the_digest_is_that_of_the_meaning() {
        let digest_of = |text: &str| digest(&values(serde_json::from_str(text).expect("JSON")));
        let first = digest_of(r#"{"sensor_id":"s","value":1,"correlation_id":"a"}"#);
        assert_eq!(first, digest_of(r#"{ "value": 1, "correlation_id": "b", "sensor_id": "s" }"#));
        assert_ne!(first, digest_of(r#"{"sensor_id":"s","value":2}"#));
    }
}
