//! The story of a case: which events concern it, and what they say.

use super::{Case, get};
use crate::{History, StoreError, anomalies, log, sql};
use domain::{CaseId, Envelope, EventId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel};
use serde::Serialize;
use std::collections::HashMap;

#[expect(unreachable_pub, reason = "the derived entity is public and shows its model; the module is not")]
mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "case_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: String,
        pub case_id: String,
        pub r#type: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Everything that was said of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The case as it is now.
    pub case: Case,
    /// Its newest evidence, newest source time first; at most [`EVIDENCE_MAX`] of `case.evidence_count`.
    pub evidence: Vec<Evidence>,
    /// Every other event that concerns it, in log order; at most [`STEPS_MAX`].
    pub steps: Vec<Envelope>,
}

/// One anomaly and its validation, as they stand in the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The `AnomalyDetected` event.
    pub detected: Option<Envelope>,
    /// The `AnomalyValidated` event.
    pub validated: Envelope,
}

/// Pieces of evidence in a [`Trace`].
pub const EVIDENCE_MAX: usize = 100;
/// Other events in a [`Trace`].
pub const STEPS_MAX: usize = 1_000;

/// The events that concern one case, each with its agent, version, id and time.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn trace(history: &History, id: CaseId) -> Result<Option<Trace>, StoreError> {
    let Some(case) = get(history, id).await? else { return Ok(None) };
    let newest = anomalies::of_case(history, id, EVIDENCE_MAX).await?;
    let validated = newest.iter().filter_map(|anomaly| Some(anomaly.validation.as_ref()?.event));
    let ids: Vec<EventId> = newest.iter().map(|anomaly| anomaly.event).chain(validated).collect();
    let mut events = envelopes(history, &ids).await?;
    let evidence = newest
        .iter()
        .filter_map(|anomaly| {
            let validated = events.remove(&anomaly.validation.as_ref()?.event)?;
            Some(Evidence { detected: events.remove(&anomaly.event), validated })
        })
        .collect();
    Ok(Some(Trace { case, evidence, steps: steps(history, id).await? }))
}

async fn envelopes(history: &History, ids: &[EventId]) -> Result<HashMap<EventId, Envelope>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
    let select = format!("SELECT * FROM events WHERE id IN ({})", places.join(", "));
    let rows = sql::rows(history.db(), select, ids.iter().map(|id| id.to_string().into())).await?;
    rows.iter().map(|row| log::envelope(row).map(|envelope| (envelope.id, envelope))).collect()
}

async fn steps(history: &History, case: CaseId) -> Result<Vec<Envelope>, StoreError> {
    let select = "SELECT events.* FROM case_events JOIN events ON events.id = case_events.event_id \
                  WHERE case_events.case_id = $1 \
                  AND case_events.type NOT IN ('anomaly_detected', 'anomaly_validated') \
                  ORDER BY events.seq LIMIT $2";
    let rows = sql::rows(history.db(), select, [case.to_string().into(), (STEPS_MAX as i64).into()]).await?;
    rows.iter().map(log::envelope).collect()
}

