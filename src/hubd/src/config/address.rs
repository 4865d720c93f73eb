//! The addresses to listen on, as `bind_url` and its relatives write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use hubd_proxy::{Destination, Endpoint};

/// What is wanted where a port or a socket may be written.
const WANTED: &str = "expected http://ADDRESS:PORT/PREFIX or unix:/PATH/OF/SOCKET";

/// `http://ADDRESS:PORT/PREFIX` or a Unix socket, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindUrl {
    /// Whether it says https.
    pub https: bool,
    /// The Unix socket; then there is neither host nor port.
    pub socket: Option<PathBuf>,
    /// The address or host name; empty is all addresses.
    pub host: String,
    /// The port; the scheme's if none is written.
    pub port: u16,
    /// The path, with a slash at both ends.
    pub prefix: String,
}

impl BindUrl {
    /// A port of plain HTTP at the root.
    pub fn tcp(host: String, port: u16) -> Self {
        Self { https: false, socket: None, host, port, prefix: "/".to_owned() }
    }

    /// Takes a URL apart; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(Path::new(path.strip_prefix("//").unwrap_or(path)), "", text);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("{WANTED}, found {text}"))?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            "http+unix" | "unix+http" => return Self::encoded(text),
            _ => return Err(format!("{WANTED}, found the scheme {scheme}")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err(format!("{WANTED} and nothing more, found {text}"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let default_port = if https { 443 } else { 80 };
        let port = port.filter(|port| !port.is_empty()).map_or(Ok(default_port), str::parse);
        let port = port.map_err(|_| format!("{WANTED}, found no port from 0 to 65535 in {text}"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { https, prefix: prefix(path), ..Self::tcp(host.to_owned(), port) })
    }

    /// `http+unix://%2Fpath%2Fof%2Fsocket/PREFIX`, as JupyterHub writes a socket.
    fn encoded(text: &str) -> Result<Self, String> {
        let wrong = || format!("{WANTED}, found {text}; in http+unix:// each / of the path is %2F");
        let destination = Destination::parse(text).map_err(|_| wrong())?;
        let (_, rest) = text.split_once("://").ok_or_else(wrong)?;
        let below = rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default();
        match destination.endpoint() {
            Endpoint::Unix(path) if !below.contains(['?', '#']) => Self::unix(path, below, text),
            _ => Err(wrong()),
        }
    }

    fn unix(path: &Path, below: &str, text: &str) -> Result<Self, String> {
        if !path.is_absolute() || path.file_name().is_none() {
            return Err(format!("{WANTED}, found {text}: the path of a socket begins with /"));
        }
        let socket = Some(path.to_owned());
        Ok(Self { socket, prefix: prefix(below), ..Self::tcp(String::new(), 0) })
    }

    /// The scheme and the place, as they stand in a URL: `http://127.0.0.1:8081`, `http+unix://%2Frun%2Fs`.
    pub fn origin(&self, https: bool) -> String {
        match &self.socket {
            Some(path) => {
                format!("http+unix://{}", path.to_string_lossy().replace('%', "%25").replace('/', "%2F"))
            }
            None => {
                format!("{}://{}:{}", if https { "https" } else { "http" }, in_url(&self.host), self.port)
            }
        }
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
    fn a_unix_socket_is_written_in_four_ways() {
        for text in [
            "http+unix://%2Frun%2Fa.sock",
            "unix+http://%2Frun%2Fa.sock/",
            "unix:/run/a.sock",
            "unix:///run/a.sock",
        ] {
            let url = BindUrl::parse(text).unwrap();
            assert_eq!(
                (url.socket.as_deref(), url.prefix.as_str()),
                (Some(Path::new("/run/a.sock")), "/"),
                "{text}"
            );
            assert_eq!(url.origin(false), "http+unix://%2Frun%2Fa.sock");
        }
        assert_eq!(BindUrl::parse("http+unix://%2Fs/pre").unwrap().prefix, "/pre/");
    }

    #[test]
    fn urls_that_are_none_are_refused() {
        for bad in [
            "8000",
            "ftp://x",
            "http://x:99999",
            "http://x:y",
            "http://a@b/",
            "http://x/?q",
            "http+unix:///run/s",
            "http+unix://run",
            "http+unix://%2Fs/x?y",
            "unix:relative",
            "unix:/",
        ] {
            assert!(BindUrl::parse(bad).unwrap_err().contains("unix:/PATH"), "{bad}");
        }
    }

    #[test]
    fn prefixes_get_a_slash_at_both_ends() {
        assert_eq!(prefix(""), "/");
        assert_eq!(prefix("//"), "/");
        assert_eq!(prefix("jupyter"), "/jupyter/");
        assert_eq!(prefix("/a/b/"), "/a/b/");
    }
}
