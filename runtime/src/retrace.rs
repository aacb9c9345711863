//! What an agent would have said and remembered, had nothing ever happened to it.

use crate::Agent;
use crate::ctx::{Ctx, ReadingSource};
use crate::host::heard;
use domain::{EventId, Seq};
use persistence::Log;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;

/// Events read at once.
const CHUNK: usize = 256;

/// An agent's history beside one without interruptions.
#[derive(Clone, Debug)]
pub struct Retraced {
    /// The agent.
    pub agent: &'static str,
    /// Events that it handled.
    pub handled: u64,
    /// What it should have said and did not.
    pub missing: Vec<EventId>,
    /// What it said and should not have, or not twice.
    pub surplus: Vec<EventId>,
    /// Whether its last checkpoint holds what it should remember there; `None` without a checkpoint, or when its
    /// state cannot be compared.
    pub remembers: Option<bool>,
}

impl Retraced {
    /// Whether both histories are the same.
    pub fn is_the_same(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty() && self.remembers != Some(false)
    }
}

/// Whether a checkpoint holds `state`; `None` when neither its bytes nor its JSON can tell.
fn is_the_state<S: Serialize + DeserializeOwned>(checkpoint: &[u8], state: &S) -> anyhow::Result<Option<bool>> {
    if postcard::to_stdvec(state)? == checkpoint {
        return Ok(Some(true));
    }
    // A map without an order of its own has other bytes each time, and the same JSON.
    let kept: S = postcard::from_bytes(checkpoint)?;
    Ok(match (serde_json::to_value(&kept), serde_json::to_value(state)) {
        (Ok(kept), Ok(retraced)) => Some(kept == retraced),
        _ => None,
    })
}

/// Handles all that `agent` handled once more, from the first event to its cursor, and compares.
pub(crate) async fn retrace<A: Agent>(agent: &A, log: &Log) -> anyhow::Result<Retraced> {
    let checkpoint = log.checkpoint(A::NAME, A::STATE_VERSION).await?;
    let row = log.consumers().await?.into_iter().find(|row| row.name == A::NAME);
    let cursor = row.map_or(Seq(0), |row| row.cursor);
    let buried = log.buried(A::NAME, Seq(0)).await?;
    let mut state = A::State::default();
    let (mut expected, mut said, mut surplus) = (HashSet::new(), HashSet::new(), Vec::new());
    let (mut handled, mut remembers, mut at) = (0, None, Seq(0));
    loop {
        let events = log.after(at, CHUNK).await?;
        if events.is_empty() {
            break;
        }
        for envelope in &events {
            at = envelope.seq;
            if envelope.source == A::NAME && !said.insert(envelope.id) {
                surplus.push(envelope.id);
            }
            if cursor < envelope.seq {
                continue;
            }
            if !buried.contains(&envelope.seq) {
                let heard = heard::<A>(envelope, log).await?;
                if let Some(message) = A::accept(&heard.event) {
                    let mut ctx = Ctx::new(A::NAME, ReadingSource::Log(log.clone()), &heard);
                    agent.handle(&mut state, message, &mut ctx).await?;
                    expected.extend(ctx.into_said().events.into_iter().map(|event| event.id));
                    handled += 1;
                }
            }
            if let Some((_, bytes)) = checkpoint.as_ref().filter(|(seq, _)| *seq == envelope.seq) {
                remembers = is_the_state(bytes, &state)?;
            }
        }
    }
    surplus.extend(said.difference(&expected));
    let missing = expected.difference(&said).copied().collect();
    Ok(Retraced { agent: A::NAME, handled, missing, surplus, remembers })
}
