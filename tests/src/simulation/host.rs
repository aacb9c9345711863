//! One incarnation of an agent, in steps between which anything may happen.

use super::Bug;
use super::disk::{Fresh, Kind, Memory};
use super::world::{Harm, World};
use super::writer::{Letter, Reply, Unit};
use domain::{Envelope, EventId, Seq};
use persistence::in_hand::Held;
use persistence::unit::Incarnation;
use runtime::rules::attempts;
use runtime::rules::passage::{Mark, Next, Passage};
use runtime::rules::restart::Exit;
use std::sync::Arc;
use uuid::Uuid;

pub(super) const RULE: attempts::Settings = attempts::Settings { attempts_max: 5, attempts_fatal_max: 3 };

/// Events read at once.
const CHUNK: usize = 4;
/// Time after which a timer is due, in milliseconds.
const TIMER: u64 = 700;

/// One incarnation.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) agent: usize,
    pub(super) generation: u64,
    pub(super) step: Step,
    pub(super) place: Option<Place>,
    /// Wake-ups in its mailbox.
    pub(super) mailbox: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) epoch: i64,
    pub(super) passage: Passage,
    pub(super) memory: Memory,
    handled: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) events: Vec<Fresh>,
    pub(super) timers: Vec<(u32, u64)>,
}

/// What it is doing.
#[derive(Debug)]
pub(super) enum Step {
    Idle,
    /// It waits for its start to be stored.
    Beginning {
        unit: u64,
    },
    Reading,
    /// It is about to handle event `idx` of those in hand.
    Handling {
        events: Vec<Arc<Envelope>>,
        limit: usize,
        idx: usize,
        said: Said,
        claimed: bool,
    },
    /// It waits for a commit.
    Waiting {
        unit: u64,
        to: Seq,
        then: Then,
    },
    /// Over for a reason that it left behind, and not noticed yet.
    Ended(Exit),
    /// Over without a word.
    Killed,
}

/// What comes after a commit.
#[derive(Debug)]
pub(super) enum Then {
    /// The attempt at event `idx` is stored.
    Handle { events: Vec<Arc<Envelope>>, limit: usize, idx: usize },
    /// Event `idx` is given up.
    Next { events: Vec<Arc<Envelope>>, limit: usize, idx: usize },
    /// The prefix of an event that failed is stored.
    Rest { attempt: u32 },
    /// The end is marked as one that was seen.
    End { attempt: u32 },
    /// The chunk is done.
    More(bool),
}

impl Host {
    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Ended(_) | Step::Killed)
    }
}

impl World {
    /// Lets host `idx` take one step. The process may end by it.
    pub(super) fn step_host(&mut self, idx: usize) -> Result<(), String> {
        let mut host = self.hosts.swap_remove(idx);
        let crashed = self.advance(&mut host)?;
        self.hosts.push(host);
        if crashed {
            self.crash();
        }
        Ok(())
    }

