//! How often an event is tried before it is given up.
//!
//! The number of attempts is durable. A failure that was seen raises it as the next incarnation starts, and so does an
//! end that nobody saw, with an event in hand; events are then taken one at a time up to that one, and an attempt is
//! stored before it is made.

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Attempts at an event that fails inside its agent.
    pub attempts_max: u32,
    /// Attempts at an event that seems to end the process.
    pub attempts_fatal_max: u32,
}

/// What to do with the event after the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handle it.
    Try,
    /// Make it a dead letter; it was tried this often.
    GiveUp {
        /// Attempts that failed.
        attempts: u32,
    },
}

/// What to do with the event after the cursor, when `attempt` (1 for the first) is about to begin. `fatal` tells that it
/// was in hand at an end that nobody saw, so that it may have taken the process with it.
pub fn verdict(settings: &Settings, attempt: u32, fatal: bool) -> Verdict {
    let max = if fatal { settings.attempts_fatal_max } else { settings.attempts_max };
    if attempt <= max { Verdict::Try } else { Verdict::GiveUp { attempts: attempt - 1 } }
}

/// The attempt that comes next at an event that may have been in hand at an end that nobody saw: that was the first.
pub const AFTER_UNSEEN_END: u32 = 2;

/// Attempts to store for the event after the new cursor.
///
/// `failed` tells that it was tried in this incarnation and failed; `alone` that it is claimed now, before it is
/// tried, because it may have ended an earlier one.
pub fn claimed(failed: bool, alone: bool) -> u32 {
    match (failed, alone) {
        (true, _) => 1,
        (false, true) => AFTER_UNSEEN_END,
        (false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { attempts_max: 5, attempts_fatal_max: 3 };

    #[test]
    fn an_event_is_tried_as_often_as_allowed_and_then_given_up() {
        assert_eq!(verdict(&SETTINGS, 1, false), Verdict::Try);
        assert_eq!(verdict(&SETTINGS, 5, false), Verdict::Try);
        assert_eq!(verdict(&SETTINGS, 6, false), Verdict::GiveUp { attempts: 5 });
    }

    #[test]
    fn an_event_that_ends_the_process_is_given_up_sooner() {
        assert_eq!(verdict(&SETTINGS, 3, true), Verdict::Try);
        assert_eq!(verdict(&SETTINGS, 4, true), Verdict::GiveUp { attempts: 3 });
    }

    #[test]
    fn the_next_event_is_claimed_only_when_it_was_or_will_be_tried_alone() {
        assert_eq!(claimed(false, false), 0);
        assert_eq!(claimed(true, true), 1);
        assert_eq!(claimed(false, true), 2);
    }
}
