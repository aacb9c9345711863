//! `/api/v1/data/ingest/batch`: many readings at once, as JSON lines or as a JSON array.
//!
//! Items that are written as they should be are read straight into a struct; only the others take the lax way.
//! An item that makes no sense does not harm its neighbours.

use super::reading;
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, Fields, decode, decode_error, lax, quote_non_finite};
use domain::reading::{Incoming, Problem, SensorType};
use domain::{CorrelationId, Timestamp};
use persistence::unit::Ingested;
use runtime::metrics::Limit;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// The media types of JSON lines.
pub(crate) const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

type Item = Result<Incoming, Problem>;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Batch {
    accepted: usize,
    rejected: usize,
    /// Whether this is the answer to an earlier request.
    duplicate: bool,
    event_id: Uuid,
    correlation_id: CorrelationId,
    /// The items that were refused.
    items: Vec<Refused>,
}

/// An item that was refused. The agent that acquires data writes the same for the answer to a repeat.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Refused {
    index: usize,
    status: Cow<'static, str>,
    field: String,
    detail: String,
}

/// What the agent that acquires data keeps for the answer to a repeat.
#[derive(Deserialize)]
struct Kept {
    accepted: usize,
    rejected: usize,
    items: Vec<Refused>,
}

pub(super) async fn ingest(app: App, mut call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let correlation = query.optional("correlation_id", lax::uuid);
    query.finish()?;
    let correlation = correlation.map_or_else(|| call.correlation(), |id| CorrelationId::new(id.to_string()));
    let key = call.key(|| Sha256::digest(&call.body).into())?;
    let items = items(&call)?;
    if items.is_empty() {
        return Err(ApiError::invalid("body", "List should have at least 1 item after validation, not 0"));
    }
    if app.limits.batch_items_max < items.len() {
        app.metrics.limit_reached(Limit::BatchItems);
        let message = format!("List should have at most {} items, not {}", app.limits.batch_items_max, items.len());
        return Err(ApiError::invalid("body", &message));
    }
    let permit = call.permit.take().map_or_else(|| app.admit_readings(0), Ok)?;
    let outcome = app.submit(items, &correlation, key, permit).await?;
    let batch = match outcome.ingested {
        Ingested::Stored { event, .. } => {
            let items = refused(outcome.items.iter());
            Batch {
                accepted: outcome.items.len() - items.len(),
                rejected: items.len(),
                duplicate: false,
                event_id: event.0,
                correlation_id: correlation,
                items,
            }
        }
        Ingested::Repeat(repeat) => {
            let Kept { accepted, rejected, items } =
                serde_json::from_str(&repeat.response).map_err(ApiError::internal)?;
            Batch { accepted, rejected, duplicate: true, event_id: repeat.event.0, correlation_id: correlation, items }
        }
    };
    if batch.accepted != 0 {
        return Reply::json(&batch);
    }
    let first = batch.items.first().map(|item| format!("; item {}: {}: {}", item.index, item.field, item.detail));
    let detail = format!("No item of the batch makes sense{}", first.unwrap_or_default());
    match serde_json::to_value(&batch).map_err(ApiError::internal)? {
        Value::Object(members) => Err(ApiError::InvalidItems { detail, members }),
        other => Err(ApiError::internal(format!("a batch became {other}"))),
    }
}

fn refused<'a>(items: impl Iterator<Item = &'a Result<(), Problem>>) -> Vec<Refused> {
    let refused = items.enumerate().filter_map(|(index, item)| Some((index, item.as_ref().err()?)));
    refused
        .map(|(index, Problem { field, message })| Refused {
            index,
            status: Cow::Borrowed("rejected"),
            field: field.clone(),
            detail: message.clone(),
        })
        .collect()
}

/// The items of the body, in whichever form it has.
fn items(call: &Call) -> Result<Vec<Item>, ApiError> {
    let media = call.media_type();
    match media.as_deref() {
        Some(media) if LINES.contains(&media) => Ok(lines(&call.body)),
        Some(media) if media != "application/json" && !media.ends_with("+json") => {
            Err(ApiError::invalid("body", "Input should be application/json or application/x-ndjson"))
        }
        _ => array(&call.body),
    }
}

/// An item a line. Empty lines are none.
pub(crate) fn lines(body: &[u8]) -> Vec<Item> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines
        .map(|line| match serde_json::from_slice::<Quick<'_>>(line) {
            Ok(quick) => Ok(quick.into()),
            Err(_) => slow(line),
        })
        .collect()
}

/// The members of an array, or of the `readings` of an object.
pub(crate) fn array(body: &[u8]) -> Result<Vec<Item>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Err(ApiError::invalid("body", "Field required"));
    }
    if let Ok(quick) = members::<Quick<'_>>(body) {
        return Ok(quick.into_iter().map(|quick| Ok(quick.into())).collect());
    }
    // At least one of them is not as it should be, so each is read for itself.
    let quoted;
    let (raw, body) = match members::<&RawValue>(body) {
        Ok(raw) => (Ok(raw), body),
        Err(error) => match quote_non_finite(body) {
            Some(text) => {
                quoted = text;
                (members::<&RawValue>(&quoted), &quoted[..])
            }
            None => (Err(error), body),
        },
    };
    let raw = raw.map_err(|error| match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(values)) if !values.contains_key("readings") => {
            ApiError::invalid("body → readings", "Field required")
        }
        Ok(Value::Object(_)) => ApiError::invalid("body → readings", "Input should be a valid list"),
        Ok(_) => ApiError::invalid("body", "Input should be a valid list"),
        Err(_) => decode_error(body, &error),
    })?;
    let read = |raw: &RawValue| match serde_json::from_str::<Quick<'_>>(raw.get()) {
        Ok(quick) => Ok(quick.into()),
        Err(_) => slow(raw.get().as_bytes()),
    };
    Ok(raw.into_iter().map(read).collect())
}

