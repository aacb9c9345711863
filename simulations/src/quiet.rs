//! A plant on which nothing is wrong, for counting false alarms.
//!
//! Each seed is another plant: what its sensors do is drawn from it, from white noise to noise that wanders for hours,
//! with a daily rhythm that may rest at weekends, with changes of load, or with all of it. Sensors of one plant share
//! load and rhythm and have noise of their own. Nothing ages and nothing breaks.

use crate::Sample;
use crate::chance::stream;
use crate::signal::{Lag, Noise, seconds_between};
use domain::reading::SensorType;
use domain::{AssetId, SensorId, Timestamp};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::f64::consts::TAU;
use std::ops::Range;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;
/// Correlation time of the noise, in seconds, where it has one.
const CORRELATION: Range<f64> = 0.2 * HOUR..6.0 * HOUR;
/// Daily amplitude, and distance between two levels of load, in standard deviations of the noise.
const SWING: Range<f64> = 2.0..8.0;
/// Mean time at one level of load, in seconds.
const DWELL: Range<f64> = 1.0 * HOUR..12.0 * HOUR;
/// Time constant with which a sensor follows its plant, in seconds.
const LAG: Range<f64> = 60.0..1.0 * HOUR;

/// What the readings of a plant are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Noise without memory.
    White,
    /// Noise that wanders.
    Wandering,
    /// A daily rhythm, the same on every day.
    Daily,
    /// A daily rhythm that is weaker at weekends.
    Weekly,
    /// A load that goes from level to level.
    Loaded,
    /// A daily rhythm, a changing load and noise that wanders.
    Everything,
}

impl Kind {
    /// All of them, in the order in which the seeds take turns.
    pub const ALL: [Self; 6] =
        [Self::White, Self::Wandering, Self::Daily, Self::Weekly, Self::Loaded, Self::Everything];

    fn has_memory(self) -> bool {
        matches!(self, Self::Wandering | Self::Everything)
    }

    fn has_rhythm(self) -> bool {
        matches!(self, Self::Daily | Self::Weekly | Self::Everything)
    }

    fn has_load(self) -> bool {
        matches!(self, Self::Loaded | Self::Everything)
    }
}

/// A plant on which nothing is wrong.
#[derive(Clone, Debug)]
pub struct Quiet {
    kind: Kind,
    /// When the rhythm is highest, in seconds after midnight UTC, and what is left of it at weekends.
    peak: f64,
    weekend: f64,
    levels: Vec<f64>,
    dwell: f64,
    load: f64,
    load_until: Option<Timestamp>,
    chance: Pcg64,
    sensors: Vec<Probe>,
}

/// One sensor.
#[derive(Clone, Debug)]
struct Probe {
    sensor: SensorId,
    asset: AssetId,
    level: f64,
    scale: f64,
    swing: f64,
    gain: f64,
    /// The smallest step that it can show.
    step: f64,
    lag: Lag,
    noise: Noise,
}

impl Quiet {
    /// The plant of `seed`, with `n_sensors` sensors `<asset>-1` and so on. Its kind is the seed's turn in [`Kind::ALL`].
    pub fn new(seed: u64, asset: &AssetId, n_sensors: usize) -> Self {
        let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
        let mut chance = stream(seed, "quiet");
        let n_levels = chance.random_range(2..=4);
        let distance = chance.random_range(SWING);
        let probe = |no: usize| {
            let mut chance = stream(seed, &format!("quiet sensor {no}"));
            let scale = 10.0_f64.powf(chance.random_range(-2.0..2.0));
            // White noise is noise that has forgotten itself by the next reading.
            let memory = if kind.has_memory() { chance.random_range(CORRELATION) } else { 1e-3 };
            Probe {
                sensor: SensorId::new(format!("{asset}-{no}")),
                asset: asset.clone(),
                level: 100.0 * scale * chance.random::<f64>(),
                scale,
                swing: if kind.has_rhythm() { chance.random_range(SWING) } else { 0.0 },
                gain: if kind.has_load() { distance * chance.random_range(0.5..1.5) } else { 0.0 },
                step: scale * chance.random_range(0.01..0.5),
                lag: Lag::new(chance.random_range(LAG)),
                noise: Noise::new(1.0, memory, stream(seed, &format!("quiet noise {no}"))),
            }
        };
        Self {
            kind,
            peak: chance.random_range(0.0..DAY),
            weekend: if kind == Kind::Daily { 1.0 } else { chance.random_range(0.0..0.7) },
            levels: (0..n_levels).map(f64::from).collect(),
            dwell: chance.random_range(DWELL),
            load: 0.0,
            load_until: None,
            chance,
            sensors: (1..=n_sensors).map(probe).collect(),
        }
    }

