//! Support vector machines with a Gaussian kernel: a border between two classes, or around one.
//!
//! The kernel of all pairs of rows is kept while fitting, so rows are limited; a caller with more thins them out. Rows
//! must have been brought to a common scale.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Rows that can be fitted on.
pub const ROWS_MAX: usize = 4_000;
/// How far the two most violating rows may be apart.
const TOLERANCE: f64 = 1e-3;
const STEPS_PER_ROW: usize = 200;

/// A fitted border: on its far side [`Machine::decision`] is negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    n_features: usize,
    gamma: f64,
    offset: f64,
    /// Row after row.
    vectors: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Machine {
    /// A border between rows whose target is 0 and rows whose target is 1, on whose side the decision is positive.
    ///
    /// `costs` are what a row on the wrong side costs, per class; `gamma` is the inverse square width of the kernel.
    /// `None` for no row of a class, more than [`ROWS_MAX`] rows, or values that are not finite.
    ///
    /// # Source
    ///
    /// Fan, Chen & Lin, *Working Set Selection Using Second Order Information*, JMLR 6, 2005.
    pub fn classifier(rows: &ArrayView2<'_, f64>, targets: &[f64], costs: [f64; 2], gamma: f64) -> Option<Self> {
        let signs: Vec<f64> = targets.iter().map(|target| if *target == 1.0 { 1.0 } else { -1.0 }).collect();
        let both = signs.contains(&1.0) && signs.contains(&-1.0) && targets.len() == rows.nrows();
        let limits: Vec<f64> = signs.iter().map(|sign| costs[usize::from(0.0 < *sign)]).collect();
        if !both || !limits.iter().all(|limit| limit.is_finite() && 0.0 < *limit) {
            return None;
        }
        let start = vec![0.0; targets.len()];
        Problem { signs, limits, linear: -1.0 }.solve(rows, start, gamma)
    }

    /// A border around all rows but about a share `nu`, above 0 and below 1; inside the decision is positive.
    ///
    /// `None` as for [`Machine::classifier`].
    ///
    /// # Source
    ///
    /// Schölkopf et al., *Estimating the Support of a High-Dimensional Distribution*, Neural Computation 13, 2001.
    pub fn one_class(rows: &ArrayView2<'_, f64>, nu: f64, gamma: f64) -> Option<Self> {
        let n = rows.nrows();
        if n < 2 || !(0.0 < nu && nu < 1.0) {
            return None;
        }
        // A feasible start: as many full coefficients as their sum allows.
        let mut left = nu * n as f64;
        let start = (0..n)
            .map(|_| {
                let own = left.clamp(0.0, 1.0);
                left -= own;
                own
            })
            .collect();
        Problem { signs: vec![1.0; n], limits: vec![1.0; n], linear: 0.0 }.solve(rows, start, gamma)
    }

    /// Columns that a row must have.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Which side of the border `row` is on, and how far.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the machine was fitted on.
    pub fn decision(&self, row: &[f64]) -> f64 {
        assert!(self.n_features <= row.len(), "row has {} columns, the machine {}", row.len(), self.n_features);
        let row = &row[..self.n_features];
        let kernels = self.vectors.chunks_exact(self.n_features).map(|vector| kernel(vector, row, self.gamma));
        kernels.zip(&self.coefficients).map(|(kernel, coefficient)| coefficient * kernel).sum::<f64>() - self.offset
    }

    /// Whether a machine that was read from somewhere is whole.
    pub fn is_sound(&self) -> bool {
        let numbers = self.vectors.iter().chain(&self.coefficients).chain([&self.gamma, &self.offset]);
        0 < self.n_features
            && self.vectors.len() == self.n_features * self.coefficients.len()
            && numbers.into_iter().all(|number| number.is_finite())
    }
}

fn kernel(one: &[f64], other: &[f64], gamma: f64) -> f64 {
    let square: f64 = one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum();
    (-gamma * square).exp()
}

