//! Answers, and the one function that makes responses of them.

use crate::api_error::ApiError;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Body, Frame};
use persistence::seen::Seen;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use warp::Reply as _;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use warp::reply::Response;

const JSON: &str = "application/json";
/// Bodies below this are not worth packing.
const PACKED_BYTES_MIN: usize = 1_024;

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Content,
    /// Digest of what can be changed of the thing that it tells of, if anything can.
    state: Option<String>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    /// One after the other, as they are made.
    Parts(Parts),
}

/// Parts of a body, in order.
pub(crate) type Parts = mpsc::Receiver<Result<Bytes, Broken>>;

/// The rest of a body cannot be had; the reason has been logged.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the rest of the body cannot be had")]
pub(crate) struct Broken;

/// An answer as it is kept for a repeat of its request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    /// 200 with `value` as JSON.
    pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
        Ok(Self::new(JSON, body.into()))
    }

    /// 200 with `json`, which is JSON already.
    pub(crate) fn json_text(json: String) -> Self {
        Self::new(JSON, json.into())
    }

    /// 200 with `body` of that media type.
    pub(crate) fn new(content_type: &'static str, body: Bytes) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { status: StatusCode::OK, headers, body: Content::Whole(body), state: None }
    }

    /// 200 with a body of that media type that is sent as its parts are made.
    pub(crate) fn parts(content_type: &'static str, parts: Parts) -> Self {
        Self { body: Content::Parts(parts), ..Self::new(content_type, Bytes::new()) }
    }

    /// The same with another status.
    #[must_use]
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header. A value that cannot stand in one is left out.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.headers.append(HeaderName::from_static(name), value);
            }
            Err(error) => tracing::warn!(%error, header = name, "a header's value cannot be sent"),
        }
        self
    }

    /// The same with that media type.
    pub(crate) fn content_type(mut self, media: &str) -> Result<Self, ApiError> {
        let media = HeaderValue::from_str(media).map_err(ApiError::internal)?;
        self.headers.insert(header::CONTENT_TYPE, media);
        Ok(self)
    }

    /// The path to go to instead, with status 307.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::empty(StatusCode::TEMPORARY_REDIRECT, HeaderMap::new()).header("location", location)
    }

    fn empty(status: StatusCode, headers: HeaderMap) -> Self {
        Self { status, headers, body: Content::Whole(Bytes::new()), state: None }
    }

    /// The same, of a thing that can be changed and stands as `seen`: see [`Tags::any_rests_on`].
    #[must_use]
    pub(crate) fn of_state(self, seen: impl Into<Seen>) -> Self {
        Self { state: Some(state_digest(&seen.into())), ..self }
    }

    /// The same under its tag; without a body for a client whose `If-None-Match` names that tag.
    #[must_use]
    pub(crate) fn tagged(self, request: &HeaderMap) -> Self {
        let Content::Whole(body) = &self.body else { return self };
        if self.status != StatusCode::OK {
            return self;
        }
        let tag = match &self.state {
            Some(state) => format!("\"{state}.{}\"", digest(body)),
            None => format!("\"{}\"", digest(body)),
        };
        let known = named(request, header::IF_NONE_MATCH).is_some_and(|names| names.any_is(&tag));
        let tagged = self.header("etag", &tag);
        if !known {
            return tagged;
        }
        let mut headers = tagged.headers;
        headers.remove(header::CONTENT_TYPE);
        Self::empty(StatusCode::NOT_MODIFIED, headers)
    }

    /// The same, packed if the client can unpack it and it is worth it.
    #[must_use]
    pub(crate) fn packed(mut self, request: &HeaderMap) -> Self {
        let media = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_text =
            [&b"application/json"[..], b"text/", b"application/openmetrics"].iter().any(|text| media.starts_with(text));
        if !is_text || media.starts_with(b"text/event-stream") {
            return self;
        }
        self.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        if !accepts_gzip(request) {
            return self;
        }
        self.body = match self.body {
            Content::Whole(body) if body.len() < PACKED_BYTES_MIN => Content::Whole(body),
            Content::Whole(body) => match packed(&body) {
                Ok(packed) => {
                    self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    Content::Whole(packed)
                }
                Err(error) => {
                    tracing::error!(%error, "a body could not be packed");
                    Content::Whole(body)
                }
            },
            // Packed part by part when the body is opened.
            Content::Parts(parts) => {
                self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Content::Parts(parts)
            }
        };
        self
    }

    /// What a repeat of the request is to get; `None` if it cannot be kept.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let Content::Whole(body) = &self.body else { return None };
        let text =
            |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        Some(Kept {
            status: self.status.as_u16(),
            headers: self.headers.iter().map(text).collect::<Option<_>>()?,
            body: std::str::from_utf8(body).ok()?.to_owned(),
        })
    }
}

