//! Connections to one user server that wait to be used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use crate::body::Upload;
use crate::routes::Route;

/// Enough for a browser's burst; each costs two descriptors and some 10 KiB.
const IDLE_MAX: usize = 256;
/// Shorter than the idle time-outs of the usual servers, so that they rarely close first.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Idle connections of one route, the most recently used one on top.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    /// The route is gone: nothing is kept any more.
    closed: bool,
    /// A task looks after the old ones.
    swept: bool,
}

struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    /// Takes a connection that can carry a request now.
    pub(crate) async fn take(&self) -> Option<SendRequest<Upload>> {
        loop {
            let mut sender = self.lock().idle.pop()?.sender;
            // The answer was read to its end, so this waits only for the connection's task to notice.
            if !sender.is_closed() && (sender.is_ready() || sender.ready().await.is_ok()) {
                return Some(sender);
            }
        }
    }

    /// Gives a connection back whose last answer was read to its end.
    pub(crate) fn give(route: &Arc<Route>, sender: SendRequest<Upload>) {
        if sender.is_closed() {
            return;
        }
        let mut state = route.pool.lock();
        if state.closed || state.idle.len() >= IDLE_MAX {
            return;
        }
        state.idle.push(Idle { sender, since: Instant::now() });
        if !state.swept {
            state.swept = true;
            tokio::spawn(sweep(route.clone()));
        }
    }

    /// Closes all, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that were idle too long; ends when none is left.
async fn sweep(route: Arc<Route>) {
    loop {
        tokio::time::sleep(IDLE_TIME / 2).await;
        let mut state = route.pool.lock();
        state.idle.retain(|idle| idle.since.elapsed() < IDLE_TIME && !idle.sender.is_closed());
        if state.idle.is_empty() {
            state.idle = Vec::new();
            state.swept = false;
            return;
        }
    }
}
