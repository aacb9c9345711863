//! What an entry of the table says of its route: who may use it, how often, what it takes, what it answers.
//!
//! The router, the OpenAPI document, the limits and the tests of access all read it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Public,
    /// Everybody with a valid key.
    AnyKey,
    /// Whoever has a key with this scope.
    Needs(&'static str),
    /// Whoever has a key with this scope, and those whom `[metrics]` lets in without one.
    Metrics(&'static str),
}

/// Routes that share a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Questions of probes: how the node is.
    Probe,
    /// Documents that do not change while the node runs.
    Docs,
    /// Reading what is stored.
    Read,
    /// Streams that stay open.
    Stream,
    /// Readings that come in.
    Ingest,
    /// Changes by a person or a program on their behalf.
    Write,
    /// Changes to how the node runs.
    Control,
    /// Simulated readings and demonstrations.
    Simulate,
    /// Reports.
    Report,
    /// Predictions and forecasts.
    Predict,
    /// Judging readings by a model.
    Anomaly,
    /// Drift checks.
    Drift,
}

/// The body that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None; one that is sent is not read.
    None,
    /// One item, up to `limits.body_bytes_max`.
    Item,
    /// Many items, up to `limits.batch_body_bytes_max`.
    Batch,
}

/// A named value of a query or of a JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it must be like. Values are read leniently: a number may come as text, for instance.
    pub kind: Kind,
    /// Whether it may be absent.
    pub presence: Presence,
    /// What it means.
    pub text: &'static str,
}

/// Whether a value may be absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be absent or null.
    Optional,
    /// It may be absent, but not null; this, as JSON, stands in for it.
    Default(&'static str),
}

/// What a value must be like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// A number between bounds, both included.
    Number(Option<f64>, Option<f64>),
    /// A whole number between bounds, both included.
    Int(Option<i64>, Option<i64>),
    /// A flag.
    Flag,
    /// An instant.
    Time,
    /// A day.
    Day,
    /// A UUID.
    Uuid,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// An object with these members, and any other.
    Object(&'static [Param]),
    /// An object of any members, all of this kind.
    Map(&'static Kind),
    /// One of these.
    AnyOf(&'static [Kind]),
    /// Anything.
    Any,
}

impl Param {
    /// A value that must be there.
    pub const fn required(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { name, kind, presence: Presence::Required, text }
    }

    /// A value that may be absent or null.
    pub const fn optional(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { name, kind, presence: Presence::Optional, text }
    }

    /// A value for which `default`, which is JSON, stands in when it is absent.
    pub const fn or(name: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Self {
        Self { name, kind, presence: Presence::Default(default), text }
    }
}

/// Names the schema of a type to a generator.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// An answer that a route gives.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub media: &'static str,
    /// What the body must be like, if it is JSON.
    pub schema: Option<SchemaOf>,
    /// What a row must be like, if it is a page of a list: with a `Link` to the next page, and as CSV for those who
    /// prefer that.
    pub rows: Option<SchemaOf>,
}

impl Answer {
    /// The same with another status.
    #[must_use]
    pub const fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// 200 with a `T` as JSON.
pub(super) const fn json<T: JsonSchema>() -> Answer {
    Answer { status: 200, media: "application/json", schema: Some(schema_of::<T>), rows: None }
}

/// 200 with a page of `T`s, as a bare JSON array.
pub(super) const fn list<T: JsonSchema>() -> Answer {
    Answer { status: 200, media: "application/json", schema: Some(schema_of::<Vec<T>>), rows: Some(schema_of::<T>) }
}

/// 200 with a page of `T`s in a `P`.
pub(super) const fn listed<P: JsonSchema, T: JsonSchema>() -> Answer {
    Answer { rows: Some(schema_of::<T>), ..json::<P>() }
}

/// 200 with something else than JSON.
pub(super) const fn media(media: &'static str) -> Answer {
    Answer { status: 200, media, schema: None, rows: None }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; a segment in braces stands for any one segment.
    pub pattern: &'static str,
    /// Who may use it.
    pub scope: Scope,
    /// Its rate limit.
    pub class: Class,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The body it takes.
    pub body: Body,
    /// The values of the query that it reads.
    pub query: &'static [Param],
    /// The members of the JSON object that it reads.
    pub members: &'static [Param],
    /// What it reads in place of a JSON object with these members, by media type.
    pub forms: &'static [(&'static str, Kind)],
    /// What it answers when all is well.
    pub answer: Answer,
    /// Answers of another form than [`answer`](Self::answer) and than errors have.
    pub others: &'static [Answer],
    /// Whether its handler keeps the `Idempotency-Key` in its own commit.
    pub keeps_key: bool,
    /// Errors beside those that follow from scope, body and query.
    pub errors: &'static [u16],
}

impl Route {
    /// The same, which reads these values of the query.
    #[must_use]
    pub const fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    /// The same, which reads these members of a JSON object.
    #[must_use]
    pub const fn members(self, members: &'static [Param]) -> Self {
        Self { members, ..self }
    }

    /// The same, which reads a body of one of these forms.
    #[must_use]
    pub const fn forms(self, forms: &'static [(&'static str, Kind)]) -> Self {
        Self { forms, ..self }
    }

    /// The same, which may also answer these errors.
    #[must_use]
    pub const fn errors(self, errors: &'static [u16]) -> Self {
        Self { errors, ..self }
    }

    /// The same, which may also answer otherwise.
    #[must_use]
    pub const fn others(self, others: &'static [Answer]) -> Self {
        Self { others, ..self }
    }

    /// The same, whose handler keeps the `Idempotency-Key` in its own commit.
    #[must_use]
    pub const fn keeps_key(self) -> Self {
        Self { keeps_key: true, ..self }
    }

    /// Whether JSON is what it makes of a body, of one item or of many.
    pub fn reads_json(&self) -> bool {
        self.forms.is_empty() || self.forms.iter().any(|(media, _)| media.ends_with("json"))
    }

    /// Whether it is about one thing, which has a tag.
    pub fn is_tagged(&self) -> bool {
        self.method == "GET" && self.pattern.contains('{') && self.answer.media == "application/json"
    }

    /// Every status with an error's body that it may answer, in order.
    pub fn error_statuses(&self) -> Vec<u16> {
        let mut statuses = vec![429, 500, 503];
        if self.scope != Scope::Public {
            statuses.push(403);
        }
        if self.body != Body::None {
            statuses.extend([408, 413, 415]);
        }
        if self.method == "POST" {
            statuses.push(409);
        }
        if self.method == "POST" || !self.query.is_empty() {
            statuses.push(422);
        }
        statuses.extend(self.errors);
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

/// A route that reads.
pub(super) const fn get(
    pattern: &'static str,
    scope: Scope,
    class: Class,
    summary: &'static str,
    answer: Answer,
) -> Route {
    Route {
        method: "GET",
        pattern,
        scope,
        class,
        summary,
        body: Body::None,
        query: &[],
        members: &[],
        forms: &[],
        answer,
        others: &[],
        keeps_key: false,
        errors: &[],
    }
}

/// A route that does something. It needs a scope of its own.
pub(super) const fn post(
    pattern: &'static str,
    scope: &'static str,
    class: Class,
    body: Body,
    summary: &'static str,
    answer: Answer,
) -> Route {
    Route { method: "POST", body, ..get(pattern, Scope::Needs(scope), class, summary, answer) }
}
