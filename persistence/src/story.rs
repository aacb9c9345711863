//! A plant's story, told event by event, for tests of the read models.
//!
//! Events are put down as the writer does it: one transaction each, in order, refused as a whole.

use crate::instants::micros;
use crate::unit::NewEvent;
use crate::{History, StoreError, projections, sql, texts};
use domain::anomaly::{Anomaly, Aspect, Attribution, Range, Reason, Validated, Verdict};
use domain::case::{Closed, FailureMode, Opened, Priority, Resolution};
use domain::decision::{By, Declined, Meaning, OnExpiry, Proposal, Received, Required};
use domain::prediction::{Outlook, Prediction, RemainingHours};
use domain::reading::SensorType;
use domain::work_order::{Completed, Scheduled, Started};
use domain::{CaseId, CorrelationId, Event, EventId, ReadingNo, Timestamp, WorkOrderId};
use sea_orm::{DbErr, TransactionTrait, Value};
use std::borrow::Cow;
use uuid::Uuid;

/// The story so far.
pub(crate) struct Story {
    pub(crate) history: History,
    seq: i64,
}

impl Story {
    /// Nothing has happened.
    pub(crate) async fn begin() -> Result<Self, StoreError> {
        Ok(Self { history: History::empty().await?, seq: 0 })
    }

    /// `event` happens, at second `at` of the story; what follows from `cause` has its correlation.
    pub(crate) async fn tell(&mut self, at: i64, cause: Option<EventId>, event: Event) -> Result<EventId, DbErr> {
        let new = NewEvent {
            id: EventId(Uuid::now_v7()),
            cause,
            correlation: CorrelationId::from("corr-1"),
            traceparent: None,
            source: Cow::Borrowed("narrator"),
            at: second(at),
            event,
        };
        let tx = self.history.db().begin().await?;
        projections::apply(&tx, &new).await?;
        let values: [Value; 8] = [
            (self.seq + 1).into(),
            new.id.to_string().into(),
            new.cause.map(|cause| cause.to_string()).into(),
            new.correlation.as_str().into(),
            new.event.name().into(),
            new.source.as_ref().into(),
            micros(new.at).into(),
            texts::json(&new.event)?.into(),
        ];
        let insert = "INSERT INTO events (seq, id, cause, correlation, type, source, at, version, data) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)";
        sql::execute(&tx, insert, values).await?;
        tx.commit().await?;
        self.seq += 1;
        Ok(new.id)
    }

    /// Something that a test needs happens to the tables directly.
    pub(crate) async fn run<const N: usize>(&self, statement: &str, values: [Value; N]) -> Result<(), DbErr> {
        sql::execute(self.history.db(), statement, values).await?;
        Ok(())
    }

    /// A sensor registers itself under a number, on an asset, having sent from second 0 to second `last`.
    pub(crate) async fn sensor(
        &self,
        no: i32,
        id: &str,
        asset: &str,
        kind: SensorType,
        last: i64,
    ) -> Result<(), DbErr> {
        let sql = "INSERT INTO sensors (no, id, asset, sensor_type, first_at, last_at, reading_count) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (first_at, last_at) = (micros(second(0)), micros(second(last)));
        let kind = kind.as_str();
        self.run(sql, [no.into(), id.into(), asset.into(), kind.into(), first_at.into(), last_at.into(), 3.into()])
            .await
    }

    /// A case opens, with evidence from second `at`.
    pub(crate) async fn open(&mut self, at: i64, case: u128, asset: &str) -> Result<EventId, DbErr> {
        self.tell(at, None, Event::CaseOpened(opened(at, case, asset))).await
    }

    /// A case ends.
    pub(crate) async fn close(&mut self, at: i64, id: u128) -> Result<EventId, DbErr> {
        let (resolution, reason) = (Resolution::ReturnedToNormal, "calm again".to_owned());
        self.tell(at, None, Event::CaseClosed(Closed { case: case(id), resolution, reason })).await
    }
}

/// An instant of the story.
pub(crate) fn second(at: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + at).expect("stories are short")
}

/// The case of that number.
pub(crate) fn case(id: u128) -> CaseId {
    CaseId(Uuid::from_u128(id))
}

/// The order of that number.
pub(crate) fn order(id: u128) -> WorkOrderId {
    WorkOrderId(Uuid::from_u128(id))
}

/// How things fail in stories.
pub(crate) fn hot() -> FailureMode {
    FailureMode::abnormal(SensorType::Temperature)
}

/// The beginning of a case.
pub(crate) fn opened(at: i64, id: u128, asset: &str) -> Opened {
    Opened {
        case: case(id),
        asset: asset.into(),
        failure_mode: hot(),
        sensor: format!("{asset}/temperature").into(),
        priority: Priority::High,
        first_evidence_at: second(at),
        last_evidence_at: second(at),
        reason: "three credible anomalies in a row".to_owned(),
        evidence: Vec::new(),
        recurrence_of: None,
        detector: Some("stream 1".to_owned()),
        sensor_type: Some(SensorType::Temperature),
    }
}

