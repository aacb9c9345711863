//! A test bench for one agent: no actors, no store, its own clock.
//!
//! Every event is fed twice: to an incarnation that lives on, and to one that was just rebuilt from a
//! checkpoint and replay, as after a crash. Both must say the same.

use crate::ctx::{Ctx, ReadingSource, Said};
use crate::{Agent, Failure};
use domain::reading::{Accepted, Reading, Sensor};
use domain::{CorrelationId, Envelope, Event, EventId, ReadingNo, Seq, Timestamp};
use persistence::unit::{NewEvent, TimerChange};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Events between two checkpoints of the bench.
const CHECKPOINT_EVENTS: usize = 16;

/// One agent under test.
#[derive(Debug)]
pub struct Bench<A: Agent> {
    agent: A,
    state: A::State,
    /// State before the events in `since`.
    checkpoint: Vec<u8>,
    since: Vec<Envelope>,
    readings: Arc<Mutex<HashMap<ReadingNo, Arc<[Reading]>>>>,
    timers: BTreeMap<String, (Timestamp, EventId, CorrelationId)>,
    now: Timestamp,
    seq: i64,
    next_reading: i64,
    correlation: CorrelationId,
}

impl<A: Agent> Bench<A> {
    /// A bench at the start of 2026.
    ///
    /// # Panics
    ///
    /// When the agent refuses its settings.
    pub fn start(settings: A::Settings, deps: A::Deps) -> Self {
        let state = A::State::default();
        Self {
            agent: A::start(settings, deps).expect("the agent takes its settings"),
            checkpoint: encode(&state),
            state,
            since: Vec::new(),
            readings: Arc::default(),
            timers: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            seq: 0,
            next_reading: 1,
            correlation: CorrelationId::from("bench"),
        }
    }

    /// The bench's time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The id that the next event fed will have.
    pub fn next_event(&self) -> EventId {
        event_id(self.seq + 1)
    }

