//! Proofs of the promises under fault: what the command `tests/promises` runs at length and the stories in short.

pub mod clock;
pub mod deaths;
pub mod disk;
pub mod faults;
pub mod fuzz;
pub mod kills;
pub mod ledger;
pub mod machine;
pub mod overload;
pub mod poison;
pub mod power;
pub mod stops;

use rand::SeedableRng as _;
use rand_pcg::Pcg64Mcg;
use std::time::Duration;

/// Chance that repeats itself.
pub(crate) fn chance(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// The value below which a share of `times` lies; zero of none.
fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let idx = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(idx).copied().unwrap_or_default()
}
