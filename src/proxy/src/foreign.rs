//! How requests for somebody else's hub are forwarded: as configurable-http-proxy does it, with its switches.
//!
//! What differs from hubd's own way: the front is not known, so `X-Forwarded-*` of the other end are passed on with
//! ours behind; and the servers' cookies and headers are somebody else's business, so they pass.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};

use crate::counters::Counters;
use crate::destination::Destination;
use crate::forward::Routed;
use crate::kind::Kind;
use crate::reply::ReplyHead;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::target_tls::TargetTls;

/// The path of the proxy's own sign of life.
pub(crate) const HEALTH: &str = "/_chp_healthz";

/// The switches.
#[derive(Debug, Clone)]
pub struct ForeignHub {
    /// The host is the first segment of a route's prefix.
    pub host_routing: bool,
    /// Requests keep the prefix of their route.
    pub include_prefix: bool,
    /// The path of the target goes before that of the request.
    pub prepend_path: bool,
    /// `X-Forwarded-*` are added.
    pub x_forward: bool,
    /// Servers get their own host in `Host`.
    pub change_origin: bool,
    /// Redirects of a server to itself get the host of the request.
    pub auto_rewrite: bool,
    /// Redirects of a server to itself get this scheme.
    pub protocol_rewrite: Option<String>,
    /// Headers that every request gets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How targets with TLS are spoken to; without it they are not.
    pub tls: Option<TargetTls>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Default for ForeignHub {
    fn default() -> Self {
        Self {
            host_routing: false,
            include_prefix: true,
            prepend_path: true,
            x_forward: true,
            change_origin: false,
            auto_rewrite: false,
            protocol_rewrite: None,
            headers: Vec::new(),
            tls: None,
            counters: Arc::default(),
        }
    }
}

impl ForeignHub {
    /// The path to look up: with the host in front, if that decides.
    pub(crate) fn lookup_path(&self, head: &RequestHead) -> Option<String> {
        let host = head.host().split(':').next().unwrap_or_default();
        self.host_routing.then(|| format!("/{host}{}", head.path()))
    }

