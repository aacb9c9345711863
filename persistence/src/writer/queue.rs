//! Units on their way to the writer. The queue outlives the writer, so that a restarted one goes on with it.
//!
//! It is not bounded: whoever submits for strangers bounds what is under way before it gets here.

use crate::unit::{Refused, Unit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};

/// The way to the writer.
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Unit>,
    /// Held by the writer for as long as it runs.
    receiver: Mutex<mpsc::UnboundedReceiver<Unit>>,
    n_waiting: AtomicUsize,
    closing: watch::Sender<bool>,
    /// Why nothing can be committed now. A leaf: nothing is awaited while it is held.
    failure: RwLock<Option<String>>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            sender,
            receiver: Mutex::new(receiver),
            n_waiting: AtomicUsize::new(0),
            closing: watch::Sender::new(false),
            failure: RwLock::new(None),
        }
    }
}

impl Queue {
    /// Hands `unit` over, or answers it at once if the writer failed.
    ///
    /// # Errors
    ///
    /// The unit comes back when the queue is closed.
    #[expect(clippy::result_large_err, reason = "the unit comes back whole")]
    pub(crate) fn submit(&self, unit: Unit) -> Result<(), Unit> {
        if *self.closing.borrow() {
            return Err(unit);
        }
        let failure = self.failure.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = failure {
            unit.refuse(Refused::Unavailable(why));
            return Ok(());
        }
        self.n_waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(unit).map_err(|mpsc::error::SendError(unit)| {
            self.n_waiting.fetch_sub(1, Ordering::Relaxed);
            unit
        })
    }

    /// Takes no more units; those waiting stay.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Units that wait.
    pub(crate) fn depth(&self) -> usize {
        self.n_waiting.load(Ordering::Relaxed)
    }

    /// The writer's end, once no other writer has it.
    pub(crate) async fn take(&self) -> Intake<'_> {
        Intake { queue: self, receiver: self.receiver.lock().await, closing: self.closing.subscribe() }
    }
}

/// The writer's end of the queue.
pub(crate) struct Intake<'a> {
    queue: &'a Queue,
    receiver: MutexGuard<'a, mpsc::UnboundedReceiver<Unit>>,
    closing: watch::Receiver<bool>,
}

impl Intake<'_> {
    /// Units are committed from now on.
    pub(crate) fn open(&self) {
        *self.queue.failure.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Units cannot be committed: answers those that wait, and those to come until [`open`](Self::open).
    pub(crate) fn fail(&mut self, why: &str) {
        *self.queue.failure.write().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        while let Ok(unit) = self.receiver.try_recv() {
            self.queue.n_waiting.fetch_sub(1, Ordering::Relaxed);
            unit.refuse(Refused::Unavailable(why.to_owned()));
        }
    }

    /// Waits for a unit and takes what waits behind it, up to a limit of units, and up to the unit with which the
    /// readings reach theirs; `None` when the queue is closed and empty.
    pub(crate) async fn group(&mut self, units_max: usize, readings_max: usize) -> Option<Vec<Unit>> {
        let mut unit = self.next().await?;
        let mut n_readings = 0;
        let mut group = Vec::new();
        loop {
            n_readings += unit.n_readings();
            group.push(unit);
            if units_max <= group.len() || readings_max <= n_readings {
                break;
            }
            match self.receiver.try_recv() {
                Ok(next) => unit = next,
                Err(_) => break,
            }
        }
        self.queue.n_waiting.fetch_sub(group.len(), Ordering::Relaxed);
        Some(group)
    }

    async fn next(&mut self) -> Option<Unit> {
        tokio::select! {
            biased;
            // Nobody can end the wait otherwise: the store itself keeps a sender.
            _ = self.closing.wait_for(|closing| *closing) => self.receiver.close(),
            unit = self.receiver.recv() => return unit,
        }
        self.receiver.recv().await
    }
}
