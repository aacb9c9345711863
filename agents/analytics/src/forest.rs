//! Isolation forest: how few random cuts separate a row from the others.
//!
//! Keeps the trees in flat arrays; a leaf leads to itself, so that every walk has the same number of steps. Does not choose a threshold: what score is unusual depends on the data, so whoever asks compares with the
//! scores of clean rows.

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// Rows that walk down a tree side by side, so that one waits for memory while the others move.
const LANES: usize = 16;

/// Eight bytes, so that eight nodes share a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    /// The value of the cut; in a leaf not a number, below which nothing is.
    at: f32,
    /// The column that is cut.
    feature: u16,
    /// Index of the child at or above the cut, counted from the tree's root, of a leaf its own; the child below the cut
    /// follows its parent.
    above: u16,
}

/// A fitted isolation forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    nodes: Vec<Node>,
    /// Of each node that is a leaf, the path length that it stands for.
    paths: Vec<f32>,
    roots: Vec<u32>,
    depth_max: u32,
    n_features: usize,
    /// Path length at which the score is one half.
    usual_path: f64,
}

impl Forest {
    /// Grows `n_trees` trees, each from `sample_size` rows drawn without replacement (all rows, if there are fewer).
    ///
    /// `rows` holds one observation per row; the values are rounded to single precision. Same rows and seed, same
    /// forest. `None` for fewer than two rows, no column, no tree, or more than 16,384 rows a tree.
    ///
    /// # Source
    ///
    /// Liu, Ting & Zhou, *Isolation Forest*, ICDM 2008, algorithms 1 and 2.
    pub fn fit(rows: &ArrayView2<'_, f64>, n_trees: usize, sample_size: usize, seed: u64) -> Option<Self> {
        let (n_rows, n_features) = rows.dim();
        let size = sample_size.min(n_rows);
        if !(2..=16_384).contains(&size) || !(1..usize::from(u16::MAX)).contains(&n_features) || n_trees == 0 {
            return None;
        }
        let mut growth = Growth {
            rows: *rows,
            chance: Pcg32::seed_from_u64(seed),
            nodes: Vec::with_capacity(n_trees * 2 * size),
            paths: Vec::with_capacity(n_trees * 2 * size),
            root: 0,
            depth_max: (size as f64).log2().ceil() as u32,
        };
        let mut order: Vec<usize> = (0..n_rows).collect();
        let mut roots = Vec::with_capacity(n_trees);
        for _ in 0..n_trees {
            for drawn in 0..size {
                let other = growth.chance.random_range(drawn..n_rows);
                order.swap(drawn, other);
            }
            growth.root = growth.nodes.len();
            roots.push(growth.root as u32);
            growth.grow(&mut order[..size], 0);
        }
        let Growth { mut nodes, mut paths, depth_max, .. } = growth;
        // Most trees stay far below the room that was made for them.
        nodes.shrink_to_fit();
        paths.shrink_to_fit();
        Some(Self { nodes, paths, roots, depth_max, n_features, usual_path: usual_path(size) })
    }

    /// Anomaly score of `row`, in 0..1: near 1 is isolated at once, about 0.5 is like the rest, below is deep inside.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the forest was fitted on.
    ///
    /// # Source
    ///
    /// Liu, Ting & Zhou, *Isolation Forest*, ICDM 2008, eq. 2.
    pub fn score(&self, row: &[f64]) -> f64 {
        assert!(self.n_features <= row.len(), "row has {} columns, the forest {}", row.len(), self.n_features);
        let paths: f64 = self.roots.iter().map(|root| f64::from(self.paths[self.leaf(*root as usize, row)])).sum();
        self.score_of(paths)
    }

