//! Faults on purpose, for tests of what must hold in spite of them.
//!
//! No setting, variable or option of the program leads here: a plan of faults is handed over by a program that links
//! this crate, and the one that is shipped hands none over.

use domain::Envelope;
use std::sync::Arc;
use std::time::Duration;

/// What befalls an agent while it handles an event or takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It returns an error.
    Error,
    /// It waits without end.
    Hang,
    /// It keeps its thread for so long, and goes on then.
    Block(Duration),
    /// The whole process is aborted.
    Abort,
}

type Plan = dyn Fn(&'static str, Option<&Envelope>) -> Option<Fault> + Send + Sync;

/// A plan of faults; none by default.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Plan>>);

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}

impl Faults {
    /// What `plan` says, which is asked by the name of the agent and with the event that it is about to handle; an
    /// agent that is called has none.
    pub fn planned(plan: impl Fn(&'static str, Option<&Envelope>) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(plan)))
    }

    /// Lets the planned fault happen.
    ///
    /// # Errors
    ///
    /// The plan says so.
    pub(crate) async fn strike(&self, agent: &'static str, envelope: Option<&Envelope>) -> anyhow::Result<()> {
        let Some(plan) = &self.0 else { return Ok(()) };
        match plan(agent, envelope) {
            None => Ok(()),
            Some(Fault::Panic) => panic!("a planned panic"),
            Some(Fault::Error) => Err(anyhow::anyhow!("a planned error")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Block(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(Fault::Abort) => std::process::abort(),
        }
    }
}
