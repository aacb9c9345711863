//! Shapley values of a sum of trees: what each column added to the margin of one row.
//!
//! A column that is not known is followed down both sides of a cut in proportion to the training rows (path-dependent).
//! A leaf is worth its value times a factor for each column on its path: 1 or 0 where the column is known, by whether
//! the row is on the leaf's side of all cuts, and else the share of the training rows that were. Exact: the weight
//! k!(d−1−k)!/d! of a coalition of k columns is the integral of tᵏ(1−t)^(d−1−k) over 0..1, so a column's value is the
//! integral of a polynomial of degree d−1, for which Gauss's quadrature with ⌈d/2⌉ points has no error.
//!
//! Leaves are taken one by one instead of down the tree, four side by side: nothing depends on where the row goes, so
//! that no branch is mispredicted, and leaves of value zero, half of those of a forest that classifies, fall away.

use crate::trees::{Ensemble, LEAF};
use std::f64::consts::PI;

/// Leaves side by side.
const LANES: usize = 4;
/// One number for each of them.
type Lanes = [f64; LANES];

/// What the columns of one row added.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Margin expected when nothing is known of a row.
    pub base: f64,
    /// What each column added; with `base` they sum to the margin.
    pub values: Vec<f64>,
}

/// Explains rows by an ensemble; made once per model, as it looks at every leaf.
#[derive(Clone, Debug)]
pub struct Explainer {
    base: f64,
    n_features: usize,
    groups: Vec<Group>,
}

/// The leaves with equally many columns on their paths.
#[derive(Clone, Debug)]
struct Group {
    quadrature: Vec<Point>,
    values: Vec<Lanes>,
    /// As many for each of `values` as there are columns.
    conditions: Vec<Condition>,
    n_columns: usize,
}

/// What a column must be for a row to reach each of four leaves.
#[derive(Clone, Copy, Debug)]
struct Condition {
    /// The first number that does.
    low: Lanes,
    /// The first beyond that does not.
    high: Lanes,
    /// Share of the training rows that were so wherever the column was cut.
    share: Lanes,
    column: [u16; LANES],
}

/// A leaf, and what is asked of each column on its path.
struct Leaf {
    value: f64,
    path: Vec<Side>,
}

/// The side of its cuts on which a column leads to a leaf.
#[derive(Clone, Copy)]
struct Side {
    column: u16,
    low: f64,
    high: f64,
    share: f64,
}

impl Explainer {
    /// Looks at the trees once.
    pub fn of(ensemble: &Ensemble) -> Self {
        let (mut leaves, mut path) = (Vec::new(), Vec::new());
        let mean = |root: &u32| gather(ensemble, *root as usize, &mut path, &mut leaves);
        let base = ensemble.base + ensemble.roots.iter().map(mean).sum::<f64>();
        leaves.retain(|leaf| leaf.value != 0.0 && !leaf.path.is_empty());
        leaves.sort_by_key(|leaf| leaf.path.len());
        let groups = leaves.chunk_by(|one, other| one.path.len() == other.path.len()).map(Group::of).collect();
        Self { base, n_features: ensemble.n_features, groups }
    }

    /// What each column of `row` added to the margin of the ensemble that this was made of.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the ensemble was fitted on.
    ///
    /// # Source
    ///
    /// Lundberg et al., *From local explanations to global understanding with explainable AI for trees*, Nature Machine
    /// Intelligence 2, 2020, for what is computed; Yu et al., *Linear TreeShap*, NeurIPS 2022, for the polynomials.
    pub fn explain(&self, row: &[f64]) -> Explanation {
        assert!(self.n_features <= row.len(), "row has {} columns, the trees {}", row.len(), self.n_features);
        let mut values = vec![0.0; self.n_features];
        for group in &self.groups {
            group.explain(row, &mut values);
        }
        Explanation { base: self.base, values }
    }
}

/// Puts the leaves below into `leaves`, and says what they are on average.
fn gather(ensemble: &Ensemble, index: usize, path: &mut Vec<Side>, leaves: &mut Vec<Leaf>) -> f64 {
    let node = &ensemble.nodes[index];
    if node.feature == LEAF {
        leaves.push(Leaf { value: node.at, path: path.clone() });
        return node.at;
    }
    let children = [index + 1, node.above as usize];
    let covers = children.map(|child| f64::from(ensemble.nodes[child].cover));
    let shares = covers.map(|cover| cover / (covers[0] + covers[1]));
    let known = path.iter().position(|side| side.column == node.feature);
    let place = known.unwrap_or(path.len());
    if known.is_none() {
        path.push(Side { column: node.feature, low: f64::NEG_INFINITY, high: f64::INFINITY, share: 1.0 });
    }
    let before = path[place];
    path[place] = Side { high: before.high.min(node.at), share: before.share * shares[0], ..before };
    let below = gather(ensemble, children[0], path, leaves);
    path[place] = Side { low: before.low.max(node.at), share: before.share * shares[1], ..before };
    let above = gather(ensemble, children[1], path, leaves);
    path[place] = before;
    path.truncate(if known.is_none() { place } else { path.len() });
    shares[0] * below + shares[1] * above
}

