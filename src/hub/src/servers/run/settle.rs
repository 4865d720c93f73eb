//! The end of a run: why it ended, its rows, and what is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::Failure;
use super::super::launch::with_store;
use super::super::names::Which;
use super::super::room;
use super::{End, Phase, Run};
use crate::Hub;

/// How long the hub lives on when too many starts have failed, as in JupyterHub.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Run {
    /// Rows and state of a run that is over.
    pub(super) async fn settle(mut self, end: Option<End>) {
        let last = self.remove_route();
        self.note_activity(last).await;
        self.conclude(end);
        self.look_at_home().await;
        self.tell();
        if let Err(error) = clean(&self.hub, &self.server.which).await {
            tracing::error!("cannot clean the records of {}, trying again later: {error}", self.server.which);
            self.hub.servers.remember_unclean(self.server.which.clone());
        }
        if let Some(failure) = self.failure.as_ref().filter(|_| !self.served) {
            let status = if failure.status < 500 { "failure" } else { "error" };
            self.hub.metrics.start(status, &failure.code, self.began.elapsed());
            if status == "error" {
                self.count_failure();
            }
        }
        self.server.stopped(self.failure.take());
        self.hub.servers.forget(&self.server);
    }

    /// One more start that failed; with `consecutive_failure_limit` the hub ends when there are too many in a row.
    fn count_failure(&self) {
        let failures = self.hub.servers.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let limit = self.spawner.consecutive_failure_limit;
        if limit == 0 || failures < limit {
            if limit > 0 && failures > 1 {
                tracing::warn!(
                    "{failures} consecutive spawns failed.  Hub will exit if failure count reaches {limit} before succeeding"
                );
            }
            return;
        }
        tracing::error!("Aborting due to {failures} consecutive spawn failures");
        let hub = Arc::clone(&self.hub);
        tokio::spawn(async move {
            // Whoever waits for this start hears why it failed.
            tokio::time::sleep(LAST_WORDS).await;
            hub.ending.give_up();
        });
    }

    /// Says how full a full home is.
    async fn look_at_home(&mut self) {
        if let (Some(failure), Some(request)) = (&mut self.failure, &self.request)
            && failure.is_home_full()
            && let Some(room) = room::of_full_home(&self.hub, request).await
        {
            failure.tell_room(room);
        }
    }

    /// Why it ended.
    fn conclude(&mut self, end: Option<End>) {
        let which = &self.server.which;
        match (end, &self.phase) {
            (Some(End::Exited(exited)), Phase::Waiting) if !exited.stopped => {
                self.failure = Some(Failure::exited_early(&exited));
            }
            (Some(End::Exited(exited)), Phase::Serving) => {
                let code = exited.code.or(exited.signal.map(|signal| -signal));
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                tracing::warn!("User {which} server stopped, with exit code: {code}");
                // Status 0 is somebody who chose "Shut Down" in the server's own menu.
                if !exited.stopped && exited.code != Some(0) {
                    self.failure = Some(Failure::died(&exited));
                }
            }
            (Some(End::Exited(exited)), _) => {
                if let Some(failure) = &mut self.failure {
                    failure.log = exited.log;
                } else if let Some(began) = self.stop_began {
                    let took = began.elapsed();
                    tracing::info!("User {which} server took {:.3} seconds to stop", took.as_secs_f64());
                    self.hub.metrics.stop(took);
                    self.hub.server_event("stop", which.user.as_str(), which.server.as_str());
                }
            }
            (Some(End::Lost(error)), _) => self.failure = Some(Failure::lost(&error)),
            (Some(End::Immortal), _) => {
                tracing::error!("User {which} server never died although hubd-helper was asked to stop it");
            }
            (None, _) => {}
        }
        if self.orders.stop.is_cancelled() {
            self.failure = None;
        }
    }

    /// Tells a failure once, in the log.
    fn tell(&self) {
        if let Some(failure) = &self.failure {
            failure.tell(&self.server.which, &self.place, &self.spawner);
        }
    }
}

/// Cleans the rows of a server that has ended.
pub(in crate::servers) async fn clean(hub: &Arc<Hub>, which: &Which) -> Result<(), String> {
    let which = which.clone();
    with_store(hub, move |hub| {
        hub.store.server_stopped(which.user.as_str(), which.server.as_str(), hub.clock.now())
    })
    .await
}
