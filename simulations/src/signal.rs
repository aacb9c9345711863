//! What the plants' signals are made of: duty, thermal lag, correlated noise.

use crate::chance::normal;
use domain::Timestamp;
use rand_pcg::Pcg64;
use std::f64::consts::TAU;

/// How hard a machine works over the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nine tenths of its rating, all day.
    Steady,
    /// Between seven tenths at 02:00 UTC and its full rating at 14:00 UTC.
    Daily,
}

impl Duty {
    /// The load at `at`, as a part of the rating: 0.7 to 1.
    pub fn load(self, at: Timestamp) -> f64 {
        match self {
            Self::Steady => 0.9,
            Self::Daily => {
                let hour = (at.as_second().rem_euclid(86_400)) as f64 / 3600.0;
                0.85 + 0.15 * (TAU * (hour - 14.0) / 24.0).cos()
            }
        }
    }
}

/// Seconds from `from` to `to`, 0 when `to` is earlier.
pub(crate) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// A quantity that follows its target as the temperature of a mass follows that of its surroundings.
///
/// It starts at its first target. Between two steps the target is taken as constant at its newest value.
///
/// # Source
///
/// Newton's law of cooling, solved for one step.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    seconds: f64,
    last: Option<(Timestamp, f64)>,
}

impl Lag {
    /// A lag that has covered 63 % of a step after `seconds`.
    pub(crate) fn new(seconds: f64) -> Self {
        Self { seconds, last: None }
    }

    pub(crate) fn follow(&mut self, target: f64, at: Timestamp) -> f64 {
        let value = match self.last {
            None => target,
            Some((last_at, value)) => target + (value - target) * (-seconds_between(last_at, at) / self.seconds).exp(),
        };
        self.last = Some((at, value));
        value
    }
}

/// Noise that remembers itself for a while: a continuous AR(1) process, stationary from the first step on,
/// whatever the steps are.
///
/// # Source
///
/// Gillespie, *Exact numerical simulation of the Ornstein-Uhlenbeck process and its integral*, 1996.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    sigma: f64,
    correlation_seconds: f64,
    last: Option<(Timestamp, f64)>,
    rng: Pcg64,
}

impl Noise {
    /// Noise of standard deviation `sigma` whose correlation falls to 37 % after `correlation_seconds`.
    pub(crate) fn new(sigma: f64, correlation_seconds: f64, rng: Pcg64) -> Self {
        Self { sigma, correlation_seconds, last: None, rng }
    }

    pub(crate) fn at(&mut self, at: Timestamp) -> f64 {
        let fresh = self.sigma * normal(&mut self.rng);
        let value = match self.last {
            None => fresh,
            Some((last_at, value)) => {
                let kept = (-seconds_between(last_at, at) / self.correlation_seconds).exp();
                kept * value + (1.0 - kept * kept).sqrt() * fresh
            }
        };
        self.last = Some((at, value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::stream;
    use jiff::SignedDuration;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_lag_covers_63_percent_of_a_step_in_its_time_constant() {
        let mut lag = Lag::new(600.0);
        assert_eq!(lag.follow(20.0, second(0)), 20.0);
        assert!((lag.follow(30.0, second(600)) - 26.32).abs() < 0.01);
        assert!((lag.follow(30.0, second(60_000)) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn noise_has_its_spread_and_its_correlation_at_any_cadence() {
        for cadence in [1, 60, 3600] {
            let mut noise = Noise::new(2.0, 60.0, stream(3, "noise"));
            let values: Vec<f64> = (0..200_000).map(|step| noise.at(second(step * cadence))).collect();
            let mean_of = |terms: &mut dyn Iterator<Item = f64>| terms.sum::<f64>() / values.len() as f64;
            let variance = mean_of(&mut values.iter().map(|x| x * x));
            let lagged = mean_of(&mut values.windows(2).map(|pair| pair[0] * pair[1]));
            let expected = (-(cadence as f64) / 60.0).exp();
            assert!((variance.sqrt() - 2.0).abs() < 0.15, "cadence {cadence}: {}", variance.sqrt());
            assert!((lagged / variance - expected).abs() < 0.03, "cadence {cadence}: {}", lagged / variance);
        }
    }

    #[test]
    fn the_daily_duty_peaks_in_the_afternoon_and_repeats_each_day() {
        let at = |hour: i64| Duty::Daily.load(second(hour * 3600));
        assert!((at(14) - 1.0).abs() < 1e-12 && (at(2) - 0.7).abs() < 1e-12);
        assert_eq!(at(9), at(9 + 24));
        assert_eq!(at(9), Duty::Daily.load(second(9 * 3600) - SignedDuration::from_hours(24 * 400_000)));
    }
}
