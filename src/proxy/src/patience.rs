//! How long the other end is waited for: a while, and longer the more has already passed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What everybody is granted, however slow.
const GRACE: Duration = Duration::from_secs(10);
/// The longest pause, however much has passed.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The account of one direction of a connection: time spent waiting against bytes passed.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Below this rate a transfer is an attack or pointless. A telephone modem is 50 times as fast as the default.
    bytes_per_second: u64,
    bytes: u64,
    waited: Duration,
    /// Since when it waits.
    since: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, bytes: 0, waited: Duration::ZERO, since: None }
    }

    /// Notes that so many bytes passed.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
    }

    /// Notes that nothing passes now; says when patience ends.
    pub(crate) fn until(&mut self) -> Instant {
        let earned = Duration::from_secs(self.bytes.checked_div(self.bytes_per_second).unwrap_or(u64::MAX));
        let left = GRACE.saturating_add(earned).saturating_sub(self.waited).min(PAUSE_MAX);
        *self.since.get_or_insert_with(Instant::now) + left
    }
}

/// One timer for everything that a connection waits for. It rings seldom: a later time than the one it is set to
/// costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when the time has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, time: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(time)));
        if sleep.deadline() > time {
            sleep.as_mut().reset(time);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= time {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(time);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn ends_after(patience: &mut Patience) -> u64 {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        poll_fn(|cx| alarm.poll(cx, patience.until())).await;
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
            patience.until();
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

    #[tokio::test(start_paused = true)]
    async fn an_alarm_can_be_set_to_an_earlier_and_a_later_time() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        for time in [after(9), after(3), after(20)] {
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, time))).await.is_pending());
        }
        poll_fn(|cx| alarm.poll(cx, after(20))).await;
        assert_eq!(start.elapsed().as_secs(), 20);
    }
}