    /// The target for the server: that of the route, then the request's. Nothing if that is no target.
    pub(crate) fn server_target<'a>(&self, head: &'a RequestHead, route: &Route) -> Option<Cow<'a, str>> {
        let destination = &route.destination;
        let (base, base_query) = if self.prepend_path {
            (destination.path.as_str(), destination.query.as_str())
        } else {
            ("/", "")
        };
        if self.include_prefix && base == "/" && base_query.is_empty() {
            return Some(Cow::Borrowed(head.target()));
        }
        let path = if self.include_prefix { head.path() } else { self.without_prefix(head.path(), route) };
        let mut text = base.to_owned();
        match (base.ends_with('/'), path.strip_prefix('/')) {
            (true, Some(rest)) => text.push_str(rest),
            (false, None) if !path.is_empty() => {
                text.push('/');
                text.push_str(path);
            }
            _ => text.push_str(path),
        }
        let queries = [base_query, head.query().unwrap_or_default()];
        for (query, mark) in queries.iter().filter(|query| !query.is_empty()).zip(['?', '&']) {
            text.push(mark);
            text.push_str(query);
        }
        http::Uri::try_from(&text).ok().map(|_| Cow::Owned(text))
    }

    fn without_prefix<'a>(&self, path: &'a str, route: &Route) -> &'a str {
        let segments = route.canonical.matches('/').count() - 1;
        let segments = if self.host_routing { segments.saturating_sub(1) } else { segments };
        // An encoded slash parts segments, too, as in the route table.
        let parts = |(at, byte): (usize, u8)| {
            byte == b'/' || path.get(at..at + 3).is_some_and(|text| text.eq_ignore_ascii_case("%2f"))
        };
        let rest = path.bytes().enumerate().filter(|pair| parts(*pair)).nth(segments);
        let rest = rest.and_then(|(at, _)| path.get(at..)).unwrap_or_default();
        rest.strip_prefix("%2F").or_else(|| rest.strip_prefix("%2f")).unwrap_or(rest)
    }

    /// Fields that take the place of the browser's: what the server is told.
    pub(crate) fn replaced(&self, head: &RequestHead, routed: &Routed) -> Vec<(HeaderName, Vec<u8>)> {
        let mut replaced = if self.x_forward { forwarded(head, routed) } else { Vec::new() };
        let mut replace = |name: &HeaderName, value: &[u8]| {
            replaced.retain(|(other, _)| other != name);
            replaced.push((name.clone(), value.to_vec()));
        };
        for (name, value) in &self.headers {
            replace(name, value.as_bytes());
        }
        if self.change_origin {
            replace(&HOST, routed.route.destination.authority.as_bytes());
        }
        replaced
    }

    /// Where a server sends the browser, if that is the server itself and has to be changed.
    pub(crate) fn location(
        &self,
        head: &RequestHead,
        destination: &Destination,
        reply: &ReplyHead,
    ) -> Option<String> {
        let redirects = [201, 301, 302, 307, 308].contains(&reply.status);
        if !redirects || !(self.auto_rewrite || self.protocol_rewrite.is_some()) {
            return None;
        }
        let location = std::str::from_utf8(reply.fields.first(Kind::Location)?).ok()?;
        let host = Some(head.host()).filter(|host| !host.is_empty());
        self.rewritten(location, host, destination)
    }

    fn rewritten(&self, location: &str, host: Option<&str>, destination: &Destination) -> Option<String> {
        let (scheme, rest) = location.split_once("://")?;
        let (authority, rest) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
        let own_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let shown = authority.strip_suffix(own_port).unwrap_or(authority);
        if !shown.eq_ignore_ascii_case(&destination.authority) {
            return None;
        }
        let scheme = self.protocol_rewrite.as_deref().map_or(scheme, |scheme| scheme.trim_end_matches(':'));
        let authority = host.filter(|_| self.auto_rewrite).unwrap_or(authority);
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Some(format!("{scheme}://{authority}{slash}{rest}"))
    }
}

