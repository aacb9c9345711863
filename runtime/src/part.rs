//! Essential parts: the writer, the timers, delivery, the edge.

use crate::Shared;
use crate::rules::restart::Exit;
use crate::slot::{Slot, State};
use crate::tree::Life;
use futures_util::future::BoxFuture;
use persistence::StoreError;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use std::future::Future;
use std::sync::Arc;

type Run = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;
type Stop = Box<dyn Fn() + Send + Sync>;

/// Work without end. It ends with `Ok` only after it was asked to stop.
pub struct Part {
    name: &'static str,
    run: Run,
    stop: Stop,
}

impl Part {
    /// A part called `name`. `run` is called again after an error; `stop` makes it return.
    pub fn new<F>(
        name: &'static str,
        run: impl Fn() -> F + Send + Sync + 'static,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, run: Box::new(move || Box::pin(run())), stop: Box::new(stop) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn stop(&self) {
        (self.stop)();
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Runner;

struct Go;

impl Actor for Runner {
    type Msg = Go;
    type State = (Arc<Part>, Arc<Slot>, Arc<Shared>);
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(Go)?;
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        Go: Self::Msg,
        (part, slot, shared): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        slot.set_state(State::Running);
        if let Err(error) = (part.run)().await {
            match error.downcast_ref() {
                // A store that is away for a while is no reason to end the node.
                Some(StoreError::Unavailable(_)) => slot.leave(Exit::Unavailable),
                // A disk that loses what it was given is one at once.
                Some(StoreError::Failing(_)) => shared.fail(slot.name, true),
                _ => {}
            }
            slot.note_error(shared.clock.now(), format!("{error:#}"));
            return Err(error.into());
        }
        myself.stop(None);
        Ok(())
    }
}

pub(crate) async fn spawn(
    part: Arc<Part>,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    supervisor: ActorCell,
) -> Result<Life, String> {
    let (actor, task) =
        Actor::spawn_linked(None, Runner, (part, slot, shared), supervisor).await.map_err(|error| error.to_string())?;
    Ok(Life { cell: actor.get_cell(), task: task.abort_handle() })
}
