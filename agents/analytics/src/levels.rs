//! Levels between which a signal goes to and fro, such as off and on, found in one pass.
//!
//! A level is a place to which the signal comes back again and again, stays for a while, and leaves quickly. Levels are
//! believed late and never given up: while there is doubt there are none. Whoever calls decides what may be learnt from;
//! a level that is a fault must not be.

use crate::bounded;
use serde::{Deserialize, Serialize};

/// Values in a row that make a stay.
const STAY_MIN: u32 = 16;
/// Values off the present place before it counts as left: one or two may be wild.
const LEFT_AFTER: u32 = 3;
/// Stays that make a level. A place that was visited less often may be chance, or a fault that came and went.
const VISITS_MIN: u32 = 5;
/// Places that are remembered. With more, a signal wanders rather than switches.
const PLACES_MAX: usize = 8;
/// Distance of two levels in standard deviations of the wider one. Of a signal that swings evenly through its range the
/// stays lie 3.5 apart, whatever their width, so it has no levels.
const APART: f64 = 8.0;
/// Reach of a place, as far as two levels can lie from one another without touching.
const REACH: f64 = 0.5 * APART;
/// Share of all values that levels must hold: who switches is hardly ever in between.
const HELD_MIN: f64 = 0.9;
/// Changes from one value to the next that the noise spans.
const NOISE_SPAN: f64 = 256.0;
/// Mean distance of two normal values in standard deviations.
const STEP_TO_SD: f64 = std::f64::consts::FRAC_2_SQRT_PI;
/// How much longer than ever before it may take from one level to another.
const PATIENCE: f64 = 1.5;
/// A level within this share of the largest is one of rest.
const REST_SHARE: f64 = 0.05;

/// Where the signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the level of that index. An index keeps its level for good.
    At(usize),
    /// On the way from a level.
    Leaving {
        /// The level.
        from: usize,
        /// Whether it has been on the way for longer than it ever was.
        overdue: bool,
    },
}

/// Values that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stay {
    n: u32,
    mean: f64,
    /// Sum of squared deviations from the mean.
    scatter: f64,
    visits: u32,
}

/// Finds the levels of one signal. Takes under a kilobyte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    n: u32,
    last: Option<f64>,
    /// Usual change from one value to the next.
    step: f64,
    /// Smallest change there was.
    grain: f64,
    stay: Stay,
    off_stay: u32,
    /// Values since the last stay that was one, and the most there were.
    loose: u32,
    loose_most: u32,
    places: Vec<Stay>,
    found: bool,
    at: Option<usize>,
    away: u32,
    settled: u32,
}

impl Levels {
    /// Takes the next value, and learns from it if `learn` allows it. Tells the place once there are levels.
    pub fn take(&mut self, value: f64, learn: bool) -> Option<Place> {
        let value = bounded(value);
        if learn {
            self.learn(value);
        }
        if self.found { self.place(value) } else { None }
    }

    /// Mean of the level of that index.
    pub fn mean(&self, level: usize) -> Option<f64> {
        self.places.get(level).map(|place| place.mean)
    }

    /// Whether the level of that index is one of rest: close to zero, beside the largest.
    pub fn is_rest(&self, level: usize) -> bool {
        let largest = self.levels().map(|(_, place)| place.mean.abs()).fold(0.0, f64::max);
        self.mean(level).is_some_and(|mean| mean.abs() <= REST_SHARE * largest)
    }

    /// The level next to `value` at which something is done.
    pub fn nearest_in_work(&self, value: f64) -> Option<usize> {
        let in_work = self.levels().filter(|(level, _)| !self.is_rest(*level));
        let apart = |place: &Stay| (place.mean - value).abs();
        in_work.min_by(|(_, one), (_, other)| apart(one).total_cmp(&apart(other))).map(|(level, _)| level)
    }