    fn advance(&mut self, host: &mut Host) -> Result<bool, String> {
        match std::mem::replace(&mut host.step, Step::Idle) {
            // One that was abandoned ends as soon as it waits.
            Step::Idle if self.slots[host.agent].generation != host.generation => host.step = Step::Ended(Exit::Other),
            Step::Idle if 0 < host.mailbox => {
                host.mailbox -= 1;
                self.slots[host.agent].wake.clear();
                host.step = if host.place.is_some() {
                    Step::Reading
                } else {
                    let slot = &self.slots[host.agent];
                    let charged = slot.bequest.charged() && self.bug != Some(Bug::AttemptsForgotten);
                    let held = self.in_hand[host.agent].filter(|_| self.bug != Some(Bug::UnseenEndTakenForOrderly));
                    Step::Beginning { unit: self.submit(Unit::Begin { agent: host.agent, charged, held }) }
                };
            }
            Step::Beginning { unit } => match self.replies.remove(&unit) {
                None => host.step = Step::Beginning { unit },
                Some(Reply::Begun(incarnation)) => {
                    self.slots[host.agent].bequest.settle();
                    host.place = Some(self.begun(host.agent, &incarnation)?);
                    host.step = Step::Reading;
                }
                Some(_) => host.step = Step::Ended(Exit::Unavailable),
            },
            Step::Reading => {
                let place = host.place.as_mut().ok_or("a host reads before it began")?;
                let limit = place.passage.read(CHUNK);
                let after = place.passage.scanned();
                let events = self.read(after, limit)?;
                host.step = Step::Handling { events, limit, idx: 0, said: Said::default(), claimed: false };
            }
            Step::Handling { events, limit, idx, said, claimed } => {
                return self.handle(host, events, limit, idx, said, claimed);
            }
            Step::Waiting { unit, to, then } => match self.replies.remove(&unit) {
                None => host.step = Step::Waiting { unit, to, then },
                Some(Reply::Done) => self.committed(host, to, then),
                Some(Reply::Unavailable) => host.step = Step::Ended(Exit::Unavailable),
                Some(_) => host.step = Step::Ended(Exit::Other),
            },
            step => host.step = step,
        }
        Ok(false)
    }

    /// Checkpoint and replay.
    fn begun(&self, agent: usize, incarnation: &Incarnation) -> Result<Place, String> {
        let checkpoint = self.disk.tables.checkpoints[agent].filter(|(at, _)| *at <= incarnation.cursor);
        let (at, mut memory) = checkpoint.unwrap_or_default();
        for seq in at.0 + 1..=incarnation.cursor.0 {
            let Some(envelope) = self.disk.log.get(usize::try_from(seq - 1).expect("events count from 1")) else {
                return Err(format!("the cursor of agent {agent} is past the end of the log"));
            };
            let buried = self.disk.tables.buried.contains_key(&(agent, Seq(seq)));
            if self.disk.kind(envelope.id).heard_by(agent) && (!buried || self.bug == Some(Bug::BuriedReplayed)) {
                memory.hear(envelope.id);
            }
        }
        Ok(Place { epoch: incarnation.epoch, passage: Passage::begin(incarnation, Seq(0)), memory, handled: 0 })
    }

    fn handle(
        &mut self,
        host: &mut Host,
        events: Vec<Arc<Envelope>>,
        limit: usize,
        idx: usize,
        mut said: Said,
        claimed: bool,
    ) -> Result<bool, String> {
        let agent = host.agent;
        let place = host.place.as_mut().ok_or("a host handles before it began")?;
        let Some(envelope) = events.get(idx).cloned() else {
            let more = events.len() == limit;
            host.step = match place.passage.due() {
                Some(mark) => {
                    if self.bug == Some(Bug::CheckpointAhead) {
                        self.checkpoint(agent, place);
                    }
                    self.commit(host, mark, said, None, Then::More(more))
                }
                None => self.chunk_done(host, more),
            };
            return Ok(false);
        };
        // One that was abandoned begins with nothing more, and may still commit what it has done.
        if self.slots[agent].generation != host.generation {
            host.step = Step::Ended(Exit::Other);
            return Ok(false);
        }
        let kind = self.kind_of(envelope.id);
        if !kind.heard_by(agent) {
            place.passage.skip(envelope.seq);
            host.step = Step::Handling { events, limit, idx: idx + 1, said, claimed: false };
            return Ok(false);
        }
        match place.passage.next(&RULE, envelope.seq) {
            Next::Claim { mark } if !claimed => {
                host.step = self.commit(host, mark, Said::default(), None, Then::Handle { events, limit, idx });
                return Ok(false);
            }
            Next::GiveUp { attempts } => {
                let mark = place.passage.buried(envelope.seq);
                let letter = Letter { seq: envelope.seq, attempts };
                host.step =
                    self.commit(host, mark, Said::default(), Some(letter), Then::Next { events, limit, idx: idx + 1 });
                return Ok(false);
            }
            Next::Handle | Next::Claim { .. } => {}
        }
        self.in_hand[agent] = Some(Held { epoch: place.epoch, seq: envelope.seq });
        if self.stormy && self.one_in(200) {
            // Killed from outside, in the middle of it.
            return Ok(true);
        }
        let harm = self.harm(agent, envelope.id)?;
        self.in_hand[agent] = self.in_hand[agent].filter(|_| harm == Harm::KillsProcess);
        match harm {
            Harm::None => {
                place.memory.hear(envelope.id);
                let nth = place.memory.heard;
                let id = EventId(Uuid::from_u128(envelope.id.0.as_u128() * 4 + 1 + agent as u128));
                said.events.push(Fresh { id, kind: Kind::Said { agent, cause: envelope.id, nth } });
                if agent == 0 && matches!(kind, Kind::Request { .. }) && nth.is_multiple_of(3) {
                    let Kind::Request { key } = kind else { return Err("only requests set timers".to_owned()) };
                    said.timers.push((key, self.now + TIMER));
                }
                place.passage.handled(envelope.seq);
                place.handled += 1;
                host.step = Step::Handling { events, limit, idx: idx + 1, said, claimed: false };
            }
            Harm::Fails => {
                let failed = place.passage.failed();
                host.step = match failed.prefix {
                    Some(mark) => self.commit(host, mark, said, None, Then::Rest { attempt: failed.attempt }),
                    None => self.resting(host, failed.attempt),
                };
            }
            Harm::KillsProcess => return Ok(true),
        }
        Ok(false)
    }

