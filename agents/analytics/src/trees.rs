//! Decision trees and sums of them: grown by [`forest`] and [`boosting`], explained by [`shap`].
//!
//! Keeps all trees of a model in one flat array; a child below the cut follows its parent, so a walk is mostly forward
//! in memory. Takes no missing values: whoever asks decides what a gap means. One number per leaf: a class is told by
//! the probability of one of two.

pub mod binning;
pub mod boosting;
pub mod forest;
mod growth;
pub mod shap;

use serde::{Deserialize, Serialize};

/// Marks a leaf in [`Node::feature`].
pub(crate) const LEAF: u16 = u16::MAX;
/// A path never gets longer, which bounds the work of an explanation.
pub(crate) const DEPTH_MAX: u32 = 48;

/// How a tree may grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Cuts between root and leaf at most; 48 is the limit.
    pub depth_max: u32,
    /// Rows of a leaf, at least.
    pub leaf_rows_min: u32,
    /// Sum of the second derivatives of the loss in a leaf, at least; with squared loss that of the weights.
    pub leaf_weight_min: f64,
    /// Shrinks the value of a leaf as if it held so much more weight of value zero.
    pub ridge: f64,
    /// Columns looked at for each cut; all, if there are fewer.
    pub columns_per_cut: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The value of the cut; in a leaf, what the leaf adds to the margin.
    pub(crate) at: f64,
    /// Weight of the training rows that came by.
    pub(crate) cover: f32,
    /// Index of the child at or above the cut.
    pub(crate) above: u32,
    /// The column that is cut, or [`LEAF`].
    pub(crate) feature: u16,
}

/// A sum of trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    pub(crate) nodes: Vec<Node>,
    pub(crate) roots: Vec<u32>,
    pub(crate) n_features: usize,
    /// Margin of a model without trees.
    pub(crate) base: f64,
}

/// Why stored trees cannot be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Ensemble {
    /// Columns that a row must have.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Trees.
    pub fn n_trees(&self) -> usize {
        self.roots.len()
    }

    /// Nodes of all trees, leaves included.
    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Sum over the trees for `row`: the probability of a forest that classifies, the log odds of boosting with the
    /// logistic loss, the value itself for a regression.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the ensemble was fitted on.
    pub fn margin(&self, row: &[f64]) -> f64 {
        assert!(self.n_features <= row.len(), "row has {} columns, the trees {}", row.len(), self.n_features);
        self.base + self.roots.iter().map(|root| self.leaf(*root as usize, row)).sum::<f64>()
    }

    fn leaf(&self, root: usize, row: &[f64]) -> f64 {
        let mut index = root;
        loop {
            let node = &self.nodes[index];
            if node.feature == LEAF {
                return node.at;
            }
            index = if row[usize::from(node.feature)] < node.at { index + 1 } else { node.above as usize };
        }
    }

    /// Says whether trees that were read from somewhere can be walked: every index leads forward to a node that is
    /// there, no column is beyond the row, every number is finite, no path is too long.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when not.
    pub fn checked(self) -> Result<Self, Malformed> {
        let ends = self.roots.iter().skip(1).copied().chain([u32::try_from(self.nodes.len()).map_err(|_| Malformed)?]);
        for (root, end) in self.roots.iter().zip(ends) {
            let n_seen = self.walk(*root as usize, end as usize, 0)?;
            if *root as usize + n_seen != end as usize {
                return Err(Malformed);
            }
        }
        let starts_at_zero = self.roots.first().is_none_or(|root| *root == 0);
        if starts_at_zero && self.base.is_finite() && (!self.roots.is_empty() || self.nodes.is_empty()) {
            Ok(self)
        } else {
            Err(Malformed)
        }
    }

    /// Nodes of the subtree at `index`.
    fn walk(&self, index: usize, end: usize, depth: u32) -> Result<usize, Malformed> {
        let node = self.nodes.get(index).filter(|_| index < end && depth <= DEPTH_MAX).ok_or(Malformed)?;
        if !(node.at.is_finite() && node.cover.is_finite() && 0.0 < node.cover) {
            return Err(Malformed);
        }
        if node.feature == LEAF {
            return Ok(1);
        }
        let n_below = self.walk(index + 1, end, depth + 1)?;
        if node.above as usize != index + 1 + n_below || self.n_features <= usize::from(node.feature) {
            return Err(Malformed);
        }
        Ok(1 + n_below + self.walk(node.above as usize, end, depth + 1)?)
    }
}

/// 1 / (1 + e^−x), from log odds to a probability.
pub fn sigmoid(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(at: f64, cover: f32) -> Node {
        Node { at, cover, above: 0, feature: LEAF }
    }

    fn stump() -> Ensemble {
        let root = Node { at: 0.5, cover: 4.0, above: 2, feature: 1 };
        Ensemble { nodes: vec![root, leaf(-1.0, 3.0), leaf(2.0, 1.0)], roots: vec![0], n_features: 2, base: 10.0 }
    }

    #[test]
    fn a_row_on_the_cut_goes_above() {
        let stump = stump().checked().expect("sound");
        assert_eq!(stump.margin(&[0.0, 0.4]), 9.0);
        assert_eq!(stump.margin(&[0.0, 0.5]), 12.0);
    }

    #[test]
    fn trees_that_lead_astray_are_refused() {
        let check = |change: fn(&mut Ensemble)| {
            let mut stump = stump();
            change(&mut stump);
            assert_eq!(stump.clone().checked(), Err(Malformed), "{stump:?}");
        };
        check(|stump| stump.nodes[0].above = 0);
        check(|stump| stump.nodes[0].above = 9);
        check(|stump| stump.nodes[0].feature = 2);
        check(|stump| stump.nodes[1].at = f64::NAN);
        check(|stump| stump.nodes[2].cover = 0.0);
        check(|stump| stump.roots = vec![0, 1]);
        check(|stump| stump.roots = vec![1]);
        check(|stump| stump.roots.clear());
        check(|stump| stump.base = f64::INFINITY);
        check(|stump| {
            stump.nodes.pop();
        });
    }
}
