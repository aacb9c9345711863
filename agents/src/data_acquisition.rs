//! Takes readings in: judges each one, and hands the acceptable ones to the writer.
//!
//! Takes in: submissions of the edge. Emits, through the writer: `ReadingsAccepted`, `ReadingsRejected`.
//! Remembers: nothing. It never waits for a commit; the writer answers the caller after it.

use domain::reading::{Incoming, Problem, Rejected, Sensor};
use domain::{AssetId, EventId, SensorId, Timestamp, unit};
use persistence::Store;
use persistence::unit::{Idempotency, Ingest, NewReading, Refused};
use runtime::Called;
use runtime::intake::{Judged, Submission};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::debug;
use uuid::{NoContext, Uuid};

/// Metadata that name the asset a sensor sits on; the first that is there counts.
const ASSET_KEYS: [&str; 2] = ["asset_id", "equipment_id"];

/// `[agents.data_acquisition]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Refused items of a batch that its `ReadingsRejected` describes in words.
    pub examples_max: usize,
}

/// What of `[limits]` concerns a reading. The rest of that section is the edge's.
#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    /// Longest name of a sensor, an asset or a unit, in bytes.
    pub string_bytes_max: usize,
    /// Largest metadata object, as JSON bytes.
    pub metadata_bytes_max: usize,
    /// How far ahead of our clock a reading may claim to be.
    pub clock_ahead_max_seconds: i64,
}

/// The agent.
pub struct DataAcquisition {
    settings: Settings,
    limits: Limits,
    store: Store,
}

impl Called for DataAcquisition {
    const NAME: &'static str = "data_acquisition";
    type Settings = Settings;
    type Deps = (Store, Limits);
    type Request = Submission;

    fn start(settings: Settings, (store, limits): Self::Deps) -> anyhow::Result<Self> {
        anyhow::ensure!(0 < limits.string_bytes_max, "limits.string_bytes_max must be at least 1");
        anyhow::ensure!(0 <= limits.clock_ahead_max_seconds, "limits.clock_ahead_max_seconds must not be negative");
        Ok(Self { settings, limits, store })
    }

    fn call(&self, submission: Submission, now: Timestamp) {
        // A caller that is gone was promised nothing, and nobody would hold its credit.
        if submission.reply.is_closed() {
            return;
        }
        let (told, committed) = oneshot::channel();
        let mut readings = Vec::with_capacity(submission.items.len());
        let items: Vec<Result<(), Problem>> = submission
            .items
            .into_iter()
            .map(|item| {
                let reading = item.and_then(|incoming| judge(incoming, &self.limits, now))?;
                self.check_unit(&reading.sensor)?;
                readings.push(reading);
                Ok(())
            })
            .collect();
        let n_accepted = readings.len();
        debug!(agent = Self::NAME, correlation_id = %submission.correlation, accepted = n_accepted, rejected = items.len() - n_accepted, "readings judged");
        if !items.is_empty() {
            let unit = Ingest {
                readings,
                rejected: rejected(&items, self.settings.examples_max),
                event: event_id(now),
                correlation: submission.correlation,
                traceparent: submission.traceparent,
                received_at: now,
                idempotency: submission.key.map(|key| Idempotency {
                    scope: key.scope,
                    key: key.key,
                    body_sha256: key.body_sha256,
                    response: Outcome::of(&items).to_json(),
                    at: now,
                }),
                reply: told,
            };
            if let Err(unit) = self.store.ingest(unit) {
                let closed = Err(Refused::Unavailable("the store is closed".to_owned()));
                if unit.reply.send(closed).is_err() {
                    debug!("nobody waits for the answer any more");
                }
            }
        }
        if submission.reply.send(Judged { items, committed, permit: submission.permit }).is_err() {
            debug!("the caller went away while its items were judged");
        }
    }
}

impl DataAcquisition {
    /// Refuses a reading whose sensor says another unit than the plant declares; nothing is converted.
    fn check_unit(&self, told: &Sensor) -> Result<(), Problem> {
        let Some(unit) = &told.unit else { return Ok(()) };
        match self.store.declared(&told.id).and_then(|declared| declared.unit.clone()) {
            Some(declared) if !unit::is_same(unit, &declared) => {
                let message = format!("must be {declared}, as the plant declares the sensor, got {unit:?}");
                Err(problem("unit", message))
            }
            _ => Ok(()),
        }
    }
}

