//! The one-pass detector that runs on every reading of every sensor.
//!
//! Measures each reading in ten ways (four running means, two rates, noise, repeats, shape, rhythm) and judges each
//! measure against its own clean history by one rule, so one threshold serves all sensors and units. Keeps under
//! 64 KiB a sensor, learns from the first reading on, and learns nothing while a sensor is abnormal: a lasting fault
//! stays one, until [`Detector::adopt`] says that it is the new normal. Does not decide what deserves a case: see
//! [`crate::evidence`].

mod baseline;
mod gauge;
mod novelty;
mod pattern;
mod recent;
mod season;

pub use baseline::Baseline;

use crate::bounded;
use gauge::{Gauge, Limits};
use novelty::Novelty;
use pattern::Pattern;
use recent::{Measures, NOISE_SPAN, Recent, SPANS, share};
use season::{Forecast, Season};
use serde::{Deserialize, Serialize};

/// Largest score that is told apart: beyond, all is equally impossible.
const SCORE_MAX: f64 = 1_000.0;
/// Span of the averages over the forest's scores and over the deviations from the rhythm.
const SMOOTH: u32 = SPANS[1];
/// Share of the record's margin that a forest's score gets: it is bounded, so it has no tail to guard against.
const BOUNDED_SHARE: f64 = 1.0 / 3.0;
/// Length of three independent scores that is as rare as a single one at the threshold: √22.0 = 4.7 is to χ with three
/// degrees of freedom what 4 is to one.
const TOGETHER: f64 = 1.17;
/// Repeats that never count as stuck: short runs of equal values are the quantisation of the sensor.
const REPEATS_MIN: f64 = 8.0;

/// How cautious the detector is. The same for all sensors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Readings before the first verdict. Below 100 the first limits are guesses; each reading more is one more during
    /// which a new sensor is not watched.
    pub warm_up_readings: u32,
    /// Distance from the mean, in standard deviations of normal data, at which the score is 1; short and wandering
    /// histories are given more. Higher is quieter and blinder.
    pub tail_sigmas: f64,
    /// Distance from the mean at which the score is 1, as a multiple of the largest seen while all was well. At 1 each
    /// new record is an anomaly; higher is quieter on sensors that spike.
    pub record_margin: f64,
    /// Normal readings in a row before learning goes on after an anomalous one. Higher keeps more of a fault's ends out
    /// of the clean history.
    pub hold_readings: u32,
}

impl Settings {
    /// How the gauges draw their limits, and how the one of a bounded statistic does.
    fn limits(&self) -> (Limits, Limits) {
        let limits = Limits { tail_sigmas: self.tail_sigmas, record_margin: self.record_margin };
        (limits, Limits { record_margin: 1.0 + BOUNDED_SHARE * (self.record_margin - 1.0), ..limits })
    }
}

/// What a score is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// The value or one of its running means is off.
    Level,
    /// It moves faster than it used to.
    Rate,
    /// It is noisier or calmer than it used to be.
    Spread,
    /// It repeats one value for longer than it used to.
    Stuck,
    /// The last readings together have an unusual shape.
    Pattern,
    /// It does not follow its daily rhythm.
    Season,
}

/// The score of each aspect, in the order of [`Aspect`].
pub type Attributions = [(Aspect, f64); 6];

/// Whether there is enough history for verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Not yet: nothing is called anomalous.
    Cold {
        /// Readings seen.
        have: u32,
        /// Readings needed.
        need: u32,
    },
    /// Verdicts count.
    Ready,
}

/// What one reading looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// 1 at the threshold, at least 0, at most 1,000: the largest of the aspects' scores, or, while
    /// none reaches 1, what they come to together.
    pub score: f64,
    /// Where a reading would have been normal, lowest and highest.
    pub expected: (f64, f64),
    /// The aspect with the largest score.
    pub aspect: Aspect,
    /// The score of each aspect.
    pub attribution: Attributions,
    /// Anomalous readings in a row, this one included.
    pub run_length: u32,
    /// 1 or more at the first sight of a stretch that is unlike all that is remembered, by a margin; once for each
    /// change, where the score stays up for as long as it lasts. No part of the score.
    pub novelty: f64,
    /// Whether the score reaches 1 and there is history enough.
    pub anomalous: bool,
    /// Whether there is history enough.
    pub readiness: Readiness,
}

