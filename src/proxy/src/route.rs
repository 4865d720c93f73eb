//! One route of the table, and when it was used.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::data::RouteData;
use crate::destination::Destination;
use crate::guard::Guarded;
use crate::path::CanonicalPath;
use crate::pool::Pool;
use crate::routes::host_name;

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
    /// Who is asked about each request, if anybody is.
    pub(crate) guarded: Option<Guarded>,
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
            guarded: None,
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

    /// Whether a connection may be used again that a request with a body went over, or one without. Programs of any
    /// kind may leave a body unread and take it for the next request, which may be somebody else's.
    pub(crate) fn may_wait(&self, after_body: bool) -> bool {
        !after_body || self.guarded.is_none()
    }

    /// A path of the browser's as the server gets it: without the prefix, if that is stripped.
    pub(crate) fn inner<'a>(&self, target: &'a str) -> Cow<'a, str> {
        if self.guarded.as_ref().is_none_or(|guarded| !guarded.strips_prefix) {
            return Cow::Borrowed(target);
        }
        let segments = self.path().matches('/').count();
        let path = target.split('?').next().unwrap_or_default();
        match path.match_indices('/').nth(segments - 1).and_then(|(at, _)| target.get(at..)) {
            // Two slashes at the beginning would name a host to some programs.
            Some(inner) => Cow::Borrowed(
                inner.get(inner.len() - inner.trim_start_matches('/').len() - 1..).unwrap_or("/"),
            ),
            None => Cow::Owned(format!("/{}", target.get(path.len()..).unwrap_or_default())),
        }
    }

    /// Where the server's `Location` leads as the browser has to see it, if the server does not know its prefix.
    pub(crate) fn outer(&self, location: &[u8]) -> Option<String> {
        let strips = self.guarded.as_ref().is_some_and(|guarded| guarded.strips_prefix);
        let location = std::str::from_utf8(location).ok().filter(|_| strips)?;
        let path = location.strip_prefix('/').filter(|path| !path.starts_with(['/', '\\']))?;
        let is_outer = self.contains(location.split(['?', '#']).next().unwrap_or_default());
        (!is_outer).then(|| format!("{}{path}", self.path()))
    }

    /// Whether a `Location` stays in this route's part of the site, or leaves the site.
    pub(crate) fn keeps_within(&self, location: &[u8], host: &str) -> bool {
        let Ok(location) = std::str::from_utf8(location) else { return false };
        let path = |text: &str| self.contains(text.split(['?', '#']).next().unwrap_or_default());
        // What browsers read as dots or slashes, or leave out.
        let is_odd = location.contains(|c: char| c == '\\' || c.is_control());
        if is_odd || location.starts_with("//") || location.to_ascii_lowercase().contains("%2e") {
            return false;
        }
        if location.starts_with('/') {
            return path(location);
        }
        match location.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let name = |authority: &str| host_name(authority.rsplit('@').next().unwrap_or_default());
                name(authority) != name(host) || path(rest)
            }
            _ => !location.contains(':') && !location.contains(".."),
        }
    }

    /// Whether its servers have a host of their own.
    pub(crate) fn has_host(&self) -> bool {
        self.path_at > 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Admission, Guard, Pass, Wish};

    struct Anybody;

    impl Guard for Anybody {
        fn admit(&self, _: &http::request::Parts, _: Wish) -> Admission {
            Admission::Pass(Pass::default())
        }
    }

    fn route(strips_prefix: bool) -> Route {
        let destination = Destination::parse("http://a").unwrap();
        let data = (RouteData::default(), Owner::Program);
        let mut route = Route::new("/user/a%40b/", "/user/a@b", destination, Arc::default(), data);
        route.guarded = Some(Guarded { guard: Arc::new(Anybody), hidden_cookies: &[], strips_prefix });
        route
    }

    #[test]
    fn a_server_that_does_not_know_its_prefix_gets_paths_without_it() {
        for (target, inner) in [
            ("/user/a@b/x?y=/z", "/x?y=/z"),
            ("/user/%61%40b/x%2Fy", "/x%2Fy"),
            ("/user/a@b/", "/"),
            ("/user/a@b?q", "/?q"),
            ("/user/a@b//evil.example/x", "/evil.example/x"),
        ] {
            assert_eq!(route(true).inner(target), inner, "{target}");
            assert_eq!(route(false).inner(target), target);
        }
        let outer = |location: &str| route(true).outer(location.as_bytes());
        assert_eq!(outer("/x?y#z").as_deref(), Some("/user/a@b/x?y#z"));
        for as_it_is in ["/user/a@b/x", "x", "../x", "https://hub/x", "//hub/x", "/\\hub"] {
            assert_eq!(outer(as_it_is), None, "{as_it_is}");
        }
        assert_eq!(route(false).outer(b"/x"), None);
    }

    #[test]
    fn a_visitor_is_led_within_the_server_or_away_from_the_site() {
        let keeps = |location: &str| route(false).keeps_within(location.as_bytes(), "hub:8000");
        for good in [
            "/user/a@b/x?y",
            "/user/a%40b",
            "x",
            "./x",
            "?q",
            "https://other.example/x",
            "http://hub:8000/user/a@b/x",
        ] {
            assert!(keeps(good), "{good}");
        }
        for bad in [
            "/user/alice/",
            "/",
            "//hub:8000/user/alice/",
            "http://hub:8000/user/alice/",
            "https://HUB/hub/",
            "http://x@hub:8000/hub/",
            "../alice/",
            "x/%2e%2E/../alice",
            "/user/a@b/../alice",
            "/user/a@b/%2e%2e/alice",
            ".\t./alice",
            "\\user\\alice",
            "http:/user/alice",
            "javascript:x",
        ] {
            assert!(!keeps(bad), "{bad}");
        }
    }
}
