//! Who is at the other end, and what a server is told of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fields::{Fields, line};
use crate::head::is_host;
use crate::kind::Kind;
use crate::limits::Pass;
use crate::patience::Patience;
use crate::{Client, Network, ProxySettings, forwarded};

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

/// One connection's other end.
pub(crate) struct Visitor {
    pub(crate) peer: Peer,
    minimum_rate: u64,
    /// Who asks, by the host asked for; it is the same from request to request.
    known: Mutex<Option<Arc<Origin>>>,
    /// The connection's place, as long as anything is left of it.
    _pass: Option<Pass>,
}

impl Visitor {
    pub(crate) fn new(peer: Peer, minimum_rate: u64, pass: Option<Pass>) -> Arc<Self> {
        Arc::new(Self { peer, minimum_rate, known: Mutex::default(), _pass: pass })
    }

    /// How long it is waited for.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.minimum_rate)
    }

    /// Who asks for `host`. What trusted proxies say is new with each request.
    pub(crate) fn origin(&self, host: &str, fields: &Fields, settings: &ProxySettings) -> Arc<Origin> {
        if self.peer.trusted {
            return Arc::new(Origin::new(self.peer, host, fields, settings));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = known.as_ref().filter(|known| known.client.host == host) {
            return origin.clone();
        }
        let origin = Arc::new(Origin::new(self.peer, host, fields, settings));
        *known = Some(origin.clone());
        origin
    }
}

/// The other end of one request, and what a user server is told of it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) client: Arc<Client>,
    /// `Forwarded` and its older kin, as lines.
    pub(crate) lines: Vec<u8>,
}

impl Origin {
    /// Finds out who sends this request. Of each header only the entry counts that the trusted
    /// proxy itself has added, the last one: those before it came from the browser. `Forwarded` counts only where
    /// there is no `X-Forwarded-For`: a proxy that writes one of them may pass the other on unread.
    pub(crate) fn new(peer: Peer, host: &str, fields: &Fields, settings: &ProxySettings) -> Self {
        let near = peer.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let old = !peer.trusted || fields.first(Kind::ForwardedFor).is_some();
        let forwarded = if old { None } else { forwarded::read(fields.all(Kind::Forwarded)) };
        let believed = peer.trusted && forwarded.is_none();
        let told = |kind: Kind| believed.then(|| last_entry(fields, kind)).flatten();
        let scheme = told(Kind::ForwardedProto).or_else(|| forwarded.as_ref()?.proto.as_deref());
        let told_host = told(Kind::ForwardedHost).or_else(|| forwarded.as_ref()?.host.as_deref());
        let https = scheme.map_or(peer.https, |scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
        });
        let host = told_host.filter(|host| is_host(host)).unwrap_or(host).to_owned();
        let is_port = |port: &&str| port.parse::<u16>().is_ok();
        let port = told(Kind::ForwardedPort).filter(is_port).or_else(|| port_of(&host)).map(str::to_owned);
        let port = port.unwrap_or_else(|| if https { "443" } else { "80" }.to_owned());
        let joined_for = told(Kind::ForwardedFor).map(|_| joined(fields, Kind::ForwardedFor));
        let before = joined_for.or_else(|| forwarded.map(|known| known.chain));
        let address = before.as_deref().map_or(near, |chain| far_end(chain, near, settings));
        let chain = match before {
            Some(before) => format!("{before}, {near}"),
            None => near.to_string(),
        };
        let client = Arc::new(Client { address, https, host });
        Self { lines: telling(&client, &chain, &port), client }
    }
}

/// The fields that tell a server of the browser. `chain` are the addresses on the way, nearest last.
fn telling(client: &Client, chain: &str, port: &str) -> Vec<u8> {
    let scheme = if client.https { "https" } else { "http" };
    let addresses = chain.split(',').map(|entry| address(entry.trim()));
    let forwarded = forwarded::written(addresses, &client.host, scheme);
    let mut lines = Vec::new();
    for (name, value) in [
        ("Forwarded", forwarded.as_str()),
        ("X-Forwarded-For", chain),
        ("X-Forwarded-Proto", scheme),
        ("X-Forwarded-Host", client.host.as_str()),
        ("X-Forwarded-Port", port),
    ] {
        line(&mut lines, name.as_bytes(), value.as_bytes());
    }
    lines
}

fn last_entry(fields: &Fields, kind: Kind) -> Option<&str> {
    let value = fields.all(kind).next_back()?;
    std::str::from_utf8(value).ok()?.rsplit(',').next().map(str::trim)
}

fn joined(fields: &Fields, kind: Kind) -> String {
    let values: Vec<&str> = fields.all(kind).filter_map(|value| std::str::from_utf8(value).ok()).collect();
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

fn port_of(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    let whole = !name.contains(':') || name.ends_with(']');
    (whole && port.parse::<u16>().is_ok()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ProxySettings {
        ProxySettings { trusted_proxies: vec!["10.0.0.0/30".parse().unwrap()], ..ProxySettings::default() }
    }

    fn origin(from: &str, host: &str, lines: &[(&str, &str)]) -> Origin {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        Origin::new(Peer::new(Some(from.parse().unwrap()), false, &settings()), host, &fields, &settings())
    }

    #[test]
    fn forwarded_of_a_trusted_proxy_is_believed_unless_it_speaks_the_older_language() {
        let forwarded = ("forwarded", "for=6.6.6.6, for=192.0.2.7;proto=https;host=hub.example");
        let known = origin("10.0.0.1", "h", &[forwarded, ("x-forwarded-proto", "http")]);
        assert_eq!(known.client.address.to_string(), "192.0.2.7");
        assert!(known.client.https);
        assert_eq!(known.client.host, "hub.example");
        let lines = String::from_utf8(known.lines).unwrap();
        assert!(lines.contains("X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.1\r\n"), "{lines}");
        assert!(lines.contains("X-Forwarded-Port: 443\r\n"), "{lines}");
        let older = origin("10.0.0.1", "h", &[forwarded, ("x-forwarded-for", "192.0.2.8")]);
        assert_eq!(older.client.address.to_string(), "192.0.2.8");
        assert!(!older.client.https && older.client.host == "h");
    }

    #[test]
    fn the_client_is_the_last_untrusted_address_of_the_chain() {
        let client = |from: &str, chain: &str| {
            origin(from, "h", &[("x-forwarded-for", chain)]).client.address.to_string()
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
    fn who_asks_is_found_out_once_for_each_host() {
        let settings = settings();
        let peer = Peer::new(Some("192.0.2.1".parse().unwrap()), false, &settings);
        let visitor = Visitor::new(peer, 100, None);
        let fields = Fields::default();
        let first = visitor.origin("a", &fields, &settings);
        assert!(Arc::ptr_eq(&first, &visitor.origin("a", &fields, &settings)));
        assert_eq!(visitor.origin("b", &fields, &settings).client.host, "b");
    }
}
