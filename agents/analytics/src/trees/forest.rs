//! Random forests: the mean of trees that each saw other rows and looked at other columns.

use crate::trees::binning::Binned;
use crate::trees::growth::{Growth, Slope};
use crate::trees::{Ensemble, Rule};
use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// How a forest is grown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Trees.
    pub n_trees: usize,
    /// How each may grow. `ridge` is taken as it is; 0 is usual.
    pub rule: Rule,
    /// Fixes what is left to chance.
    pub seed: u64,
}

/// A forest, and what it says of each row by the trees alone that had not seen it.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The forest; its margin is the mean over its trees.
    pub forest: Ensemble,
    /// Mean over the trees that had not seen the row; `None` if every tree had.
    pub out_of_bag: Vec<Option<f64>>,
}

/// Grows trees on samples of all rows drawn with replacement.
///
/// `targets` are 0 and 1 for a forest that gives probabilities, anything finite for a regression; `weights` say how
/// much each row counts, all positive. Exact: every cut between two values is looked at, up to 65,536 values a column.
/// `None` when the table cannot be binned, lengths differ, or there is no tree.
///
/// # Source
///
/// Breiman, *Random Forests*, Machine Learning 45, 2001.
pub fn fit(rows: &ArrayView2<'_, f64>, targets: &[f64], weights: &[f64], settings: &Settings) -> Option<Fitted> {
    let n_rows = rows.nrows();
    let fits = targets.len() == n_rows && weights.len() == n_rows && 0 < settings.n_trees;
    let sound = targets.iter().all(|target| target.is_finite())
        && weights.iter().all(|weight| weight.is_finite() && 0.0 < *weight);
    if !fits || !sound {
        return None;
    }
    let binned = Binned::of(rows, usize::MAX)?;
    let mut chance = Pcg32::seed_from_u64(settings.seed);
    let mut forest = Ensemble { nodes: Vec::new(), roots: Vec::new(), n_features: rows.ncols(), base: 0.0 };
    let mut unseen = vec![(0.0, 0_u32); n_rows];
    let standard = rows.as_standard_layout();
    for _ in 0..settings.n_trees {
        let mut counts = vec![0_u32; n_rows];
        for _ in 0..n_rows {
            counts[chance.random_range(0..n_rows)] += 1;
        }
        let mut members: Vec<u32> = (0..n_rows as u32).filter(|row| 0 < counts[*row as usize]).collect();
        let slope = |row: usize| {
            let weight = weights[row] * f64::from(counts[row]);
            Slope { gradient: -weight * targets[row], curvature: weight }
        };
        let slopes: Vec<Slope> = (0..n_rows).map(slope).collect();
        let tree_chance = Pcg32::seed_from_u64(chance.random());
        let root = forest.nodes.len();
        let scale = 1.0 / settings.n_trees as f64;
        let nodes = Growth::new(&binned, settings.rule, &slopes, scale, tree_chance).grow(&mut members, root);
        forest.roots.push(root as u32);
        forest.nodes.extend(nodes);
        for row in (0..n_rows).filter(|row| counts[*row] == 0) {
            let values = standard.row(row);
            let leaf = forest.leaf(root, values.as_slice().expect("standard layout"));
            unseen[row].0 += leaf * settings.n_trees as f64;
            unseen[row].1 += 1;
        }
    }
    let out_of_bag = unseen.iter().map(|(sum, n)| (0 < *n).then(|| sum / f64::from(*n))).collect();
    Some(Fitted { forest, out_of_bag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    const RULE: Rule =
        Rule { depth_max: 48, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: usize::MAX };

    fn uniform(n_rows: usize, n_columns: usize, seed: u64) -> Array2<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n_rows, n_columns), || chance.random::<f64>())
    }

    #[test]
    fn a_rule_of_two_columns_is_learnt_and_recognised_on_other_rows() {
        let inside = |row: ndarray::ArrayView1<'_, f64>| f64::from(u8::from(row[0] < 0.3 && 0.6 < row[2]));
        let rows = uniform(2_000, 4, 1);
        let targets: Vec<f64> = rows.rows().into_iter().map(inside).collect();
        let settings = Settings { n_trees: 40, rule: Rule { columns_per_cut: 2, ..RULE }, seed: 7 };
        let fitted = fit(&rows.view(), &targets, &vec![1.0; 2_000], &settings).expect("sound");
        let other = uniform(1_000, 4, 2);
        let wrong = other.rows().into_iter().filter(|row| {
            let probability = fitted.forest.margin(&row.to_vec());
            assert!((0.0..=1.0 + 1e-9).contains(&probability));
            (0.5 < probability) != (inside(*row) == 1.0)
        });
        assert!(wrong.count() <= 10);
        let unseen_wrong = fitted
            .out_of_bag
            .iter()
            .zip(&targets)
            .filter(|(unseen, target)| unseen.is_some_and(|unseen| (0.5 < unseen) != (**target == 1.0)));
        assert!(unseen_wrong.count() <= 20);
    }

    #[test]
    fn one_full_tree_gives_back_what_it_saw() {
        let rows = uniform(200, 3, 3);
        let targets: Vec<f64> = (0..200).map(f64::from).collect();
        // A single full tree is exact on the rows of its sample, so about two in three rows come back.
        let settings = Settings { n_trees: 1, rule: RULE, seed: 1 };
        let fitted = fit(&rows.view(), &targets, &vec![1.0; 200], &settings).expect("sound");
        let seen: Vec<usize> = (0..200).filter(|row| fitted.out_of_bag[*row].is_none()).collect();
        assert!((100..150).contains(&seen.len()), "{}", seen.len());
        assert!(seen.iter().all(|row| (fitted.forest.margin(&rows.row(*row).to_vec()) - targets[*row]).abs() < 1e-9));
    }

    #[test]
    fn heavy_rows_pull_the_mean() {
        let rows = Array2::zeros((4, 1));
        let settings = Settings { n_trees: 400, rule: RULE, seed: 1 };
        let even = fit(&rows.view(), &[0.0, 0.0, 0.0, 1.0], &[1.0; 4], &settings).expect("sound").forest.margin(&[0.0]);
        let heavy = fit(&rows.view(), &[0.0, 0.0, 0.0, 1.0], &[1.0, 1.0, 1.0, 9.0], &settings).expect("sound");
        assert!((even - 0.25).abs() < 0.05, "{even}");
        assert!(0.55 < heavy.forest.margin(&[0.0]), "{}", heavy.forest.margin(&[0.0]));
    }

    #[test]
    fn the_same_seed_grows_the_same_forest_and_nonsense_none() {
        let rows = uniform(100, 3, 5);
        let targets: Vec<f64> = rows.column(0).to_vec();
        let settings = Settings { n_trees: 5, rule: Rule { columns_per_cut: 1, ..RULE }, seed: 9 };
        let grown = || fit(&rows.view(), &targets, &[1.0; 100], &settings).expect("sound").forest;
        assert_eq!(grown(), grown());
        assert!(grown().checked().is_ok());
        assert!(fit(&rows.view(), &targets[1..], &[1.0; 100], &settings).is_none());
        assert!(fit(&rows.view(), &targets, &[0.0; 100], &settings).is_none());
        assert!(fit(&rows.view(), &[f64::NAN; 100], &[1.0; 100], &settings).is_none());
        assert!(fit(&rows.view(), &targets, &[1.0; 100], &Settings { n_trees: 0, ..settings }).is_none());
    }
}
