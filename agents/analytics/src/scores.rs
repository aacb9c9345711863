//! How good predictions were on rows that the model had not seen.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Rows by what was said and what was true.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Confusion {
    /// Said and true.
    pub true_positives: f64,
    /// Said, not true.
    pub false_positives: f64,
    /// True, not said.
    pub false_negatives: f64,
    /// Neither.
    pub true_negatives: f64,
}

impl Confusion {
    /// Counts rows; a row is called positive when its probability is at least `threshold`.
    pub fn at(threshold: f64, probabilities: &[f64], truths: &[bool]) -> Self {
        let mut counted = Self::default();
        for (probability, truth) in probabilities.iter().zip(truths) {
            *match (threshold <= *probability, truth) {
                (true, true) => &mut counted.true_positives,
                (true, false) => &mut counted.false_positives,
                (false, true) => &mut counted.false_negatives,
                (false, false) => &mut counted.true_negatives,
            } += 1.0;
        }
        counted
    }

    /// Harmonic mean of precision and recall, 0 to 1; 0 when nothing was found.
    pub fn f1(&self) -> f64 {
        ratio(2.0 * self.true_positives, 2.0 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// Share of the true rows that were found.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the found rows that are true.
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of rows that were told right.
    pub fn accuracy(&self) -> f64 {
        let right = self.true_positives + self.true_negatives;
        ratio(right, right + self.false_positives + self.false_negatives)
    }

    /// Matthews correlation of what was said with what was true, −1 to 1; 0 when either is constant.
    pub fn mcc(&self) -> f64 {
        let Self { true_positives: tp, false_positives: fp, false_negatives: fn_, true_negatives: tn } = *self;
        ratio(tp * tn - fp * fn_, ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt())
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if 0.0 < whole { part / whole } else { 0.0 }
}

/// Area under the curve of recall over false alarms: the chance that a true row scores above another; ties count half.
///
/// `None` when one kind of row is missing.
pub fn roc_auc(scores: &[f64], truths: &[bool]) -> Option<f64> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(truths.iter().copied()).collect();
    order.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let n_true = truths.iter().filter(|truth| **truth).count() as f64;
    let n_false = truths.len() as f64 - n_true;
    let (mut area, mut false_below) = (0.0, 0.0);
    for group in order.chunk_by(|one, other| one.0 == other.0) {
        let group_true = group.iter().filter(|(_, truth)| *truth).count() as f64;
        let group_false = group.len() as f64 - group_true;
        area += group_true * (false_below + 0.5 * group_false);
        false_below += group_false;
    }
    (0.0 < n_true && 0.0 < n_false).then(|| area / (n_true * n_false))
}

/// Mean precision over the true rows in falling order of score. `None` when there is no true row.
pub fn pr_auc(scores: &[f64], truths: &[bool]) -> Option<f64> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(truths.iter().copied()).collect();
    order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let (mut area, mut found, mut seen) = (0.0, 0.0, 0.0);
    for group in order.chunk_by(|one, other| one.0 == other.0) {
        let group_true = group.iter().filter(|(_, truth)| *truth).count() as f64;
        found += group_true;
        seen += group.len() as f64;
        area += group_true * found / seen;
    }
    (0.0 < found).then(|| area / found)
}

/// Root of the mean squared error. `None` for no row.
pub fn rmse(predicted: &[f64], truths: &[f64]) -> Option<f64> {
    mean(predicted.iter().zip(truths).map(|(predicted, truth)| (predicted - truth).powi(2))).map(f64::sqrt)
}

/// Mean absolute error. `None` for no row.
pub fn mae(predicted: &[f64], truths: &[f64]) -> Option<f64> {
    mean(predicted.iter().zip(truths).map(|(predicted, truth)| (predicted - truth).abs()))
}

/// Sum over the rows of e^(late/10) − 1 or e^(early/13) − 1, in steps of time: too late a warning costs more.
///
/// # Source
///
/// Saxena et al., *Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation*, PHM 2008, eq. 11.
pub fn nasa(predicted: &[f64], truths: &[f64]) -> f64 {
    let cost = |late: f64| if late < 0.0 { (-late / 13.0).exp_m1() } else { (late / 10.0).exp_m1() };
    predicted.iter().zip(truths).map(|(predicted, truth)| cost(predicted - truth)).sum()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    (0.0 < n).then(|| sum / n)
}

/// The threshold at which the F1 of `probabilities` is highest, halfway to the next lower probability.
///
/// To be asked of rows that the model was not fitted on. `None` when there is no true row.
pub fn best_threshold(probabilities: &[f64], truths: &[bool]) -> Option<f64> {
    let mut order: Vec<(f64, bool)> = probabilities.iter().copied().zip(truths.iter().copied()).collect();
    order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let n_true = truths.iter().filter(|truth| **truth).count() as f64;
    let (mut found, mut seen, mut best) = (0.0, 0.0, (0.0, None));
    for (idx, (probability, truth)) in order.iter().enumerate() {
        found += f64::from(u8::from(*truth));
        seen += 1.0;
        let next = order.get(idx + 1).map_or(0.0, |next| next.0);
        let f1 = 2.0 * found / (seen + n_true);
        if next < *probability && best.0 < f1 {
            best = (f1, Some((probability + next) / 2.0));
        }
    }
    best.1
}

/// Percentile interval of `statistic` over `n_draws` samples of `0..n_rows` drawn with replacement, at `level`.
///
/// Draws for which the statistic does not exist are left out; `None` when none is left.
///
/// # Source
///
/// Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, ch. 13.
pub fn bootstrap(
    n_rows: usize,
    n_draws: usize,
    level: f64,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<(f64, f64)> {
    let mut chance = Pcg32::seed_from_u64(seed);
    let mut drawn = vec![0; n_rows];
    let mut values = Vec::with_capacity(n_draws);
    for _ in 0..n_draws {
        drawn.iter_mut().for_each(|row| *row = chance.random_range(0..n_rows.max(1)));
        values.extend(statistic(&drawn).filter(|value| value.is_finite()));
    }
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len() as f64) as usize).or(values.last()).copied();
    Some((at((1.0 - level) / 2.0)?, at((1.0 + level) / 2.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRUTHS: [bool; 6] = [true, true, false, true, false, false];
    const SCORES: [f64; 6] = [0.9, 0.8, 0.7, 0.6, 0.2, 0.1];

    #[test]
    fn counts_give_the_textbook_figures() {
        let counted =
            Confusion { true_positives: 90.0, false_positives: 10.0, false_negatives: 30.0, true_negatives: 870.0 };
        assert!((counted.precision() - 0.9).abs() < 1e-12);
        assert!((counted.recall() - 0.75).abs() < 1e-12);
        assert!((counted.f1() - 180.0 / 220.0).abs() < 1e-12);
        assert!((counted.accuracy() - 0.96).abs() < 1e-12);
        let by_hand = (90.0 * 870.0 - 10.0 * 30.0) / (100.0_f64 * 120.0 * 880.0 * 900.0).sqrt();
        assert!((counted.mcc() - by_hand).abs() < 1e-12);
        assert_eq!(
            Confusion::at(0.65, &SCORES, &TRUTHS),
            Confusion { true_positives: 2.0, false_positives: 1.0, false_negatives: 1.0, true_negatives: 2.0 }
        );
    }

    #[test]
    fn areas_are_counted_by_hand() {
        // Of nine pairs one is in the wrong order.
        assert!((roc_auc(&SCORES, &TRUTHS).unwrap() - 8.0 / 9.0).abs() < 1e-12);
        assert!((pr_auc(&SCORES, &TRUTHS).unwrap() - (1.0 + 1.0 + 0.75) / 3.0).abs() < 1e-12);
        assert!((roc_auc(&[0.5; 6], &TRUTHS).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(roc_auc(&SCORES, &[true; 6]), None);
        assert_eq!(pr_auc(&SCORES, &[false; 6]), None);
    }

    #[test]
    fn a_late_warning_costs_more_than_an_early_one() {
        let expected = 1.0_f64.exp_m1();
        assert!((nasa(&[30.0], &[20.0]) - expected).abs() < 1e-12);
        assert!((nasa(&[7.0], &[20.0]) - expected).abs() < 1e-12);
        assert!((rmse(&[1.0, 5.0], &[1.0, 1.0]).unwrap() - 8.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!((mae(&[1.0, 5.0], &[1.0, 1.0]), mae(&[], &[])), (Some(2.0), None));
    }

    #[test]
    fn the_best_threshold_lies_between_rows() {
        // All three true rows with one false one: F1 is 6 / 7.
        assert!((best_threshold(&SCORES, &TRUTHS).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(best_threshold(&SCORES, &[false; 6]), None);
    }

    #[test]
    fn the_interval_of_a_mean_is_the_known_one() {
        let values: Vec<f64> = (0..1_000).map(|row| f64::from(row % 2)).collect();
        let statistic = |rows: &[usize]| mean(rows.iter().map(|row| values[*row]));
        let (low, high) = bootstrap(values.len(), 500, 0.95, 1, statistic).unwrap();
        // Half a unit of spread over the root of a thousand, 1.96 times on either side.
        assert!((low - 0.469).abs() < 0.008 && (high - 0.531).abs() < 0.008, "{low} {high}");
    }

    proptest! {
        #[test]
        fn no_threshold_is_better_than_the_best(rows in prop::collection::vec((0.0..1.0f64, any::<bool>()), 2..60), other in 0.0..1.0f64) {
            let (scores, truths): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            if let Some(best) = best_threshold(&scores, &truths) {
                let f1 = |threshold| Confusion::at(threshold, &scores, &truths).f1();
                prop_assert!(f1(other) <= f1(best) + 1e-12);
            }
        }
    }
}