impl TryFrom<Kept> for Reply {
    type Error = ApiError;

    fn try_from(kept: Kept) -> Result<Self, ApiError> {
        let mut headers = HeaderMap::new();
        for (name, value) in kept.headers {
            let name: HeaderName = name.parse().map_err(ApiError::internal)?;
            headers.append(name, value.parse().map_err(ApiError::internal)?);
        }
        let status = StatusCode::from_u16(kept.status).map_err(ApiError::internal)?;
        Ok(Self { status, headers, body: Content::Whole(kept.body.into()), state: None })
    }
}

/// 128 bits of what `body` hashes to, in hexadecimal digits.
fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of how a thing stands.
pub(crate) fn state_digest(seen: &Seen) -> String {
    digest(seen.state().as_bytes())
}

/// The tags that a conditional header names.
pub(crate) struct Tags<'a>(&'a str);

impl Tags<'_> {
    /// Whether any is meant.
    pub(crate) fn any(&self) -> bool {
        self.each().any(|named| named == "*")
    }

    /// Whether `tag` is one of them, or any is meant.
    pub(crate) fn any_is(&self, tag: &str) -> bool {
        self.any() || self.each().any(|named| named == tag)
    }

    /// Whether one of them was told of the thing while it stood at `state`.
    ///
    /// The tag of a thing that can be changed begins with its state; the rest also changes with what is told beside
    /// it, such as how long it has been so, on which no change rests.
    pub(crate) fn any_rests_on(&self, state: &str) -> bool {
        let told_at = |named: &str| named.trim_matches('"').split('.').next() == Some(state);
        self.each().any(told_at)
    }

    fn each(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(|named| named.trim().trim_start_matches("W/"))
    }
}

/// The tags in the header `name`, if it is there.
pub(crate) fn named(headers: &HeaderMap, name: HeaderName) -> Option<Tags<'_>> {
    Some(Tags(headers.get(name)?.to_str().unwrap_or_default()))
}

/// Whether `Accept-Encoding` names gzip, or anything, and does not rule it out.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    weight(accepted, "gzip").or_else(|| weight(accepted, "*")).is_some_and(|weight| 0.0 < weight)
}

/// The weight that a header of preferences gives to `name`; `None` if it does not name it.
pub(crate) fn weight(preferences: &str, name: &str) -> Option<f32> {
    preferences.split(',').find_map(|preference| {
        let mut parts = preference.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(name) {
            return None;
        }
        Some(parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0))
    })
}

fn packed(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// The response to the request called `request_id`.
pub(crate) fn respond(outcome: Result<Reply, ApiError>, request_id: &str) -> Response {
    let reply = outcome.unwrap_or_else(|error| {
        let (status, headers) = (error.status(), error.headers());
        let body = error.body(request_id).to_string();
        let reply = Reply::json_text(body).status(status);
        headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, &value))
    });
    let (whole, later) = match reply.body {
        Content::Whole(body) => (body, None),
        Content::Parts(parts) => (Bytes::new(), Some(Later(Arc::new(Mutex::new(Some(parts)))))),
    };
    let mut response = HttpResponse::new(whole);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut response = response.into_response();
    if let Some(later) = later {
        response.extensions_mut().insert(later);
    }
    response
}

/// A body's parts on their way around warp, whose own bodies are whole.
#[derive(Clone)]
struct Later(Arc<Mutex<Option<Parts>>>);

type BoxError = Box<dyn Error + Send + Sync>;

/// `response` with the body that it is sent with.
pub(crate) fn opened(mut response: Response) -> HttpResponse<impl Body<Data = Bytes, Error = BoxError> + Send> {
    let later = response.extensions_mut().remove::<Later>();
    // Nothing panics while it is locked.
    let parts = later.and_then(|Later(parts)| parts.lock().unwrap_or_else(PoisonError::into_inner).take());
    let is_packed = response.headers().contains_key(header::CONTENT_ENCODING);
    response.map(|whole| match parts {
        None => Either::Left(whole.map_err(BoxError::from)),
        Some(parts) => {
            let parts = stream::unfold(parts, async |mut parts| Some((parts.recv().await?, parts)));
            let parts = parts.map(|part| part.map_err(BoxError::from)).boxed();
            let parts = if is_packed { packed_parts(parts) } else { parts };
            Either::Right(StreamBody::new(parts.map(|part| part.map(Frame::data))))
        }
    })
}

