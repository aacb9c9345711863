//! The distribution of the one-sample Kolmogorov–Smirnov statistic, which the limit of the two-sample test is taken from.

use statrs::function::gamma::ln_gamma;
use std::f64::consts::{PI, TAU};

/// Largest sample for which the exact distribution is always cheap.
const SMALL: f64 = 140.0;

/// Chance that the statistic of `n` values reaches `x`. `n` is a whole number of at least 1.
///
/// # Source
///
/// Simard & L'Ecuyer, *Computing the Two-Sided Kolmogorov–Smirnov Distribution*, Journal of Statistical Software 39,
/// 2011, for which method is good where; equal to `scipy.stats.kstwo.sf`.
pub(super) fn survival(n: f64, x: f64) -> f64 {
    let reached = n * x;
    let square = reached * x;
    if x <= 0.0 || reached <= 0.5 {
        1.0
    } else if 1.0 <= x || 370.0 <= square {
        0.0
    } else if reached <= 1.0 {
        // n! (2x − 1/n)^n
        1.0 - (ln_gamma(n + 1.0) + n * ((2.0 * reached - 1.0) / n).ln()).exp()
    } else if 0.5 <= x || (if n <= SMALL { 4.0 } else { 2.2 }) <= square {
        // Both sides at once hardly ever are that far out.
        2.0 * one_sided(n, x)
    } else if n <= SMALL || n <= 100_000.0 && n * x.powf(1.5) <= 1.4 {
        1.0 - by_matrix(n as u32, reached)
    } else {
        1.0 - by_expansion(n, x)
    }
}

/// Chance that the distribution of `n` values somewhere lies `x` or more above the true one.
///
/// # Source
///
/// Birnbaum & Tingey, *One-Sided Confidence Contours for Probability Distribution Functions*, Annals of Mathematical
/// Statistics 22, 1951, eq. 3.0.
fn one_sided(n: f64, x: f64) -> f64 {
    let last = (n * (1.0 - x)).floor() as u32;
    let terms = (0..=last).map(|j| {
        let j = f64::from(j);
        let below = 1.0 - x - j / n;
        if below <= 0.0 {
            return 0.0;
        }
        let choices = ln_gamma(n + 1.0) - ln_gamma(j + 1.0) - ln_gamma(n - j + 1.0);
        (choices + (n - j) * below.ln() + (j - 1.0) * (x + j / n).ln()).exp()
    });
    x * terms.sum::<f64>()
}

/// Chance that the statistic stays below `reached / n`, exactly.
///
/// # Source
///
/// Marsaglia, Tsang & Wang, *Evaluating Kolmogorov's Distribution*, Journal of Statistical Software 8, 2003.
fn by_matrix(n: u32, reached: f64) -> f64 {
    let k = reached.ceil() as usize;
    let rest = k as f64 - reached;
    let width = 2 * k - 1;
    let mut step = vec![0.0; width * width];
    for i in 0..width {
        for j in 0..width.min(i + 2) {
            step[i * width + j] = 1.0;
        }
    }
    for i in 0..width {
        step[i * width] -= rest.powi(i as i32 + 1);
        step[(width - 1) * width + i] -= rest.powi((width - i) as i32);
    }
    step[(width - 1) * width] += if 0.0 < 2.0 * rest - 1.0 { (2.0 * rest - 1.0).powi(width as i32) } else { 0.0 };
    let mut factorial = vec![1.0; width + 1];
    for i in 1..=width {
        factorial[i] = factorial[i - 1] * i as f64;
    }
    for i in 0..width {
        for j in 0..width.min(i + 1) {
            step[i * width + j] /= factorial[i + 1 - j];
        }
    }
    // Powers grow, so a power of ten is taken out whenever the middle is large.
    let (mut power, mut exponent) = (step, 0);
    let (mut product, mut product_exponent) = (identity(width), 0);
    let middle = (k - 1) * width + k - 1;
    let mut left = n;
    while 0 < left {
        if left % 2 == 1 {
            product = multiplied(&product, &power, width);
            product_exponent += exponent;
            rescale(&mut product, &mut product_exponent, middle);
        }
        power = multiplied(&power, &power, width);
        exponent *= 2;
        rescale(&mut power, &mut exponent, middle);
        left /= 2;
    }
    let mut chance = product[middle];
    for i in 1..=n {
        chance *= f64::from(i) / f64::from(n);
        if chance < 1e-140 {
            chance *= 1e140;
            product_exponent -= 140;
        }
    }
    chance * 10.0f64.powi(product_exponent)
}

