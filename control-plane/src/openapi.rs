//! The OpenAPI 3.1 document, made of the table of routes and of the types that handlers answer with.

use crate::routes::{Answer, Body, Kind, Param, Presence, ROUTES, Route, Scope};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

const JSON: &str = "application/json";

/// What the document says of the API as a whole.
const DESCRIPTION: &str = "Watches machines and gets them repaired in time.\n\n\
    Values are read leniently: numbers and flags may come as text, an instant as ISO 8601 (UTC when it names no zone) \
    or as a number of seconds or milliseconds since the epoch, and members that nobody asks for are ignored. \
    Every error has a `detail` for people beside the members of RFC 9457. \
    Every POST takes an `Idempotency-Key`: a repeat with the same body gets the same answer. \
    Every list has cursors (`Link`), and comes as CSV for whoever prefers `text/csv`.";

/// The document.
pub(crate) fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.pattern).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    let mut schemas = schemas.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Smart Maintenance",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": headers_in(),
            "headers": headers_out(),
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "bearer": { "type": "http", "scheme": "bearer", "description": "The same key" },
            },
        },
    })
}

/// The members of a row of the list that `route` answers with, by name; none if it is no list.
pub(crate) fn row_members(route: &Route) -> Vec<String> {
    fn members(schema: &Value, definitions: &Map<String, Value>, found: &mut Vec<String>) {
        let referred = schema["$ref"].as_str().and_then(|path| definitions.get(path.rsplit('/').next()?));
        if let Some(referred) = referred {
            members(referred, definitions, found);
        }
        found.extend(schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned());
        for of in ["allOf", "anyOf", "oneOf"] {
            schema[of].as_array().into_iter().flatten().for_each(|schema| members(schema, definitions, found));
        }
    }
    let Some(rows) = route.answer.rows else { return Vec::new() };
    let mut schemas = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let row = rows(&mut schemas).to_value();
    let mut found = Vec::new();
    members(&row, &schemas.take_definitions(true), &mut found);
    found
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [tag(route.pattern)],
        "security": security(route.scope),
        "x-rate-limit-class": format!("{:?}", route.class).to_ascii_lowercase(),
        "parameters": parameters(route),
        "responses": responses(route, schemas),
    });
    if let Some(body) = request_body(route) {
        operation["requestBody"] = body;
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let words = route.pattern.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.filter(|word| !["api", "v1"].contains(word)).collect();
    let words = if words.is_empty() { "root".to_owned() } else { words.join("_") };
    format!("{}_{words}", route.method.to_ascii_lowercase())
}

fn tag(pattern: &str) -> &str {
    let rest = pattern.strip_prefix("/api/v1/").unwrap_or("node");
    rest.split('/').next().unwrap_or(rest)
}

fn security(scope: Scope) -> Value {
    let named = |scopes: &[&str]| vec![json!({ "key": scopes }), json!({ "bearer": scopes })];
    match scope {
        Scope::Public => json!([]),
        Scope::AnyKey => json!(named(&[])),
        Scope::Needs(scope) => json!(named(&[scope])),
        // Nobody needs a key where `[metrics]` says so.
        Scope::Metrics(scope) => json!([named(&[scope]), vec![json!({})]].concat()),
    }
}

fn parameters(route: &Route) -> Value {
    let in_path = route.pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let in_query = route.query.iter().map(|param| {
        let required = param.presence == Presence::Required;
        json!({
            "name": param.name, "in": "query", "required": required, "description": param.text,
            "schema": value(param, false),
        })
    });
    let header = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let mut in_header = vec![header("RequestId"), header("TraceParent")];
    if route.method == "POST" {
        in_header.push(header("IdempotencyKey"));
    }
    if route.is_tagged() {
        in_header.push(header("IfNoneMatch"));
    }
    if route.errors.contains(&412) {
        in_header.push(header("IfMatch"));
    }
    in_path.chain(in_query).chain(in_header).collect()
}

fn headers_in() -> Value {
    let header = |name: &str, text: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": text, "schema": schema });
    json!({
        "RequestId": header(
            "X-Request-ID",
            "Names the request in answers, logs and events; one is made up when there is none",
            json!({ "type": "string", "maxLength": 255 }),
        ),
        "TraceParent": header("traceparent", "W3C Trace Context", json!({ "type": "string" })),
        "IfNoneMatch": header(
            "If-None-Match",
            "The `ETag` that is known already; if it still holds, the answer is 304",
            json!({ "type": "string" }),
        ),
        "IfMatch": header(
            "If-Match",
            "The `ETag` that the change rests on; if it no longer holds, the answer is 412",
            json!({ "type": "string" }),
        ),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "A repeat with the same key and body gets the answer of the first time, and has no effect",
            json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        ),
    })
}

fn headers_out() -> Value {
    json!({
        "RequestId": { "description": "Names the request", "schema": { "type": "string" } },
        "ETag": { "description": "Names what the answer says", "schema": { "type": "string" } },
        "Link": { "description": "The next page, as RFC 8288 writes it", "schema": { "type": "string" } },
        "RetryAfter": { "description": "Seconds", "schema": { "type": "integer", "minimum": 0 } },
    })
}

