//! What the end of an incarnation means for the next one: whom it is charged to, and how long the pause is.

use super::backoff;
use super::intensity::Intensity;
use domain::Seq;
use std::time::Duration;

/// Pause while the store is away.
const UNAVAILABLE_PAUSE: Duration = Duration::from_millis(200);

/// Why an incarnation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// While it handled an event, at this attempt.
    Event {
        /// 1 for the first.
        attempt: u32,
    },
    /// What it said about several events was refused together: the next one takes them one at a time up to this one.
    Together {
        /// The last of them.
        until: Seq,
    },
    /// The store could not be reached.
    Unavailable,
    /// An operator wished it.
    Asked,
    /// Anything else, or unknown: it counts towards the restart intensity.
    #[default]
    Other,
}

/// What the last incarnation left behind for the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bequest {
    exit: Exit,
    /// It ended with an event that failed, so the next start is a further attempt at it.
    charged: bool,
    /// One event at a time up to here.
    singly_until: Seq,
}

impl Bequest {
    /// Leaves word why an incarnation is about to end.
    pub fn leave(&mut self, exit: Exit) {
        self.exit = exit;
        // A store that is away, or an operator, says nothing about the event, and forgets nothing about it either.
        let is_silent = matches!(exit, Exit::Unavailable | Exit::Asked);
        self.charged = matches!(exit, Exit::Event { .. }) || self.charged && is_silent;
        if let Exit::Together { until } = exit {
            self.singly_until = until;
        }
    }

    /// Up to where events are taken one at a time, since what was said about several was refused.
    pub fn singly_until(&self) -> Seq {
        self.singly_until
    }

    /// Whether the start that follows is a further attempt at an event that failed.
    pub fn charged(&self) -> bool {
        self.charged
    }

    /// The start was stored, with the attempt if it was one.
    pub fn settle(&mut self) {
        self.charged = false;
    }

    /// Why the last incarnation ended; asked once.
    pub fn take_exit(&mut self) -> Exit {
        std::mem::take(&mut self.exit)
    }
}

/// How restarts are paced.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Pauses that grow.
    pub backoff: backoff::Settings,
    /// Exits within the window that are still met with a restart.
    pub restarts_max: usize,
    /// Length of that window.
    pub window: Duration,
    /// Pause between attempts to start a child that exceeded the intensity.
    pub probe: Duration,
}

/// When the next incarnation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After this pause.
    After(Duration),
    /// It fails too often; it is tried again after this pause.
    Quarantine(Duration),
}

/// When to start a child again that ended at `now` with `exit`. `chance` is uniform in 0..1.
pub fn restart(settings: &Settings, exit: Exit, exits: &mut Intensity, now: Duration, chance: f64) -> Restart {
    match exit {
        // Exits that are charged to an event do not count: the event is given up before they become many.
        Exit::Event { attempt } => Restart::After(backoff::retry(attempt)),
        Exit::Together { .. } | Exit::Asked => Restart::After(Duration::ZERO),
        Exit::Unavailable => Restart::After(UNAVAILABLE_PAUSE),
        Exit::Other if exits.exceeded(now, settings.restarts_max, settings.window) => {
            Restart::Quarantine(settings.probe)
        }
        Exit::Other => Restart::After(backoff::restart(&settings.backoff, exits.recent(now, settings.window), chance)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        backoff: backoff::Settings { backoff_first_ms: 100, backoff_max_ms: 30_000 },
        restarts_max: 2,
        window: Duration::from_secs(60),
        probe: Duration::from_secs(60),
    };

    #[test]
    fn only_exits_that_are_no_events_fault_lead_to_quarantine() {
        let mut exits = Intensity::default();
        let mut ended = |exit| restart(&SETTINGS, exit, &mut exits, Duration::from_secs(1), 0.5);
        for attempt in 1..=5 {
            assert_eq!(ended(Exit::Event { attempt }), Restart::After(backoff::retry(attempt)));
            assert_eq!(ended(Exit::Unavailable), Restart::After(UNAVAILABLE_PAUSE));
            assert_eq!(ended(Exit::Asked), Restart::After(Duration::ZERO));
            assert_eq!(ended(Exit::Together { until: Seq(9) }), Restart::After(Duration::ZERO));
        }
        assert_eq!(ended(Exit::Other), Restart::After(Duration::from_millis(100)));
        assert_eq!(ended(Exit::Other), Restart::After(Duration::from_millis(200)));
        assert_eq!(ended(Exit::Other), Restart::Quarantine(SETTINGS.probe));
    }

    #[test]
    fn a_charge_stands_until_its_start_is_stored() {
        let mut bequest = Bequest::default();
        bequest.leave(Exit::Event { attempt: 2 });
        assert_eq!(bequest.take_exit(), Exit::Event { attempt: 2 });
        bequest.leave(Exit::Unavailable);
        assert!(bequest.charged(), "the store was away when it was to be stored");
        bequest.settle();
        bequest.leave(Exit::Unavailable);
        assert!(!bequest.charged());
        bequest.leave(Exit::Event { attempt: 1 });
        bequest.leave(Exit::Other);
        assert!(!bequest.charged(), "an end in between, say in replay, speaks against no event");
    }
}
