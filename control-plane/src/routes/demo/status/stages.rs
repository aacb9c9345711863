//! The seven stages of a run: what each waits for, and which of its agent's events completes it.

use super::{Facts, Figures, Problem, Progress, Step};
use domain::anomaly::Verdict;
use domain::decision::By;
use domain::prediction::Outlook;
use domain::work_order::LogKind;
use domain::{Envelope, Event, Timestamp};
use runtime::State;

/// One stage before it is told of.
pub(super) struct Stage<'a> {
    name: &'static str,
    agent: &'static str,
    /// The first event that asks something of it.
    trigger: Option<&'a Envelope>,
    /// When it was done.
    completed_at: Option<Timestamp>,
    events: u64,
    message: String,
}

impl Stage<'_> {
    pub(super) fn into_step(self, run: &Run<'_>) -> Step {
        let status = match (self.completed_at, self.trigger) {
            (Some(_), _) => Progress::Complete,
            (None, Some(_)) => Progress::Running,
            (None, None) => Progress::Pending,
        };
        let message = match status {
            Progress::Pending => "Queued".to_owned(),
            Progress::Running => run.obstacle(self.agent).unwrap_or(self.message),
            Progress::Complete | Progress::Failed => self.message,
        };
        let started_at = self.trigger.map(|trigger| trigger.at);
        let duration_ms = started_at.zip(self.completed_at).map(|(from, to)| millis(from, to));
        Step {
            name: self.name,
            status,
            events: self.events,
            started_at,
            // Clocks may step back between two events; a stage does not end before it began.
            completed_at: self.completed_at.map(|at| started_at.map_or(at, |from| at.max(from))),
            message,
            agent: self.agent,
            duration_ms,
        }
    }
}

