//! Where a run of the golden path stands: a pure function over the events of its correlation.
//!
//! A step is complete only because its agent's own event is in the log, or, for `processing`, because the agent's
//! cursor has passed the run's readings. It knows no store and no clock, so a restart changes nothing.

mod stages;

use domain::{CorrelationId, Envelope, Event, EventId, Seq, Timestamp};
use jiff::SignedDuration;
use runtime::AgentStatus;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use stages::Run;

/// Events in the document; the newest ones.
const EVENTS_MAX: usize = 200;
/// Characters of JSON above which a part of a payload is left out.
const PAYLOAD_PART_CHARS_MAX: usize = 400;

/// An event of the run that an agent gave up on.
#[derive(Clone, Debug)]
pub(crate) struct Buried {
    /// The agent.
    pub(crate) agent: String,
    /// The event.
    pub(crate) seq: Seq,
    /// When it was given up.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) error: String,
}

/// What is known when the question is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The run's events, in log order.
    pub(crate) events: &'a [Envelope],
    /// Readings that the machine sends before the fault.
    pub(crate) n_history: u32,
    /// Events up to here were handled by `anomaly_detection`.
    pub(crate) handled: Seq,
    /// The agents as they are.
    pub(crate) agents: &'a [AgentStatus],
    /// Events of the run that were given up.
    pub(crate) buried: &'a [Buried],
    /// The time of the question.
    pub(crate) now: Timestamp,
    /// How long a run may take.
    pub(crate) timeout: SignedDuration,
}

/// How a run, or one of its steps, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// Nothing has reached it yet.
    Pending,
    /// It is under way.
    Running,
    /// It is done.
    Complete,
    /// It will not be done.
    Failed,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Step {
    /// Its name in the old contract.
    pub(crate) name: &'static str,
    /// How it stands.
    pub(crate) status: Progress,
    /// Events that its agent said; readings, for `ingestion`.
    pub(crate) events: u64,
    /// When there was something to do for it.
    pub(crate) started_at: Option<Timestamp>,
    /// When it was done.
    pub(crate) completed_at: Option<Timestamp>,
    /// What came of it, or what it waits for.
    pub(crate) message: String,
    /// Who does it.
    pub(crate) agent: &'static str,
    /// From `started_at` to `completed_at`.
    pub(crate) duration_ms: Option<i64>,
}

/// One event, its payload cut to what fits a page.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Line {
    event_type: &'static str,
    event_id: EventId,
    timestamp: Timestamp,
    correlation_id: CorrelationId,
    source: String,
    payload: Value,
}

/// Figures of the run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Figures {
    total_events: usize,
    last_event_at: Option<Timestamp>,
    latency_ms_ingest_to_prediction: Option<i64>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// When.
    pub(crate) at: Timestamp,
    /// With whom.
    pub(crate) agent_id: String,
    /// What.
    pub(crate) message: String,
}

/// The status document: the old contract's keys, with `agent` and `duration_ms` in each step.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// The run.
    pub(crate) correlation_id: CorrelationId,
    /// How it stands.
    pub(crate) status: Progress,
    /// When it began.
    pub(crate) started_at: Timestamp,
    /// When it was complete, or failed.
    pub(crate) completed_at: Option<Timestamp>,
    /// The seven stages.
    pub(crate) steps: Vec<Step>,
    /// The newest events, in log order.
    pub(crate) events: Vec<Line>,
    /// Figures.
    pub(crate) metrics: Figures,
    /// What went wrong.
    pub(crate) errors: Vec<Problem>,
    /// Whether a person is asked.
    pub(crate) include_decision: bool,
}

impl Status {
    /// Neither complete nor failed.
    pub(crate) fn is_running(&self) -> bool {
        self.status == Progress::Running
    }
}

