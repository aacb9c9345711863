//! What a transaction is about to change: rows that are inserted in bulk at its end, and what memory learns of it
//! after the commit.
//!
//! Numbers are given here and count only once the transaction is committed.

use super::verdict::Trouble;
use crate::audit::{Chain, Fields};
use crate::instants::{micros, rounded};
use crate::models::{self, Predicted};
use crate::registry::{Earlier, Known, Registered};
use crate::tail::Committed;
use crate::unit::{NewEvent, NewReading};
use crate::{EVENT_VERSION, sql};
use domain::reading::{Accepted, Reading, Sensor};
use domain::{Envelope, ReadingNo, SensorId, Seq, Timestamp};
use sea_orm::{ConnectionTrait, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const READING_COLUMNS: usize = 7;
const INSERT_READINGS: &str = "INSERT INTO readings (no, taken_at, sensor, value, quality, received_at, extra) VALUES ";

const EVENT_COLUMNS: usize = 10;
const INSERT_EVENTS: &str =
    "INSERT INTO events (seq, id, cause, correlation, type, source, at, version, data, traceparent) VALUES ";

const AUDIT_COLUMNS: usize = 3;
const INSERT_AUDIT: &str = "INSERT INTO audit (no, seq, mac) VALUES ";

const SENSOR_COLUMNS: usize = 10;
const INSERT_SENSORS: &str = "INSERT INTO sensors \
     (no, id, asset, sensor_type, unit, limit_high, limit_low, first_at, last_at, reading_count) VALUES ";
/// `MIN` of two values is not portable, `CASE` is.
const COUNT_SENSORS: &str = " ON CONFLICT (no) DO UPDATE SET \
     reading_count = sensors.reading_count + excluded.reading_count, \
     first_at = CASE WHEN excluded.first_at < sensors.first_at THEN excluded.first_at ELSE sensors.first_at END, \
     last_at = CASE WHEN sensors.last_at < excluded.last_at THEN excluded.last_at ELSE sensors.last_at END";

/// The highest numbers given so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Heads {
    pub(super) seq: Seq,
    pub(super) reading: ReadingNo,
    pub(super) sensor: i32,
    pub(super) audit: Chain,
}

/// What one transaction, or one unit of it, is about to change.
pub(super) struct Stage {
    pub(super) heads: Heads,
    pub(super) timers_changed: bool,
    /// Sensors that the transaction registers, or describes anew.
    sensors: HashMap<SensorId, Registered>,
    /// How those were described before that it describes anew.
    earlier: Vec<Earlier>,
    tallies: HashMap<i32, Tally>,
    committed: Vec<Committed>,
    event_rows: Vec<[Value; EVENT_COLUMNS]>,
    audit_rows: Vec<[Value; AUDIT_COLUMNS]>,
    reading_rows: Vec<[Value; READING_COLUMNS]>,
    predicted: Vec<Predicted>,
    n_readings: usize,
}

/// What became known with a commit.
pub(super) struct Became {
    pub(super) sensors: Vec<Registered>,
    pub(super) earlier: Vec<Earlier>,
    pub(super) committed: Vec<Committed>,
    pub(super) n_readings: usize,
}

/// What one sensor sent in one transaction.
struct Tally {
    registered: Registered,
    n_readings: i64,
    first_at: i64,
    last_at: i64,
}

impl Stage {
    /// Nothing yet, after `heads`.
    pub(super) fn after(heads: Heads) -> Self {
        Self {
            heads,
            timers_changed: false,
            sensors: HashMap::new(),
            earlier: Vec::new(),
            tallies: HashMap::new(),
            committed: Vec::new(),
            event_rows: Vec::new(),
            audit_rows: Vec::new(),
            reading_rows: Vec::new(),
            predicted: Vec::new(),
            n_readings: 0,
        }
    }