/// The events of a run, sorted by what they are.
pub(super) struct Run<'a> {
    facts: &'a Facts<'a>,
    pub(super) began: &'a Envelope,
    sensor_events: u32,
    pub(super) include_decision: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Option<Self> {
        facts.events.iter().find_map(|began| match began.event {
            Event::GoldenPathStarted { sensor_events, include_decision, .. } => {
                Some(Self { facts, began, sensor_events, include_decision })
            }
            _ => None,
        })
    }

    /// What `agent` itself said in the run.
    fn said_by(&self, agent: &'static str) -> impl Iterator<Item = &'a Envelope> {
        self.facts.events.iter().filter(move |envelope| envelope.source == agent)
    }

    pub(super) fn stages(&self) -> [Stage<'a>; 7] {
        [
            self.ingestion(),
            self.processing(),
            self.anomaly_detection(),
            self.validation(),
            self.prediction(),
            self.human_decision(),
            self.maintenance(),
        ]
    }

    fn accepted(&self) -> impl Iterator<Item = (&'a Envelope, u64)> {
        self.said_by("data_acquisition").filter_map(|envelope| match &envelope.event {
            Event::ReadingsAccepted(accepted) => Some((envelope, u64::from(accepted.count))),
            _ => None,
        })
    }

    fn n_wanted(&self) -> u64 {
        u64::from(self.facts.n_history) + u64::from(self.sensor_events)
    }

    /// The batch with which the last of the run's readings was stored.
    fn last_accepted(&self) -> Option<&'a Envelope> {
        let mut n_readings = 0;
        self.accepted().find_map(|(envelope, count)| {
            n_readings += count;
            (self.n_wanted() <= n_readings).then_some(envelope)
        })
    }

    fn ingestion(&self) -> Stage<'a> {
        let (n_batches, n_readings) =
            self.accepted().fold((0, 0), |(batches, sum), (_, count)| (batches + 1, sum + count));
        Stage {
            name: "ingestion",
            agent: "data_acquisition",
            trigger: Some(self.began),
            completed_at: self.last_accepted().map(|last| last.at),
            events: n_readings,
            message: format!("{n_readings} of {} readings stored in {n_batches} batches", self.n_wanted()),
        }
    }

    /// The cursor tells that all readings were handled, not when. The agent's last words about them do, and if it
    /// said nothing, then they were handled as they came.
    fn processing(&self) -> Stage<'a> {
        let n_handled =
            self.accepted().filter(|(batch, _)| batch.seq <= self.facts.handled).map(|(_, count)| count).sum();
        let last = self.last_accepted().filter(|last| last.seq <= self.facts.handled);
        let last_words = self.said_by("anomaly_detection").map(|envelope| envelope.at).max();
        Stage {
            name: "processing",
            agent: "anomaly_detection",
            trigger: self.accepted().next().map(|(first, _)| first),
            completed_at: last.map(|last| last_words.map_or(last.at, |at| at.max(last.at))),
            events: n_handled,
            message: format!("{n_handled} of {} readings scored", self.n_wanted()),
        }
    }

    fn anomalies(&self) -> impl Iterator<Item = &'a Envelope> {
        self.said_by("anomaly_detection").filter(|envelope| matches!(envelope.event, Event::AnomalyDetected(_)))
    }

    fn anomaly_detection(&self) -> Stage<'a> {
        let first = self.anomalies().next();
        let message = match first.map(|first| &first.event) {
            Some(Event::AnomalyDetected(anomaly)) => format!(
                "{} is at {:.2}, expected {:.2} to {:.2}: score {:.2} for its {}",
                anomaly.sensor,
                anomaly.value,
                anomaly.expected.low,
                anomaly.expected.high,
                anomaly.score,
                anomaly.aspect.as_str(),
            ),
            _ => "no reading is anomalous so far".to_owned(),
        };
        Stage {
            name: "anomaly_detection",
            agent: "anomaly_detection",
            trigger: self.accepted().next().map(|(batch, _)| batch),
            completed_at: first.map(|first| first.at),
            events: self.anomalies().count() as u64,
            message,
        }
    }

    fn validated(&self) -> impl Iterator<Item = (&'a Envelope, &'a domain::anomaly::Validated)> {
        self.said_by("validation").filter_map(|envelope| match &envelope.event {
            Event::AnomalyValidated(validated) => Some((envelope, validated)),
            _ => None,
        })
    }

    /// The first anomaly that became evidence of a case.
    fn evidence(&self) -> Option<(&'a Envelope, &'a domain::anomaly::Validated)> {
        self.validated()
            .find(|(_, validated)| validated.verdict == Verdict::CredibleAnomaly && validated.case.is_some())
    }

    fn validation(&self) -> Stage<'a> {
        let evidence = self.evidence();
        let opened = self.said_by("validation").find_map(|envelope| match &envelope.event {
            Event::CaseOpened(opened) => Some(opened),
            _ => None,
        });
        let message = match (evidence, opened, self.validated().last()) {
            (Some(_), Some(opened), _) => format!("case {} opened: {}", opened.case, opened.reason),
            (Some((_, evidence)), None, _) => {
                format!("evidence of an open case, confidence {:.2}", evidence.confidence)
            }
            (None, _, Some((_, last))) => {
                format!(
                    "no anomaly is evidence so far; the last: {}, confidence {:.2}",
                    last.verdict.as_str(),
                    last.confidence
                )
            }
            (None, _, None) => "no anomaly is judged so far".to_owned(),
        };
        Stage {
            name: "validation",
            agent: "validation",
            trigger: self.anomalies().next(),
            completed_at: evidence.map(|(envelope, _)| envelope.at),
            events: self.said_by("validation").count() as u64,
            message,
        }
    }

    fn predictions(&self) -> impl Iterator<Item = (&'a Envelope, &'a Outlook, f64)> {
        self.said_by("prediction").filter_map(|envelope| match &envelope.event {
            Event::MaintenancePredicted(prediction) => Some((envelope, &prediction.outlook, prediction.confidence)),
            _ => None,
        })
    }

    fn prediction(&self) -> Stage<'a> {
        let first = self.predictions().next();
        let message = first.map_or_else(
            || "no prognosis so far".to_owned(),
            |(_, outlook, confidence)| format!("{}, confidence {confidence:.2}", in_words(outlook)),
        );
        Stage {
            name: "prediction",
            agent: "prediction",
            trigger: self.evidence().map(|(envelope, _)| envelope),
            completed_at: first.map(|(envelope, ..)| envelope.at),
            events: self.predictions().count() as u64,
            message,
        }
    }

    fn approved(&self) -> Option<(&'a Envelope, &'a domain::decision::Approved)> {
        self.said_by("human_decision").find_map(|envelope| match &envelope.event {
            Event::MaintenanceApproved(approved) => Some((envelope, approved)),
            _ => None,
        })
    }

    /// The event by which maintenance was declined, if nothing was approved.
    pub(super) fn declined(&self) -> Option<&'a Envelope> {
        let mut said = self.said_by("human_decision");
        said.find(|envelope| matches!(envelope.event, Event::MaintenanceDeclined(_)))
            .filter(|_| self.approved().is_none())
    }

    fn human_decision(&self) -> Stage<'a> {
        let approved = self.approved();
        let question = self.said_by("human_decision").filter_map(|envelope| match &envelope.event {
            Event::DecisionRequired(required) => Some(required),
            _ => None,
        });
        let message = match (approved, self.declined().map(|declined| &declined.event), question.last()) {
            (Some((_, approved)), ..) => format!("approved by {}: {}", whom(&approved.by), approved.reason),
            (None, Some(Event::MaintenanceDeclined(declined)), _) => {
                format!("declined by {}: {}", whom(&declined.by), declined.reason)
            }
            (None, _, Some(required)) => {
                format!("waits for a person's answer to {}: {}", required.request, required.reason)
            }
            (None, _, None) => "nothing decided so far".to_owned(),
        };
        Stage {
            name: "human_decision",
            agent: "human_decision",
            trigger: self.predictions().next().map(|(envelope, ..)| envelope),
            completed_at: approved.map(|(envelope, _)| envelope.at),
            events: self.said_by("human_decision").count() as u64,
            message,
        }
    }

    /// Booked by one agent and written down by another; either may be what it waits for.
    fn maintenance(&self) -> Stage<'a> {
        let booked = self.said_by("scheduling").find_map(|envelope| match &envelope.event {
            Event::MaintenanceScheduled(order) => Some((envelope, order)),
            _ => None,
        });
        let written = booked.and_then(|(_, order)| {
            self.said_by("maintenance_log").find(|envelope| match &envelope.event {
                Event::LogEntryWritten(entry) => {
                    entry.kind == LogKind::Scheduled && entry.work_order == Some(order.work_order)
                }
                _ => false,
            })
        });
        let refused = self.said_by("scheduling").filter_map(|envelope| match &envelope.event {
            Event::SchedulingFailed(failed) => Some(failed.reasons.join("; ")),
            _ => None,
        });
        let message = match (booked, written) {
            (Some((_, order)), Some(_)) => {
                format!("{} is booked from {} to {}: {}", order.technician, order.start_at, order.end_at, order.reason)
            }
            (Some(_), None) => "booked, not in the maintenance log yet".to_owned(),
            (None, _) => {
                refused.last().map_or_else(|| "no slot so far".to_owned(), |reasons| format!("no slot: {reasons}"))
            }
        };
        let agents = ["scheduling", "maintenance_log"];
        Stage {
            name: "maintenance",
            agent: if booked.is_some() && written.is_none() { agents[1] } else { agents[0] },
            trigger: self.approved().map(|(envelope, _)| envelope),
            completed_at: booked.zip(written).map(|((booked, _), written)| written.at.max(booked.at)),
            events: agents.into_iter().map(|agent| self.said_by(agent).count() as u64).sum(),
            message,
        }
    }

    /// What keeps `agent` from working, if it is that.
    fn obstacle(&self, agent: &str) -> Option<String> {
        if let Some(buried) = self.facts.buried.iter().find(|buried| buried.agent == agent) {
            return Some(format!("{agent} gave up on event {}: {}", buried.seq, buried.error));
        }
        let status = self.facts.agents.iter().find(|status| status.name == agent)?;
        let state = match status.state {
            State::Running => return None,
            State::Restarting => "restarting",
            State::Paused => "paused",
            State::Draining => "draining",
            State::Quarantined => "quarantined",
        };
        let error = status.last_error.as_ref().map(|last| format!(" after: {}", last.error));
        Some(format!("agent {agent} is {state}{}", error.unwrap_or_default()))
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let buried = self.facts.buried.iter().map(|buried| Problem {
            at: buried.at,
            agent_id: buried.agent.clone(),
            message: format!("gave up on event {}: {}", buried.seq, buried.error),
        });
        let refused = self.facts.events.iter().filter_map(|envelope| match &envelope.event {
            // Another approval of the same case is no fault of the run's.
            Event::SchedulingFailed(failed) if failed.covered_by.is_none() => {
                Some(Problem { at: envelope.at, agent_id: envelope.source.clone(), message: failed.reasons.join("; ") })
            }
            Event::ReadingsRejected(rejected) => Some(Problem {
                at: envelope.at,
                agent_id: envelope.source.clone(),
                message: format!("{} readings refused: {}", rejected.count, rejected.examples.join("; ")),
            }),
            _ => None,
        });
        refused.chain(buried).collect()
    }

    pub(super) fn figures(&self) -> Figures {
        let ingested_at = self.accepted().next().map(|(first, _)| first.at);
        let predicted_at = self.predictions().next().map(|(first, ..)| first.at);
        Figures {
            total_events: self.facts.events.len(),
            last_event_at: self.facts.events.iter().map(|envelope| envelope.at).max(),
            latency_ms_ingest_to_prediction: ingested_at.zip(predicted_at).map(|(from, to)| millis(from, to)),
        }
    }
}

fn millis(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX).max(0)
}

fn whom(by: &By) -> String {
    match by {
        By::Policy => "the policy".to_owned(),
        By::Person(name) => name.clone(),
        By::Expiry => "expiry, since nobody answered".to_owned(),
    }
}

fn in_words(outlook: &Outlook) -> String {
    match outlook {
        Outlook::Remaining { remaining_hours } => format!(
            "the limit is reached in {:.1} days (P10 {:.1}, P90 {:.1})",
            remaining_hours.p50 / 24.0,
            remaining_hours.p10 / 24.0,
            remaining_hours.p90 / 24.0,
        ),
        Outlook::LimitPassed => "the limit is passed".to_owned(),
        Outlook::NoTrend { horizon_hours } => format!("no trend leads to the limit within {horizon_hours:.0} hours"),
        Outlook::NotEnoughData { have, need } => format!("not enough data: {have} readings, {need} needed"),
    }
}