/// How the run stands, or `None` if the events are of no run.
pub(crate) fn of(facts: &Facts<'_>) -> Option<Status> {
    let run = Run::new(facts)?;
    let deadline = run.began.at.checked_add(facts.timeout).unwrap_or(Timestamp::MAX);
    let mut steps: Vec<Step> = run.stages().into_iter().map(|stage| stage.into_step(&run)).collect();
    let mut errors = run.problems();
    let finished_at = steps.iter().map(|step| step.completed_at).collect::<Option<Vec<_>>>();
    let finished_at = finished_at.and_then(|times| times.into_iter().max());

    let (status, completed_at) = if let Some(at) = finished_at.filter(|at| *at <= deadline) {
        (Progress::Complete, Some(at))
    } else if let Some(at) = run.declined().map(|declined| declined.at).filter(|at| *at <= deadline) {
        (Progress::Failed, Some(at))
    } else if finished_at.is_some() || deadline < facts.now {
        (Progress::Failed, Some(deadline))
    } else {
        (Progress::Running, None)
    };
    if status == Progress::Failed {
        // What was done in time stays done; the first stage that was not is what failed.
        let late = |step: &Step| step.completed_at.is_none_or(|at| deadline < at);
        if let Some(step) = steps.iter_mut().find(|step| late(step)) {
            let message = match step.completed_at {
                Some(_) => format!("it was done, but not within {} s", facts.timeout.as_secs()),
                None => step.message.clone(),
            };
            if step.completed_at.is_none() {
                step.status = Progress::Failed;
            }
            let (at, agent_id) = (completed_at.unwrap_or(deadline), step.agent.to_owned());
            errors.push(Problem { at, agent_id, message: format!("{}: {message}", step.name) });
        }
    }
    Some(Status {
        correlation_id: run.began.correlation.clone(),
        status,
        started_at: run.began.at,
        completed_at,
        steps,
        events: lines(facts.events),
        metrics: run.figures(),
        errors,
        include_decision: run.include_decision,
    })
}

fn lines(events: &[Envelope]) -> Vec<Line> {
    let newest = &events[events.len().saturating_sub(EVENTS_MAX)..];
    newest
        .iter()
        .map(|envelope| Line {
            event_type: envelope.event.name(),
            event_id: envelope.id,
            timestamp: envelope.at,
            correlation_id: envelope.correlation.clone(),
            source: envelope.source.clone(),
            payload: payload(&envelope.event),
        })
        .collect()
}

/// The event's own fields, long ones left out.
fn payload(event: &Event) -> Value {
    let mut data = match serde_json::to_value(event) {
        Ok(Value::Object(mut event)) => event.remove("data").unwrap_or_else(|| json!({})),
        _ => json!({}),
    };
    if let Value::Object(fields) = &mut data {
        fields.values_mut().for_each(cut);
    }
    data
}

