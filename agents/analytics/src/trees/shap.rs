//! Shapley values of a sum of trees: what each column added to the margin of one row.
//!
//! A column that is not known is followed down both sides of a cut in proportion to the training rows (path-dependent).
//! Exact in time linear in the number of nodes: the weight k!(d−1−k)!/d! of a coalition of k columns is the integral of
//! tᵏ(1−t)^(d−1−k) over 0..1, so a column's value is the integral of a polynomial of degree d−1 along the path, for
//! which Gauss's quadrature with ⌈d/2⌉ points has no error.

use crate::trees::{Ensemble, LEAF};
use std::f64::consts::PI;

/// What the columns of one row added.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Margin expected when nothing is known of a row.
    pub base: f64,
    /// What each column added; with `base` they sum to the margin.
    pub values: Vec<f64>,
}

/// Explains rows by an ensemble; made once per model, as it looks at every node.
#[derive(Clone, Debug)]
pub struct Explainer {
    base: f64,
    /// Points of the quadrature, one of the sizes that [`Explainer::explain`] knows.
    n_points: usize,
}

impl Explainer {
    /// Looks at the trees once.
    pub fn of(ensemble: &Ensemble) -> Self {
        let mut seen = vec![0_u32; ensemble.n_features];
        let (mut base, mut longest) = (ensemble.base, 0);
        for root in &ensemble.roots {
            let (mean, n_columns) = survey(ensemble, *root as usize, &mut seen, 0);
            base += mean;
            longest = longest.max(n_columns);
        }
        let n_points = [2, 3, 4, 5, 6, 8, 12, 24].into_iter().find(|n_points| longest <= 2 * n_points);
        Self { base, n_points: n_points.expect("no path is longer than 48") }
    }

    /// What each column of `row` added to the margin of `ensemble`, which is the one that this was made of.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the ensemble was fitted on.
    ///
    /// # Source
    ///
    /// Lundberg et al., *From local explanations to global understanding with explainable AI for trees*, Nature Machine
    /// Intelligence 2, 2020, for what is computed; Yu et al., *Linear TreeShap*, NeurIPS 2022, for the single pass.
    pub fn explain(&self, ensemble: &Ensemble, row: &[f64]) -> Explanation {
        assert!(ensemble.n_features <= row.len(), "row has {} columns, the trees {}", row.len(), ensemble.n_features);
        let values = match self.n_points {
            2 => Walk::<2>::over(ensemble, row),
            3 => Walk::<3>::over(ensemble, row),
            4 => Walk::<4>::over(ensemble, row),
            5 => Walk::<5>::over(ensemble, row),
            6 => Walk::<6>::over(ensemble, row),
            8 => Walk::<8>::over(ensemble, row),
            12 => Walk::<12>::over(ensemble, row),
            _ => Walk::<24>::over(ensemble, row),
        };
        Explanation { base: self.base, values }
    }
}

/// Mean of the leaves below, and the most columns on a path.
fn survey(ensemble: &Ensemble, index: usize, seen: &mut [u32], n_columns: usize) -> (f64, usize) {
    let node = &ensemble.nodes[index];
    if node.feature == LEAF {
        return (node.at, n_columns);
    }
    let feature = usize::from(node.feature);
    let n_columns = n_columns + usize::from(seen[feature] == 0);
    seen[feature] += 1;
    let (below, above) = (index + 1, node.above as usize);
    let shares = [below, above].map(|child| f64::from(ensemble.nodes[child].cover));
    let (mean_below, n_below) = survey(ensemble, below, seen, n_columns);
    let (mean_above, n_above) = survey(ensemble, above, seen, n_columns);
    seen[feature] -= 1;
    let mean = (mean_below * shares[0] + mean_above * shares[1]) / (shares[0] + shares[1]);
    (mean, n_below.max(n_above))
}

/// What is known of a column on the way to a node.
#[derive(Clone, Copy)]
struct Passed<const N: usize> {
    /// Share of the training rows that took the column's side at all its cuts.
    share: f64,
    /// Whether the row did.
    hot: bool,
    /// One over the column's factor, (1 − t)·share + t; of use only if the row passed.
    inverse: [f64; N],
}

struct Walk<'a, const N: usize> {
    ensemble: &'a Ensemble,
    row: &'a [f64],
    passed: Vec<Passed<N>>,
    values: Vec<f64>,
    points: [f64; N],
    /// 1 − t.
    rest: [f64; N],
    /// 1 / (1 − t).
    inverse: [f64; N],
}