/// A hot moment of an asset.
pub(crate) fn anomaly(at: i64, asset: &str) -> Anomaly {
    Anomaly {
        sensor: format!("{asset}/temperature").into(),
        asset: asset.into(),
        sensor_type: SensorType::Temperature,
        reading: ReadingNo(at),
        taken_at: second(at),
        value: 91.5,
        quality: 0.98,
        score: 2.5,
        expected: Range { low: 20.0, high: 60.0 },
        aspect: Aspect::Level,
        attribution: vec![Attribution { aspect: Aspect::Level, score: 2.5 }],
        run_length: 3,
        normal_before: 0,
        detector: "stream 1".to_owned(),
        shares: Vec::new(),
        mode: None,
    }
}

/// What validation made of a hot moment.
pub(crate) fn validated(at: i64, asset: &str, anomaly_event: EventId, case: Option<CaseId>) -> Event {
    Event::AnomalyValidated(Validated {
        anomaly_event,
        anomaly: anomaly(at, asset),
        verdict: if case.is_some() { Verdict::CredibleAnomaly } else { Verdict::FalsePositiveSuspected },
        confidence: 0.9,
        reasons: vec![Reason { rule: "quality".to_owned(), weight: 0.2, text: "good quality".to_owned() }],
        case,
    })
}

/// The forecast of a case.
pub(crate) fn predicted(id: u128, asset: &str) -> Prediction {
    Prediction {
        case: case(id),
        asset: asset.into(),
        sensor: format!("{asset}/temperature").into(),
        as_of: second(0),
        limit: Some(95.0),
        limit_source: "declared by the sensor".to_owned(),
        outlook: Outlook::Remaining { remaining_hours: RemainingHours { p10: 20.0, p50: 30.0, p90: 44.0 } },
        confidence: 0.8,
        method: "trend 1".to_owned(),
        n_readings: 300,
        recommended_actions: vec!["inspect the cooling".to_owned()],
    }
}

/// What is proposed for a case, or without one.
pub(crate) fn proposal(id: Option<u128>, asset: &str) -> Proposal {
    Proposal {
        case: id.map(case),
        asset: asset.into(),
        sensor: format!("{asset}/temperature").into(),
        maintenance_type: "preventive".to_owned(),
        priority: Priority::High,
        due_at: Some(second(86_400)),
        confidence: 0.8,
        recommended_actions: vec!["inspect the cooling".to_owned()],
    }
}

/// A question about a case.
pub(crate) fn required(request: &str, id: u128, deadline: i64) -> Event {
    Event::DecisionRequired(Required {
        request: request.into(),
        proposal: proposal(Some(id), "pump-1"),
        options: vec!["approve".to_owned(), "reject".to_owned()],
        reason: "confidence is moderate".to_owned(),
        deadline: second(deadline),
        on_expiry: OnExpiry::Escalate,
        escalations: 0,
    })
}

/// An answer.
pub(crate) fn answered(request: &str, operator: &str, decision: &str, at: i64) -> Event {
    Event::DecisionReceived(Received {
        request: request.into(),
        decision: decision.to_owned(),
        meaning: Meaning::of(decision),
        operator: operator.to_owned(),
        key: Some("shift".to_owned()),
        justification: None,
        confidence: 1.0,
        notes: None,
        decided_at: second(at),
    })
}

/// A refusal of what was asked.
pub(crate) fn declined(request: &str, id: u128) -> Event {
    Event::MaintenanceDeclined(Declined {
        request: request.into(),
        proposal: proposal(Some(id), "pump-1"),
        by: By::Person("ana".to_owned()),
        reason: "known and harmless".to_owned(),
    })
}

/// An order for a case, or without one.
pub(crate) fn scheduled(id: u128, case: Option<u128>, technician: &str, start: i64, end: i64) -> Scheduled {
    Scheduled {
        work_order: order(id),
        approval: EventId(Uuid::from_u128(1_000 + id)),
        proposal: proposal(case, "pump-1"),
        technician: technician.into(),
        start_at: second(start),
        end_at: second(end),
        skills: vec!["mechanical".to_owned()],
        score: 0.9,
        reason: "earliest with the skill".to_owned(),
        satisfied: vec!["skills".to_owned()],
        violated: Vec::new(),
        alternatives: Vec::new(),
    }
}

/// The end of an order.
pub(crate) fn completed(id: u128, case: Option<CaseId>, at: i64, fault_found: bool) -> Event {
    Event::MaintenanceCompleted(Completed {
        work_order: order(id),
        case,
        asset: "pump-1".into(),
        technician: "tech-1".into(),
        completed_at: second(at),
        duration_hours: Some(1.5),
        fault_found,
        notes: "fan replaced".to_owned(),
        close_out: None,
        by: None,
    })
}

/// The beginning of its work.
pub(crate) fn started(id: u128, case: Option<CaseId>) -> Event {
    Event::WorkOrderStarted(Started {
        work_order: order(id),
        case,
        asset: "pump-1".into(),
        by: "shift".to_owned(),
        reason: None,
    })
}
