//! Chance with a name: each source of it is its own stream, so that adding a sensor changes no other's values.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// The stream called `name` of `seed`.
///
/// # Source
///
/// Names are hashed with 64-bit FNV-1a (Fowler, Noll, Vo).
pub(crate) fn stream(seed: u64, name: &str) -> Pcg64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = seed.to_le_bytes().into_iter().chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
    Pcg64::seed_from_u64(hash)
}

/// One draw from the normal distribution with mean 0 and standard deviation 1.
///
/// # Source
///
/// Box & Muller, *A Note on the Generation of Random Normal Deviates*, 1958.
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    // In (0, 1], because the logarithm of 0 is no number.
    let radius: f64 = 1.0 - rng.random::<f64>();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_seed_and_its_name_only() {
        let first = |seed, name| stream(seed, name).random::<u64>();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn normal_draws_have_the_moments_of_the_normal_distribution() {
        let mut rng = stream(7, "moments");
        let draws: Vec<f64> = (0..100_000).map(|_| normal(&mut rng)).collect();
        let moment = |power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.015, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.15, "fourth moment {}", moment(4));
    }
}