    /// Nothing yet, after what `self` holds, which knows the sensors that `self` registers.
    pub(super) fn next(&self) -> Self {
        Self { sensors: self.sensors.clone(), ..Self::after(self.heads) }
    }

    /// Takes over what a later stage did, once its rows are inserted.
    pub(super) fn absorb(&mut self, later: Self) {
        self.heads = later.heads;
        self.timers_changed |= later.timers_changed;
        self.sensors = later.sensors;
        self.earlier.extend(later.earlier);
        self.committed.extend(later.committed);
        self.n_readings += later.n_readings;
    }

    /// Gives `new` the next place in the log. `json` is the event's.
    pub(super) fn event(&mut self, new: &NewEvent, json: String) -> Seq {
        self.push_event(new, json, None)
    }

    /// Gives the event of a batch its place, with the readings it stands for.
    pub(super) fn batch_event(&mut self, new: &NewEvent, json: String, readings: Arc<[Reading]>) -> Seq {
        self.push_event(new, json, Some(readings))
    }

    fn push_event(&mut self, new: &NewEvent, json: String, readings: Option<Arc<[Reading]>>) -> Seq {
        let seq = Seq(self.heads.seq.0 + 1);
        self.heads.seq = seq;
        let envelope = Envelope {
            seq,
            id: new.id,
            cause: new.cause,
            correlation: new.correlation.clone(),
            at: rounded(new.at),
            source: new.source.as_ref().to_owned(),
            version: EVENT_VERSION,
            traceparent: new.traceparent.clone(),
            event: new.event.clone(),
        };
        let n_bytes = json.len();
        let (id, cause) = (envelope.id.to_string(), envelope.cause.map(|cause| cause.to_string()));
        if envelope.event.is_audited() {
            self.audit_rows.push(self.heads.audit.add(Fields {
                seq,
                id: &id,
                cause: cause.as_deref(),
                correlation: envelope.correlation.as_str(),
                kind: envelope.event.name(),
                source: &envelope.source,
                at: micros(envelope.at),
                version: i32::from(envelope.version),
                data: &json,
            }));
        }
        self.event_rows.push([
            seq.0.into(),
            id.into(),
            cause.into(),
            envelope.correlation.as_str().into(),
            envelope.event.name().into(),
            envelope.source.as_str().into(),
            micros(envelope.at).into(),
            i32::from(envelope.version).into(),
            json.into(),
            envelope.traceparent.as_ref().map(|traceparent| traceparent.as_str().to_owned()).into(),
        ]);
        self.committed.push(Committed { envelope: Arc::new(envelope), readings, n_bytes });
        seq
    }

    /// Numbers `readings` in order of arrival, registers their sensors where they are new, and tells what became of
    /// them. At least one.
    pub(super) fn readings(
        &mut self,
        readings: &[NewReading],
        received_at: Timestamp,
        known: &Known,
    ) -> (Accepted, Arc<[Reading]>) {
        let received_at = rounded(received_at);
        let first = ReadingNo(self.heads.reading.0 + 1);
        let mut sensors = HashSet::new();
        let stored: Arc<[Reading]> = readings
            .iter()
            .map(|new| {
                let registered = self.registered(new, known);
                sensors.insert(registered.no);
                self.heads.reading.0 += 1;
                let reading = Reading {
                    no: self.heads.reading,
                    sensor: Arc::clone(&registered.sensor),
                    value: new.value,
                    quality: new.quality,
                    taken_at: rounded(new.taken_at),
                    received_at,
                };
                let taken_at = micros(reading.taken_at);
                self.reading_rows.push([
                    reading.no.0.into(),
                    taken_at.into(),
                    registered.no.into(),
                    reading.value.into(),
                    reading.quality.into(),
                    micros(received_at).into(),
                    new.extra.as_ref().map(|extra| serde_json::Value::Object((**extra).clone()).to_string()).into(),
                ]);
                self.tally(registered, taken_at);
                reading
            })
            .collect();
        self.n_readings += stored.len();
        let count = u32::try_from(stored.len()).expect("a request holds far fewer readings");
        let n_sensors = u32::try_from(sensors.len()).expect("there are no more sensors than readings");
        (Accepted { first, count, n_sensors }, stored)
    }

