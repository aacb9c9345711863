//! The supervision tree as data, in OTP's words.

use crate::agent::{Agent, Called, Effects};
use crate::called::{self, Port};
use crate::faults::Faults;
use crate::part::{self, Part};
use crate::retrace::{self, Retraced};
use crate::slot::{Kind, Slot};
use crate::{Shared, host};
use anyhow::Context as _;
use config::Config;
use futures_util::future::BoxFuture;
use persistence::{Log, Store};
use ractor::ActorCell;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// What runs. Children start in order and stop in reverse; each is restarted alone (`one_for_one`),
/// since the log decouples them.
#[derive(Debug, Default)]
pub struct Tree {
    pub(crate) children: Vec<Child>,
    pub(crate) faults: Faults,
}

impl Tree {
    /// A tree without children.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `children` after those that are there.
    #[must_use]
    pub fn agents(mut self, children: impl IntoIterator<Item = Child>) -> Self {
        self.children.extend(children);
        self
    }

    /// Handles all that the agents in `store` have handled once more, from the first event on, and compares what they
    /// said and what they remember with that. Meant for a store on which no node runs.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or an agent fails at an event that it once handled.
    pub async fn retrace(&self, store: &Store) -> anyhow::Result<Vec<Retraced>> {
        let mut histories = Vec::new();
        for retrace in self.children.iter().filter_map(|child| child.retrace.as_ref()) {
            histories.push(retrace(store.log().clone()).await?);
        }
        Ok(histories)
    }

    /// The same tree, harmed by `faults`: for fault tests.
    #[must_use]
    pub fn harmed_by(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Names of the children, in their order.
    pub fn names(&self) -> Vec<&'static str> {
        self.children.iter().map(|child| child.slot.name).collect()
    }
}

type Spawn = Box<dyn Fn(Arc<Shared>, ActorCell) -> BoxFuture<'static, Result<Life, String>> + Send + Sync>;

type Retrace = Box<dyn Fn(Log) -> BoxFuture<'static, anyhow::Result<Retraced>> + Send + Sync>;

/// A running incarnation, as the supervisor holds it.
pub(crate) struct Life {
    pub(crate) cell: ActorCell,
    pub(crate) task: AbortHandle,
}

impl Life {
    /// Asks the incarnation, which stands in `slot`, to finish. False when it has ended already.
    pub(crate) fn finish(&self, slot: &Slot) -> bool {
        if slot.kind == Kind::Called { self.cell.drain().is_ok() } else { slot.finish() }
    }
}

/// One child and how it is started.
pub struct Child {
    pub(crate) slot: Arc<Slot>,
    pub(crate) spawn: Spawn,
    /// Asks a part to end; hosts are asked through their slot.
    pub(crate) part: Option<Arc<Part>>,
    /// Compares its history with one without interruptions, if it has a state.
    pub(crate) retrace: Option<Retrace>,
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Child").field("name", &self.slot.name).field("kind", &self.slot.kind).finish_non_exhaustive()
    }
}

/// An agent that hears events, with its section of `config`.
///
/// # Errors
///
/// Settings that cannot be read or make no sense.
pub fn child<A: Agent>(config: &Config, deps: A::Deps) -> anyhow::Result<Child> {
    let settings = config.section(&section(A::NAME))?;
    Ok(hosted(A::start(settings, deps).with_context(|| format!("[{}]", section(A::NAME)))?))
}

/// An agent that hears events, as it is.
pub fn hosted<A: Agent>(agent: A) -> Child {
    let agent = Arc::new(agent);
    let kind = match A::EFFECTS {
        Effects::None => Kind::Agent,
        Effects::Outside { .. } => Kind::Worker,
    };
    let slot = Arc::new(Slot::new(A::NAME, kind, |event| A::accept(event).is_some()));
    let spawn: Spawn = {
        let (agent, slot) = (Arc::clone(&agent), Arc::clone(&slot));
        Box::new(move |shared, supervisor| {
            let (agent, slot) = (Arc::clone(&agent), Arc::clone(&slot));
            Box::pin(async move { host::spawn(agent, slot, shared, supervisor).await })
        })
    };
    let retrace: Retrace = Box::new(move |log| {
        let agent = Arc::clone(&agent);
        Box::pin(async move { retrace::retrace(&*agent, &log).await })
    });
    Child { slot, spawn, part: None, retrace: Some(retrace).filter(|_| kind == Kind::Agent) }
}

/// An agent that is called, with its section of `config`, and the port through which it is.
///
/// # Errors
///
/// Settings that cannot be read or make no sense.
pub fn called<C: Called>(config: &Config, deps: C::Deps) -> anyhow::Result<(Child, Port<C::Request>)> {
    let settings = config.section(&section(C::NAME))?;
    let agent = Arc::new(C::start(settings, deps).with_context(|| format!("[{}]", section(C::NAME)))?);
    let slot = Arc::new(Slot::new(C::NAME, Kind::Called, |_| false));
    let port = Port::new(Arc::clone(&slot));
    let spawn: Spawn = {
        let (slot, port) = (Arc::clone(&slot), port.clone());
        Box::new(move |shared, supervisor| {
            let (agent, slot, port) = (Arc::clone(&agent), Arc::clone(&slot), port.clone());
            Box::pin(async move { called::spawn(agent, slot, port, shared, supervisor).await })
        })
    };
    Ok((Child { slot, spawn, part: None, retrace: None }, port))
}

/// An essential part: work without end that the node cannot do without.
pub(crate) fn essential(part: Part) -> Child {
    let slot = Arc::new(Slot::new(part.name(), Kind::Essential, |_| false));
    let part = Arc::new(part);
    let spawn: Spawn = {
        let (slot, part) = (Arc::clone(&slot), Arc::clone(&part));
        Box::new(move |shared, supervisor| {
            let (slot, part) = (Arc::clone(&slot), Arc::clone(&part));
            Box::pin(async move { part::spawn(part, slot, shared, supervisor).await })
        })
    };
    Child { slot, spawn, part: Some(part), retrace: None }
}

fn section(name: &str) -> String {
    format!("agents.{name}")
}
