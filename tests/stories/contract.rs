//! The contract: each route of the table answers as its entry says, when all is well and when it is not.

mod clients;
mod errors;
mod ml;
mod replies;

use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::HashMap;
use tests::client::Answer;

/// The document that a node serves, which every answer is held against.
pub(crate) struct Document {
    document: Value,
    validators: HashMap<String, Validator>,
}

impl Document {
    pub(crate) async fn of(client: &tests::client::Client) -> Self {
        Self { document: client.get("/openapi.json").await.ok(), validators: HashMap::new() }
    }

    /// Holds an answer against what is documented for its route and status.
    pub(crate) fn hold(&mut self, method: &str, pattern: &str, answer: &Answer) {
        let status = answer.status.as_u16().to_string();
        let at = format!("{method} {pattern} {status}");
        let operation = &self.document["paths"][pattern][method.to_ascii_lowercase()];
        let response = &operation["responses"][&status];
        assert!(response.is_object(), "{at} is not documented: {}", answer.body);
        for header in ["x-request-id", "traceparent"] {
            assert!(answer.headers.contains_key(header), "{at} has no {header}");
        }
        if ["429", "503"].contains(&status.as_str()) {
            assert!(answer.headers.contains_key("retry-after"), "{at} has no retry-after");
        }
        let Some(schema) = response["content"]["application/json"].get("schema") else {
            return;
        };
        let validator = self.validators.entry(at.clone()).or_insert_with(|| {
            let whole = json!({ "components": self.document["components"], "allOf": [schema] });
            jsonschema::draft202012::new(&whole).expect("a schema")
        });
        let wrong: Vec<String> =
            validator.iter_errors(&answer.body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{at}: {}\n{:#}", wrong.join("\n"), answer.body);
    }
}

/// Whether `value` is like `pattern`: a text in angle brackets stands for any value of that kind, an array of one for
/// any number of the same, and `…` among the members of an object for any others.
pub(crate) fn like(pattern: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{at} should be {what}, is {value}"));
    match (pattern, value) {
        (Value::String(kind), value) if kind.starts_with('<') => {
            let text = || value.as_str().unwrap_or_default();
            let fits = match kind.trim_matches(['<', '>']) {
                "any" => true,
                "text" => value.is_string(),
                "text?" => value.is_string() || value.is_null(),
                "number" => value.is_number(),
                "number?" => value.is_number() || value.is_null(),
                "flag" => value.is_boolean(),
                "object" => value.is_object(),
                "list" => value.is_array(),
                "uuid" => text().parse::<uuid::Uuid>().is_ok(),
                "uuid?" => value.is_null() || text().parse::<uuid::Uuid>().is_ok(),
                "time" => text().parse::<jiff::Timestamp>().is_ok(),
                "time?" => value.is_null() || text().parse::<jiff::Timestamp>().is_ok(),
                "naive" => !text().ends_with('Z') && text().parse::<jiff::civil::DateTime>().is_ok(),
                other => panic!("there is no kind {other}"),
            };
            if fits { Ok(()) } else { wrong(kind) }
        }
        (Value::Object(expected), Value::Object(members)) => {
            for (name, expected) in expected.iter().filter(|(name, _)| *name != "…") {
                let member = members.get(name).ok_or_else(|| format!("{at}.{name} is missing in {value}"))?;
                like(expected, member, &format!("{at}.{name}"))?;
            }
            match members.keys().find(|name| !expected.contains_key(*name)) {
                Some(name) if !expected.contains_key("…") => Err(format!("{at}.{name} is new: {value}")),
                _ => Ok(()),
            }
        }
        (Value::Array(expected), Value::Array(items)) if expected.len() == 1 => {
            items.iter().enumerate().try_for_each(|(idx, item)| like(&expected[0], item, &format!("{at}[{idx}]")))
        }
        (expected, value) if expected == value => Ok(()),
        (expected, _) => wrong(&expected.to_string()),
    }
}

/// The body of every error.
pub(crate) fn problem(status: u16) -> Value {
    json!({
        "detail": "<text>", "type": "<text>", "title": "<text>", "status": status, "instance": "<text>", "…": null,
    })
}
