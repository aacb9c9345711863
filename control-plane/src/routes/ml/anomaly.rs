//! Whether readings are unlike those before them, and whether a sensor's distribution changed.

use super::super::route::{Kind, Param};
use super::super::{Mounted, Route, entry, mount};
use super::{EMBEDDED, origin, resolved, seconds};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::{naive, offset};
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use agents::models::Version;
use agents::models::outlook::{self, Judged};
use agents::models::serving::Baseline;
use domain::{SensorId, Timestamp};
use jiff::SignedDuration;
use persistence::models::Model;
use persistence::readings;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const DETECT: &Route = entry("POST", "/api/v1/ml/detect_anomaly");
const CHECK: &Route = entry("POST", "/api/v1/ml/check_drift");

/// How the names of single sensors' detectors begin.
const OWN: &str = "stream_detector/";
/// Stored readings before those of the request that say what is normal.
const BEFORE: usize = 200;

/// What anomalies are looked for with.
pub(crate) const DETECT_MEMBERS: &[Param] = &[
    Param::required("sensor_readings", Kind::List(&Kind::Map(&Kind::Any)), "Readings, as they are ingested"),
    Param::or("model_name", Kind::Text, "\"anomaly_detector_refined_v2\"", "The detector"),
    Param::or("model_version", Kind::Text, "\"auto\"", "Its version"),
    Param::or(
        "sensitivity",
        Kind::Number(Some(0.0), Some(1.0)),
        "0.5",
        "0 raises nothing but the grossest, 1 anything unusual",
    ),
];

/// What drift is looked for with.
pub(crate) const CHECK_MEMBERS: &[Param] = &[
    Param::required("sensor_id", Kind::Text, "The sensor"),
    Param::or("window_minutes", Kind::Int(Some(1), Some(1440)), "60", "Length of either window"),
    Param::or(
        "p_value_threshold",
        Kind::Number(Some(0.0), Some(1.0)),
        "0.05",
        "Drift is told below this; neither 0 nor 1",
    ),
    Param::or("min_samples", Kind::Int(Some(6), Some(10_000)), "30", "Readings that either window must hold"),
];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, DETECT, detect), mount(app, CHECK, check)])
}

/// Readings that are unlike those before them.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Anomalies {
    anomalies_detected: Vec<Alert>,
    total_readings_analyzed: usize,
    /// Readings that had enough others before them to be judged.
    readings_with_enough_history: usize,
    anomaly_count: usize,
    model_info: Detector,
    analysis_timestamp: String,
    request_id: Uuid,
}

/// Which model judged, and how sharply.
#[derive(Serialize, JsonSchema)]
struct Detector {
    model_name: String,
    model_version: String,
    /// With three decimals.
    sensitivity: String,
    loaded_from: &'static str,
    sha256: Option<String>,
}

/// One of them.
#[derive(Serialize, JsonSchema)]
struct Alert {
    id: Uuid,
    sensor_id: SensorId,
    anomaly_type: &'static str,
    /// 1 to 5.
    severity: u8,
    /// 0 to 1.
    confidence: f64,
    description: String,
    evidence: Evidence,
    recommended_actions: [&'static str; 3],
    created_at: String,
    reading_timestamp: String,
    status: &'static str,
}

/// What speaks for it.
#[derive(Serialize, JsonSchema)]
struct Evidence {
    sensor_value: f64,
    sensor_unit: Option<String>,
    sensor_type: String,
    quality_score: f64,
    score: f64,
    feature_vector: BTreeMap<String, f64>,
}

/// Whether a sensor's newest readings come from another distribution than those before.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Drift {
    sensor_id: SensorId,
    recent_count: usize,
    baseline_count: usize,
    window_minutes: i64,
    ks_statistic: Option<f64>,
    p_value: Option<f64>,
    p_value_threshold: f64,
    drift_detected: bool,
    insufficient_data: bool,
    request_id: Uuid,
    evaluated_at: String,
    notes: Option<String>,
}

struct Given {
    sensor: SensorId,
    sensor_type: String,
    unit: Option<String>,
    value: f64,
    quality: f64,
    taken_at: Timestamp,
}

