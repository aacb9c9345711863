//! When a state is saved: often enough that a restart is short, and not so often that saving is all an agent does.

use std::time::Duration;

/// Handling takes at least so many times as long as saving does. A state that takes long to save is saved less often,
/// and its restarts take longer.
const SAVING_SHARE: u32 = 10;

/// How much a restart may have to do again.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time that handling what came after the last checkpoint may have taken.
    pub handling_max: Duration,
    /// Events after it that may have been seen, whether or not the agent heard them.
    pub events_max: u64,
}

/// What came after the last checkpoint: what a restart would have to read and to handle again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since {
    /// Time that handling took.
    pub handling: Duration,
    /// Events that were seen.
    pub events: u64,
}

/// Whether the state is to be saved now. `saving` is the time that it took the last time.
pub fn is_due(settings: &Settings, since: Since, saving: Duration) -> bool {
    let Since { handling, events } = since;
    settings.handling_max.max(saving * SAVING_SHARE) <= handling || settings.events_max <= events
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { handling_max: Duration::from_millis(250), events_max: 10_000 };

    fn due(handling_ms: u64, events: u64, saving_ms: u64) -> bool {
        let since = Since { handling: Duration::from_millis(handling_ms), events };
        is_due(&SETTINGS, since, Duration::from_millis(saving_ms))
    }

    #[test]
    fn what_would_take_long_to_handle_again_is_saved() {
        assert!(!due(249, 9_999, 1));
        assert!(due(250, 0, 1));
    }

    #[test]
    fn a_state_that_takes_long_to_save_is_saved_less_often() {
        assert!(!due(999, 0, 100));
        assert!(due(1_000, 0, 100));
    }

    #[test]
    fn events_that_an_agent_never_heard_are_not_read_again_for_ever() {
        assert!(due(0, 10_000, 100));
    }
}
