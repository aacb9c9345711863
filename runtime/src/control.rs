//! What an operator can do to an agent, and what will queue up meanwhile.

use crate::Runtime;
use crate::slot::{Kind, Slot, State};
use crate::supervisor::Message;
use domain::event::Control;
use domain::{CorrelationId, Event, EventId, Seq, Timestamp};
use persistence::StoreError;
use persistence::unit::{NewEvent, Refused};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Newest events from which the inflow of an agent is estimated.
const SAMPLE_EVENTS: usize = 2_048;

/// What waits for an agent, and what will if it rests.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Outlook {
    /// The agent.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// Events in the log that it has not seen yet.
    pub waiting: i64,
    /// Events for it among the newest in the log, by type.
    pub hears: BTreeMap<&'static str, u64>,
    /// Time that these newest events span, in seconds.
    pub sample_seconds: f64,
    /// Events for it per minute, at the pace of that time: what will queue up in each minute of rest.
    pub per_minute: f64,
    /// What becomes of work meanwhile.
    pub meanwhile: &'static str,
}

impl Runtime {
    /// What will queue up if the agent called `name` rests; `None` if there is no such agent.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn outlook(&self, name: &str) -> Result<Option<Outlook>, StoreError> {
        let Some(slot) = self.controllable(name) else { return Ok(None) };
        let log = self.shared.store.log();
        let newest = log.after(Seq((log.head().0 - SAMPLE_EVENTS as i64).max(0)), SAMPLE_EVENTS).await?;
        let mut hears: BTreeMap<&'static str, u64> = BTreeMap::new();
        for envelope in newest.iter().filter(|envelope| (slot.accepts)(&envelope.event)) {
            *hears.entry(envelope.event.name()).or_default() += 1;
        }
        let sample_seconds =
            newest.first().map_or(0.0, |first| self.shared.clock.now().duration_since(first.at).as_secs_f64().max(1.0));
        let n_heard: u64 = hears.values().sum();
        let per_minute = if newest.is_empty() { 0.0 } else { n_heard as f64 * 60.0 / sample_seconds };
        let meanwhile = match slot.kind {
            Kind::Called => "requests to it are answered 503 with Retry-After; nothing queues up",
            _ => "its events wait in the log, for as long as there is room on the disk; nothing is lost",
        };
        let status = self.status_of(&slot).await?;
        let waiting = status.lag;
        Ok(Some(Outlook {
            name: slot.name,
            state: status.state,
            waiting,
            hears,
            sample_seconds,
            per_minute,
            meanwhile,
        }))
    }

    /// Does `action` to the agent called `name`, as `by` wishes. False if there is none.
    ///
    /// # Errors
    ///
    /// The change could not be stored.
    pub async fn control(&self, name: &str, action: Control, by: &str) -> Result<bool, Refused> {
        let Some(slot) = self.controllable(name) else { return Ok(false) };
        // An agent that is called has nothing to catch up with: what it has taken is with the writer already.
        let action = if slot.kind == Kind::Called && action == Control::Drain { Control::Pause } else { action };
        let up_to = (action == Control::Drain).then(|| self.shared.store.log().head());
        let note = note(self.shared.clock.now(), slot.name, action, by, up_to);
        self.shared.store.append(vec![note], None).await?;
        match action {
            Control::Pause => slot.hold(true, None),
            Control::Resume => slot.hold(false, None),
            Control::Drain => slot.hold(false, up_to),
            Control::Restart => {
                let asked = ractor::call!(self.supervisor, |reply| Message::Restart { name: name.to_owned(), reply });
                return Ok(asked.unwrap_or(false));
            }
        }
        slot.wake();
        Ok(true)
    }

    fn controllable(&self, name: &str) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        slots.iter().find(|slot| slot.name == name && slot.kind != Kind::Essential).cloned()
    }
}

/// Who did what to an agent.
pub(crate) fn note(at: Timestamp, agent: &str, action: Control, by: &str, up_to: Option<Seq>) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::now_v7()),
        cause: None,
        correlation: CorrelationId::new(Uuid::new_v4().to_string()),
        traceparent: None,
        source: "supervisor".into(),
        at,
        event: Event::AgentControlled { agent: agent.to_owned(), action, by: by.to_owned(), up_to },
    }
}
