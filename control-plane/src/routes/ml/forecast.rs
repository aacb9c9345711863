//! What a sensor will read next, from its own history.

use super::super::route::{Kind, Param};
use super::super::{Mounted, Route, entry, mount};
use super::{Info, info, resolved, seconds};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::naive;
use crate::reply::Reply;
use crate::request::{Call, lax};
use agents::models::outlook;
use domain::SensorId;
use jiff::SignedDuration;
use persistence::readings;
use schemars::JsonSchema;
use serde::Serialize;

const FORECAST: &Route = entry("POST", "/api/v1/ml/forecast");

/// What a forecast is asked for with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("sensor_id", Kind::Text, "The sensor"),
    Param::required("model_name", Kind::Text, "The forecaster"),
    Param::or("model_version", Kind::Text, "\"auto\"", "Its version"),
    Param::or("history_window", Kind::Int(Some(10), Some(1000)), "288", "Newest readings to look at"),
    Param::or("horizon_steps", Kind::Int(Some(1), Some(288)), "12", "Values to foretell"),
    Param::optional("cadence_minutes", Kind::Int(None, None), "Minutes between two values; inferred when absent"),
];

/// A sensor's next values.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Forecast {
    sensor_id: SensorId,
    model_name: String,
    model_version: String,
    model_info: Info,
    generated_at: String,
    history_points: usize,
    /// Values that are foretold.
    horizon_steps: usize,
    cadence_minutes: i64,
    forecast: Vec<Point>,
    /// The method that did best on the sensor's own past.
    method: &'static str,
    /// Share of the values that lie between the bounds, 0 to 1.
    interval_level: f64,
    trials: Vec<Trial>,
    metrics: History,
}

/// One of them.
#[derive(Serialize, JsonSchema)]
struct Point {
    timestamp: String,
    predicted_value: f64,
    lower_bound: Option<f64>,
    upper_bound: Option<f64>,
}

/// How well a method did on the sensor's own past.
#[derive(Serialize, JsonSchema)]
struct Trial {
    method: &'static str,
    mean_absolute_error: f64,
}

/// What was looked at.
#[derive(Serialize, JsonSchema)]
struct History {
    history_start: String,
    history_end: String,
    history_points: usize,
    cadence_minutes: i64,
}

pub(crate) fn routes(app: &App) -> Mounted {
    mount(app, FORECAST, forecast)
}

async fn forecast(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::string_max(app.limits.string_bytes_max);
    let sensor = SensorId::from(body.required("sensor_id", &name));
    let model = body.required("model_name", &name);
    let version = body.or("model_version", "auto".to_owned(), lax::string);
    let window = body.or("history_window", 288, lax::count_in(10, 1_000));
    let horizon = body.or("horizon_steps", 12, lax::count_in(1, 288));
    let cadence = body.optional("cadence_minutes", lax::int_in(i64::MIN, 60 * 24 * 366));
    body.finish()?;
    // The old system took anything below one for its usual five minutes.
    let cadence = cadence.map(|minutes| if minutes <= 0 { 5 } else { minutes });
    let version = resolved(&app, &model, &version).await?;
    if !version.loaded.artefact.inputs.is_empty() {
        return Err(ApiError::invalid("body → model_name", "This model takes features; ask /api/v1/ml/predict"));
    }
    let mut newest = readings::recent(&app.history, &sensor, None, window).await?;
    newest.reverse();
    let (Some(first), Some(last)) = (newest.first(), newest.last()) else {
        return Err(ApiError::NotFound(format!("There are no readings of the sensor {sensor}")));
    };
    let (from, to, n_points) = (first.taken_at, last.taken_at, newest.len());
    let points: Vec<(f64, f64)> = newest.iter().map(|reading| (seconds(reading.taken_at), reading.value)).collect();
    let ahead = tokio::task::spawn_blocking(move || outlook::ahead(&points, cadence, horizon)).await;
    let Some(ahead) = ahead.map_err(ApiError::internal)? else {
        let detail = format!("Not enough data: {n_points} readings of {sensor}, at least 10 at equal steps are needed");
        return Err(ApiError::Unusable(detail));
    };
    let step = SignedDuration::from_mins(ahead.cadence_minutes);
    let said = &ahead.forecast;
    let intervals = said.intervals.as_deref();
    let mut at = to;
    let mut told = Vec::with_capacity(said.points.len());
    for (idx, value) in said.points.iter().enumerate() {
        at = at.checked_add(step).map_err(ApiError::internal)?;
        let interval = intervals.map(|intervals| intervals[idx]);
        told.push(Point {
            timestamp: naive(at),
            predicted_value: *value,
            lower_bound: interval.map(|interval| interval.0),
            upper_bound: interval.map(|interval| interval.1),
        });
    }
    let trials = said.trials.iter();
    Reply::json(&Forecast {
        sensor_id: sensor,
        model_info: info(&version),
        model_version: version.model.version.to_string(),
        model_name: version.model.name.clone(),
        generated_at: naive(app.now()),
        history_points: n_points,
        horizon_steps: told.len(),
        cadence_minutes: ahead.cadence_minutes,
        forecast: told,
        method: said.method.as_str(),
        interval_level: 0.9,
        trials: trials
            .map(|trial| Trial { method: trial.method.as_str(), mean_absolute_error: trial.mean_absolute_error })
            .collect(),
        metrics: History {
            history_start: naive(from),
            history_end: naive(to),
            history_points: n_points,
            cadence_minutes: ahead.cadence_minutes,
        },
    })
}
