//! W3C Trace Context: the caller's trace goes on in our answer, and in the events that come of the request.
//!
//! The step at hand belongs to the task that handles the request, as spans of logs do: every event said there is of
//! it, and handlers need not pass it on.
//!
//! Source: <https://www.w3.org/TR/trace-context-1/>, version 00.

use domain::TraceParent;
use std::future::Future;
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue};

/// The header.
const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Option<TraceParent>;
}

/// The step that the task at hand is of its caller's trace, if that told of one.
pub(crate) fn current() -> Option<TraceParent> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Has `work` done, which is `step` of a trace.
pub(crate) fn within<F: Future>(step: Option<TraceParent>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(step, work)
}

/// What a request is in its trace.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    traceparent: String,
    /// The caller told of the trace; otherwise nobody else knows it, and no event needs to name it.
    is_told: bool,
}

impl Step {
    /// The next step of the trace in `headers`, or the first of a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let told = headers.get(TRACEPARENT).and_then(|value| TraceContext::parse(value.to_str().ok()?));
        Self { is_told: told.is_some(), traceparent: told.unwrap_or_else(TraceContext::fresh).step() }
    }

    /// Tells it in `headers`.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let value = HeaderValue::from_str(&self.traceparent).expect("digits and dashes");
        headers.insert(TRACEPARENT, value);
    }

    /// What events of it name.
    pub(crate) fn for_events(&self) -> Option<TraceParent> {
        self.is_told.then(|| TraceParent::from(self.traceparent.as_str()))
    }
}

/// A trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceContext {
    trace: u128,
    flags: u8,
}

impl TraceContext {
    /// The trace that the header `traceparent` names; `None` when it does not make sense.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let parent = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let ends = version != 0 || parts.next().is_none();
        let known = version != 0xff && trace != 0 && parent != 0 && ends;
        known.then_some(Self { trace, flags: u8::try_from(flags).ok()? })
    }

    /// A trace that nobody else has. Nobody samples it.
    fn fresh() -> Self {
        Self { trace: Uuid::new_v4().as_u128(), flags: 0 }
    }

    /// `traceparent` of a step of our own.
    fn step(self) -> String {
        // The lower half of a random UUID begins with a set bit, so it is not zero.
        let (_, span) = Uuid::new_v4().as_u64_pair();
        format!("00-{:032x}-{span:016x}-{:02x}", self.trace, self.flags)
    }
}

/// The number of exactly `digits` lowercase hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_goes_on_under_a_step_of_our_own() {
        let step = TraceContext::parse(GIVEN).expect("it makes sense").step();
        assert!(step.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && step.ends_with("-01"), "{step}");
        assert_ne!(step, GIVEN);
        assert!(TraceContext::parse(&TraceContext::fresh().step()).is_some());
    }

    #[test]
    fn what_makes_no_sense_is_left_alone() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(later).is_some());
    }
}