/// Each part packed so far that it can be unpacked when it arrives.
fn packed_parts(parts: BoxStream<'static, Result<Bytes, BoxError>>) -> BoxStream<'static, Result<Bytes, BoxError>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let ends = parts.map(Some).chain(stream::iter([None]));
    ends.map(move |part| {
        match part.transpose()? {
            Some(part) => {
                encoder.write_all(&part)?;
                encoder.flush()?;
            }
            None => encoder.try_finish()?,
        }
        Ok(Bytes::from(std::mem::take(encoder.get_mut())))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Seq, Timestamp};
    use flate2::read::GzDecoder;
    use persistence::dead_letters::{DeadLetter, State};
    use std::io::Read as _;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip");
        text
    }

    #[test]
    fn a_body_is_packed_for_whoever_can_unpack_it() {
        let text = "[1,2,3]".repeat(1_000);
        let packed = |accepted: &str| {
            let reply = Reply::json_text(text.clone()).packed(&headers(header::ACCEPT_ENCODING, accepted));
            let Content::Whole(body) = reply.body else { panic!("it was whole") };
            (reply.headers.contains_key(header::CONTENT_ENCODING), body)
        };
        let (is_packed, body) = packed("br, gzip;q=0.5");
        assert!(is_packed && body.len() < text.len() / 10);
        assert_eq!(unpacked(&body), text);
        assert!(packed("*").0);
        for accepted in ["", "br", "gzip;q=0", "gzip;q=0, *"] {
            assert_eq!(packed(accepted), (false, text.clone().into()), "{accepted}");
        }
    }

    #[tokio::test]
    async fn parts_are_packed_as_one() {
        let (send, parts) = mpsc::channel(4);
        for part in ["one,", "two,", "three"] {
            send.send(Ok(part.into())).await.expect("room");
        }
        drop(send);
        let reply = Reply::parts("text/csv", parts).packed(&headers(header::ACCEPT_ENCODING, "gzip"));
        let body = opened(respond(Ok(reply), "id")).into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(unpacked(&body), "one,two,three");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let (send, parts) = mpsc::channel(4);
        send.send(Ok("one".into())).await.expect("room");
        send.send(Err(Broken)).await.expect("room");
        drop(send);
        let body = opened(respond(Ok(Reply::parts("text/csv", parts)), "id")).into_body();
        assert!(body.collect().await.is_err());
    }

    #[test]
    fn a_change_rests_on_the_state_and_not_on_what_is_told_beside_it() {
        let letter = |attempts| DeadLetter {
            id: 1,
            agent: "drift".to_owned(),
            seq: Seq(7),
            attempts,
            error: "it hung".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            state: State::Open,
        };
        let told = |attempts, beside: &str| {
            let reply = Reply::json_text(format!("{{\"beside\":{beside}}}")).of_state(letter(attempts));
            reply.tagged(&HeaderMap::new()).headers[header::ETAG].to_str().expect("a tag").to_owned()
        };
        let tag = told(1, "1");
        let rests = |named: &str, attempts| {
            let headers = headers(header::IF_MATCH, named);
            named_in(&headers).any_rests_on(&state_digest(&letter(attempts).into()))
        };
        assert!(rests(&tag, 1) && rests(&told(1, "2"), 1) && rests(&format!("\"x\", W/{tag}"), 1));
        assert!(!rests(&tag, 2) && !rests("", 1) && !rests("\"\"", 1));
        assert_ne!(tag, told(1, "2"), "a body that changed is not taken for the old one");
    }

    fn named_in(headers: &HeaderMap) -> Tags<'_> {
        named(headers, header::IF_MATCH).expect("it is there")
    }

    #[test]
    fn a_client_that_has_it_already_gets_no_body() {
        let reply = Reply::json_text("{}".to_owned()).tagged(&HeaderMap::new());
        let tag = reply.headers[header::ETAG].to_str().expect("a tag").to_owned();
        for (known, status) in [(&*tag, 304), ("*", 304), (&*format!("\"x\", W/{tag}"), 304), ("\"x\"", 200)] {
            let reply = Reply::json_text("{}".to_owned()).tagged(&headers(header::IF_NONE_MATCH, known));
            assert_eq!(reply.status.as_u16(), status, "{known}");
            assert!(reply.headers.contains_key(header::ETAG));
        }
    }
}
