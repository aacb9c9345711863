//! What a run of the golden path does from outside: the machine that sends readings, and the demo operator.
//!
//! It says nothing in an agent's place. Each step carries a key, so that a run which is taken up again after a
//! restart repeats itself without effect.

use super::of;
use crate::api_error::ApiError;
use crate::app::App;
use crate::follow;
use crate::trace_context;
use domain::decision::{Meaning, Received};
use domain::reading::Incoming;
use domain::{CorrelationId, DecisionRequestId, Envelope, Event, SensorId, Timestamp};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use persistence::StoreError;
use persistence::unit::Idempotency;
use runtime::intake::Key;
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};
use simulations::scenario::{self, Scenario};
use simulations::{OutOfRange, Sample};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// Scope of the keys under which a run does things.
const SCOPE: &str = "golden_path";
/// Who approves when nobody else does.
const OPERATOR: &str = "demo_operator";
/// Wait before something is tried again that the node could not do just then.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Runs looked through for unfinished ones when the node starts.
const RESUMED_MAX: usize = 100;
/// Bytes that a reading counts for while it is under way.
const READING_BYTES: usize = 512;
/// Attempts at a run whose driver panics.
const ATTEMPTS_MAX: u32 = 3;

/// One run, as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Run {
    correlation: CorrelationId,
    began_at: Timestamp,
    sensor_events: usize,
    include_decision: bool,
}

impl Run {
    pub(super) fn new(
        correlation: &CorrelationId,
        began_at: Timestamp,
        sensor_events: usize,
        include_decision: bool,
    ) -> Self {
        Self { correlation: correlation.clone(), began_at, sensor_events, include_decision }
    }

    fn of(began: &Envelope) -> Option<Self> {
        match began.event {
            Event::GoldenPathStarted { sensor_events, include_decision, .. } => Some(Self {
                correlation: began.correlation.clone(),
                began_at: began.at,
                sensor_events: usize::try_from(sensor_events).unwrap_or(usize::MAX),
                include_decision,
            }),
            _ => None,
        }
    }

    fn scenario(&self) -> Result<Scenario, OutOfRange> {
        scenario::golden_path(seed_of(&self.correlation), self.sensor_events, self.began_at)
    }

    fn deadline(&self, app: &App) -> Timestamp {
        self.began_at.checked_add(timeout(app)).unwrap_or(Timestamp::MAX)
    }

    /// The key of one of its steps.
    fn key(&self, step: &str) -> String {
        format!("{}/{step}", self.correlation)
    }
}

/// How long a run may take.
pub(super) fn timeout(app: &App) -> SignedDuration {
    SignedDuration::try_from_secs_f64(app.demo.timeout_seconds).unwrap_or(SignedDuration::MAX)
}

/// The sensor of the run `correlation`: the scenario names it after the first eight characters.
pub(super) fn sensor_of(correlation: &CorrelationId) -> SensorId {
    SensorId::from(format!("demo-sensor-{:08x}", seed_of(correlation) as u32))
}

/// A seed whose lower half is the first eight digits of the correlation: the scenario names its machine after it.
fn seed_of(correlation: &CorrelationId) -> u64 {
    let id = correlation.as_str().parse::<uuid::Uuid>().unwrap_or_default().as_u128();
    ((id as u64) << 32) | ((id >> 96) as u64)
}

/// Drives `run` in the background until its readings are in and its question is answered.
pub(super) fn start(app: &App, run: Run) {
    let (tasks, app) = (app.tasks.clone(), app.clone());
    let drive_on = async move {
        for attempt in 1..=ATTEMPTS_MAX {
            let driven = AssertUnwindSafe(drive(&app, &run)).catch_unwind();
            let outcome = tokio::select! {
                () = app.stopping.cancelled() => return,
                outcome = driven => outcome,
            };
            match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    return warn!(correlation_id = %run.correlation, ?error, "golden path cannot be driven on");
                }
                Err(_) => warn!(correlation_id = %run.correlation, attempt, "the driver of a golden path panicked"),
            }
        }
    };
    tasks.spawn(trace_context::within(trace_context::current(), drive_on));
}

/// Takes up the runs that were under way when the node stopped.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn resume(app: &App) -> Result<(), StoreError> {
    for began in app.store.log().last_of("golden_path_started", RESUMED_MAX).await? {
        let Some(run) = Run::of(&began) else { continue };
        if run.deadline(app) < app.now() {
            continue;
        }
        if of(app, &run.correlation).await?.is_some_and(|status| status.is_running()) {
            info!(correlation_id = %run.correlation, "golden path taken up again");
            start(app, run);
        }
    }
    Ok(())
}

async fn drive(app: &App, run: &Run) -> Result<(), ApiError> {
    let scenario = run.scenario().map_err(ApiError::internal)?;
    let limit = scenario.truth.limit;
    feed(app, run, "history", &scenario.history, limit).await?;
    // From here on the machine sends one reading after another, as machines do.
    for (idx, sample) in scenario.fault.iter().enumerate() {
        feed(app, run, &format!("fault-{idx}"), std::slice::from_ref(sample), limit).await?;
    }
    if run.include_decision { decide(app, run).await } else { Ok(()) }
}