/// How long values have been repeated while all was well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Repeats {
    n: u32,
    repeated: u32,
    longest: u32,
}

/// All that is remembered of one sensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detector {
    n: u32,
    run_length: u32,
    /// Normal readings since the last anomalous one.
    quiet: u32,
    /// The gauges' limits are from other settings.
    limits_stale: bool,
    recent: Recent,
    level: [Gauge; 4],
    rate: [Gauge; 2],
    spread: Gauge,
    repeats: Repeats,
    pattern: Pattern,
    novelty: Novelty,
    /// Running mean of the forest's score, and its gauge.
    oddity: f64,
    odd: Gauge,
    season: Season,
    /// Running mean of the deviation from the rhythm, and the gauges of the deviation and of its mean.
    off_season: f64,
    seasonal: [Gauge; 2],
}

impl Detector {
    /// A detector that has seen nothing; `seed` decides the chance in its forest.
    pub fn new(seed: u64) -> Self {
        Self {
            n: 0,
            run_length: 0,
            quiet: u32::MAX,
            limits_stale: false,
            recent: Recent::default(),
            level: Default::default(),
            rate: Default::default(),
            spread: Gauge::default(),
            repeats: Repeats::default(),
            pattern: Pattern::new(seed),
            novelty: Novelty::default(),
            oddity: 0.0,
            odd: Gauge::default(),
            season: Season::default(),
            off_season: 0.0,
            seasonal: Default::default(),
        }
    }

    /// Whether verdicts count yet, and how many readings are missing.
    pub fn readiness(&self, settings: &Settings) -> Readiness {
        if self.n < settings.warm_up_readings {
            Readiness::Cold { have: self.n, need: settings.warm_up_readings }
        } else {
            Readiness::Ready
        }
    }

    /// Judges one reading, and learns from it if it is normal and `learn` allows it.
    ///
    /// `at` is the source time in seconds since the epoch; a reading that is not newer than the last one is judged by
    /// its level alone and changes nothing. `value` is finite, in the unit of the sensor.
    pub fn observe(&mut self, settings: &Settings, at: f64, value: f64, learn: bool) -> Verdict {
        if self.limits_stale {
            self.refresh_limits(settings);
        }
        let value = bounded(value);
        let mut scores = no_scores();
        if self.recent.last_at.is_some_and(|last| at <= last) {
            scores[0].1 = self.level[0].score(value);
            return self.verdict(settings, scores, None);
        }
        let measures = self.recent.take(at, value, &self.level[0], &self.rate[0], &self.spread);
        let forecast = self.season.forecast(at);
        let residual = forecast.map(|forecast| forecast.residual(value));
        if let Some(residual) = residual {
            self.off_season += share(SMOOTH, u32::MAX) * (self.seasonal[0].bounded(residual) - self.off_season);
        }
        let odd = self.pattern.score(&measures.shape);
        if let Some(odd) = odd {
            self.oddity += share(SMOOTH, u32::MAX) * (odd - self.oddity);
        }
        let season = forecast.filter(|forecast| forecast.holds);
        self.score(settings, &measures, season.and(residual), &mut scores);
        self.n = self.n.saturating_add(1);
        let mut verdict = self.verdict(settings, scores, season);
        if learn {
            verdict.novelty = self.novelty.take(value);
        }
        self.run_length = if verdict.anomalous { self.run_length.saturating_add(1) } else { 0 };
        verdict.run_length = self.run_length;
        // Aspects that are a little off together are said, but still learnt: each is within what it used to be.
        let is_off = verdict.anomalous && verdict.attribution.iter().any(|(_, score)| 1.0 <= *score);
        self.quiet = if is_off { 0 } else { self.quiet.saturating_add(1) };
        if settings.hold_readings <= self.quiet && !is_off && learn {
            self.learn(settings, at, &measures, odd, residual);
        }
        verdict
    }

