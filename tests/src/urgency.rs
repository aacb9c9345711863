//! Makes a case critical when its evidence keeps coming.
//!
//! Takes in: `AnomalyValidated`. Emits: `CaseUpdated`. Remembers: how much evidence each case has.

use domain::case::{Priority, Updated};
use domain::{CaseId, Event};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[agents.urgency]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pieces of evidence that make a case critical.
    pub evidence_max: u32,
}

/// The agent.
pub struct Urgency {
    settings: Settings,
}

/// Pieces of evidence so far, by case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence(BTreeMap<CaseId, u32>);

impl Agent for Urgency {
    const NAME: &'static str = "urgency";
    type Settings = Settings;
    type Deps = ();
    type State = Evidence;
    type Message = CaseId;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        anyhow::ensure!(0 < settings.evidence_max, "evidence_max must be at least 1");
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<CaseId> {
        match event {
            Event::AnomalyValidated(validated) => validated.case,
            _ => None,
        }
    }

    async fn handle(&self, evidence: &mut Evidence, case: CaseId, ctx: &mut Ctx) -> Result<(), Failure> {
        let n_pieces = evidence.0.entry(case).or_default();
        *n_pieces += 1;
        if *n_pieces == self.settings.evidence_max {
            ctx.emit(Event::CaseUpdated(Updated {
                case,
                priority: Priority::Critical,
                reason: format!("{n_pieces} pieces of evidence"),
            }));
        }
        Ok(())
    }
}
