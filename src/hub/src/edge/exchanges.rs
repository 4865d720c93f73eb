//! Requests that guarded servers answer, and open WebSockets: who may not use a server any more loses them, however
//! long they would have gone on.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::Place;
use super::credential::Credential;
use crate::Hub;

/// How often all of them are looked at although nobody wrote to the database: cookies, tokens and shares end by
/// themselves.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A request under way, or an open WebSocket.
struct Exchange {
    /// Gone when the exchange is.
    end: Weak<CancellationToken>,
    credential: Credential,
    place: Arc<Place>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Exchanges(Mutex<Open>);

#[derive(Default)]
struct Open {
    all: Vec<Exchange>,
    /// When they were looked at last: the database's generation then, and the time.
    looked: Option<(u64, SystemTime)>,
}

impl Exchanges {
    /// Notes an exchange. What comes back ends it.
    pub fn open(&self, credential: Credential, place: &Arc<Place>) -> Arc<CancellationToken> {
        let end = Arc::<CancellationToken>::default();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are cleared when they would make the list grow.
        if open.all.len() == open.all.capacity() {
            open.all.retain(|exchange| exchange.end.strong_count() > 0);
        }
        open.all.push(Exchange { end: Arc::downgrade(&end), credential, place: Arc::clone(place) });
        end
    }
}

impl Hub {
    /// Does so on a thread that may wait for the database.
    pub(crate) fn look_at_exchanges_soon(self: &Arc<Self>) {
        let hub = Arc::clone(self);
        tokio::task::spawn_blocking(move || hub.look_at_exchanges());
    }

    /// Ends what those have open who may not use their server any more, if that can have changed.
    pub(crate) fn look_at_exchanges(&self) {
        if let Err(error) = self.store.notice_changes() {
            tracing::warn!(%error, "cannot look for changes of the database");
        }
        let (generation, now) = (self.store.generation(), self.clock.now());
        let mut all = {
            let mut open = self.edge.exchanges.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_recent = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age < LOOK_EVERY);
            if open.looked.is_some_and(|(looked, time)| looked == generation && is_recent(time)) {
                return;
            }
            open.looked = Some((generation, now));
            std::mem::take(&mut open.all)
        };
        all.retain(|exchange| {
            let Some(end) = exchange.end.upgrade() else { return false };
            let lives = self.still_lets_in(&exchange.credential, &exchange.place);
            if !lives {
                end.cancel();
            }
            lives
        });
        self.edge.exchanges.0.lock().unwrap_or_else(PoisonError::into_inner).all.append(&mut all);
    }
}
