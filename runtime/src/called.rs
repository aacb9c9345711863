//! The actor behind an agent that is called, and the port to it.
//!
//! Requests wait beside the actor, not in its mailbox, which goes away with an incarnation: the next one goes on with
//! them, and one that blocks its thread holds up no more than the request in its hands.

use crate::Shared;
use crate::agent::Called;
use crate::slot::{Slot, State};
use crate::tree::Life;
use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The way to an agent that is called. It stays while incarnations come and go.
pub struct Port<Q: Send + 'static> {
    slot: Arc<Slot>,
    door: Arc<ArcSwapOption<ActorRef<Ask>>>,
    /// In order. Whoever calls bounds what is under way before it gets here. A leaf lock: never held across an await.
    waiting: Arc<Mutex<VecDeque<Q>>>,
}

impl<Q: Send + 'static> Clone for Port<Q> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), door: Arc::clone(&self.door), waiting: Arc::clone(&self.waiting) }
    }
}

impl<Q: Send + 'static> std::fmt::Debug for Port<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("name", &self.slot.name).finish_non_exhaustive()
    }
}

impl<Q: Send + 'static> Port<Q> {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, door: Arc::default(), waiting: Arc::default() }
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
        let mut waiting = self.waiting();
        let door = self.door.load();
        // Announced while the lock is held: whoever hears of it finds it.
        if door.as_ref().is_none_or(|agent| agent.cast(Ask).is_err()) {
            return Err(request);
        }
        waiting.push_back(request);
        self.count(&waiting);
        Ok(())
    }

    /// Opens the door to a new incarnation, which goes on with what waits.
    fn open(&self, agent: ActorRef<Ask>) {
        let waiting = self.waiting();
        // One that has ended already is started anew, and so is this.
        let announced = waiting.iter().all(|_| agent.cast(Ask).is_ok());
        tracing::debug!(agent = self.slot.name, n_requests = waiting.len(), announced, "requests go on");
        self.door.store(Some(Arc::new(agent)));
        self.count(&waiting);
    }

    fn take(&self) -> Option<Q> {
        let mut waiting = self.waiting();
        let request = waiting.pop_front();
        self.count(&waiting);
        request
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Q>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, waiting: &VecDeque<Q>) {
        self.slot.mailbox.store(waiting.len() as u64, Ordering::SeqCst);
    }
}

/// A request waits.
struct Ask;

struct Desk<C>(PhantomData<fn() -> C>);

struct Sitting<C: Called> {
    agent: Arc<C>,
    generation: u64,
    slot: Arc<Slot>,
    port: Port<C::Request>,
    shared: Arc<Shared>,
}

impl<C: Called> Actor for Desk<C> {
    type Msg = Ask;
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
        Ask: Self::Msg,
        sitting: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if !sitting.slot.is_current(sitting.generation) {
            return Err("abandoned: another incarnation is at work".into());
        }
        // A request that is dropped on the way tells its caller that the outcome is unknown.
        let Some(request) = sitting.port.take() else { return Ok(()) };
        sitting.slot.busy(sitting.shared.settings.handle_deadline());
        sitting.shared.faults.strike(C::NAME, None).await?;
        sitting.agent.call(request, sitting.shared.clock.now());
        if sitting.slot.is_current(sitting.generation) {
            sitting.slot.idle();
        }
        // The writer and the caller were woken, and one of them waits for this thread alone (tokio keeps the last task
        // that was woken for its waker's thread). They go first, in case that the next request blocks it.
        tokio::task::yield_now().await;
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
    slot.idle();
    let generation = slot.generation.load(Ordering::SeqCst);
    let sitting = Sitting { agent, generation, slot: Arc::clone(&slot), port: port.clone(), shared };
    let (actor, task) = Actor::spawn_linked(None, Desk::<C>(PhantomData), sitting, supervisor)
        .await
        .map_err(|error| error.to_string())?;
    let cell = actor.get_cell();
    port.open(actor);
    slot.set_state(State::Running);
    Ok(Life { cell, task: task.abort_handle() })
}
