//! `/simulate`: readings that are made up, sent through the ordinary ingestion.
//!
//! The answer comes after their commit, so `success` means stored.

use super::route::{Kind, Param};
use super::{Mounted, Route, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use domain::reading::Incoming;
use domain::{CorrelationId, Timestamp};
use runtime::intake::Key;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use simulations::OutOfRange;
use simulations::classic::{self, Anomaly, ClassicSample, Drift, Normal};
use uuid::Uuid;

const DRIFT: &Route = entry("POST", "/api/v1/simulate/drift-event");
const ANOMALY: &Route = entry("POST", "/api/v1/simulate/anomaly-event");
const NORMAL: &Route = entry("POST", "/api/v1/simulate/normal-data");

const SENSOR: Param = Param::optional("sensor_id", Kind::Text, "Whose readings they are");
const NUMBER: Kind = Kind::Number(None, None);
const COUNT: Kind = Kind::Int(None, None);

/// What a drift is told with: in the body, in the query, or in both.
pub(crate) const DRIFT_PARAMS: &[Param] = &[
    SENSOR,
    Param::optional("drift_magnitude", NUMBER, "How far the values move from the first to the last"),
    Param::optional("num_samples", COUNT, "How many readings"),
    Param::optional("base_value", NUMBER, "Where they begin"),
    Param::optional("noise_level", NUMBER, "Standard deviation of the noise"),
];

/// The same for spikes.
pub(crate) const ANOMALY_PARAMS: &[Param] = &[
    SENSOR,
    Param::optional("anomaly_magnitude", NUMBER, "How far a spike leaves the normal value"),
    Param::optional("num_anomalies", COUNT, "How many spikes, among five times as many readings"),
];

/// The same for a normal day.
pub(crate) const NORMAL_PARAMS: &[Param] = &[
    SENSOR,
    Param::optional("num_samples", COUNT, "How many readings"),
    Param::optional("duration_minutes", COUNT, "The time over which they are spread, up to now"),
];

#[derive(Serialize, JsonSchema)]
pub(crate) struct Simulated {
    status: &'static str,
    message: String,
    simulation_id: Uuid,
    events_generated: usize,
    correlation_id: CorrelationId,
}

/// Readings handed over at once.
const CHUNK: usize = 1_000;
/// Bytes that a reading counts for while it is under way.
const READING_BYTES: usize = 512;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, DRIFT, drift), mount(app, ANOMALY, anomaly), mount(app, NORMAL, normal)])
}

async fn drift(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut fields = fields(&call)?;
    let sensor = sensor(&app, &mut fields, "demo-sensor-001");
    let default = Drift::default();
    let drift = Drift {
        sensor_id: None,
        drift_magnitude: fields.optional("drift_magnitude", lax::float).unwrap_or(default.drift_magnitude),
        num_samples: fields.optional("num_samples", lax::int).unwrap_or(default.num_samples),
        base_value: fields.optional("base_value", lax::float).unwrap_or(default.base_value),
        noise_level: fields.optional("noise_level", lax::float).unwrap_or(default.noise_level),
    };
    send(&app, &call, fields, &sensor, "drift", |now| classic::drift_event(&drift, now)).await
}

async fn anomaly(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut fields = fields(&call)?;
    let sensor = sensor(&app, &mut fields, "demo-sensor-002");
    let default = Anomaly::default();
    let anomaly = Anomaly {
        sensor_id: None,
        anomaly_magnitude: fields.optional("anomaly_magnitude", lax::float).unwrap_or(default.anomaly_magnitude),
        num_anomalies: fields.optional("num_anomalies", lax::int).unwrap_or(default.num_anomalies),
    };
    send(&app, &call, fields, &sensor, "anomaly", |now| classic::anomaly_event(&anomaly, now)).await
}

async fn normal(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut fields = fields(&call)?;
    let sensor = sensor(&app, &mut fields, "demo-sensor-003");
    let default = Normal::default();
    let normal = Normal {
        sensor_id: None,
        num_samples: fields.optional("num_samples", lax::int).unwrap_or(default.num_samples),
        duration_minutes: fields.optional("duration_minutes", lax::int).unwrap_or(default.duration_minutes),
    };
    send(&app, &call, fields, &sensor, "normal data", |now| classic::normal_data(&normal, now)).await
}

/// The parameters: of the body and, what it does not have, of the query. Clients send either.
fn fields(call: &Call) -> Result<Fields, ApiError> {
    if call.body.is_empty() { Ok(call.query()) } else { Ok(call.object()?.or_from(call.query())) }
}

fn sensor(app: &App, fields: &mut Fields, default: &str) -> String {
    let name = lax::name_max(app.limits.string_bytes_max);
    fields.optional("sensor_id", name).unwrap_or_else(|| default.to_owned())
}

/// Makes the samples up, stores them, and says how many they are.
async fn send(
    app: &App,
    call: &Call,
    mut fields: Fields,
    sensor: &str,
    what: &str,
    samples: impl FnOnce(Timestamp) -> Result<Vec<ClassicSample>, OutOfRange>,
) -> Result<Reply, ApiError> {
    let samples = match samples(app.now()) {
        Ok(samples) => samples,
        Err(error) => {
            fields.refuse(error.field, format!("Input should be between {} and {}", error.min, error.max));
            Vec::new()
        }
    };
    fields.finish()?;
    // A repeat under the same key is the same simulation.
    let key = call.promise()?;
    let id = key.as_ref().map_or_else(Uuid::new_v4, named_after);
    let correlation = CorrelationId::new(id.to_string());
    for (idx, chunk) in samples.chunks(CHUNK).enumerate() {
        let items = chunk.iter().map(|sample| Ok(incoming(sensor, sample))).collect();
        let key = key.clone().map(|key| Key { key: format!("{}/{idx}", key.key), ..key });
        let permit = app.admit_readings(READING_BYTES * chunk.len())?;
        let outcome = app.submit(items, &correlation, key, permit).await?;
        if let Some(problem) = outcome.items.into_iter().find_map(Result::err) {
            return Err(ApiError::invalid(&format!("body → {}", problem.field), &problem.message));
        }
    }
    Reply::json(&Simulated {
        status: "success",
        message: format!("{} readings of simulated {what} of sensor {sensor} are stored", samples.len()),
        simulation_id: id,
        events_generated: samples.len(),
        correlation_id: correlation,
    })
}

fn incoming(sensor: &str, sample: &ClassicSample) -> Incoming {
    Incoming {
        sensor: sensor.to_owned(),
        value: sample.value,
        taken_at: Some(sample.taken_at),
        sensor_type: Some(classic::SENSOR_TYPE),
        unit: Some(classic::UNIT.to_owned()),
        quality: 1.0,
        metadata: sample.metadata.clone(),
    }
}

fn named_after(key: &Key) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(format!("{}\0{}", key.scope, key.key)).into();
    let bytes = *digest.first_chunk().expect("a SHA-256 digest has 32 bytes");
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
