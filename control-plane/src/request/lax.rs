//! Reading JSON values the way the old system did: numbers may come as text, flags as words.
//!
//! Each function reads one kind of value; the messages are the old contract's.

use domain::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use std::fmt::Display;
use uuid::Uuid;

/// Magnitude above which a number is milliseconds since the epoch, and seconds below.
const SECONDS_MAX: f64 = 2e10;

/// Why a value cannot be read, and where inside of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
}

impl Wrong {
    /// The value itself cannot be read because of `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    fn inside(mut self, step: impl Into<String>) -> Self {
        self.path.insert(0, step.into());
        self
    }
}

type Read<T> = Result<T, Wrong>;

/// Text; a number is none.
pub(crate) fn string(value: &Value) -> Read<String> {
    text(value).map(str::to_owned)
}

/// Text of at most `bytes_max` bytes.
pub(crate) fn string_max(bytes_max: usize) -> impl Fn(&Value) -> Read<String> {
    move |value| match text(value)? {
        text if bytes_max < text.len() => Err(Wrong::new(format!("String should have at most {bytes_max} characters"))),
        text => Ok(text.to_owned()),
    }
}

/// Text of at least one character that is no blank, and at most `bytes_max` bytes.
pub(crate) fn name_max(bytes_max: usize) -> impl Fn(&Value) -> Read<String> {
    let string = string_max(bytes_max);
    move |value| match string(value)? {
        text if text.trim().is_empty() => Err(Wrong::new("String should have at least 1 character")),
        text => Ok(text),
    }
}

/// A finite number.
pub(crate) fn float(value: &Value) -> Read<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64().ok_or_else(|| Wrong::new("Input should be a valid number"))?,
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::String(text) => text
            .trim()
            .parse()
            .map_err(|_| Wrong::new("Input should be a valid number, unable to parse string as a number"))?,
        _ => return Err(Wrong::new("Input should be a valid number")),
    };
    if number.is_finite() { Ok(number) } else { Err(Wrong::new("Input should be a finite number")) }
}

/// A finite number from `min` to `max`, both included.
pub(crate) fn float_in(min: f64, max: f64) -> impl Fn(&Value) -> Read<f64> {
    move |value| within(float(value)?, min, max)
}

/// A whole number.
pub(crate) fn int(value: &Value) -> Read<i64> {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole),
            (None, Some(number)) if number.fract() != 0.0 => {
                Err(Wrong::new("Input should be a valid integer, got a number with a fractional part"))
            }
            // Every f64 below 2^53 is its own whole number.
            (None, Some(number)) if number.abs() <= 9_007_199_254_740_992.0 => Ok(number as i64),
            _ => Err(Wrong::new("Input should be a valid integer")),
        },
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::String(text) => text
            .trim()
            .parse()
            .map_err(|_| Wrong::new("Input should be a valid integer, unable to parse string as an integer")),
        _ => Err(Wrong::new("Input should be a valid integer")),
    }
}

/// A whole number from `min` to `max`, both included.
pub(crate) fn int_in(min: i64, max: i64) -> impl Fn(&Value) -> Read<i64> {
    move |value| within(int(value)?, min, max)
}

/// A count from `min` to `max`, both included.
pub(crate) fn count_in(min: usize, max: usize) -> impl Fn(&Value) -> Read<usize> {
    move |value| {
        let whole = int(value)?;
        match usize::try_from(whole) {
            Ok(count) => within(count, min, max),
            Err(_) if whole < 0 => Err(at_least(min)),
            Err(_) => Err(at_most(max)),
        }
    }
}

/// A flag: a boolean, 0 or 1, or one of the words for them.
pub(crate) fn boolean(value: &Value) -> Read<bool> {
    const TRUE: [&str; 6] = ["true", "1", "yes", "on", "t", "y"];
    const FALSE: [&str; 6] = ["false", "0", "no", "off", "f", "n"];
    let unclear = || Wrong::new("Input should be a valid boolean, unable to interpret input");
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(unclear()),
        },
        Value::String(text) => match text.to_ascii_lowercase() {
            word if TRUE.contains(&word.as_str()) => Ok(true),
            word if FALSE.contains(&word.as_str()) => Ok(false),
            _ => Err(unclear()),
        },
        _ => Err(Wrong::new("Input should be a valid boolean")),
    }
}

