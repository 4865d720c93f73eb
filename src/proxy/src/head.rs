//! What of a request's head reaches whom, and what the other end is known to be.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::{Client, Network, ProxySettings, forwarded};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What the listener knows of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// None for a Unix socket.
    pub(crate) address: Option<IpAddr>,
    pub(crate) https: bool,
    /// A front proxy whose word counts.
    pub(crate) trusted: bool,
}

impl Peer {
    /// Who can connect to a Unix socket is decided by its permissions, so they are trusted.
    pub(crate) fn new(address: Option<IpAddr>, https: bool, settings: &ProxySettings) -> Self {
        let address = address.map(|ip| ip.to_canonical());
        let trusted = address.is_none_or(|ip| is_trusted(&settings.trusted_proxies, ip));
        Self { address, https, trusted }
    }
}

/// The other end of one request, and what a user server is told of it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) client: Client,
    /// `Forwarded` and its older kin.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Origin {
    /// Finds out who sends this request. Of each header only the entry counts that the trusted
    /// proxy itself has added, the last one: those before it came from the browser. `Forwarded` counts only where
    /// there is no `X-Forwarded-For`: a proxy that writes one of them may pass the other on unread.
    pub(crate) fn new(peer: Peer, host: String, headers: &HeaderMap, settings: &ProxySettings) -> Self {
        let near = peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let old = !peer.trusted || headers.contains_key(FORWARDED_FOR);
        let forwarded = if old { None } else { forwarded::read(headers) };
        let believed = peer.trusted && forwarded.is_none();
        let told = |name: HeaderName| believed.then(|| last_entry(headers, &name)).flatten();
        let told_scheme = told(FORWARDED_PROTO);
        let scheme = told_scheme.or_else(|| forwarded.as_ref()?.proto.as_deref());
        let told_host = told(FORWARDED_HOST).or_else(|| forwarded.as_ref()?.host.as_deref());
        let https = scheme.map_or(peer.https, |scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
        });
        let host = told_host.filter(|host| is_host(host)).map_or(host, str::to_owned);
        let is_port = |port: &&str| port.parse::<u16>().is_ok();
        let port = told(FORWARDED_PORT).filter(is_port).or_else(|| port_of(&host)).map(str::to_owned);
        let port = port.unwrap_or_else(|| if https { "443" } else { "80" }.to_owned());
        let joined_for = told(FORWARDED_FOR).map(|_| joined(headers, &FORWARDED_FOR));
        let before = joined_for.or_else(|| forwarded.map(|known| known.chain));
        let address = before.as_deref().map_or(near, |chain| far_end(chain, near, settings));
        let chain = match before {
            Some(before) => format!("{before}, {near}"),
            None => near.to_string(),
        };
        let client = Client { address, https, host };
        Self { headers: telling(&client, &chain, &port), client }
    }
}

/// The headers that tell a server of the browser. `chain` are the addresses on the way, nearest last.
fn telling(client: &Client, chain: &str, port: &str) -> Vec<(HeaderName, HeaderValue)> {
    let scheme = if client.https { "https" } else { "http" };
    let addresses = chain.split(',').map(|entry| address(entry.trim()));
    let forwarded = forwarded::written(addresses, &client.host, scheme);
    let headers = [
        (header::FORWARDED, forwarded.as_str()),
        (FORWARDED_FOR, chain),
        (FORWARDED_PROTO, scheme),
        (FORWARDED_HOST, client.host.as_str()),
        (FORWARDED_PORT, port),
    ];
    headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?))).collect()
}

/// Removes what must not go further than this connection, and what only a trusted proxy may say.
pub(crate) fn clean(head: &mut Parts, trusted: bool) {
    if let Some(named) = named_in_connection(&head.headers) {
        for name in named.iter().filter(|name| **name != header::HOST && **name != header::CONTENT_LENGTH) {
            head.headers.remove(name);
        }
    }
    // Most requests have one or none of these: one look at each name is cheaper than many look-ups.
    let ends_here = |name: &&HeaderName| {
        HOP_BY_HOP.contains(name) || (!trusted && ONLY_FROM_TRUSTED.contains(&name.as_str()))
    };
    let names: Vec<HeaderName> = head.headers.keys().filter(ends_here).cloned().collect();
    for name in names {
        head.headers.remove(name);
    }
}

/// RFC 9110 section 7.6.1, and `Proxy`, which CGI programs take for a setting of theirs. `Expect` is
/// answered by this proxy, when the server begins to read.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("proxy"),
];

/// Believed by programs behind a proxy, so a browser must not say them.
const ONLY_FROM_TRUSTED: &[&str] = &[
    "forwarded",
    "remote-user",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-forwarded-groups",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-user",
    "x-original-url",
    "x-original-uri",
    "x-real-ip",
    "x-remote-user",
    "x-rewrite-url",
    "x-scheme",
    "x-script-name",
    "true-client-ip",
];

