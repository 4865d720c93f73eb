//! Where a route leads, as the REST API writes it: a URL.

use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::head::is_host;
use crate::{Endpoint, Target};

/// What of a socket's path stays plain in a URL.
const SOCKET_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A target with what its URL says beyond the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(crate) target: Target,
    /// Host and port as a `Host` header has them: without the scheme's own port.
    pub(crate) authority: String,
    /// The path; `/` if the URL has none.
    pub(crate) path: String,
    /// The query, empty if there is none.
    pub(crate) query: String,
}

/// Why a URL is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Not one of the schemes.
    #[error("'target' must begin with http://, https:// or http+unix://")]
    Scheme,
    /// The host or port is missing or wrong.
    #[error("'target' must name a host and a port from 1 to 65535, or the percent-encoded path of a socket")]
    Host,
    /// The path or query has a character that must be encoded.
    #[error("'target' has a character in its path or query that must be percent-encoded")]
    Character,
}

impl Destination {
    /// The socket.
    pub fn endpoint(&self) -> &Endpoint {
        &self.target.endpoint
    }

    /// Takes a URL apart: `http://HOST:PORT/PATH`, `https://…` or `http+unix://%2Fpath%2Fto.sock/PATH`.
    pub fn parse(url: &str) -> Result<Self, DestinationError> {
        let (scheme, rest) = url.split_once("://").ok_or(DestinationError::Scheme)?;
        let (authority, rest) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(DestinationError::Character);
        }
        let (endpoint, authority) = match scheme.to_ascii_lowercase().as_str() {
            "http" => tcp(authority, 80)?,
            "https" => match tcp(authority, 443)? {
                (Endpoint::Tcp(address), text) => {
                    (Endpoint::Tls(address.ip().to_string().into(), address.port()), text)
                }
                (Endpoint::Name(name, port), text) => (Endpoint::Tls(name, port), text),
                other => other,
            },
            "http+unix" | "unix+http" => (unix(authority)?, "localhost".to_owned()),
            _ => return Err(DestinationError::Scheme),
        };
        let path = if path.is_empty() { "/" } else { path };
        let target = Target { endpoint, uid: None };
        Ok(Self { target, authority, path: path.to_owned(), query: query.to_owned() })
    }
}

impl From<Target> for Destination {
    fn from(target: Target) -> Self {
        let authority = match &target.endpoint {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Name(name, port) | Endpoint::Tls(name, port) => format!("{name}:{port}"),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        Self { target, authority, path: "/".to_owned(), query: String::new() }
    }
}

/// The URL of a target.
pub(crate) fn url(target: &Target) -> String {
    match &target.endpoint {
        Endpoint::Unix(path) => {
            format!("http+unix://{}", utf8_percent_encode(&path.to_string_lossy(), SOCKET_PATH))
        }
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Name(name, port) => format!("http://{name}:{port}"),
        Endpoint::Tls(name, port) => format!("https://{name}:{port}"),
    }
}

fn tcp(authority: &str, own_port: u16) -> Result<(Endpoint, String), DestinationError> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if port.is_empty() { Ok(own_port) } else { port.parse() };
    let port = port.ok().filter(|port| digits && *port > 0).ok_or(DestinationError::Host)?;
    let text = if port == own_port { host.to_owned() } else { format!("{host}:{port}") };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
        // An IPv6 address stands in brackets, an IPv4 address does not.
        return if bare.is_some() == address.is_ipv6() {
            Ok((Endpoint::Tcp((address, port).into()), text))
        } else {
            Err(DestinationError::Host)
        };
    }
    if !is_host(host) || host.contains([':', '[', ']', '%']) {
        return Err(DestinationError::Host);
    }
    Ok((Endpoint::Name(host.into(), port), text))
}

fn unix(authority: &str) -> Result<Endpoint, DestinationError> {
    let path = percent_decode_str(authority).decode_utf8().map_err(|_| DestinationError::Host)?;
    if path.starts_with('/') && !path.contains('\0') {
        Ok(Endpoint::Unix(PathBuf::from(path.into_owned())))
    } else {
        Err(DestinationError::Host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_is_a_destination_or_refused(
            scheme in "(http|https|http\\+unix|unix\\+http|x)", rest in any::<String>(),
        ) {
            if let Ok(it) = Destination::parse(&format!("{scheme}://{rest}")) {
                prop_assert!(it.path.starts_with('/'));
                let uri: Result<http::Uri, _> = format!("{}?{}", it.path, it.query).parse();
                prop_assert!(uri.is_ok());
                prop_assert!(http::HeaderValue::from_str(&it.authority).is_ok());
                prop_assert!(Destination::parse(&url(&it.target)).is_ok_and(|same| same.target == it.target));
            }
        }
    }

    fn parsed(url: &str) -> (Endpoint, String, String, String) {
        let it = Destination::parse(url).unwrap();
        (it.target.endpoint, it.authority, it.path, it.query)
    }

    #[test]
    fn urls_are_taken_apart() {
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        for (url, endpoint, (authority, path, query)) in [
            (
                "http://127.0.0.1:9300",
                Endpoint::Tcp("127.0.0.1:9300".parse().unwrap()),
                text("127.0.0.1:9300", "/", ""),
            ),
            ("http://[::1]/a?b=c#d", Endpoint::Tcp("[::1]:80".parse().unwrap()), text("[::1]", "/a", "b=c")),
            ("HTTP://hub:80/x/", Endpoint::Name("hub".into(), 80), text("hub", "/x/", "")),
            ("https://hub:8443", Endpoint::Tls("hub".into(), 8443), text("hub:8443", "/", "")),
            ("https://127.0.0.1", Endpoint::Tls("127.0.0.1".into(), 443), text("127.0.0.1", "/", "")),
            ("http+unix://%2Frun%2Fa%20b", Endpoint::Unix("/run/a b".into()), text("localhost", "/", "")),
            ("unix+http://%2Fs/x", Endpoint::Unix("/s".into()), text("localhost", "/x", "")),
        ] {
            assert_eq!(parsed(url), (endpoint, authority, path, query), "{url}");
        }
    }

    #[test]
    fn what_nothing_can_connect_to_is_refused() {
        for (url, error) in [
            ("127.0.0.1:9300", DestinationError::Scheme),
            ("ws://a", DestinationError::Scheme),
            ("", DestinationError::Scheme),
            ("http://", DestinationError::Host),
            ("http://a:0", DestinationError::Host),
            ("http://a:70000", DestinationError::Host),
            ("http://a:+80", DestinationError::Host),
            ("http://user@a", DestinationError::Host),
            ("http://::1", DestinationError::Host),
            ("http://[127.0.0.1]", DestinationError::Host),
            ("http+unix://relative", DestinationError::Host),
            ("http+unix://%2Fa%00", DestinationError::Host),
            ("http://a/b c", DestinationError::Character),
            ("http://a/\r\nX: y", DestinationError::Character),
        ] {
            assert_eq!(Destination::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn targets_have_urls() {
        for text in ["http+unix://%2Frun%2Fhubd%2Fs", "http://[::1]:8081", "http://hub:80", "https://hub:443"]
        {
            assert_eq!(url(&Destination::parse(text).unwrap().target), text);
        }
    }
}
