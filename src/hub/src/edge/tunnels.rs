//! Open WebSockets of guarded servers: who may not use a server any more loses them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::Place;
use super::credential::Credential;
use crate::Hub;

/// How often all of them are looked at although nobody wrote to the database: cookies, tokens and shares end by
/// themselves.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// One open tunnel.
struct Tunnel {
    /// Gone when the tunnel is.
    end: Weak<CancellationToken>,
    credential: Credential,
    place: Arc<Place>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Tunnels(Mutex<Open>);

#[derive(Default)]
struct Open {
    all: Vec<Tunnel>,
    /// When they were looked at last: the database's generation then, and the time.
    looked: Option<(u64, SystemTime)>,
}

impl Tunnels {
    /// Notes a tunnel. What comes back closes it.
    pub fn open(&self, credential: Credential, place: &Arc<Place>) -> Arc<CancellationToken> {
        let end = Arc::<CancellationToken>::default();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are cleared when they would make the list grow.
        if open.all.len() == open.all.capacity() {
            open.all.retain(|tunnel| tunnel.end.strong_count() > 0);
        }
        open.all.push(Tunnel { end: Arc::downgrade(&end), credential, place: Arc::clone(place) });
        end
    }
}

impl Hub {
    /// Does so on a thread that may wait for the database.
    pub(crate) fn look_at_tunnels_soon(self: &Arc<Self>) {
        let hub = Arc::clone(self);
        tokio::task::spawn_blocking(move || hub.look_at_tunnels());
    }

    /// Closes the WebSockets of those who may not use their server any more, if that can have changed.
    pub(crate) fn look_at_tunnels(&self) {
        if let Err(error) = self.store.notice_changes() {
            tracing::warn!(%error, "cannot look for changes of the database");
        }
        let (generation, now) = (self.store.generation(), self.clock.now());
        let mut all = {
            let mut open = self.edge.tunnels.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_recent = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age < LOOK_EVERY);
            if open.looked.is_some_and(|(looked, time)| looked == generation && is_recent(time)) {
                return;
            }
            open.looked = Some((generation, now));
            std::mem::take(&mut open.all)
        };
        all.retain(|tunnel| {
            let Some(end) = tunnel.end.upgrade() else { return false };
            let lives = self.still_lets_in(&tunnel.credential, &tunnel.place);
            if !lives {
                end.cancel();
            }
            lives
        });
        self.edge.tunnels.0.lock().unwrap_or_else(PoisonError::into_inner).all.append(&mut all);
    }
}
