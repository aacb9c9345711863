//! What survives the end of the process, and what must be true of it at each commit.

use domain::{Envelope, EventId, Seq};
use persistence::consumers::Stored;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Agents in the simulation. The first hears requests and its own timers; the second what the first says.
pub(super) const AGENTS: usize = 2;

/// What an event is to the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client's request.
    Request { key: u32 },
    /// What an agent said about an event, as the so many-th it heard.
    Said { agent: usize, cause: EventId, nth: u32 },
    /// A timer of an agent ran out.
    Due { agent: usize, key: u32 },
}

impl Kind {
    /// Whether `agent` hears it.
    pub(super) fn heard_by(self, agent: usize) -> bool {
        match self {
            Self::Request { .. } => agent == 0,
            Self::Said { agent: by, .. } => by == 0 && agent == 1,
            Self::Due { agent: whose, .. } => whose == agent,
        }
    }
}

/// What an agent remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) heard: u32,
    pub(super) digest: u128,
}

impl Memory {
    pub(super) fn hear(&mut self, event: EventId) {
        self.heard += 1;
        self.digest = self.digest.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(event.0.as_u128());
    }
}

/// An event before it has its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) id: EventId,
    pub(super) kind: Kind,
}

/// The small tables, which a transaction copies and changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) consumers: [Option<Stored>; AGENTS],
    pub(super) checkpoints: [Option<(Seq, Memory)>; AGENTS],
    /// Agent, event, attempts.
    pub(super) buried: BTreeMap<(usize, Seq), u32>,
    /// When they are due, in milliseconds.
    pub(super) timers: BTreeMap<(usize, u32), u64>,
    pub(super) keys: BTreeSet<u32>,
}

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) tables: Tables,
    /// In order; the first has number 1.
    pub(super) log: Vec<Arc<Envelope>>,
    pub(super) kinds: HashMap<EventId, Kind>,
    /// Effects by agent and cause.
    effects: HashMap<(usize, EventId), u32>,
}

impl Disk {
    pub(super) fn head(&self) -> Seq {
        Seq(self.log.len() as i64)
    }

    pub(super) fn kind(&self, event: EventId) -> Kind {
        self.kinds[&event]
    }

    /// Takes a transaction over.
    ///
    /// # Errors
    ///
    /// What must not be: two events at one place, an effect twice, a cursor past an event that is neither done nor
    /// given up, attempts beyond the rule.
    pub(super) fn commit(&mut self, tables: Tables, events: &[(Arc<Envelope>, Kind)]) -> Result<(), String> {
        for (envelope, kind) in events {
            if envelope.seq != Seq(self.head().0 + 1) {
                return Err(format!("event {} follows event {}", envelope.seq, self.head()));
            }
            if self.kinds.insert(envelope.id, *kind).is_some() {
                return Err(format!("{kind:?} is in the log twice"));
            }
            self.log.push(Arc::clone(envelope));
            if let Kind::Said { agent, cause, .. } = kind {
                let times = self.effects.entry((*agent, *cause)).or_default();
                *times += 1;
                if 1 < *times {
                    return Err(format!("agent {agent} answered event {cause} twice"));
                }
            }
        }
        for agent in 0..AGENTS {
            let place = |tables: &Tables| tables.consumers[agent].map_or(Seq(0), |row| row.cursor);
            let (before, after) = (place(&self.tables), place(&tables));
            if after < before {
                return Err(format!("the cursor of agent {agent} went back from {before} to {after}"));
            }
            for seq in before.0 + 1..=after.0 {
                let event = self.log[usize::try_from(seq - 1).expect("events count from 1")].id;
                let done = self.effects.contains_key(&(agent, event));
                let buried = tables.buried.contains_key(&(agent, Seq(seq)));
                if self.kind(event).heard_by(agent) && !done && !buried {
                    return Err(format!("agent {agent} passed event {seq} without handling it"));
                }
            }
        }
        self.tables = tables;
        Ok(())
    }

    /// What `agent` would remember, had nothing ever happened to it; and what it should have said, in order.
    pub(super) fn uninterrupted(&self, agent: usize) -> (Memory, Vec<(EventId, u32)>) {
        let mut memory = Memory::default();
        let mut said = Vec::new();
        for envelope in &self.log {
            let buried = self.tables.buried.contains_key(&(agent, envelope.seq));
            if self.kind(envelope.id).heard_by(agent) && !buried {
                memory.hear(envelope.id);
                said.push((envelope.id, memory.heard));
            }
        }
        (memory, said)
    }

    /// What `agent` did say, in order.
    pub(super) fn said(&self, agent: usize) -> Vec<(EventId, u32)> {
        let said = |envelope: &Arc<Envelope>| match self.kind(envelope.id) {
            Kind::Said { agent: by, cause, nth } if by == agent => Some((cause, nth)),
            _ => None,
        };
        self.log.iter().filter_map(said).collect()
    }
}
