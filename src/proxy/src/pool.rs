//! Connections to servers that wait to be used again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::Target;
use crate::flow::Link;

/// Enough for a browser's burst; each costs a descriptor and less than 1 KiB.
const IDLE_MAX: usize = 256;
/// Shorter than the idle time-outs of the usual servers, so that they rarely close first.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often the idle ones are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The pools of a route table: routes with the same target, which names the uid that was checked, share one.
///
/// With one each, thousands of routes to one TCP server would use up the ports of this host.
#[derive(Default)]
pub(crate) struct Pools(HashMap<Target, (Arc<Pool>, usize)>);

impl Pools {
    /// The pool for one more route.
    pub(crate) fn join(&mut self, target: &Target) -> Arc<Pool> {
        let (pool, routes) = self.0.entry(target.clone()).or_default();
        *routes += 1;
        pool.clone()
    }

    /// A route is gone; the last one closes its pool.
    pub(crate) fn leave(&mut self, target: &Target) {
        let Entry::Occupied(mut entry) = self.0.entry(target.clone()) else { return };
        let (pool, routes) = entry.get_mut();
        *routes -= 1;
        if *routes == 0 {
            pool.close();
            entry.remove();
        }
    }
}

/// Idle connections to one target, the most recently used one on top.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    /// No route leads there any more: nothing is kept.
    closed: bool,
    /// A task looks after the old ones.
    swept: bool,
}

struct Idle {
    link: Link,
    since: Instant,
}

impl Pool {
    /// Takes a connection that can carry a request now, as far as can be known.
    pub(crate) fn take(&self) -> Option<Link> {
        loop {
            let mut link = self.lock().idle.pop()?.link;
            if is_quiet(&mut link, &mut Context::from_waker(Waker::noop())) {
                return Some(link);
            }
        }
    }

    /// Gives a connection back whose last answer was read to its end.
    pub(crate) fn give(pool: &Arc<Self>, mut link: Link) {
        if !link.input.is_empty() {
            return;
        }
        link.input.rest();
        let mut state = pool.lock();
        if state.closed || state.idle.len() >= IDLE_MAX {
            return;
        }
        state.idle.push(Idle { link, since: Instant::now() });
        if !state.swept {
            state.swept = true;
            tokio::spawn(sweep(pool.clone()));
        }
    }

    /// Closes all, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle = Vec::new();
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server has neither closed nor said anything: it has not been asked.
fn is_quiet(link: &mut Link, cx: &mut Context<'_>) -> bool {
    link.poll_fill(cx).is_pending()
}

/// Closes connections that were idle too long or that their servers have closed; ends when none is left.
async fn sweep(pool: Arc<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let none_left = poll_fn(|cx| {
            let mut state = pool.lock();
            state.idle.retain_mut(|idle| idle.since.elapsed() < IDLE_TIME && is_quiet(&mut idle.link, cx));
            if state.idle.is_empty() {
                state.idle = Vec::new();
                state.swept = false;
            }
            Poll::Ready(!state.swept)
        })
        .await;
        if none_left {
            return;
        }
    }
}