fn given(value: &Value, now: Timestamp, bytes_max: usize) -> Result<Given, lax::Wrong> {
    let values = lax::object(value)?;
    let mut fields = Fields::of_body(values);
    let given = Given {
        sensor: SensorId::from(fields.required("sensor_id", lax::string_max(bytes_max))),
        sensor_type: fields.optional("sensor_type", lax::string).unwrap_or_else(|| "general".to_owned()),
        unit: fields.optional("unit", lax::string),
        value: fields.required("value", lax::float),
        quality: fields.optional("quality", lax::float_in(0.0, 1.0)).unwrap_or(1.0),
        taken_at: fields.optional("timestamp", lax::datetime).unwrap_or(now),
    };
    match fields.problem() {
        None => Ok(given),
        Some(problem) => Err(lax::Wrong::new(format!("{}: {}", problem.field, problem.message))),
    }
}

async fn detect(app: App, call: Call) -> Result<Reply, ApiError> {
    let now = app.now();
    let bytes_max = app.limits.string_bytes_max;
    let mut body = call.object()?;
    let readings =
        body.required("sensor_readings", lax::list(app.limits.batch_items_max, |value| given(value, now, bytes_max)));
    let name = body.or("model_name", "anomaly_detector_refined_v2".to_owned(), lax::string_max(bytes_max));
    let version = body.or("model_version", "auto".to_owned(), lax::string);
    let sensitivity = body.or("sensitivity", 0.5, lax::float_in(0.0, 1.0));
    body.finish()?;
    let by = detector(&app, &name, &version).await?;
    // A half is the threshold that was measured; at either end it takes twice or half as much.
    let score_min = (2.0_f64).powf(1.0 - 2.0 * sensitivity);
    let n_readings = readings.len();
    let mut by_sensor: BTreeMap<SensorId, Vec<Given>> = BTreeMap::new();
    for reading in readings {
        by_sensor.entry(reading.sensor.clone()).or_default().push(reading);
    }
    let (mut alerts, mut n_judged) = (Vec::new(), 0);
    for (sensor, mut own) in by_sensor {
        own.sort_by_key(|reading| reading.taken_at);
        let Some(first) = own.first().map(|reading| reading.taken_at) else { continue };
        let before = readings::recent(&app.history, &sensor, Some(first), BEFORE).await?;
        let mut past: Vec<f64> =
            before.iter().rev().filter(|reading| reading.taken_at < first).map(|reading| reading.value).collect();
        for reading in own {
            let newest: Vec<f64> = past.iter().rev().take(BEFORE).copied().collect();
            past.push(reading.value);
            let judged = match &by {
                By::Any(version) => outlook::unlike(&version.loaded.artefact, reading.value, &newest, reading.quality),
                By::Own(model, _) if model.sensor != sensor => {
                    let message = format!("The model {name:?} judges readings of {} alone", model.sensor);
                    return Err(ApiError::invalid("body → sensor_readings → sensor_id", &message));
                }
                By::Own(_, baseline) => Some(outlook::beyond(baseline, seconds(reading.taken_at), reading.value)),
            };
            let Some(judged) = judged else { continue };
            n_judged += 1;
            if score_min <= judged.score {
                alerts.push(alert(&reading, judged, score_min, now));
            }
        }
    }
    let (model, loaded_from) = match by {
        By::Any(version) => {
            let loaded_from = origin(&version);
            (version.model, loaded_from)
        }
        By::Own(model, _) => (model, EMBEDDED),
    };
    Reply::json(&Anomalies {
        anomaly_count: alerts.len(),
        anomalies_detected: alerts,
        total_readings_analyzed: n_readings,
        readings_with_enough_history: n_judged,
        model_info: Detector {
            model_name: model.name.clone(),
            model_version: model.version.to_string(),
            sensitivity: format!("{sensitivity:.3}"),
            loaded_from,
            sha256: model.sha256.clone(),
        },
        analysis_timestamp: offset(now),
        request_id: Uuid::now_v7(),
    })
}

/// Who judges: a model for any sensor, or the detector of one.
enum By {
    Any(Box<Version>),
    Own(Arc<Model>, Box<Baseline>),
}

