//! Keeps the history of what was planned and done, a line each, in words.
//!
//! Takes in: `MaintenanceScheduled`, `SchedulingFailed`, `MaintenanceDeclined`, `WorkOrderStarted`, `WorkOrderHeld`,
//! `WorkOrderCancelled`, `MaintenanceCompleted`, `RepairVerified`, `ApprovalWithdrawn`.
//! Emits: `LogEntryWritten`. Remembers: nothing; figures over the history are counted from the store.

use domain::close_out::CloseOut;
use domain::decision::{By, Declined};
use domain::work_order::{
    Cancelled, Completed, Held, LogEntry, LogKind, Scheduled, SchedulingFailed, Started, Verified, Withdrawn,
};
use domain::{AssetId, CaseId, Event, Timestamp, WorkOrderId};
use runtime::{Agent, Ctx, Failure};
use serde::Deserialize;

/// `[agents.maintenance_log]`: there is nothing to set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// The agent.
pub struct MaintenanceLog;

/// What it hears.
pub enum Message {
    /// A repair was booked.
    Scheduled(Box<Scheduled>),
    /// It could not be.
    SchedulingFailed(SchedulingFailed),
    /// A person decided against it.
    Declined(Declined),
    /// It was done.
    Completed(Completed),
    /// It began, or went on.
    Started(Started),
    /// It rests.
    Held(Held),
    /// It was called off.
    Cancelled(Cancelled),
    /// It helped.
    Verified(Verified),
    /// It is not needed any more.
    Withdrawn(Withdrawn),
}

impl Agent for MaintenanceLog {
    const NAME: &'static str = "maintenance_log";
    type Settings = Settings;
    type Deps = ();
    type State = ();
    type Message = Message;

    fn start(_: Settings, (): ()) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::MaintenanceScheduled(scheduled) => Some(Message::Scheduled(Box::new(scheduled.clone()))),
            Event::SchedulingFailed(failed) => Some(Message::SchedulingFailed(failed.clone())),
            Event::MaintenanceDeclined(declined) => Some(Message::Declined(declined.clone())),
            Event::MaintenanceCompleted(completed) => Some(Message::Completed(completed.clone())),
            Event::WorkOrderStarted(started) => Some(Message::Started(started.clone())),
            Event::WorkOrderHeld(held) => Some(Message::Held(held.clone())),
            Event::WorkOrderCancelled(cancelled) => Some(Message::Cancelled(cancelled.clone())),
            Event::RepairVerified(verified) => Some(Message::Verified(verified.clone())),
            Event::ApprovalWithdrawn(withdrawn) => Some(Message::Withdrawn(withdrawn.clone())),
            _ => None,
        }
    }

    async fn handle(&self, (): &mut (), message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        ctx.emit(Event::LogEntryWritten(line(message, ctx.now())));
        Ok(())
    }
}