/// Minimise ½ αᵀQα + linear·Σα with 0 ≤ α ≤ limit and a fixed Σ sign·α, where Q = sign·sign·kernel.
struct Problem {
    signs: Vec<f64>,
    limits: Vec<f64>,
    linear: f64,
}

impl Problem {
    fn solve(&self, rows: &ArrayView2<'_, f64>, mut alphas: Vec<f64>, gamma: f64) -> Option<Machine> {
        let (n, n_features) = rows.dim();
        let sound = n <= ROWS_MAX && 0 < n_features && gamma.is_finite() && 0.0 < gamma;
        if !sound || !rows.iter().all(|value| value.is_finite()) {
            return None;
        }
        let standard = rows.as_standard_layout();
        let values = standard.as_slice()?;
        let row = |idx: usize| &values[idx * n_features..(idx + 1) * n_features];
        let mut kernels = vec![0.0_f32; n * n];
        for one in 0..n {
            for other in 0..=one {
                let value = kernel(row(one), row(other), gamma) as f32;
                (kernels[one * n + other], kernels[other * n + one]) = (value, value);
            }
        }
        let signs = &self.signs;
        let mut gradient: Vec<f64> = (0..n)
            .map(|one| {
                let pairs = (0..n).filter(|other| 0.0 < alphas[*other]);
                let sum: f64 =
                    pairs.map(|other| signs[other] * alphas[other] * f64::from(kernels[one * n + other])).sum();
                signs[one] * sum + self.linear
            })
            .collect();
        for _ in 0..STEPS_PER_ROW * n {
            let Some((up, down)) = self.pair(&alphas, &gradient, &kernels) else { break };
            self.step(up, down, &mut alphas, &mut gradient, &kernels);
        }
        let offset = self.offset(&alphas, &gradient);
        let chosen: Vec<usize> = (0..n).filter(|idx| 1e-12 < alphas[*idx]).collect();
        Some(Machine {
            n_features,
            gamma,
            offset,
            vectors: chosen.iter().flat_map(|idx| row(*idx).to_vec()).collect(),
            coefficients: chosen.iter().map(|idx| signs[*idx] * alphas[*idx]).collect(),
        })
    }

    fn may_rise(&self, idx: usize, alphas: &[f64]) -> bool {
        if 0.0 < self.signs[idx] { alphas[idx] < self.limits[idx] } else { 0.0 < alphas[idx] }
    }

    fn may_fall(&self, idx: usize, alphas: &[f64]) -> bool {
        if 0.0 < self.signs[idx] { 0.0 < alphas[idx] } else { alphas[idx] < self.limits[idx] }
    }

    /// The most violating row, and the one with which it lowers the objective most; `None` when none violates.
    fn pair(&self, alphas: &[f64], gradient: &[f64], kernels: &[f32]) -> Option<(usize, usize)> {
        let n = alphas.len();
        let pull = |idx: usize| -self.signs[idx] * gradient[idx];
        let rising = (0..n).filter(|idx| self.may_rise(*idx, alphas));
        let up = rising.max_by(|one, other| pull(*one).total_cmp(&pull(*other)))?;
        let (mut lowest, mut best) = (f64::INFINITY, None);
        let mut best_gain = 0.0;
        for idx in (0..n).filter(|idx| self.may_fall(*idx, alphas)) {
            let gap = pull(up) - pull(idx);
            lowest = lowest.min(pull(idx));
            if 0.0 < gap {
                let curvature = (2.0 - 2.0 * f64::from(kernels[up * n + idx])).max(1e-12);
                if best_gain < gap * gap / curvature {
                    (best_gain, best) = (gap * gap / curvature, Some(idx));
                }
            }
        }
        best.filter(|_| TOLERANCE < pull(up) - lowest).map(|down| (up, down))
    }

