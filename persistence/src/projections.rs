//! What an event changes in the read models. Runs in the writer's transaction, once per event.
//!
//! An error speaks against the event: the unit that carries it contradicts what is stored.

use crate::cases::State;
use crate::decisions::RequestState;
use crate::unit::NewEvent;
use crate::{
    anomalies, assets, cases, consumers, dead_letters, decisions, drift, knowledge, maintenance_log, models,
    notifications, predictions, reports, sensors, technicians, work_orders,
};
use domain::work_order::{Cancelled, Held, Started, Step};
use domain::{CaseId, Event};
use sea_orm::{ConnectionTrait, DbErr};

/// Whether `event` changes any read model.
pub(crate) fn has(event: &Event) -> bool {
    !matches!(
        event,
        Event::ReadingsAccepted(_)
            | Event::ReadingsRejected(_)
            | Event::TrainingRequested(_)
            | Event::TrainingFailed(_)
            | Event::TimerDue { .. }
            | Event::GoldenPathStarted { .. }
            | Event::KeyCreated(_)
            | Event::KeyRotated(_)
            | Event::KeyRevoked(_)
            | Event::SessionOpened(_)
            | Event::SessionClosed(_)
            | Event::PlantImported(_)
            | Event::SiteDeclared { .. }
    )
}

/// Makes the changes that `event` stands for.
///
/// # Errors
///
/// What the database says: a unique index was violated, or it cannot be written to; [`DbErr::Custom`] when a
/// technician would be booked twice.
pub(crate) async fn apply(tx: &impl ConnectionTrait, event: &NewEvent) -> Result<(), DbErr> {
    let case = concerned(tx, event).await?;
    match &event.event {
        Event::AnomalyDetected(anomaly) => anomalies::detected(tx, event, anomaly).await?,
        Event::AnomalyValidated(validated) => {
            anomalies::validated(tx, event, validated).await?;
            if let Some(case) = case {
                cases::evidence(tx, case, validated).await?;
            }
        }
        Event::CaseOpened(opened) => cases::opened(tx, event, opened).await?,
        Event::CaseUpdated(updated) => cases::updated(tx, updated).await?,
        Event::CaseClosed(closed) => {
            cases::closed(tx, event, closed).await?;
            decisions::supersede(tx, event, closed.case).await?;
        }
        Event::MaintenancePredicted(prediction) => predictions::made(tx, event, prediction).await?,
        Event::DecisionRequired(required) => decisions::required(tx, event, required).await?,
        Event::DecisionReceived(received) => decisions::received(tx, event, received).await?,
        Event::DecisionExpired(expired) => decisions::expired(tx, event, expired).await?,
        Event::MaintenanceRequested(requested) => decisions::asked_outright(tx, event, requested).await?,
        Event::MaintenanceApproved(approved) => {
            if let Some(request) = &approved.request {
                decisions::settled(tx, event, request, RequestState::Approved).await?;
            }
            if let Some(case) = approved.proposal.case {
                decisions::supersede(tx, event, case).await?;
            }
        }
        Event::MaintenanceDeclined(declined) => {
            decisions::settled(tx, event, &declined.request, RequestState::Declined).await?;
        }
        Event::MaintenanceScheduled(order) => work_orders::scheduled(tx, event, order).await?,
        Event::WorkOrderStarted(Started { work_order, by, reason, .. }) => {
            work_orders::moved(tx, event, *work_order, Step::Start, (by, reason.as_deref())).await?;
        }
        Event::WorkOrderHeld(Held { work_order, by, reason, .. }) => {
            work_orders::moved(tx, event, *work_order, Step::Hold, (by, Some(reason))).await?;
        }
        Event::WorkOrderCancelled(Cancelled { work_order, by, reason, .. }) => {
            work_orders::moved(tx, event, *work_order, Step::Cancel, (by, Some(reason))).await?;
        }
        Event::MaintenanceCompleted(completed) => work_orders::completed(tx, event, completed).await?,
        Event::RepairVerified(verified) => {
            let said = (verified.by.as_str(), verified.reason.as_deref());
            work_orders::moved(tx, event, verified.work_order, Step::Verify, said).await?;
            sensors::baseline_began(tx, event, &verified.sensors).await?;
        }
        Event::CaseAcknowledged(acknowledged) => cases::acknowledged(tx, event, acknowledged).await?,
        Event::CaseShelved(shelved) => cases::shelved(tx, event, shelved).await?,
        Event::CaseUnshelved(unshelved) => cases::unshelved(tx, unshelved).await?,
        Event::DetectorRated(rated) => knowledge::rated(tx, event, rated).await?,
        Event::AssetDeclared { asset, .. } => assets::declared(tx, event, asset).await?,
        Event::AssetMaintenanceBegan(began) => assets::maintenance_began(tx, event, began).await?,
        Event::AssetMaintenanceEnded(ended) => assets::maintenance_ended(tx, ended).await?,
        Event::TechnicianDeclared { technician, .. } => technicians::declared(tx, technician).await?,
        Event::TechnicianRemoved { technician, .. } => technicians::removed(tx, technician).await?,
        Event::LogEntryWritten(entry) => maintenance_log::written(tx, event, entry).await?,
        Event::NotificationRequested(message) => notifications::requested(tx, event, message, case).await?,
        Event::NotificationSent(sent) => notifications::sent(tx, event, sent).await?,
        Event::NotificationFailed(failed) => notifications::failed(tx, event, failed).await?,
        Event::FeedbackLearned(learned) => knowledge::learned(tx, event, learned).await?,
        Event::DriftDetected(detected) => drift::detected(tx, event, detected).await?,
        Event::ModelTrained(trained) => models::trained(tx, event, trained).await?,
        Event::ModelPromoted(promoted) => models::promoted(tx, event, promoted).await?,
        Event::ModelRejected(refused) => models::rejected(tx, event, refused).await?,
        Event::ModelRegistered(registered) => models::registered(tx, event, registered).await?,
        Event::ChampionChosen(chosen) => models::chosen(tx, event, chosen).await?,
        Event::ReportRequested(requested) => reports::requested(tx, event, requested).await?,
        Event::ReportGenerated(generated) => reports::generated(tx, event, generated).await?,
        // Leave their trace in the case's story only.
        Event::SchedulingFailed(_) | Event::ApprovalWithdrawn(_) | Event::FeedbackReceived(_) => {}
        // The writer registers the sensor, which gives it its number.
        Event::SensorDeclared { .. } => {}
        Event::AgentControlled { agent, action, up_to, .. } => {
            consumers::controlled(tx, agent, *action, *up_to).await?;
        }
        Event::DeadLetterReplayed { letter, .. } => {
            use dead_letters::State::{Discarded, Open, Replayed};
            dead_letters::settle(tx, *letter, &[Open, Discarded], Replayed).await?;
        }
        Event::DeadLetterDiscarded { letter, .. } => {
            use dead_letters::State::{Discarded, Open};
            dead_letters::settle(tx, *letter, &[Open], Discarded).await?;
        }
        Event::ReadingsAccepted(_)
        | Event::ReadingsRejected(_)
        | Event::TrainingRequested(_)
        | Event::TrainingFailed(_)
        | Event::TimerDue { .. }
        | Event::GoldenPathStarted { .. }
        | Event::KeyCreated(_)
        | Event::KeyRotated(_)
        | Event::KeyRevoked(_)
        | Event::SessionOpened(_)
        | Event::SessionClosed(_)
        | Event::PlantImported(_)
        | Event::SiteDeclared { .. } => {}
    }
    match case {
        Some(case) => follow(tx, event, case).await,
        None => Ok(()),
    }
}