fn members<'de, T: Deserialize<'de>>(body: &'de [u8]) -> serde_json::Result<Vec<T>> {
    #[derive(Deserialize)]
    struct Wrapped<T> {
        readings: Vec<T>,
    }

    if body.trim_ascii_start().first() == Some(&b'{') {
        Ok(serde_json::from_slice::<Wrapped<T>>(body)?.readings)
    } else {
        serde_json::from_slice(body)
    }
}

/// An item that is not written as it should be: lax where the old contract is, and with the field to blame.
fn slow(item: &[u8]) -> Item {
    let problem = |message: &str| Problem { field: "item".to_owned(), message: message.to_owned() };
    let mut fields = match decode(item) {
        Ok(Value::Object(values)) => Fields::of_body(values),
        Ok(_) => return Err(problem("Input should be a valid dictionary")),
        Err(_) => return Err(problem("JSON decode error")),
    };
    let reading = reading(&mut fields);
    fields.problem().cloned().map_or(Ok(reading), Err)
}

/// A reading that is written as it should be.
#[derive(Deserialize)]
struct Quick<'a> {
    #[serde(borrow)]
    sensor_id: Cow<'a, str>,
    value: f64,
    #[serde(default)]
    timestamp: When,
    #[serde(default)]
    sensor_type: Option<SensorType>,
    #[serde(default, borrow)]
    unit: Option<Cow<'a, str>>,
    #[serde(default = "good")]
    quality: f64,
    #[serde(default)]
    metadata: Map<String, Value>,
}

fn good() -> f64 {
    1.0
}

impl From<Quick<'_>> for Incoming {
    fn from(quick: Quick<'_>) -> Self {
        Self {
            sensor: quick.sensor_id.into_owned(),
            value: quick.value,
            taken_at: quick.timestamp.0,
            sensor_type: quick.sensor_type,
            unit: quick.unit.map(Cow::into_owned),
            quality: quick.quality,
            metadata: quick.metadata,
        }
    }
}

/// An instant in any of its forms but a flag's.
#[derive(Default)]
struct When(Option<Timestamp>);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = When;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an instant")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<When, E> {
                lax::instant(text).map(|at| When(Some(at))).ok_or_else(|| E::custom("no instant"))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<When, E> {
                lax::since_epoch(number).map(|at| When(Some(at))).ok_or_else(|| E::custom("no instant"))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<When, E> {
                self.visit_f64(number as f64)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<When, E> {
                self.visit_f64(number as f64)
            }

            fn visit_unit<E: Error>(self) -> Result<When, E> {
                Ok(When(None))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"sensor_id":"s","value":1.5,"timestamp":"2025-10-02T12:00:00Z","extra":[1]}"#;

    /// Sensor, value and instant of each item, or the field to blame.
    fn told(items: &[Item]) -> Vec<String> {
        items
            .iter()
            .map(|item| match item {
                Ok(Incoming { sensor, value, taken_at, .. }) => {
                    format!("{sensor} {value} {}", taken_at.map(|at| at.to_string()).unwrap_or_default())
                }
                Err(problem) => format!("! {}: {}", problem.field, problem.message),
            })
            .collect()
    }

    #[test]
    fn one_bad_item_does_not_harm_its_neighbours_in_any_form() {
        let bad = [
            (r#"{"sensor_id":"s"}"#, "! value: Field required"),
            (r#"{"sensor_id":"s","value":NaN}"#, "! value: Input should be a finite number"),
            (r#"{"sensor_id":7,"value":1}"#, "! sensor_id: Input should be a valid string"),
            (r#"{"sensor_id":"s","value":1,"timestamp":"soon"}"#, "! timestamp: Input should be a valid datetime"),
            (r#"{"sensor_id":"s","value":1,"quality":null}"#, "! quality: Input should be a valid number"),
            ("[]", "! item: Input should be a valid dictionary"),
        ];
        let good = "s 1.5 2025-10-02T12:00:00Z";
        for (item, expected) in bad {
            let expected = [good, expected, good];
            assert_eq!(told(&lines(format!("{GOOD}\r\n\n{item}\n{GOOD}").as_bytes())), expected);
            let list = format!("[{GOOD},{item},{GOOD}]");
            assert_eq!(told(&array(list.as_bytes()).expect("a list")), expected);
            assert_eq!(told(&array(format!(r#"{{"readings":{list}}}"#).as_bytes()).expect("a list")), expected);
        }
        assert_eq!(told(&lines(b"{\"sensor_id\"\n")), ["! item: JSON decode error"]);
    }

    #[test]
    fn lax_items_are_read_as_well() {
        let body = r#"[{"sensor_id":"s","value":"2","timestamp":1759406400},{"sensor_id":"\u0061","value":true}]"#;
        assert_eq!(told(&array(body.as_bytes()).expect("a list")), ["s 2 2025-10-02T12:00:00Z", "a 1 "]);
    }

    #[test]
    fn a_body_that_is_no_list_is_refused() {
        let refusal = |body: &str| match array(body.as_bytes()) {
            Err(ApiError::Invalid(detail)) => detail,
            other => panic!("{other:?}"),
        };
        assert!(refusal("").ends_with("body: Field required"));
        assert!(refusal("{}").ends_with("body → readings: Field required"));
        assert!(refusal(r#"{"readings":1}"#).ends_with("body → readings: Input should be a valid list"));
        assert!(refusal("7").ends_with("body: Input should be a valid list"));
        assert!(refusal("[{]").ends_with("body → 2: JSON decode error"), "{}", refusal("[{]"));
    }
}
