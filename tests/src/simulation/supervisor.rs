//! Who tells hosts of their work, who starts them again, and what ends them.

use super::Bug;
use super::disk::AGENTS;
use super::host::{Host, Step};
use super::world::World;
use super::writer::{Unit, Writing};
use rand::RngExt as _;
use runtime::rules::backoff;
use runtime::rules::intensity::Intensity;
use runtime::rules::restart::{self, Bequest, Restart};
use runtime::rules::wake::Wake;
use std::time::Duration;

const RESTARTS: restart::Settings = restart::Settings {
    backoff: backoff::Settings { backoff_first_ms: 100, backoff_max_ms: 30_000 },
    restarts_max: 5,
    window: Duration::from_secs(60),
    probe: Duration::from_secs(60),
};

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

impl World {
    /// The head is announced to all hosts; the announcement may get lost, as long as there is another.
    pub(super) fn deliver(&mut self) {
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

    pub(super) fn timers(&mut self) {
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

    /// Starts what is due, and hears of what has ended.
    pub(super) fn supervise(&mut self) {
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
    pub(super) fn end_or_abandon(&mut self, idx: usize) {
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

    pub(super) fn boot(&mut self) {
        self.started = self.now;
        self.head = self.disk.head();
        self.writer_head = self.head;
        for agent in 0..AGENTS {
            self.start(agent);
        }
    }
}
