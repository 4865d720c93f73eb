//! The route table: longest prefix of whole segments wins.
//!
//! Readers take no lock: the table is split into shards, each an immutable map behind an atomic pointer.
//! A change copies one shard, which holds a few dozen routes even with 100,000 in all.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::Target;
use crate::data::{RouteData, TARGET};
use crate::destination::{Destination, DestinationError};
use crate::guard::Guarded;
use crate::path::{CanonicalPath, PREFIX_SEGMENTS_MAX, PathError};
use crate::pool::Pools;
pub(crate) use crate::route::{Owner, Route, now_millis};

/// A power of two. 100,000 routes make 100 a shard, which are copied in some microseconds.
const SHARDS: usize = 1024;

/// An encoded slash in a canonical path.
const SLASH: &str = "%2F";

type Shard = HashMap<Box<str>, Arc<Route>>;

/// The route table: longest prefix of whole path segments wins. Cheap to read from many threads.
pub struct Routes {
    shards: Box<[ArcSwap<Shard>]>,
    hasher: RandomState,
    /// How many routes have a prefix of so many segments: lookups try only lengths that occur.
    lengths: [AtomicUsize; PREFIX_SEGMENTS_MAX + 1],
    /// One writer at a time, who has the pools.
    writer: Mutex<Pools>,
    slashes: Slashes,
    /// Whether the first segment of a prefix is the name of a host.
    hosts: bool,
}

/// What an encoded slash in a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slashes {
    /// A part of its segment, so that `/user/a%2Fb/` is nobody's but that user's.
    Encoded,
    /// A separator like any other, as for configurable-http-proxy, which decodes before it splits.
    Decoded,
}

/// Why there can be no such route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No request can have this prefix.
    #[error("{0}")]
    Path(#[from] PathError),
    /// The prefix is too long.
    #[error("the path must not have more than {PREFIX_SEGMENTS_MAX} segments")]
    Segments,
    /// There is a route of the program's own.
    #[error("the route is the hub's own")]
    Taken,
}

/// Why a route cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Because of its target.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Because of its prefix.
    #[error(transparent)]
    Route(#[from] RouteError),
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
            lengths: Default::default(),
            writer: Mutex::default(),
            slashes: Slashes::Encoded,
            hosts: false,
        }
    }
}

impl Routes {
    /// An empty table.
    pub fn new(slashes: Slashes) -> Self {
        Self { slashes, ..Self::default() }
    }

    /// An empty table whose prefixes begin with a host: `/alice.example.org/user/alice/`.
    pub fn by_host() -> Self {
        Self { hosts: true, ..Self::default() }
    }

    /// Adds or replaces the route of `prefix`, such as `/user/alice/`; percent-encoding is decoded per segment.
    ///
    /// A prefix that no request can have (dot segments, control characters, more than 16 segments) is
    /// logged and not added. Adding what is there already changes nothing.
    pub fn add(&self, prefix: &str, target: Target) {
        self.add_with(prefix, target, RouteData::default());
    }

    /// The same, with what the REST API shows of it besides the target.
    pub fn add_with(&self, prefix: &str, target: Target, data: RouteData) {
        self.add_guarded(prefix, target, data, None);
    }

    /// The same, with somebody who is asked about each request.
    pub fn add_guarded(&self, prefix: &str, target: Target, data: RouteData, guarded: Option<Guarded>) {
        if let Err(error) = self.put(prefix, target.into(), (data, guarded), Owner::Program) {
            tracing::error!("no route for {prefix:?}: {error}");
        }
    }

    /// Whether there is a route of exactly this prefix, with somebody who is asked about each request.
    pub fn is_guarded(&self, prefix: &str) -> bool {
        self.get(prefix).is_some_and(|route| route.guarded.is_some())
    }

    /// Adds or replaces a route as the REST API does, with a target of any kind.
    pub fn add_url(&self, prefix: &str, url: &str) -> Result<(), AddError> {
        let data = RouteData::default().with(TARGET, url);
        Ok(self.put(prefix, Destination::parse(url)?, (data, None), Owner::Api)?)
    }

    /// Adds or replaces a route.
    pub(crate) fn put(
        &self,
        prefix: &str,
        destination: Destination,
        (data, guarded): (RouteData, Option<Guarded>),
        owner: Owner,
    ) -> Result<(), RouteError> {
        let key = self.key(prefix)?;
        let length = self.lengths.get(count_segments(&key)).ok_or(RouteError::Segments)?;
        let mut pools = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = self.shard(&key).ok_or(RouteError::Segments)?;
        let present = shard.load();
        if let Some(route) = present.get(key.as_str()) {
            if owner == Owner::Api && route.owner == Owner::Program {
                return Err(RouteError::Taken);
            }
            let same = route.owner == owner && route.prefix == prefix && route.destination == destination;
            if same && route.data == data && route.guarded.is_none() && guarded.is_none() {
                route.added_again();
                return Ok(());
            }
        }
        let mut changed = Shard::clone(&present);
        let pool = pools.join(&destination.target);
        let mut route = Route::new(prefix, &key, destination, pool, (data, owner));
        route.guarded = guarded;
        if self.hosts {
            route.begins_with_host();
        }
        let route = Arc::new(route);
        match changed.insert(key.into_boxed_str(), route) {
            Some(old) => pools.leave(&old.destination.target),
            None => {
                length.fetch_add(1, Ordering::Release);
            }
        }
        shard.store(Arc::new(changed));
        Ok(())
    }

