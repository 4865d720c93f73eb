//! What of a user server's answer reaches the browser. All servers share the hub's origin, so what acts on
//! the whole origin, or on another's part of it, is dropped.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue};

use crate::fields::{Field, line};
use crate::framing::Length;
use crate::guard::Pass;
use crate::head::{frame, is_hub_cookie};
use crate::kind::Kind;
use crate::reply::ReplyHead;
use crate::routes::Route;

/// By what an answer is judged.
pub(crate) struct Rules<'a> {
    pub(crate) route: &'a Route,
    /// The path of the request.
    pub(crate) path: &'a str,
    pub(crate) hub_cookies: &'a [String],
    /// The servers' cookies and promises are somebody else's business.
    pub(crate) is_foreign: bool,
    /// Takes the place of the server's `Location`.
    pub(crate) location: Option<String>,
    /// How the route's guard let the request in, if there is one.
    pub(crate) pass: Option<&'a Pass>,
    /// The host that the browser asked for.
    pub(crate) host: &'a str,
}

impl Rules<'_> {
    /// The fields that go on, but those about framing.
    pub(crate) fn kept<'h>(&self, head: &'h ReplyHead) -> impl Iterator<Item = Field<'h>> {
        let in_route =
            |scope: &[u8]| std::str::from_utf8(scope).is_ok_and(|scope| self.route.contains(scope));
        let worker_scope = self.is_foreign || head.fields.all(Kind::WorkerScope).all(in_route);
        head.fields.iter().filter(move |field| match field.kind {
            // RFC 9110 section 7.6.1.
            Kind::Connection | Kind::Hop | Kind::OfProxies | Kind::TransferEncoding | Kind::Upgrade => false,
            Kind::ContentLength => false,
            _ if head.options.names && head.fields.names(field.name) => false,
            Kind::AboutTheOrigin => self.is_foreign,
            Kind::WorkerScope => worker_scope,
            Kind::SetCookie => self.is_foreign || self.may_set(field.value),
            Kind::Location => self.location.is_none() && self.may_lead(field.value),
            _ => self.adds().is_empty() || !self.replaces(field.name),
        })
    }

    /// Cookies of a guarded server for more than its own part of the site, which come to be for that part: most programs
    /// believe that the whole site is theirs.
    fn moved<'h>(&'h self, head: &'h ReplyHead) -> impl Iterator<Item = Vec<u8>> + 'h {
        let own = self.route.guarded.is_some().then(|| head.fields.all(Kind::SetCookie));
        let outside = own.into_iter().flatten().filter(|cookie| !self.may_set(cookie));
        outside.filter_map(|cookie| {
            let is_path = |part: &&[u8]| part.trim_ascii().to_ascii_lowercase().starts_with(b"path");
            let mut moved = cookie
                .split(|byte| *byte == b';')
                .filter(|part| !is_path(part))
                .collect::<Vec<_>>()
                .join(&b';');
            moved.extend_from_slice(format!("; Path={}", self.route.path()).as_bytes());
            self.may_set(&moved).then_some(moved)
        })
    }

    /// What the guard adds.
    fn adds(&self) -> &[(HeaderName, HeaderValue)] {
        self.pass.map_or(&[], |pass| &pass.adds)
    }

    /// Whether the guard says something in place of the server. Policies hold beside one another.
    fn replaces(&self, name: &[u8]) -> bool {
        let is = |other: &HeaderName| other.as_str().as_bytes().eq_ignore_ascii_case(name);
        self.adds().iter().any(|(added, _)| is(added) && added != CONTENT_SECURITY_POLICY)
    }

    fn may_lead(&self, location: &[u8]) -> bool {
        let may = self.pass.is_none_or(|pass| !pass.confines) || self.route.keeps_within(location, self.host);
        if !may {
            tracing::warn!(
                "redirect of a visitor out of the server's part of the site dropped: {}",
                self.route.prefix
            );
        }
        may
    }

    fn may_set(&self, cookie: &[u8]) -> bool {
        let may = may_set(cookie, self.route, self.path, self.hub_cookies);
        if !may && self.route.guarded.is_none() {
            tracing::warn!("cookie outside the server's part of the site dropped: {}", self.route.prefix);
        }
        may
    }

    /// The fields for HTTP/2.
    pub(crate) fn map(&self, head: &ReplyHead) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(16);
        let location = self.location.as_ref().map(|value| (&b"location"[..], value.as_bytes()));
        let lengths = head.fields.all(Kind::ContentLength).filter(|_| head.tells_length());
        let lengths = lengths.take(1).map(|value| (&b"content-length"[..], value));
        let kept = self.kept(head).map(|field| (field.name, field.value));
        let adds = self.adds().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let moved: Vec<Vec<u8>> = self.moved(head).collect();
        let moved = moved.iter().map(|cookie| (&b"set-cookie"[..], &cookie[..]));
        for (name, value) in kept.chain(lengths).chain(location).chain(adds).chain(moved) {
            // The parser is as strict as these types are.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        map
    }

    /// Writes the answer's head for HTTP/1.1, up to what is about this connection.
    pub(crate) fn write(&self, out: &mut Vec<u8>, head: &ReplyHead, length: Length) {
        let mut digits = [b'0'; 3];
        for (digit, divisor) in digits.iter_mut().zip([100, 10, 1]) {
            // One decimal digit fits into a byte.
            *digit += u8::try_from(head.status / divisor % 10).unwrap_or(0);
        }
        for piece in [b"HTTP/1.1 ", &digits[..], b" ", head.reason(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
        for field in self.kept(head) {
            line(out, field.name, field.value);
        }
        if let Some(location) = &self.location {
            line(out, b"Location", location.as_bytes());
        }
        for (name, value) in self.adds() {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
        for cookie in self.moved(head) {
            line(out, b"Set-Cookie", &cookie);
        }
        match head
            .fields
            .first(Kind::ContentLength)
            .filter(|_| length == Length::Empty && head.tells_length())
        {
            Some(told) => line(out, b"Content-Length", told),
            None => frame(out, length),
        }
        if head.fields.first(Kind::Date).is_none() {
            write_date(out);
        }
    }
}

/// Appends the date: whoever passes an answer on without one has to say when it came (RFC 9110 section 6.6.1).
pub(crate) fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            (*second, *text) = (now, httpdate::fmt_http_date(time));
        }
        line(out, b"Date", text.as_bytes());
    });
}