    /// Goes on after readings up to `at`, in seconds since the epoch, that it was not shown: they are no pause.
    pub fn skip_to(&mut self, at: f64) {
        if let Some(last_at) = &mut self.recent.last_at {
            *last_at = last_at.max(at);
        }
    }

    /// What is said of a reading that is not to be judged: nothing, and nothing changes.
    pub fn unjudged(&self, settings: &Settings) -> Verdict {
        self.verdict(settings, no_scores(), None)
    }

    /// Takes a baseline that was fitted elsewhere for the clean history: for where the sensor is and for its rhythm.
    ///
    /// How it moves and what shapes it shows is measured from the running mean, so what was learnt of that holds at any
    /// level and is kept. The recent past is the sensor's own and not the baseline's, which may be days old.
    pub fn adopt(&mut self, baseline: &Baseline) {
        let old = std::mem::replace(self, baseline.learnt().clone());
        (self.run_length, self.quiet, self.limits_stale) = (0, u32::MAX, true);
        if old.n == 0 {
            return;
        }
        self.n = self.n.max(old.n);
        self.recent = old.recent.begun_anew(&self.recent);
        for (gauge, known) in self.rate.iter_mut().chain([&mut self.spread]).zip(old.rate.iter().chain([&old.spread])) {
            gauge.admit(known);
        }
        self.repeats.longest = self.repeats.longest.max(old.repeats.longest);
        (self.pattern, self.novelty) = (old.pattern, old.novelty);
        // What is to be normal from now on is as odd as usual.
        self.oddity = old.odd.mean().unwrap_or(old.oddity);
        self.odd = old.odd;
    }

