//! What of a user server's answer reaches the browser. All servers share the hub's origin, so what acts on
//! the whole origin, or on another's part of it, is dropped.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use crate::head::{is_hub_cookie, named_in_connection};
use crate::routes::Route;

/// Hop-by-hop (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// They tell the browser something about the whole origin: to forget its data, never to use plain HTTP again, to
/// ask another server, to report errors to a stranger.
const ABOUT_THE_ORIGIN: [&str; 6] =
    ["clear-site-data", "strict-transport-security", "alt-svc", "nel", "report-to", "public-key-pins"];

const WORKER_SCOPE: &str = "service-worker-allowed";

/// Removes from a server's answer what a server may not say. `path` is that of the request.
pub(crate) fn clean(headers: &mut HeaderMap, route: &Route, path: &str, hub_cookies: &[String]) {
    end_hop(headers);
    for name in ABOUT_THE_ORIGIN {
        headers.remove(name);
    }
    let scopes: Vec<HeaderValue> = headers.get_all(WORKER_SCOPE).iter().cloned().collect();
    if !scopes.iter().all(|scope| scope.to_str().is_ok_and(|scope| route.contains(scope))) {
        headers.remove(WORKER_SCOPE);
    }
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        if may_set(cookie.as_bytes(), route, path, hub_cookies) {
            headers.append(header::SET_COOKIE, cookie);
        } else {
            tracing::warn!("cookie outside the server's part of the site dropped: {}", route.prefix);
        }
    }
}

/// Removes what is meant for this connection only.
pub(crate) fn end_hop(headers: &mut HeaderMap) {
    if let Some(named) = named_in_connection(headers) {
        for name in named.iter().filter(|name| **name != header::CONTENT_LENGTH) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
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

    fn cleaned(path: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let routes = Routes::default();
        for prefix in ["/user/a%40b/", "/user/alice/"] {
            routes.add(prefix, Target { endpoint: Endpoint::Unix("s".into()), uid: None });
        }
        let route = routes.find(&CanonicalPath::new(path).unwrap()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        clean(&mut map, &route, path, &["hub-login".to_owned()]);
        map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
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
    fn only_the_offending_cookie_is_dropped() {
        let lines = cleaned(
            "/user/alice/x",
            &[("set-cookie", "a=1"), ("set-cookie", "b=1; Path=/"), ("set-cookie", "c=1")],
        );
        assert_eq!(lines, ["set-cookie: a=1", "set-cookie: c=1"]);
    }

    #[test]
    fn what_acts_on_the_whole_origin_is_dropped() {
        for name in ABOUT_THE_ORIGIN {
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
        assert_eq!(cleaned("/user/alice/", &headers), ["content-length: 5", "server: TornadoServer"]);
    }
}