/// Whether a server may set this cookie: with a name of its own, for its own part of the site.
fn may_set(cookie: &[u8], route: &Route, request_path: &str, hub_cookies: &[String]) -> bool {
    let mut parts = cookie.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    // A browser sends a cookie without a name as its bare value, which may look like the hub's.
    let Some(end) = pair.iter().position(|byte| *byte == b'=') else { return false };
    let name = pair.get(..end).unwrap_or_default().trim_ascii();
    if name.is_empty() || is_hub_cookie(name, hub_cookies) {
        return false;
    }
    // A browser takes it for this host and all its paths, or not at all (RFC 6265bis section 4.1.3.2).
    if route.has_host() && name.starts_with(b"__Host-") {
        return true;
    }
    // The last Path counts, and one that does not begin with a slash is none (RFC 6265 section 5.2.4).
    let mut path = None;
    for part in parts {
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        if halves.next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"path") {
            path = Some(halves.next().unwrap_or_default().trim_ascii());
        }
    }
    match path.filter(|path| path.starts_with(b"/")) {
        Some(path) => std::str::from_utf8(path).is_ok_and(|path| route.contains(path)),
        // The browser then takes the directory of the request.
        None => {
            let directory = request_path.rsplit_once('/').map_or("", |(directory, _)| directory);
            route.contains(if directory.is_empty() { "/" } else { directory })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::CanonicalPath;
    use crate::{Endpoint, Routes, Target};

    const WORKER_SCOPE: &str = "service-worker-allowed";

    fn cleaned(path: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let routes = Routes::default();
        for prefix in ["/user/a%40b/", "/user/alice/"] {
            routes.add(prefix, Target { endpoint: Endpoint::Unix("s".into()), uid: None });
        }
        let route = routes.find(&CanonicalPath::new(path).unwrap()).unwrap();
        cleaned_on(&route, path, headers)
    }

    fn cleaned_on(route: &Route, path: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut head = ReplyHead::default();
        head.read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes(), false).unwrap().unwrap();
        let hub_cookies = ["hub-login".to_owned()];
        let rules = Rules {
            route,
            path,
            hub_cookies: &hub_cookies,
            is_foreign: false,
            location: None,
            pass: None,
            host: "hub",
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let lines: Vec<_> =
            rules.kept(&head).map(|field| format!("{}: {}", text(field.name), text(field.value))).collect();
        assert_eq!(
            rules.map(&head).iter().filter(|(name, _)| *name != "content-length").count(),
            lines.len()
        );
        lines
    }

    fn sets(path: &str, cookie: &str) -> bool {
        !cleaned(path, &[("set-cookie", cookie)]).is_empty()
    }

    #[test]
    fn servers_set_cookies_in_their_own_part_of_the_site() {
        assert!(sets("/user/alice/x", "a=1; Path=/user/alice/; HttpOnly"));
        assert!(sets("/user/alice/x", "a=1; path=/user/alice"));
        assert!(sets("/user/alice/x", "a=1; Path=/user/alice/lab/deep"));
        assert!(sets("/user/alice/x", "a=1"));
        assert!(sets("/user/alice/", "a=; Max-Age=0"));
        assert!(sets("/user/a@b/x", "a=1; Path=/user/a%40b/"));
        assert!(sets("/user/a%40b/x", "a=1; Path=/user/a@b/"));
    }

    #[test]
    fn servers_cannot_set_cookies_elsewhere() {
        for cookie in [
            "a=1; Path=/",
            "a=1; Path=/hub/",
            "a=1; Path=/user/bob/",
            "a=1; Path=/user/ali",
            "a=1; Path=/user/alice/; Path=/",
            "a=1; Path=/user/alice/../bob/",
            "a=1;PATH= / ",
        ] {
            assert!(!sets("/user/alice/x", cookie), "{cookie}");
        }
        assert!(!sets("/user/alice", "a=1"), "the default path would be /user");
        assert!(!sets("/user/alice", "a=1; Path="));
        assert!(!sets("/user/alice", "a=1; Path=user/alice/"));
    }

    #[test]
    fn servers_cannot_set_cookies_of_the_hub() {
        for cookie in [
            "hub-login=x; Path=/user/alice/",
            " hub-login =x; Path=/user/alice/",
            "__Host-hub-login=x; Path=/user/alice/",
            "__secure-hub-login=x; Path=/user/alice/",
            "=hub-login=x; Path=/user/alice/",
            "hub-login; Path=/user/alice/",
        ] {
            assert!(!sets("/user/alice/x", cookie), "{cookie}");
        }
    }

    #[test]
    fn only_on_a_host_of_its_own_a_server_sets_cookies_of_the_whole_host() {
        let routes = Routes::by_host();
        let target = Target { endpoint: Endpoint::Unix("s".into()), uid: None };
        routes.add("/alice.hub/user/alice/", target);
        let path = CanonicalPath::new("/user/alice/x").unwrap();
        let route = routes.find_at("alice.hub", &path).unwrap();
        let sets = |cookie| !cleaned_on(&route, "/user/alice/x", &[("set-cookie", cookie)]).is_empty();
        assert!(sets("__Host-jupyterhub-user-alice=1; Path=/; Secure; HttpOnly"));
        for cookie in
            ["a=1; Path=/", "__Host-hub-login=1; Path=/; Secure", "__Secure-a=1; Path=/; Domain=hub"]
        {
            assert!(!sets(cookie), "{cookie}");
        }
        let shared = cleaned("/user/alice/x", &[("set-cookie", "__Host-a=1; Path=/; Secure")]);
        assert!(shared.is_empty(), "{shared:?}");
    }

    #[test]
    fn only_the_offending_cookie_is_dropped() {
        let lines = cleaned(
            "/user/alice/x",
            &[("set-cookie", "a=1"), ("set-cookie", "b=1; Path=/"), ("set-cookie", "c=1")],
        );
        assert_eq!(lines, ["set-cookie: a=1", "set-cookie: c=1"]);
    }

    #[test]
    fn what_acts_on_the_whole_origin_is_dropped() {
        for name in
            ["clear-site-data", "strict-transport-security", "alt-svc", "nel", "report-to", "public-key-pins"]
        {
            assert!(cleaned("/user/alice/", &[(name, "x")]).is_empty(), "{name}");
        }
        assert!(cleaned("/user/alice/", &[(WORKER_SCOPE, "/")]).is_empty());
        assert!(cleaned("/user/alice/", &[(WORKER_SCOPE, "/user/alice/"), (WORKER_SCOPE, "/")]).is_empty());
        assert_eq!(cleaned("/user/alice/", &[(WORKER_SCOPE, "/user/alice/lab/")]).len(), 1);
    }

    #[test]
    fn hop_by_hop_headers_of_a_server_end_here() {
        let headers = [
            ("connection", "close, x-hop, content-length"),
            ("x-hop", "1"),
            ("content-length", "5"),
            ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "x"),
            ("proxy-authenticate", "x"),
            ("server", "TornadoServer"),
        ];
        assert_eq!(cleaned("/user/alice/", &headers), ["server: TornadoServer"]);
    }
}
