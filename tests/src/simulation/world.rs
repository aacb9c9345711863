//! The process and what befalls it: clients, the writer in its steps, delivery, the supervisor, timers, time.

use super::disk::{AGENTS, Disk, Fresh, Kind, Memory, Tables};
use super::host::{Host, RULE, Said, Step};
use super::{Bug, Outcome};
use domain::{CorrelationId, Envelope, Event, EventId, Seq, Timestamp};
use persistence::consumers::Stored;
use persistence::tail::{Committed, Tail};
use persistence::unit::Incarnation;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use runtime::rules::backoff;
use runtime::rules::intensity::Intensity;
use runtime::rules::passage::Mark;
use runtime::rules::restart::{self, Bequest, Restart};
use runtime::rules::wake::Wake;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Requests that clients make in one history.
const REQUESTS: u32 = 30;
/// Steps during which things happen.
const STORMY_STEPS: u64 = 700;
/// Steps within which all must be quiet after that.
const CALM_STEPS: u64 = 60_000;
/// Events that the tail keeps: few, so that the table is read too.
const TAIL_EVENTS: usize = 6;
/// Units that the writer takes at once.
const GROUP: usize = 3;

const RESTARTS: restart::Settings = restart::Settings {
    backoff: backoff::Settings { backoff_first_ms: 100, backoff_max_ms: 30_000 },
    restarts_max: 5,
    window: Duration::from_secs(60),
    probe: Duration::from_secs(60),
};

/// What an event does to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    Fails,
    KillsProcess,
}

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
enum Writing {
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
struct Staged {
    tables: Tables,
    events: Vec<(Arc<Envelope>, Kind)>,
    replies: Vec<(u64, Reply)>,
    /// Second halves, only with a bug.
    later: Vec<(u64, Unit)>,
}

/// A child's place in the tree.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u64,
    pub(super) wake: Wake,
    pub(super) bequest: Bequest,
    exits: Intensity,
    /// When the next incarnation starts.
    start_at: Option<u64>,
}