/// The reading that `incoming` describes, or what is wrong with it.
fn judge(incoming: Incoming, limits: &Limits, now: Timestamp) -> Result<NewReading, Problem> {
    let Incoming { sensor, value, taken_at, sensor_type, unit, quality, metadata } = incoming;
    let id = name("sensor_id", &sensor, limits)?;
    if !value.is_finite() {
        return Err(problem("value", format!("must be a finite number, got {value}")));
    }
    if !(0.0..=1.0).contains(&quality) {
        return Err(problem("quality", format!("must be from 0 to 1, got {quality}")));
    }
    let taken_at = taken_at.unwrap_or(now);
    let ahead_seconds = taken_at.duration_since(now).as_secs();
    if limits.clock_ahead_max_seconds < ahead_seconds {
        return Err(problem(
            "timestamp",
            format!("lies {ahead_seconds} s in the future, more than the {} s allowed", limits.clock_ahead_max_seconds),
        ));
    }
    let unit = match unit.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(unit) => Some(name("unit", unit, limits)?.to_owned()),
    };
    if !metadata.is_empty() {
        let n_bytes = serde_json::to_vec(&metadata).map_or(usize::MAX, |json| json.len());
        if limits.metadata_bytes_max < n_bytes {
            let max = limits.metadata_bytes_max;
            return Err(problem("metadata", format!("has {n_bytes} bytes as JSON, more than the {max} allowed")));
        }
    }
    let asset = ASSET_KEYS.into_iter().find_map(|key| Some((key, metadata.get(key)?.as_str()?)));
    let asset = match asset {
        Some((key, asset)) => name(&format!("metadata.{key}"), asset, limits)?,
        None => id,
    };
    let (limit_low, limit_high) = (limit("limit_low", &metadata)?, limit("limit_high", &metadata)?);
    if let (Some(low), Some(high)) = (limit_low, limit_high)
        && high <= low
    {
        return Err(problem("metadata.limit_high", format!("must lie above limit_low, got {high} and {low}")));
    }
    Ok(NewReading {
        sensor: Arc::new(Sensor {
            id: SensorId::from(id),
            asset: AssetId::from(asset),
            sensor_type: sensor_type.unwrap_or_default(),
            unit,
            limit_high,
            limit_low,
        }),
        value,
        quality,
        // The store keeps microseconds; what the agents see must be what it keeps.
        taken_at: Timestamp::from_microsecond(taken_at.as_microsecond()).unwrap_or(taken_at),
        extra: (!metadata.is_empty()).then(|| Box::new(metadata)),
    })
}

/// `text` without surrounding blanks, if it can be a name: two spellings of one sensor would be two sensors.
fn name<'a>(field: &str, text: &'a str, limits: &Limits) -> Result<&'a str, Problem> {
    let name = text.trim();
    if name.is_empty() {
        return Err(problem(field, "must not be empty".to_owned()));
    }
    if limits.string_bytes_max < name.len() {
        let max = limits.string_bytes_max;
        return Err(problem(field, format!("has {} bytes, more than the {max} allowed", name.len())));
    }
    if name.chars().any(char::is_control) {
        return Err(problem(field, "must not contain control characters".to_owned()));
    }
    Ok(name)
}

/// The value under `key` at which the sensor counts as failed, if the sender told one.
fn limit(key: &str, metadata: &Map<String, Value>) -> Result<Option<f64>, Problem> {
    match metadata.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(limit) => Ok(Some(limit)),
            None => Err(problem(&format!("metadata.{key}"), format!("must be a number, got {value}"))),
        },
    }
}

fn problem(field: &str, message: String) -> Problem {
    Problem { field: field.to_owned(), message }
}

/// What the log keeps of the items that were refused, if any were.
fn rejected(items: &[Result<(), Problem>], examples_max: usize) -> Option<Rejected> {
    let refused = items.iter().enumerate().filter_map(|(idx, item)| Some((idx, item.as_ref().err()?)));
    let count = u32::try_from(refused.clone().count()).unwrap_or(u32::MAX);
    let examples = refused
        .take(examples_max)
        .map(|(idx, Problem { field, message })| format!("item {idx}: {field} {message}"))
        .collect();
    (0 < count).then_some(Rejected { count, examples })
}

