//! The writer in its steps: what is submitted is applied, committed, published and answered.

use super::Bug;
use super::disk::{Fresh, Kind, Memory, Tables};
use super::host::Said;
use super::world::World;
use domain::{CorrelationId, Envelope, Event, EventId, Seq, Timestamp};
use persistence::consumers::Stored;
use persistence::in_hand::Held;
use persistence::tail::Committed;
use persistence::unit::Incarnation;
use runtime::rules::passage::Mark;
use std::sync::Arc;
use uuid::Uuid;

/// Units that the writer takes at once.
const GROUP: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    pub(super) seq: Seq,
    pub(super) attempts: u32,
}

/// What is handed to the writer.
#[derive(Clone, Debug)]
pub(super) enum Unit {
    Append {
        key: u32,
    },
    Begin {
        agent: usize,
        charged: bool,
        held: Option<Held>,
    },
    /// `halves` tells that its first half was committed already: only with a bug.
    Agent {
        agent: usize,
        epoch: i64,
        from: Seq,
        mark: Mark,
        said: Said,
        letter: Option<Letter>,
        halves: bool,
    },
    Rest {
        agent: usize,
        epoch: i64,
    },
    Checkpoint {
        agent: usize,
        epoch: i64,
        cursor: Seq,
        memory: Memory,
    },
    Fire {
        now: u64,
        deleted: Vec<(usize, u32)>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Begun(Incarnation),
    Done,
    Fenced,
    Unavailable,
}

/// What the writer is about to do.
#[derive(Debug, Default)]
pub(super) enum Writing {
    #[default]
    Idle,
    Apply(Vec<(u64, Unit)>),
    Commit(Staged),
    Publish(Staged),
    Answer(Staged),
    /// It failed and is started again.
    Down,
}

#[derive(Debug)]
pub(super) struct Staged {
    tables: Tables,
    events: Vec<(Arc<Envelope>, Kind)>,
    replies: Vec<(u64, Reply)>,
    /// Second halves, only with a bug.
    later: Vec<(u64, Unit)>,
}

impl World {
    pub(super) fn submit(&mut self, unit: Unit) -> u64 {
        self.next_unit += 1;
        self.queue.push_back((self.next_unit, unit));
        self.next_unit
    }

    pub(super) fn write(&mut self) -> Result<(), String> {
        self.writing = match std::mem::take(&mut self.writing) {
            Writing::Idle if self.queue.is_empty() => Writing::Idle,
            Writing::Idle => {
                let n_units = self.queue.len().min(GROUP);
                Writing::Apply(self.queue.drain(..n_units).collect())
            }
            Writing::Apply(group) => {
                let staged = self.stage(group);
                match self.bug {
                    Some(Bug::AnswerBeforeCommit) => self.answer(staged.replies.clone()),
                    Some(Bug::PublishedBeforeCommit) => self.publish(&staged),
                    _ => {}
                }
                Writing::Commit(staged)
            }
            Writing::Commit(staged) => {
                if self.stormy && self.one_in(40) {
                    // The disk fails, before or after the commit took place: nobody knows which.
                    if self.one_in(2) {
                        self.disk.commit(staged.tables.clone(), &staged.events)?;
                    }
                    let units: Vec<u64> = staged.replies.iter().map(|(unit, _)| *unit).collect();
                    self.answer(units.into_iter().map(|unit| (unit, Reply::Unavailable)).collect());
                    let waiting: Vec<u64> = self.queue.drain(..).map(|(unit, _)| unit).collect();
                    self.answer(waiting.into_iter().map(|unit| (unit, Reply::Unavailable)).collect());
                    Writing::Down
                } else {
                    self.disk.commit(staged.tables.clone(), &staged.events)?;
                    self.writer_head = Seq(self.writer_head.0 + staged.events.len() as i64);
                    Writing::Publish(staged)
                }
            }
            Writing::Publish(mut staged) => {
                self.publish(&staged);
                for unit in std::mem::take(&mut staged.later).into_iter().rev() {
                    self.queue.push_front(unit);
                }
                Writing::Answer(staged)
            }
            Writing::Answer(staged) => {
                self.answer(staged.replies);
                Writing::Idle
            }
            Writing::Down => {
                if self.bug != Some(Bug::HeadNotReread) {
                    self.writer_head = self.disk.head();
                    if self.head != self.writer_head {
                        self.tail.clear();
                        self.head = self.writer_head;
                    }
                }
                Writing::Idle
            }
        };
        Ok(())
    }

    fn answer(&mut self, replies: Vec<(u64, Reply)>) {
        self.replies.extend(replies);
        self.hear_answers();
    }

    fn publish(&mut self, staged: &Staged) {
        let Some((newest, _)) = staged.events.last() else { return };
        if newest.seq <= self.head {
            return;
        }
        self.head = newest.seq;
        self.published.extend(staged.events.iter().map(|(envelope, kind)| (envelope.id, *kind)));
        let committed = |(envelope, _): &(Arc<Envelope>, Kind)| Committed {
            envelope: Arc::clone(envelope),
            readings: None,
            n_bytes: 1,
        };
        self.tail.push(staged.events.iter().map(committed).collect());
    }

    /// What a group of units changes.
    fn stage(&mut self, group: Vec<(u64, Unit)>) -> Staged {
        let tables = self.disk.tables.clone();
        let mut staged = Staged { tables, events: Vec::new(), replies: Vec::new(), later: Vec::new() };
        for (id, unit) in group {
            let reply = self.apply(id, unit, &mut staged);
            staged.replies.extend(reply.map(|reply| (id, reply)));
        }
        staged
    }

