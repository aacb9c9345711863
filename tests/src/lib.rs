//! What the stories, the benches and the quality run share: nodes to talk to, and a client that talks.

pub mod client;
pub mod installed;
pub mod node;
pub mod process;
pub mod promises;
pub mod simulation;
pub mod sinks;

/// The README's example compiles, or this does not.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
