//! The process and what befalls it: clients, chance, time, and what must be true in the end.

use super::disk::{AGENTS, Disk, Kind};
use super::host::{Host, RULE, Step};
use super::supervisor::Slot;
use super::writer::{Reply, Unit, Writing};
use super::{Bug, Outcome};
use domain::{EventId, Seq};
use persistence::in_hand::Held;
use persistence::tail::Tail;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Requests that clients make in one history.
const REQUESTS: u32 = 30;
/// Steps during which things happen.
const STORMY_STEPS: u64 = 700;
/// Steps within which all must be quiet after that.
const CALM_STEPS: u64 = 60_000;
/// Events that the tail keeps: few, so that the table is read too.
const TAIL_EVENTS: usize = 6;

/// What an event does to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    Fails,
    KillsProcess,
}

pub(super) struct World {
    pub(super) bug: Option<Bug>,
    pub(super) chance: Pcg64Mcg,
    pub(super) now: u64,
    /// When the process started.
    pub(super) started: u64,
    pub(super) disk: Disk,
    /// What each agent has in hand, or had when the process ended.
    pub(super) in_hand: [Option<Held>; AGENTS],
    // What follows is gone when the process ends.
    pub(super) slots: [Slot; AGENTS],
    pub(super) hosts: Vec<Host>,
    pub(super) replies: BTreeMap<u64, Reply>,
    pub(super) queue: VecDeque<(u64, Unit)>,
    pub(super) writing: Writing,
    pub(super) next_unit: u64,
    pub(super) tail: Tail,
    pub(super) head: Seq,
    pub(super) writer_head: Seq,
    pub(super) published: HashMap<EventId, Kind>,
    pub(super) known_keys: BTreeSet<u32>,
    pub(super) firing: Option<u64>,
    /// Units of clients: key by unit.
    pub(super) asked: BTreeMap<u64, u32>,
    // What the outside world remembers.
    pub(super) unanswered: BTreeSet<u32>,
    next_request: u32,
    acknowledged: BTreeSet<u32>,
    harms: HashMap<(usize, EventId), u32>,
    pub(super) stormy: bool,
    pub(super) outcome: Outcome,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = Self {
            bug,
            chance: Pcg64Mcg::seed_from_u64(seed),
            now: 0,
            started: 0,
            disk: Disk::default(),
            in_hand: [None; AGENTS],
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

    pub(super) fn one_in(&mut self, n: u32) -> bool {
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

    pub(super) fn hear_answers(&mut self) {
        let told: Vec<u64> = self.asked.keys().copied().filter(|unit| self.replies.contains_key(unit)).collect();
        for unit in told {
            let (key, reply) = (self.asked.remove(&unit), self.replies.remove(&unit));
            if let (Some(key), Some(Reply::Done)) = (key, reply) {
                self.unanswered.remove(&key);
                self.acknowledged.insert(key);
            }
        }
    }

    /// What the event does to the agent this time.
    ///
    /// # Errors
    ///
    /// It has ended the process as often as it may.
    pub(super) fn harm(&mut self, agent: usize, event: EventId) -> Result<Harm, String> {
        let tried = self.harms.entry((agent, event)).or_default();
        *tried += 1;
        // The event's own number decides, so that it is the same each time; requests and answers differ in it.
        let draw = (event.0.as_u128() ^ (event.0.as_u128() >> 64)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let harm = match (draw + agent as u128) % 40 {
            0 => Harm::Fails,
            1 | 2 if *tried < 3 => Harm::Fails,
            3 if agent == 0 => Harm::KillsProcess,
            _ => Harm::None,
        };
        if harm == Harm::KillsProcess && RULE.attempts_fatal_max < *tried {
            return Err(format!("event {event} ended the process {tried} times"));
        }
        Ok(harm)
    }

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