    /// Feeds one event; gives what the agent says, in order.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn feed(&mut self, event: Event) -> Vec<Event> {
        self.feed_said(event).await.into_iter().map(|new| new.event).collect()
    }

    /// Feeds one event; gives what the agent says with ids, causes and correlations.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn feed_said(&mut self, event: Event) -> Vec<NewEvent> {
        match self.try_feed(event).await {
            Ok(said) => said,
            Err(failure) => panic!("{} failed: {failure}", A::NAME),
        }
    }

    /// Feeds what the agent said before, under the id that it said it with; gives what it says to that.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn hear(&mut self, said: NewEvent) -> Vec<Event> {
        match self.feed_as(said.id, said.event).await {
            Ok(said) => said.into_iter().map(|new| new.event).collect(),
            Err(failure) => panic!("{} failed: {failure}", A::NAME),
        }
    }

    /// Feeds one event that the agent may fail at.
    ///
    /// # Errors
    ///
    /// The agent's failure. Its state is then as it was before, as after a restart.
    ///
    /// # Panics
    ///
    /// When the agent says something else after a crash.
    pub async fn try_feed(&mut self, event: Event) -> Result<Vec<NewEvent>, Failure> {
        let id = self.next_event();
        self.feed_as(id, event).await
    }

    async fn feed_as(&mut self, id: EventId, event: Event) -> Result<Vec<NewEvent>, Failure> {
        self.seq += 1;
        let envelope = Envelope {
            seq: Seq(self.seq),
            id,
            cause: None,
            correlation: self.correlation.clone(),
            at: self.now,
            source: "bench".to_owned(),
            version: 1,
            traceparent: None,
            event,
        };
        let mut rebuilt = self.rebuild().await;
        let after_crash = self.handle(&mut rebuilt, &envelope).await;
        let mut state = self.state.clone();
        let said = match (self.handle(&mut state, &envelope).await, after_crash) {
            (Ok(said), Ok(after_crash)) => {
                assert_eq!(said, after_crash, "{} says something else after a crash", A::NAME);
                said
            }
            (Err(failure), Err(_)) => return Err(failure),
            (lived, crashed) => panic!("{} lived: {lived:?}, after a crash: {crashed:?}", A::NAME),
        };
        self.state = state;
        self.since.push(envelope);
        if CHECKPOINT_EVENTS <= self.since.len() {
            self.checkpoint = encode(&self.state);
            self.since.clear();
        }
        for change in said.timers {
            match change {
                TimerChange::Set { key, at, cause, correlation } => {
                    self.timers.insert(key, (at, cause, correlation));
                }
                TimerChange::Cancel { key } => {
                    self.timers.remove(&key);
                }
            }
        }
        Ok(said.events)
    }

    /// Feeds a batch of readings of `sensor`, `(taken_at, value)` each, as one `ReadingsAccepted`.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn feed_readings(&mut self, sensor: &Arc<Sensor>, values: &[(Timestamp, f64)]) -> Vec<Event> {
        let readings = values.iter().map(|(taken_at, value)| (Arc::clone(sensor), *taken_at, *value)).collect();
        self.feed_batch(readings).await
    }

    /// Feeds a batch of readings of several sensors as one `ReadingsAccepted`.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn feed_batch(&mut self, readings: Vec<(Arc<Sensor>, Timestamp, f64)>) -> Vec<Event> {
        let first = ReadingNo(self.next_reading);
        let sensors: HashSet<_> = readings.iter().map(|(sensor, ..)| sensor.id.clone()).collect();
        let batch: Arc<[Reading]> = readings
            .into_iter()
            .zip(self.next_reading..)
            .map(|((sensor, taken_at, value), no)| Reading {
                no: ReadingNo(no),
                sensor,
                value,
                quality: 1.0,
                taken_at,
                received_at: self.now,
            })
            .collect();
        let count = u32::try_from(batch.len()).expect("a test's batch is small");
        let n_sensors = u32::try_from(sensors.len()).expect("a test's batch is small");
        self.next_reading += i64::from(count);
        self.readings.lock().expect("no test panics while it holds the lock").insert(first, batch);
        self.feed(Event::ReadingsAccepted(Accepted { first, count, n_sensors })).await
    }

    /// Moves the clock to `to`, firing timers in order on the way; gives what the agent says.
    ///
    /// # Panics
    ///
    /// When the agent fails, or says something else after a crash.
    pub async fn advance(&mut self, to: Timestamp) -> Vec<Event> {
        let mut said = Vec::new();
        while let Some((key, (at, ..))) =
            self.timers.iter().filter(|(_, (at, ..))| *at <= to).min_by_key(|(_, (at, ..))| *at)
        {
            let (key, at) = (key.clone(), *at);
            self.timers.remove(&key);
            self.now = self.now.max(at);
            said.extend(self.feed(Event::TimerDue { agent: A::NAME.to_owned(), key }).await);
        }
        self.now = self.now.max(to);
        said
    }

    async fn rebuild(&self) -> A::State {
        let mut state = postcard::from_bytes(&self.checkpoint).expect("a checkpoint can be read");
        for envelope in &self.since {
            self.handle(&mut state, envelope).await.expect("what was handled once can be handled again");
        }
        state
    }

    async fn handle(&self, state: &mut A::State, envelope: &Envelope) -> Result<Said, Failure> {
        let mut ctx = Ctx::new(A::NAME, ReadingSource::Bench(Arc::clone(&self.readings)), envelope);
        if let Some(message) = A::accept(&envelope.event) {
            self.agent.handle(state, message, &mut ctx).await?;
        }
        Ok(ctx.into_said())
    }
}

fn encode<S: serde::Serialize>(state: &S) -> Vec<u8> {
    postcard::to_stdvec(state).expect("a state can be saved")
}

fn event_id(seq: i64) -> EventId {
    EventId(Uuid::from_u128(u128::from(seq.unsigned_abs())))
}
