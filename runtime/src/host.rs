//! The one actor that runs any agent: delivery, commit, replay.
//!
//! A host's mailbox carries wake-ups and control, never an event. Whatever ends an incarnation, the
//! next one starts from the last checkpoint and replays up to the cursor.

use crate::agent::{Agent, Effects, Failure};
use crate::ctx::{Ctx, ReadingSource, Said};
use crate::rules::checkpoint::{self, Since};
use crate::rules::passage::{Failed, Mark, Next, Passage, Refusal};
use crate::rules::restart::Exit;
use crate::slot::{HostMessage, Slot, State};
use crate::tree::Life;
use crate::{Shared, control};
use domain::event::Control;
use domain::{Envelope, Event, Seq};
use futures_util::FutureExt;
use persistence::in_hand::{Held, InHand};
use persistence::unit::{AgentUnit, DeadLetter, Incarnation, Origin, Refused};
use persistence::{Log, StoreError, dead_letters};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tracing::{Instrument, debug, error, info_span, warn};

pub(crate) async fn spawn<A: Agent>(
    agent: Arc<A>,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    supervisor: ActorCell,
) -> Result<Life, String> {
    let generation = slot.generation.load(Ordering::SeqCst);
    let tenure = Tenure { agent, slot: Arc::clone(&slot), shared, generation, place: None };
    let (actor, task) = Actor::spawn_linked(None, Host::<A>(PhantomData), tenure, supervisor)
        .await
        .map_err(|error| error.to_string())?;
    let cell = actor.get_cell();
    slot.idle();
    slot.open(actor);
    slot.set_state(State::Running);
    slot.wake();
    Ok(Life { cell, task: task.abort_handle() })
}

struct Host<A>(PhantomData<fn() -> A>);

/// One incarnation.
struct Tenure<A: Agent> {
    agent: Arc<A>,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    generation: u64,
    place: Option<Place<A::State>>,
}

/// Where an incarnation stands in the log, and what it remembers.
struct Place<S> {
    epoch: i64,
    in_hand: InHand,
    passage: Passage,
    state: S,
    /// What came after the last checkpoint.
    since: Since,
}