    /// [`Forest::score`] of each row.
    ///
    /// # Panics
    ///
    /// When `rows` has fewer columns than the forest was fitted on.
    pub fn score_rows(&self, rows: &ArrayView2<'_, f64>) -> Vec<f64> {
        let (n_rows, n_columns) = rows.dim();
        assert!(self.n_features <= n_columns, "rows have {n_columns} columns, the forest {}", self.n_features);
        // Of so many rows at a time, column by column.
        let mut blocks = vec![[0.0f32; LANES]; n_rows.div_ceil(LANES) * n_columns];
        for (row_idx, row) in rows.rows().into_iter().enumerate() {
            let block = &mut blocks[row_idx / LANES * n_columns..];
            block.iter_mut().zip(row).for_each(|(column, value)| column[row_idx % LANES] = *value as f32);
        }
        let mut paths = vec![[0.0f64; LANES]; n_rows.div_ceil(LANES)];
        let mut full = FullTree::of_depth(self.depth_max);
        // One tree after the other, so that it stays in the cache for all rows.
        for root in &self.roots {
            full.fill(&self.nodes[*root as usize..], &self.paths[*root as usize..]);
            for (block, paths) in blocks.chunks_exact(n_columns).zip(&mut paths) {
                full.walk(block, paths);
            }
        }
        let paths = paths.into_iter().flatten().take(n_rows);
        paths.map(|paths| self.score_of(paths)).collect()
    }

    /// Each column's share in how isolated `row` is, adding up to 1, or all 0 when no tree could cut.
    ///
    /// A cut counts for its column the more, the shorter the path that it lies on.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the forest was fitted on.
    ///
    /// # Source
    ///
    /// Carletti, Terzi & Susto, *Interpretable Anomaly Detection with DIFFI*, Engineering Applications of Artificial
    /// Intelligence 119, 2023, section 3.3 (the local version).
    pub fn attribution(&self, row: &[f64]) -> Vec<f64> {
        assert!(self.n_features <= row.len(), "row has {} columns, the forest {}", row.len(), self.n_features);
        let mut credits = vec![0.0; self.n_features];
        let mut counts = vec![0u32; self.n_features];
        for root in &self.roots {
            let root = *root as usize;
            let leaf = self.leaf(root, row);
            let worth = 1.0 / f64::from(self.paths[leaf]).max(1.0) - 1.0 / f64::from(self.depth_max + 1);
            let mut at = root;
            while at != leaf {
                let node = self.nodes[at];
                credits[usize::from(node.feature)] += worth.max(0.0);
                counts[usize::from(node.feature)] += 1;
                at = self.next(root, at, row);
            }
        }
        let means = credits.iter().zip(&counts).map(|(credit, count)| credit / f64::from(*count).max(1.0));
        let total: f64 = means.clone().sum();
        means.map(|mean| if 0.0 < total { mean / total } else { 0.0 }).collect()
    }

    fn score_of(&self, paths: f64) -> f64 {
        (-(paths / self.roots.len() as f64) / self.usual_path).exp2()
    }

    fn leaf(&self, root: usize, row: &[f64]) -> usize {
        (0..self.depth_max).fold(root, |at, _| self.next(root, at, row))
    }

    /// Bytes that it occupies.
    pub fn size(&self) -> usize {
        let outside = self.nodes.capacity() * size_of::<Node>() + self.paths.capacity() * size_of::<f32>();
        size_of::<Self>() + outside + self.roots.capacity() * size_of::<u32>()
    }

    /// Columns that a row must have.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    fn next(&self, root: usize, at: usize, row: &[f64]) -> usize {
        let node = self.nodes[at];
        if (row[usize::from(node.feature)] as f32) < node.at { at + 1 } else { root + usize::from(node.above) }
    }
}

/// A tree in which every path is as long as the longest, so that the way to a child is arithmetic and no branch that is
/// mispredicted half of the time.
struct FullTree {
    depth: u32,
    /// Cut and column of the node at 1, its children at 2 and 3, and so on.
    cuts: Vec<(f32, u16)>,
    /// Path lengths of the leaves, from left to right.
    lengths: Vec<f32>,
}

impl FullTree {
    fn of_depth(depth: u32) -> Self {
        let n_leaves = 1 << depth;
        Self { depth, cuts: vec![(0.0, 0); n_leaves], lengths: vec![0.0; n_leaves] }
    }

