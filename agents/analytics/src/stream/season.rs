//! The daily rhythm, weekdays and weekends apart.
//!
//! Always learns, and claims to hold only where its forecasts have been better than the plain level's.

use serde::{Deserialize, Serialize};

const SECONDS_PER_HOUR: f64 = 3_600.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
/// Hours of a weekday, then those of a day of the weekend.
const BINS: usize = 48;
/// Days on which an hour was seen before it gives a forecast, and before the forecast may count.
const DAYS_TO_FORECAST: u8 = 2;
const DAYS_TO_HOLD: u8 = 3;
/// The profile holds while its mean error is below this share of the plain level's: a rhythm worth the name.
const ERROR_SHARE: f64 = 0.7;
/// Smallest spread of an hour, as a share of the profile's mean error, because few days make it look too small.
const SPREAD_SHARE: f64 = 0.25;
/// Readings after which older ones fade, in an hour's mean and in the errors.
const BIN_MEMORY: u16 = 1_000;
const ERROR_MEMORY: u32 = 2_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bin {
    n: u16,
    days: u8,
    last_day: u16,
    /// Relative to the origin, so that single precision is enough.
    mean: f32,
    /// Mean absolute deviation.
    spread: f32,
}

/// Profile over the hours of the day in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    bins: Vec<Bin>,
    origin: f64,
    n: u32,
    /// Mean absolute errors of the profile's and of the level's forecast, each made before the reading was seen.
    error_with: f64,
    error_without: f64,
}

/// Where a reading should be by the profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forecast {
    pub(super) mean: f64,
    pub(super) spread: f64,
    /// Whether the profile has earned its say.
    pub(super) holds: bool,
}

impl Forecast {
    /// Deviation of `value` in spreads, kept within a million so that its square is finite.
    pub(super) fn residual(&self, value: f64) -> f64 {
        ((value - self.mean) / self.spread.max(f64::MIN_POSITIVE)).clamp(-1e6, 1e6)
    }
}

fn bin_of(at: f64) -> usize {
    let day = (at / SECONDS_PER_DAY).floor();
    let hour = ((at - day * SECONDS_PER_DAY) / SECONDS_PER_HOUR) as usize;
    // Day 0 of the epoch was a Thursday.
    let weekend = matches!((day as i64).rem_euclid(7), 2 | 3);
    hour.min(23) + if weekend { BINS / 2 } else { 0 }
}

impl Season {
    /// Bytes outside of itself.
    pub(super) fn size(&self) -> usize {
        self.bins.capacity() * size_of::<Bin>()
    }

    /// `None` until the hour has been seen on two days.
    pub(super) fn forecast(&self, at: f64) -> Option<Forecast> {
        let bin = self.bins.get(bin_of(at)).filter(|bin| DAYS_TO_FORECAST <= bin.days)?;
        Some(Forecast {
            mean: self.origin + f64::from(bin.mean),
            spread: f64::from(bin.spread).max(SPREAD_SHARE * self.error_with),
            holds: DAYS_TO_HOLD <= bin.days && self.error_with < ERROR_SHARE * self.error_without,
        })
    }

    /// Takes one clean reading; `level` is what would be expected without a profile.
    pub(super) fn learn(&mut self, at: f64, value: f64, level: f64) {
        if self.bins.is_empty() {
            self.bins = vec![Bin::default(); BINS];
            self.origin = value;
        }
        if let Some(forecast) = self.forecast(at) {
            self.n = (self.n + 1).min(ERROR_MEMORY);
            let share = 1.0 / f64::from(self.n);
            self.error_with += share * ((value - forecast.mean).abs() - self.error_with);
            self.error_without += share * ((value - level).abs() - self.error_without);
        }
        let day = (at / SECONDS_PER_DAY).floor().rem_euclid(65_536.0) as u16;
        let bin = &mut self.bins[bin_of(at)];
        if bin.days == 0 || bin.last_day != day {
            bin.days = bin.days.saturating_add(1);
            bin.last_day = day;
        }
        bin.n = (bin.n + 1).min(BIN_MEMORY);
        let share = 1.0 / f32::from(bin.n);
        // Bounded, so that no single-precision number overflows.
        let deviation = (value - self.origin).clamp(-1e37, 1e37) as f32 - bin.mean;
        bin.mean += share * deviation;
        bin.spread += share * (deviation.abs() - bin.spread);
    }
}
