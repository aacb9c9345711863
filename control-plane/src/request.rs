//! A request as handlers see it, and how its body is read: admitted first, then limited and timed.

mod fields;
pub(crate) mod lax;
mod once;
mod refusals;

pub(crate) use fields::Fields;
pub(crate) use once::{UnderWay, once};
pub(crate) use refusals::Refusals;

use crate::access::Caller;
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply;
use crate::routes::ingest::batch::LINES;
use crate::routes::{Body, Class, Route, request_id};
use crate::server::{self, Peer};
use bytes::{Buf, Bytes, BytesMut};
use domain::{CorrelationId, Timestamp};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use persistence::seen::Seen;
use persistence::unit::Idempotency;
use runtime::admission::Permit;
use runtime::intake::Key;
use runtime::metrics::Limit;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use warp::http::{HeaderMap, header};

/// Longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// A request whose caller may make it and whose body, if its route takes one, has been read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) route: &'static Route,
    /// Who asks.
    pub(crate) caller: Caller,
    /// Where from.
    pub(crate) peer: Option<Peer>,
    pub(crate) headers: HeaderMap,
    /// The values of the pattern's parameters, in order.
    pub(crate) params: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    /// Empty when the route takes none.
    pub(crate) body: Bytes,
    /// The credit for the body. Dropped with the call unless a handler takes it.
    pub(crate) permit: Option<Permit>,
}

impl Call {
    /// The value of the pattern's parameter `idx`, decoded.
    pub(crate) fn param(&self, idx: usize) -> &str {
        self.params.get(idx).map_or("", String::as_str)
    }

    /// The parameters of the query.
    pub(crate) fn query(&self) -> Fields {
        Fields::of_query(&self.query).documented(self.route.query)
    }

    /// The body, which must be a JSON object.
    pub(crate) fn object(&self) -> Result<Fields, ApiError> {
        if self.body.is_empty() {
            return Err(ApiError::invalid("body", "Field required"));
        }
        match self.json()? {
            Value::Object(values) => Ok(Fields::of_body(values).documented(self.route.members)),
            _ => Err(not_an_object()),
        }
    }

    /// The body, which must be a JSON object if there is one.
    pub(crate) fn object_or_nothing(&self) -> Result<Fields, ApiError> {
        if self.body.is_empty() {
            return Ok(Fields::of_body(serde_json::Map::new()).documented(self.route.members));
        }
        self.object()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, ApiError> {
        if !self.says_json() {
            return Err(not_an_object());
        }
        decode(&self.body)
    }

    /// The media type of the body, without parameters and in lowercase.
    pub(crate) fn media_type(&self) -> Option<String> {
        media_type(&self.headers)
    }

    /// Whether the body says of itself that it is JSON. One that says nothing does.
    fn says_json(&self) -> bool {
        self.media_type().is_none_or(|media| media == "application/json" || media.ends_with("+json"))
    }

    /// The caller's `Idempotency-Key`, for a request whose body has that digest.
    pub(crate) fn key(&self, body_sha256: impl FnOnce() -> [u8; 32]) -> Result<Option<Key>, ApiError> {
        let Some(value) = self.headers.get("idempotency-key") else { return Ok(None) };
        let refused = |message: &str| ApiError::invalid("header → Idempotency-Key", message);
        let key = value.to_str().map_err(|_| refused("Header should hold visible ASCII characters"))?.trim();
        match key.len() {
            0 => Err(refused("String should have at least 1 character")),
            n if IDEMPOTENCY_KEY_BYTES_MAX < n => {
                Err(refused(&format!("String should have at most {IDEMPOTENCY_KEY_BYTES_MAX} characters")))
            }
            _ => Ok(Some(Key {
                scope: format!("{} {} {}", self.caller.id, self.route.method, self.route.pattern),
                key: key.to_owned(),
                body_sha256: body_sha256(),
            })),
        }
    }

    /// What the events of this request are known by, if it names nothing else: its id, so that they are found by what
    /// logs and answers call it.
    pub(crate) fn correlation(&self) -> CorrelationId {
        CorrelationId::new(request_id(&self.headers).to_owned())
    }

    /// Whether the caller would rather have `media` than JSON.
    pub(crate) fn prefers(&self, media: &str) -> bool {
        let accepted = self.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wanted = reply::weight(accepted, media).unwrap_or(0.0);
        reply::weight(accepted, "application/json").unwrap_or(0.0) < wanted
    }

    /// What the commit must rest on: the thing that the request changes, as it was `seen` just now, if the caller's
    /// `If-Match` names that state.
    pub(crate) fn if_match(&self, seen: impl Into<Seen>) -> Result<Option<Seen>, ApiError> {
        let Some(tags) = reply::named(&self.headers, header::IF_MATCH) else { return Ok(None) };
        if tags.any() {
            return Ok(None);
        }
        let seen = seen.into();
        if tags.any_rests_on(&reply::state_digest(&seen)) { Ok(Some(seen)) } else { Err(ApiError::PreconditionFailed) }
    }

    /// The caller's `Idempotency-Key` for the request as a whole.
    pub(crate) fn promise(&self) -> Result<Option<Key>, ApiError> {
        self.key(|| once::digest(self))
    }

    /// The caller's promise that a repeat of this request is the same one; `response` is what a repeat gets.
    ///
    /// The query counts as part of the body.
    pub(crate) fn idempotency(&self, response: String, at: Timestamp) -> Result<Option<Idempotency>, ApiError> {
        let key = self.promise()?;
        Ok(key.map(|Key { scope, key, body_sha256 }| Idempotency { scope, key, body_sha256, response, at }))
    }
}

/// The media type of the body that comes with `headers`, without parameters and in lowercase.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    Some(essence.to_ascii_lowercase()).filter(|essence| !essence.is_empty())
}