    fn resting(&mut self, host: &Host, attempt: u32) -> Step {
        let place = host.place.as_ref().expect("it has begun");
        let (epoch, to) = (place.epoch, place.passage.cursor());
        Step::Waiting { unit: self.submit(Unit::Rest { agent: host.agent, epoch }), to, then: Then::End { attempt } }
    }

    fn commit(&mut self, host: &Host, mark: Mark, said: Said, letter: Option<Letter>, then: Then) -> Step {
        let place = host.place.as_ref().expect("it has begun");
        let unit = Unit::Agent {
            agent: host.agent,
            epoch: place.epoch,
            from: place.passage.cursor(),
            mark,
            said,
            letter,
            halves: false,
        };
        Step::Waiting { unit: self.submit(unit), to: mark.to, then }
    }

    fn committed(&mut self, host: &mut Host, to: Seq, then: Then) {
        let place = host.place.as_mut().expect("it has begun");
        host.step = match then {
            Then::Handle { events, limit, idx } => {
                place.passage.committed(to);
                Step::Handling { events, limit, idx, said: Said::default(), claimed: true }
            }
            Then::Next { events, limit, idx } => {
                place.passage.committed(to);
                Step::Handling { events, limit, idx, said: Said::default(), claimed: false }
            }
            Then::Rest { attempt } => {
                place.passage.committed(to);
                self.resting(host, attempt)
            }
            Then::End { attempt } => Step::Ended(Exit::Event { attempt }),
            Then::More(more) => {
                place.passage.committed(to);
                self.chunk_done(host, more)
            }
        };
    }

    fn chunk_done(&mut self, host: &mut Host, more: bool) -> Step {
        let place = host.place.as_mut().expect("it has begun");
        if 5 <= place.handled {
            place.handled = 0;
            let place = place.clone();
            self.checkpoint(host.agent, &place);
        }
        if more && self.slots[host.agent].generation == host.generation && self.slots[host.agent].wake.ask() {
            host.mailbox += 1;
        }
        Step::Idle
    }

    fn checkpoint(&mut self, agent: usize, place: &Place) {
        let (epoch, cursor, memory) = (place.epoch, place.passage.cursor(), place.memory);
        // Nobody waits for it.
        self.submit(Unit::Checkpoint { agent, epoch, cursor, memory });
    }
}