fn request_body(route: &Route) -> Option<Value> {
    if !route.forms.is_empty() {
        let forms = route.forms.iter().map(|(media, form)| ((*media).to_owned(), json!({ "schema": kind(form) })));
        return Some(json!({ "required": true, "content": forms.collect::<Map<_, _>>() }));
    }
    if route.body == Body::None || route.members.is_empty() {
        return None;
    }
    let required = route.members.iter().any(|member| member.presence == Presence::Required);
    Some(json!({ "required": required, "content": { JSON: { "schema": object(route.members) } } }))
}

fn object(members: &[Param]) -> Value {
    let required = |member: &&Param| member.presence == Presence::Required;
    let required: Vec<&str> = members.iter().filter(required).map(|member| member.name).collect();
    let properties: Map<String, Value> = members
        .iter()
        .map(|member| {
            let mut schema = value(member, true);
            schema["description"] = json!(member.text);
            (member.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// What a named value must be like. Only a body can hold null.
fn value(param: &Param, in_body: bool) -> Value {
    let mut schema = kind(&param.kind);
    match param.presence {
        Presence::Default(default) => {
            schema["default"] = serde_json::from_str(default).expect("the table's defaults are JSON");
        }
        Presence::Optional if in_body => {
            if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                values.push(Value::Null);
            }
            if let Some(name) = schema.get("type").cloned() {
                schema["type"] = json!([name, "null"]);
            }
        }
        Presence::Optional | Presence::Required => {}
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Number(min, max) => bounded("number", min.map(Value::from), max.map(Value::from)),
        Kind::Int(min, max) => bounded("integer", min.map(Value::from), max.map(Value::from)),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Day => json!({ "type": "string", "format": "date" }),
        Kind::Uuid => json!({ "type": "string", "format": "uuid" }),
        Kind::OneOf(names) => json!({ "type": "string", "enum": names }),
        Kind::List(item) => json!({ "type": "array", "items": self::kind(item) }),
        Kind::Object(members) => object(members),
        Kind::AnyOf(kinds) => json!({ "anyOf": kinds.iter().map(self::kind).collect::<Vec<_>>() }),
        Kind::Map(of) => json!({ "type": "object", "additionalProperties": self::kind(of) }),
        Kind::Any => json!({}),
    }
}

fn bounded(name: &str, min: Option<Value>, max: Option<Value>) -> Value {
    let mut schema = json!({ "type": name });
    if let Some(min) = min {
        schema["minimum"] = min;
    }
    if let Some(max) = max {
        schema["maximum"] = max;
    }
    schema
}

fn responses(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in std::iter::once(&route.answer).chain(route.others) {
        let mut response = response(answer, schemas);
        // Another form of the same answer.
        if let Some(Value::Object(content)) =
            responses.get(&answer.status.to_string()).map(|told| told["content"].clone())
            && let Some(also) = response["content"].as_object_mut()
        {
            also.extend(content);
        }
        responses.insert(answer.status.to_string(), response);
    }
    if route.is_tagged() {
        responses[&route.answer.status.to_string()]["headers"]["ETag"] = json!({ "$ref": "#/components/headers/ETag" });
        responses.insert("304".to_owned(), json!({ "description": reason(304) }));
    }
    for status in route.error_statuses() {
        let mut error = error(status);
        // An answer of another form with the same status.
        if let Some(told) = responses.get(&status.to_string()) {
            let schema = &mut error["content"][JSON]["schema"];
            *schema = json!({ "anyOf": [told["content"][JSON]["schema"], *schema] });
        }
        responses.insert(status.to_string(), error);
    }
    Value::Object(responses)
}

fn response(answer: &Answer, schemas: &mut SchemaGenerator) -> Value {
    let schema = answer.schema.map(|schema| schema(schemas).to_value());
    let mut content = json!({ answer.media: schema.map_or_else(|| json!({}), |schema| json!({ "schema": schema })) });
    let mut headers = json!({ "X-Request-ID": { "$ref": "#/components/headers/RequestId" } });
    if answer.rows.is_some() {
        content["text/csv"] = json!({ "schema": { "type": "string" } });
        headers["Link"] = json!({ "$ref": "#/components/headers/Link" });
    }
    json!({ "description": reason(answer.status), "headers": headers, "content": content })
}

fn error(status: u16) -> Value {
    let mut headers = json!({ "X-Request-ID": { "$ref": "#/components/headers/RequestId" } });
    if [429, 503].contains(&status) {
        headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
    }
    let content = json!({ JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } });
    json!({ "description": reason(status), "headers": headers, "content": content })
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

/// The body of an error: the old contract's `detail` with the members of RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong. `detail` is for people; more members may stand beside it.",
        "required": ["detail", "type", "title", "status", "instance"],
        "properties": {
            "detail": { "type": "string" },
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "instance": { "type": "string", "description": "The request's id" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_route_is_documented_under_a_name_of_its_own() {
        let document = document();
        let mut names = HashSet::new();
        for route in ROUTES {
            let operation = &document["paths"][route.pattern][route.method.to_ascii_lowercase()];
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{}", route.pattern);
            let answer = &operation["responses"][route.answer.status.to_string()]["content"][route.answer.media];
            assert!(answer.is_object(), "{}", route.pattern);
            assert!(3 < route.summary.len(), "{}", route.pattern);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(100 < found.len());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