/// Each value goes behind what is there, after a bare comma; the host only where there is none, and not for
/// WebSockets.
fn forwarded(head: &RequestHead, routed: &Routed) -> Vec<(HeaderName, Vec<u8>)> {
    let near = routed.peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let (https, websocket) = (routed.peer.https, routed.asked.is_some());
    let port = port_of(head.host()).unwrap_or(if https { "443" } else { "80" }.to_owned());
    let scheme = match (websocket, https) {
        (false, false) => "http",
        (false, true) => "https",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    let mut replaced = Vec::new();
    for (kind, name, value) in [
        (Kind::ForwardedFor, "x-forwarded-for", near.as_str()),
        (Kind::ForwardedPort, "x-forwarded-port", port.as_str()),
        (Kind::ForwardedProto, "x-forwarded-proto", scheme),
    ] {
        let mut all = head.fields.all(kind).collect::<Vec<_>>().join(&b", "[..]);
        if !all.is_empty() {
            all.push(b',');
        }
        all.extend_from_slice(value.as_bytes());
        replaced.push((HeaderName::from_static(name), all));
    }
    let host = head.host();
    if !host.is_empty() && !websocket && head.fields.first(Kind::ForwardedHost).is_none() {
        replaced.push((HeaderName::from_static("x-forwarded-host"), host.as_bytes().to_vec()));
    }
    replaced
}

/// The digits after the first colon that has some.
fn port_of(host: &str) -> Option<String> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    host.split(':').skip(1).map(digits).find(|port| !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::RouteData;
    use crate::routes::{Owner, Routes, Slashes};

    fn route(prefix: &str, url: &str) -> Arc<Route> {
        let routes = Routes::new(Slashes::Decoded);
        let destination = Destination::parse(url).unwrap();
        routes.put(prefix, destination, (RouteData::default(), None), Owner::Api).unwrap();
        routes.get(prefix).unwrap()
    }

    fn sent(foreign: &ForeignHub, prefix: &str, url: &str, uri: &str) -> String {
        let mut head = RequestHead::default();
        let text = format!("GET {uri} HTTP/1.1\r\n\r\n");
        head.read(text.as_bytes(), crate::limits::HEADERS).unwrap().unwrap();
        foreign.server_target(&head, &route(prefix, url)).unwrap().into_owned()
    }

    #[test]
    fn the_targets_path_goes_before_the_requests() {
        let foreign = ForeignHub::default();
        for (url, uri, expected) in [
            ("http://a", "/user/x/%41?b=c", "/user/x/%41?b=c"),
            ("http://a/base", "/user/x/y", "/base/user/x/y"),
            ("http://a/base/", "/user/x/y?q", "/base/user/x/y?q"),
            ("http://a/base?k=v", "/user/x?q=1", "/base/user/x?k=v&q=1"),
            ("http://a?k=v", "/user/x", "/user/x?k=v"),
        ] {
            assert_eq!(sent(&foreign, "/user/x", url, uri), expected, "{url} {uri}");
        }
        let foreign = ForeignHub { prepend_path: false, ..ForeignHub::default() };
        assert_eq!(sent(&foreign, "/user/x", "http://a/base?k=v", "/user/x/y?q"), "/user/x/y?q");
    }

    #[test]
    fn the_prefix_can_be_left_out() {
        let foreign = ForeignHub { include_prefix: false, ..ForeignHub::default() };
        for (prefix, url, uri, expected) in [
            ("/user/x", "http://a", "/user/x/y?q", "/y?q"),
            ("/user/x", "http://a", "/user/x", "/"),
            ("/user/x", "http://a/base", "/user/x/y", "/base/y"),
            ("/user/x", "http://a/base", "/user/x", "/base"),
            ("/user/a@b", "http://a", "/user/a%40b/y%2Fz", "/y%2Fz"),
            ("/user/a%2Fb", "http://a", "/user/a%2fb/y", "/y"),
            ("/", "http://a", "/user/x", "/user/x"),
        ] {
            assert_eq!(sent(&foreign, prefix, url, uri), expected, "{prefix} {url} {uri}");
        }
        let foreign = ForeignHub { host_routing: true, ..foreign };
        assert_eq!(sent(&foreign, "/hub.example/user/x", "http://a", "/user/x/y"), "/y");
        assert_eq!(sent(&foreign, "/", "http://a", "/user/x/y"), "/user/x/y");
    }

    #[test]
    fn redirects_of_a_server_to_itself_are_rewritten() {
        let foreign = ForeignHub {
            auto_rewrite: true,
            protocol_rewrite: Some("https".into()),
            ..ForeignHub::default()
        };
        let destination = Destination::parse("http://127.0.0.1:9000/").unwrap();
        let rewritten = |location| foreign.rewritten(location, Some("hub.example"), &destination);
        assert_eq!(rewritten("http://127.0.0.1:9000/a?b").as_deref(), Some("https://hub.example/a?b"));
        assert_eq!(rewritten("http://127.0.0.1:9000").as_deref(), Some("https://hub.example/"));
        for other in ["http://127.0.0.1/a", "http://elsewhere:9000/a", "/a", "a"] {
            assert_eq!(rewritten(other), None, "{other}");
        }
        let destination = Destination::parse("http://127.0.0.1").unwrap();
        let rewritten = |location| foreign.rewritten(location, Some("h:1"), &destination);
        assert_eq!(rewritten("http://127.0.0.1:80/a").as_deref(), Some("https://h:1/a"));
    }

    #[test]
    fn the_port_is_that_of_the_host_header() {
        assert_eq!(port_of("hub:8000").as_deref(), Some("8000"));
        assert_eq!(port_of("[::1]:8000").as_deref(), Some("1"));
        assert_eq!(port_of("hub"), None);
    }
}