    /// What its readings are like.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A sample of each sensor at `at`, which is not before the last call's.
    pub fn sample(&mut self, at: Timestamp) -> Vec<Sample> {
        self.change_load(at);
        let (rhythm, load) = (self.rhythm(at), self.load);
        let read = |probe: &mut Probe| {
            let target = probe.swing * rhythm + probe.gain * load;
            let truth = probe.level + probe.scale * (probe.lag.follow(target, at) + probe.noise.at(at));
            Sample {
                sensor: probe.sensor.clone(),
                asset: probe.asset.clone(),
                sensor_type: SensorType::Temperature,
                unit: "celsius",
                value: (truth / probe.step).round() * probe.step,
                taken_at: at,
            }
        };
        self.sensors.iter_mut().map(read).collect()
    }

    fn rhythm(&self, at: Timestamp) -> f64 {
        let seconds = at.as_second() as f64;
        // Day 0 of the epoch was a Thursday.
        let weekend = matches!((seconds / DAY).floor().rem_euclid(7.0) as u8, 2 | 3);
        let share = if weekend { self.weekend } else { 1.0 };
        share * (TAU * (seconds - self.peak) / DAY).cos()
    }

    /// The load stays at a level for a while and then goes to another one.
    fn change_load(&mut self, at: Timestamp) {
        if self.load_until.is_some_and(|until| 0.0 < seconds_between(at, until)) {
            return;
        }
        self.load = self.levels[self.chance.random_range(0..self.levels.len())];
        let stay = -self.dwell * (1.0 - self.chance.random::<f64>()).ln();
        self.load_until = at.checked_add(jiff::SignedDuration::from_secs(stay as i64 + 1)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the first sensor of the plant of `seed`, one every ten minutes for so many days.
    fn values(seed: u64, days: i64) -> Vec<f64> {
        let mut quiet = Quiet::new(seed, &AssetId::from("quiet"), 2);
        // A Monday.
        let at = |step: i64| Timestamp::from_second(1_767_571_200 + 600 * step).unwrap();
        (0..144 * days).map(|step| quiet.sample(at(step))[0].value).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// Correlation of values that are `apart` readings apart.
    fn correlation(values: &[f64], apart: usize) -> f64 {
        let mean = mean(values);
        let products =
            |apart: usize| values.iter().zip(&values[apart..]).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
        let share = (values.len() - apart) as f64 / values.len() as f64;
        products(apart) / (share * products(0))
    }

    #[test]
    fn nothing_changes_for_good() {
        for seed in 0..24 {
            let values = values(seed, 56);
            let (first, second) = values.split_at(values.len() / 2);
            let spread = first.iter().map(|value| (value - mean(first)).powi(2)).sum::<f64>() / first.len() as f64;
            let moved = (mean(second) - mean(first)).abs() / spread.sqrt();
            assert!(moved < 1.0, "seed {seed}: the mean moved by {moved} standard deviations");
        }
    }

    #[test]
    fn each_kind_is_what_it_is_called() {
        for seed in 0..24 {
            let (kind, values) = (Quiet::new(seed, &AssetId::from("quiet"), 1).kind(), values(seed, 56));
            let (next, daily, weekly) =
                (correlation(&values, 1), correlation(&values, 144), correlation(&values, 1_008));
            let holds = match kind {
                Kind::White => next.abs() < 0.1,
                Kind::Wandering => 0.3 < next && daily < 0.4,
                Kind::Daily => 0.2 < daily && (daily - weekly).abs() < 0.1,
                Kind::Weekly => 0.2 < weekly && daily < weekly + 0.02,
                Kind::Loaded | Kind::Everything => 0.1 < next,
            };
            assert!(holds, "seed {seed}, {kind:?}: {next} {daily} {weekly}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        assert_eq!(values(5, 3), values(5, 3));
        assert_ne!(values(5, 3), values(11, 3));
    }
}