    fn step(&self, up: usize, down: usize, alphas: &mut [f64], gradient: &mut [f64], kernels: &[f32]) {
        let n = alphas.len();
        let curvature = (2.0 - 2.0 * f64::from(kernels[up * n + down])).max(1e-12);
        let gap = self.signs[down] * gradient[down] - self.signs[up] * gradient[up];
        let room = |idx: usize, rises: bool| {
            if (0.0 < self.signs[idx]) == rises { self.limits[idx] - alphas[idx] } else { alphas[idx] }
        };
        let by = (gap / curvature).min(room(up, true)).min(room(down, false));
        alphas[up] = (alphas[up] + self.signs[up] * by).clamp(0.0, self.limits[up]);
        alphas[down] = (alphas[down] - self.signs[down] * by).clamp(0.0, self.limits[down]);
        let (ups, downs) = (&kernels[up * n..(up + 1) * n], &kernels[down * n..(down + 1) * n]);
        for idx in 0..n {
            gradient[idx] += self.signs[idx] * by * f64::from(ups[idx] - downs[idx]);
        }
    }

    /// The offset that rows right on the border agree on, or the middle of what is possible.
    fn offset(&self, alphas: &[f64], gradient: &[f64]) -> f64 {
        let (mut sum, mut n_free) = (0.0, 0);
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for (idx, slope) in gradient.iter().enumerate() {
            let own = self.signs[idx] * slope;
            match (self.may_rise(idx, alphas), self.may_fall(idx, alphas)) {
                (true, true) => {
                    sum += own;
                    n_free += 1;
                }
                (true, false) => high = high.min(own),
                (false, true) => low = low.max(own),
                (false, false) => {}
            }
        }
        if 0 < n_free { sum / f64::from(n_free) } else { 0.5 * (low + high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    fn cloud(n_rows: usize, seed: u64) -> Array2<f64> {
        let mut chance = Pcg32::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n_rows, 2), || 4.0 * chance.random::<f64>() - 2.0)
    }

    #[test]
    fn two_points_are_parted_in_the_middle() {
        let machine = Machine::classifier(&array![[-1.0], [1.0]].view(), &[0.0, 1.0], [1e3, 1e3], 0.5).expect("sound");
        assert!(machine.decision(&[0.0]).abs() < 1e-6);
        // Both are support vectors, so the decision there is −1 and 1.
        assert!((machine.decision(&[1.0]) - 1.0).abs() < 1e-3 && (machine.decision(&[-1.0]) + 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_ring_is_told_from_its_middle() {
        let inside = |row: ndarray::ArrayView1<'_, f64>| f64::from(u8::from(row[0].hypot(row[1]) < 1.2));
        let rows = cloud(400, 1);
        let targets: Vec<f64> = rows.rows().into_iter().map(inside).collect();
        let machine = Machine::classifier(&rows.view(), &targets, [10.0, 10.0], 1.0).expect("sound");
        let other = cloud(400, 2);
        let wrong =
            other.rows().into_iter().filter(|row| (0.0 < machine.decision(&row.to_vec())) != (inside(*row) == 1.0));
        assert!(wrong.count() <= 16);
        assert!(machine.is_sound());
    }

    #[test]
    fn one_class_leaves_out_the_share_it_was_told() {
        let rows = cloud(500, 3);
        let machine = Machine::one_class(&rows.view(), 0.1, 0.1).expect("sound");
        let outside = rows.rows().into_iter().filter(|row| machine.decision(&row.to_vec()) < 0.0).count();
        assert!((35..=65).contains(&outside), "{outside}");
        assert!(machine.decision(&[9.0, 9.0]) < 0.0);
        assert!(0.0 < machine.decision(&[0.0, 0.0]));
    }

    #[test]
    fn nonsense_is_refused() {
        let rows = cloud(10, 1);
        assert_eq!(Machine::classifier(&rows.view(), &[1.0; 10], [1.0; 2], 1.0), None);
        assert_eq!(Machine::classifier(&rows.view(), &[0.0, 1.0], [1.0; 2], 1.0), None);
        assert_eq!(Machine::one_class(&rows.view(), 0.0, 1.0), None);
        assert_eq!(Machine::one_class(&array![[1.0], [f64::NAN]].view(), 0.5, 1.0), None);
    }
}
