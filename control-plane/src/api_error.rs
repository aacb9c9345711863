//! What went wrong with a request. The one place that knows status codes.
//!
//! A cause of ours goes to the log, never to the client.

use crate::rate::{self, Standing};
use persistence::StoreError;
use persistence::unit::Refused;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use warp::http::StatusCode;

/// Seconds after which a client may try again when nothing better is known.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;

/// Problems of one request that are told in full; the rest is only counted.
const PROBLEMS_SHOWN_MAX: usize = 5;

/// Why a request was not carried out. `detail` is for people.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The caller may not do that, or nobody knows who they are.
    Forbidden(String),
    /// There is no such thing.
    NotFound(String),
    /// The path is there, for other methods.
    MethodNotAllowed {
        /// These.
        allow: String,
    },
    /// The body did not arrive in time.
    Timeout(String),
    /// What is stored speaks against it.
    Conflict(String),
    /// What the caller knows is no longer so.
    PreconditionFailed,
    /// The same request is under way.
    UnderWay,
    /// The body is larger than the route takes.
    TooLarge {
        /// Largest body, in bytes.
        bytes_max: usize,
    },
    /// The body is packed, and nobody unpacks it here.
    EncodedBody,
    /// Something in the request does not make sense. Made by [`crate::request::Fields`], or with its words.
    Invalid(String),
    /// The form of the request is right, but nothing can be made of what it names. Made with what and why.
    Unusable(String),
    /// No item of a batch makes sense.
    InvalidItems {
        /// In words.
        detail: String,
        /// What stands beside the members of every error.
        members: Map<String, Value>,
    },
    /// The caller asked too often.
    TooMany(Standing),
    /// Not now; the caller may try again.
    Unavailable {
        /// Why.
        detail: String,
        /// When it may.
        retry_after_seconds: u64,
    },
    /// What a system outside gave cannot be used.
    BadGateway(String),
    /// Something that was waited for did not happen.
    GatewayTimeout(String),
    /// A fault of ours. The cause has been logged.
    Internal,
}

impl ApiError {
    /// The path of `location` (`body → value`) does not make sense because of `message`.
    pub(crate) fn invalid(location: &str, message: &str) -> Self {
        Self::Invalid(format!("Request validation failed: {location}: {message}"))
    }

    /// Each of these paths does not make sense because of the message beside it; the first few are told in full.
    pub(crate) fn all_invalid(problems: &[(String, String)]) -> Self {
        let shown = problems.iter().take(PROBLEMS_SHOWN_MAX);
        let shown: Vec<String> = shown.map(|(location, message)| format!("{location}: {message}")).collect();
        let more = match problems.len() - shown.len() {
            0 => String::new(),
            n_more => format!("; (+{n_more} more validation issues)"),
        };
        Self::Invalid(format!("Request validation failed: {}{more}", shown.join("; ")))
    }

    /// Not now, because of `detail`.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after_seconds: RETRY_AFTER_SECONDS }
    }

    /// A fault of ours, which is logged here.
    pub(crate) fn internal(error: impl Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }

    /// The status code.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::UnderWay => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::EncodedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unusable(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) | Self::InvalidItems { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Headers that belong to the error, by name.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MethodNotAllowed { allow } => vec![("allow", allow.clone())],
            Self::TooMany(standing) => {
                let wait = ("retry-after", standing.retry_after_seconds().to_string());
                standing.fields().into_iter().chain([wait]).collect()
            }
            Self::Unavailable { retry_after_seconds, .. } => vec![("retry-after", retry_after_seconds.to_string())],
            Self::UnderWay => vec![("retry-after", RETRY_AFTER_SECONDS.to_string())],
            Self::EncodedBody => vec![("accept-encoding", "identity".to_owned())],
            _ => Vec::new(),
        }
    }

    /// The body: the old contract's `detail`, and the members of RFC 9457 beside it.
    pub(crate) fn body(self, request_id: &str) -> Value {
        let status = self.status();
        let (detail, mut members) = match self {
            Self::InvalidItems { detail, members } => (detail, members),
            other => (other.detail(), Map::new()),
        };
        members.insert("detail".to_owned(), json!(detail));
        members.insert("type".to_owned(), json!("about:blank"));
        members.insert("title".to_owned(), json!(status.canonical_reason().unwrap_or("Error")));
        members.insert("status".to_owned(), json!(status.as_u16()));
        members.insert("instance".to_owned(), json!(request_id));
        Value::Object(members)
    }

    fn detail(self) -> String {
        match self {
            Self::Forbidden(detail)
            | Self::NotFound(detail)
            | Self::Timeout(detail)
            | Self::Conflict(detail)
            | Self::Invalid(detail)
            | Self::Unusable(detail)
            | Self::InvalidItems { detail, .. }
            | Self::Unavailable { detail, .. }
            | Self::BadGateway(detail)
            | Self::GatewayTimeout(detail) => detail,
            Self::PreconditionFailed => "It has changed since: If-Match names another state".to_owned(),
            Self::EncodedBody => "The request body should not be encoded: leave Content-Encoding away".to_owned(),
            Self::UnderWay => "A request with the same Idempotency-Key is under way; try again".to_owned(),
            Self::MethodNotAllowed { .. } => "Method Not Allowed".to_owned(),
            Self::TooMany(standing) => rate::told(&standing),
            Self::TooLarge { bytes_max } => format!("Request body is larger than {bytes_max} bytes"),
            Self::Internal => "Internal Server Error".to_owned(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Failing(_) => {
                tracing::warn!(%error, "store unavailable");
                Self::unavailable("The database is not available now; try again")
            }
            StoreError::Corrupt(_) | StoreError::Unsafe(_) | StoreError::Locked(_) => Self::internal(error),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::KeyReused => {
                Self::invalid("header → Idempotency-Key", "was used before with another body; take a new key")
            }
            Refused::Changed => Self::PreconditionFailed,
            Refused::Conflict(_) => {
                tracing::info!(error = %refused, "request refused by the store");
                Self::Conflict("What is stored speaks against this request".to_owned())
            }
            // Its outcome is unknown when the connection broke in the middle of a commit.
            Refused::Unavailable(_) => {
                tracing::warn!(error = %refused, "store unavailable");
                Self::unavailable(
                    "The database could not confirm the request, which may have been stored; \
                     try again with the same Idempotency-Key",
                )
            }
            Refused::Fenced { .. } => Self::internal(refused),
        }
    }
}
