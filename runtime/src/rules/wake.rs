//! At most one wake-up under way per host, and none lost.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a wake-up is under way. The host clears it *before* it reads the log: what is committed from then on
/// wakes anew.
#[derive(Debug, Default)]
pub struct Wake {
    sent: AtomicBool,
}

impl Wake {
    /// True when a wake-up is to be sent.
    pub fn ask(&self) -> bool {
        !self.sent.swap(true, Ordering::SeqCst)
    }

    /// It was taken, or could not be sent, or went away with the host: another one may be sent.
    pub fn clear(&self) {
        self.sent.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_are_coalesced_until_one_is_taken() {
        let wake = Wake::default();
        assert!(wake.ask());
        assert!(!wake.ask());
        wake.clear();
        assert!(wake.ask());
    }
}