    /// Takes the tree that begins with the first of `nodes`.
    fn fill(&mut self, nodes: &[Node], paths: &[f32]) {
        let n_leaves = self.lengths.len();
        let mut open = vec![(1, 0)];
        while let Some((place, at)) = open.pop() {
            let node = nodes[at];
            if n_leaves <= place {
                self.lengths[place - n_leaves] = paths[at];
                continue;
            }
            self.cuts[place] = (node.at, node.feature);
            // Nothing is below a leaf's cut, so of its copies the ones above are reached.
            let below = if node.at.is_nan() { at } else { at + 1 };
            open.extend([(2 * place, below), (2 * place + 1, usize::from(node.above))]);
        }
    }

    /// Adds the path length of each row of `block`, which holds its columns one after the other.
    fn walk(&self, block: &[[f32; LANES]], paths: &mut [f64; LANES]) {
        let mut places = [1usize; LANES];
        for _ in 0..self.depth {
            for (lane, place) in places.iter_mut().enumerate() {
                let (at, feature) = self.cuts[*place];
                let is_below = block[usize::from(feature)][lane] < at;
                *place = 2 * *place + usize::from(!is_below);
            }
        }
        for (path, place) in paths.iter_mut().zip(places) {
            *path += f64::from(self.lengths[place - self.lengths.len()]);
        }
    }
}

struct Growth<'a> {
    rows: ArrayView2<'a, f64>,
    chance: Pcg32,
    nodes: Vec<Node>,
    paths: Vec<f32>,
    root: usize,
    depth_max: u32,
}

impl Growth<'_> {
    fn grow(&mut self, members: &mut [usize], depth: u32) {
        let cut = if depth < self.depth_max { self.cut(members) } else { None };
        let Some((feature, at)) = cut else {
            let path = f64::from(depth) + usual_path(members.len());
            let own = (self.nodes.len() - self.root) as u16;
            self.nodes.push(Node { at: f32::NAN, feature: 0, above: own });
            return self.paths.push(path as f32);
        };
        let mut n_below = 0;
        for idx in 0..members.len() {
            if (self.rows[[members[idx], feature]] as f32) < at {
                members.swap(idx, n_below);
                n_below += 1;
            }
        }
        let (below, above) = members.split_at_mut(n_below);
        let parent = self.nodes.len();
        self.nodes.push(Node { at, feature: feature as u16, above: 0 });
        self.paths.push(0.0);
        self.grow(below, depth + 1);
        self.nodes[parent].above = (self.nodes.len() - self.root) as u16;
        self.grow(above, depth + 1);
    }

    /// A random column in which the members differ, and a random cut that leaves some on either side.
    fn cut(&mut self, members: &[usize]) -> Option<(usize, f32)> {
        let n_features = self.rows.ncols();
        let first = self.chance.random_range(0..n_features);
        (0..n_features).map(|offset| (first + offset) % n_features).find_map(|feature| {
            let values = members.iter().map(|row| self.rows[[*row, feature]] as f32);
            let (low, high) =
                values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
            (low < high).then(|| {
                let at = low + (high - low) * self.chance.random::<f32>();
                // Rounding may put the cut on the lowest value, below which there is nothing.
                (feature, if low < at { at } else { high })
            })
        })
    }
}