    fn learn(&mut self, value: f64) {
        self.n = self.n.saturating_add(1);
        if let Some(last) = self.last.replace(value) {
            let change = (value - last).abs();
            // The way from level to level is no noise.
            let tame = if self.step == 0.0 { change } else { change.min(3.0 * self.step) };
            self.step += (tame - self.step) / f64::from(self.n).min(NOISE_SPAN);
            if 0.0 < change {
                self.grain = if self.grain == 0.0 { change } else { self.grain.min(change) };
            }
        }
        let reach = REACH * self.width(&self.stay);
        if self.stay.n == 0 || (value - self.stay.mean).abs() <= reach {
            self.stay.add(value);
            self.off_stay = 0;
            return;
        }
        self.off_stay += 1;
        if self.off_stay < LEFT_AFTER {
            return;
        }
        let stay = std::mem::take(&mut self.stay);
        self.stay.add(value);
        self.off_stay = 0;
        if stay.n < STAY_MIN {
            self.loose = self.loose.saturating_add(stay.n + LEFT_AFTER);
            return;
        }
        self.loose_most = self.loose_most.max(std::mem::take(&mut self.loose));
        self.visit(&stay);
        self.found = self.found || self.is_evident();
    }

    /// Adds a stay to the place where it was, or remembers a new one.
    fn visit(&mut self, stay: &Stay) {
        let stay = Stay { visits: 1, ..*stay };
        let near = |place: &Stay| (place.mean - stay.mean).abs() <= REACH * self.width(place).max(self.width(&stay));
        if let Some(idx) = nearest(&self.places, stay.mean).filter(|idx| near(&self.places[*idx])) {
            self.places[idx].join(&stay);
        } else if self.places.len() < PLACES_MAX {
            self.places.push(stay);
        } else if let Some(rare) = self.places.iter_mut().min_by_key(|place| place.visits)
            && rare.visits < VISITS_MIN
        {
            *rare = stay;
        }
    }

    fn is_evident(&self) -> bool {
        let held: f64 = self.levels().map(|(_, place)| f64::from(place.n)).sum();
        let apart =
            |one: &Stay, other: &Stay| APART * self.width(one).max(self.width(other)) <= (one.mean - other.mean).abs();
        2 <= self.levels().count()
            && HELD_MIN * f64::from(self.n) <= held
            && self.levels().all(|(idx, one)| self.levels().all(|(of, other)| idx == of || apart(one, other)))
    }

    fn place(&mut self, value: f64) -> Option<Place> {
        let here = self
            .levels()
            .min_by(|(_, one), (_, other)| (one.mean - value).abs().total_cmp(&(other.mean - value).abs()));
        let here = here.filter(|(_, place)| (place.mean - value).abs() <= APART * self.width(place));
        let here = here.map(|(idx, _)| idx);
        if here.is_some() && here == self.at {
            (self.away, self.settled) = (0, 0);
            return here.map(Place::At);
        }
        self.away = self.away.saturating_add(1);
        self.settled = if here.is_some() { self.settled + 1 } else { 0 };
        if here.is_some() && (self.at.is_none() || LEFT_AFTER <= self.settled) {
            self.at = here;
            (self.away, self.settled) = (0, 0);
            return here.map(Place::At);
        }
        let patience = PATIENCE * f64::from(self.loose_most.max(STAY_MIN));
        self.at.map(|from| Place::Leaving { from, overdue: patience < f64::from(self.away) })
    }

    fn levels(&self) -> impl Iterator<Item = (usize, &Stay)> {
        self.places.iter().enumerate().filter(|(_, place)| VISITS_MIN <= place.visits)
    }

    /// Standard deviation of a place: its own, and no less than the noise and the grain of the signal.
    fn width(&self, place: &Stay) -> f64 {
        place.deviation().max(self.step / STEP_TO_SD).max(self.grain)
    }
}

impl Stay {
    fn add(&mut self, value: f64) {
        self.join(&Self { n: 1, mean: value, ..Self::default() });
    }

    /// Adds `other`.
    ///
    /// # Source
    ///
    /// Chan, Golub & LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979.
    fn join(&mut self, other: &Self) {
        let n = self.n.saturating_add(other.n);
        let (apart, share) = (other.mean - self.mean, f64::from(other.n) / f64::from(n));
        self.scatter += other.scatter + apart * apart * f64::from(self.n) * share;
        self.mean += apart * share;
        self.n = n;
        self.visits = self.visits.saturating_add(other.visits);
    }

    fn deviation(&self) -> f64 {
        if self.n < 2 { 0.0 } else { (self.scatter / f64::from(self.n - 1)).sqrt() }
    }
}

