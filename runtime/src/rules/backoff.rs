//! How long a child stays down before it is started again.

use std::time::Duration;

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Pause before the first restart, in milliseconds.
    pub backoff_first_ms: u64,
    /// Longest pause, in milliseconds.
    pub backoff_max_ms: u64,
}

/// Pause before a restart that is not an event's fault: doubles with each of `exits` (1 for the
/// first) up to the longest one, times a jitter of up to a fifth either way.
///
/// `chance` is uniform in 0..1.
pub fn restart(settings: &Settings, exits: u32, chance: f64) -> Duration {
    let doubled = settings.backoff_first_ms.saturating_mul(1_u64 << exits.saturating_sub(1).min(20));
    let millis = doubled.min(settings.backoff_max_ms) as f64;
    Duration::from_secs_f64(millis * (0.8 + 0.4 * chance) / 1_000.0)
}

/// Pause before an event is tried again: all retries together stay below one second.
pub fn retry(attempt: u32) -> Duration {
    const MILLIS: [u64; 5] = [10, 30, 100, 250, 400];
    let idx = (attempt.saturating_sub(1) as usize).min(MILLIS.len() - 1);
    Duration::from_millis(MILLIS[idx])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { backoff_first_ms: 100, backoff_max_ms: 30_000 };

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let middle = |exits| restart(&SETTINGS, exits, 0.5).as_millis();
        assert_eq!([middle(1), middle(2), middle(3)], [100, 200, 400]);
        assert_eq!(middle(40), 30_000);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(restart(&SETTINGS, 1, 0.0).as_millis(), 80);
        assert!(restart(&SETTINGS, 1, 0.999).as_millis() <= 120);
    }

    #[test]
    fn all_retries_of_an_event_together_take_less_than_a_second() {
        let total: Duration = (1..=5).map(retry).sum();
        assert!(total < Duration::from_secs(1), "{total:?}");
    }
}