/// Sends `samples` as any client would, again and again until they are stored or the run's time is over.
async fn feed(app: &App, run: &Run, step: &str, samples: &[Sample], limit: f64) -> Result<(), ApiError> {
    let items: Vec<Incoming> = samples.iter().map(|sample| incoming(sample, limit)).collect();
    let mut digest = Sha256::new();
    for sample in samples {
        digest.update(sample.value.to_le_bytes());
        digest.update(sample.taken_at.as_microsecond().to_le_bytes());
    }
    let key = Key { scope: SCOPE.to_owned(), key: run.key(step), body_sha256: digest.finalize().into() };
    loop {
        let sent = async {
            let permit = app.admit_readings(READING_BYTES * items.len())?;
            let items = items.iter().cloned().map(Ok).collect();
            app.submit(items, &run.correlation, Some(key.clone()), permit).await
        };
        match sent.await {
            Ok(_) => return Ok(()),
            Err(ApiError::Unavailable { .. }) if app.now() <= run.deadline(app) => {
                tokio::time::sleep(RETRY_AFTER).await
            }
            Err(error) => return Err(error),
        }
    }
}

fn incoming(sample: &Sample, limit: f64) -> Incoming {
    let metadata = [("asset_id", json!(sample.asset)), ("limit_high", json!(limit))];
    Incoming {
        sensor: sample.sensor.as_str().to_owned(),
        value: sample.value,
        taken_at: Some(sample.taken_at),
        sensor_type: Some(sample.sensor_type),
        unit: Some(sample.unit.to_owned()),
        quality: 1.0,
        metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
    }
}

/// Waits for a person to answer the run's question, and answers it in their place if none does.
async fn decide(app: &App, run: &Run) -> Result<(), ApiError> {
    let log = app.store.log();
    let left = run.deadline(app).duration_since(app.now());
    let deadline = Instant::now() + Duration::try_from(left).unwrap_or_default();
    let asked = |envelope: &Envelope| match &envelope.event {
        Event::DecisionRequired(required) => Some(required.request.clone()),
        _ => None,
    };
    // Without a question there is nothing to answer: the status tells why there is none.
    let Some(request) = follow::first_ever(log, &run.correlation, deadline, asked).await? else { return Ok(()) };

    let wait = Duration::try_from_secs_f64(app.demo.decision_wait_seconds).unwrap_or_default();
    let until = deadline.min(Instant::now() + wait);
    let answered =
        follow::first_ever(log, &run.correlation, until, |envelope| answer(&request, &envelope.event)).await?;
    match answered {
        Some(()) => Ok(()),
        None => approve(app, run, request).await,
    }
}

/// Something that settles the question `request`.
fn answer(request: &DecisionRequestId, event: &Event) -> Option<()> {
    let settled = match event {
        Event::DecisionReceived(received) => {
            received.request == *request && matches!(received.meaning, Meaning::Approve | Meaning::Decline)
        }
        Event::MaintenanceApproved(approved) => approved.request.as_ref() == Some(request),
        Event::MaintenanceDeclined(declined) => declined.request == *request,
        _ => false,
    };
    settled.then_some(())
}

async fn approve(app: &App, run: &Run, request: DecisionRequestId) -> Result<(), ApiError> {
    let decision = "approved";
    let received = Received {
        request,
        decision: decision.to_owned(),
        meaning: Meaning::of(decision),
        operator: OPERATOR.to_owned(),
        key: None,
        justification: Some(format!(
            "Nobody answered within {} s, so the demonstration approved in a person's place",
            app.demo.decision_wait_seconds
        )),
        confidence: 0.95,
        notes: None,
        decided_at: app.now(),
    };
    let event = app.event(&run.correlation, Event::DecisionReceived(received));
    let key = run.key("decision");
    loop {
        let idempotency = Idempotency {
            scope: SCOPE.to_owned(),
            body_sha256: Sha256::digest(&key).into(),
            key: key.clone(),
            response: String::new(),
            at: event.at,
        };
        match app.append(vec![event.clone()], Some(idempotency)).await {
            Ok(_) => return Ok(()),
            Err(ApiError::Unavailable { .. }) if app.now() <= run.deadline(app) => {
                tokio::time::sleep(RETRY_AFTER).await
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let correlation = CorrelationId::from("0a1b2c3d-0000-4000-8000-00000000ffff");
        Run::new(&correlation, "2026-03-06T17:00:00Z".parse().unwrap(), 15, false)
    }

    #[test]
    fn the_machine_is_named_after_the_run() {
        let run = run();
        assert_eq!(sensor_of(&run.correlation).as_str(), "demo-sensor-0a1b2c3d");
        assert_eq!(run.scenario().unwrap().truth.sensor, sensor_of(&run.correlation));
    }

    #[test]
    fn a_run_that_is_taken_up_again_sends_the_same_readings() {
        let (first, again) = (run().scenario().unwrap(), run().scenario().unwrap());
        assert_eq!(first, again);
        assert_eq!(first.fault.len(), 15);
        assert_eq!(first.fault.last().unwrap().taken_at, run().began_at);
    }

    #[test]
    fn a_reading_of_the_demo_declares_its_machine_and_the_machines_limit() {
        let scenario = run().scenario().unwrap();
        let reading = incoming(&scenario.fault[0], scenario.truth.limit);
        assert_eq!(reading.metadata["asset_id"], "demo-pump-0a1b2c3d");
        assert_eq!(reading.metadata["limit_high"], scenario.truth.limit);
    }

    #[test]
    fn only_a_yes_or_a_no_settles_the_question() {
        let request = DecisionRequestId::from("q");
        let received = |decision: &str| {
            Event::DecisionReceived(Received {
                request: request.clone(),
                decision: decision.to_owned(),
                meaning: Meaning::of(decision),
                operator: "ana".to_owned(),
                key: None,
                justification: None,
                confidence: 1.0,
                notes: None,
                decided_at: Timestamp::UNIX_EPOCH,
            })
        };
        for (decision, settles) in [("approved", true), ("reject", true), ("defer", false), ("whatever", false)] {
            assert_eq!(answer(&request, &received(decision)).is_some(), settles, "{decision}");
        }
        assert_eq!(answer(&DecisionRequestId::from("other"), &received("approved")), None);
    }
}