async fn detector(app: &App, name: &str, version: &str) -> Result<By, ApiError> {
    if name.starts_with(OWN) {
        let found = app.serving.detector(name, version).await?;
        let (model, baseline) =
            found.ok_or_else(|| ApiError::NotFound(format!("There is no version {version:?} of a model {name:?}")))?;
        return Ok(By::Own(Arc::new(model), Box::new(baseline)));
    }
    let version = resolved(app, name, version).await?;
    if version.loaded.artefact.inputs.iter().any(|input| input == "value") {
        return Ok(By::Any(Box::new(version)));
    }
    let message = format!("The model {name:?} judges features, not readings; ask /api/v1/ml/predict");
    Err(ApiError::invalid("body → model_name", &message))
}

fn alert(reading: &Given, judged: Judged, score_min: f64, now: Timestamp) -> Alert {
    let Judged { score, by_model, features } = judged;
    let excess = (score / score_min).max(1.0);
    let severity = match excess {
        excess if 1.5 <= excess => 5,
        excess if 1.3 <= excess => 4,
        excess if 1.15 <= excess => 3,
        excess if 1.05 <= excess => 2,
        _ => 1,
    };
    let value = reading.value;
    Alert {
        id: Uuid::now_v7(),
        sensor_id: reading.sensor.clone(),
        anomaly_type: if by_model { "isolation_forest_anomaly" } else { "statistical_threshold_violation" },
        severity,
        confidence: 1.0 - 0.5 / excess,
        description: format!("{value} is unlike the values before it: score {score:.2}, threshold {score_min:.2}"),
        evidence: Evidence {
            sensor_value: value,
            sensor_unit: reading.unit.clone(),
            sensor_type: reading.sensor_type.clone(),
            quality_score: reading.quality,
            score,
            feature_vector: features.into_iter().collect(),
        },
        recommended_actions: [
            "Look at the sensor's recent readings",
            "Compare with neighbouring sensors",
            "Inspect the machine if it lasts",
        ],
        created_at: offset(now),
        reading_timestamp: offset(reading.taken_at),
        status: "open",
    }
}

/// Compares the newest readings with those of the window before. It changes nothing.
async fn check(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let sensor = SensorId::from(body.required("sensor_id", lax::string_max(app.limits.string_bytes_max)));
    let window = body.or("window_minutes", 60, lax::int_in(1, 1_440));
    let threshold = body.or("p_value_threshold", 0.05, lax::float_in(0.0, 1.0));
    let samples = body.or("min_samples", 30, lax::count_in(6, 10_000));
    if threshold <= 0.0 || 1.0 <= threshold {
        body.refuse("p_value_threshold", "Input should be greater than 0 and less than 1");
    }
    body.finish()?;
    let now = app.now();
    let length = SignedDuration::from_mins(window);
    let between = |from: Timestamp, to: Timestamp| readings_between(&app, &sensor, from, to, 5 * samples);
    let recent = between(now - length, now).await?;
    let baseline = between(now - 2 * length, now - length).await?;
    let (n_recent, n_baseline) = (recent.len(), baseline.len());
    let enough = samples <= n_recent && samples <= n_baseline;
    let found = if enough {
        tokio::task::spawn_blocking(move || outlook::distance(&baseline, &recent)).await.map_err(ApiError::internal)?
    } else {
        None
    };
    let notes =
        (!enough).then(|| format!("Not enough readings: baseline={n_baseline}, recent={n_recent}, required={samples}"));
    Reply::json(&Drift {
        sensor_id: sensor,
        recent_count: n_recent,
        baseline_count: n_baseline,
        window_minutes: window,
        ks_statistic: found.map(|found| found.0),
        p_value: found.map(|found| found.1),
        p_value_threshold: threshold,
        drift_detected: found.is_some_and(|(_, p_value)| p_value < threshold),
        insufficient_data: !enough,
        request_id: Uuid::now_v7(),
        evaluated_at: naive(now),
        notes,
    })
}

/// The newest values measured from `from` to `to`.
async fn readings_between(
    app: &App,
    sensor: &SensorId,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<f64>, ApiError> {
    let newest = readings::recent(&app.history, sensor, Some(to), limit).await?;
    Ok(newest.iter().filter(|reading| from <= reading.taken_at).map(|reading| reading.value).collect())
}
