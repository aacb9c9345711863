//! What the last readings look like: running means, noise, repeats, lags.
//!
//! Keeps no opinion of what is normal; averages are fed with readings that the gauges have pulled back into their
//! limits, so that a single wild reading leaves no trace.

use super::gauge::Gauge;
use serde::{Deserialize, Serialize};

/// Readings that each running mean spans. About a factor of six apart: what one is too short for, the next one sees.
pub(super) const SPANS: [u32; 4] = [1, 8, 32, 256];
/// Readings that the running noise spans.
pub(super) const NOISE_SPAN: u32 = 16;
/// A pause of so many usual intervals ends the recent past: the process may be elsewhere now.
const PAUSE: f64 = 10.0;
/// Readings before the usual interval is known well enough to tell a pause.
const INTERVAL_KNOWN: u32 = 32;
/// Smallest noise that is told from none, as a share of the usual noise.
const NOISE_FLOOR: f64 = 0.02;

/// The recent past of one sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Recent {
    n: u32,
    /// Readings since the start or the last pause. A baseline that an earlier version kept does not know.
    #[serde(default)]
    filled: u32,
    pub(super) last_at: Option<f64>,
    interval: f64,
    /// The last eight values, newest first.
    lags: [f64; 8],
    /// Running means over `SPANS[1..]`.
    means: [f64; 3],
    noise: f64,
    /// Usual distance of a reading from the mean over 32 readings.
    reach: f64,
    /// How often the last value has been repeated.
    pub(super) repeats: u32,
}

/// One reading, measured against those before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    /// The reading, and the running means over [`SPANS`] that include it.
    pub(super) means: [f64; 4],
    /// Whether there were as many readings since the last pause as each mean spans: before, a mean is much less of one than
    /// those that it would be judged by.
    pub(super) full: [bool; 4],
    /// From the mean of the eight readings before to this one.
    pub(super) step: f64,
    /// From the mean of 32 readings to the mean of eight.
    pub(super) trend: f64,
    /// Logarithm of the noise.
    pub(super) spread: f64,
    /// The last readings as multiples of their usual reach, and the noise: what the forest sees.
    pub(super) shape: [f64; 6],
}

/// Weight of the newest of `n` readings in a mean that spans `span`: a plain mean at first, then exponential.
pub(super) fn share(span: u32, n: u32) -> f64 {
    (2.0 / (f64::from(span) + 1.0)).max(1.0 / f64::from(n))
}

impl Recent {
    pub(super) fn take(&mut self, at: f64, value: f64, level: &Gauge, rate: &Gauge, spread: &Gauge) -> Measures {
        self.pass_time(at, value);
        self.n = self.n.saturating_add(1);
        self.repeats = if 1 < self.n && value == self.lags[0] { self.repeats.saturating_add(1) } else { 0 };
        let step = value - self.means[0];
        let tame = level.bounded(value);
        for (mean, span) in self.means.iter_mut().zip(&SPANS[1..]) {
            *mean += share(*span, self.filled) * (tame - *mean);
        }
        self.noise += share(NOISE_SPAN, self.n) * (rate.bounded(step).abs() - self.noise);
        let usual = spread.mean().map_or(self.noise, f64::exp);
        let noise = self.noise.max(NOISE_FLOOR * usual).max(f64::MIN_POSITIVE).ln();
        let slow = self.means[1];
        let scale = self.reach.max(f64::MIN_POSITIVE);
        let lag = |idx: usize| (self.lags[idx] - slow) / scale;
        let shape =
            [(value - slow) / scale, lag(0), lag(1), lag(3), lag(7), 2.0 * (noise - spread.mean().unwrap_or(noise))];
        self.lags.rotate_right(1);
        self.lags[0] = value;
        let [fast, slow, long] = self.means;
        let full = SPANS.map(|span| span <= self.filled);
        Measures { means: [value, fast, slow, long], full, step, trend: fast - slow, spread: noise, shape }
    }

    /// Learns how far a clean reading usually is from the running mean.
    pub(super) fn learn(&mut self, measures: &Measures) {
        let [value, _, slow, _] = measures.means;
        self.reach += ((value - slow).abs() - self.reach) / f64::from(self.n.clamp(1, 4_096));
    }

    fn pass_time(&mut self, at: f64, value: f64) {
        let pause = self.last_at.map(|last| at - last);
        self.last_at = Some(at);
        self.filled = self.filled.saturating_add(1);
        if let Some(pause) = pause {
            let after_pause = INTERVAL_KNOWN < self.n && PAUSE * self.interval < pause;
            let usual = if self.n == 1 { pause } else { pause.min(4.0 * self.interval) };
            self.interval += share(64, self.n) * (usual - self.interval);
            if !after_pause {
                return;
            }
        }
        self.means = [value; 3];
        self.lags = [value; 8];
        self.filled = 1;
    }

    /// The same past for another idea of what is normal, which had `other` for its own: the means begin anew with the next
    /// reading, and the noise is taken to be as usual, since what bounded them holds no more.
    pub(super) fn begun_anew(self, other: &Self) -> Self {
        Self { filled: 0, means: [self.lags[0]; 3], noise: other.noise, ..self }
    }
}
