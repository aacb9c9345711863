//! Proofs of the promises under fault: what the command `tests/promises` runs at length and the stories in short.

pub mod kills;
pub mod ledger;
