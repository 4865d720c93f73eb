//! One route of the table, and when it was used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::data::RouteData;
use crate::destination::Destination;
use crate::path::CanonicalPath;
use crate::pool::Pool;

/// Whose a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This program's: the REST API shows it and lets it alone.
    Program,
    /// Added over the REST API.
    Api,
}

/// One route.
pub(crate) struct Route {
    /// As it was added.
    pub(crate) prefix: String,
    /// The canonical prefix with a slash at its end.
    pub(crate) canonical: String,
    /// Where in `canonical` the path begins: behind the host, if there is one.
    path_at: usize,
    pub(crate) destination: Destination,
    pub(crate) data: RouteData,
    pub(crate) owner: Owner,
    /// The connections to its target that wait to be used again.
    pub(crate) pool: Arc<Pool>,
    /// Milliseconds since 1970.
    added_millis: AtomicU64,
    /// Milliseconds since 1970; 0 is never.
    activity_millis: AtomicU64,
}

impl Route {
    /// `key` is the canonical prefix without the slash at its end.
    pub(crate) fn new(
        prefix: &str,
        key: &str,
        destination: Destination,
        pool: Arc<Pool>,
        (data, owner): (RouteData, Owner),
    ) -> Self {
        Self {
            prefix: prefix.to_owned(),
            canonical: format!("{key}/"),
            path_at: 0,
            destination,
            data,
            owner,
            pool,
            added_millis: AtomicU64::new(now_millis()),
            activity_millis: AtomicU64::new(0),
        }
    }

    /// The first segment of the prefix is the name of a host, and no part of the path.
    pub(crate) fn begins_with_host(&mut self) {
        let path = self.canonical.match_indices('/').nth(1);
        self.path_at = path.map_or(0, |(at, _)| at);
    }

    /// Notes that it was added once more as it is.
    pub(crate) fn added_again(&self) {
        self.added_millis.store(now_millis(), Ordering::Relaxed);
    }

    /// Notes that data was carried now.
    pub(crate) fn touch(&self) {
        self.activity_millis.store(now_millis(), Ordering::Relaxed);
    }

    /// When it was added or last carried data, in milliseconds since 1970.
    pub(crate) fn seen_millis(&self) -> u64 {
        self.added_millis.load(Ordering::Relaxed).max(self.activity_millis.load(Ordering::Relaxed))
    }

    /// When it last carried data.
    pub(crate) fn last_activity(&self) -> Option<SystemTime> {
        match self.activity_millis.load(Ordering::Relaxed) {
            0 => None,
            millis => SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)),
        }
    }

    /// The path of the prefix in canonical form, with a slash at its end and without a host.
    pub(crate) fn path(&self) -> &str {
        self.canonical.get(self.path_at..).unwrap_or(&self.canonical)
    }

    /// Whether a path of the browser's lies within this route.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let Ok(path) = CanonicalPath::new(path) else { return false };
        let (path, own) = (path.as_str(), self.path());
        path.starts_with(own) || own.strip_suffix('/') == Some(path)
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_millis());
    u64::try_from(now).unwrap_or(0)
}