fn identity(width: usize) -> Vec<f64> {
    (0..width * width).map(|idx| if idx / width == idx % width { 1.0 } else { 0.0 }).collect()
}

fn multiplied(one: &[f64], other: &[f64], width: usize) -> Vec<f64> {
    let mut product = vec![0.0; width * width];
    for i in 0..width {
        for k in 0..width {
            let factor = one[i * width + k];
            for j in 0..width {
                product[i * width + j] += factor * other[k * width + j];
            }
        }
    }
    product
}

fn rescale(matrix: &mut [f64], exponent: &mut i32, middle: usize) {
    if 1e140 < matrix[middle] {
        matrix.iter_mut().for_each(|value| *value *= 1e-140);
        *exponent += 140;
    }
}

/// Chance that the statistic stays below `x`, for large `n`.
///
/// # Source
///
/// Pelz & Good, *Approximating the Lower Tail-Areas of the Kolmogorov–Smirnov One-Sample Statistic*, JRSS B 38, 1976.
fn by_expansion(n: f64, x: f64) -> f64 {
    let z = n.sqrt() * x;
    let (z2, z4, z6) = (z.powi(2), z.powi(4), z.powi(6));
    let (pi2, pi4, pi6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let n_terms = (16.0 * z / PI).ceil() as i32;
    let mut sums = [0.0f64; 4];
    for k in (1..=n_terms).rev() {
        let m2 = f64::from((2 * k - 1).pow(2));
        let weight = (-pi2 * m2 / (8.0 * z2)).exp();
        sums[0] += weight;
        sums[1] += weight * (pi2 / 4.0 * m2 - z2);
        sums[2] += weight
            * (6.0 * z6 + 2.0 * z4 + pi2 / 4.0 * (2.0 * z4 - 5.0 * z2) * m2 + pi4 / 16.0 * (1.0 - 2.0 * z2) * m2 * m2);
        sums[3] += weight
            * (-30.0 * z6 - 90.0 * z4 * z4
                + pi2 / 4.0 * (135.0 * z4 - 96.0 * z6) * m2
                + pi4 / 16.0 * (212.0 * z4 - 60.0 * z2) * m2 * m2
                + pi6 / 64.0 * (5.0 - 30.0 * z2) * m2 * m2 * m2);
    }
    let mut parts = [sums[0] / z, sums[1] / (6.0 * z4), sums[2] / (72.0 * z.powi(7)), sums[3] / (6_480.0 * z.powi(10))];
    for k in (1..=n_terms).rev() {
        let k2 = f64::from(k * k);
        let weight = (-pi2 * k2 / (2.0 * z2)).exp() * k2;
        parts[2] -= weight * pi2 / (36.0 * z.powi(3));
        parts[3] += weight * pi2 * (3.0 * z2 - pi2 * k2) / (216.0 * z6);
    }
    TAU.sqrt() * (parts[0] + parts[1] / n.sqrt() + parts[2] / n + parts[3] / n.powf(1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_scipy_in_every_range() {
        // scipy.stats.kstwo.sf, version 1.17.
        for (n, x, expected) in [
            (5.0, 0.15, 0.9988),
            (5.0, 0.4, 0.3087999999999995),
            (10.0, 0.62, 0.0003098012662193357),
            (20.0, 0.03, 1.0),
            (50.0, 0.12, 0.4337679661310233),
            (50.0, 0.25, 0.0030657620198697444),
            (140.0, 0.1, 0.11353657290090946),
            (141.0, 0.08, 0.31084170879264117),
            (500.0, 0.02, 0.9859871786857471),
            (500.0, 0.05, 0.15866260223815387),
            (2_000.0, 0.01, 0.9871373661366796),
            (5_000.0, 0.012, 0.4639912166690192),
            (5_000.0, 0.03, 0.00024159234422666817),
            (16_667.0, 0.008, 0.23522803874331522),
            (100_000.0, 0.003, 0.3284563327726956),
            (200_000.0, 0.0021, 0.3405222001881183),
        ] {
            let chance = survival(n, x);
            assert!((chance - expected).abs() < 1e-9, "n {n} x {x}: {chance} against {expected}");
        }
    }
}
