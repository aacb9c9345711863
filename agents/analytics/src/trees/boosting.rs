//! Gradient boosting: each tree corrects what those before it got wrong.

use crate::trees::binning::Binned;
use crate::trees::growth::{Growth, Slope};
use crate::trees::{Ensemble, Rule, sigmoid};
use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// What is wrong about a prediction, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Half the squared error; the margin is the value.
    Squared,
    /// Minus the log likelihood of targets of 0 and 1; the margin is the log odds.
    Logistic,
}

/// How trees are boosted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What is minimised.
    pub loss: Loss,
    /// Trees.
    pub n_trees: usize,
    /// Share of each correction that is made, 0 to 1.
    pub rate: f64,
    /// How each tree may grow.
    pub rule: Rule,
    /// Share of the rows that each tree sees, above 0 to 1.
    pub row_share: f64,
    /// Share of the columns that each tree sees, above 0 to 1.
    pub column_share: f64,
    /// Bins of a column.
    pub bins_max: usize,
    /// Fixes what is left to chance.
    pub seed: u64,
}

/// Boosts trees on `rows`.
///
/// `targets` are 0 and 1 for the logistic loss; `weights` say how much each row counts, all positive. `None` when the
/// table cannot be binned, lengths differ, a share is out of range, or the targets do not fit the loss.
///
/// # Source
///
/// Friedman, *Greedy Function Approximation*, Annals of Statistics 29, 2001; leaf values by one Newton step as in Chen &
/// Guestrin, *XGBoost*, KDD 2016, eq. 5.
pub fn fit(rows: &ArrayView2<'_, f64>, targets: &[f64], weights: &[f64], settings: &Settings) -> Option<Ensemble> {
    let n_rows = rows.nrows();
    let fits = targets.len() == n_rows && weights.len() == n_rows && 0 < settings.n_trees;
    let fair = |share: f64| 0.0 < share && share <= 1.0;
    let shares = [settings.rate, settings.row_share, settings.column_share].into_iter().all(fair);
    let sound = targets.iter().all(|target| match settings.loss {
        Loss::Squared => target.is_finite(),
        Loss::Logistic => *target == 0.0 || *target == 1.0,
    }) && weights.iter().all(|weight| weight.is_finite() && 0.0 < *weight);
    if !fits || !shares || !sound {
        return None;
    }
    let binned = Binned::of(rows, settings.bins_max)?;
    let mut chance = Pcg32::seed_from_u64(settings.seed);
    let total: f64 = weights.iter().sum();
    let mean = targets.iter().zip(weights).map(|(target, weight)| target * weight).sum::<f64>() / total;
    let base = match settings.loss {
        Loss::Squared => mean,
        // A sample of one class alone still leaves the other possible.
        Loss::Logistic => {
            let odds = (mean * total + 0.5) / ((1.0 - mean) * total + 0.5);
            odds.ln()
        }
    };
    let mut ensemble = Ensemble { nodes: Vec::new(), roots: Vec::new(), n_features: rows.ncols(), base };
    let mut margins = vec![base; n_rows];
    let standard = rows.as_standard_layout();
    let n_sampled = ((n_rows as f64 * settings.row_share).round() as usize).clamp(1, n_rows);
    let n_columns = ((rows.ncols() as f64 * settings.column_share).round() as usize).clamp(1, rows.ncols());
    let mut order: Vec<u32> = (0..n_rows as u32).collect();
    let mut columns: Vec<usize> = (0..rows.ncols()).collect();
    for _ in 0..settings.n_trees {
        let slope = |((margin, target), weight): ((&f64, &f64), &f64)| match settings.loss {
            Loss::Squared => Slope { gradient: weight * (margin - target), curvature: *weight },
            Loss::Logistic => {
                let chance = sigmoid(*margin);
                let curvature = (chance * (1.0 - chance)).max(1e-16);
                Slope { gradient: weight * (chance - target), curvature: weight * curvature }
            }
        };
        let slopes: Vec<Slope> = margins.iter().zip(targets).zip(weights).map(slope).collect();
        draw(&mut order, n_sampled, &mut chance);
        draw(&mut columns, n_columns, &mut chance);
        let mut members = order[..n_sampled].to_vec();
        members.sort_unstable();
        let mut among = columns[..n_columns].to_vec();
        among.sort_unstable();
        let root = ensemble.nodes.len();
        let tree_chance = Pcg32::seed_from_u64(chance.random());
        let growth = Growth::new(&binned, settings.rule, &slopes, settings.rate, tree_chance).among(among);
        ensemble.nodes.extend(growth.grow(&mut members, root));
        ensemble.roots.push(root as u32);
        for (margin, row) in margins.iter_mut().zip(standard.rows()) {
            *margin += ensemble.leaf(root, row.as_slice().expect("standard layout"));
        }
    }
    Some(ensemble)
}