impl Group {
    /// `leaves` have equally many columns, and there is one.
    fn of(leaves: &[Leaf]) -> Self {
        let n_columns = leaves[0].path.len();
        let (mut values, mut conditions) = (Vec::new(), Vec::new());
        for leaves in leaves.chunks(LANES) {
            // A leaf of value zero, which adds nothing, stands where there is none.
            values.push(std::array::from_fn(|lane| leaves.get(lane).map_or(0.0, |leaf| leaf.value)));
            conditions.extend((0..n_columns).map(|column| {
                let side = |lane: usize| leaves.get(lane).unwrap_or(&leaves[0]).path[column];
                Condition {
                    low: std::array::from_fn(|lane| side(lane).low),
                    high: std::array::from_fn(|lane| side(lane).high),
                    share: std::array::from_fn(|lane| side(lane).share),
                    column: std::array::from_fn(|lane| side(lane).column),
                }
            }));
        }
        Self { quadrature: quadrature(n_columns.div_ceil(2)), values, conditions, n_columns }
    }

    /// Adds to `sums` what each column of `row` added through these leaves.
    fn explain(&self, row: &[f64], sums: &mut [f64]) {
        let mut terms = vec![Term::default(); self.n_columns];
        for (value, conditions) in self.values.iter().zip(self.conditions.chunks_exact(self.n_columns)) {
            for (condition, term) in conditions.iter().zip(&mut terms) {
                let x: Lanes = condition.column.map(|column| row[usize::from(column)]);
                let change = |lane| {
                    let is_there = (condition.low[lane] <= x[lane]) & (x[lane] < condition.high[lane]);
                    f64::from(u8::from(is_there)) - condition.share[lane]
                };
                *term = Term { change: std::array::from_fn(change), ..Term::default() };
            }
            for point in &self.quadrature {
                let mut product = value.map(|value| value * point.weight);
                for (condition, term) in conditions.iter().zip(&mut terms) {
                    term.before = product;
                    term.factor = std::array::from_fn(|lane| condition.share[lane] + point.at * term.change[lane]);
                    product = times(&product, &term.factor);
                }
                let mut after = [1.0; LANES];
                for term in terms.iter_mut().rev() {
                    let others = times(&term.before, &after);
                    term.others = std::array::from_fn(|lane| term.others[lane] + others[lane]);
                    after = times(&after, &term.factor);
                }
            }
            for (condition, term) in conditions.iter().zip(&terms) {
                let added = times(&term.change, &term.others);
                for (column, added) in condition.column.iter().zip(added) {
                    sums[usize::from(*column)] += added;
                }
            }
        }
    }
}

/// What a column contributes on the way to each of four leaves.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    /// What knowing the column changes of its factor.
    change: Lanes,
    /// That factor at a point of the quadrature.
    factor: Lanes,
    /// The product of the factors before it there.
    before: Lanes,
    /// The integral of the product of all other factors.
    others: Lanes,
}

fn times(left: &Lanes, right: &Lanes) -> Lanes {
    std::array::from_fn(|lane| left[lane] * right[lane])
}

/// Where a quadrature looks, and how much that counts.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: f64,
    weight: f64,
}

/// Gauss–Legendre quadrature with `n` points on 0..1.
fn quadrature(n: usize) -> Vec<Point> {
    let point = |idx: usize| {
        // Newton's method from the usual first guess at the root of the Legendre polynomial.
        let mut x = (PI * (idx as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut last, mut value) = (1.0, x);
            for degree in 2..=n {
                let degree = degree as f64;
                (last, value) = (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * last) / degree);
            }
            slope = n as f64 * (x * value - last) / (x * x - 1.0);
            x -= value / slope;
        }
        Point { at: 0.5 * (1.0 - x), weight: 1.0 / ((1.0 - x * x) * slope * slope) }
    };
    (0..n).map(point).collect()
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
        let two = quadrature(2);
        let half = 0.5 / 3.0_f64.sqrt();
        assert!((two[0].at - (0.5 - half)).abs() < 1e-15 && (two[1].at - (0.5 + half)).abs() < 1e-15);
        assert!(two.iter().all(|point| (point.weight - 0.5).abs() < 1e-15));
        assert!(quadrature(1).iter().all(|point| point.at == 0.5 && (point.weight - 1.0).abs() < 1e-15));
        let integral: f64 = quadrature(24).iter().map(|point| point.weight * point.at.powi(47)).sum();
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
        let explained = Explainer::of(&stump).explain(&[3.0, 0.0]);
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
            let explained = Explainer::of(&forest).explain(&x);
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
            let explained = Explainer::of(&forest).explain(&x);
            let sum = explained.base + explained.values.iter().sum::<f64>();
            prop_assert!((sum - forest.margin(&x)).abs() < 1e-9 * (1.0 + sum.abs()), "{} {}", sum, forest.margin(&x));
        }
    }
}