fn nearest(places: &[Stay], value: f64) -> Option<usize> {
    let apart = |idx: &usize| (places[*idx].mean - value).abs();
    (0..places.len()).min_by(|one, other| apart(one).total_cmp(&apart(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;
    use std::f64::consts::TAU;

    /// Roughly normal noise with standard deviation 1.
    fn noise(chance: &mut Pcg32) -> f64 {
        (0..12).map(|_| chance.random::<f64>()).sum::<f64>() - 6.0
    }

    /// A machine that stands still for 40 to 80 readings and runs at 100 for 100 to 200, with five on the way.
    fn machine(seed: u64, n_cycles: usize) -> Vec<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        let mut values = Vec::new();
        for _ in 0..n_cycles {
            let (off, on) = (chance.random_range(40..80), chance.random_range(100..200));
            values.extend((0..off).map(|_| 0.05 * noise(&mut chance)));
            values.extend((1..5).map(|step| 20.0 * f64::from(step)));
            values.extend((0..on).map(|_| 100.0 + noise(&mut chance)));
            values.extend((1..5).map(|step| 100.0 - 20.0 * f64::from(step)));
        }
        values
    }

    fn taught(values: impl IntoIterator<Item = f64>) -> Levels {
        let mut levels = Levels::default();
        for value in values {
            levels.take(value, true);
        }
        levels
    }

    #[test]
    fn off_and_on_are_found_and_off_is_rest() {
        for seed in 0..20 {
            let mut levels = taught(machine(seed, 12));
            let mut at = |value: f64| {
                let places: Vec<_> = (0..5).map(|_| levels.take(value, false)).collect();
                let Some(Some(Place::At(level))) = places.last() else { panic!("seed {seed}: {value} is {places:?}") };
                (*level, levels.is_rest(*level))
            };
            let (off, on) = (at(0.02), at(100.5));
            assert!(off.1 && !on.1 && off.0 != on.0, "seed {seed}: {off:?} {on:?}");
        }
    }

    #[test]
    fn who_stays_between_levels_is_overdue_and_who_passes_is_not() {
        let mut levels = taught(machine(7, 12));
        for _ in 0..9 {
            levels.take(100.0, true);
        }
        let Some(Place::At(on)) = levels.take(100.0, true) else { panic!("{levels:?}") };
        let places: Vec<_> = (0..60).map(|_| levels.take(60.0, false)).collect();
        assert_eq!(places[3], Some(Place::Leaving { from: on, overdue: false }));
        assert_eq!(places[59], Some(Place::Leaving { from: on, overdue: true }));
    }

    #[test]
    fn what_is_not_learnt_is_no_level() {
        // Given a machine that hangs at 60 every other time, which its owner knows to be a fault,
        let mut levels = Levels::default();
        for seed in 0..12 {
            for value in machine(seed, 2) {
                levels.take(value, true);
            }
            for _ in 0..50 {
                levels.take(60.0, false);
            }
        }
        // then it is on the way there, each time.
        let place = (0..60).map(|_| levels.take(60.0, false)).last().flatten();
        assert!(matches!(place, Some(Place::Leaving { overdue: true, .. })), "{place:?}");
    }

    #[test]
    fn signals_that_do_not_switch_have_no_levels() {
        let check = |name: &str, signal: &dyn Fn(usize, &mut Pcg32) -> f64| {
            for seed in 0..10 {
                let mut chance = Pcg32::seed_from_u64(seed);
                let levels = taught((0..20_000).map(|at| signal(at, &mut chance)));
                assert!(!levels.found, "{name}, seed {seed}: {:?}", levels.places);
            }
        };
        let swing = |at: usize, period: f64| (TAU * at as f64 / period).sin();
        check("noise", &|_, chance| noise(chance));
        check("a constant", &|_, _| 5.0);
        check("a slow swing", &|at, chance| 10.0 * swing(at, 1_440.0) + noise(chance));
        check("a wide swing", &|at, chance| 100.0 * swing(at, 1_440.0) + noise(chance));
        check("a smooth swing", &|at, _| 100.0 * swing(at, 288.0));
        check("grains", &|at, _| (10.0 * (20.0 + swing(at, 1_440.0))).round() / 10.0);
        check("spikes", &|at, chance| if at % 50 == 0 { 100.0 } else { noise(chance) });
        // One step for good is a change, and no mode.
        check("a step", &|at, chance| if at < 10_000 { noise(chance) } else { 50.0 + noise(chance) });
    }
}
