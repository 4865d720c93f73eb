//! What happens regularly while the hub runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::State;
use super::launch::with_store;
use super::run::clean;
use crate::Hub;

/// How often the sessions directory is compared with what the hub knows. A session must be seen
/// twice, and what a killed hub left half done has to be settled within 5 s.
const RESCAN_EVERY: Duration = Duration::from_secs(2);
/// How often activity is carried into the database: JupyterHub's `last_activity_interval`.
const ACTIVITY_EVERY: Duration = Duration::from_secs(300);

impl Hub {
    /// Watches over running servers until `stop`: death is noticed through the session's connection,
    /// activity is carried from the proxy into the database every five minutes.
    pub async fn watch_servers(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(RESCAN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unknown = HashMap::new();
        let mut activity_at = Instant::now() + ACTIVITY_EVERY;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.rescan(&mut unknown).await;
            self.clean_records().await;
            self.look_at_exchanges_soon();
            self.logins.sweep();
            self.servers.sweep();
            if Instant::now() >= activity_at {
                activity_at = Instant::now() + ACTIVITY_EVERY;
                self.record_activity().await;
            }
        }
        self.record_activity().await;
    }

    /// Cleans records that could not be cleaned when their servers ended, unless they run again: a
    /// start has replaced the records then, or will.
    pub(super) async fn clean_records(self: &Arc<Self>) {
        for which in self.servers.take_unclean() {
            let failure = match self.server(&which.user, &which.server).state {
                State::Stopped { failure } => failure,
                _ => continue,
            };
            // Nobody can start it while its run is taken; that is for one write only.
            let Some((server, _orders)) = self.servers.begin(which.clone()) else { continue };
            if clean(self, &which).await.is_err() {
                self.servers.remember_unclean(which);
            }
            server.stopped(failure.map(Arc::unwrap_or_clone));
            self.servers.forget(&server);
        }
    }

    /// Carries what the proxy knows of activity into the database.
    pub(super) async fn record_activity(self: &Arc<Self>) {
        let mut activity = Vec::new();
        for server in self.servers.all() {
            let which = &server.which;
            if server.snapshot().state == State::Ready
                && let Some(last) = self.routes.last_activity(&which.route(&self.settings))
            {
                activity.push((which.user.to_string(), which.server.to_string(), last));
            }
        }
        if activity.is_empty() {
            return;
        }
        if let Err(error) = with_store(self, move |hub| hub.store.record_activity(&activity)).await {
            tracing::error!("cannot record activity: {error}");
        }
    }

    /// Stops all servers, for `cleanup_servers`; waits at most `limit`.
    pub async fn stop_all(self: &Arc<Self>, limit: Duration) {
        let deadline = Instant::now() + limit;
        let servers = self.servers.all();
        for server in &servers {
            server.stop();
        }
        for server in servers {
            let mut live = server.watch();
            let stopped = live.wait_for(|live| !live.snapshot.state.is_active());
            if tokio::time::timeout_at(deadline, stopped).await.is_err() {
                tracing::error!(
                    "Failed to stop {}: it did not end within {} seconds",
                    server.which,
                    limit.as_secs()
                );
            }
        }
    }
}
