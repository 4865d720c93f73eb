//! The end of the daemon, when the API asks for it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Says that the daemon shall end, and what becomes of the servers.
#[derive(Default)]
pub struct Ending {
    asked: CancellationToken,
    /// 0: as configured, 1: leave them, 2: stop them.
    servers: AtomicU8,
    /// Whether it ends because something is wrong.
    failed: AtomicBool,
}

impl Ending {
    /// Asks for the end. `stop_servers` overrides the configuration. The first to ask decides.
    pub fn ask(&self, stop_servers: Option<bool>) {
        if self.asked.is_cancelled() {
            return;
        }
        let servers = stop_servers.map_or(0, |stop| if stop { 2 } else { 1 });
        self.servers.store(servers, Ordering::Release);
        self.asked.cancel();
    }

    /// Asks for the end because something is wrong that a new start may mend. Servers go on.
    pub fn give_up(&self) {
        self.failed.store(true, Ordering::Release);
        self.ask(Some(false));
    }

    /// Whether it ends because something is wrong.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Whether to stop all servers at the end; `configured` if nobody said anything else.
    pub fn stops_servers(&self, configured: bool) -> bool {
        match self.servers.load(Ordering::Acquire) {
            0 => configured,
            said => said == 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_to_ask_decides_what_becomes_of_the_servers() {
        let ending = Ending::default();
        assert!(ending.stops_servers(true) && !ending.stops_servers(false));
        ending.ask(Some(false));
        ending.ask(Some(true));
        ending.asked().await;
        assert!(!ending.stops_servers(true));
        let other = Ending::default();
        other.ask(None);
        assert!(other.stops_servers(true) && !other.stops_servers(false));
    }
}
