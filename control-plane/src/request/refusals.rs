//! The pace at which one connection is refused for want of room.
//!
//! To refuse a request costs a share of what it costs to take it, so that clients which come back at once would take the
//! machine from the work. The first refusal comes at once; the next on the same connection waits until the client was
//! told to come back. A request for which there is room is not held up.

use crate::api_error::RETRY_AFTER_SECONDS;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What clients are told to wait.
const PAUSE: Duration = Duration::from_secs(RETRY_AFTER_SECONDS);

/// The refusals of one connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    // A leaf: nothing is awaited while it is held.
    last: Arc<Mutex<Option<Instant>>>,
}

impl Refusals {
    /// Waits until the connection may be refused once more.
    pub(crate) async fn pace(&self) {
        let now = Instant::now();
        let at = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let at = last.map_or(now, |last| now.max(last + PAUSE));
            *last = Some(at);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_sooner_than_told_waits() {
        let (began, refusals) = (Instant::now(), Refusals::default());
        refusals.pace().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "the first comes at once");
        refusals.pace().await;
        assert_eq!(began.elapsed(), PAUSE);
        tokio::time::advance(2 * PAUSE).await;
        refusals.pace().await;
        assert_eq!(began.elapsed(), 3 * PAUSE, "one who waited is not held up");
        Refusals::default().pace().await;
        assert_eq!(began.elapsed(), 3 * PAUSE, "neither is another connection");
    }
}
