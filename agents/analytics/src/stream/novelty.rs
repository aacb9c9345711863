//! The first sight of something never seen: how far the newest stretch of a stream is from every earlier one.
//!
//! Cuts the stream into blocks, holds a window of blocks against all windows that are remembered, and measures the
//! distance to the nearest one by the largest such distance that there was, which fades. So only a new record speaks,
//! and what was once seen is ordinary from then on: this marks the onset of a change, where the other aspects say that
//! it lasts. Looks at the level through two windows, one four times as long as the other, since what is ordinary for an
//! hour may be new for half a day, and at how much the values move. Knows no rhythm, no unit and no limit.
//!
//! # Source
//!
//! Left discords: Yeh et al., *Matrix Profile I*, ICDM 2016, restricted to the past, without normalising the windows,
//! since a level is part of a shape here.

use serde::{Deserialize, Serialize};

/// Readings in a block of a short and of a long window. About 25 short windows fit into the first 600 readings, so that
/// there is something to compare with when the first verdicts are asked for.
const SHORT: u32 = 3;
const LONG: u32 = 12;
/// Blocks in a window.
const WINDOW: usize = 8;
/// Readings whose windows are remembered. At five minutes a reading they are five days.
const REMEMBERED: u32 = 1_536;
/// Readings after which a record counts half. At five minutes they are four days.
const HALF_LIFE: f64 = 1_152.0;
/// A new record speaks when it is larger than the old one by this factor: records of unchanged data grow by less.
const MARGIN: f64 = 1.25;
/// Readings after an alarm without another: for as long, windows that hold its cause are no news.
const QUIET: u32 = LONG * WINDOW as u32;

/// The remembered past of one sensor. A baseline that was kept by an earlier version knows less of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Novelty {
    /// What levels are relative to, the first value, and the last one.
    origin: Option<f64>,
    last: f64,
    /// The level through short and long windows.
    level: [View; 2],
    /// The size of the steps.
    steps: View,
    /// Readings until there may be news again.
    quiet: u32,
}

/// The past of one quantity, through windows of one length.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct View {
    /// The block that is being filled.
    sum: f64,
    n: u32,
    /// Means of blocks, oldest first; single precision is enough for them.
    blocks: Vec<f32>,
    record: f64,
}

impl Novelty {
    /// Takes a reading. Gives 1 or more when a window that it ends is a new record by the margin, 0 while it ends none
    /// or nothing can be said.
    pub(super) fn take(&mut self, value: f64) -> f64 {
        let origin = *self.origin.get_or_insert_with(|| {
            self.last = value;
            value
        });
        let step = (value - std::mem::replace(&mut self.last, value)).abs();
        let [short, long] = &mut self.level;
        let level = short.take(SHORT, value - origin).max(long.take(LONG, value - origin));
        let news = level.max(self.steps.take(SHORT, step));
        if 0 < self.quiet {
            self.quiet -= 1;
            return 0.0;
        }
        if 1.0 <= news {
            self.quiet = QUIET;
        }
        news
    }

    /// Bytes outside of itself.
    pub(super) fn size(&self) -> usize {
        self.level.iter().chain([&self.steps]).map(View::size).sum()
    }
}

impl View {
    fn size(&self) -> usize {
        self.blocks.capacity() * size_of::<f32>()
    }

    fn take(&mut self, block: u32, value: f64) -> f64 {
        self.sum += value;
        self.n += 1;
        if self.n < block {
            return 0.0;
        }
        let mean = self.sum / f64::from(block);
        (self.sum, self.n) = (0.0, 0);
        let remembered = (REMEMBERED / block) as usize;
        // A quarter more are kept than are looked at, so that the oldest need not be moved out each time.
        let kept = remembered + remembered / 4;
        if self.blocks.is_empty() {
            self.blocks.reserve_exact(kept);
        }
        if self.blocks.len() == kept {
            self.blocks.drain(..kept - remembered - 2 * WINDOW);
        }
        // Bounded, so that no square overflows.
        self.blocks.push(mean.clamp(-1e15, 1e15) as f32);
        let Some(distance) = self.nearest(remembered) else { return 0.0 };
        let news = if 0.0 < self.record { distance / (MARGIN * self.record) } else { 0.0 };
        let fade = (-f64::from(block) / HALF_LIFE).exp2();
        self.record = (self.record * fade).max(distance);
        news
    }

    /// Distance from the newest window to the nearest remembered one that does not overlap it.
    fn nearest(&self, remembered: usize) -> Option<f64> {
        let (past, newest) = self.blocks.split_at(self.blocks.len().checked_sub(WINDOW)?);
        let past = &past[past.len().saturating_sub(remembered + WINDOW - 1)..];
        let n_windows = past.len().checked_sub(WINDOW - 1).filter(|n| 0 < *n)?;
        // One block of all windows after another, so that the sums of neighbouring windows are taken at once.
        let mut squares = [0.0f32; (REMEMBERED / SHORT) as usize];
        let squares = &mut squares[..n_windows];
        for (idx, block) in newest.iter().enumerate() {
            for (square, other) in squares.iter_mut().zip(&past[idx..]) {
                *square += (block - other) * (block - other);
            }
        }
        squares.iter().copied().reduce(f32::min).map(|square| f64::from(square).sqrt())
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
            assert!(calm.iter().filter(|at| 600 < **at).count() <= 2, "seed {seed}: {calm:?}");
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
    fn what_an_earlier_version_kept_is_read_and_begins_anew() {
        let kept = r#"{"sum":1.5,"n":1,"origin":70.0,"blocks":[0.5,0.25],"record":2.0,"quiet":3}"#;
        let novelty: Novelty = serde_json::from_str(kept).unwrap();
        assert!(novelty.level.iter().chain([&novelty.steps]).all(|view| view.blocks.is_empty()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut novelty = Novelty::default();
        for idx in 0..20_000 {
            novelty.take(f64::from(idx % 997));
            for (view, block) in [(&novelty.level[0], SHORT), (&novelty.level[1], LONG), (&novelty.steps, SHORT)] {
                assert!(view.blocks.capacity() <= (REMEMBERED / block * 5 / 4) as usize);
            }
        }
        assert!(postcard::to_stdvec(&novelty).unwrap().len() < 6_000);
    }
}
