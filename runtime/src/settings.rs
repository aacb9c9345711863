//! `[supervision]`: how failures are met.

use crate::rules::{attempts, backoff, checkpoint, restart};
use serde::Deserialize;
use std::time::Duration;

/// How failures are met, and how much is taken at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pause before the first restart that is not an event's fault, in milliseconds.
    pub backoff_first_ms: u64,
    /// Longest such pause, in milliseconds.
    pub backoff_max_ms: u64,
    /// Exits within the window that are still met with a restart.
    pub intensity_restarts_max: usize,
    /// Length of that window, in seconds.
    pub intensity_window_seconds: f64,
    /// Pause between attempts to start a quarantined agent, in seconds.
    pub quarantine_probe_seconds: f64,
    /// Attempts at an event that fails inside its agent.
    pub attempts_max: u32,
    /// Attempts at an event that seems to end the process.
    pub attempts_fatal_max: u32,
    /// Time that one event may take, in seconds.
    pub handle_deadline_seconds: f64,
    /// Events read at once.
    pub chunk_events_max: usize,
    /// Time after which what was handled is committed, in seconds.
    pub chunk_seconds_max: f64,
    /// Time that handling what came after the last checkpoint may have taken, in seconds.
    pub replay_seconds_max: f64,
    /// Events seen after the last checkpoint, at most.
    pub replay_events_max: u64,
    /// Dead letters of one agent that nobody has dealt with, at which it rests.
    pub dead_letters_max: u64,
    /// Time between two looks of the watchdog, in seconds.
    pub watchdog_seconds: f64,
}

impl Settings {
    pub(crate) fn attempts(&self) -> attempts::Settings {
        attempts::Settings { attempts_max: self.attempts_max, attempts_fatal_max: self.attempts_fatal_max }
    }

    pub(crate) fn restarts(&self) -> restart::Settings {
        restart::Settings {
            backoff: backoff::Settings { backoff_first_ms: self.backoff_first_ms, backoff_max_ms: self.backoff_max_ms },
            restarts_max: self.intensity_restarts_max,
            window: Duration::from_secs_f64(self.intensity_window_seconds),
            probe: Duration::from_secs_f64(self.quarantine_probe_seconds),
        }
    }

    pub(crate) fn handle_deadline(&self) -> Duration {
        Duration::from_secs_f64(self.handle_deadline_seconds)
    }

    pub(crate) fn chunk_time(&self) -> Duration {
        Duration::from_secs_f64(self.chunk_seconds_max)
    }

    pub(crate) fn checkpoints(&self) -> checkpoint::Settings {
        checkpoint::Settings {
            handling_max: Duration::from_secs_f64(self.replay_seconds_max),
            events_max: self.replay_events_max,
        }
    }

    pub(crate) fn watchdog_interval(&self) -> Duration {
        Duration::from_secs_f64(self.watchdog_seconds)
    }
}
