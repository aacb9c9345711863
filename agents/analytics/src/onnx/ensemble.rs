//! Sums of trees as the format writes them: parallel lists of nodes, and of what leaves add to which class.

use super::wire::Node;
use super::{OnnxError, malformed, unsupported};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How a row is compared at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Branch {
    Cut {
        feature: usize,
        mode: Mode,
        at: f64,
        when: usize,
        otherwise: usize,
    },
    /// What is added, and to which target.
    Leaf(Vec<(usize, f64)>),
}

/// A sum of trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ensemble {
    branches: Vec<Branch>,
    roots: Vec<usize>,
    n_targets: usize,
    n_features: usize,
    /// Whether rows are compared in single precision.
    single: bool,
}

impl Ensemble {
    /// Reads the trees of `node`, whose leaves add to `n_targets` sums and are listed under names that begin so.
    pub(super) fn read(node: &Node, leaves: &str, n_targets: usize) -> Result<Self, OnnxError> {
        let (trees, ids) = (node.ints("nodes_treeids"), node.ints("nodes_nodeids"));
        let (features, modes) = (node.ints("nodes_featureids"), node.texts("nodes_modes"));
        let (when, otherwise) = (node.ints("nodes_truenodeids"), node.ints("nodes_falsenodeids"));
        let single = node.attribute("nodes_values_as_tensor").is_none();
        let values = node.floats("nodes_values")?;
        let n_nodes = ids.len();
        let lengths = [trees.len(), features.len(), modes.len(), when.len(), otherwise.len(), values.len()];
        if n_nodes == 0 || lengths.iter().any(|length| *length != n_nodes) {
            return malformed("the lists of a tree's nodes differ in length");
        }
        let places: HashMap<(i64, i64), usize> =
            trees.iter().zip(ids).enumerate().map(|(place, (tree, id))| ((*tree, *id), place)).collect();
        if places.len() != n_nodes {
            return malformed("two nodes of a tree have one number");
        }
        let child = |tree: i64, id: i64| {
            let place = places.get(&(tree, id)).copied();
            place.ok_or_else(|| OnnxError::Malformed(format!("tree {tree} has no node {id}")))
        };
        let (mut branches, mut n_features) = (Vec::with_capacity(n_nodes), 0);
        // A node with one parent at most cannot be met twice on the way from a root, so every walk ends.
        let mut has_parent = vec![false; n_nodes];
        for place in 0..n_nodes {
            let mode = match modes[place].as_str() {
                "LEAF" => {
                    branches.push(Branch::Leaf(Vec::new()));
                    continue;
                }
                "BRANCH_LEQ" => Mode::AtMost,
                "BRANCH_LT" => Mode::Below,
                "BRANCH_GTE" => Mode::AtLeast,
                "BRANCH_GT" => Mode::Above,
                "BRANCH_EQ" => Mode::Equal,
                "BRANCH_NEQ" => Mode::Unequal,
                other => return unsupported(format!("a cut of the kind {other:?}")),
            };
            let Ok(feature) = usize::try_from(features[place]) else { return malformed("a cut of no column") };
            let when = child(trees[place], when[place])?;
            let otherwise = child(trees[place], otherwise[place])?;
            for child in [when, otherwise] {
                if std::mem::replace(&mut has_parent[child], true) {
                    return malformed("a node of a tree has two parents");
                }
            }
            n_features = n_features.max(feature + 1);
            branches.push(Branch::Cut { feature, mode, at: values[place], when, otherwise });
        }
        let roots: Vec<usize> = (0..n_nodes).filter(|place| !has_parent[*place]).collect();
        let mut rooted: Vec<i64> = roots.iter().map(|root| trees[*root]).collect();
        rooted.sort_unstable();
        let mut all = trees.to_vec();
        all.sort_unstable();
        all.dedup();
        if rooted != all {
            return malformed("a tree has not exactly one root");
        }
        let (mut n_reached, mut waiting) = (0, roots.clone());
        while let Some(place) = waiting.pop() {
            n_reached += 1;
            if let Branch::Cut { when, otherwise, .. } = branches[place] {
                waiting.extend([when, otherwise]);
            }
        }
        if n_reached != n_nodes {
            return malformed("a tree has nodes that no row comes to");
        }
        let (trees, ids) = (node.ints(&format!("{leaves}_treeids")), node.ints(&format!("{leaves}_nodeids")));
        let (targets, weights) = (node.ints(&format!("{leaves}_ids")), node.floats(&format!("{leaves}_weights"))?);
        if [ids.len(), targets.len(), weights.len()] != [trees.len(); 3] {
            return malformed("the lists of a tree's leaves differ in length");
        }
        for idx in 0..trees.len() {
            let target = usize::try_from(targets[idx]).ok().filter(|target| *target < n_targets);
            let Some(target) = target else { return malformed(format!("a leaf adds to {}", targets[idx])) };
            match &mut branches[child(trees[idx], ids[idx])?] {
                Branch::Leaf(added) => added.push((target, weights[idx])),
                Branch::Cut { .. } => return malformed("a cut adds something"),
            }
        }
        Ok(Self { branches, roots, n_targets, n_features, single })
    }

    /// Trees.
    pub(super) fn n_trees(&self) -> usize {
        self.roots.len()
    }

    /// The sums over all trees for `row`.
    pub(super) fn sums(&self, row: &[f64]) -> Result<Vec<f64>, OnnxError> {
        if row.len() < self.n_features {
            return malformed(format!("the trees take {} columns, not {}", self.n_features, row.len()));
        }
        let mut sums = vec![0.0; self.n_targets];
        for root in &self.roots {
            let mut place = *root;
            while let Branch::Cut { feature, mode, at, when, otherwise } = &self.branches[place] {
                let value = if self.single { f64::from(row[*feature] as f32) } else { row[*feature] };
                let holds = match mode {
                    Mode::AtMost => value <= *at,
                    Mode::Below => value < *at,
                    Mode::AtLeast => *at <= value,
                    Mode::Above => *at < value,
                    Mode::Equal => value == *at,
                    Mode::Unequal => value != *at,
                };
                place = if holds { *when } else { *otherwise };
            }
            if let Branch::Leaf(added) = &self.branches[place] {
                added.iter().for_each(|(target, weight)| sums[*target] += weight);
            }
        }
        Ok(sums)
    }
}
