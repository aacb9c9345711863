//! Credits for work that is let in: by count and by bytes, taken before a body is read.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much may be under way at once.
#[derive(Clone, Debug)]
pub struct Credits {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The right to have one request under way. Given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Credits {
    /// Credits for `requests_max` requests of `bytes_max` bytes in all.
    pub fn new(requests_max: usize, bytes_max: u32) -> Self {
        Self { requests: Arc::new(Semaphore::new(requests_max)), bytes: Arc::new(Semaphore::new(bytes_max as usize)) }
    }

    /// Credit for one request of `bytes`, or `None` when there is none left now.
    pub fn take(&self, bytes: u32) -> Option<Permit> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Permit { _request: request, _bytes: bytes })
    }

    /// Credits left: requests, bytes.
    pub fn left(&self) -> (usize, usize) {
        (self.requests.available_permits(), self.bytes.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_ends_by_count_and_by_bytes_and_comes_back() {
        let credits = Credits::new(2, 100);
        let first = credits.take(60).expect("there is credit");
        assert!(credits.take(60).is_none(), "bytes are used up");
        assert_eq!(credits.left(), (1, 40), "a refused request takes no credit");
        let second = credits.take(40).expect("there is credit");
        assert!(credits.take(0).is_none(), "requests are used up");
        drop((first, second));
        assert_eq!(credits.left(), (2, 100));
    }
}