/// Adds `event` to the story of `case`, and moves the case on.
async fn follow(tx: &impl ConnectionTrait, event: &NewEvent, case: CaseId) -> Result<(), DbErr> {
    let this = (event.id, event.event.name());
    match &event.event {
        Event::AnomalyValidated(validated) => {
            cases::note(tx, case, &[(validated.anomaly_event, "anomaly_detected"), this]).await?;
        }
        _ => cases::note(tx, case, &[this]).await?,
    }
    match reached(&event.event) {
        Some(state) => cases::advanced(tx, case, state).await,
        None => Ok(()),
    }
}

/// The state that a case comes to with `event`.
fn reached(event: &Event) -> Option<State> {
    match event {
        Event::MaintenancePredicted(_) => Some(State::Predicted),
        Event::DecisionRequired(_) => Some(State::DecisionPending),
        Event::MaintenanceApproved(_) => Some(State::Approved),
        Event::MaintenanceDeclined(_) => Some(State::Declined),
        Event::MaintenanceScheduled(_) => Some(State::Scheduled),
        Event::WorkOrderStarted(_) => Some(State::InProgress),
        Event::WorkOrderCancelled(_) => Some(State::Open),
        _ => None,
    }
}

/// The case that `event` concerns: the one it names, that of the question it answers, or that of its cause.
async fn concerned(tx: &impl ConnectionTrait, event: &NewEvent) -> Result<Option<CaseId>, DbErr> {
    match &event.event {
        Event::AnomalyValidated(validated) => Ok(validated.case),
        Event::CaseOpened(opened) => Ok(Some(opened.case)),
        Event::CaseUpdated(updated) => Ok(Some(updated.case)),
        Event::CaseClosed(closed) => Ok(Some(closed.case)),
        Event::MaintenancePredicted(prediction) => Ok(Some(prediction.case)),
        Event::DecisionRequired(required) => Ok(required.proposal.case),
        Event::MaintenanceRequested(requested) => Ok(requested.proposal.case),
        Event::MaintenanceApproved(approved) => Ok(approved.proposal.case),
        Event::MaintenanceDeclined(declined) => Ok(declined.proposal.case),
        Event::MaintenanceScheduled(order) => Ok(order.proposal.case),
        Event::SchedulingFailed(failed) => Ok(failed.proposal.case),
        Event::MaintenanceCompleted(completed) => Ok(completed.case),
        Event::WorkOrderStarted(started) => Ok(started.case),
        Event::WorkOrderHeld(held) => Ok(held.case),
        Event::WorkOrderCancelled(cancelled) => Ok(cancelled.case),
        Event::RepairVerified(verified) => Ok(verified.case),
        Event::ApprovalWithdrawn(withdrawn) => Ok(withdrawn.proposal.case),
        Event::CaseAcknowledged(acknowledged) => Ok(Some(acknowledged.case)),
        Event::CaseShelved(shelved) => Ok(Some(shelved.case)),
        Event::CaseUnshelved(unshelved) => Ok(Some(unshelved.case)),
        Event::FeedbackReceived(feedback) => Ok(Some(feedback.case)),
        Event::LogEntryWritten(entry) => Ok(entry.case),
        Event::DecisionReceived(received) => decisions::case_of(tx, &received.request).await,
        Event::DecisionExpired(expired) => decisions::case_of(tx, &expired.request).await,
        Event::NotificationRequested(_)
        | Event::NotificationSent(_)
        | Event::NotificationFailed(_)
        | Event::FeedbackLearned(_)
        | Event::DetectorRated(_) => match event.cause {
            Some(cause) => cases::of_event(tx, cause).await,
            None => Ok(None),
        },
        _ => Ok(None),
    }
}
