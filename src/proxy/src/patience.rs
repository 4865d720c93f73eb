//! How long a connection may wait for its other end: a while, and longer the more has already passed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What everybody is granted, however slow.
const GRACE: Duration = Duration::from_secs(10);
/// The longest pause, however much has passed.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The account of one direction of a connection: time spent waiting against bytes passed.
pub(crate) struct Patience {
    /// Below this rate a transfer is an attack or pointless. A telephone modem is 50 times as fast as the default.
    bytes_per_second: u64,
    bytes: u64,
    waited: Duration,
    /// Since when it waits, and the end of patience.
    wait: Option<Box<(Instant, Pin<Box<Sleep>>)>>,
}

impl Patience {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, bytes: 0, waited: Duration::ZERO, wait: None }
    }

    /// Passes a result on; one that is pending for too long becomes an error.
    pub(crate) fn watch(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.passed(bytes);
                result
            }
            Poll::Ready(Err(_)) => result,
            Poll::Pending => self.poll_over(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Notes that so many bytes passed.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(wait) = self.wait.take() {
            self.waited = self.waited.saturating_add(wait.0.elapsed());
        }
    }

    /// How many bytes passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ready when patience has ended.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left();
        let wait =
            self.wait.get_or_insert_with(|| Box::new((Instant::now(), Box::pin(tokio::time::sleep(left)))));
        wait.1.as_mut().poll(cx)
    }

    fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.bytes.checked_div(self.bytes_per_second).unwrap_or(u64::MAX));
        GRACE.saturating_add(earned).saturating_sub(self.waited).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn ends_after(patience: &mut Patience) -> u64 {
        let start = Instant::now();
        poll_fn(|cx| patience.poll_over(cx)).await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_cut_after_the_grace_time() {
        assert_eq!(ends_after(&mut Patience::new(100)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_now_and_then_buys_no_time() {
        let mut patience = Patience::new(100);
        for _ in 0..3 {
            assert!(poll_fn(|cx| Poll::Ready(patience.poll_over(cx))).await.is_pending());
            tokio::time::advance(Duration::from_secs(3)).await;
            patience.passed(1);
        }
        assert_eq!(ends_after(&mut patience).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_may_pause_but_not_for_ever() {
        let mut patience = Patience::new(100);
        patience.passed(10_000_000);
        assert_eq!(ends_after(&mut patience).await, 60);
    }
}