    /// Removes a route; says whether there was one. Its pooled connections are closed, unless another route has the
    /// same target.
    pub fn remove(&self, prefix: &str) -> bool {
        self.take(prefix, Owner::Program).unwrap_or(false)
    }

    /// The same on somebody's behalf: the API does not remove what is the program's.
    pub(crate) fn take(&self, prefix: &str, by: Owner) -> Result<bool, RouteError> {
        let key = self.key(prefix)?;
        let mut pools = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shard) = self.shard(&key) else { return Ok(false) };
        let mut changed = Shard::clone(&shard.load());
        let Some(old) = changed.remove(key.as_str()) else { return Ok(false) };
        if by == Owner::Api && old.owner == Owner::Program {
            return Err(RouteError::Taken);
        }
        shard.store(Arc::new(changed));
        if let Some(length) = self.lengths.get(count_segments(&key)) {
            length.fetch_sub(1, Ordering::Release);
        }
        pools.leave(&old.destination.target);
        Ok(true)
    }

    /// The route with exactly this prefix.
    pub(crate) fn get(&self, prefix: &str) -> Option<Arc<Route>> {
        let key = self.key(prefix).ok()?;
        self.shard(&key)?.load().get(key.as_str()).cloned()
    }

    /// All routes, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.shards.iter().flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn key(&self, prefix: &str) -> Result<String, PathError> {
        let key = CanonicalPath::new(prefix)?.into_prefix_key();
        Ok(match self.slashes {
            Slashes::Encoded => key,
            Slashes::Decoded => key.replace(SLASH, "/"),
        })
    }

    /// When the route of `prefix` last carried data, as JupyterHub counts it: bytes of a request's body or
    /// of a WebSocket, or an answer below 300. None before the first and where there is no route.
    pub fn last_activity(&self, prefix: &str) -> Option<SystemTime> {
        self.get(prefix)?.last_activity()
    }

    /// Where the route of exactly this prefix leads.
    pub fn target(&self, prefix: &str) -> Option<Target> {
        Some(self.get(prefix)?.destination.target.clone())
    }

    /// The prefixes of all routes, as they were given to [`Routes::add`].
    pub fn prefixes(&self) -> Vec<String> {
        self.all().iter().map(|route| route.prefix.clone()).collect()
    }

    /// The route of a request; `host`, with or without a port, decides only where prefixes begin with one.
    pub(crate) fn find_at(&self, host: &str, path: &CanonicalPath<'_>) -> Option<Arc<Route>> {
        if !self.hosts {
            return self.find(path);
        }
        let both = format!("/{}{}", host_name(host), path.as_str());
        self.find(&CanonicalPath::new(&both).ok()?)
    }

    /// The route with the longest prefix of `path`.
    pub(crate) fn find(&self, path: &CanonicalPath<'_>) -> Option<Arc<Route>> {
        let text = match self.slashes {
            Slashes::Decoded if path.as_str().contains(SLASH) => {
                Cow::Owned(path.as_str().replace(SLASH, "/"))
            }
            Slashes::Decoded | Slashes::Encoded => Cow::Borrowed(path.as_str()),
        };
        let mut ends = [0_usize; PREFIX_SEGMENTS_MAX + 1];
        let mut count = 0;
        let slashes = text.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
        for (slot, end) in ends.iter_mut().skip(1).zip(slashes.chain([text.len()])) {
            *slot = end;
            count += 1;
        }
        let candidates = ends.iter().zip(&self.lengths).take(count + 1).rev();
        for (end, length) in candidates.filter(|(_, length)| length.load(Ordering::Acquire) > 0) {
            let _ = length;
            let key = text.get(..*end)?;
            if let Some(route) = self.shard(key)?.load().get(key) {
                return Some(route.clone());
            }
        }
        None
    }

    fn shard(&self, key: &str) -> Option<&ArcSwap<Shard>> {
        // Cut to the low bits, a hash fits into an index on every machine.
        let index = self.hasher.hash_one(key) & (SHARDS as u64 - 1);
        self.shards.get(usize::try_from(index).ok()?)
    }
}

/// The name in a `Host` header: without the port, in lower case.
pub(crate) fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn count_segments(key: &str) -> usize {
    key.bytes().filter(|byte| *byte == b'/').count()
}
