//! Explanations of many rows, worked out in the background; a job is polled until it is done.
//!
//! Jobs live in memory: they are gone an hour after they ended, and when the node stops.

use super::super::route::{Kind, Param};
use super::super::{Mounted, Route, entry, mount};
use super::predict::{Said, explained, problems, said};
use super::{Info, info, resolved};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants::offset;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::Timestamp;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;
use warp::http::StatusCode;

const BEGIN: &Route = entry("POST", "/api/v1/ml/explanations");
const POLL: &Route = entry("GET", "/api/v1/ml/explanations/{id}");

/// Jobs in memory at most; more are refused until one is forgotten.
const JOBS_MAX: usize = 64;
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Rows explained between two looks at whether the node stops.
const CHUNK: usize = 256;

/// What explanations are asked for with.
pub(crate) const MEMBERS: &[Param] = &[
    Param::required("model_name", Kind::Text, "The model"),
    Param::or("model_version", Kind::Text, "\"auto\"", "Its version"),
    Param::required("rows", Kind::List(&Kind::Map(&Kind::Any)), "Features of each row, by name"),
];

/// A job.
#[derive(Debug)]
struct Job {
    begun_at: Timestamp,
    n_rows: usize,
    done: Vec<Explained>,
    failure: Option<String>,
    info: Info,
}

/// What was said of one row, and why.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Explained {
    prediction: f64,
    probability: Option<f64>,
    base_value: Option<f64>,
    shap_values: BTreeMap<String, f64>,
}

/// A job that was begun.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Begun {
    job_id: Uuid,
    status: &'static str,
    rows: usize,
    /// Where to ask how far it is.
    poll: String,
}

/// How far a job is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Progress {
    job_id: Uuid,
    status: &'static str,
    rows: usize,
    rows_done: usize,
    begun_at: String,
    model_info: Info,
    error: Option<String>,
    /// For each row, in order, once all are done.
    explanations: Option<Vec<Explained>>,
}

/// The jobs of one node.
#[derive(Clone, Debug, Default)]
// A leaf: nothing is awaited while it is held.
pub(crate) struct Jobs(Arc<Mutex<HashMap<Uuid, Job>>>);

impl Jobs {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Uuid, Job>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, BEGIN, begin), mount(app, POLL, poll)])
}

async fn begin(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = body.required("model_name", lax::string_max(app.limits.string_bytes_max));
    let version = body.or("model_version", "auto".to_owned(), lax::string);
    let rows = body.required("rows", lax::list(app.limits.batch_items_max, lax::object));
    body.finish()?;
    let version = resolved(&app, &name, &version).await?;
    let (id, now) = (Uuid::now_v7(), app.now());
    let (n_rows, own) = (rows.len(), version.clone());
    let saying = move || -> Result<Vec<Said>, ApiError> {
        let (mut all, mut wrong) = (Vec::with_capacity(rows.len()), Vec::new());
        for (idx, row) in rows.iter().enumerate() {
            match said(&own, row, &id.to_string(), idx, now) {
                Ok(said) => all.push(said),
                Err(errors) => wrong.extend(problems(&format!("body → rows → {idx}"), errors)),
            }
        }
        if wrong.is_empty() { Ok(all) } else { Err(ApiError::all_invalid(&wrong)) }
    };
    let said = tokio::task::spawn_blocking(saying).await.map_err(ApiError::internal)??;
    let (seen, kept): (Vec<_>, Vec<_>) = said.into_iter().map(|said| ((said.seen, said.answer), said.kept)).unzip();
    let job = Job { begun_at: now, n_rows, done: Vec::new(), failure: None, info: info(&version) };
    let taken = app.jobs.with(|jobs| {
        jobs.retain(|_, job| now.duration_since(job.begun_at) < KEPT);
        let room = jobs.len() < JOBS_MAX;
        if room {
            jobs.insert(id, job);
        }
        room
    });
    if !taken {
        return Err(ApiError::unavailable("Too many explanations are under way; try again"));
    }
    app.serving.keep(kept).await?;
    let own = app.clone();
    app.tasks.spawn(async move {
        for chunk in seen.chunks(CHUNK) {
            if own.stopping.is_cancelled() {
                return;
            }
            let (version, chunk) = (version.clone(), chunk.to_vec());
            let work = move || -> Vec<Explained> {
                chunk
                    .iter()
                    .map(|(seen, answer)| {
                        let (base, values) = explained(&version, seen).unzip();
                        Explained {
                            prediction: answer.prediction,
                            probability: answer.probability,
                            base_value: base,
                            shap_values: values.unwrap_or_default(),
                        }
                    })
                    .collect()
            };
            let worked = tokio::task::spawn_blocking(work).await;
            own.jobs.with(|jobs| {
                let Some(job) = jobs.get_mut(&id) else { return };
                match worked {
                    Ok(values) => job.done.extend(values),
                    Err(error) => job.failure = Some(error.to_string()),
                }
            });
        }
    });
    let poll = format!("/api/v1/ml/explanations/{id}");
    let told = Begun { job_id: id, status: "running", rows: n_rows, poll };
    Ok(Reply::json(&told)?.status(StatusCode::ACCEPTED))
}

async fn poll(app: App, call: Call) -> Result<Reply, ApiError> {
    let unknown =
        || ApiError::NotFound(format!("There is no explanation {:?}; they are kept for an hour", call.param(0)));
    let id: Uuid = call.param(0).parse().map_err(|_| unknown())?;
    let told = app.jobs.with(|jobs| {
        jobs.get(&id).map(|job| {
            let complete = job.done.len() == job.n_rows;
            let status = match (&job.failure, complete) {
                (Some(_), _) => "failed",
                (None, true) => "complete",
                (None, false) => "running",
            };
            Progress {
                job_id: id,
                status,
                rows: job.n_rows,
                rows_done: job.done.len(),
                begun_at: offset(job.begun_at),
                model_info: job.info.clone(),
                error: job.failure.clone(),
                explanations: complete.then(|| job.done.clone()),
            }
        })
    });
    Reply::json(&told.ok_or_else(unknown)?)
}