    fn record(&self, staged: &mut Staged, Fresh { id, kind }: Fresh) {
        let seq = Seq(self.writer_head.0 + 1 + staged.events.len() as i64);
        let envelope = Envelope {
            seq,
            id,
            cause: None,
            correlation: CorrelationId::from(String::new()),
            at: Timestamp::UNIX_EPOCH,
            source: String::new(),
            version: 1,
            traceparent: None,
            event: Event::TimerDue { agent: String::new(), key: String::new() },
        };
        staged.events.push((Arc::new(envelope), kind));
    }

    fn apply(&mut self, id: u64, unit: Unit, staged: &mut Staged) -> Option<Reply> {
        let tables = &mut staged.tables;
        match unit {
            Unit::Append { key } => {
                let known = match self.bug {
                    Some(Bug::KeysInMemory) => !self.known_keys.insert(key),
                    _ => !tables.keys.insert(key),
                };
                if !known {
                    // A second time would be another event of the same request.
                    let id = EventId(Uuid::from_u128((u128::from(key) << 64) + u128::from(self.next_unit) * 4));
                    self.record(staged, Fresh { id, kind: Kind::Request { key } });
                }
            }
            Unit::Begin { agent, charged, held } => {
                let head = Seq(self.writer_head.0 + staged.events.len() as i64);
                let incarnation = match tables.consumers[agent] {
                    Some(stored) => stored.next(charged, head, held),
                    None => Incarnation { epoch: 1, cursor: Seq(0), attempts: 1, alone_until: Seq(0) },
                };
                let Incarnation { epoch, cursor, attempts, alone_until, .. } = incarnation;
                tables.consumers[agent] = Some(Stored { cursor, epoch, attempts, clean: false, alone_until });
                return Some(Reply::Begun(incarnation));
            }
            Unit::Agent { agent, epoch, from, mark, said, letter, halves } => {
                let row = tables.consumers[agent].as_mut()?;
                let holds = row.epoch == epoch && row.cursor == from;
                if !halves && !holds && self.bug != Some(Bug::NoGuard) {
                    return Some(Reply::Fenced);
                }
                let again = |halves| Unit::Agent { agent, epoch, from, mark, said: said.clone(), letter, halves };
                let (cursor, effects) = match self.bug {
                    Some(Bug::CursorBeforeEffects) if !said.events.is_empty() => (!halves, halves),
                    Some(Bug::EffectsBeforeCursor) if !said.events.is_empty() => (halves, !halves),
                    _ => (true, true),
                };
                if !(halves || cursor && effects) {
                    staged.later.push((id, again(true)));
                }
                if cursor {
                    (row.cursor, row.attempts) = (mark.to, mark.attempts);
                    if let Some(letter) = letter {
                        tables.buried.insert((agent, letter.seq), letter.attempts);
                    }
                }
                if effects {
                    tables.timers.extend(said.timers.iter().map(|(key, due)| ((agent, *key), *due)));
                    for event in &said.events {
                        self.record(staged, *event);
                    }
                }
                if !(halves || cursor && effects) {
                    return None;
                }
            }
            Unit::Rest { agent, epoch } => match tables.consumers[agent].as_mut().filter(|row| row.epoch == epoch) {
                Some(row) => row.clean = true,
                None => return Some(Reply::Fenced),
            },
            Unit::Checkpoint { agent, epoch, cursor, memory } => {
                let row = tables.consumers[agent]?;
                if row.epoch == epoch && cursor <= row.cursor {
                    tables.checkpoints[agent] = Some((cursor, memory));
                }
            }
            Unit::Fire { now, deleted } => {
                let due: Vec<(usize, u32)> = match self.bug {
                    Some(Bug::TimerDeletedFirst) if deleted.is_empty() => {
                        let due: Vec<_> =
                            tables.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
                        tables.timers.retain(|_, at| now < *at);
                        if !due.is_empty() {
                            staged.later.push((id, Unit::Fire { now, deleted: due }));
                            return None;
                        }
                        due
                    }
                    Some(Bug::TimerDeletedFirst) => deleted,
                    _ => {
                        let due = tables.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
                        tables.timers.retain(|_, at| now < *at);
                        due
                    }
                };
                for (agent, key) in due {
                    let id = EventId(Uuid::from_u128((u128::from(key) << 64) + (1 << 60) + u128::from(id) * 4));
                    self.record(staged, Fresh { id, kind: Kind::Due { agent, key } });
                }
            }
        }
        Some(Reply::Done)
    }

    /// Events after `cursor`, from the tail or from the table, as the log gives them.
    pub(super) fn read(&self, cursor: Seq, limit: usize) -> Result<Vec<Arc<Envelope>>, String> {
        if self.head <= cursor {
            return Ok(Vec::new());
        }
        let events = self.tail.after(cursor, limit).unwrap_or_else(|| {
            let skipped = usize::try_from(cursor.0).expect("a cursor is not negative");
            let head = usize::try_from(self.head.0).expect("a head is not negative").min(self.disk.log.len());
            self.disk.log[skipped.min(head)..head].iter().take(limit).cloned().collect()
        });
        match events.first() {
            Some(first) if first.seq.0 != cursor.0 + 1 => Err(format!("event {} is read after {cursor}", first.seq)),
            _ => Ok(events),
        }
    }

    pub(super) fn kind_of(&self, event: EventId) -> Kind {
        self.disk.kinds.get(&event).copied().unwrap_or_else(|| self.published[&event])
    }
}
