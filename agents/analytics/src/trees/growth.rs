//! Grows one tree from the derivatives of a loss.
//!
//! With gradient −w·y and curvature w it is a regression tree of least squares, and, for targets of 0 and 1, a
//! classification tree by Gini impurity, whose gain is the same up to a factor.

use crate::trees::binning::Binned;
use crate::trees::{DEPTH_MAX, LEAF, Node, Rule};
use rand::RngExt;
use rand_pcg::Pcg32;

/// First and second derivative of the loss at a row, both times the row's weight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slope {
    pub(crate) gradient: f64,
    pub(crate) curvature: f64,
}

impl Slope {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
    }

    /// How far a leaf of these rows lowers the loss, times two.
    fn gain(self, ridge: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature + ridge)
    }
}

/// Where a tree is grown; its scratch space serves one tree after the other.
pub(crate) struct Growth<'a> {
    binned: &'a Binned,
    rule: Rule,
    chance: Pcg32,
    slopes: &'a [Slope],
    /// What a leaf's value is multiplied by.
    scale: f64,
    nodes: Vec<Node>,
    columns: Vec<usize>,
    histogram: Vec<(Slope, u32)>,
    sorted: Vec<u64>,
    moved: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Cut {
    gain: f64,
    feature: usize,
    /// The highest bin below.
    bin: u16,
}

