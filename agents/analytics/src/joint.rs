//! The detector of an asset: whether several sensors together are where they were while all was well.
//!
//! Takes rows, one value of each sensor at a time, and follows for each sensor a short mean and a slow reference. How
//! far the short means are from their references is measured against what that used to be, correlations included.
//! While the asset is abnormal the references of the sensors that are off stand still, and nothing is learnt. Knows no
//! clock: see [`Rows`] for how readings become rows. The first fit needs no training phase that somebody starts; each
//! later one comes after four times as many rows as the one before and covers them all.
//!
//! # Source
//!
//! Hotelling's T² on exponentially weighted means: Lowry, Woodall, Champ & Rigdon, *A Multivariate Exponentially
//! Weighted Moving Average Control Chart*, Technometrics 34, 1992. Correlations are shrunk towards none: Ledoit & Wolf,
//! *Honey, I Shrunk the Sample Covariance Matrix*, Journal of Portfolio Management 30, 2004.

mod fit;
mod rows;

pub use rows::Rows;

use crate::bounded;
use fit::Fit;
use serde::{Deserialize, Serialize};

/// Windows after an episode in which the references settle and nothing is judged.
const SETTLE_WINDOWS: u32 = 4;
/// Windows at the very beginning from which nothing is learnt: the means are still filling.
const FILL_WINDOWS: u32 = 3;
/// Each fit covers so many times the rows of the one before.
const REFIT_FACTOR: u32 = 4;
/// A sensor that has been silent for so many of its usual intervals is left out.
const SILENT_INTERVALS: f64 = 4.0;
/// Largest score that is told apart.
const SCORE_MAX: f64 = 1_000.0;

/// How an asset is watched. The same for all assets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Rows before the first verdict. Fewer know less of how the sensors move together.
    pub fit_rows: u32,
    /// Rows that a short mean spans. More sees smaller changes, and sees them later.
    pub window_rows: u32,
    /// Rows that a reference remembers. It should be long against the window; what moves more slowly than it is not
    /// seen here.
    pub reference_rows: u32,
    /// Distance at which the score is 1, as a multiple of the largest seen while all was well.
    pub record_margin: f64,
    /// An episode is over when the distance has fallen to this share of its largest: a machine seldom comes back to
    /// exactly where it was. 0 waits until the score is below 1.
    pub release_share: f64,
}

/// What one row looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// 1 at the threshold, at least 0, at most 1,000; 0 while nothing is known.
    pub score: f64,
    /// Whether the asset is abnormal. It becomes so at a score of 1 and stays so until the episode is over.
    pub abnormal: bool,
    /// The sensor that is farthest out by its own history, as an index into the row.
    pub driver: usize,
    /// The score, discounted as far as the driver's past was smooth: a sensor that merely wanders says little about
    /// the asset on its own.
    pub evidence: f64,
}

/// What is remembered of one sensor of the asset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Channel {
    short: f64,
    reference: f64,
    /// Rows since the last value, and how many there usually are from one value to the next.
    age: u32,
    interval: f64,
    /// Values seen, up to when the means are no longer filled.
    n: u32,
    last: f64,
    previous: f64,
    /// Rows from the value before to the last one.
    elapsed: f64,
    /// Running mean and sum of squares of clean values, and sum of squared steps: how smooth it is.
    n_clean: u32,
    mean: f64,
    squares: f64,
    steps: f64,
}

/// All that is remembered of one asset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    channels: Vec<Channel>,
    /// Clean rows seen, and at how many the next fit is due.
    n_clean: u32,
    next_fit: u32,
    /// Of the clean rows' distances, one in `stride`, a row after the other.
    gathered: Vec<f32>,
    stride: u32,
    fit: Option<Fit>,
    abnormal: bool,
    /// Largest score of the episode.
    peak: f64,
    /// Rows since the last episode.
    settling: u32,
}

impl Detector {
    /// A detector for rows of `n_channels` values that has seen nothing.
    pub fn new(n_channels: usize) -> Self {
        Self { channels: vec![Channel::default(); n_channels], stride: 1, settling: u32::MAX, ..Self::default() }
    }

    /// Values in a row.
    pub fn n_channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether verdicts count yet.
    pub fn is_ready(&self) -> bool {
        self.fit.is_some()
    }