/// An id that sorts by `now`.
fn event_id(now: Timestamp) -> EventId {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    EventId(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds)))
}

/// What became of the items, as it is kept for the answer to a repeated request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How many were acceptable.
    pub accepted: usize,
    /// How many were not.
    pub rejected: usize,
    /// Those that were not, in order.
    pub items: Vec<RejectedItem>,
}

/// One item that was not acceptable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectedItem {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Always `rejected`.
    pub status: String,
    /// The field that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Outcome {
    /// What became of `items`.
    pub fn of(items: &[Result<(), Problem>]) -> Self {
        let refused: Vec<RejectedItem> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                let Problem { field, message } = item.as_ref().err()?.clone();
                Some(RejectedItem { index, status: "rejected".to_owned(), field, detail: message })
            })
            .collect();
        Self { accepted: items.len() - refused.len(), rejected: refused.len(), items: refused }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::CorrelationId;
    use domain::reading::SensorType;
    use persistence::unit::Ingested;
    use runtime::admission::Credits;
    use runtime::intake::Key;
    use serde_json::json;

    fn limits() -> Limits {
        Limits { string_bytes_max: 16, metadata_bytes_max: 64, clock_ahead_max_seconds: 60 }
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn metadata(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn incoming() -> Incoming {
        Incoming {
            sensor: "pump-1/t".to_owned(),
            value: 21.5,
            taken_at: None,
            sensor_type: None,
            unit: None,
            quality: 1.0,
            metadata: Map::new(),
        }
    }

    /// The field that is found wrong.
    fn field_of(change: impl FnOnce(&mut Incoming)) -> String {
        let mut item = incoming();
        change(&mut item);
        judge(item, &limits(), now()).expect_err("the item makes no sense").field
    }

    #[test]
    fn each_field_that_makes_no_sense_is_named() {
        assert_eq!(field_of(|item| item.sensor = " \t".to_owned()), "sensor_id");
        assert_eq!(field_of(|item| item.sensor = "x".repeat(17)), "sensor_id");
        assert_eq!(field_of(|item| item.sensor = "a\u{7}b".to_owned()), "sensor_id");
        assert_eq!(field_of(|item| item.value = f64::NAN), "value");
        assert_eq!(field_of(|item| item.value = f64::INFINITY), "value");
        assert_eq!(field_of(|item| item.quality = 1.1), "quality");
        assert_eq!(field_of(|item| item.quality = f64::NAN), "quality");
        assert_eq!(field_of(|item| item.taken_at = Some("2026-01-01T12:01:01Z".parse().unwrap())), "timestamp");
        assert_eq!(field_of(|item| item.unit = Some("x".repeat(17))), "unit");
        assert_eq!(field_of(|item| item.metadata = metadata(json!({ "note": "x".repeat(64) }))), "metadata");
        assert_eq!(field_of(|item| item.metadata = metadata(json!({ "asset_id": "" }))), "metadata.asset_id");
        assert_eq!(field_of(|item| item.metadata = metadata(json!({ "limit_low": "9" }))), "metadata.limit_low");
        let crossed = json!({ "limit_low": 9, "limit_high": 9.0 });
        assert_eq!(field_of(|item| item.metadata = metadata(crossed)), "metadata.limit_high");
    }

    #[test]
    fn negative_values_and_old_readings_are_fine() {
        let old: Timestamp = "1999-01-01T00:00:00.0000005Z".parse().unwrap();
        let reading = judge(Incoming { value: -40.0, taken_at: Some(old), ..incoming() }, &limits(), now()).unwrap();
        assert_eq!(reading.value, -40.0);
        assert_eq!(reading.taken_at, "1999-01-01T00:00:00Z".parse().unwrap(), "the store keeps microseconds");
    }

    #[test]
    fn a_reading_describes_its_sensor() {
        let plain = judge(Incoming { sensor: " pump-1/t ".to_owned(), ..incoming() }, &limits(), now()).unwrap();
        assert_eq!(plain.taken_at, now(), "a reading without a time was taken now");
        assert_eq!(plain.extra, None);
        assert_eq!((plain.sensor.id.as_str(), plain.sensor.asset.as_str()), ("pump-1/t", "pump-1/t"));
        assert_eq!(plain.sensor.sensor_type, SensorType::General);

        let told = Incoming {
            sensor_type: Some(SensorType::Pump),
            unit: Some("bar".to_owned()),
            metadata: metadata(json!({ "equipment_id": "pump-1", "batch": 7, "limit_high": 9 })),
            ..incoming()
        };
        let told = judge(told, &limits(), now()).unwrap();
        assert_eq!(told.sensor.asset.as_str(), "pump-1");
        assert_eq!((told.sensor.sensor_type, told.sensor.unit.as_deref()), (SensorType::Pump, Some("bar")));
        assert_eq!((told.sensor.limit_low, told.sensor.limit_high), (None, Some(9.0)));
        assert_eq!(told.extra.unwrap().get("batch"), Some(&json!(7)));
    }

    #[test]
    fn the_kept_outcome_names_only_what_was_refused() {
        let items = [Ok(()), Err(problem("value", "must be a finite number, got NaN".to_owned())), Ok(())];
        assert_eq!(
            Outcome::of(&items).to_json(),
            r#"{"accepted":2,"rejected":1,"items":[{"index":1,"status":"rejected","field":"value","detail":"must be a finite number, got NaN"}]}"#
        );
    }

    #[test]
    fn only_the_first_refused_items_are_examples() {
        let items: Vec<_> = (0..7).map(|_| Err(problem("value", "is wrong".to_owned()))).collect();
        let rejected = rejected(&items, 5).unwrap();
        assert_eq!((rejected.count, rejected.examples.len()), (7, 5));
        assert_eq!(rejected.examples[0], "item 0: value is wrong");
        assert_eq!(super::rejected(&[Ok(())], 5), None);
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_str().unwrap();
        let config = config::Config::defaults().with("store.data_dir", data_dir).unwrap();
        let store = Store::open(&config.section("store").unwrap()).await.unwrap();
        (folder, store)
    }

    fn submission(items: Vec<Result<Incoming, Problem>>) -> (Submission, oneshot::Receiver<Judged>) {
        let (reply, judged) = oneshot::channel();
        let permit = Credits::new(1, 1).take(1).unwrap();
        let key = Key { scope: "test".to_owned(), key: "once".to_owned(), body_sha256: [7; 32] };
        let correlation = CorrelationId::from("c");
        (Submission { items, correlation, traceparent: None, key: Some(key), permit, reply }, judged)
    }

    fn agent(store: Store) -> DataAcquisition {
        DataAcquisition::start(Settings { examples_max: 5 }, (store, limits())).unwrap()
    }

    #[tokio::test]
    async fn what_is_acceptable_is_committed_once_and_a_repeat_gets_the_first_answer() {
        let (_folder, store) = store().await;
        let agent = agent(store.clone());
        let items = || vec![Ok(incoming()), Err(problem("value", "is missing".to_owned()))];
        let talk = async {
            let mut answers = Vec::new();
            for _ in 0..2 {
                let (submission, judged) = submission(items());
                agent.call(submission, now());
                let judged = judged.await.unwrap();
                assert_eq!(judged.items, [Ok(()), Err(problem("value", "is missing".to_owned()))]);
                answers.push(judged.committed.await.unwrap().unwrap());
            }
            store.close();
            answers
        };
        let (answers, written) = tokio::join!(talk, store.run_writer());
        written.unwrap();
        let [Ingested::Stored { event, .. }, Ingested::Repeat(repeat)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(repeat.event, *event);
        assert_eq!(
            serde_json::from_str::<Outcome>(&repeat.response).unwrap(),
            Outcome::of(&[Ok(()), items().pop().unwrap().map(drop)])
        );
        let names: Vec<_> =
            store.log().after(domain::Seq(0), 9).await.unwrap().iter().map(|e| e.event.name()).collect();
        assert_eq!(names, ["readings_accepted", "readings_rejected"]);
    }

    #[tokio::test]
    async fn a_closed_store_is_told_and_a_caller_that_is_gone_costs_nothing() {
        let (_folder, store) = store().await;
        store.close();
        let agent = agent(store.clone());
        let (first, judged) = submission(vec![Ok(incoming())]);
        agent.call(first, now());
        let outcome = judged.await.unwrap().committed.await.unwrap();
        assert!(matches!(outcome, Err(Refused::Unavailable(_))), "{outcome:?}");

        let (second, judged) = submission(vec![Ok(incoming())]);
        drop(judged);
        agent.call(second, now());
        assert_eq!(store.log().head(), domain::Seq(0));
    }
}
