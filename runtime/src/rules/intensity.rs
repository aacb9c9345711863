//! OTP's restart intensity: more than so many exits in so long, and something is wrong for good.

use std::collections::VecDeque;
use std::time::Duration;

/// Exits of one child, as times since the start of the node.
#[derive(Clone, Debug, Default)]
pub struct Intensity {
    exits: VecDeque<Duration>,
}

impl Intensity {
    /// Notes an exit at `now`. True when it is one more than `restarts_max` within `window`.
    ///
    /// # Source
    ///
    /// Erlang/OTP design principles, supervisor behaviour, "Maximum Restart Intensity".
    pub fn exceeded(&mut self, now: Duration, restarts_max: usize, window: Duration) -> bool {
        self.forget(now, window);
        self.exits.push_back(now);
        restarts_max < self.exits.len()
    }

    /// Exits within `window` before `now`.
    pub fn recent(&mut self, now: Duration, window: Duration) -> u32 {
        self.forget(now, window);
        u32::try_from(self.exits.len()).unwrap_or(u32::MAX)
    }

    fn forget(&mut self, now: Duration, window: Duration) {
        while self.exits.front().is_some_and(|exit| *exit + window < now) {
            self.exits.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn the_sixth_exit_within_the_window_exceeds_five() {
        let mut intensity = Intensity::default();
        for second in 0..5 {
            assert!(!intensity.exceeded(Duration::from_secs(second), 5, WINDOW));
        }
        assert!(intensity.exceeded(Duration::from_secs(5), 5, WINDOW));
    }

    #[test]
    fn exits_that_are_long_past_do_not_count() {
        let mut intensity = Intensity::default();
        for minute in 0..100 {
            assert!(!intensity.exceeded(Duration::from_secs(minute * 61), 1, WINDOW));
        }
        assert_eq!(intensity.recent(Duration::from_secs(99 * 61), WINDOW), 1);
    }
}
