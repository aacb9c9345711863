//! The first sight of something never seen: how far the newest stretch of a stream is from every earlier one.
//!
//! Cuts the stream into blocks, holds a window of blocks against all windows that are remembered, and measures the
//! distance to the nearest one by the largest such distance that there was, which fades. So only a new record speaks,
//! and what was once seen is ordinary from then on: this marks the onset of a change, where the other aspects say that
//! it lasts. Knows no rhythm, no unit and no limit.
//!
//! # Source
//!
//! Left discords: Yeh et al., *Matrix Profile I*, ICDM 2016, restricted to the past, without normalising the windows,
//! since a level is part of a shape here.

use serde::{Deserialize, Serialize};

/// Readings in a block, and blocks in a window: about 25 windows fit into the first 600 readings, so that there is
/// something to compare with when the first verdicts are asked for.
const BLOCK: u32 = 3;
const WINDOW: usize = 8;
/// Windows that are remembered. At five minutes a reading they are five days.
const REMEMBERED: usize = 512;
/// Readings after which a record counts half.
const HALF_LIFE: f64 = 864.0;
/// A new record speaks when it is larger than the old one by this factor: records of unchanged data grow by less.
const MARGIN: f64 = 1.25;
/// Blocks after an alarm without another: the windows that hold its cause are no news.
const QUIET: u32 = 64;

/// The remembered past of one sensor, in blocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Novelty {
    /// The block that is being filled.
    sum: f64,
    n: u32,
    /// Means of blocks relative to the first reading, oldest first; single precision is enough for them.
    origin: Option<f64>,
    blocks: Vec<f32>,
    record: f64,
    quiet: u32,
}

impl Novelty {
    /// Takes a reading. Gives 1 or more when the window that it ends is a new record by the margin, 0 while it ends
    /// none or nothing can be said.
    pub(super) fn take(&mut self, value: f64) -> f64 {
        let origin = *self.origin.get_or_insert(value);
        self.sum += value - origin;
        self.n += 1;
        if self.n < BLOCK {
            return 0.0;
        }
        let mean = self.sum / f64::from(BLOCK);
        (self.sum, self.n) = (0.0, 0);
        // Twice as many are kept as are looked at, so that the oldest need not be moved out each time.
        if self.blocks.len() == 2 * REMEMBERED {
            self.blocks.drain(..REMEMBERED - 2 * WINDOW);
        }
        // Bounded, so that no square overflows.
        self.blocks.push(mean.clamp(-1e15, 1e15) as f32);
        let Some(distance) = self.nearest() else { return 0.0 };
        let news = if 0.0 < self.record { distance / (MARGIN * self.record) } else { 0.0 };
        let fade = (-f64::from(BLOCK) / HALF_LIFE).exp2();
        self.record = (self.record * fade).max(distance);
        if 0 < self.quiet {
            self.quiet -= 1;
            return 0.0;
        }
        if 1.0 <= news {
            self.quiet = QUIET;
        }
        news
    }

    /// Distance from the newest window to the nearest remembered one that does not overlap it.
    fn nearest(&self) -> Option<f64> {
        let (past, newest) = self.blocks.split_at(self.blocks.len().checked_sub(WINDOW)?);
        let past = &past[past.len().saturating_sub(REMEMBERED + WINDOW - 1)..];
        let newest: [f32; WINDOW] = newest.try_into().ok()?;
        let square = past.windows(WINDOW).map(|window| {
            let mut square = 0.0f32;
            for (one, other) in newest.iter().zip(window) {
                square += (one - other) * (one - other);
            }
            square
        });
        square.reduce(f32::min).map(|square| f64::from(square).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    /// Alarms of a daily rhythm with noise at five-minute readings, to which `change` is done.
    fn alarms(n: u32, seed: u64, change: impl Fn(u32, f64) -> f64) -> Vec<u32> {
        let (mut novelty, mut chance) = (Novelty::default(), Pcg32::seed_from_u64(seed));
        (0..n)
            .filter(|idx| {
                let rhythm = 10.0 * (std::f64::consts::TAU * f64::from(*idx) / 288.0).sin();
                1.0 <= novelty.take(change(*idx, rhythm + chance.random::<f64>()))
            })
            .collect()
    }

    #[test]
    fn a_rhythm_is_no_news_and_a_break_in_it_is() {
        for seed in 0..10 {
            let calm = alarms(4_000, seed, |_, value| value);
            assert!(calm.iter().filter(|at| 600 < **at).count() <= 1, "seed {seed}: {calm:?}");
            // Half a day stays where it was at midnight: each value by itself is ordinary.
            let broken = alarms(4_000, seed, |idx, value| if (2_900..3_000).contains(&idx) { 0.0 } else { value });
            assert!(broken.iter().any(|at| (2_900..3_000).contains(at)), "seed {seed}: {broken:?}");
        }
    }

    #[test]
    fn what_lasts_is_news_once() {
        let found = alarms(4_000, 1, |idx, value| if 3_000 < idx { value + 60.0 } else { value });
        assert_eq!(found.iter().filter(|at| 3_000 < **at).count(), 1, "{found:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut novelty = Novelty::default();
        for idx in 0..20_000 {
            novelty.take(f64::from(idx % 997));
            assert!(novelty.blocks.len() <= 2 * REMEMBERED);
        }
        assert!(postcard::to_stdvec(&novelty).unwrap().len() < 4_200);
    }
}