impl<'a, const N: usize> Walk<'a, N> {
    fn over(ensemble: &'a Ensemble, row: &'a [f64]) -> Vec<f64> {
        let (points, weights) = quadrature::<N>();
        let n = ensemble.n_features;
        let mut walk = Self {
            ensemble,
            row,
            passed: vec![Passed { share: 1.0, hot: true, inverse: [1.0; N] }; n],
            values: vec![0.0; n],
            points,
            rest: points.map(|point| 1.0 - point),
            inverse: points.map(|point| 1.0 / (1.0 - point)),
        };
        for root in &ensemble.roots {
            walk.part(*root as usize, &weights);
        }
        walk.values
    }

    /// Sum over the leaves below of their value times the product of all factors, given the product so far.
    #[inline]
    fn part(&mut self, index: usize, product: &[f64; N]) -> [f64; N] {
        let node = &self.ensemble.nodes[index];
        // Half of all nodes are leaves, for which a call would cost more than what is to be done.
        if node.feature == LEAF { product.map(|product| product * node.at) } else { self.down(index, product) }
    }

    fn down(&mut self, index: usize, product: &[f64; N]) -> [f64; N] {
        let node = &self.ensemble.nodes[index];
        let feature = usize::from(node.feature);
        let (below, above) = (index + 1, node.above as usize);
        let covers = [below, above].map(|child| f64::from(self.ensemble.nodes[child].cover));
        let whole = 1.0 / (covers[0] + covers[1]);
        let shares = covers.map(|cover| cover * whole);
        let old = self.passed[feature];
        if !old.hot {
            // The row left this column's side further up: nothing but the share changes.
            let one = self.part(below, &product.map(|product| product * shares[0]));
            let other = self.part(above, &product.map(|product| product * shares[1]));
            return std::array::from_fn(|idx| one[idx] + other[idx]);
        }
        let goes_below = self.row[feature] < node.at;
        let (taken, left) = if goes_below { (below, above) } else { (above, below) };
        let share = old.share * shares[usize::from(!goes_below)];
        let factor = self.points.map(|point| share + point * (1.0 - share));
        let inverse = factor.map(|factor| 1.0 / factor);
        // The product without this column; each side puts its own factor in.
        let without: [f64; N] = std::array::from_fn(|idx| product[idx] * old.inverse[idx]);
        self.passed[feature] = Passed { share, hot: true, inverse };
        let one = self.part(taken, &std::array::from_fn(|idx| without[idx] * factor[idx]));
        let gone = old.share * shares[usize::from(goes_below)];
        self.passed[feature] = Passed { share: gone, hot: false, inverse };
        let other = self.part(left, &std::array::from_fn(|idx| without[idx] * gone * self.rest[idx]));
        self.passed[feature] = old;
        let mut change = 0.0;
        let mut sum = [0.0; N];
        for idx in 0..N {
            sum[idx] = one[idx] + other[idx];
            change += one[idx] * ((1.0 - share) * inverse[idx])
                - other[idx] * self.inverse[idx]
                - sum[idx] * ((1.0 - old.share) * old.inverse[idx]);
        }
        self.values[feature] += change;
        sum
    }
}