impl<'a> Growth<'a> {
    pub(crate) fn new(binned: &'a Binned, rule: Rule, slopes: &'a [Slope], scale: f64, chance: Pcg32) -> Self {
        Self {
            binned,
            rule,
            chance,
            slopes,
            scale,
            nodes: Vec::new(),
            columns: (0..binned.n_features()).collect(),
            histogram: Vec::new(),
            sorted: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Only these columns are cut.
    pub(crate) fn among(mut self, columns: Vec<usize>) -> Self {
        self.columns = columns;
        self
    }

    /// The tree of `members`, indices of rows, in preorder; node indices count from `root`.
    pub(crate) fn grow(mut self, members: &mut [u32], root: usize) -> Vec<Node> {
        self.split(members, 0, root);
        self.nodes
    }

    fn split(&mut self, members: &mut [u32], depth: u32, root: usize) {
        let mut total = Slope::default();
        members.iter().for_each(|row| total.add(self.slopes[*row as usize]));
        let index = self.nodes.len();
        let cover = total.curvature.max(f64::from(f32::MIN_POSITIVE)) as f32;
        let may = depth < self.rule.depth_max.min(DEPTH_MAX)
            && 2 * self.rule.leaf_rows_min.max(1) as usize <= members.len()
            && 2.0 * self.rule.leaf_weight_min <= total.curvature;
        let found = if may { self.cut(members, total) } else { None };
        let Some(cut) = found else {
            let value = -total.gradient / (total.curvature + self.rule.ridge);
            let at = if value.is_finite() { value * self.scale } else { 0.0 };
            return self.nodes.push(Node { at, cover, above: 0, feature: LEAF });
        };
        let n_below = self.partition(members, cut);
        let (below, above) = members.split_at_mut(n_below);
        let at = self.binned.cut(cut.feature, cut.bin);
        self.nodes.push(Node { at, cover, above: 0, feature: cut.feature as u16 });
        self.split(below, depth + 1, root);
        self.nodes[index].above = (root + self.nodes.len()) as u32;
        self.split(above, depth + 1, root);
    }

    /// Rows below the cut first, each side in its old order, which keeps reads of a column forward.
    fn partition(&mut self, members: &mut [u32], cut: Cut) -> usize {
        let column = self.binned.column(cut.feature);
        self.moved.clear();
        let mut n_below = 0;
        for idx in 0..members.len() {
            let row = members[idx];
            if column[row as usize] <= cut.bin {
                members[n_below] = row;
                n_below += 1;
            } else {
                self.moved.push(row);
            }
        }
        members[n_below..].copy_from_slice(&self.moved);
        n_below
    }

    /// The best cut among randomly drawn columns. Columns of one value do not count as drawn.
    fn cut(&mut self, members: &[u32], total: Slope) -> Option<Cut> {
        let mut best: Option<Cut> = None;
        let mut n_left = self.rule.columns_per_cut.max(1);
        let n_columns = self.columns.len();
        for drawn in 0..n_columns {
            if n_left == 0 {
                break;
            }
            if self.rule.columns_per_cut < n_columns {
                let other = self.chance.random_range(drawn..n_columns);
                self.columns.swap(drawn, other);
            }
            let feature = self.columns[drawn];
            let n_bins = self.binned.n_bins(feature);
            if n_bins < 2 {
                continue;
            }
            let (found, varies) = if n_bins <= 2 * members.len() {
                self.count(members, feature, total)
            } else {
                self.sort(members, feature, total)
            };
            n_left -= usize::from(varies);
            if let Some(found) = found
                && best.is_none_or(|best| best.gain < found.gain)
            {
                best = Some(found);
            }
        }
        // Rounding alone makes a gain of this size.
        let least = 1e-12 * (1.0 + total.gain(self.rule.ridge));
        best.filter(|best| least < best.gain)
    }

    /// By counting rows in bins: for a node of about as many rows as bins, or more.
    fn count(&mut self, members: &[u32], feature: usize, total: Slope) -> (Option<Cut>, bool) {
        let column = self.binned.column(feature);
        let mut histogram = std::mem::take(&mut self.histogram);
        histogram.clear();
        histogram.resize(self.binned.n_bins(feature), (Slope::default(), 0));
        for row in members {
            let (slope, n_rows) = &mut histogram[usize::from(column[*row as usize])];
            slope.add(self.slopes[*row as usize]);
            *n_rows += 1;
        }
        let filled = histogram.iter().enumerate().filter(|(_, (_, n_rows))| 0 < *n_rows);
        let found =
            self.scan(filled.map(|(bin, (slope, n_rows))| (bin as u16, *slope, *n_rows)), feature, members, total);
        self.histogram = histogram;
        found
    }

    /// By sorting the rows: for a small node.
    fn sort(&mut self, members: &[u32], feature: usize, total: Slope) -> (Option<Cut>, bool) {
        let column = self.binned.column(feature);
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.clear();
        sorted.extend(members.iter().map(|row| u64::from(column[*row as usize]) << 32 | u64::from(*row)));
        sorted.sort_unstable();
        let rows = sorted.iter().map(|key| ((key >> 32) as u16, self.slopes[*key as u32 as usize], 1));
        let found = self.scan(rows, feature, members, total);
        self.sorted = sorted;
        found
    }

    /// The best cut between groups of rows that come in the order of their bins, and whether there are two bins at all.
    fn scan(
        &self,
        groups: impl Iterator<Item = (u16, Slope, u32)>,
        feature: usize,
        members: &[u32],
        total: Slope,
    ) -> (Option<Cut>, bool) {
        let Rule { leaf_rows_min, leaf_weight_min, ridge, .. } = self.rule;
        let whole = total.gain(ridge);
        let n_rows = members.len() as u32;
        let (mut below, mut n_below, mut last) = (Slope::default(), 0, None);
        let mut best: Option<Cut> = None;
        let mut varies = false;
        for (bin, slope, n) in groups {
            if let Some(last) = last
                && last != bin
            {
                varies = true;
                let above =
                    Slope { gradient: total.gradient - below.gradient, curvature: total.curvature - below.curvature };
                let wide = leaf_rows_min <= n_below && leaf_rows_min <= n_rows - n_below;
                let heavy = leaf_weight_min <= below.curvature && leaf_weight_min <= above.curvature;
                let gain = below.gain(ridge) + above.gain(ridge) - whole;
                if wide && heavy && gain.is_finite() && best.is_none_or(|best| best.gain < gain) {
                    best = Some(Cut { gain, feature, bin: last });
                }
            }
            below.add(slope);
            n_below += n;
            last = Some(bin);
        }
        (best, varies)
    }
}
