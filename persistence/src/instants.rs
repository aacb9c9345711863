//! Instants as they stand in columns: whole microseconds since the epoch.

use crate::StoreError;
use domain::Timestamp;

/// Microseconds since the epoch; what is finer is cut off.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant that is `micros` after the epoch.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when no calendar reaches that far.
pub(crate) fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| StoreError::Corrupt(format!("instant {micros}: {error}")))
}

/// `at` as it will be read back.
pub(crate) fn rounded(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("cutting an instant's fraction keeps it in range")
}
