//! Starts the children in order, restarts them alone, stops them in reverse.

use crate::Shared;
use crate::host::GRACE;
use crate::rules::intensity::Intensity;
use crate::rules::restart::{self, Exit, Restart};
use crate::slot::{Kind, State};
use crate::tree::{Child, Life};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// What the supervisor is told.
pub(crate) enum Message {
    /// Start a child, unless it was started since.
    Start { idx: usize, generation: u64 },
    /// Look for children that make no progress.
    Watch,
    /// Take one more child, the last to start and the first to stop.
    Add(Child),
    /// End a child at once, as a fault would.
    End { name: String, death: Death, reply: RpcReplyPort<bool> },
    /// Let a child finish and start it again.
    Restart { name: String, reply: RpcReplyPort<bool> },
    /// Stop everything in reverse order.
    Stop { deadline: Duration, reply: RpcReplyPort<()> },
}

/// How a child is ended by a fault test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// At its next wait.
    Kill,
    /// With its task.
    Abort,
}

pub(crate) struct Supervisor;

pub(crate) struct Watch {
    shared: Arc<Shared>,
    children: Vec<Kept>,
    chance: Pcg64Mcg,
    stopping: bool,
}

struct Kept {
    child: Child,
    life: Option<Life>,
    intensity: Intensity,
}

impl Actor for Supervisor {
    type Msg = Message;
    type State = Watch;
    type Arguments = (Arc<Shared>, Vec<Child>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (shared, children): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let seed = u64::try_from(shared.clock.now().as_microsecond()).unwrap_or_default();
        let mut watch = Watch { shared, children: Vec::new(), chance: Pcg64Mcg::seed_from_u64(seed), stopping: false };
        for child in children {
            watch.add(child, &myself).await;
        }
        watchdog(myself, watch.shared.settings.watchdog_interval())?;
        Ok(watch)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        watch: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Start { idx, generation } => {
                let current = watch.children[idx].child.slot.generation.load(Ordering::SeqCst);
                if !watch.stopping && current == generation {
                    watch.start(idx, &myself).await;
                }
            }
            Message::Watch => watch.look(&myself).await,
            Message::Add(child) => watch.add(child, &myself).await,
            Message::End { name, death, reply } => {
                let life = watch.named(&name).and_then(|kept| kept.life.as_ref());
                match (life, death) {
                    (Some(life), Death::Kill) => life.cell.kill(),
                    (Some(life), Death::Abort) => life.task.abort(),
                    (None, _) => {}
                }
                answer(reply, life.is_some());
            }
            Message::Restart { name, reply } => {
                let found = watch.children.iter().position(|kept| kept.child.slot.name == name);
                if let Some(idx) = found {
                    watch.again(idx, &myself).await;
                }
                answer(reply, found.is_some());
            }
            Message::Stop { deadline, reply } => {
                watch.stop(deadline).await;
                answer(reply, ());
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        watch: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, reason) => watch.ended(&cell, reason, &myself),
            SupervisionEvent::ActorFailed(cell, error) => watch.ended(&cell, Some(error.to_string()), &myself),
            _ => {}
        }
        Ok(())
    }
}