    /// Judges one row, and learns from it if it is normal and `learn` allows it.
    ///
    /// `row` holds a finite value for each channel, NaN for those that said nothing; they are taken to be where they
    /// were, and left out once they have been silent for far longer than usual.
    ///
    /// # Panics
    ///
    /// When `row` has another length than the detector has channels.
    pub fn observe(&mut self, settings: &Settings, row: &[f64], learn: bool) -> Verdict {
        assert_eq!(row.len(), self.channels.len(), "a row has a value for each channel");
        let short_gain = 2.0 / (f64::from(settings.window_rows) + 1.0);
        let slow_gain = 1.0 / f64::from(settings.reference_rows);
        for (channel, value) in self.channels.iter_mut().zip(row) {
            channel.take(bounded(*value), short_gain, slow_gain);
        }
        let deviations: Vec<f64> = self.channels.iter().map(|channel| channel.deviation(settings)).collect();
        let mut verdict = Verdict { score: 0.0, abnormal: false, driver: 0, evidence: 0.0 };
        if let Some(fit) = &mut self.fit {
            fit.leave_out(self.channels.iter().map(|channel| channel.is_absent(settings)));
            let (score, driver) = fit.judge(&deviations, settings.record_margin);
            verdict.score = score.min(SCORE_MAX);
            verdict.driver = driver;
            verdict.evidence = verdict.score * self.channels[driver].roughness();
            self.settling = self.settling.saturating_add(1);
            self.enter_or_leave(settings, verdict.score);
        }
        verdict.abnormal = self.abnormal;
        self.follow(settings, &deviations, learn);
        verdict
    }

    /// Where a channel's short mean would be normal, lowest and highest, in its unit; `None` while nothing is known.
    pub fn expected(&self, settings: &Settings, channel: usize) -> Option<(f64, f64)> {
        let reach = settings.record_margin * self.fit.as_ref()?.reach(channel)?;
        let reference = self.channels[channel].reference;
        Some((reference - reach, reference + reach))
    }

    /// How far each channel is out by its own history: 1 is its record while all was well. Empty while nothing is
    /// known.
    pub fn contributions(&self, settings: &Settings) -> Vec<f64> {
        let Some(fit) = &self.fit else { return Vec::new() };
        let deviations = self.channels.iter().map(|channel| channel.deviation(settings));
        deviations.enumerate().map(|(idx, deviation)| fit.share(idx, deviation)).collect()
    }

    fn settles(&self, settings: &Settings) -> bool {
        self.settling <= SETTLE_WINDOWS * settings.window_rows
    }

    fn enter_or_leave(&mut self, settings: &Settings, score: f64) {
        if self.abnormal {
            self.peak = self.peak.max(score);
            self.abnormal = (settings.release_share * self.peak).max(1.0) <= score;
            if !self.abnormal && 1.0 <= score {
                self.settling = 0;
            }
        } else if !self.settles(settings) && 1.0 <= score {
            self.abnormal = true;
            self.peak = score;
        }
    }

    /// Moves the references, and learns.
    fn follow(&mut self, settings: &Settings, deviations: &[f64], learn: bool) {
        let slow = 1.0 / f64::from(settings.reference_rows);
        if self.fit.is_some() && self.settles(settings) {
            // Begins anew from where the asset came to rest.
            let gain = slow.max((2.0 / (f64::from(self.settling) + 1.0)).min(1.0));
            for channel in &mut self.channels {
                channel.reference += gain * (channel.short - channel.reference);
            }
            return;
        }
        for (idx, channel) in self.channels.iter_mut().enumerate() {
            let off = |fit: &Fit| 1.0 < fit.share(idx, deviations[idx]);
            if channel.age == 0 && !(self.abnormal && self.fit.as_ref().is_some_and(off)) && (learn || channel.n == 1) {
                let gain = channel.gain(slow);
                channel.reference += gain * (channel.last - channel.reference);
            }
        }
        if !self.abnormal && learn {
            self.learn(settings, deviations);
        }
    }

    fn learn(&mut self, settings: &Settings, deviations: &[f64]) {
        for channel in &mut self.channels {
            channel.learn();
        }
        self.n_clean = self.n_clean.saturating_add(1);
        if FILL_WINDOWS * settings.window_rows < self.n_clean && self.n_clean.is_multiple_of(self.stride) {
            // What is beyond the smaller kind of number is its largest, not infinite.
            self.gathered.extend(deviations.iter().map(|deviation| (*deviation as f32).clamp(f32::MIN, f32::MAX)));
        }
        if self.n_clean == self.next_fit.max(settings.fit_rows) {
            self.fit = Fit::new(&self.gathered, self.channels.len());
            self.next_fit = self.n_clean.saturating_mul(REFIT_FACTOR);
            self.stride = self.stride.saturating_mul(REFIT_FACTOR);
            self.thin();
        }
    }

