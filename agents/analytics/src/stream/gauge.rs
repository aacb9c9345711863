//! One statistic's clean history, and how far from it is too far.
//!
//! Knows no sensor and no unit: every statistic of the detector is judged by the same rule against its own past.

use serde::{Deserialize, Serialize};

/// Samples after which older ones begin to fade, so that years of history do not make a gauge immovable.
const MEMORY: u32 = 1_000;
/// Share of the record lost per sample: the record fades half as fast as the mean, because extremes are rare.
const FADE: f64 = 0.5 / MEMORY as f64;
/// Independent samples from which on the spread is known well enough to tell an outlier from an ordinary value.
const SETTLED: f64 = 20.0;
/// Deviation, in standard deviations, beyond which a sample of a settled gauge counts only this much.
const CLIP: f64 = 2.5;
/// Limit of a statistic that has never moved, as a share of its value: nothing is known about its spread.
const UNMOVED_SHARE: f64 = 0.05;

/// Widest range that is shown, in records: a limit far beyond all experience means "not known yet".
const RANGE_RECORDS: f64 = 4.0;

/// How a limit is drawn around a clean history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Width in standard deviations of normal data.
    pub(super) tail_sigmas: f64,
    /// Width in records.
    pub(super) record_margin: f64,
}

/// What one statistic has been like while all was well. Its samples are taken a window apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Gauge {
    n: u32,
    mean: f64,
    variance: f64,
    /// Mean square of successive differences: small against the variance where the statistic wanders.
    succession: f64,
    last: f64,
    /// Largest deviation from the mean of an excursion that ended.
    record: f64,
    /// Largest deviation of the excursion that is going on.
    excursion: f64,
    /// Independent samples when the gauge was last found settled, 0 before: who was steady and begins to wander is to be
    /// found, not excused.
    settled: f64,
    /// Deviation at which the score is 1; zero while nothing is known.
    limit: f64,
}

impl Gauge {
    pub(super) fn mean(&self) -> Option<f64> {
        (0 < self.n).then_some(self.mean)
    }

    /// Where the score is at most 1, as far as it can be told: never wider than four times the record.
    pub(super) fn range(&self) -> (f64, f64) {
        let reach =
            self.limit.min(RANGE_RECORDS * self.record.max(self.excursion).max(UNMOVED_SHARE * self.mean.abs()));
        (self.mean - reach, self.mean + reach)
    }

    /// Distance from the mean in limits: 1 at the threshold, 0 while nothing is known.
    pub(super) fn score(&self, value: f64) -> f64 {
        if self.limit <= 0.0 { 0.0 } else { ((value - self.mean) / self.limit).abs() }
    }

    /// `value` pulled back to where it scores 1, so that one wild reading cannot fill an average.
    pub(super) fn bounded(&self, value: f64) -> f64 {
        if self.limit <= 0.0 { value } else { value.clamp(self.mean - self.limit, self.mean + self.limit) }
    }

    /// Takes one clean sample.
    pub(super) fn learn(&mut self, limits: Limits, value: f64) {
        self.take(limits, value, false);
    }

    /// Takes one clean sample, wary of what creeps away without coming back: it must not widen its own limit.
    ///
    /// A settled gauge counts a far sample as one at 2.5 standard deviations, and takes a new record only when the
    /// excursion is over.
    pub(super) fn learn_warily(&mut self, limits: Limits, value: f64) {
        let effective = self.effective();
        if SETTLED <= effective {
            self.settled = self.settled.max(effective);
        }
        self.take(limits, value, 0.0 < self.settled);
    }

    fn take(&mut self, limits: Limits, value: f64, settled: bool) {
        self.n = (self.n + 1).min(MEMORY);
        let share = 1.0 / f64::from(self.n);
        let mut deviation = value - self.mean;
        if settled {
            let far = CLIP * self.variance.sqrt();
            deviation = deviation.clamp(-far, far);
        }
        self.mean += share * deviation;
        self.variance += share * ((1.0 - share) * deviation * deviation - self.variance);
        if 1 < self.n {
            let step = value - self.last;
            self.succession += (step * step - self.succession) / f64::from(self.n - 1);
        }
        self.last = value;
        self.record *= 1.0 - FADE;
        let distance = (value - self.mean).abs();
        self.excursion = self.excursion.max(distance);
        if !settled || distance <= 0.5 * self.excursion {
            self.record = self.record.max(self.excursion);
            self.excursion = 0.0;
        }
        self.limit = self.limit_for(limits);
    }

    /// Takes what `other`, of the same statistic, has seen for normal as well. The limit is to be refreshed.
    pub(super) fn admit(&mut self, other: &Self) {
        self.record = self.record.max(other.record);
    }

    /// Brings the limit in line with other limits.
    pub(super) fn refresh_limit(&mut self, limits: Limits) {
        self.limit = self.limit_for(limits);
    }

    /// Independent samples that would say as much, by the correlation of neighbours from von Neumann's ratio.
    fn effective(&self) -> f64 {
        let ratio = self.succession / self.variance.max(f64::MIN_POSITIVE);
        let correlation = (1.0 - 0.5 * ratio).clamp(0.0, 0.999);
        (f64::from(self.n) * (1.0 - correlation) / (1.0 + correlation)).max(self.settled)
    }

    /// The wider of two limits: what Student's t allows a further independent sample after so few, which covers short
    /// and wandering histories, and a margin over the record, which covers heavy tails.
    ///
    /// # Source
    ///
    /// Samples that wander count for fewer: Bayley & Hammersley, *The "Effective" Number of Independent Observations in
    /// an Autocorrelated Time Series*, JRSS Supplement 8, 1946, for a first-order process.
    /// Student's quantile from the normal one: Wallace, *Bounds on Normal Approximations to Student's and the
    /// Chi-Square Distributions*, Annals of Mathematical Statistics 30, 1959.
    fn limit_for(&self, limits: Limits) -> f64 {
        if self.record == 0.0 {
            return if 1 < self.n { UNMOVED_SHARE * self.mean.abs() } else { 0.0 };
        }
        let freedom = (self.effective() - 1.0).max(0.1);
        let wide = limits.tail_sigmas * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0);
        // 300 keeps the exponential finite: nothing is ever that far out.
        let student = (freedom * ((wide * wide / freedom).min(300.0).exp() - 1.0)).sqrt();
        (student * self.variance.sqrt()).max(limits.record_margin * self.record)
    }
}
