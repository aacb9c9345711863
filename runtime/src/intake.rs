//! The way in for readings: what the edge hands to the agent that acquires data, and what it gets back.

use crate::Port;
use crate::admission::Permit;
use domain::reading::{Incoming, Problem};
use domain::{CorrelationId, TraceParent};
use persistence::unit::{Ingested, Refused};
use tokio::sync::oneshot;

/// The port of the agent that acquires data.
pub type Intake = Port<Submission>;

/// The readings of one request.
#[derive(Debug)]
pub struct Submission {
    /// In order. An item that could not even be read brings its problem along.
    pub items: Vec<Result<Incoming, Problem>>,
    /// The request.
    pub correlation: CorrelationId,
    /// Its step of its caller's trace.
    pub traceparent: Option<TraceParent>,
    /// Set when the caller wants to be able to repeat the request.
    pub key: Option<Key>,
    /// The request's credit: given back when the submission is done with.
    pub permit: Permit,
    /// Told as soon as the items were judged.
    pub reply: oneshot::Sender<Judged>,
}

/// The caller's promise that a repeat is the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Who and where: key name and route.
    pub scope: String,
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// Digest of the body.
    pub body_sha256: [u8; 32],
}

/// What became of the items, and the promise of the writer.
#[derive(Debug)]
pub struct Judged {
    /// For each item, in order: acceptable, or what is wrong with it.
    pub items: Vec<Result<(), Problem>>,
    /// Told after the commit. Absent when nothing at all was to be written.
    pub committed: oneshot::Receiver<Result<Ingested, Refused>>,
    /// The request's credit, to be kept until the answer is sent.
    pub permit: Permit,
}
