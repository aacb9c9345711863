//! How the Numenta Anomaly Benchmark scores alarms.
//!
//! # Source
//!
//! Lavin & Ahmad, *Evaluating Real-time Anomaly Detection Algorithms – the Numenta Anomaly Benchmark*, ICMLA 2015.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::Path;

/// What a hit, a miss and a false alarm weigh.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    hit: f64,
    miss: f64,
    false_alarm: f64,
}

/// A named set of weights.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) weights: Weights,
}

impl Profile {
    /// The profiles of `file`, in its order.
    pub(super) fn all(file: &Path) -> anyhow::Result<Vec<Self>> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}: no such file", file.display()))?;
        let profiles: serde_json::Map<String, Value> = serde_json::from_str(&text)?;
        profiles
            .into_iter()
            .map(|(name, value)| {
                let costs = value.get("CostMatrix").unwrap_or(&value);
                let weight = |key: &str| costs[key].as_f64().with_context(|| format!("{name}: no {key}"));
                let weights =
                    Weights { hit: weight("tpWeight")?, miss: weight("fnWeight")?, false_alarm: weight("fpWeight")? };
                Ok(Self { name, weights })
            })
            .collect()
    }
}

/// A series with its scores and what an alarm at each row is worth.
#[derive(Debug)]
pub(super) struct Marked {
    category: String,
    /// Score of the detector, worth before weights, and the window that the row lies in.
    rows: Vec<(f64, f64, Option<usize>)>,
    n_windows: usize,
    /// Windows of which at least one row is scored.
    n_reachable: usize,
}

impl Marked {
    /// `times` and `marks` are in the order of the file, one per row; the first 15 % of at most 5,000 are not scored.
    pub(super) fn new(name: &str, times: &[f64], marks: &[f64], windows: &[(f64, f64)]) -> anyhow::Result<Self> {
        let row = |time: f64| times.iter().position(|at| *at == time).with_context(|| format!("{name}: no row {time}"));
        let spans =
            windows.iter().map(|(from, to)| Ok((row(*from)?, row(*to)?))).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(spans.iter().all(|(first, last)| first <= last), "{name}: a window ends before it begins");
        let worth = |idx: usize| {
            if let Some(window) = spans.iter().position(|(first, last)| (*first..=*last).contains(&idx)) {
                let (first, last) = spans[window];
                let width = (last - first + 1) as f64;
                return (sigmoid(-((last - idx + 1) as f64) / width) / sigmoid(-1.0), Some(window));
            }
            let before = spans.iter().rev().find(|(_, last)| *last < idx);
            let worth = before.map_or(-1.0, |(first, last)| sigmoid((idx - last) as f64 / (last - first) as f64));
            (worth, None)
        };
        let probation = (times.len() * 15 / 100).min(750);
        let rows: Vec<_> = (probation..times.len())
            .map(|idx| {
                let (worth, window) = worth(idx);
                (marks[idx], worth, window)
            })
            .collect();
        let reachable = |window: &usize| rows.iter().any(|(_, _, own)| *own == Some(*window));
        let n_reachable = (0..spans.len()).filter(reachable).count();
        let category = name.split('/').next().unwrap_or(name).to_owned();
        Ok(Self { category, rows, n_windows: spans.len(), n_reachable })
    }

    pub(super) fn category(&self) -> &str {
        &self.category
    }
}

fn sigmoid(position: f64) -> f64 {
    if 3.0 < position { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// Score before normalisation of alarms at every row that is marked `threshold` or more.
pub(super) fn raw(all: &[&Marked], weights: Weights, threshold: f64) -> f64 {
    let of_series = |series: &&Marked| {
        let mut held = vec![None::<f64>; series.n_windows];
        let mut outside = 0.0;
        for (mark, worth, window) in series.rows.iter().filter(|(mark, _, _)| threshold <= *mark) {
            debug_assert!(mark.is_finite());
            match window {
                Some(window) => held[*window] = Some(held[*window].map_or(*worth, |best| best.max(*worth))),
                None => outside += worth,
            }
        }
        let hits: f64 = held.iter().flatten().sum();
        let missed = series.n_reachable - held.iter().flatten().count();
        weights.hit * hits + weights.false_alarm * outside - weights.miss * missed as f64
    };
    all.iter().map(of_series).sum()
}

/// 0 for a detector that never alarms, 100 for a perfect one.
pub(super) fn normalised(raw: f64, all: &[&Marked], weights: Weights) -> f64 {
    let reachable: usize = all.iter().map(|series| series.n_reachable).sum();
    let windows: usize = all.iter().map(|series| series.n_windows).sum();
    let floor = -weights.miss * reachable as f64;
    100.0 * (raw - floor) / (windows as f64 * weights.hit - floor)
}

/// Normalised score at one threshold.
pub(super) fn at(all: &[&Marked], weights: Weights, threshold: f64) -> f64 {
    normalised(raw(all, weights, threshold), all, weights)
}

/// The best normalised score of any single threshold, and that threshold.
pub(super) fn best(all: &[&Marked], weights: Weights) -> (f64, f64) {
    let rows = all.iter().enumerate().flat_map(|(idx, series)| {
        series.rows.iter().map(move |(mark, worth, window)| (*mark, *worth, window.map(|own| (idx, own))))
    });
    let mut order: Vec<_> = rows.collect();
    order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let mut held: Vec<Vec<Option<f64>>> = all.iter().map(|series| vec![None; series.n_windows]).collect();
    let mut sum = all.iter().map(|series| -weights.miss * series.n_reachable as f64).sum::<f64>();
    let mut best = (sum, f64::INFINITY);
    for (idx, (mark, worth, window)) in order.iter().enumerate() {
        match window {
            None => sum += weights.false_alarm * worth,
            Some((series, own)) => {
                let held = &mut held[*series][*own];
                sum += match held {
                    None => weights.hit * worth + weights.miss,
                    Some(before) => weights.hit * (worth - *before).max(0.0),
                };
                *held = Some(held.map_or(*worth, |before| before.max(*worth)));
            }
        }
        let last_of_mark = order.get(idx + 1).is_none_or(|next| next.0 != *mark);
        if last_of_mark && best.0 < sum {
            best = (sum, *mark);
        }
    }
    (normalised(best.0, all, weights), best.1)
}

/// Windows with an alarm, windows, and alarms outside all windows at one threshold.
pub(super) fn counts(all: &[&Marked], threshold: f64) -> (usize, usize, usize) {
    let alarms = |series: &&Marked| -> Vec<Option<usize>> {
        series.rows.iter().filter(|(mark, _, _)| threshold <= *mark).map(|(_, _, window)| *window).collect()
    };
    let found = all.iter().map(|series| {
        let alarms = alarms(series);
        (0..series.n_windows).filter(|window| alarms.contains(&Some(*window))).count()
    });
    let outside = all.iter().map(|series| alarms(series).iter().filter(|window| window.is_none()).count());
    (found.sum(), all.iter().map(|series| series.n_windows).sum(), outside.sum())
}