fn cut(value: &mut Value) {
    match value {
        Value::Object(_) if PAYLOAD_PART_CHARS_MAX < value.to_string().chars().count() => {
            *value = json!({ "_truncated": true });
        }
        Value::Object(fields) => fields.values_mut().for_each(cut),
        Value::Array(items) => items.iter_mut().for_each(cut),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{Kind, LastError, State};
    use uuid::Uuid;

    const CASE: &str = "00000000-0000-0000-0000-0000000000ca";
    const ORDER: &str = "00000000-0000-0000-0000-00000000000a";

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// The run's log; each event one second after the one before.
    struct Story {
        events: Vec<Envelope>,
        handled: Seq,
        agents: Vec<AgentStatus>,
        buried: Vec<Buried>,
    }

    impl Story {
        fn begun(include_decision: bool) -> Self {
            let mut story = Self { events: Vec::new(), handled: Seq(0), agents: Vec::new(), buried: Vec::new() };
            let started = json!({ "sensor": "s", "sensor_events": 2, "include_decision": include_decision });
            story.say("demo", "golden_path_started", started);
            story
        }

        fn say(&mut self, source: &str, name: &str, data: Value) -> &mut Self {
            let seq = self.events.len() as i64 + 1;
            self.events.push(Envelope {
                seq: Seq(seq),
                id: EventId(Uuid::from_u128(seq as u128)),
                cause: None,
                correlation: CorrelationId::new("run"),
                at: second(seq - 1),
                source: source.to_owned(),
                version: 1,
                traceparent: None,
                event: serde_json::from_value(json!({ "type": name, "data": data })).unwrap(),
            });
            self
        }

        fn store(&mut self, count: u32) -> &mut Self {
            self.say("data_acquisition", "readings_accepted", json!({ "first": 1, "count": count, "n_sensors": 1 }))
        }

        fn up_to_prediction(&mut self) -> &mut Self {
            self.store(4).store(2);
            self.handled = Seq(3);
            let anomaly = json!({
                "sensor": "s", "asset": "a", "sensor_type": "temperature", "reading": 6, "taken_at": second(0),
                "value": 80.0, "quality": 1.0, "score": 2.5, "expected": { "low": 60.0, "high": 65.0 },
                "aspect": "level", "attribution": [], "run_length": 1, "normal_before": 0, "detector": "stream/1",
            });
            self.say("anomaly_detection", "anomaly_detected", anomaly.clone());
            self.say(
                "validation",
                "case_opened",
                json!({
                    "case": CASE, "asset": "a", "failure_mode": "abnormal_temperature", "sensor": "s",
                    "priority": "high", "first_evidence_at": second(0), "last_evidence_at": second(0),
                    "reason": "far above", "evidence": [], "recurrence_of": null,
                }),
            );
            self.say(
                "validation",
                "anomaly_validated",
                json!({
                    "anomaly_event": Uuid::from_u128(4), "anomaly": anomaly, "verdict": "credible_anomaly",
                    "confidence": 0.9, "reasons": [], "case": CASE,
                }),
            );
            self.say(
                "prediction",
                "maintenance_predicted",
                json!({
                    "case": CASE, "asset": "a", "sensor": "s", "as_of": second(0), "limit": 95.0,
                    "limit_source": "settings", "confidence": 0.92, "method": "trend/1", "n_readings": 6,
                    "outlook": { "outcome": "remaining", "remaining_hours": { "p10": 120.0, "p50": 168.0, "p90": 216.0 } },
                    "recommended_actions": [],
                }),
            )
        }

        fn approve(&mut self) -> &mut Self {
            let by = json!({ "kind": "policy" });
            self.say(
                "human_decision",
                "maintenance_approved",
                json!({ "request": null, "proposal": proposal(), "by": by, "reason": "high confidence" }),
            )
        }

        fn book(&mut self) -> &mut Self {
            self.say(
                "scheduling",
                "maintenance_scheduled",
                json!({
                    "work_order": ORDER, "approval": Uuid::from_u128(8), "proposal": proposal(), "technician": "tech_001",
                    "start_at": second(3600), "end_at": second(7200), "skills": [], "score": 0.8,
                    "reason": "the earliest slot", "satisfied": [], "violated": [], "alternatives": [],
                }),
            )
        }

        fn write_down(&mut self) -> &mut Self {
            self.say(
                "maintenance_log",
                "log_entry_written",
                json!({
                    "asset": "a", "case": CASE, "work_order": ORDER, "kind": "scheduled", "at": second(0), "text": "booked",
                }),
            )
        }

        fn agent(&mut self, name: &'static str, state: State, error: Option<&str>) -> &mut Self {
            self.agents.push(AgentStatus {
                name,
                kind: Kind::Agent,
                state,
                restarts: 0,
                mailbox: 0,
                oldest_seconds: 0.0,
                lag: 0,
                cursor: 0,
                last_error: error.map(|error| LastError { at: second(0), error: error.to_owned() }),
            });
            self
        }

        fn at(&self, now: i64) -> Status {
            let facts = Facts {
                events: &self.events,
                n_history: 4,
                handled: self.handled,
                agents: &self.agents,
                buried: &self.buried,
                now: second(now),
                timeout: SignedDuration::from_secs(90),
            };
            of(&facts).unwrap()
        }
    }

    fn proposal() -> Value {
        json!({
            "case": CASE, "asset": "a", "sensor": "s", "maintenance_type": "urgent_corrective", "priority": "high",
            "due_at": second(100), "confidence": 0.92, "recommended_actions": [],
        })
    }

    fn progress(status: &Status) -> Vec<(&'static str, Progress)> {
        status.steps.iter().map(|step| (step.name, step.status)).collect()
    }

    #[test]
    fn a_run_is_complete_once_the_repair_is_booked_and_written_down() {
        use Progress::{Complete, Running};
        let mut story = Story::begun(false);
        story.up_to_prediction().approve().book();
        assert_eq!(story.at(20).status, Running);
        assert_eq!(story.at(20).steps[6].agent, "maintenance_log");

        let status = story.write_down().at(20);
        assert_eq!((status.status, status.completed_at), (Complete, Some(second(9))));
        let names = [
            "ingestion",
            "processing",
            "anomaly_detection",
            "validation",
            "prediction",
            "human_decision",
            "maintenance",
        ];
        assert_eq!(progress(&status), names.map(|name| (name, Complete)));
        let durations: Vec<_> = status.steps.iter().map(|step| step.duration_ms).collect();
        assert_eq!(durations, [2000, 2000, 2000, 2000, 1000, 1000, 2000].map(Some));
        assert_eq!(status.steps[5].message, "approved by the policy: high confidence");
        assert_eq!(status.metrics.latency_ms_ingest_to_prediction, Some(5000));
        assert_eq!(status.errors, []);
    }

    #[test]
    fn a_step_follows_its_own_agent_and_nobody_else() {
        let mut story = Story::begun(false);
        story.up_to_prediction();
        // Somebody else says what only the agent may.
        let by = json!({ "kind": "policy" });
        let approval = json!({ "request": null, "proposal": proposal(), "by": by, "reason": "trust me" });
        story.say("somebody", "maintenance_approved", approval);
        let status = story.at(20);
        assert_eq!(status.steps[5].status, Progress::Running);
        assert_eq!(status.steps[6].status, Progress::Pending);
        assert_eq!(status.steps[6].message, "Queued");
    }

    #[test]
    fn readings_are_processed_when_the_cursor_has_passed_them() {
        let mut story = Story::begun(false);
        story.store(4).store(2);
        story.handled = Seq(2);
        let step = &story.at(5).steps[1];
        assert_eq!((step.status, step.events, step.message.as_str()), (Progress::Running, 4, "4 of 6 readings scored"));
        story.handled = Seq(3);
        let step = &story.at(5).steps[1];
        assert_eq!((step.status, step.completed_at), (Progress::Complete, Some(second(2))));
    }

    #[test]
    fn a_run_that_takes_too_long_fails_and_names_the_stage_and_why() {
        let check = |story: &Story, agent: &str, message: &str| {
            let status = story.at(91);
            assert_eq!((status.status, status.completed_at), (Progress::Failed, Some(second(90))));
            let last = status.errors.last().unwrap();
            assert_eq!((last.agent_id.as_str(), last.message.as_str()), (agent, message));
            assert_eq!(status.steps.iter().filter(|step| step.status == Progress::Failed).count(), 1);
        };
        let mut paused = Story::begun(false);
        paused.store(6).agent("anomaly_detection", State::Paused, None);
        assert_eq!(paused.at(90).status, Progress::Running);
        check(&paused, "anomaly_detection", "processing: agent anomaly_detection is paused");

        let mut quarantined = Story::begun(false);
        quarantined.up_to_prediction().agent("human_decision", State::Quarantined, Some("no policy"));
        check(&quarantined, "human_decision", "human_decision: agent human_decision is quarantined after: no policy");

        let mut unmanned = Story::begun(false);
        let failed = json!({ "approval": Uuid::from_u128(8), "proposal": proposal(), "reasons": ["no technician"], "covered_by": null });
        unmanned.up_to_prediction().approve().say("scheduling", "scheduling_failed", failed);
        check(&unmanned, "scheduling", "maintenance: no slot: no technician");
        assert_eq!(unmanned.at(20).errors[0].message, "no technician");

        let mut poisoned = Story::begun(false);
        poisoned.up_to_prediction();
        let error = "panic: boom".to_owned();
        poisoned.buried.push(Buried { agent: "human_decision".to_owned(), seq: Seq(7), at: second(8), error });
        check(&poisoned, "human_decision", "human_decision: human_decision gave up on event 7: panic: boom");
    }

    #[test]
    fn what_comes_too_late_does_not_make_a_failed_run_complete() {
        let mut story = Story::begun(false);
        story.up_to_prediction().approve().book().write_down();
        story.events.last_mut().unwrap().at = second(100);
        let status = story.at(200);
        assert_eq!((status.status, status.completed_at), (Progress::Failed, Some(second(90))));
        assert_eq!(status.errors[0].message, "maintenance: it was done, but not within 90 s");
        assert_eq!(status.steps[6].status, Progress::Complete);
    }

    #[test]
    fn a_run_that_a_person_declines_fails_at_once() {
        let mut story = Story::begun(true);
        let by = json!({ "kind": "person", "name": "ana" });
        let declined = json!({ "request": "q", "proposal": proposal(), "by": by, "reason": "known noise" });
        story.up_to_prediction().say("human_decision", "maintenance_declined", declined);
        let status = story.at(20);
        assert_eq!((status.status, status.include_decision), (Progress::Failed, true));
        assert_eq!(status.steps[5].status, Progress::Failed);
        assert_eq!(status.errors[0].message, "human_decision: declined by ana: known noise");
    }

    #[test]
    fn events_of_no_run_have_no_status() {
        let mut story = Story::begun(false);
        story.store(4);
        story.events.remove(0);
        let facts = Facts {
            events: &story.events,
            n_history: 4,
            handled: Seq(0),
            agents: &[],
            buried: &[],
            now: second(0),
            timeout: SignedDuration::from_secs(90),
        };
        assert_eq!(of(&facts), None);
    }

    #[test]
    fn a_long_part_of_a_payload_is_left_out() {
        let mut story = Story::begun(false);
        story.up_to_prediction();
        let status = story.at(20);
        let validated = status.events.iter().find(|line| line.event_type == "anomaly_validated").unwrap();
        assert_eq!(validated.payload["verdict"], "credible_anomaly");
        let long = json!({ "data": { "x": "y".repeat(PAYLOAD_PART_CHARS_MAX) }, "short": { "x": "y" } });
        let mut cut_down = long.clone();
        cut_down.as_object_mut().unwrap().values_mut().for_each(cut);
        assert_eq!(cut_down, json!({ "data": { "_truncated": true }, "short": { "x": "y" } }));
    }

    #[test]
    fn the_document_has_the_old_contracts_keys() {
        let document = serde_json::to_value(Story::begun(false).at(0)).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            keys(&document),
            [
                "completed_at",
                "correlation_id",
                "errors",
                "events",
                "include_decision",
                "metrics",
                "started_at",
                "status",
                "steps"
            ]
        );
        assert_eq!(
            keys(&document["steps"][0]),
            ["agent", "completed_at", "duration_ms", "events", "message", "name", "started_at", "status"]
        );
        assert_eq!(keys(&document["metrics"]), ["last_event_at", "latency_ms_ingest_to_prediction", "total_events"]);
        assert_eq!(document["status"], "running");
        assert_eq!(document["steps"][0]["status"], "running");
    }
}