    /// Keeps one gathered row in [`REFIT_FACTOR`].
    fn thin(&mut self) {
        let width = self.channels.len();
        let kept = self.gathered.chunks_exact(width).skip(REFIT_FACTOR as usize - 1).step_by(REFIT_FACTOR as usize);
        self.gathered = kept.flatten().copied().collect();
    }
}

impl Channel {
    fn take(&mut self, value: f64, short_gain: f64, slow_gain: f64) {
        if !value.is_finite() {
            self.age = self.age.saturating_add(1);
            return;
        }
        let elapsed = f64::from(self.age) + 1.0;
        self.age = 0;
        self.n = self.n.saturating_add(1);
        if self.n == 1 {
            (self.short, self.reference, self.last) = (value, value, value);
        } else {
            self.interval += slow_gain.max(1.0 / f64::from(self.n - 1)) * (elapsed - self.interval);
        }
        self.elapsed = elapsed;
        self.short += self.gain(short_gain) * (value - self.short);
        self.previous = std::mem::replace(&mut self.last, value);
    }

    /// Weight of the newest value in a mean that forgets by `per_row`: a value after a pause stands for the pause.
    fn gain(&self, per_row: f64) -> f64 {
        (1.0 - (1.0 - per_row).powf(self.elapsed)).max(1.0 / f64::from(self.n))
    }

    fn deviation(&self, settings: &Settings) -> f64 {
        if self.is_absent(settings) { 0.0 } else { self.short - self.reference }
    }

    /// Whether it has been silent for far longer than it usually is.
    fn is_absent(&self, settings: &Settings) -> bool {
        let pause = SILENT_INTERVALS * self.interval;
        pause.max(f64::from(settings.window_rows)) < f64::from(self.age)
    }

    fn learn(&mut self) {
        if self.age != 0 {
            return;
        }
        let before = self.mean;
        self.n_clean = self.n_clean.saturating_add(1);
        self.mean += (self.last - self.mean) / f64::from(self.n_clean);
        self.squares += (self.last - before) * (self.last - self.mean);
        let step = self.last - self.previous;
        self.steps += step * step;
    }

