//! How a fault grows: nothing before its onset, then towards the failure.

use crate::signal::seconds_between;
use domain::Timestamp;

/// How many times a fault doubles on its exponential way to the failure.
const DOUBLINGS: f64 = 5.0;

/// The largest severity. A machine that is still run after its failure does not get worse without end.
pub const SEVERITY_MAX: f64 = 2.0;

/// The law of growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// By the same amount in the same time, as wear does.
    Linear,
    /// Slowly at first and doubling five times until the failure, as a spall in a bearing does.
    Exponential,
}

/// The course of one fault. It is the truth that a prognosis is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When it begins.
    pub onset: Timestamp,
    /// When the machine has failed. If that is not after the onset, it fails at once.
    pub failure_at: Timestamp,
    /// How it gets there.
    pub shape: Shape,
}

impl Growth {
    /// How severe the fault is at `at`: 0 before the onset, 1 at the failure, at most [`SEVERITY_MAX`] after it.
    ///
    /// # Source
    ///
    /// Gebraeel, Lawley, Li & Ryan, *Residual-life distributions from component degradation signals*, 2005,
    /// model degradation signals as linear or exponential in time.
    pub fn severity(&self, at: Timestamp) -> f64 {
        if at < self.onset {
            return 0.0;
        }
        let life = seconds_between(self.onset, self.failure_at);
        if life == 0.0 {
            return 1.0;
        }
        let age = seconds_between(self.onset, at) / life;
        let severity = match self.shape {
            Shape::Linear => age,
            Shape::Exponential => ((DOUBLINGS * age).exp2() - 1.0) / (DOUBLINGS.exp2() - 1.0),
        };
        severity.min(SEVERITY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn growth(shape: Shape) -> Growth {
        Growth { onset: second(1000), failure_at: second(2000), shape }
    }

    #[test]
    fn a_fault_is_absent_before_its_onset_and_complete_at_the_failure() {
        for shape in [Shape::Linear, Shape::Exponential] {
            let fault = growth(shape);
            assert_eq!(fault.severity(second(999)), 0.0);
            assert_eq!(fault.severity(second(1000)), 0.0);
            assert!((fault.severity(second(2000)) - 1.0).abs() < 1e-12);
            assert_eq!(fault.severity(second(1_000_000)), SEVERITY_MAX);
        }
        assert_eq!(growth(Shape::Linear).severity(second(1250)), 0.25);
        assert!(growth(Shape::Exponential).severity(second(1500)) < 0.16);
    }

    #[test]
    fn a_fault_whose_failure_is_its_onset_is_complete_at_once() {
        let sudden = Growth { failure_at: second(1000), ..growth(Shape::Linear) };
        assert_eq!(sudden.severity(second(999)), 0.0);
        assert_eq!(sudden.severity(second(1000)), 1.0);
    }

    proptest! {
        #[test]
        fn a_fault_never_heals(from in 0_i64..4000, to in 0_i64..4000) {
            let (from, to) = (from.min(to), from.max(to));
            for shape in [Shape::Linear, Shape::Exponential] {
                prop_assert!(growth(shape).severity(second(from)) <= growth(shape).severity(second(to)));
            }
        }
    }
}
