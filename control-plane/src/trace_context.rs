//! W3C Trace Context: the caller's trace goes on in our answer.
//!
//! Source: <https://www.w3.org/TR/trace-context-1/>, version 00.

use uuid::Uuid;

/// A trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    trace: u128,
    flags: u8,
}

impl TraceContext {
    /// The trace that the header `traceparent` names; `None` when it does not make sense.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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
    pub(crate) fn fresh() -> Self {
        Self { trace: Uuid::new_v4().as_u128(), flags: 0 }
    }

    /// `traceparent` of a step of our own.
    pub(crate) fn step(self) -> String {
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