/// A correlation id for what comes of no request.
pub(crate) fn fresh_correlation() -> CorrelationId {
    CorrelationId::new(Uuid::new_v4().to_string())
}

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// All of it.
    whole: Duration,
    /// Time that is not counted.
    grace: Duration,
    bytes_per_second_min: f64,
}

impl Pace {
    pub(crate) fn of(settings: &server::Settings) -> Self {
        Self {
            whole: Duration::from_secs_f64(settings.body_read_timeout_seconds),
            grace: Duration::from_secs_f64(settings.body_grace_seconds),
            bytes_per_second_min: f64::from(settings.body_bytes_per_second_min),
        }
    }

    /// How long after its beginning more must have come of a body of which `n_bytes` have, and the limit that says so.
    fn patience(&self, n_bytes: usize) -> (Duration, Limit) {
        let earned = n_bytes as f64 / self.bytes_per_second_min;
        let paced = Duration::try_from_secs_f64(earned).unwrap_or(Duration::MAX).saturating_add(self.grace);
        if paced < self.whole { (paced, Limit::BodyRate) } else { (self.whole, Limit::BodyReadTimeout) }
    }
}

/// Refuses JSON that is nested too deeply, before anything is made of it.
pub(crate) fn check_depth(app: &App, route: &Route, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    if !route.reads_json() {
        return Ok(());
    }
    let depth_max = app.limits.json_depth_max;
    // A line of many may be broken without harm to the others.
    let is_lines = media_type(headers).is_some_and(|media| LINES.contains(&media.as_str()));
    let is_deep = match is_lines {
        true => body.split(|byte| *byte == b'\n').any(|line| is_deeper(line, depth_max)),
        false => is_deeper(body, depth_max),
    };
    if is_deep {
        app.metrics.limit_reached(Limit::JsonDepth);
        return Err(ApiError::invalid("body", &format!("JSON should be nested at most {depth_max} levels deep")));
    }
    Ok(())
}

/// Whether arrays and objects in `json` are nested more than `depth_max` levels deep.
fn is_deeper(json: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth_max < depth {
            return true;
        }
    }
    false
}

/// A refused body of up to so many times what is allowed is read to its end and thrown away.
const DISCARDED_SHARE: usize = 4;

/// A body for which there is no room is read and thrown away up to this size; beyond it, the connection is closed.
const PASSED_OVER_BYTES_MAX: usize = 65_536;