/// Points and weights of Gauss–Legendre quadrature on 0..1.
fn quadrature<const N: usize>() -> ([f64; N], [f64; N]) {
    let (mut points, mut weights) = ([0.0; N], [0.0; N]);
    for idx in 0..N {
        // Newton's method from the usual first guess at the root of the Legendre polynomial.
        let mut x = (PI * (idx as f64 + 0.75) / (N as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut last, mut value) = (1.0, x);
            for degree in 2..=N {
                let n = degree as f64;
                (last, value) = (value, ((2.0 * n - 1.0) * x * value - (n - 1.0) * last) / n);
            }
            slope = N as f64 * (x * value - last) / (x * x - 1.0);
            x -= value / slope;
        }
        points[idx] = 0.5 * (1.0 - x);
        weights[idx] = 1.0 / ((1.0 - x * x) * slope * slope);
    }
    (points, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::{Rule, boosting, forest};
    use ndarray::Array2;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    /// Margin of a tree when only the columns of `known` are, by the definition.
    fn expected(ensemble: &Ensemble, index: usize, row: &[f64], known: u32) -> f64 {
        let node = &ensemble.nodes[index];
        if node.feature == LEAF {
            return node.at;
        }
        let feature = usize::from(node.feature);
        let (below, above) = (index + 1, node.above as usize);
        if known >> feature & 1 == 1 {
            let child = if row[feature] < node.at { below } else { above };
            return expected(ensemble, child, row, known);
        }
        let covers = [below, above].map(|child| f64::from(ensemble.nodes[child].cover));
        let parts = [below, above].map(|child| expected(ensemble, child, row, known));
        (covers[0] * parts[0] + covers[1] * parts[1]) / (covers[0] + covers[1])
    }

    /// Shapley values over all sets of columns.
    fn enumerated(ensemble: &Ensemble, row: &[f64]) -> Vec<f64> {
        let n = ensemble.n_features;
        let worth: Vec<f64> = (0..1_u32 << n)
            .map(|known| ensemble.roots.iter().map(|root| expected(ensemble, *root as usize, row, known)).sum())
            .collect();
        let factorial = |k: usize| (1..=k).map(|i| i as f64).product::<f64>();
        let value = |feature: usize| {
            let without = (0..1_u32 << n).filter(|known| known >> feature & 1 == 0);
            let term = |known: u32| {
                let k = known.count_ones() as usize;
                let weight = factorial(k) * factorial(n - 1 - k) / factorial(n);
                weight * (worth[(known | 1 << feature) as usize] - worth[known as usize])
            };
            without.map(term).sum()
        };
        (0..n).map(value).collect()
    }

    fn table(n_rows: usize, n_columns: usize, seed: u64) -> (Array2<f64>, Vec<f64>) {
        let mut chance = Pcg32::seed_from_u64(seed);
        let rows = Array2::from_shape_simple_fn((n_rows, n_columns), || chance.random::<f64>());
        let targets = rows.rows().into_iter().map(|row| f64::from(u8::from(row.product() < 0.1_f64.powi(2)))).collect();
        (rows, targets)
    }

    #[test]
    fn the_quadrature_is_the_tabulated_one() {
        let (points, weights) = quadrature::<2>();
        let half = 0.5 / 3.0_f64.sqrt();
        assert!((points[0] - (0.5 - half)).abs() < 1e-15 && (points[1] - (0.5 + half)).abs() < 1e-15);
        assert!(weights.iter().all(|weight| (weight - 0.5).abs() < 1e-15));
        let (points, weights) = quadrature::<24>();
        let integral: f64 = points.iter().zip(weights).map(|(point, weight)| weight * point.powi(47)).sum();
        assert!((integral - 1.0 / 48.0).abs() < 1e-15);
    }

    #[test]
    fn a_stump_credits_its_column_with_the_distance_from_the_mean() {
        let rows = Array2::from_shape_fn((4, 2), |(row, column)| if column == 0 { row as f64 } else { 0.0 });
        let rule = Rule { depth_max: 1, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 2 };
        let settings = boosting::Settings {
            loss: boosting::Loss::Squared,
            n_trees: 1,
            rate: 1.0,
            rule,
            row_share: 1.0,
            column_share: 1.0,
            bins_max: 256,
            seed: 1,
        };
        let stump = boosting::fit(&rows.view(), &[0.0, 0.0, 0.0, 8.0], &[1.0; 4], &settings).expect("sound");
        let explained = Explainer::of(&stump).explain(&stump, &[3.0, 0.0]);
        assert!((explained.base - 2.0).abs() < 1e-12, "{explained:?}");
        assert!((explained.values[0] - 6.0).abs() < 1e-12 && explained.values[1] == 0.0, "{explained:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn values_are_those_of_all_sets_of_columns(
            seed: u64, n_columns in 1..9usize, depth_max in 1..14u32, x in prop::collection::vec(0.0..1.0f64, 9),
        ) {
            let (rows, targets) = table(120, n_columns, seed);
            let rule = Rule { depth_max, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 2 };
            let settings = forest::Settings { n_trees: 3, rule, seed };
            let forest = forest::fit(&rows.view(), &targets, &[1.0; 120], &settings).unwrap().forest;
            let explained = Explainer::of(&forest).explain(&forest, &x);
            for (value, expected) in explained.values.iter().zip(enumerated(&forest, &x)) {
                prop_assert!((value - expected).abs() < 1e-9, "{value} {expected}");
            }
            let sum = explained.base + explained.values.iter().sum::<f64>();
            prop_assert!((sum - forest.margin(&x)).abs() < 1e-9);
        }

        #[test]
        fn values_and_base_sum_to_the_margin_of_long_paths(seed: u64, x in prop::collection::vec(0.0..1.0f64, 40)) {
            let (rows, _) = table(400, 40, seed);
            let targets: Vec<f64> = (0..400).map(|row| f64::from(row * 7919 % 400)).collect();
            let rule = Rule { depth_max: 48, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 1 };
            let settings = forest::Settings { n_trees: 4, rule, seed };
            let forest = forest::fit(&rows.view(), &targets, &[1.0; 400], &settings).unwrap().forest;
            let explained = Explainer::of(&forest).explain(&forest, &x);
            let sum = explained.base + explained.values.iter().sum::<f64>();
            prop_assert!((sum - forest.margin(&x)).abs() < 1e-9 * (1.0 + sum.abs()), "{} {}", sum, forest.margin(&x));
        }
    }
}
