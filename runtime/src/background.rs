//! Long computations that may wait: each on a thread of its own, which gets the time that nothing else wants.

use tokio::sync::oneshot;

/// The least urgent that Linux knows: a fiftieth or so of what a busy thread beside it gets.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// Computes `work` without taking the machine from readings and requests: under full load it becomes slow, and they do
/// not. Not for what must be there in time.
///
/// On systems other than Linux it competes with everything else.
///
/// # Errors
///
/// `work` panicked, or the system gives no thread.
pub async fn background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (told, result) = oneshot::channel();
    // A thread that is shared would keep its low priority: only root may raise one.
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        yield_to_others();
        // Whoever asked may have gone.
        drop(told.send(work()));
    })?;
    result.await.map_err(|_| anyhow::anyhow!("a computation in the background panicked"))
}

/// Makes the calling thread the last to be served.
fn yield_to_others() {
    // There, and only there, a thread has a niceness of its own.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a computation in the background competes with the work");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_in_the_background_is_served_last() -> anyhow::Result<()> {
        let niceness = || rustix::process::getpriority_process(None);
        let before = niceness()?;
        assert_eq!(background(niceness).await??, NICENESS);
        assert_eq!(niceness()?, before, "whoever asked is served as before");
        Ok(())
    }

    #[tokio::test]
    async fn a_panic_in_the_background_is_told() {
        let told = background(|| -> u8 { panic!("on purpose") }).await;
        assert!(told.is_err_and(|error| error.to_string().contains("panicked")));
    }
}