fn line(message: Message, at: Timestamp) -> LogEntry {
    match message {
        Message::Scheduled(scheduled) => {
            let Scheduled { work_order, proposal, technician, start_at, end_at, reason, .. } = *scheduled;
            let what = proposal.maintenance_type;
            LogEntry {
                asset: proposal.asset,
                case: proposal.case,
                work_order: Some(work_order),
                kind: LogKind::Scheduled,
                at,
                text: format!("{what} booked for {technician} from {start_at} to {end_at}: {reason}"),
            }
        }
        Message::SchedulingFailed(SchedulingFailed { proposal, reasons, covered_by, .. }) => LogEntry {
            text: format!("{} not booked: {}", proposal.maintenance_type, reasons.join("; ")),
            asset: proposal.asset,
            case: proposal.case,
            work_order: covered_by,
            kind: LogKind::SchedulingFailed,
            at,
        },
        Message::Declined(Declined { proposal, by, reason, .. }) => LogEntry {
            text: format!("{} declined by {}: {reason}", proposal.maintenance_type, name(&by)),
            asset: proposal.asset,
            case: proposal.case,
            work_order: None,
            kind: LogKind::Declined,
            at,
        },
        Message::Completed(done) => {
            let lasted = done.duration_hours.map_or_else(String::new, |hours| format!(" after {hours:.1} h"));
            let found = if done.fault_found { "a fault was found" } else { "no fault was found" };
            let codes = done.close_out.map_or_else(String::new, |CloseOut { mode, cause, action }| {
                format!(" (mode {}, cause {}, action {})", mode.as_str(), cause.as_str(), action.as_str())
            });
            let notes = if done.notes.trim().is_empty() { String::new() } else { format!(": {}", done.notes.trim()) };
            LogEntry {
                text: format!(
                    "completed by {} at {}{lasted}, {found}{codes}{notes}",
                    done.technician, done.completed_at
                ),
                asset: done.asset,
                case: done.case,
                work_order: Some(done.work_order),
                kind: LogKind::Completed,
                at,
            }
        }
        Message::Started(Started { work_order, case, asset, by, reason }) => {
            step((asset, case, work_order), LogKind::Started, at, format!("work begun, says {by}"), reason)
        }
        Message::Held(Held { work_order, case, asset, by, reason }) => {
            step((asset, case, work_order), LogKind::Held, at, format!("work rests, says {by}"), Some(reason))
        }
        Message::Cancelled(Cancelled { work_order, case, asset, by, reason }) => {
            step((asset, case, work_order), LogKind::Cancelled, at, format!("called off by {by}"), Some(reason))
        }
        Message::Verified(Verified { work_order, case, asset, by, since, reason, .. }) => {
            let text = format!("verified by {by}: a new baseline begins at {since}");
            step((asset, case, work_order), LogKind::Verified, at, text, reason)
        }
        Message::Withdrawn(Withdrawn { proposal, reason, .. }) => LogEntry {
            text: format!("{} not booked any more: {reason}", proposal.maintenance_type),
            asset: proposal.asset,
            case: proposal.case,
            work_order: None,
            kind: LogKind::Withdrawn,
            at,
        },
    }
}

/// A line about a step that somebody took with an order.
fn step(
    (asset, case, work_order): (AssetId, Option<CaseId>, WorkOrderId),
    kind: LogKind,
    at: Timestamp,
    what: String,
    reason: Option<String>,
) -> LogEntry {
    let text = match reason.as_deref().map(str::trim) {
        None | Some("") => what,
        Some(reason) => format!("{what}: {reason}"),
    };
    LogEntry { asset, case, work_order: Some(work_order), kind, at, text }
}