    /// Bytes that it occupies, its forest and what it has set aside to grow into included.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.pattern.size() + self.novelty.size() + self.season.size()
    }

    fn score(&self, settings: &Settings, measures: &Measures, residual: Option<f64>, scores: &mut Attributions) {
        let of_level = self.level.iter().zip(measures.means).zip(measures.full).filter(|(_, full)| *full);
        scores[0].1 = of_level.map(|((gauge, mean), _)| gauge.score(mean)).fold(0.0, f64::max);
        scores[1].1 = self.rate[0].score(measures.step);
        if measures.full[2] {
            scores[1].1 = scores[1].1.max(self.rate[1].score(measures.trend));
        }
        scores[2].1 = self.spread.score(measures.spread);
        scores[3].1 = f64::from(self.recent.repeats) / self.repeats.limit(settings);
        // A shape that is more ordinary than usual is no reason to worry.
        if self.odd.mean().is_some_and(|usual| usual < self.oddity) {
            scores[4].1 = self.odd.score(self.oddity);
        }
        if let Some(residual) = residual {
            scores[5].1 = self.seasonal[0].score(residual).max(self.seasonal[1].score(self.off_season));
        }
    }

    fn learn(&mut self, settings: &Settings, at: f64, measures: &Measures, odd: Option<f64>, residual: Option<f64>) {
        let [value, fast, slow, long] = measures.means;
        let (limits, bounded) = settings.limits();
        // Averages are sampled once a span, since the samples between say the same again.
        let due = |span: u32| self.n.is_multiple_of(span);
        let due_mean = |idx: usize| due(SPANS[idx]) && measures.full[idx];
        let (due_fast, due_noise, due_slow, due_long) = (due_mean(1), due(NOISE_SPAN), due_mean(2), due_mean(3));
        let plain_forecast = self.level[0].mean().unwrap_or(value);
        self.level[0].learn(limits, value);
        self.rate[0].learn(limits, measures.step);
        self.recent.learn(measures);
        self.repeats.learn(self.recent.repeats);
        if let Some(residual) = residual {
            self.seasonal[0].learn(limits, residual);
        }
        if due_fast {
            self.level[1].learn(limits, fast);
            if residual.is_some() {
                self.seasonal[1].learn(limits, self.off_season);
            }
        }
        if odd.is_some() {
            // Learnt each time, not once a span: a new forest starts anew and needs to know its record soon.
            self.odd.learn(bounded, self.oddity);
        }
        if due_noise {
            self.spread.learn(limits, measures.spread);
        }
        if due_slow {
            self.level[2].learn_warily(limits, slow);
            self.rate[1].learn(limits, measures.trend);
        }
        if due_long {
            self.level[3].learn_warily(limits, long);
        }
        if SPANS[2] < self.n && self.pattern.learn(&measures.shape) {
            // Scores of another forest do not compare.
            self.odd = Gauge::default();
            self.oddity = 0.5;
        }
        self.season.learn(at, value, plain_forecast);
    }

    fn verdict(&self, settings: &Settings, mut scores: Attributions, season: Option<Forecast>) -> Verdict {
        let mut worst = scores[0];
        for entry in &mut scores {
            entry.1 = entry.1.min(SCORE_MAX);
            if worst.1 < entry.1 {
                worst = *entry;
            }
        }
        let score = if worst.1 < 1.0 { worst.1.max(together(&scores)) } else { worst.1 };
        let readiness = self.readiness(settings);
        let (low, high) = self.level[0].range();
        let expected = season.map_or((low, high), |forecast| {
            let (below, above) = self.seasonal[0].range();
            // The rhythm narrows what the level allows, but never beyond it.
            let narrowed =
                (low.max(forecast.mean + below * forecast.spread), high.min(forecast.mean + above * forecast.spread));
            if narrowed.0 <= narrowed.1 { narrowed } else { (low, high) }
        });
        Verdict {
            score,
            expected,
            aspect: worst.0,
            attribution: scores,
            run_length: self.run_length,
            novelty: 0.0,
            anomalous: readiness == Readiness::Ready && 1.0 <= score,
            readiness,
        }
    }

    fn refresh_limits(&mut self, settings: &Settings) {
        let (limits, bounded) = settings.limits();
        let gauges = self.level.iter_mut().chain(&mut self.rate).chain(&mut self.seasonal);
        for gauge in gauges.chain([&mut self.spread]) {
            gauge.refresh_limit(limits);
        }
        self.odd.refresh_limit(bounded);
        self.limits_stale = false;
    }
}

impl Repeats {
    /// Repeats at which the score is 1: more than chance gives in as rare a case as the tail of the other measures, and
    /// more than there ever were.
    fn limit(&self, settings: &Settings) -> f64 {
        let chance = (f64::from(self.repeated) + 1.0) / (f64::from(self.n) + 2.0);
        let by_chance = -0.5 * settings.tail_sigmas * settings.tail_sigmas / chance.ln();
        by_chance.max(settings.record_margin * f64::from(self.longest)).max(REPEATS_MIN)
    }

    fn learn(&mut self, repeats: u32) {
        self.n = self.n.saturating_add(1);
        self.repeated = self.repeated.saturating_add(u32::from(0 < repeats));
        self.longest = self.longest.max(repeats);
    }
}

/// What the scores come to together: where it is, how it moves and what shape it has are independent of one another.
fn together(scores: &Attributions) -> f64 {
    let [level, rate, spread, _, pattern, season] = scores.map(|(_, score)| score);
    let (place, motion) = (level.max(season), rate.max(spread));
    (place * place + motion * motion + pattern * pattern).sqrt() / TOGETHER
}

fn no_scores() -> Attributions {
    [Aspect::Level, Aspect::Rate, Aspect::Spread, Aspect::Stuck, Aspect::Pattern, Aspect::Season]
        .map(|aspect| (aspect, 0.0))
}

#[cfg(test)]
mod tests;
