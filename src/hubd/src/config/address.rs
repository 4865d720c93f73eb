//! The addresses to listen on, as `bind_url` and its relatives write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// `http://ADDRESS:PORT/PREFIX`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindUrl {
    /// Whether it says https.
    pub https: bool,
    /// The address or host name; empty is all addresses.
    pub host: String,
    /// The port; the scheme's if none is written.
    pub port: u16,
    /// The path, with a slash at both ends.
    pub prefix: String,
}

impl BindUrl {
    /// Takes a URL apart; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = "expected http://ADDRESS:PORT/PREFIX";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("{wanted}, found {text}"))?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            "http+unix" => return Err("this version of hubd cannot listen on a Unix socket".to_owned()),
            _ => return Err(format!("{wanted}, found the scheme {scheme}")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err(format!("{wanted} and nothing more, found {text}"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let default_port = if https { 443 } else { 80 };
        let port = port.filter(|port| !port.is_empty()).map_or(Ok(default_port), str::parse);
        let port = port.map_err(|_| format!("{wanted}, found no port from 0 to 65535 in {text}"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { https, host: host.to_owned(), port, prefix: prefix(path) })
    }
}

/// A URL prefix as JupyterHub normalises it: a slash at both ends.
pub fn prefix(path: &str) -> String {
    match path.trim_matches('/') {
        "" => "/".to_owned(),
        inner => format!("/{inner}/"),
    }
}

/// The addresses behind a host and port, to be tried in order. An empty host or `*` is every address: `::` takes
/// IPv4 too, and `0.0.0.0` stands in for it where the machine has no IPv6.
pub fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if host.is_empty() || host == "*" {
        let (all6, all4) = (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED));
        return Ok(vec![SocketAddr::new(all6, port), SocketAddr::new(all4, port)]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.take(1).collect()),
        Err(error) => Err(format!("the name {host} has no address: {error}")),
    }
}

/// A host as it stands in a URL.
pub fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = |text| BindUrl::parse(text).map(|u| (u.https, u.host, u.port, u.prefix));
        assert_eq!(url("http://:8000"), Ok((false, String::new(), 8000, "/".into())));
        assert_eq!(url("https://[::1]:8443/hub-a"), Ok((true, "::1".into(), 8443, "/hub-a/".into())));
        assert_eq!(url("https://example.org/"), Ok((true, "example.org".into(), 443, "/".into())));
        assert_eq!(url("http://127.0.0.1"), Ok((false, "127.0.0.1".into(), 80, "/".into())));
        assert_eq!(url("http://[::1]"), Ok((false, "::1".into(), 80, "/".into())));
    }

    #[test]
    fn urls_that_are_none_are_refused() {
        for bad in ["8000", "ftp://x", "http://x:99999", "http://x:y", "http://a@b/", "http://x/?q"] {
            assert!(BindUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(BindUrl::parse("http+unix://%2Fx").unwrap_err().contains("Unix socket"));
    }

    #[test]
    fn prefixes_get_a_slash_at_both_ends() {
        assert_eq!(prefix(""), "/");
        assert_eq!(prefix("//"), "/");
        assert_eq!(prefix("jupyter"), "/jupyter/");
        assert_eq!(prefix("/a/b/"), "/a/b/");
    }
}
