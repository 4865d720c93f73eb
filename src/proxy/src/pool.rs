//! Connections to servers that wait to be used again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::Target;
use crate::flow::Link;
use crate::request::RequestHead;

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
    /// A task looks after the idle ones. It is woken when a server closes one or says something.
    sweeper: Sweeper,
}

#[derive(Default)]
enum Sweeper {
    #[default]
    None,
    Started,
    Waits(Waker),
}

struct Idle {
    link: Link,
    since: Instant,
}

impl Pool {
    /// Takes a connection that can carry this request now. One that must not be sent twice is the reason to ask the
    /// kernel whether the server has closed: the runtime hears of it a moment later.
    pub(crate) fn take(&self, head: &RequestHead) -> Option<Link> {
        loop {
            let mut link = self.lock().idle.pop()?.link;
            if is_quiet(&mut link, &mut Context::from_waker(Waker::noop()))
                && (head.is_repeatable() || link.stream.is_silent())
            {
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
        match &state.sweeper {
            Sweeper::Waits(waker) if !is_quiet(&mut link, &mut Context::from_waker(waker)) => return,
            Sweeper::Waits(_) | Sweeper::Started => {}
            Sweeper::None => {
                state.sweeper = Sweeper::Started;
                tokio::spawn(sweep(pool.clone()));
            }
        }
        state.idle.push(Idle { link, since: Instant::now() });
    }

    /// Closes all, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle = Vec::new();
        if let Sweeper::Waits(waker) = &state.sweeper {
            waker.wake_by_ref();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server has neither closed nor said anything: it has not been asked. If it does so later, it wakes.
fn is_quiet(link: &mut Link, cx: &mut Context<'_>) -> bool {
    link.stream.poll_readable(cx).is_pending() || link.poll_fill(cx).is_pending()
}

/// Closes connections that were idle too long or that their servers have closed; ends when none is left.
async fn sweep(pool: Arc<Pool>) {
    let mut look = tokio::time::interval(SWEEP_EVERY);
    poll_fn(|cx| {
        while look.poll_tick(cx).is_ready() {}
        let mut state = pool.lock();
        state.idle.retain_mut(|idle| idle.since.elapsed() < IDLE_TIME && is_quiet(&mut idle.link, cx));
        if state.idle.is_empty() {
            state.idle = Vec::new();
            state.sweeper = Sweeper::None;
            return Poll::Ready(());
        }
        state.sweeper = Sweeper::Waits(cx.waker().clone());
        Poll::Pending
    })
    .await;
}