/// An instant: ISO 8601 (UTC when it names no zone), or a number since the epoch. Whole microseconds.
pub(crate) fn datetime(value: &Value) -> Read<Timestamp> {
    match value {
        Value::Number(number) => number.as_f64().and_then(since_epoch),
        Value::String(text) => instant(text.trim()),
        _ => None,
    }
    .ok_or_else(|| Wrong::new("Input should be a valid datetime"))
}

/// The instant that `text` names.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    let naive = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let numeric = || text.parse().ok().and_then(since_epoch);
    whole_microseconds(zoned.or_else(naive).or_else(numeric)?)
}

/// The instant that lies `number` seconds, or milliseconds, after the epoch.
pub(crate) fn since_epoch(number: f64) -> Option<Timestamp> {
    let microseconds = number * if SECONDS_MAX < number.abs() { 1e3 } else { 1e6 };
    // What is out of range, or NaN, is refused by the range of the timestamp or here.
    if !microseconds.is_finite() || 9e18 < microseconds.abs() {
        return None;
    }
    Timestamp::from_microsecond(microseconds.round() as i64).ok()
}

fn whole_microseconds(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_microsecond(at.as_microsecond()).ok()
}

/// A day: a date, or an instant at its very start.
pub(crate) fn date(value: &Value) -> Read<civil::Date> {
    let wrong = || Wrong::new("Input should be a valid date in the format YYYY-MM-DD");
    let text = text(value).map_err(|_| wrong())?.trim();
    let start: civil::DateTime = text.trim_end_matches('Z').parse().map_err(|_| wrong())?;
    if start.time() == civil::Time::midnight() { Ok(start.date()) } else { Err(wrong()) }
}

/// A UUID in any of its four forms.
pub(crate) fn uuid(value: &Value) -> Read<Uuid> {
    let wrong = |reason: &dyn Display| Wrong::new(format!("Input should be a valid UUID, {reason}"));
    let text = text(value).map_err(|_| Wrong::new("UUID input should be a string, bytes or UUID object"))?;
    Uuid::parse_str(text).map_err(|error| wrong(&error))
}

/// A value of the enumeration that `parse` knows by `names`.
pub(crate) fn named<T, F>(names: &[&str], parse: F) -> impl Fn(&Value) -> Read<T> + use<T, F>
where
    F: Fn(&str) -> Option<T>,
{
    let names = listed(names);
    move |value| value.as_str().and_then(&parse).ok_or_else(|| Wrong::new(format!("Input should be {names}")))
}

/// An object.
pub(crate) fn object(value: &Value) -> Read<Map<String, Value>> {
    value.as_object().cloned().ok_or_else(|| Wrong::new("Input should be a valid dictionary"))
}

/// A list of at most `items_max` values that `read` can read.
pub(crate) fn list<T>(items_max: usize, read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Vec<T>> {
    move |value| {
        let items = value.as_array().ok_or_else(|| Wrong::new("Input should be a valid list"))?;
        if items_max < items.len() {
            return Err(Wrong::new(format!("List should have at most {items_max} items, not {}", items.len())));
        }
        let read_item = |(idx, item)| read(item).map_err(|wrong| wrong.inside(usize::to_string(&idx)));
        items.iter().enumerate().map(read_item).collect()
    }
}

/// An object whose values `read` can all read.
pub(crate) fn map<T>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Vec<(String, T)>> {
    move |value| {
        let members = value.as_object().ok_or_else(|| Wrong::new("Input should be a valid dictionary"))?;
        let read_member = |(name, value): (&String, &Value)| match read(value) {
            Ok(value) => Ok((name.clone(), value)),
            Err(wrong) => Err(wrong.inside(name.as_str())),
        };
        members.iter().map(read_member).collect()
    }
}

fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| Wrong::new("Input should be a valid string"))
}

fn within<T: PartialOrd + Display>(value: T, min: T, max: T) -> Read<T> {
    if value < min {
        Err(at_least(min))
    } else if max < value {
        Err(at_most(max))
    } else {
        Ok(value)
    }
}