/// Mean path length of an unsuccessful search in a binary tree of `n` rows.
///
/// # Source
///
/// Liu, Ting & Zhou, *Isolation Forest*, ICDM 2008, eq. 1, with the exact harmonic number.
fn usual_path(n: usize) -> f64 {
    if n < 2 {
        return 0.0;
    }
    let harmonic: f64 = (1..n).map(|i| 1.0 / i as f64).sum();
    2.0 * harmonic - 2.0 * (n - 1) as f64 / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    fn cloud(n_rows: usize, seed: u64) -> Array2<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n_rows, 3), || (0..6).map(|_| chance.random::<f64>()).sum::<f64>() - 3.0)
    }

    #[test]
    fn the_usual_path_is_the_published_one() {
        assert_eq!(usual_path(1), 0.0);
        assert_eq!(usual_path(2), 1.0);
        // By hand: 2 (1 + 1/2 + 1/3) - 2 · 3/4.
        assert!((usual_path(4) - (11.0 / 3.0 - 1.5)).abs() < 1e-12);
        assert!((usual_path(256) - 10.2487).abs() < 1e-4);
    }

    #[test]
    fn two_rows_are_separated_by_one_cut() {
        // Every tree is one cut with a leaf of path 1 on either side, and the usual path of two rows is 1: 2^-1.
        let rows = ndarray::array![[0.0], [1.0]];
        let forest = Forest::fit(&rows.view(), 10, 2, 1).unwrap();
        assert!((forest.score(&[0.2]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn equal_rows_cannot_be_told_apart() {
        // The root is a leaf that stands for all rows, so the path is the usual one.
        let forest = Forest::fit(&Array2::ones((50, 2)).view(), 5, 50, 1).unwrap();
        assert!((forest.score(&[1.0, 1.0]) - 0.5).abs() < 1e-6);
        assert!((forest.score(&[9.0, 9.0]) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_row_far_out_scores_above_every_clean_row() {
        let rows = cloud(512, 7);
        let forest = Forest::fit(&rows.view(), 64, 128, 7).unwrap();
        let clean: Vec<f64> = rows.rows().into_iter().map(|row| forest.score(&row.to_vec())).collect();
        let highest = clean.iter().copied().fold(0.0, f64::max);
        let mean = clean.iter().sum::<f64>() / clean.len() as f64;
        let far = forest.score(&[9.0, -9.0, 9.0]);
        assert!(highest <= far && 0.6 < far, "far {far}, highest clean {highest}");
        assert!(mean < 0.5, "mean {mean}");
    }

    #[test]
    fn rows_scored_together_score_as_one_by_one() {
        let rows = cloud(100, 3);
        let forest = Forest::fit(&rows.view(), 50, 64, 3).unwrap();
        let one_by_one: Vec<f64> = rows.rows().into_iter().map(|row| forest.score(&row.to_vec())).collect();
        for (together, alone) in forest.score_rows(&rows.view()).into_iter().zip(one_by_one) {
            assert!((together - alone).abs() < 1e-12, "{together} {alone}");
        }
    }

    #[test]
    fn the_column_that_isolates_a_row_gets_the_largest_share() {
        let rows = cloud(512, 7);
        let forest = Forest::fit(&rows.view(), 100, 128, 7).unwrap();
        for column in 0..3 {
            let mut row = [0.0; 3];
            row[column] = 8.0;
            let shares = forest.attribution(&row);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
            assert!(0.4 < shares[column], "column {column}: {shares:?}");
        }
        let flat = Forest::fit(&Array2::ones((50, 2)).view(), 5, 50, 1).unwrap();
        assert_eq!(flat.attribution(&[1.0, 1.0]), [0.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert!(Forest::fit(&Array2::ones((1, 2)).view(), 5, 50, 1).is_none());
        assert!(Forest::fit(&Array2::ones((9, 0)).view(), 5, 50, 1).is_none());
        assert!(Forest::fit(&Array2::ones((9, 2)).view(), 0, 50, 1).is_none());
    }

    proptest! {
        #[test]
        fn scores_stay_inside_zero_and_one_and_repeat(seed: u64, row in prop::collection::vec(-1e9..1e9f64, 3)) {
            let rows = cloud(40, seed);
            let (one, two) = (Forest::fit(&rows.view(), 8, 32, seed).unwrap(), Forest::fit(&rows.view(), 8, 32, seed).unwrap());
            let score = one.score(&row);
            prop_assert!(0.0 < score && score < 1.0);
            prop_assert_eq!(score.to_bits(), two.score(&row).to_bits());
        }
    }
}