/// Reads the body that `route` takes: within its limit, in time, and on the caller's credit. `refusals` are those of the
/// connection, if it came over one.
pub(crate) async fn read_body(
    app: &App,
    route: &Route,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
    refusals: Option<&Refusals>,
) -> Result<(Bytes, Option<Permit>), ApiError> {
    let bytes_max = match route.body {
        Body::None => return Ok((Bytes::new(), None)),
        Body::Item => app.limits.body_bytes_max,
        Body::Batch => app.limits.batch_body_bytes_max,
    };
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::EncodedBody);
    }
    let too_large = || {
        app.metrics.limit_reached(if route.body == Body::Item { Limit::BodyBytes } else { Limit::BatchBodyBytes });
        ApiError::TooLarge { bytes_max }
    };
    // A body whose length is not told may become as long as is allowed.
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let n_bytes = announced.unwrap_or(if chunked { bytes_max } else { 0 });
    if bytes_max < n_bytes {
        if n_bytes <= DISCARDED_SHARE * bytes_max {
            discard(body, app.body_pace.grace.min(app.body_pace.whole)).await;
        }
        return Err(too_large());
    }
    let admitted = if route.class == Class::Ingest { app.admit_readings(n_bytes) } else { app.admit(n_bytes) };
    let permit = match admitted {
        Ok(permit) => permit,
        Err(refused) => {
            // It mostly came along with the head: to pass over it spares both sides a new connection.
            if n_bytes <= PASSED_OVER_BYTES_MAX {
                discard(body, app.body_pace.grace.min(app.body_pace.whole)).await;
            }
            if let Some(refusals) = refusals {
                refusals.pace().await;
            }
            return Err(refused);
        }
    };
    let began = Instant::now();
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0));
    let late = tokio::time::sleep_until(began + app.body_pace.patience(0).0);
    futures_util::pin_mut!(body, late);
    loop {
        let part = tokio::select! {
            biased;
            part = body.try_next() => part,
            // What came meanwhile may have earned more time. It is reckoned here and not with each piece, of which a
            // slow client sends many.
            () = &mut late => {
                let (patience, limit) = app.body_pace.patience(whole.len());
                if began.elapsed() < patience {
                    late.as_mut().reset(began + patience);
                    continue;
                }
                app.metrics.limit_reached(limit);
                return Err(ApiError::Timeout("The request body did not arrive in time".to_owned()));
            }
        };
        let Some(mut part) = part.map_err(interrupted)? else { return Ok((whole.freeze(), Some(permit))) };
        if bytes_max < whole.len() + part.remaining() {
            return Err(too_large());
        }
        while part.has_remaining() {
            let chunk = part.chunk();
            whole.extend_from_slice(chunk);
            let n_read = chunk.len();
            part.advance(n_read);
        }
    }
}

/// Reads a body that was refused and keeps nothing of it: a client that is still sending when the connection closes
/// sees a broken pipe instead of the answer.
async fn discard(body: impl Stream<Item = Result<impl Buf, warp::Error>>, within: Duration) {
    futures_util::pin_mut!(body);
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    if tokio::time::timeout(within, rest).await.is_err() {
        tracing::debug!("a refused body did not end in time");
    }
}

/// `bytes` as JSON.
///
/// `NaN` and `Infinity`, which the old system's parser knew, are kept as text, so that the field that holds one
/// can be named when it is refused.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, ApiError> {
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Some(quoted) = quote_non_finite(bytes)
        && let Ok(value) = serde_json::from_slice(&quoted)
    {
        return Ok(value);
    }
    Err(decode_error(bytes, &error))
}

/// The refusal of a body that is no JSON: it tells where, as an offset in bytes.
pub(crate) fn decode_error(bytes: &[u8], error: &serde_json::Error) -> ApiError {
    let line_start: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let offset = (line_start + error.column().saturating_sub(1)).min(bytes.len());
    ApiError::invalid(&format!("body → {offset}"), "JSON decode error")
}

/// `bytes` with each bare `NaN`, `Infinity` and `-Infinity` in quotes; `None` when there is none.
pub(crate) fn quote_non_finite(bytes: &[u8]) -> Option<Vec<u8>> {
    const TOKENS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut quoted = Vec::with_capacity(bytes.len() + 16);
    let (mut in_string, mut rest, mut found) = (false, bytes, false);
    while let Some((byte, after)) = rest.split_first() {
        if in_string {
            let n_bytes = if *byte == b'\\' { rest.len().min(2) } else { 1 };
            in_string = *byte != b'"';
            quoted.extend_from_slice(&rest[..n_bytes]);
            rest = &rest[n_bytes..];
        } else if let Some(token) = TOKENS.iter().find(|token| rest.starts_with(token)) {
            quoted.push(b'"');
            quoted.extend_from_slice(token);
            quoted.push(b'"');
            (rest, found) = (&rest[token.len()..], true);
        } else {
            in_string = *byte == b'"';
            quoted.push(*byte);
            rest = after;
        }
    }
    found.then_some(quoted)
}

fn not_an_object() -> ApiError {
    ApiError::invalid("body", "Input should be a valid dictionary or object to extract fields from")
}

fn interrupted(error: warp::Error) -> ApiError {
    tracing::debug!(%error, "a request body broke off");
    ApiError::invalid("body", "The body broke off")
}

#[cfg(test)]
mod tests {
    use super::is_deeper;

    #[test]
    fn depth_counts_what_is_open_and_no_text() {
        for (json, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{"b":1}]}"#, 3),
            (r#"[[],[],[[]]]"#, 3),
            (r#"["[[[[", "\\\"[[", {"{{{":1}]"#, 2),
            ("]]]][[", 2),
        ] {
            assert!(!is_deeper(json.as_bytes(), depth), "{json}");
            assert!(depth == 0 || is_deeper(json.as_bytes(), depth - 1), "{json}");
        }
    }
}
