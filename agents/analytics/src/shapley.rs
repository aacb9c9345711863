//! Shapley values of any function of a row: what each column added, when those not known are taken from other rows.
//!
//! Exact over all sets of columns as long as they are few; beyond that the mean over random orders, with a seed.

use crate::trees::shap::Explanation;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Columns up to which all sets are looked at.
const EXACT_MAX: usize = 10;
const ORDERS: usize = 256;

/// What each column of `row` added to `predict(row)` against the mean over `background`, rows of the same columns.
///
/// `base` and the values sum to `predict(row)` to rounding. `None` without a background row.
///
/// # Source
///
/// Shapley, *A Value for n-Person Games*, 1953; for more than ten columns Castro, Gómez & Tejada, *Polynomial
/// calculation of the Shapley value based on sampling*, 2009.
pub fn explain(
    row: &[f64],
    background: &[Vec<f64>],
    seed: u64,
    predict: impl Fn(&[f64]) -> f64,
) -> Option<Explanation> {
    let n = row.len();
    if background.is_empty() || background.iter().any(|other| other.len() != n) {
        return None;
    }
    let worth = |known: &dyn Fn(usize) -> bool| {
        let sum: f64 = background
            .iter()
            .map(|other| {
                let mixed: Vec<f64> = (0..n).map(|idx| if known(idx) { row[idx] } else { other[idx] }).collect();
                predict(&mixed)
            })
            .sum();
        sum / background.len() as f64
    };
    let base = worth(&|_| false);
    let mut values = vec![0.0; n];
    if n <= EXACT_MAX {
        let all: Vec<f64> = (0..1_u32 << n).map(|set| worth(&|idx| set >> idx & 1 == 1)).collect();
        let factorial = |k: usize| (1..=k).map(|i| i as f64).product::<f64>();
        for set in 0..1_usize << n {
            let size = set.count_ones() as usize;
            for (idx, value) in values.iter_mut().enumerate().filter(|(idx, _)| set >> idx & 1 == 0) {
                let weight = factorial(size) * factorial(n - 1 - size) / factorial(n);
                *value += weight * (all[set | 1 << idx] - all[set]);
            }
        }
        return Some(Explanation { base, values });
    }
    let mut chance = Pcg32::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for _ in 0..ORDERS {
        for drawn in 0..n {
            order.swap(drawn, chance.random_range(drawn..n));
        }
        // Against one background row per order: the sum over the columns telescopes to the same difference.
        let mut mixed = background[chance.random_range(0..background.len())].clone();
        let mut last = predict(&mixed);
        for idx in &order {
            mixed[*idx] = row[*idx];
            let next = predict(&mixed);
            values[*idx] += (next - last) / ORDERS as f64;
            last = next;
        }
    }
    // What sampling left over is shared out, so that the values still sum.
    let left = (predict(row) - base - values.iter().sum::<f64>()) / n as f64;
    values.iter_mut().for_each(|value| *value += left);
    Some(Explanation { base, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_product_is_shared_by_its_factors() {
        let found = explain(&[2.0, 3.0, 9.0], &[vec![0.0, 0.0, 0.0]], 1, |row| row[0] * row[1]).unwrap();
        assert_eq!(found.base, 0.0);
        assert!((found.values[0] - 3.0).abs() < 1e-12 && (found.values[1] - 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.values[2], 0.0);
        assert_eq!(explain(&[1.0], &[], 1, |row| row[0]), None);
    }

    proptest! {
        #[test]
        fn a_line_gives_each_column_its_own_part(row in prop::collection::vec(-5.0..5.0f64, 1..16), seed: u64) {
            let background = vec![vec![0.5; row.len()], vec![-1.5; row.len()]];
            let found = explain(&row, &background, seed, |row| row.iter().enumerate().map(|(idx, x)| idx as f64 * x).sum()).unwrap();
            for (idx, value) in found.values.iter().enumerate() {
                // Sampling sees either background row about as often.
                let slack = if row.len() <= 10 { 1e-9 } else { 0.2 * 16.0 };
                prop_assert!((value - idx as f64 * (row[idx] + 0.5)).abs() < slack);
            }
            let sum = found.base + found.values.iter().sum::<f64>();
            let said: f64 = row.iter().enumerate().map(|(idx, x)| idx as f64 * x).sum();
            prop_assert!((sum - said).abs() < 1e-9 * (1.0 + said.abs()));
        }
    }
}
