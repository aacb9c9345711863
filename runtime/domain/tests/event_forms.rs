//! The form of every event, pinned: adding a variant is compatible, renaming a field is a migration.

use domain::Event;

/// One line for each kind of event, as version 1 writes it. Lines are added, never changed.
const FORMS: &str = include_str!("event_forms.jsonl");

/// A new variant does not compile until it is named here, and then fails until it has its line.
fn name(event: &Event) -> &'static str {
    match event {
        Event::ReadingsAccepted(_)
        | Event::ReadingsRejected(_)
        | Event::AnomalyDetected(_)
        | Event::AnomalyValidated(_)
        | Event::CaseOpened(_)
        | Event::CaseUpdated(_)
        | Event::CaseClosed(_)
        | Event::MaintenancePredicted(_)
        | Event::DecisionRequired(_)
        | Event::DecisionReceived(_)
        | Event::DecisionExpired(_)
        | Event::MaintenanceRequested(_)
        | Event::MaintenanceApproved(_)
        | Event::MaintenanceDeclined(_)
        | Event::MaintenanceScheduled(_)
        | Event::SchedulingFailed(_)
        | Event::MaintenanceCompleted(_)
        | Event::LogEntryWritten(_)
        | Event::NotificationRequested(_)
        | Event::NotificationSent(_)
        | Event::NotificationFailed(_)
        | Event::FeedbackLearned(_)
        | Event::DriftDetected(_)
        | Event::TrainingRequested(_)
        | Event::ModelTrained(_)
        | Event::TrainingFailed(_)
        | Event::ModelPromoted(_)
        | Event::ModelRejected(_)
        | Event::ModelRegistered(_)
        | Event::ChampionChosen(_)
        | Event::ReportRequested(_)
        | Event::ReportGenerated(_)
        | Event::TimerDue { .. }
        | Event::GoldenPathStarted { .. }
        | Event::AgentControlled { .. }
        | Event::CaseAcknowledged(_)
        | Event::CaseShelved(_)
        | Event::CaseUnshelved(_)
        | Event::FeedbackReceived(_)
        | Event::WorkOrderStarted(_)
        | Event::WorkOrderHeld(_)
        | Event::WorkOrderCancelled(_)
        | Event::RepairVerified(_)
        | Event::ApprovalWithdrawn(_)
        | Event::DetectorRated(_)
        | Event::PlantImported(_)
        | Event::SiteDeclared { .. }
        | Event::AssetDeclared { .. }
        | Event::SensorDeclared { .. }
        | Event::TechnicianDeclared { .. }
        | Event::TechnicianRemoved { .. }
        | Event::AssetMaintenanceBegan(_)
        | Event::AssetMaintenanceEnded(_)
        | Event::DeadLetterReplayed { .. }
        | Event::DeadLetterDiscarded { .. }
        | Event::KeyCreated(_)
        | Event::KeyRotated(_)
        | Event::KeyRevoked(_)
        | Event::SessionOpened(_)
        | Event::SessionClosed(_) => event.name(),
    }
}

/// Kinds of events that [`name`] lists.
const N_KINDS: usize = 60;

#[test]
fn each_event_reads_and_writes_its_pinned_form() {
    for line in FORMS.lines() {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let pinned: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert_eq!(serde_json::to_value(&event).expect("an event is JSON"), pinned);
        assert_eq!(pinned["type"], name(&event), "the name in the log is the name in JSON");
    }
}

#[test]
fn each_kind_of_event_has_one_line() {
    let mut names: Vec<String> = FORMS
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).expect("a line is an event").name().to_owned())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), N_KINDS);
    // A kind that got optional fields has a line without them and one with them.
    assert!(N_KINDS <= FORMS.lines().count());
}