pub(super) struct World {
    pub(super) bug: Option<Bug>,
    chance: Pcg64Mcg,
    pub(super) now: u64,
    /// When the process started.
    pub(super) started: u64,
    pub(super) disk: Disk,
    // What follows is gone when the process ends.
    pub(super) slots: [Slot; AGENTS],
    pub(super) hosts: Vec<Host>,
    pub(super) replies: BTreeMap<u64, Reply>,
    queue: VecDeque<(u64, Unit)>,
    writing: Writing,
    next_unit: u64,
    tail: Tail,
    head: Seq,
    writer_head: Seq,
    published: HashMap<EventId, Kind>,
    known_keys: BTreeSet<u32>,
    firing: Option<u64>,
    /// Units of clients: key by unit.
    asked: BTreeMap<u64, u32>,
    // What the outside world remembers.
    unanswered: BTreeSet<u32>,
    next_request: u32,
    acknowledged: BTreeSet<u32>,
    harms: HashMap<(usize, EventId), u32>,
    stormy: bool,
    outcome: Outcome,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = Self {
            bug,
            chance: Pcg64Mcg::seed_from_u64(seed),
            now: 0,
            started: 0,
            disk: Disk::default(),
            slots: Default::default(),
            hosts: Vec::new(),
            replies: BTreeMap::new(),
            queue: VecDeque::new(),
            writing: Writing::Idle,
            next_unit: 0,
            tail: Tail::new(TAIL_EVENTS, usize::MAX),
            head: Seq(0),
            writer_head: Seq(0),
            published: HashMap::new(),
            known_keys: BTreeSet::new(),
            firing: None,
            asked: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            next_request: 0,
            acknowledged: BTreeSet::new(),
            harms: HashMap::new(),
            stormy: true,
            outcome: Outcome::default(),
        };
        world.boot();
        world
    }

    pub(super) fn run(mut self) -> Result<Outcome, String> {
        for _ in 0..STORMY_STEPS {
            self.step()?;
        }
        self.stormy = false;
        let mut calm = 0;
        while !self.quiet() {
            self.step()?;
            calm += 1;
            if CALM_STEPS < calm {
                return Err(format!(
                    "what is to be done is not getting done: head {}, unanswered {:?}, queue {:?}, writing {:?}, \
                     timers {:?}, consumers {:?}, hosts {:?}",
                    self.disk.head(),
                    self.unanswered,
                    self.queue,
                    self.writing,
                    self.disk.tables.timers,
                    self.disk.tables.consumers,
                    self.hosts,
                ));
            }
        }
        self.judge()?;
        self.outcome.steps = STORMY_STEPS + calm;
        self.outcome.events = self.disk.log.len() as u64;
        self.outcome.dead_letters = self.disk.tables.buried.len() as u64;
        Ok(self.outcome)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.chance.random_range(0..n) == 0
    }

    fn step(&mut self) -> Result<(), String> {
        if self.stormy {
            if self.one_in(150) {
                self.crash();
                return Ok(());
            }
            if self.one_in(60) && !self.hosts.is_empty() {
                let idx = self.chance.random_range(0..self.hosts.len());
                self.end_or_abandon(idx);
                return Ok(());
            }
        }
        match self.chance.random_range(0..10) {
            0 => self.client(),
            1 | 2 => self.write()?,
            3 => self.deliver(),
            4 => self.supervise(),
            5 => self.timers(),
            6 => self.now += self.chance.random_range(1..120),
            _ if self.hosts.is_empty() => {}
            _ => {
                let idx = self.chance.random_range(0..self.hosts.len());
                self.step_host(idx)?;
            }
        }
        self.bounded()
    }

    /// Every queue has its limit.
    fn bounded(&self) -> Result<(), String> {
        if let Some(host) = self.hosts.iter().find(|host| 2 < host.mailbox) {
            return Err(format!("{} wake-ups wait for agent {}", host.mailbox, host.agent));
        }
        Ok(())
    }

    // Clients.

    fn client(&mut self) {
        let repeat = self.unanswered.first().copied().filter(|_| !self.stormy || self.one_in(3));
        let fresh = (self.next_request < REQUESTS).then_some(self.next_request);
        let Some(key) = repeat.or(fresh) else { return };
        if self.asked.values().any(|asked| *asked == key) {
            return;
        }
        if Some(key) == fresh {
            self.next_request += 1;
        }
        self.unanswered.insert(key);
        let unit = self.submit(Unit::Append { key });
        self.asked.insert(unit, key);
    }

    fn hear_answers(&mut self) {
        let told: Vec<u64> = self.asked.keys().copied().filter(|unit| self.replies.contains_key(unit)).collect();
        for unit in told {
            let (key, reply) = (self.asked.remove(&unit), self.replies.remove(&unit));
            if let (Some(key), Some(Reply::Done)) = (key, reply) {
                self.unanswered.remove(&key);
                self.acknowledged.insert(key);
            }
        }
    }

    // The writer.

    pub(super) fn submit(&mut self, unit: Unit) -> u64 {
        self.next_unit += 1;
        self.queue.push_back((self.next_unit, unit));
        self.next_unit
    }

    fn write(&mut self) -> Result<(), String> {
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
            Unit::Begin { agent, charged } => {
                let head = Seq(self.writer_head.0 + staged.events.len() as i64);
                let incarnation = match tables.consumers[agent] {
                    Some(stored) => stored.next(charged, head),
                    None => Incarnation { epoch: 1, cursor: Seq(0), attempts: 1, clean: true },
                };
                let Incarnation { epoch, cursor, attempts, .. } = incarnation;
                tables.consumers[agent] = Some(Stored { cursor, epoch, attempts, clean: false });
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

    // Delivery and timers.

    /// The head is announced to all hosts; the announcement may get lost, as long as there is another.
    fn deliver(&mut self) {
        for agent in 0..AGENTS {
            if self.stormy && self.one_in(4) {
                continue;
            }
            self.wake(agent);
        }
    }

    fn wake(&mut self, agent: usize) {
        let slot = &self.slots[agent];
        if !slot.wake.ask() {
            return;
        }
        let host = self
            .hosts
            .iter_mut()
            .find(|host| host.agent == agent && host.generation == slot.generation && !host.is_over());
        match host {
            Some(host) => host.mailbox += 1,
            None => slot.wake.clear(),
        }
    }

    fn timers(&mut self) {
        if let Some(unit) = self.firing {
            if self.replies.remove(&unit).is_some() {
                self.firing = None;
            }
            return;
        }
        if self.disk.tables.timers.values().any(|due| *due <= self.now) {
            self.firing = Some(self.submit(Unit::Fire { now: self.now, deleted: Vec::new() }));
        }
    }

    // Supervision.

    /// Starts what is due, and hears of what has ended.
    fn supervise(&mut self) {
        while let Some(idx) = self.hosts.iter().position(Host::is_over) {
            let host = self.hosts.swap_remove(idx);
            // An incarnation that was abandoned ends unheard.
            if self.slots[host.agent].generation == host.generation {
                if let Step::Ended(exit) = host.step {
                    self.slots[host.agent].bequest.leave(exit);
                }
                self.ended(host.agent);
            }
        }
        for agent in 0..AGENTS {
            if self.slots[agent].start_at.is_some_and(|at| at <= self.now) {
                self.slots[agent].start_at = None;
                self.start(agent);
            }
        }
    }

    fn ended(&mut self, agent: usize) {
        self.outcome.ends += 1;
        let (now, chance) = (Duration::from_millis(self.now - self.started), self.chance.random());
        let slot = &mut self.slots[agent];
        let exit = slot.bequest.take_exit();
        let pause = match restart::restart(&RESTARTS, exit, &mut slot.exits, now, chance) {
            Restart::After(pause) | Restart::Quarantine(pause) => pause,
        };
        slot.start_at = Some(self.now + u64::try_from(pause.as_millis()).expect("a pause is short"));
    }

    fn start(&mut self, agent: usize) {
        let slot = &mut self.slots[agent];
        slot.generation += 1;
        if self.bug != Some(Bug::WakeTakenOver) {
            slot.wake.clear();
        }
        let generation = slot.generation;
        self.hosts.push(Host { agent, generation, step: Step::Idle, place: None, mailbox: 0 });
        self.wake(agent);
    }

    /// An incarnation is killed, or abandoned by the watchdog and goes on for a while beside its successor.
    fn end_or_abandon(&mut self, idx: usize) {
        let (agent, generation) = (self.hosts[idx].agent, self.hosts[idx].generation);
        if self.slots[agent].generation != generation || self.hosts[idx].is_over() {
            return;
        }
        if self.one_in(2) {
            self.hosts[idx].step = Step::Killed;
        } else {
            self.outcome.ends += 1;
            self.start(agent);
        }
    }

    /// The process ends and another one starts.
    pub(super) fn crash(&mut self) {
        self.outcome.crashes += 1;
        self.slots = Default::default();
        self.hosts.clear();
        self.replies.clear();
        self.queue.clear();
        self.writing = Writing::Idle;
        self.tail.clear();
        self.published.clear();
        self.known_keys.clear();
        self.firing = None;
        self.asked.clear();
        self.now += self.chance.random_range(1..500);
        self.boot();
    }

    fn boot(&mut self) {
        self.started = self.now;
        self.head = self.disk.head();
        self.writer_head = self.head;
        for agent in 0..AGENTS {
            self.start(agent);
        }
    }

    /// What the event does to the agent this time.
    pub(super) fn harm(&mut self, agent: usize, event: EventId) -> Harm {
        let tried = self.harms.entry((agent, event)).or_default();
        *tried += 1;
        // The event's own number decides, so that it is the same each time; requests and answers differ in it.
        let draw = (event.0.as_u128() ^ (event.0.as_u128() >> 64)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        match (draw + agent as u128) % 40 {
            0 => Harm::Fails,
            1 | 2 if *tried < 3 => Harm::Fails,
            3 if agent == 0 && *tried <= 12 => Harm::KillsProcess,
            _ => Harm::None,
        }
    }

    // The end.

    fn quiet(&self) -> bool {
        let head = self.disk.head();
        let idle = |host: &Host| {
            matches!(host.step, Step::Idle)
                && host.mailbox == 0
                && host.place.as_ref().is_some_and(|place| place.passage.scanned() == head)
        };
        self.next_request == REQUESTS
            && self.unanswered.is_empty()
            && self.queue.is_empty()
            && matches!(self.writing, Writing::Idle)
            && self.disk.tables.timers.is_empty()
            && self.hosts.len() == AGENTS
            && self.hosts.iter().all(idle)
    }

    /// What must be true in the end.
    fn judge(&self) -> Result<(), String> {
        let mut stored: BTreeMap<u32, u32> = BTreeMap::new();
        for envelope in &self.disk.log {
            if let Kind::Request { key } = self.disk.kind(envelope.id) {
                *stored.entry(key).or_default() += 1;
            }
        }
        if let Some(lost) = self.acknowledged.iter().find(|key| !stored.contains_key(key)) {
            return Err(format!("request {lost} was acknowledged and is not there"));
        }
        if let Some((key, times)) = stored.iter().find(|(_, times)| 1 < **times) {
            return Err(format!("request {key} is there {times} times"));
        }
        for agent in 0..AGENTS {
            let (memory, said) = self.disk.uninterrupted(agent);
            if self.disk.said(agent) != said {
                return Err(format!("agent {agent} said {:?} instead of {said:?}", self.disk.said(agent)));
            }
            let host = self.hosts.iter().find(|host| host.agent == agent).ok_or("an agent is gone")?;
            let remembered = host.place.as_ref().map(|place| place.memory);
            if remembered != Some(memory) {
                return Err(format!("agent {agent} remembers {remembered:?} instead of {memory:?}"));
            }
        }
        for ((agent, seq), attempts) in &self.disk.tables.buried {
            // An incarnation that ended unseen right before it gave the event up counts as one that tried.
            if RULE.attempts_max + 1 < *attempts {
                return Err(format!("event {seq} was tried {attempts} times by agent {agent}"));
            }
        }
        // Each request that was the third, sixth, … to be handled set a timer, which ran out once.
        let (mut set, mut due) = (0, BTreeMap::<u32, u32>::new());
        for envelope in &self.disk.log {
            match self.disk.kind(envelope.id) {
                Kind::Said { agent: 0, cause, nth } if nth.is_multiple_of(3) => {
                    set += u32::from(matches!(self.disk.kind(cause), Kind::Request { .. }));
                }
                Kind::Due { key, .. } => *due.entry(key).or_default() += 1,
                _ => {}
            }
        }
        if due.len() != set as usize || due.values().any(|times| *times != 1) {
            return Err(format!("{set} timers were set, and ran out like this: {due:?}"));
        }
        Ok(())
    }
}
