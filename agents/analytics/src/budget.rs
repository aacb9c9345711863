//! How much evidence a sensor's case takes, so that false alarms stay within a budget.
//!
//! While a sensor is well, the evidence against it rises now and then and falls back to nothing. How often and how far is
//! the sensor's own: this keeps count of such excursions, and says which weight fewer of them reach than the budget
//! allows. Before there is a history, and in part for as long as it is short, a sensor counts as one of those that there
//! are, and the tail of what it may yet do is drawn wider. Knows no clock and no sensor; which excursions were false is
//! for others to say.

use serde::{Deserialize, Serialize};

/// The month of a budget, in seconds: a twelfth of a year.
pub const MONTH: f64 = 365.25 * 86_400.0 / 12.0;
/// Excursions that what is known of sensors in general counts for: few, so that a sensor's own soon outweigh them, but
/// more than one, below which the tail has no mean.
const PRIOR_EXCURSIONS: f64 = 4.0;
/// How many a month sensors in general show, and how high they rise on average: above what simulated quiet plants at a
/// reading every ten minutes show (5 and 1.9), so that who is not known yet is watched with more caution.
const PRIOR_PER_MONTH: f64 = 10.0;
const PRIOR_PEAK: f64 = 2.5;
/// Excursions after which older ones fade, so that a sensor may become another one. The tail is known to a tenth then.
const MEMORY: f64 = 100.0;

/// The excursions of one sensor while all was well.
///
/// # Source
///
/// The evidence is a random walk with a floor, whose excursions have exponential tails: Iglehart, *Extreme Values in the
/// GI/G/1 Queue*, Annals of Mathematical Statistics 43, 1972. With a gamma prior on the rate of the exponential the next
/// peak has a generalised Pareto distribution, the heavier the less was seen: Bernardo & Smith, *Bayesian Theory*, 1994,
/// appendix A (gamma-gamma).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Excursions {
    n: f64,
    peaks: f64,
    seconds: f64,
}

impl Excursions {
    /// Takes an excursion that came to nothing, and rose to the weight `peak`.
    pub fn learn(&mut self, peak: f64) {
        self.n += 1.0;
        self.peaks += peak;
        let share = (MEMORY / self.n).min(1.0);
        self.n *= share;
        self.peaks *= share;
        self.seconds *= share;
    }

    /// Takes time in which the sensor was watched and well, in seconds.
    pub fn pass(&mut self, seconds: f64) {
        self.seconds += seconds.max(0.0);
    }

    /// The weight that excursions reach `per_month` times a month, as far as it can be told; 0 when there are no more of
    /// them at all. `per_month` is positive. A few calm hours say little about a month: until one was watched, it is no
    /// less than what a sensor takes of which nothing is known.
    pub fn limit(&self, per_month: f64) -> f64 {
        let own = self.quantile(per_month);
        if self.seconds < MONTH { own.max(Self::default().quantile(per_month)) } else { own }
    }

    fn quantile(&self, per_month: f64) -> f64 {
        let n = PRIOR_EXCURSIONS + self.n;
        let peaks = PRIOR_EXCURSIONS * PRIOR_PEAK + self.peaks;
        let months = PRIOR_EXCURSIONS / PRIOR_PER_MONTH + self.seconds / MONTH;
        (peaks * ((n / months / per_month).powf(1.0 / n) - 1.0)).max(0.0)
    }

    /// Whether the sensor's own past counts for more than what is known of sensors in general.
    pub fn is_known(&self) -> bool {
        PRIOR_EXCURSIONS <= self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    /// A sensor with `per_month` excursions a month whose peaks are exponential with that mean.
    fn watched(months: f64, per_month: f64, mean: f64, chance: &mut Pcg32) -> Excursions {
        let mut excursions = Excursions::default();
        for _ in 0..(months * per_month) as u32 {
            excursions.pass(MONTH / per_month);
            excursions.learn(-mean * (1.0 - chance.random::<f64>()).ln());
        }
        excursions
    }

    #[test]
    fn a_long_history_gives_the_quantile_of_its_own_tail() {
        let mut chance = Pcg32::seed_from_u64(1);
        for (per_month, mean) in [(5.0, 1.0), (50.0, 1.0), (50.0, 6.0)] {
            let limits = (0..200).map(|_| watched(60.0, per_month, mean, &mut chance).limit(0.5));
            let limit = limits.sum::<f64>() / 200.0;
            // By hand: an exponential tail is reached half a time a month at mean · ln(per month / 0.5).
            let expected = mean * f64::ln(per_month / 0.5);
            assert!((limit / expected - 1.0).abs() < 0.15, "{limit} for {expected}");
        }
    }

    #[test]
    fn the_limit_of_a_short_history_lets_no_more_pass_than_the_budget_allows() {
        let mut chance = Pcg32::seed_from_u64(2);
        for months in [0.5, 2.0, 10.0] {
            let passed = (0..2_000).map(|_| {
                // Sensors as there are: each has a mean of its own.
                let mean = 2.5 * chance.random_range(0.3..1.7);
                10.0 * (-watched(months, 10.0, mean, &mut chance).limit(0.5) / mean).exp()
            });
            let per_month = passed.sum::<f64>() / 2_000.0;
            assert!(0.1 < per_month && per_month < 0.5 * 1.2, "{per_month} a month after {months} months");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_given_the_benefit_of_the_doubt_and_a_restless_sensor_more_of_it() {
        let new = Excursions::default();
        // By hand: 10 · ((10 / 1)^(1/4) - 1).
        assert!((new.limit(1.0) - 7.783).abs() < 1e-3 && !new.is_known());
        let mut restless = new;
        (0..20).for_each(|_| restless.learn(4.0));
        assert!(2.0 * new.limit(1.0) < restless.limit(1.0) && restless.is_known());
        let mut calm = new;
        calm.pass(12.0 * MONTH);
        assert!(calm.limit(1.0) < new.limit(1.0));
    }

    proptest! {
        #[test]
        fn a_larger_budget_never_takes_more(
            peaks in prop::collection::vec(0.1..200.0f64, 0..300), seconds in 0.0..1e9f64,
            budget in 1e-3..1e3f64, more in 1.0..10.0f64,
        ) {
            let mut excursions = Excursions::default();
            peaks.iter().for_each(|peak| excursions.learn(*peak));
            excursions.pass(seconds);
            let (tight, loose) = (excursions.limit(budget), excursions.limit(more * budget));
            prop_assert!(loose.is_finite() && tight.is_finite() && loose <= tight);
        }
    }
}
