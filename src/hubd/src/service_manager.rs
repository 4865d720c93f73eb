//! What systemd is told (sd_notify(3)), if it started us. Nothing depends on its hearing it.

use std::time::Duration;

use sd_notify::NotifyState;

/// hubd listens, and every server that ran before is reachable.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`reloaded`] ends it.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The reload is over, with or without success.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// hubd ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog twice in each of its periods (`WatchdogSec=`) that requests would be answered: a runtime that
/// hangs does not get here. Returns at once where there is none.
pub async fn keep_watchdog_quiet() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO) else {
        return;
    };
    let mut tick = tokio::time::interval(period / 2);
    loop {
        tick.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Sends the states in one message.
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}
