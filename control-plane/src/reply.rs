//! Answers, and the one function that makes responses of them.

use crate::api_error::ApiError;
use bytes::Bytes;
use serde::Serialize;
use warp::Reply as _;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use warp::reply::Response;

const JSON: &str = "application/json";

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
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
        Self { status: StatusCode::OK, headers, body }
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
        Self { status: StatusCode::TEMPORARY_REDIRECT, headers: HeaderMap::new(), body: Bytes::new() }
            .header("location", location)
    }
}

/// The response to the request called `request_id`.
pub(crate) fn respond(outcome: Result<Reply, ApiError>, request_id: &str) -> Response {
    let reply = outcome.unwrap_or_else(|error| {
        let (status, headers) = (error.status(), error.headers());
        let body = error.body(request_id).to_string();
        let reply = Reply::json_text(body).status(status);
        headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, &value))
    });
    let mut response = HttpResponse::new(reply.body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.into_response()
}
