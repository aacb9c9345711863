//! A connection that a slow peer cannot hold: request heads must arrive in time, and what we write must be read.
//!
//! hyper times a whole wait for a request's head, idle time included. Here the head alone is timed, from its
//! first byte, so that an idle connection may stay open for longer than a head may take.

use runtime::Metrics;
use runtime::metrics::Limit;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the first byte of a request's head to its last.
    pub(crate) head: Duration,
    /// For it to read a piece of what it was sent.
    pub(crate) write: Duration,
}

/// Counts a connection's requests: those that began, and those under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    under_way: AtomicUsize,
}

/// A request under way. Over when dropped.
#[derive(Debug)]
pub(crate) struct Working(Busy);

impl Busy {
    /// A request's head was read.
    pub(crate) fn begin(&self) -> Working {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        Working(self.clone())
    }

    fn n_begun(&self) -> usize {
        self.0.begun.load(Ordering::SeqCst)
    }

    fn is_busy(&self) -> bool {
        self.0.under_way.load(Ordering::SeqCst) != 0
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream whose peer is held to the time-outs.
pub(crate) struct Timed<S> {
    stream: S,
    busy: Busy,
    patience: Patience,
    metrics: Metrics,
    /// Requests that had begun when the head was last timed.
    n_begun: usize,
    /// Runs from the first byte of a head until its request begins.
    head: Option<Pin<Box<Sleep>>>,
    /// Runs while a write waits for the peer.
    write: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// A connection whose first request must come within `patience.head` of now.
    pub(crate) fn new(stream: S, busy: Busy, patience: Patience, metrics: Metrics) -> Self {
        let head = Some(Box::pin(tokio::time::sleep(patience.head)));
        Self { stream, n_begun: busy.n_begun(), busy, patience, metrics, head, write: None }
    }

    /// Whether the time for a head has run out, after a read that brought something or not.
    fn head_is_late(&mut self, cx: &mut Context<'_>, has_bytes: bool) -> bool {
        let n_begun = self.busy.n_begun();
        if n_begun != self.n_begun {
            (self.n_begun, self.head) = (n_begun, None);
        }
        if has_bytes && !self.busy.is_busy() && self.head.is_none() {
            self.head = Some(Box::pin(tokio::time::sleep(self.patience.head)));
        }
        self.head.as_mut().is_some_and(|head| head.as_mut().poll(cx).is_ready())
    }

    /// Times a write that came to `outcome`.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write = None;
            return outcome;
        }
        let write = self.write.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience.write)));
        ready!(write.as_mut().poll(cx));
        self.metrics.limit_reached(Limit::WriteStall);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let n_before = buf.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.head_is_late(cx, n_before < buf.filled().len()) {
            this.metrics.limit_reached(Limit::HeaderReadTimeout);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head is late")));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    const HEAD: Duration = Duration::from_secs(10);

    fn timed<S>(stream: S, busy: Busy) -> Timed<S> {
        Timed::new(stream, busy, Patience { head: HEAD, write: 3 * HEAD }, Metrics::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_in_time_ends_the_connection() {
        // Given a peer that sends one byte of a head and no more,
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut ours = timed(ours, Busy::default());
        peer.write_all(b"G").await.expect("there is room");
        assert_eq!(ours.read_u8().await.expect("one byte"), b'G');
        // when we wait for the rest,
        let began = Instant::now();
        let error = ours.read_u8().await.expect_err("nothing comes");
        // then the wait ends when the time for a head is over.
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, HEAD.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_not_timed_and_the_next_head_is() {
        // Given a connection on which a request was answered,
        let (mut peer, ours) = tokio::io::duplex(64);
        let busy = Busy::default();
        let mut ours = timed(ours, busy.clone());
        peer.write_all(b"1").await.expect("there is room");
        ours.read_u8().await.expect("one byte");
        let working = busy.begin();
        assert!(tokio::time::timeout(Duration::from_secs(1), ours.read_u8()).await.is_err());
        drop(working);
        // when nothing is asked for longer than a head may take, then it stays open;
        assert!(tokio::time::timeout(3 * HEAD, ours.read_u8()).await.is_err(), "still waiting");
        // and when a second head begins and stops, then it ends.
        peer.write_all(b"2").await.expect("there is room");
        ours.read_u8().await.expect("one byte");
        let error = tokio::time::timeout(2 * HEAD, ours.read_u8()).await.expect("in time").expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_connection() {
        let (_peer, ours) = tokio::io::duplex(1);
        let mut ours = timed(ours, Busy::default());
        let error = ours.write_all(b"more than there is room for").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
