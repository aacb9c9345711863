//! What a count of successes says of the chance behind it.

/// Quantile of the standard normal distribution that bounds 95 % around its middle.
const Z_95: f64 = 1.959_963_984_540_054;

/// Confidence of [`wilson`]'s interval.
pub const LEVEL: f64 = 0.95;

/// Interval for a chance, from 0 to 1, of which `successes` of `trials` were seen; 95 % sure.
///
/// Without trials it is the whole of 0 to 1.
///
/// # Source
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", *Journal of the American
/// Statistical Association* 22 (1927), 209–212: the score interval.
pub fn wilson(successes: u32, trials: u32) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, z2) = (f64::from(trials), Z_95 * Z_95);
    let share = f64::from(successes.min(trials)) / n;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_published_one() {
        // The last one is the worked example of R. G. Newcombe, Statistics in Medicine 17 (1998), 857–872, table I;
        // none of n reaches to z² / (n + z²).
        for (successes, trials, low, high) in [
            (0, 3, 0.0, 0.561_497),
            (3, 3, 0.438_503, 1.0),
            (12, 14, 0.600_586, 0.959_907),
            (81, 263, 0.255_289, 0.366_210),
        ] {
            let (found_low, found_high) = wilson(successes, trials);
            assert!((found_low - low).abs() < 5e-5, "{successes} of {trials}: {found_low}");
            assert!((found_high - high).abs() < 5e-5, "{successes} of {trials}: {found_high}");
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn more_trials_make_it_narrower_and_it_always_holds_the_share() {
        let mut width = 1.0;
        for n in [1, 4, 16, 64, 256] {
            let (low, high) = wilson(3 * n / 4, n);
            let share = f64::from(3 * n / 4) / f64::from(n);
            assert!(low <= share && share <= high && high - low < width, "{n}: {low} to {high}");
            width = high - low;
        }
    }
}
