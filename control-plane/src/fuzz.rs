//! Every parser that meets the outside, as a function of bytes that must neither panic nor take long: for fuzzing.

use crate::access::key::prefix_of;
use crate::request::{self, Fields, lax};
use crate::routes::{self, ROUTES, ingest};
use serde_json::Value;

/// A parser, by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("ingest_item", item),
    ("ingest_array", |bytes| drop(ingest::batch::array(bytes))),
    ("ingest_lines", |bytes| drop(ingest::batch::lines(bytes))),
    ("fields", fields),
    ("path", path),
    ("api_key", key),
    ("event", event),
];

fn item(bytes: &[u8]) {
    if let Ok(Value::Object(values)) = request::decode(bytes) {
        let mut fields = Fields::of_body(values);
        drop(ingest::readings(&mut fields));
        drop(fields.finish());
    }
}

/// Each lenient reading of one value.
fn fields(bytes: &[u8]) {
    let text = Value::String(String::from_utf8_lossy(bytes).into_owned());
    for value in request::decode(bytes).into_iter().chain([text]) {
        drop(lax::float(&value));
        drop(lax::int(&value));
        drop(lax::boolean(&value));
        drop(lax::datetime(&value));
        drop(lax::date(&value));
        drop(lax::uuid(&value));
        drop(lax::object(&value));
        drop(lax::name_max(256)(&value));
        drop(lax::count_in(1, 1000)(&value));
        drop(lax::list(8, lax::float)(&value));
        drop(lax::map(lax::string)(&value));
    }
}

fn key(bytes: &[u8]) {
    std::hint::black_box(prefix_of(&String::from_utf8_lossy(bytes)));
}

/// The path of a request against every pattern.
fn path(bytes: &[u8]) {
    let path = String::from_utf8_lossy(bytes);
    for route in ROUTES {
        drop(routes::params(route.pattern, &path));
    }
}

/// What the log gives back, and what it would write.
fn event(bytes: &[u8]) {
    if let Ok(event) = serde_json::from_slice::<domain::Event>(bytes) {
        let written = serde_json::to_vec(&event).expect("an event that was read can be written");
        let again: domain::Event = serde_json::from_slice(&written).expect("and read again");
        drop(again);
    }
}
