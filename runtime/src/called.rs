//! The actor behind an agent that is called, and the port to it.

use crate::Shared;
use crate::agent::Called;
use crate::slot::{Slot, State};
use crate::tree::Life;
use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, MessagingErr};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The way to an agent that is called. It stays while incarnations come and go.
pub struct Port<Q: Send + 'static> {
    slot: Arc<Slot>,
    door: Arc<ArcSwapOption<ActorRef<Ask<Q>>>>,
}

impl<Q: Send + 'static> Clone for Port<Q> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), door: Arc::clone(&self.door) }
    }
}

impl<Q: Send + 'static> std::fmt::Debug for Port<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("name", &self.slot.name).finish_non_exhaustive()
    }
}

impl<Q: Send + 'static> Port<Q> {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, door: Arc::default() }
    }

    /// Hands `request` over without waiting.
    ///
    /// # Errors
    ///
    /// The request itself, when the agent is paused or between two incarnations: try again soon.
    pub fn send(&self, request: Q) -> Result<(), Q> {
        if self.slot.paused.load(Ordering::SeqCst) {
            return Err(request);
        }
        let door = self.door.load();
        let Some(agent) = door.as_ref() else { return Err(request) };
        self.slot.mailbox.fetch_add(1, Ordering::SeqCst);
        agent.cast(Ask(request)).map_err(|error| {
            self.slot.mailbox.fetch_sub(1, Ordering::SeqCst);
            match error {
                MessagingErr::SendErr(Ask(request)) => request,
                other => unreachable!("a cast fails only because the actor is gone, not with {other}"),
            }
        })
    }
}

struct Ask<Q>(Q);

struct Desk<C>(PhantomData<fn() -> C>);

struct Sitting<C: Called> {
    agent: Arc<C>,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
}

impl<C: Called> Actor for Desk<C> {
    type Msg = Ask<C::Request>;
    type State = Sitting<C>;
    type Arguments = Sitting<C>;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        sitting: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(sitting)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        Ask(request): Self::Msg,
        sitting: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        sitting.slot.mailbox.fetch_sub(1, Ordering::SeqCst);
        // A request that is dropped on the way tells its caller that the outcome is unknown.
        sitting.slot.busy(sitting.shared.settings.handle_deadline());
        sitting.shared.faults.strike(C::NAME, None).await?;
        sitting.agent.call(request, sitting.shared.clock.now());
        sitting.slot.idle();
        Ok(())
    }
}

pub(crate) async fn spawn<C: Called>(
    agent: Arc<C>,
    slot: Arc<Slot>,
    port: Port<C::Request>,
    shared: Arc<Shared>,
    supervisor: ActorCell,
) -> Result<Life, String> {
    // The mailbox of the previous incarnation is gone, and with it what was in it.
    slot.mailbox.store(0, Ordering::SeqCst);
    slot.idle();
    let sitting = Sitting { agent, slot: Arc::clone(&slot), shared };
    let (actor, task) = Actor::spawn_linked(None, Desk::<C>(PhantomData), sitting, supervisor)
        .await
        .map_err(|error| error.to_string())?;
    let cell = actor.get_cell();
    port.door.store(Some(Arc::new(actor)));
    slot.set_state(State::Running);
    Ok(Life { cell, task: task.abort_handle() })
}
