//! `/demo`: a machine that fails, and everything that comes of it.

mod driver;
pub(crate) mod status;

use super::{Mounted, Route, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::{CorrelationId, Envelope, Event, Seq};
use persistence::page::Start;
use persistence::unit::Appended;
use persistence::{StoreError, dead_letters};
use schemars::JsonSchema;
use serde::Serialize;
use simulations::scenario::{N_FAULT, N_HISTORY};
use status::{Buried, Facts, Status};
use tracing::info;

pub(crate) use driver::resume;

const START: &Route = entry("POST", "/api/v1/demo/golden-path");
const STATUS: &Route = entry("GET", "/api/v1/demo/golden-path/status/{correlation_id}");

/// Readings of the fault when nobody says how many.
const SENSOR_EVENTS: usize = 15;
/// Events of a run that are looked at; a run has a few hundred.
const RUN_EVENTS_MAX: usize = 10_000;
/// Newest dead letters that are looked through.
const DEAD_LETTERS_MAX: usize = 100;

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([mount(app, START, start), mount(app, STATUS, show)])
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Started<'a> {
    correlation_id: &'a CorrelationId,
    status: &'static str,
    status_url: String,
}

/// Begins a run. It goes on by itself; what it does is in the log.
async fn start(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let sensor_events = query.or("sensor_events", SENSOR_EVENTS, lax::count_in(*N_FAULT.start(), *N_FAULT.end()));
    let include_decision = query.or("include_decision", false, lax::boolean);
    query.finish()?;
    let correlation = call.correlation();
    let began = app.event(
        &correlation,
        Event::GoldenPathStarted {
            sensor: driver::sensor_of(&correlation),
            // The bounds are far below.
            sensor_events: u32::try_from(sensor_events).unwrap_or(u32::MAX),
            include_decision,
        },
    );
    let status_url = format!("/api/v1/demo/golden-path/status/{correlation}");
    let answer = Started { correlation_id: &correlation, status: "started", status_url };
    let answer = serde_json::to_string(&answer).map_err(ApiError::internal)?;
    let idempotency = call.idempotency(answer.clone(), app.now())?;
    let run = driver::Run::new(&correlation, began.at, sensor_events, include_decision);
    match app.append(vec![began], idempotency).await? {
        Appended::Stored(seq) => {
            info!(correlation_id = %correlation, %seq, sensor_events, include_decision, "golden path started");
            driver::start(&app, run);
            Ok(Reply::json_text(answer))
        }
        Appended::Repeat(repeat) => Ok(Reply::json_text(repeat.response)),
    }
}

async fn show(app: App, call: Call) -> Result<Reply, ApiError> {
    let correlation = CorrelationId::from(call.param(0));
    match of(&app, &correlation).await? {
        Some(status) => Reply::json(&status),
        None => Err(ApiError::NotFound(format!("There is no golden path run {correlation}"))),
    }
}

/// How the run `correlation` stands.
async fn of(app: &App, correlation: &CorrelationId) -> Result<Option<Status>, StoreError> {
    let log = app.store.log();
    // The cursor first: what it has passed by then is among the events.
    let consumers = log.consumers().await?;
    let handled =
        consumers.iter().find(|consumer| consumer.name == "anomaly_detection").map_or(Seq(0), |row| row.cursor);
    let events = log.by_correlation(correlation, RUN_EVENTS_MAX).await?;
    if !events.iter().any(|envelope| matches!(envelope.event, Event::GoldenPathStarted { .. })) {
        return Ok(None);
    }
    let agents = app.runtime.status().await?;
    let buried = buried(app, &events).await?;
    Ok(status::of(&Facts {
        events: &events,
        n_history: u32::try_from(N_HISTORY).unwrap_or(u32::MAX),
        handled,
        agents: &agents,
        buried: &buried,
        now: app.now(),
        timeout: driver::timeout(app),
    }))
}

/// Events of the run that were given up.
async fn buried(app: &App, events: &[Envelope]) -> Result<Vec<Buried>, StoreError> {
    let letters =
        dead_letters::list(&app.history, &dead_letters::Filter::default(), &Start::default(), DEAD_LETTERS_MAX)
            .await?
            .rows;
    let of_run = |seq: Seq| events.binary_search_by_key(&seq, |envelope| envelope.seq).is_ok();
    let letters = letters.into_iter().filter(|letter| of_run(letter.seq));
    Ok(letters
        .map(|letter| Buried { agent: letter.agent, seq: letter.seq, at: letter.at, error: letter.error })
        .collect())
}