/// Why an incarnation ends.
enum End {
    /// This event, at this attempt.
    Event { attempt: u32, error: String },
    /// What was said contradicts what is stored.
    Conflict(String),
    /// What was said about several events, up to this one, does.
    Together { until: Seq, error: String },
    /// The store could not be reached.
    Unavailable(String),
    /// Another incarnation is at work.
    Fenced,
    /// Anything else.
    Other(String),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fenced { .. } => Self::Fenced,
            Refused::Unavailable(error) => Self::Unavailable(error),
            Refused::Conflict(_) | Refused::Changed | Refused::KeyReused => Self::Conflict(refused.to_string()),
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        match error {
            // It will be no better in a moment, and an operator is to see it.
            StoreError::Corrupt(_) => Self::Other(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl<A: Agent> Actor for Host<A> {
    type Msg = HostMessage;
    type State = Tenure<A>;
    type Arguments = Tenure<A>;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        tenure: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(tenure)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        tenure: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match message {
            HostMessage::Wake => tenure.wake().await,
            HostMessage::Finish => {
                tenure.slot.set_state(State::Draining);
                let finished = tenure.finish().await;
                myself.stop(None);
                finished
            }
        };
        ended.map_err(|end| tenure.end(end).into())
    }
}

impl<A: Agent> Tenure<A> {
    /// Handles at most one chunk, so that control messages get their turn between chunks.
    async fn wake(&mut self) -> Result<(), End> {
        // The wake-up of an incarnation that was abandoned says nothing about that of its successor.
        if !self.slot.is_current(self.generation) {
            return Err(End::Fenced);
        }
        // The flag is cleared before the log is read: what is committed from here on wakes anew.
        self.slot.woken();
        if self.slot.paused.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.place.is_none() {
            let mut place = self.begin().await?;
            // What took long to rebuild is not rebuilt again, even if no chunk is ever handled to its end.
            self.checkpoint_if_due(&mut place);
            self.place = Some(place);
        }
        if self.chunk().await? {
            self.slot.wake();
        }
        Ok(())
    }

    /// Starts the incarnation: one durable write, then the state as it was at the cursor.
    async fn begin(&self) -> Result<Place<A::State>, End> {
        // Only an event that was seen to fail is charged with the end of the previous incarnation.
        let charged = self.slot.charged();
        let in_hand = self.shared.store.in_hand(A::NAME)?;
        let held = match A::EFFECTS {
            Effects::Outside { may_end_process: false, .. } => None,
            _ => in_hand.held()?,
        };
        let incarnation = self.shared.store.begin(A::NAME, A::ORIGIN, charged, held).await?;
        self.slot.settle();
        let Incarnation { epoch, cursor, .. } = incarnation;
        let (state, since) = self.replay(epoch, cursor).await?;
        self.slot.scanned.store(cursor.0, Ordering::SeqCst);
        Ok(Place { epoch, in_hand, passage: Passage::begin(&incarnation, self.slot.singly_until()), state, since })
    }

    /// The state at `cursor`: the last checkpoint, and what was handled since, with its emissions discarded.
    async fn replay(&self, epoch: i64, cursor: Seq) -> Result<(A::State, Since), End> {
        let mut since = Since::default();
        if matches!(A::EFFECTS, Effects::Outside { .. }) {
            return Ok((A::State::default(), since));
        }
        let log = self.shared.store.log();
        let checkpoint = log.checkpoint(A::NAME, A::STATE_VERSION).await?;
        let (mut at, mut state) = match checkpoint {
            Some((at, bytes)) if at <= cursor => match postcard::from_bytes(&bytes) {
                Ok(state) => (at, state),
                Err(error) => {
                    warn!(agent = A::NAME, %error, "checkpoint cannot be read, state is rebuilt from the whole log");
                    (Seq(0), A::State::default())
                }
            },
            _ if A::ORIGIN == Origin::Now && epoch == 1 => {
                self.save(epoch, cursor, &A::State::default());
                return Ok((A::State::default(), since));
            }
            _ => (Seq(0), A::State::default()),
        };
        let buried = log.buried(A::NAME, at).await?;
        while at < cursor {
            let events = log.after(at, self.shared.settings.chunk_events_max).await?;
            for envelope in events.iter().take_while(|envelope| envelope.seq <= cursor) {
                at = envelope.seq;
                since.events += 1;
                if buried.contains(&envelope.seq) {
                    continue;
                }
                let heard = heard::<A>(envelope, log).await?;
                if let Some(message) = A::accept(&heard.event) {
                    let began = Instant::now();
                    self.handle(&mut state, message, &heard).await.map_err(|failure| match failure {
                        Failure::Unavailable(error) => End::Unavailable(error),
                        Failure::Failed(error) => End::Other(format!("replay of event {}: {error:#}", envelope.seq)),
                    })?;
                    since.handling += began.elapsed();
                }
            }
            if events.is_empty() {
                return Err(End::Other(format!("the log ends at {at}, before the cursor {cursor}")));
            }
        }
        Ok((state, since))
    }

    /// Handles one event, guarded against panics and endless waits.
    async fn handle(&self, state: &mut A::State, message: A::Message, envelope: &Envelope) -> Result<Said, Failure> {
        let deadline = match A::EFFECTS {
            Effects::None => self.shared.settings.handle_deadline(),
            Effects::Outside { deadline, .. } => deadline,
        };
        let mut ctx = Ctx::new(A::NAME, ReadingSource::Log(self.shared.store.log().clone()), envelope);
        let span = info_span!("handle", agent = A::NAME, seq = envelope.seq.0, event_id = %envelope.id, correlation_id = %envelope.correlation);
        self.slot.busy(deadline);
        let began = Instant::now();
        let outcome = tokio::time::timeout(
            deadline,
            AssertUnwindSafe(
                async {
                    self.shared.faults.strike(A::NAME, Some(envelope)).await?;
                    self.agent.handle(state, message, &mut ctx).await
                }
                .instrument(span),
            )
            .catch_unwind(),
        )
        .await;
        // One that was abandoned meanwhile says nothing about what its successor is doing.
        if self.slot.is_current(self.generation) {
            self.slot.idle();
        }
        self.shared.metrics.handled(A::NAME, began.elapsed());
        match outcome {
            Ok(Ok(Ok(()))) => Ok(ctx.into_said()),
            Ok(Ok(Err(failure))) => Err(failure),
            Ok(Err(panic)) => Err(Failure::Failed(anyhow::anyhow!("panic: {}", panic_text(panic.as_ref())))),
            Err(_) => Err(Failure::Failed(anyhow::anyhow!("took longer than {} s", deadline.as_secs_f64()))),
        }
    }

    /// Handles the next events. True if there may be more.
    async fn chunk(&mut self) -> Result<bool, End> {
        let mut place = self.place.take().expect("an incarnation begins before it handles");
        let more = match self.chunk_at(&mut place).await {
            Err(End::Conflict(error)) => Err(self.refused(&mut place, error).await?),
            more => more,
        };
        // After an error the state may be half-mutated, and the incarnation ends without it.
        if more.is_ok() {
            self.place = Some(place);
        }
        more
    }

    /// What was said is refused, and would be again: it speaks against the event that it was said about. Of several
    /// events nobody knows which, before the next incarnation has taken them one at a time.
    async fn refused(&self, place: &mut Place<A::State>, error: String) -> Result<End, End> {
        match place.passage.refused() {
            Refusal::Event(Failed { attempt, prefix }) => {
                let seq = place.passage.scanned();
                if let Some(mark) = prefix {
                    self.commit(place, mark, Said::default(), None).await?;
                }
                self.shared.store.rest(A::NAME, place.epoch).await?;
                Ok(End::Event { attempt, error: format!("event {seq}: {error}") })
            }
            Refusal::Together { until } => Ok(End::Together { until, error }),
            Refusal::Nobody => Ok(End::Other(error)),
        }
    }

    async fn chunk_at(&self, place: &mut Place<A::State>) -> Result<bool, End> {
        let until = self.slot.drain_to();
        let limit = place.passage.read(self.shared.settings.chunk_events_max);
        let events = self.shared.store.log().after(place.passage.scanned(), limit).await?;
        let mut said = Said::default();
        let mut handling = Duration::ZERO;
        for envelope in &events {
            // What was read before a pause is left for later: nothing is handled once a pause was acknowledged.
            if self.slot.paused.load(Ordering::SeqCst) || until.is_some_and(|until| until < envelope.seq) {
                break;
            }
            let heard = heard::<A>(envelope, self.shared.store.log()).await?;
            let Some(message) = A::accept(&heard.event) else {
                place.passage.skip(envelope.seq);
                continue;
            };
            match place.passage.next(&self.shared.settings.attempts(), envelope.seq) {
                Next::Handle => {}
                Next::Claim { mark } => self.commit(place, mark, Said::default(), None).await?,
                Next::GiveUp { attempts } => {
                    if !self.bury(place, envelope, attempts).await? {
                        return Ok(false);
                    }
                    continue;
                }
            }
            let began = Instant::now();
            place.in_hand.take(Held { epoch: place.epoch, seq: envelope.seq })?;
            let handled_so = self.handle(&mut place.state, message, &heard).await;
            if !self.slot.is_current(self.generation) {
                return Err(End::Fenced);
            }
            place.in_hand.put_down()?;
            match handled_so {
                Ok(more) => {
                    debug!(
                        agent = A::NAME,
                        seq = envelope.seq.0,
                        event_id = %envelope.id,
                        correlation_id = %envelope.correlation,
                        heard = envelope.event.name(),
                        said = %more,
                        "event handled"
                    );
                    said.append(more);
                    handling += began.elapsed();
                    place.passage.handled(envelope.seq);
                    // What has happened outside is written down before anything else happens there.
                    let is_outside = matches!(A::EFFECTS, Effects::Outside { .. });
                    if is_outside || self.shared.settings.chunk_time() <= handling {
                        break;
                    }
                }
                Err(Failure::Unavailable(error)) => return Err(End::Unavailable(error)),
                Err(Failure::Failed(error)) => {
                    let failed = place.passage.failed();
                    if let Some(prefix) = failed.prefix {
                        self.commit(place, prefix, said, None).await?;
                    }
                    self.shared.store.rest(A::NAME, place.epoch).await?;
                    let error = format!("event {}: {error:#}", envelope.seq);
                    return Err(End::Event { attempt: failed.attempt, error });
                }
            }
        }
        if let Some(mark) = place.passage.due() {
            self.commit(place, mark, said, None).await?;
        }
        // Only now: what is not committed yet still lags, and others have yet to hear what was said about it.
        let scanned = Seq(self.slot.scanned.swap(place.passage.scanned().0, Ordering::SeqCst));
        place.since.handling += handling;
        place.since.events += (place.passage.scanned().0 - scanned.0).unsigned_abs();
        self.checkpoint_if_due(place);
        if until.is_some_and(|until| until <= place.passage.scanned()) {
            self.rest("drain").await?;
            return Ok(false);
        }
        Ok(events.len() == limit || events.last().is_some_and(|last| place.passage.scanned() < last.seq))
    }

    /// Gives `envelope` up: it becomes a dead letter, and the cursor moves past it. False when the agent has as many
    /// dead letters as it may: none is dropped to make room, so it rests instead.
    async fn bury(&self, place: &mut Place<A::State>, envelope: &Envelope, attempts: u32) -> Result<bool, End> {
        let open = dead_letters::Filter { agent: Some(A::NAME.to_owned()), state: Some(dead_letters::State::Open) };
        if self.shared.settings.dead_letters_max <= dead_letters::count(&self.shared.store.history(), &open).await? {
            error!(agent = A::NAME, "has as many dead letters as it may, and rests until some are dealt with");
            self.rest("dead_letters_max").await?;
            return Ok(false);
        }
        let error = self.slot.last_error().map_or_else(|| "the process ended".to_owned(), |last| last.error);
        error!(agent = A::NAME, event_id = %envelope.id, correlation_id = %envelope.correlation, attempts, %error, "event given up");
        let letter = DeadLetter { seq: envelope.seq, attempts, error, at: self.shared.clock.now() };
        let mark = place.passage.buried(envelope.seq);
        self.commit(place, mark, Said::default(), Some(letter)).await?;
        self.shared.metrics.dead_letter(A::NAME);
        Ok(true)
    }

    /// Lets the agent rest until an operator resumes it, because of `reason`.
    async fn rest(&self, reason: &str) -> Result<(), End> {
        let note = control::note(self.shared.clock.now(), A::NAME, Control::Pause, reason, None);
        self.shared.store.append(vec![note], None).await?;
        self.slot.hold(true, None);
        Ok(())
    }

    /// Commits what was said about the events up to the mark, together with the cursor.
    async fn commit(
        &self,
        place: &mut Place<A::State>,
        Mark { to, attempts }: Mark,
        said: Said,
        dead_letter: Option<DeadLetter>,
    ) -> Result<(), End> {
        let (reply, committed) = oneshot::channel();
        let mut said = said;
        // The log tells when something was said; while it was handled only the time of its cause counted.
        let now = self.shared.clock.now();
        said.events.iter_mut().for_each(|event| event.at = now);
        self.shared.store.submit_agent(AgentUnit {
            agent: A::NAME,
            epoch: place.epoch,
            from: place.passage.cursor(),
            to,
            attempts,
            events: said.events,
            timers: said.timers,
            dead_letter,
            reply,
        });
        committed.await.map_err(|_| End::Unavailable("the writer went away".to_owned()))??;
        place.passage.committed(to);
        Ok(())
    }

    fn checkpoint_if_due(&self, place: &mut Place<A::State>) {
        let Some(saving) = self.slot.saving() else { return };
        let due = checkpoint::is_due(&self.shared.settings.checkpoints(), place.since, saving);
        if due && matches!(A::EFFECTS, Effects::None) {
            place.since = Since::default();
            self.save(place.epoch, place.passage.cursor(), &place.state);
        }
    }

    /// Saves a checkpoint off the actor: it is a cache, so nobody waits for it.
    fn save(&self, epoch: i64, cursor: Seq, state: &A::State) {
        let began = Instant::now();
        self.slot.saves();
        let (state, store, slot) = (state.clone(), self.shared.store.clone(), Arc::clone(&self.slot));
        self.shared.tasks.spawn(async move {
            let bytes = tokio::task::spawn_blocking(move || postcard::to_stdvec(&state)).await;
            // The wait for the writer, which does other things as well, says nothing about the state.
            let took = began.elapsed();
            let saved = match bytes {
                Ok(Ok(bytes)) => store
                    .checkpoint(A::NAME, epoch, cursor, A::STATE_VERSION, bytes)
                    .await
                    .map_err(|refused| refused.to_string()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            slot.saved(took);
            match saved {
                Ok(()) => debug!(agent = A::NAME, cursor = cursor.0, "checkpoint saved"),
                Err(error) => warn!(agent = A::NAME, %error, "checkpoint not saved"),
            }
        });
    }

    /// Finishes in an orderly way.
    async fn finish(&mut self) -> Result<(), End> {
        let Some(mut place) = self.place.take() else { return Ok(()) };
        if let Some(mark) = place.passage.rest() {
            self.commit(&mut place, mark, Said::default(), None).await?;
        }
        if matches!(A::EFFECTS, Effects::None) && 0 < place.since.events {
            let bytes = postcard::to_stdvec(&place.state).map_err(|error| End::Other(error.to_string()))?;
            self.shared.store.checkpoint(A::NAME, place.epoch, place.passage.cursor(), A::STATE_VERSION, bytes).await?;
        }
        self.shared.store.rest(A::NAME, place.epoch).await?;
        Ok(())
    }

    /// Leaves word for the supervisor and gives the error that ends the actor.
    fn end(&self, end: End) -> String {
        let (exit, error) = match end {
            End::Event { attempt, error } => (Exit::Event { attempt }, error),
            End::Together { until, error } => (Exit::Together { until }, error),
            End::Unavailable(error) => (Exit::Unavailable, error),
            End::Fenced => (Exit::Other, "fenced: another incarnation is at work".to_owned()),
            End::Conflict(error) | End::Other(error) => (Exit::Other, error),
        };
        if self.slot.is_current(self.generation) {
            self.slot.leave(exit);
            self.slot.note_error(self.shared.clock.now(), error.clone());
        }
        error
    }
}

/// `envelope` as the agent hears it: a dead letter that is replayed is heard as the event that was given up, at the
/// place in the log where it is replayed.
pub(crate) async fn heard<'e, A: Agent>(
    envelope: &'e Arc<Envelope>,
    log: &Log,
) -> Result<Cow<'e, Envelope>, StoreError> {
    let mut given_up = None;
    let mut at = envelope.clone();
    // What failed again was given up at the place of its replay.
    while let Event::DeadLetterReplayed { agent, seq, .. } = &at.event
        && agent == A::NAME
        && let Some(found) = log.after(Seq(seq.0 - 1), 1).await?.into_iter().next().filter(|found| found.seq == *seq)
    {
        given_up = Some(found.event.clone());
        at = found;
    }
    Ok(match given_up {
        Some(event) => Cow::Owned(Envelope { event, ..Envelope::clone(envelope) }),
        None => Cow::Borrowed(envelope),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// How long a stuck event may overrun its deadline before the watchdog steps in.
pub(crate) const GRACE: Duration = Duration::from_millis(250);
