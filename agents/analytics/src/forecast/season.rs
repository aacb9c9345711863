//! Seasons of a series: what repeats after a number of steps, taken apart from what does not.

use crate::robust;

/// Rounds in which seasons and level are told apart; each uses the others' last estimate.
const ROUNDS: usize = 3;

/// The next `horizon` values as those one `period` before. `None` when there is not one period.
pub fn naive(history: &[f64], period: usize, horizon: usize) -> Option<Vec<f64>> {
    let cycle = history.get(history.len().checked_sub(period)?..).filter(|cycle| !cycle.is_empty())?;
    Some(cycle.iter().cycle().take(horizon).copied().collect())
}

/// A series as the sum of its seasons and the rest.
#[derive(Clone, Debug)]
pub struct Split {
    /// For each period one value per step of it, from the first step of the series; each sums to 0.
    seasons: Vec<Vec<f64>>,
    /// The series without its seasons.
    pub rest: Vec<f64>,
    /// What of the rest moves slowly.
    level: Vec<f64>,
}

impl Split {
    /// Takes `history` apart. `periods` are in steps, shortest first; a period must fit twice.
    ///
    /// # Source
    ///
    /// The idea of Bandara, Hyndman & Bergmeir, *MSTL*, 2021: seasons from the shortest to the longest, several rounds,
    /// each against the others. Here a season is the median over its cycles, recent ones counted twice.
    pub fn of(history: &[f64], periods: &[usize]) -> Self {
        let mut seasons: Vec<Vec<f64>> = periods.iter().map(|period| vec![0.0; *period]).collect();
        let window = periods.last().copied().unwrap_or(1);
        let mut rest = history.to_vec();
        let mut level = moving_mean(&rest, window);
        for _ in 0..ROUNDS {
            for idx in 0..seasons.len() {
                let others = |at: usize| {
                    seasons
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != idx)
                        .map(|(_, own)| own[at % own.len()])
                        .sum::<f64>()
                };
                let left: Vec<f64> = (0..history.len()).map(|at| history[at] - level[at] - others(at)).collect();
                seasons[idx] = cycle(&left, periods[idx]);
            }
            rest = (0..history.len()).map(|at| history[at] - sum(&seasons, at)).collect();
            level = moving_mean(&rest, window);
        }
        Self { seasons, rest, level }
    }

    /// Sum of the seasons at step `at` of the series, which may lie in the future.
    pub fn season(&self, at: usize) -> f64 {
        sum(&self.seasons, at)
    }

    /// The series without what moves slowly.
    pub(crate) fn detrended(&self) -> Vec<f64> {
        if self.seasons.is_empty() {
            let mean = self.rest.iter().sum::<f64>() / self.rest.len().max(1) as f64;
            return self.rest.iter().map(|value| value - mean).collect();
        }
        self.rest.iter().zip(&self.level).map(|(rest, level)| rest - level).collect()
    }
}

fn sum(seasons: &[Vec<f64>], at: usize) -> f64 {
    seasons.iter().map(|season| season[at % season.len()]).sum()
}

/// The middle value of each step of the cycle; the recent half counts twice.
fn cycle(values: &[f64], period: usize) -> Vec<f64> {
    let recent = values.len() / 2;
    let mut season: Vec<f64> = (0..period)
        .map(|phase| {
            let of_phase = |from: usize| (from..values.len()).filter(move |at| at % period == phase);
            let own: Vec<f64> = of_phase(0).chain(of_phase(recent)).map(|at| values[at]).collect();
            robust::median(&own).unwrap_or(0.0)
        })
        .collect();
    let mean = season.iter().sum::<f64>() / period as f64;
    season.iter_mut().for_each(|value| *value -= mean);
    season
}

/// Mean over `window` steps around each value; near an end over what there is, the same far to both sides.
fn moving_mean(values: &[f64], window: usize) -> Vec<f64> {
    let n = values.len();
    let mut sums = vec![0.0; n + 1];
    (0..n).for_each(|at| sums[at + 1] = sums[at] + values[at]);
    let mean = |from: usize, to: usize| (sums[to] - sums[from]) / (to - from) as f64;
    let half = window / 2;
    let centred = |at: usize| {
        if window.is_multiple_of(2) && half <= at && at + half < n {
            // An even window gives its two ends half the weight, so that every phase counts the same.
            return 0.5 * (mean(at - half, at + half) + mean(at - half + 1, at + half + 1));
        }
        mean(at.saturating_sub(half), (at + half + 1).min(n))
    };
    (0..n).map(|at| centred(at.clamp(half.min(n / 2), n - 1 - half.min((n - 1) / 2)))).collect()
}

/// Autocorrelation of a series with mean 0 at `lag`; 0 when it does not vary.
pub(crate) fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    let products: f64 = values.iter().zip(values.iter().skip(lag)).map(|(one, other)| one * other).sum();
    if 0.0 < squares { products / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cycle_repeats() {
        assert_eq!(naive(&[9.0, 1.0, 2.0, 3.0], 3, 5).unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0]);
        assert_eq!(naive(&[1.0], 3, 5), None);
        assert_eq!(naive(&[1.0], 0, 5), None);
    }

    #[test]
    fn two_seasons_and_a_ramp_are_told_apart() {
        let day = [3.0, -1.0, -2.0, 0.0];
        let week = |at: usize| if at % 28 < 20 { 2.0 } else { -5.0 };
        let series: Vec<f64> = (0..280).map(|at| 0.05 * at as f64 + day[at % 4] + week(at)).collect();
        let split = Split::of(&series, &[4, 28]);
        for at in 280..336 {
            assert!((split.season(at) - day[at % 4] - week(at)).abs() < 0.25, "{at}: {}", split.season(at));
        }
        for at in 40..240 {
            assert!((split.rest[at] - 0.05 * at as f64).abs() < 0.3, "{at}: {}", split.rest[at]);
        }
    }

    #[test]
    fn without_a_period_the_rest_is_the_series() {
        let series = [1.0, 5.0, 2.0];
        let split = Split::of(&series, &[]);
        assert_eq!((split.rest.as_slice(), split.season(7)), (&series[..], 0.0));
    }
}
