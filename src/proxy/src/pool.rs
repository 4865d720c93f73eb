//! Connections to one user server that wait to be used again.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::flow::Link;
use crate::routes::Route;

/// Enough for a browser's burst; each costs a descriptor and less than 1 KiB.
const IDLE_MAX: usize = 256;
/// Shorter than the idle time-outs of the usual servers, so that they rarely close first.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often the idle ones are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

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
    pub(crate) fn give(route: &Arc<Route>, mut link: Link) {
        if !link.input.is_empty() {
            return;
        }
        link.input.rest();
        let mut state = route.pool.lock();
        if state.closed || state.idle.len() >= IDLE_MAX {
            return;
        }
        state.idle.push(Idle { link, since: Instant::now() });
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

/// Whether the server has neither closed nor said anything: it has not been asked.
fn is_quiet(link: &mut Link, cx: &mut Context<'_>) -> bool {
    link.poll_fill(cx).is_pending()
}

/// Closes connections that were idle too long or that their servers have closed; ends when none is left.
async fn sweep(route: Arc<Route>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let none_left = poll_fn(|cx| {
            let mut state = route.pool.lock();
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