fn at_least(min: impl Display) -> Wrong {
    Wrong::new(format!("Input should be greater than or equal to {min}"))
}

fn at_most(max: impl Display) -> Wrong {
    Wrong::new(format!("Input should be less than or equal to {max}"))
}

/// `'a', 'b' or 'c'`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_in_many_forms() {
        for (given, expected) in [(json!(1.5), 1.5), (json!(" 1.5 "), 1.5), (json!(true), 1.0), (json!("1e3"), 1e3)] {
            assert_eq!(float(&given), Ok(expected), "{given}");
        }
        for given in [json!("NaN"), json!("-Infinity"), json!("1e999"), json!(null), json!([]), json!("x")] {
            assert!(float(&given).is_err(), "{given}");
        }
        for (given, expected) in [(json!(3), 3), (json!(3.0), 3), (json!("3"), 3), (json!(false), 0)] {
            assert_eq!(int(&given), Ok(expected), "{given}");
        }
        for given in [json!(3.5), json!("3.5"), json!(1e300), json!(u64::MAX), json!(null)] {
            assert!(int(&given).is_err(), "{given}");
        }
    }

    #[test]
    fn bounds_are_told() {
        let message = |read: Read<i64>| read.expect_err("out of bounds").message;
        assert_eq!(message(int_in(1, 10)(&json!(0))), "Input should be greater than or equal to 1");
        assert_eq!(message(int_in(1, 10)(&json!(11))), "Input should be less than or equal to 10");
        let message = |read: Read<usize>| read.expect_err("out of bounds").message;
        assert_eq!(message(count_in(0, 10)(&json!(-1))), "Input should be greater than or equal to 0");
        assert_eq!(float_in(0.0, 1.0)(&json!(1)), Ok(1.0));
    }

    #[test]
    fn instants_come_in_many_forms() {
        let noon = "2025-10-02T12:00:00Z";
        for given in [
            json!("2025-10-02T12:00:00Z"),
            json!("2025-10-02T14:00:00+02:00"),
            json!("2025-10-02T12:00:00"),
            json!("2025-10-02 12:00:00"),
            json!(1_759_406_400),
            json!("1759406400"),
            json!(1_759_406_400.0),
            json!(1_759_406_400_000_i64),
        ] {
            assert_eq!(datetime(&given).map(|at| at.to_string()), Ok(noon.to_owned()), "{given}");
        }
        let midnight = datetime(&json!("2025-10-02")).map(|at| at.to_string());
        assert_eq!(midnight, Ok("2025-10-02T00:00:00Z".to_owned()));
        let fine = datetime(&json!("2025-10-02T12:00:00.123456789Z")).map(|at| at.to_string());
        assert_eq!(fine, Ok("2025-10-02T12:00:00.123456Z".to_owned()));
        for given in [json!("soon"), json!(""), json!(true), json!(1e300), json!("NaN"), json!("2025-13-01")] {
            assert!(datetime(&given).is_err(), "{given}");
        }
    }

    #[test]
    fn days_flags_names_and_ids() {
        assert_eq!(date(&json!("2025-10-02")).map(|date| date.to_string()), Ok("2025-10-02".to_owned()));
        assert!(date(&json!("2025-10-02T00:00:00Z")).is_ok());
        assert!(date(&json!("2025-10-02T00:00:01")).is_err());
        for (given, expected) in [(json!("ON"), true), (json!("f"), false), (json!(1), true), (json!(0.0), false)] {
            assert_eq!(boolean(&given), Ok(expected), "{given}");
        }
        assert!(boolean(&json!(2)).is_err());
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        for given in [id, "67e5504410b1426f9247bb680e5fe0c8", &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
            assert_eq!(uuid(&json!(given)).map(|id| id.to_string()), Ok(id.to_owned()), "{given}");
        }
        let read = named(&["hot", "cold", "mild"], |name| (name == "cold").then_some(1));
        assert_eq!(read(&json!("cold")), Ok(1));
        let message = read(&json!("Cold")).expect_err("another case").message;
        assert_eq!(message, "Input should be 'hot', 'cold' or 'mild'");
    }
}