    /// 1 for noise, towards 0 for a smooth wanderer: the share of the variance that neighbours do not share.
    ///
    /// # Source
    ///
    /// Von Neumann, *Distribution of the Ratio of the Mean Square Successive Difference to the Variance*, Annals of
    /// Mathematical Statistics 12, 1941.
    fn roughness(&self) -> f64 {
        if self.squares <= 0.0 { 1.0 } else { (0.5 * self.steps / self.squares).clamp(0.0, 1.0).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::tests::finite;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    const SETTINGS: Settings =
        Settings { fit_rows: 400, window_rows: 16, reference_rows: 200, record_margin: 1.75, release_share: 0.2 };

    /// Four sensors that follow a common load, each with noise of its own.
    struct Plant {
        chance: Pcg32,
        load: f64,
    }

    impl Plant {
        fn new(seed: u64) -> Self {
            Self { chance: Pcg32::seed_from_u64(seed), load: 0.0 }
        }

        fn noise(&mut self) -> f64 {
            (0..12).map(|_| self.chance.random::<f64>()).sum::<f64>() - 6.0
        }

        fn row(&mut self) -> Vec<f64> {
            self.load = 0.9 * self.load + self.noise();
            (0..4).map(|idx| 10.0 * f64::from(idx) + self.load + 0.5 * self.noise()).collect()
        }
    }

    /// Verdicts on `n` rows that `change` has altered.
    fn feed(detector: &mut Detector, plant: &mut Plant, n: usize, change: impl Fn(usize, &mut [f64])) -> Vec<Verdict> {
        (0..n)
            .map(|idx| {
                let mut row = plant.row();
                change(idx, &mut row);
                detector.observe(&SETTINGS, &row, true)
            })
            .collect()
    }

    #[test]
    fn a_sensor_that_leaves_the_others_is_found_and_named() {
        for seed in 0..20 {
            let (mut detector, mut plant) = (Detector::new(4), Plant::new(seed));
            let clean = feed(&mut detector, &mut plant, 1_000, |_, _| {});
            assert!(clean.iter().all(|verdict| !verdict.abnormal), "a false alarm, seed {seed}");
            // Within what the sensor does on its own, but the others do not follow.
            let faulty = feed(&mut detector, &mut plant, 100, |_, row| row[2] += 6.0);
            let found = faulty.iter().position(|verdict| verdict.abnormal);
            assert!(
                found.is_some_and(|rows| rows < 40),
                "seed {seed}: {found:?} {:?}",
                faulty.iter().map(|v| v.score).fold(0.0, f64::max)
            );
        }
    }

    #[test]
    fn a_lasting_fault_stays_abnormal_and_its_end_is_seen() {
        let (mut detector, mut plant) = (Detector::new(4), Plant::new(1));
        feed(&mut detector, &mut plant, 1_000, |_, _| {});
        let faulty = feed(&mut detector, &mut plant, 20_000, |_, row| row[0] += 40.0);
        assert!(faulty[19_000..].iter().all(|verdict| verdict.abnormal && verdict.driver == 0), "it became normal");
        let after = feed(&mut detector, &mut plant, 500, |_, _| {});
        assert!(after[100..].iter().all(|verdict| !verdict.abnormal), "it is still abnormal");
    }

    #[test]
    fn nothing_is_learnt_when_it_is_not_allowed() {
        let (mut detector, mut plant) = (Detector::new(4), Plant::new(2));
        feed(&mut detector, &mut plant, 1_000, |_, _| {});
        let (references, n_clean): (Vec<f64>, u32) =
            (detector.channels.iter().map(|channel| channel.reference).collect(), detector.n_clean);
        for _ in 0..50 {
            detector.observe(&SETTINGS, &plant.row(), false);
        }
        assert_eq!(detector.channels.iter().map(|channel| channel.reference).collect::<Vec<_>>(), references);
        assert_eq!(detector.n_clean, n_clean);
    }

    #[test]
    fn a_slow_sensor_and_a_silent_one_do_no_harm() {
        let (mut detector, mut plant) = (Detector::new(4), Plant::new(3));
        // The third speaks in one row of ten, the fourth falls silent for good.
        let gaps = |idx: usize, row: &mut [f64]| {
            if !idx.is_multiple_of(10) {
                row[2] = f64::NAN;
            }
            if 600 < idx {
                row[3] = f64::NAN;
            }
        };
        let verdicts = feed(&mut detector, &mut plant, 2_000, gaps);
        let false_alarms = verdicts.iter().filter(|verdict| verdict.abnormal).count();
        assert!(false_alarms < 40 && verdicts.iter().all(|verdict| verdict.score.is_finite()), "{false_alarms}");
    }

    #[test]
    fn a_wanderer_alone_is_weak_evidence() {
        let (mut detector, mut chance) = (Detector::new(2), Pcg32::seed_from_u64(5));
        let mut level = 0.0;
        let mut row = |jump: f64| {
            level += 0.05 * (chance.random::<f64>() - 0.5) + jump;
            vec![level, chance.random::<f64>()]
        };
        for _ in 0..1_000 {
            detector.observe(&SETTINGS, &row(0.0), true);
        }
        let strongest = (0..100)
            .map(|_| detector.observe(&SETTINGS, &row(0.1), true))
            .max_by(|one, other| one.score.total_cmp(&other.score))
            .unwrap();
        assert!(1.0 < strongest.score && strongest.evidence < 0.3 * strongest.score, "{strongest:?}");
    }

    proptest! {
        #[test]
        fn whatever_finite_values_come_all_that_is_said_is_finite(
            rows in prop::collection::vec((finite(), finite()), 60..120),
        ) {
            let settings = Settings { fit_rows: 20, window_rows: 4, reference_rows: 20, ..SETTINGS };
            let mut detector = Detector::new(2);
            for (one, other) in rows {
                let verdict = detector.observe(&settings, &[one, other], true);
                let said = [verdict.score, verdict.evidence].into_iter();
                let expected = (0..2).filter_map(|idx| detector.expected(&settings, idx));
                let said = said.chain(expected.flat_map(<[f64; 2]>::from)).chain(detector.contributions(&settings));
                prop_assert!(said.clone().all(f64::is_finite), "{:?}", said.collect::<Vec<_>>());
                prop_assert!(detector.gathered.iter().all(|deviation| deviation.is_finite()));
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_a_checkpoint_goes_on_as_if_nothing_had_happened() {
        let (mut detector, mut plant) = (Detector::new(4), Plant::new(4));
        for _ in 0..20 {
            feed(&mut detector, &mut plant, 1_000, |_, _| {});
            assert!(detector.gathered.len() <= 4 * SETTINGS.fit_rows as usize);
        }
        let bytes = postcard::to_stdvec(&detector).unwrap();
        assert!(bytes.len() < 4 * 2_048, "{} bytes", bytes.len());
        let mut restored: Detector = postcard::from_bytes(&bytes).unwrap();
        for _ in 0..500 {
            let row = plant.row();
            assert_eq!(detector.observe(&SETTINGS, &row, true), restored.observe(&SETTINGS, &row, true));
        }
    }
}
