//! The route table: longest prefix of whole segments wins.
//!
//! Readers take no lock: the table is split into shards, each an immutable map behind an atomic pointer.
//! A change copies one shard, which holds a few dozen routes even with 100,000 in all.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;
    use proptest::prelude::*;

    fn target(name: &str) -> Target {
        Target { endpoint: Endpoint::Unix(name.into()), uid: None }
    }

    fn table(prefixes: &[&str]) -> Routes {
        let routes = Routes::default();
        for prefix in prefixes {
            routes.add(prefix, target(prefix));
        }
        routes
    }

    fn found(routes: &Routes, path: &str) -> Option<String> {
        routes.find(&CanonicalPath::new(path).unwrap()).map(|route| route.prefix.clone())
    }

    #[test]
    fn longest_prefix_of_whole_segments_wins() {
        let routes = table(&["/", "/user/a/", "/user/a/b/", "/services/x"]);
        for (path, prefix) in [
            ("/", "/"),
            ("/user/a", "/user/a/"),
            ("/user/a/", "/user/a/"),
            ("/user/a/c", "/user/a/"),
            ("/user/a/b", "/user/a/b/"),
            ("/user/a/b/c/d/e/f", "/user/a/b/"),
            ("/user/ab", "/"),
            ("/user/A", "/"),
            ("/user//a", "/"),
            ("//user/a", "/"),
            ("/services/x/y", "/services/x"),
            ("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18", "/"),
        ] {
            assert_eq!(found(&routes, path).as_deref(), Some(prefix), "{path}");
        }
    }

    #[test]
    fn nothing_is_found_without_a_root_route() {
        let routes = table(&["/user/a/"]);
        assert_eq!(found(&routes, "/"), None);
        assert_eq!(found(&routes, "/user"), None);
        assert_eq!(found(&routes, "/hub/user/a/"), None);
    }

    #[test]
    fn escaped_and_plain_forms_are_the_same_route() {
        let routes = table(&["/user/a%40b/", "/user/c d%2Fe/"]);
        assert_eq!(found(&routes, "/user/a@b/x").as_deref(), Some("/user/a%40b/"));
        // A blank cannot come raw from the wire, so a prefix with one is refused like a request with one.
        assert_eq!(routes.prefixes(), ["/user/a%40b/"]);
        assert!(routes.remove("/user/a@b"));
        assert_eq!(found(&routes, "/user/a@b/x"), None);
        assert!(!routes.remove("/user/a@b"));
    }

    #[test]
    fn prefixes_that_no_request_can_have_are_not_added() {
        let deep = "/a".repeat(PREFIX_SEGMENTS_MAX + 1);
        assert!(table(&["/user/../a/", "/a%00/", "x", &deep]).prefixes().is_empty());
    }

    #[test]
    fn replacing_a_route_changes_its_target_and_adding_it_again_keeps_its_activity() {
        let routes = table(&["/user/a/"]);
        let path = CanonicalPath::new("/user/a/").unwrap();
        routes.find(&path).unwrap().touch();
        routes.add("/user/a/", target("/user/a/"));
        assert!(routes.last_activity("/user/a").is_some());
        routes.add("/user/a/", target("other"));
        assert_eq!(routes.find(&path).unwrap().destination.target, target("other"));
        assert_eq!(routes.last_activity("/user/a"), None);
        assert_eq!(routes.prefixes().len(), 1);
    }

    #[test]
    fn routes_to_one_target_share_its_connections_until_the_last_is_gone() {
        let routes = Routes::default();
        let of = |uid| Target { uid, ..target("socket") };
        let pool = |prefix| routes.get(prefix).unwrap().pool.clone();
        for (prefix, uid) in [("/a", Some(1000)), ("/b", Some(1000)), ("/c", Some(1001)), ("/d", None)] {
            routes.add(prefix, of(uid));
        }
        let (shared, other) = (pool("/a"), pool("/c"));
        assert!(Arc::ptr_eq(&shared, &pool("/b")));
        assert!(!Arc::ptr_eq(&shared, &other) && !Arc::ptr_eq(&other, &pool("/d")));
        routes.remove("/a");
        routes.add("/b", of(Some(1000)));
        assert!(!shared.is_closed() && Arc::ptr_eq(&shared, &pool("/b")));
        routes.add("/b", of(Some(1001)));
        assert!(shared.is_closed() && !other.is_closed() && Arc::ptr_eq(&other, &pool("/b")));
        routes.remove("/c");
        routes.remove("/b");
        assert!(other.is_closed());
    }

    #[test]
    fn a_hundred_thousand_routes_are_added_and_found() {
        let routes = Routes::default();
        for number in 0..100_000 {
            routes.add(&format!("/user/u{number}/"), target("x"));
        }
        assert_eq!(routes.prefixes().len(), 100_000);
        assert_eq!(found(&routes, "/user/u77777/lab").as_deref(), Some("/user/u77777/"));
        assert_eq!(found(&routes, "/user/u100000/lab"), None);
    }

    #[test]
    fn hosts_part_the_routes_where_prefixes_begin_with_one() {
        let routes = Routes::by_host();
        for prefix in
            ["/alice.hub.example/user/alice/", "/bob.hub.example/user/bob/", "/hub.example/services/x/"]
        {
            routes.add(prefix, target(prefix));
        }
        let at = |host: &str, path: &str| {
            routes.find_at(host, &CanonicalPath::new(path).unwrap()).map(|route| route.path().to_owned())
        };
        assert_eq!(at("alice.hub.example", "/user/alice/lab").as_deref(), Some("/user/alice/"));
        assert_eq!(at("ALICE.Hub.example.:8000", "/user/%61lice").as_deref(), Some("/user/alice/"));
        assert_eq!(at("hub.example:80", "/services/x/y").as_deref(), Some("/services/x/"));
        for (host, path) in [
            ("hub.example", "/user/alice/"),
            ("bob.hub.example", "/user/alice/"),
            ("alice.hub.example", "/user/bob/"),
            ("alice.hub.example.evil", "/user/alice/"),
            ("", "/alice.hub.example/user/alice/"),
            ("127.0.0.1:8000", "/alice.hub.example/user/alice/"),
            ("[::1]:8000", "/user/alice/"),
            ("..", "/user/alice/"),
        ] {
            assert_eq!(at(host, path), None, "{host} {path}");
        }
        let alice = routes.get("/alice.hub.example/user/alice").unwrap();
        assert!(alice.contains("/user/alice/lab") && alice.contains("/user/alice"));
        assert!(!alice.contains("/alice.hub.example/user/alice/lab") && !alice.contains("/"));
    }

    proptest! {
        #[test]
        fn a_request_never_reaches_the_server_of_another_prefix(
            raw in "/(user|%75ser|hub)(/([ab]|%61|%2f|%2e|\\.|/){0,5}){0,4}"
        ) {
            let routes = table(&["/user/a/", "/user/b/", "/user/a/b/"]);
            let Ok(path) = CanonicalPath::new(&raw) else { return Ok(()) };
            // The model: decode what stands between raw slashes, compare lists.
            let decode = |s: &str| percent_encoding::percent_decode_str(s).collect::<Vec<u8>>();
            let segments: Vec<_> = raw.split('/').skip(1).map(decode).collect();
            let is = |wanted: &[&str]| {
                segments.len() >= wanted.len() && segments.iter().zip(wanted).all(|(a, b)| a == b.as_bytes())
            };
            let expected = if is(&["user", "a", "b"]) { Some("/user/a/b/") }
                else if is(&["user", "a"]) { Some("/user/a/") }
                else if is(&["user", "b"]) { Some("/user/b/") }
                else { None };
            let route = routes.find(&path);
            prop_assert_eq!(route.as_ref().map(|r| r.prefix.as_str()), expected);
            if let Some(route) = route {
                prop_assert!(route.contains(&raw));
            }
        }
    }
}