/// The head for a user server, of an already cleaned one.
pub(crate) fn for_server(head: &Parts, origin: &Origin, settings: &ProxySettings) -> HeaderMap {
    let mut headers = head.headers.clone();
    // hyper frames the body anew.
    headers.remove(header::TRANSFER_ENCODING);
    if head.headers.contains_key(header::COOKIE) {
        headers.remove(header::COOKIE);
        for value in head.headers.get_all(header::COOKIE) {
            if let Some(value) = without_hub_cookies(value, &settings.hub_cookies) {
                headers.append(header::COOKIE, value);
            }
        }
    }
    if settings.foreign.is_none() {
        for (name, value) in &origin.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers
}

/// Whether `name` is a cookie of the hub, also in its prefixed forms.
pub(crate) fn is_hub_cookie(name: &[u8], hub_cookies: &[String]) -> bool {
    let bare = |prefix: &[u8]| {
        let (start, rest) = name.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let bare = bare(b"__host-").or_else(|| bare(b"__secure-")).unwrap_or(name);
    hub_cookies.iter().any(|cookie| cookie.as_bytes() == bare || cookie.as_bytes() == name)
}

fn without_hub_cookies(value: &HeaderValue, hub_cookies: &[String]) -> Option<HeaderValue> {
    let is_hubs = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        is_hub_cookie(name.trim_ascii(), hub_cookies)
    };
    let pairs = || value.as_bytes().split(|byte| *byte == b';');
    if !pairs().any(|pair| is_hubs(&pair)) {
        return Some(value.clone());
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !is_hubs(pair)).map(<[u8]>::trim_ascii).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok() }
}

/// The header names that `Connection` lists.
pub(crate) fn named_in_connection(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let entries = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect::<Vec<_>>()
    };
    headers
        .contains_key(header::CONNECTION)
        .then(|| headers.get_all(header::CONNECTION).iter().flat_map(entries).collect())
}

/// The protocol that a request asks to change to, if it does.
pub(crate) fn asked_upgrade(head: &Parts) -> Option<HeaderValue> {
    let asked = named_in_connection(&head.headers)?.contains(&header::UPGRADE);
    if !asked || head.version != http::Version::HTTP_11 {
        return None;
    }
    let protocol = head.headers.get(header::UPGRADE)?;
    // Another HTTP inside would be one that this proxy does not look into; the asker may go on without.
    let hidden = ["h2c", "http/", "tls/"];
    let name = protocol.to_str().ok()?.trim().to_ascii_lowercase();
    (!hidden.iter().any(|start| name.starts_with(start)) && !name.contains(',')).then(|| protocol.clone())
}

fn last_entry<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(", ")
}

fn is_trusted(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

/// The last address of the chain that is not a trusted proxy's.
fn far_end(chain: &str, near: IpAddr, settings: &ProxySettings) -> IpAddr {
    let mut far = near;
    for entry in chain.rsplit(',') {
        let Some(ip) = address(entry.trim()) else { break };
        far = ip;
        if !is_trusted(&settings.trusted_proxies, ip) {
            break;
        }
    }
    far
}

/// An address as the various proxies write it: plain, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse().ok().or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    ip.or_else(bare).map(|ip: IpAddr| ip.to_canonical())
}

/// Whether a text could be a `Host` header's value, and can stand in an address.
pub(crate) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte))
}

