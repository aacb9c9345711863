//! Runs a machine from health to failure and looks at what its sensors did on average.

use crate::Sample;
use crate::fault::{Growth, Shape};
use domain::Timestamp;
use std::ops::Range;

/// The full hour `hour` of a trial.
pub(crate) fn hour(hour: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
}

/// A fault that begins in hour 100 and is complete in hour 300.
pub(crate) fn growth() -> Growth {
    Growth { onset: hour(100), failure_at: hour(300), shape: Shape::Linear }
}

/// Means of the sensors over the hours of `span`.
pub(crate) fn means<const N: usize>(machine: &mut impl FnMut(Timestamp) -> [Sample; N], span: Range<i64>) -> [f64; N] {
    let n_hours = (span.end - span.start) as f64;
    let mut sums = [0.0; N];
    for at in span {
        for (sum, sample) in sums.iter_mut().zip(machine(hour(at))) {
            *sum += sample.value / n_hours;
        }
    }
    sums
}

/// Checks that a machine without a fault keeps its means, which are `normal` to within 1 %.
pub(crate) fn check_health<const N: usize>(mut machine: impl FnMut(Timestamp) -> [Sample; N], normal: [f64; N]) {
    for span in [0..500, 500..1000] {
        let found = means(&mut machine, span.clone());
        for (found, normal) in found.into_iter().zip(normal) {
            assert!((found - normal).abs() <= 0.01 * normal, "in hours {span:?} {found} instead of {normal}");
        }
    }
}

/// Checks that a machine with the fault of [`growth`] moves each sensor's mean by more than `expected` until the
/// failure, in that direction and by less until half-way; or, where `expected` is 0, by no more than `still`.
pub(crate) fn check_fault<const N: usize>(
    mut machine: impl FnMut(Timestamp) -> [Sample; N],
    expected: [f64; N],
    still: f64,
) {
    let healthy = means(&mut machine, 0..100);
    let half = means(&mut machine, 190..210);
    let failed = means(&mut machine, 290..310);
    for idx in 0..N {
        let (first, last) = (half[idx] - healthy[idx], failed[idx] - healthy[idx]);
        let as_expected = match expected[idx] {
            0.0 => last.abs() <= still,
            change => change.abs() < last * change.signum() && first.abs() < last.abs(),
        };
        assert!(as_expected, "sensor {idx} moved by {first}, then by {last}, expected {}", expected[idx]);
    }
}

/// Checks that a machine is a function of its seed.
pub(crate) fn check_seed<const N: usize, M: FnMut(Timestamp) -> [Sample; N]>(machine: impl Fn(u64) -> M) {
    let run = |seed| {
        let mut machine = machine(seed);
        (0..50).flat_map(|at| machine(hour(at))).collect::<Vec<Sample>>()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