/// Puts a random choice of `n` items in front.
fn draw<T>(items: &mut [T], n: usize, chance: &mut Pcg32) {
    if n < items.len() {
        for drawn in 0..n {
            let other = chance.random_range(drawn..items.len());
            items.swap(drawn, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    const SETTINGS: Settings = Settings {
        loss: Loss::Squared,
        n_trees: 200,
        rate: 0.1,
        rule: Rule { depth_max: 4, leaf_rows_min: 5, leaf_weight_min: 0.0, ridge: 1.0, columns_per_cut: usize::MAX },
        row_share: 0.8,
        column_share: 1.0,
        bins_max: 255,
        seed: 1,
    };

    fn uniform(n_rows: usize, seed: u64) -> Array2<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n_rows, 5), || chance.random::<f64>())
    }

    /// Friedman's first test function without noise: 0 to about 30.
    fn friedman(row: ndarray::ArrayView1<'_, f64>) -> f64 {
        10.0 * (std::f64::consts::PI * row[0] * row[1]).sin()
            + 20.0 * (row[2] - 0.5).powi(2)
            + 10.0 * row[3]
            + 5.0 * row[4]
    }

    #[test]
    fn a_curved_function_is_learnt() {
        let rows = uniform(2_000, 1);
        let targets: Vec<f64> = rows.rows().into_iter().map(friedman).collect();
        let model = fit(&rows.view(), &targets, &vec![1.0; 2_000], &SETTINGS).expect("sound");
        let other = uniform(500, 2);
        let squares: f64 =
            other.rows().into_iter().map(|row| (model.margin(&row.to_vec()) - friedman(row)).powi(2)).sum::<f64>();
        let error = (squares / 500.0).sqrt();
        // The function's own standard deviation is 4.9.
        assert!(error < 0.9, "{error}");
    }

    #[test]
    fn log_odds_become_the_share_of_the_class() {
        // Given a column that tells nothing but one of two levels, with shares of 10 % and 80 %,
        let rows = Array2::from_shape_fn((2_000, 1), |(row, _)| (row % 2) as f64);
        let target = |row: usize| {
            f64::from(u8::from(if row.is_multiple_of(2) { row.is_multiple_of(20) } else { row % 10 != 9 }))
        };
        let targets: Vec<f64> = (0..2_000).map(target).collect();
        let share = |level: usize| {
            let own: Vec<f64> = (0..2_000).filter(|row| row % 2 == level).map(|row| targets[row]).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let settings =
            Settings { loss: Loss::Logistic, rule: Rule { ridge: 0.0, ..SETTINGS.rule }, row_share: 1.0, ..SETTINGS };
        let model = fit(&rows.view(), &targets, &vec![1.0; 2_000], &settings).expect("sound");
        for level in 0..2 {
            let found = sigmoid(model.margin(&[level as f64]));
            assert!((found - share(level)).abs() < 0.01, "{found} {}", share(level));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let rows = uniform(10, 1);
        let refused = |targets: &[f64], settings: Settings| fit(&rows.view(), targets, &[1.0; 10], &settings).is_none();
        assert!(refused(&[1.0; 9], SETTINGS));
        assert!(refused(&[0.5; 10], Settings { loss: Loss::Logistic, ..SETTINGS }));
        assert!(refused(&[0.5; 10], Settings { rate: 0.0, ..SETTINGS }));
        assert!(refused(&[0.5; 10], Settings { row_share: 1.5, ..SETTINGS }));
        assert!(refused(&[f64::INFINITY; 10], SETTINGS));
    }
}