fn port_of(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    let whole = !name.contains(':') || name.ends_with(']');
    (whole && port.parse::<u16>().is_ok()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn settings() -> ProxySettings {
        ProxySettings {
            trusted_proxies: vec!["10.0.0.0/30".parse().unwrap()],
            hub_cookies: vec!["hub-login".into(), "hubd-ticket".into()],
            ..ProxySettings::default()
        }
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/user/a/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn peer(address: &str) -> Peer {
        Peer::new(Some(address.parse().unwrap()), false, &settings())
    }

    /// What a server gets, as lines.
    fn sent(from: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let mut head = head(headers);
        let peer = peer(from);
        let origin = Origin::new(peer, "hub:8000".into(), &head.headers, &settings());
        clean(&mut head, peer.trusted);
        let headers = for_server(&head, &origin, &settings());
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn forwarded_headers_of_strangers_are_replaced() {
        let lines = sent(
            "192.0.2.1",
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("x-real-ip", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
                ("x-scheme", "https"),
                ("remote-user", "root"),
                ("proxy", "evil"),
            ],
        );
        assert_eq!(
            lines,
            [
                "forwarded: for=192.0.2.1;host=\"hub:8000\";proto=http",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-proto: http",
                "x-forwarded-host: hub:8000",
                "x-forwarded-port: 8000"
            ]
        );
    }

    #[test]
    fn forwarded_headers_of_a_trusted_proxy_are_believed() {
        let lines = sent(
            "::ffff:10.0.0.1",
            &[
                ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
                ("x-forwarded-for", "10.0.0.2"),
                ("x-forwarded-proto", "http, https"),
                ("x-forwarded-host", "hub.example"),
                ("x-real-ip", "192.0.2.7"),
            ],
        );
        assert!(lines.contains(&"x-forwarded-for: 6.6.6.6, 192.0.2.7, 10.0.0.2, 10.0.0.1".to_owned()));
        assert!(lines.contains(&"x-forwarded-proto: https".to_owned()));
        assert!(lines.contains(&"x-forwarded-host: hub.example".to_owned()));
        assert!(lines.contains(&"x-forwarded-port: 443".to_owned()));
        assert!(lines.contains(&"x-real-ip: 192.0.2.7".to_owned()));
    }

    #[test]
    fn forwarded_of_a_trusted_proxy_is_believed_unless_it_speaks_the_older_language() {
        let origin = |headers: &[(&str, &str)]| {
            Origin::new(peer("10.0.0.1"), "h".into(), &head(headers).headers, &settings())
        };
        let forwarded = ("forwarded", "for=6.6.6.6, for=192.0.2.7;proto=https;host=hub.example");
        let origin_of = origin(&[forwarded, ("x-forwarded-proto", "http")]);
        assert_eq!(origin_of.client.address.to_string(), "192.0.2.7");
        assert!(origin_of.client.https);
        assert_eq!(origin_of.client.host, "hub.example");
        assert_eq!(origin_of.headers[1].1, "6.6.6.6, 192.0.2.7, 10.0.0.1");
        assert_eq!(origin_of.headers[4], (FORWARDED_PORT, HeaderValue::from_static("443")));
        let older = origin(&[forwarded, ("x-forwarded-for", "192.0.2.8")]);
        assert_eq!(older.client.address.to_string(), "192.0.2.8");
        assert!(!older.client.https && older.client.host == "h");
    }

    #[test]
    fn the_client_is_the_last_untrusted_address_of_the_chain() {
        let client = |from: &str, chain: &str| {
            let head = head(&[("x-forwarded-for", chain)]);
            Origin::new(peer(from), "h".into(), &head.headers, &settings()).client.address.to_string()
        };
        assert_eq!(client("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "192.0.2.7:4711"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(client("10.0.0.1", "10.0.0.2"), "10.0.0.2");
        assert_eq!(client("10.0.0.1", "6.6.6.6, nonsense"), "10.0.0.1");
        assert_eq!(client("192.0.2.1", "6.6.6.6"), "192.0.2.1");
    }

    #[test]
    fn a_front_proxy_on_a_unix_socket_is_trusted() {
        assert!(Peer::new(None, false, &settings()).trusted);
        assert!(!Peer::new(Some("127.0.0.1".parse().unwrap()), false, &settings()).trusted);
    }

    #[test]
    fn hop_by_hop_headers_and_those_named_in_connection_end_here() {
        let lines = sent(
            "192.0.2.1",
            &[
                ("connection", "close, X-Secret, host"),
                ("connection", "content-length"),
                ("x-secret", "1"),
                ("host", "hub:8000"),
                ("content-length", "3"),
                ("keep-alive", "1"),
                ("te", "trailers"),
                ("upgrade", "x"),
                ("proxy-authorization", "x"),
                ("proxy-connection", "x"),
                ("expect", "100-continue"),
                ("x-kept", "1"),
            ],
        );
        for kept in ["host: hub:8000", "content-length: 3", "x-kept: 1"] {
            assert!(lines.contains(&kept.to_owned()), "{kept}");
        }
        assert_eq!(lines.len(), 3 + 5, "Forwarded and the four X-Forwarded- headers come in addition");
    }

    #[test]
    fn hub_cookies_do_not_reach_a_server() {
        let cookies = |value: &str| {
            let lines = sent("192.0.2.1", &[("cookie", value)]);
            lines.iter().find_map(|line| line.strip_prefix("cookie: ").map(str::to_owned))
        };
        assert_eq!(cookies("a=1; hub-login=x; b=2").as_deref(), Some("a=1; b=2"));
        assert_eq!(cookies("__Host-hub-login=x;hubd-ticket=y;c=3").as_deref(), Some("c=3"));
        assert_eq!(cookies("__Secure-hubd-ticket=x; hub-login"), None);
        assert_eq!(cookies(" hub-login =x; \thub-login=y;d=4").as_deref(), Some("d=4"));
        assert_eq!(cookies("hub-login2=x; e=hub-login=z").as_deref(), Some("hub-login2=x; e=hub-login=z"));
        assert_eq!(cookies("__HOST-hub-login=x"), None);
    }

    #[test]
    fn upgrades_need_both_headers_and_hidden_http_is_not_one() {
        let asked = |headers: &[(&str, &str)]| asked_upgrade(&head(headers)).is_some();
        assert!(asked(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!asked(&[("upgrade", "websocket")]));
        assert!(!asked(&[("connection", "upgrade")]));
        for hidden in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c"] {
            assert!(!asked(&[("connection", "upgrade"), ("upgrade", hidden)]), "{hidden}");
        }
    }
}