/// `events`, by id and type, concern `case`. What was noted before stays as it was.
pub(crate) async fn note(
    tx: &impl ConnectionTrait,
    case: CaseId,
    events: &[(EventId, &'static str)],
) -> Result<(), DbErr> {
    if events.is_empty() {
        return Ok(());
    }
    let rows = events.iter().map(|(event, name)| {
        row::Model { event_id: event.to_string(), case_id: case.to_string(), r#type: (*name).to_owned() }
            .into_active_model()
    });
    row::Entity::insert_many(rows)
        .on_conflict(OnConflict::column(row::Column::EventId).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// The case that `event` concerns, if any.
pub(crate) async fn of_event(tx: &impl ConnectionTrait, event: EventId) -> Result<Option<CaseId>, DbErr> {
    let row = row::Entity::find_by_id(event.to_string()).one(tx).await?;
    row.map(|row| row.case_id.parse().map_err(|_| DbErr::Type(format!("case id {:?}", row.case_id)))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{
        Story, anomaly, answered, case, completed, opened, predicted, proposal, required, scheduled, second, started,
        validated,
    };
    use domain::case::{Opened, Priority};
    use domain::decision::{Approved, By, Expired, OnExpiry};
    use domain::notification;
    use domain::work_order::{LogEntry, LogKind, SchedulingFailed};
    use domain::{Event, NotificationId};
    use uuid::Uuid;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn what_led_to_a_case_is_evidence_of_it() -> Outcome {
        // Given two anomalies that were not enough,
        let mut story = Story::begin().await?;
        let mut early = Vec::new();
        for at in [0, 1] {
            let detected = story.tell(at, None, Event::AnomalyDetected(anomaly(at, "pump-1"))).await?;
            story.tell(at, Some(detected), validated(at, "pump-1", detected, None)).await?;
            early.push(detected);
        }
        // when a third one opens a case,
        let detected = story.tell(2, None, Event::AnomalyDetected(anomaly(2, "pump-1"))).await?;
        let begun = Opened { evidence: early.clone(), first_evidence_at: second(0), ..opened(2, 1, "pump-1") };
        story.tell(2, Some(detected), Event::CaseOpened(begun)).await?;
        story.tell(2, Some(detected), validated(2, "pump-1", detected, Some(case(1)))).await?;
        // then all three are evidence of it.
        let trace = trace(&story.history, case(1)).await?.expect("it was opened");
        assert_eq!(trace.case.evidence_count, 3);
        let said = trace.evidence.iter().map(|evidence| evidence.detected.as_ref().map(|event| event.id));
        assert_eq!(said.collect::<Vec<_>>(), [Some(detected), Some(early[1]), Some(early[0])]);
        assert_eq!(trace.steps.len(), 1);
        Ok(())
    }

    #[tokio::test]
    async fn a_trace_holds_every_event_that_concerns_the_case() -> Outcome {
        // Given a case from its first anomaly to its end, and another case beside it,
        let mut story = Story::begin().await?;
        story.open(0, 9, "pump-9").await?;
        let detected = story.tell(1, None, Event::AnomalyDetected(anomaly(1, "pump-1"))).await?;
        story.open(2, 1, "pump-1").await?;
        let judged = story.tell(2, Some(detected), validated(1, "pump-1", detected, Some(case(1)))).await?;
        let message = NotificationId(Uuid::from_u128(7));
        let asked = {
            story.tell(3, Some(judged), Event::MaintenancePredicted(predicted(1, "pump-1"))).await?;
            story.tell(4, None, required("q-1", 1, 60)).await?
        };
        let told = notification::Requested {
            notification: message,
            channel: notification::Channel::Console,
            recipient: "operators".to_owned(),
            priority: Priority::High,
            subject: "decide".to_owned(),
            body: "please".to_owned(),
        };
        let told = story.tell(5, Some(asked), Event::NotificationRequested(told)).await?;
        let sent =
            notification::Sent { notification: message, channel: notification::Channel::Console, tries: Vec::new() };
        story.tell(6, Some(told), Event::NotificationSent(sent)).await?;
        let rest = [
            Event::DecisionExpired(Expired { request: "q-1".into(), outcome: OnExpiry::Escalate }),
            required("q-1", 1, 120),
            answered("q-1", "ana", "approved", 7),
            Event::MaintenanceApproved(Approved {
                request: Some("q-1".into()),
                proposal: proposal(Some(1), "pump-1"),
                by: By::Person("ana".to_owned()),
                reason: "do it".to_owned(),
            }),
            Event::SchedulingFailed(SchedulingFailed {
                approval: EventId(Uuid::from_u128(3)),
                proposal: proposal(Some(1), "pump-1"),
                reasons: vec!["nobody is free".to_owned()],
                covered_by: None,
            }),
            Event::MaintenanceScheduled(scheduled(1, Some(1), "tech-1", 100, 200)),
            started(1, Some(case(1))),
            completed(1, Some(case(1)), 180, true),
            Event::LogEntryWritten(LogEntry {
                asset: "pump-1".into(),
                case: Some(case(1)),
                work_order: None,
                kind: LogKind::Completed,
                at: second(8),
                text: "fan replaced".to_owned(),
            }),
        ];
        for event in rest {
            story.tell(8, None, event).await?;
        }
        story.close(9, 1).await?;
        // when it is traced,
        let trace = trace(&story.history, case(1)).await?.expect("it was opened");
        // then its evidence is there as it was said,
        assert_eq!(trace.evidence.len(), 1);
        let evidence = &trace.evidence[0];
        assert_eq!(evidence.detected.as_ref().map(|event| event.id), Some(detected));
        assert_eq!(evidence.validated.id, judged);
        assert!(matches!(&evidence.validated.event, Event::AnomalyValidated(said) if said.reasons.len() == 1));
        // and everything else in the order in which it was said, with who said it, when, and in which form.
        let names: Vec<&str> = trace.steps.iter().map(|step| step.event.name()).collect();
        assert_eq!(
            names,
            [
                "case_opened",
                "maintenance_predicted",
                "decision_required",
                "notification_requested",
                "notification_sent",
                "decision_expired",
                "decision_required",
                "decision_received",
                "maintenance_approved",
                "scheduling_failed",
                "maintenance_scheduled",
                "work_order_started",
                "maintenance_completed",
                "log_entry_written",
                "case_closed",
            ]
        );
        for step in &trace.steps {
            assert_eq!((step.source.as_str(), step.version), ("narrator", 1));
        }
        assert_eq!(trace.steps[0].at, second(2));
        assert_eq!(super::trace(&story.history, case(77)).await?, None);
        Ok(())
    }

    #[tokio::test]
    async fn a_trace_holds_the_newest_evidence_of_much() -> Outcome {
        // Given a case with more evidence than a trace holds,
        let mut story = Story::begin().await?;
        story.open(0, 1, "pump-1").await?;
        for at in 0..110 {
            let detected = story.tell(at, None, Event::AnomalyDetected(anomaly(at, "pump-1"))).await?;
            story.tell(at, Some(detected), validated(at, "pump-1", detected, Some(case(1)))).await?;
        }
        // then the newest is there, the newest first, and the case tells how much there is.
        let trace = trace(&story.history, case(1)).await?.expect("it was opened");
        assert_eq!((trace.evidence.len(), trace.case.evidence_count), (EVIDENCE_MAX, 110));
        assert_eq!(trace.evidence[0].validated.at, second(109));
        assert_eq!(trace.evidence[99].validated.at, second(10));
        assert!(trace.evidence.iter().all(|evidence| evidence.detected.is_some()));
        Ok(())
    }
}