    /// Keeps what models said.
    pub(super) fn predicted(&mut self, predicted: &[Predicted]) {
        self.predicted.extend_from_slice(predicted);
    }

    fn registered(&mut self, new: &NewReading, known: &Known) -> Registered {
        if let Some(registered) = self.sensors.get(&new.sensor.id).or_else(|| known.by_id(&new.sensor.id)) {
            return registered.clone();
        }
        self.heads.sensor += 1;
        let registered = Registered { no: self.heads.sensor, sensor: Arc::clone(&new.sensor), is_declared: false };
        self.sensors.insert(new.sensor.id.clone(), registered.clone());
        registered
    }

    /// Describes a sensor anew, and registers it if it is not yet. Gives its number, and how it was described before if
    /// that was otherwise.
    pub(super) fn declared(&mut self, sensor: &Sensor, known: &Known) -> (i32, Option<Earlier>) {
        let registered = self.sensors.get(&sensor.id).or_else(|| known.by_id(&sensor.id));
        let (no, earlier) = match registered {
            Some(Registered { no, sensor: before, .. }) => {
                let (no, until) = (*no, self.heads.reading);
                let earlier = (**before != *sensor).then(|| Earlier { no, until, sensor: Arc::clone(before) });
                (no, earlier)
            }
            None => {
                self.heads.sensor += 1;
                (self.heads.sensor, None)
            }
        };
        let described = Registered { no, sensor: Arc::new(sensor.clone()), is_declared: true };
        self.sensors.insert(sensor.id.clone(), described);
        self.earlier.extend(earlier.clone());
        (no, earlier)
    }

    fn tally(&mut self, registered: Registered, taken_at: i64) {
        let tally = self.tallies.entry(registered.no).or_insert(Tally {
            registered,
            n_readings: 0,
            first_at: taken_at,
            last_at: taken_at,
        });
        tally.n_readings += 1;
        tally.first_at = tally.first_at.min(taken_at);
        tally.last_at = tally.last_at.max(taken_at);
    }

    /// Inserts the rows gathered so far.
    pub(super) async fn insert(&mut self, tx: &impl ConnectionTrait) -> Result<(), Trouble> {
        let tallies: Vec<[Value; SENSOR_COLUMNS]> = self.tallies.drain().map(|(_, tally)| tally.row()).collect();
        sql::insert(tx, INSERT_SENSORS, COUNT_SENSORS, tallies).await?;
        sql::insert(tx, INSERT_READINGS, "", std::mem::take(&mut self.reading_rows)).await?;
        sql::insert(tx, INSERT_EVENTS, "", std::mem::take(&mut self.event_rows)).await?;
        sql::insert(tx, INSERT_AUDIT, "", std::mem::take(&mut self.audit_rows)).await?;
        models::keep_predictions(tx, &std::mem::take(&mut self.predicted)).await?;
        Ok(())
    }

    /// What became known with the commit.
    pub(super) fn into_committed(self) -> Became {
        Became {
            sensors: self.sensors.into_values().collect(),
            earlier: self.earlier,
            committed: self.committed,
            n_readings: self.n_readings,
        }
    }
}

impl Tally {
    fn row(self) -> [Value; SENSOR_COLUMNS] {
        let sensor = &self.registered.sensor;
        [
            self.registered.no.into(),
            sensor.id.as_str().into(),
            sensor.asset.as_str().into(),
            sensor.sensor_type.as_str().into(),
            sensor.unit.clone().into(),
            sensor.limit_high.into(),
            sensor.limit_low.into(),
            self.first_at.into(),
            self.last_at.into(),
            self.n_readings.into(),
        ]
    }
}
