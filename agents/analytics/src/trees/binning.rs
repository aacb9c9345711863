//! Values as small integers in their order, so that cuts are found by counting.

use ndarray::ArrayView2;

/// A table whose values are replaced by their place in the order of their column.
#[derive(Clone, Debug)]
pub struct Binned {
    /// Column after column.
    bins: Vec<u16>,
    /// For each column the lower ends of all bins but the first.
    cuts: Vec<Vec<f64>>,
    n_rows: usize,
}

/// Bins that fit the type.
const BINS_LIMIT: usize = 1 << 16;

impl Binned {
    /// Sorts the values of each column into at most `bins_max` bins (2 to 65,536) of about as many rows each; a column
    /// of fewer distinct values gets a bin for each, so that no cut is lost.
    ///
    /// `None` for no row, no column, more than 65,534 columns, or a value that is not finite.
    pub fn of(rows: &ArrayView2<'_, f64>, bins_max: usize) -> Option<Self> {
        let (n_rows, n_features) = rows.dim();
        let sound = 0 < n_rows && (1..usize::from(u16::MAX)).contains(&n_features);
        if !sound || !rows.iter().all(|value| value.is_finite()) {
            return None;
        }
        let bins_max = bins_max.clamp(2, BINS_LIMIT);
        let mut bins = Vec::with_capacity(n_rows * n_features);
        let mut cuts = Vec::with_capacity(n_features);
        for column in rows.columns() {
            let mut sorted = column.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            let cut = cut(&sorted, bins_max);
            bins.extend(column.iter().map(|value| cut.partition_point(|lower| lower <= value) as u16));
            cuts.push(cut);
        }
        Some(Self { bins, cuts, n_rows })
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns.
    pub fn n_features(&self) -> usize {
        self.cuts.len()
    }

    pub(crate) fn column(&self, feature: usize) -> &[u16] {
        &self.bins[feature * self.n_rows..(feature + 1) * self.n_rows]
    }

    pub(crate) fn n_bins(&self, feature: usize) -> usize {
        self.cuts[feature].len() + 1
    }

    /// The value at which bins above `bin` begin.
    pub(crate) fn cut(&self, feature: usize, bin: u16) -> f64 {
        self.cuts[feature][usize::from(bin)]
    }
}

/// Lower ends of all bins but the first, each halfway between two neighbouring values.
fn cut(sorted: &[f64], bins_max: usize) -> Vec<f64> {
    let mut cuts = Vec::new();
    let n_distinct = 1 + sorted.windows(2).filter(|pair| pair[0] < pair[1]).count();
    let share = if n_distinct <= bins_max { 0.0 } else { sorted.len() as f64 / bins_max as f64 };
    let mut due = share;
    for (idx, pair) in sorted.windows(2).enumerate() {
        if pair[0] < pair[1] && due <= (idx + 1) as f64 && cuts.len() + 1 < bins_max {
            let middle = pair[0] + (pair[1] - pair[0]) / 2.0;
            // Between two values that are neighbours as numbers there is no third.
            cuts.push(if pair[0] < middle { middle } else { pair[1] });
            due = (idx + 1) as f64 + share;
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    #[test]
    fn few_values_get_a_bin_each_and_many_share() {
        let rows = array![[3.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]];
        let binned = Binned::of(&rows.view(), 256).expect("sound");
        assert_eq!(binned.column(0), [2, 0, 1, 2]);
        assert_eq!((binned.cut(0, 0), binned.cut(0, 1)), (1.5, 2.5));
        assert_eq!((binned.column(1), binned.n_bins(1)), (&[0, 0, 0, 0][..], 1));
        let many = Array2::from_shape_fn((1_000, 1), |(row, _)| row as f64);
        let binned = Binned::of(&many.view(), 10).expect("sound");
        let mut counts = [0; 10];
        binned.column(0).iter().for_each(|bin| counts[usize::from(*bin)] += 1);
        assert_eq!(counts, [100; 10]);
    }

    #[test]
    fn what_has_no_order_is_refused() {
        assert!(Binned::of(&array![[1.0], [f64::NAN]].view(), 9).is_none());
        assert!(Binned::of(&Array2::zeros((0, 3)).view(), 9).is_none());
        assert!(Binned::of(&Array2::zeros((3, 0)).view(), 9).is_none());
    }

    proptest! {
        #[test]
        fn a_cut_keeps_the_order_of_its_column(values in prop::collection::vec(-1e3..1e3f64, 1..200), bins_max in 2..50usize) {
            let rows = Array2::from_shape_vec((values.len(), 1), values.clone()).unwrap();
            let binned = Binned::of(&rows.view(), bins_max).unwrap();
            prop_assert!(binned.n_bins(0) <= bins_max);
            for (value, bin) in values.iter().zip(binned.column(0)) {
                if usize::from(*bin) + 1 < binned.n_bins(0) {
                    prop_assert!(*value < binned.cut(0, *bin));
                }
                if 0 < *bin {
                    prop_assert!(binned.cut(0, *bin - 1) <= *value);
                }
            }
        }
    }
}
