//! Waits for what agents make of a request, by following the log.

use domain::{CorrelationId, Envelope, Seq};
use persistence::{Log, StoreError};
use tokio::time::Instant;

/// Events read at once.
const CHUNK: usize = 256;
/// Events of one request that are looked through when it is asked about again.
const REQUEST_EVENTS_MAX: usize = 10_000;

/// The first thing that `pick` finds among the events of `correlation` after the place `after`; `None` when there is
/// none by `deadline`.
///
/// `pick` sees each event once, in log order.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn first<T>(
    log: &Log,
    correlation: &CorrelationId,
    after: Seq,
    deadline: Instant,
    mut pick: impl FnMut(&Envelope) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let mut changes = log.changes();
    let mut cursor = after;
    loop {
        // What is committed from here on shows as another change.
        changes.mark_unchanged();
        loop {
            let events = log.after(cursor, CHUNK).await?;
            let Some(last) = events.last() else { break };
            cursor = last.seq;
            let found = events.iter().filter(|event| event.correlation == *correlation).find_map(|event| pick(event));
            if found.is_some() {
                return Ok(found);
            }
        }
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ok(None),
        }
    }
}

/// As [`first`], when the events may lie far back: they are looked up before the log is followed.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn first_ever<T>(
    log: &Log,
    correlation: &CorrelationId,
    deadline: Instant,
    mut pick: impl FnMut(&Envelope) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let head = log.head();
    let events = log.by_correlation(correlation, REQUEST_EVENTS_MAX).await?;
    let found = events.iter().filter(|event| event.seq <= head).find_map(&mut pick);
    match found {
        Some(found) => Ok(Some(found)),
        None => first(log, correlation, head, deadline, pick).await,
    }
}