/// Asks `supervisor` every `interval` to look for children that make no progress, until it has ended.
///
/// From a thread of its own: when an agent blocks the thread that waits for sockets and timers, no timer wakes anybody,
/// and it takes a message from outside to make another thread wait for them.
fn watchdog(supervisor: ActorRef<Message>, interval: Duration) -> std::io::Result<()> {
    let watch = move || {
        while supervisor.cast(Message::Watch).is_ok() {
            std::thread::sleep(interval);
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

fn answer<T: Send>(reply: RpcReplyPort<T>, value: T) {
    if reply.send(value).is_err() {
        warn!("nobody waits for the supervisor's answer any more");
    }
}

impl Watch {
    fn named(&self, name: &str) -> Option<&Kept> {
        self.children.iter().find(|kept| kept.child.slot.name == name)
    }

    async fn add(&mut self, child: Child, myself: &ActorRef<Message>) {
        self.children.push(Kept { child, life: None, intensity: Intensity::default() });
        self.start(self.children.len() - 1, myself).await;
    }

    async fn start(&mut self, idx: usize, myself: &ActorRef<Message>) {
        let kept = &mut self.children[idx];
        kept.child.slot.generation.fetch_add(1, Ordering::SeqCst);
        match (kept.child.spawn)(Arc::clone(&self.shared), myself.get_cell()).await {
            Ok(life) => kept.life = Some(life),
            Err(error) => {
                kept.child.slot.note_error(self.shared.clock.now(), error);
                self.restart(idx, myself);
            }
        }
    }

    fn ended(&mut self, cell: &ActorCell, reason: Option<String>, myself: &ActorRef<Message>) {
        let ours = |kept: &Kept| kept.life.as_ref().is_some_and(|known| known.cell.get_id() == cell.get_id());
        // An incarnation that was abandoned ends unheard.
        let Some(idx) = self.children.iter().position(ours) else { return };
        self.children[idx].life = None;
        let slot = &self.children[idx].child.slot;
        // What it had in hand when it ended is not overdue.
        slot.idle();
        if self.stopping {
            return;
        }
        if let Some(reason) = reason {
            warn!(agent = slot.name, error = reason, "ended, will be started again");
            if slot.last_error().is_none_or(|last| last.error != reason) {
                slot.note_error(self.shared.clock.now(), reason);
            }
        }
        self.restart(idx, myself);
    }

    /// Lets child `idx` finish, so that it is started again; one that waits for its start is started at once.
    async fn again(&mut self, idx: usize, myself: &ActorRef<Message>) {
        let Kept { child, life, .. } = &self.children[idx];
        match life {
            None if !self.stopping => self.start(idx, myself).await,
            Some(life) => {
                child.slot.leave(Exit::Asked);
                if !life.finish(&child.slot) {
                    info!(agent = child.slot.name, "has just ended by itself");
                }
            }
            None => {}
        }
    }

    /// Starts child `idx` again, after the pause that its exit deserves.
    fn restart(&mut self, idx: usize, myself: &ActorRef<Message>) {
        let kept = &mut self.children[idx];
        let slot = &kept.child.slot;
        slot.set_state(State::Restarting);
        slot.restarts.fetch_add(1, Ordering::SeqCst);
        let (settings, now) = (self.shared.settings.restarts(), self.shared.started.elapsed());
        let pause = match restart::restart(&settings, slot.take_exit(), &mut kept.intensity, now, self.chance.random())
        {
            Restart::After(pause) => pause,
            Restart::Quarantine(pause) => {
                if slot.kind == Kind::Essential {
                    error!(agent = slot.name, "an essential part fails again and again, the node ends");
                    self.shared.fail(slot.name, false);
                }
                error!(agent = slot.name, "fails again and again, quarantined");
                slot.set_state(State::Quarantined);
                pause
            }
        };
        let generation = slot.generation.load(Ordering::SeqCst);
        myself.send_after(pause, move || Message::Start { idx, generation });
    }

    /// Abandons incarnations that make no progress; their epoch fences what they may still do.
    async fn look(&mut self, myself: &ActorRef<Message>) {
        if self.stopping {
            return;
        }
        for idx in 0..self.children.len() {
            let kept = &mut self.children[idx];
            if !kept.child.slot.stuck(GRACE) {
                continue;
            }
            let slot = &kept.child.slot;
            error!(agent = slot.name, "makes no progress, abandoned");
            slot.note_error(self.shared.clock.now(), "made no progress and was abandoned".to_owned());
            slot.idle();
            slot.restarts.fetch_add(1, Ordering::SeqCst);
            if let Some(life) = kept.life.take() {
                life.cell.kill();
            }
            self.start(idx, myself).await;
        }
    }

    async fn stop(&mut self, deadline: Duration) {
        self.stopping = true;
        let until = Instant::now() + deadline;
        for kept in self.children.iter_mut().rev() {
            let slot = &kept.child.slot;
            slot.set_state(State::Draining);
            let Some(life) = kept.life.take() else { continue };
            match &kept.child.part {
                Some(part) => part.stop(),
                None if !life.finish(slot) => info!(agent = slot.name, "had ended before it could finish"),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if life.cell.wait(Some(left)).await.is_err() {
                warn!(agent = slot.name, "did not finish in time, ended");
                life.cell.kill();
            }
        }
    }
}