fn name(by: &By) -> &str {
    match by {
        By::Policy => "the approval policy",
        By::Person(name) => name,
        By::Expiry => "a question that nobody answered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::Priority;
    use domain::decision::Proposal;
    use domain::{CaseId, EventId, WorkOrderId};
    use runtime::bench::Bench;
    use uuid::Uuid;

    fn proposal() -> Proposal {
        Proposal {
            case: Some(CaseId(Uuid::from_u128(1))),
            asset: "pump-1".into(),
            sensor: "pump-1/t".into(),
            maintenance_type: "preventive".to_owned(),
            priority: Priority::Low,
            due_at: None,
            confidence: 0.9,
            recommended_actions: Vec::new(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    async fn entry(event: Event) -> LogEntry {
        let mut bench = Bench::<MaintenanceLog>::start(Settings {}, ());
        let said = bench.feed(event).await;
        let [Event::LogEntryWritten(entry)] = &said[..] else { panic!("one line is written, not {said:?}") };
        assert_eq!((entry.asset.as_str(), entry.at), ("pump-1", bench.now()));
        assert_eq!(entry.case, proposal().case);
        entry.clone()
    }

    #[tokio::test]
    async fn a_booking_is_told_with_its_reason() {
        let order = WorkOrderId(Uuid::from_u128(2));
        let entry = entry(Event::MaintenanceScheduled(Scheduled {
            work_order: order,
            approval: EventId(Uuid::from_u128(3)),
            proposal: proposal(),
            technician: "tech_001".into(),
            start_at: at("2026-01-05T08:00:00Z"),
            end_at: at("2026-01-05T10:00:00Z"),
            skills: Vec::new(),
            score: 1.0,
            reason: "first free slot".to_owned(),
            satisfied: Vec::new(),
            violated: Vec::new(),
            alternatives: Vec::new(),
        }))
        .await;
        assert_eq!((entry.kind, entry.work_order), (LogKind::Scheduled, Some(order)));
        assert_eq!(
            entry.text,
            "preventive booked for tech_001 from 2026-01-05T08:00:00Z to 2026-01-05T10:00:00Z: first free slot"
        );
    }

    #[tokio::test]
    async fn a_failed_booking_names_the_order_that_covers_it() {
        let covered_by = Some(WorkOrderId(Uuid::from_u128(2)));
        let entry = entry(Event::SchedulingFailed(SchedulingFailed {
            approval: EventId(Uuid::from_u128(3)),
            proposal: proposal(),
            reasons: vec!["there is an order".to_owned(), "it is open".to_owned()],
            covered_by,
        }))
        .await;
        assert_eq!((entry.kind, entry.work_order), (LogKind::SchedulingFailed, covered_by));
        assert_eq!(entry.text, "preventive not booked: there is an order; it is open");
    }

    #[tokio::test]
    async fn a_refusal_names_who_refused() {
        let entry = entry(Event::MaintenanceDeclined(Declined {
            request: "r".into(),
            proposal: proposal(),
            by: By::Person("ana".to_owned()),
            reason: "it is fine".to_owned(),
        }))
        .await;
        assert_eq!((entry.kind, entry.text.as_str()), (LogKind::Declined, "preventive declined by ana: it is fine"));
    }

    #[tokio::test]
    async fn a_close_out_says_whether_a_fault_was_found() {
        let done = Completed {
            work_order: WorkOrderId(Uuid::from_u128(2)),
            case: proposal().case,
            asset: "pump-1".into(),
            technician: "tech_001".into(),
            completed_at: at("2026-01-05T09:30:00Z"),
            duration_hours: Some(1.5),
            fault_found: true,
            notes: " bearing replaced ".to_owned(),
            close_out: None,
            by: None,
        };
        let found = entry(Event::MaintenanceCompleted(done.clone())).await;
        assert_eq!(found.kind, LogKind::Completed);
        assert_eq!(
            found.text,
            "completed by tech_001 at 2026-01-05T09:30:00Z after 1.5 h, a fault was found: bearing replaced"
        );
        let nothing = Completed { fault_found: false, duration_hours: None, notes: String::new(), ..done };
        let nothing = entry(Event::MaintenanceCompleted(nothing)).await;
        assert_eq!(nothing.text, "completed by tech_001 at 2026-01-05T09:30:00Z, no fault was found");
    }

    #[tokio::test]
    async fn each_step_of_an_order_is_told_with_who_took_it_and_why() {
        let work_order = WorkOrderId(Uuid::from_u128(2));
        let (case, asset, by) = (proposal().case, AssetId::from("pump-1"), "shift".to_owned());
        let held = Held { work_order, case, asset, by, reason: "no seal in stock".to_owned() };
        let told = entry(Event::WorkOrderHeld(held.clone())).await;
        assert_eq!((told.kind, told.text.as_str()), (LogKind::Held, "work rests, says shift: no seal in stock"));
        let Held { asset, by, .. } = held;
        let told = entry(Event::WorkOrderStarted(Started { work_order, case, asset, by, reason: None })).await;
        assert_eq!((told.kind, told.text.as_str()), (LogKind::Started, "work begun, says shift"));
        assert_eq!(told.work_order, Some(work_order));
    }
}
