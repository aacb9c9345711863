//! The shape of the last readings, judged by an isolation forest.
//!
//! Keeps a fair sample of clean shapes and refits whenever four times as many have been seen. Gives the forest's score
//! as it is; what is unusual is the gauge's business.

use crate::forest::Forest;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const FEATURES: usize = 6;
/// Clean shapes kept, so many that it hardly matters which.
const ROWS: usize = 512;
/// A hundred trees of 64 rows would say the same of faults, at twice the time and four times the memory.
///
/// # Source
///
/// Liu, Ting & Zhou, *Isolation Forest*, ICDM 2008, section 4.
const TREES: usize = 64;
const SAMPLE: usize = 32;
/// Clean rows seen before the first forest; each later one needs four times as many as the one before.
const FIRST_FIT: u32 = 96;

/// Rows are kept in sixteenths, a byte each: an isolation forest needs no more.
type Row = [i8; FEATURES];

/// The forest of one sensor and the shapes it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pattern {
    seed: u64,
    offered: u32,
    next_fit: u32,
    /// The rows of the forest in use, and those gathered for its successor.
    fitted: Vec<Row>,
    gathered: Vec<Row>,
    /// Rebuilt from `fitted` when first needed, so that a checkpoint holds no trees.
    #[serde(skip)]
    forest: Option<Arc<Forest>>,
}

fn quantised(features: &[f64; FEATURES]) -> Row {
    features.map(|feature| (feature * 16.0).round().clamp(-127.0, 127.0) as i8)
}

impl Pattern {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, offered: 0, next_fit: FIRST_FIT, fitted: Vec::new(), gathered: Vec::new(), forest: None }
    }

    /// The forest's score of a shape, 0..1; `None` until there is a forest.
    pub(super) fn score(&mut self, features: &[f64; FEATURES]) -> Option<f64> {
        if self.fitted.is_empty() {
            return None;
        }
        if self.forest.is_none() {
            let rows = Array2::from_shape_fn((self.fitted.len(), FEATURES), |(row, column)| {
                f64::from(self.fitted[row][column])
            });
            self.forest = Forest::fit(&rows.view(), TREES, SAMPLE, self.seed).map(Arc::new);
        }
        let row = quantised(features).map(f64::from);
        self.forest.as_ref().map(|forest| forest.score(&row))
    }

    /// Bytes outside of itself.
    pub(super) fn size(&self) -> usize {
        let rows = self.fitted.capacity() + self.gathered.capacity();
        rows * size_of::<Row>() + self.forest.as_ref().map_or(0, |forest| forest.size())
    }

    /// Takes a clean row. True when the forest changed, so that its earlier scores no longer compare.
    pub(super) fn learn(&mut self, features: &[f64; FEATURES]) -> bool {
        self.offered = self.offered.saturating_add(1);
        let row = quantised(features);
        if self.gathered.len() < ROWS {
            self.gathered.push(row);
        } else {
            let mut chance = Pcg32::seed_from_u64(self.seed ^ u64::from(self.offered));
            if let Some(slot) = self.gathered.get_mut(chance.random_range(0..self.offered as usize)) {
                *slot = row;
            }
        }
        let due = self.offered == self.next_fit;
        if due {
            self.next_fit = self.next_fit.saturating_mul(4);
            self.fitted.clone_from(&self.gathered);
            self.forest = None;
        }
        due
    }
}
