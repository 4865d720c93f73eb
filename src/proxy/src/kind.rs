//! What a field of a head is, by its name: the one table of names that this proxy treats in a way of their own.

/// What a field is. The rules for each are in `head` and `answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Te,
    Upgrade,
    Expect,
    Cookie,
    Authorization,
    SetCookie,
    Location,
    Date,
    /// `Keep-Alive` and `Proxy-Connection`: of this connection only.
    Hop,
    /// Credentials for a proxy, and `Proxy`, which CGI programs take for a setting of theirs.
    ForProxies,
    /// `Proxy-Authenticate`.
    OfProxies,
    Forwarded,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    ForwardedPort,
    /// Believed by programs behind a proxy, so that only a trusted one may say it.
    OnlyFromTrusted,
    /// Tells the browser something about the whole origin.
    AboutTheOrigin,
    WorkerScope,
    WebSocketKey,
    WebSocketAccept,
    /// What a trailer must not say besides (RFC 9110 section 6.5.1).
    NotInTrailers,
    Other,
}

use Kind::{
    AboutTheOrigin, Authorization, Connection, ContentLength, Cookie, Date, Expect, ForProxies, Forwarded,
    ForwardedFor, ForwardedHost, ForwardedPort, ForwardedProto, Hop, Host, Location, NotInTrailers,
    OfProxies, OnlyFromTrusted, Other, SetCookie, Te, TransferEncoding, Upgrade, WebSocketAccept,
    WebSocketKey, WorkerScope,
};

impl Kind {
    /// The kind of a name, in any case. An underscore counts as a hyphen where it matters who says it: programs
    /// behind WSGI and CGI do not see the difference.
    pub(crate) fn of(name: &[u8]) -> Self {
        let same = |known: &&(&str, Kind)| {
            let mut pairs = known.0.bytes().zip(name);
            pairs.all(|(wanted, byte)| {
                wanted == byte.to_ascii_lowercase() || (wanted == b'-' && *byte == b'_' && known.1.is_told())
            })
        };
        of_length(name.len()).iter().find(same).map_or(Other, |known| known.1)
    }

    /// Whether it tells a server about the browser.
    pub(crate) fn is_told(self) -> bool {
        self.is_written_here() || self == OnlyFromTrusted
    }

    /// Whether this proxy says it itself.
    pub(crate) fn is_written_here(self) -> bool {
        matches!(self, Forwarded | ForwardedFor | ForwardedProto | ForwardedHost | ForwardedPort)
    }

    /// Whether it may come after a body.
    pub(crate) fn may_trail(self) -> bool {
        self == Other
    }
}

/// The known names of a length, so that most fields are told apart at one look.
fn of_length(length: usize) -> &'static [(&'static str, Kind)] {
    match length {
        2 => &[("te", Te)],
        3 => &[("nel", AboutTheOrigin)],
        4 => &[("host", Host), ("date", Date)],
        5 => &[("proxy", ForProxies)],
        6 => &[("cookie", Cookie), ("expect", Expect)],
        7 => &[("upgrade", Upgrade), ("alt-svc", AboutTheOrigin), ("trailer", NotInTrailers)],
        8 => &[("location", Location), ("x-scheme", OnlyFromTrusted)],
        9 => &[("forwarded", Forwarded), ("x-real-ip", OnlyFromTrusted), ("report-to", AboutTheOrigin)],
        10 => &[("connection", Connection), ("keep-alive", Hop), ("set-cookie", SetCookie)],
        11 => &[
            ("x-forwarded", OnlyFromTrusted),
            ("remote-user", OnlyFromTrusted),
            ("x-client-ip", OnlyFromTrusted),
        ],
        12 => &[("content-type", NotInTrailers), ("max-forwards", NotInTrailers)],
        13 => &[
            ("x-remote-user", OnlyFromTrusted),
            ("x-rewrite-url", OnlyFromTrusted),
            ("x-script-name", OnlyFromTrusted),
            ("cache-control", NotInTrailers),
            ("authorization", Authorization),
            ("content-range", NotInTrailers),
        ],
        14 => &[
            ("content-length", ContentLength),
            ("x-original-url", OnlyFromTrusted),
            ("x-original-uri", OnlyFromTrusted),
            ("true-client-ip", OnlyFromTrusted),
        ],
        15 => &[
            ("x-forwarded-for", ForwardedFor),
            ("x-forwarded-ssl", OnlyFromTrusted),
            ("clear-site-data", AboutTheOrigin),
            ("public-key-pins", AboutTheOrigin),
        ],
        16 => &[
            ("x-forwarded-host", ForwardedHost),
            ("x-forwarded-port", ForwardedPort),
            ("x-forwarded-user", OnlyFromTrusted),
            ("proxy-connection", Hop),
            ("content-encoding", NotInTrailers),
        ],
        17 => &[
            ("transfer-encoding", TransferEncoding),
            ("x-forwarded-proto", ForwardedProto),
            ("x-forwarded-email", OnlyFromTrusted),
            ("sec-websocket-key", WebSocketKey),
        ],
        18 => &[
            ("x-forwarded-groups", OnlyFromTrusted),
            ("x-forwarded-prefix", OnlyFromTrusted),
            ("x-forwarded-scheme", OnlyFromTrusted),
            ("x-forwarded-server", OnlyFromTrusted),
            ("proxy-authenticate", OfProxies),
        ],
        19 => &[("x-cluster-client-ip", OnlyFromTrusted), ("proxy-authorization", ForProxies)],
        20 => &[("sec-websocket-accept", WebSocketAccept)],
        22 => &[("service-worker-allowed", WorkerScope)],
        25 => &[("strict-transport-security", AboutTheOrigin)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_found_under_its_length() {
        let mut count = 0;
        for length in 0..64 {
            for (name, kind) in of_length(length) {
                assert_eq!(name.len(), length, "{name}");
                assert_eq!(Kind::of(name.to_ascii_uppercase().as_bytes()), *kind, "{name}");
                count += 1;
            }
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn underscores_do_not_hide_what_only_a_front_proxy_may_say() {
        assert_eq!(Kind::of(b"Remote_User"), OnlyFromTrusted);
        assert_eq!(Kind::of(b"X_Forwarded-For"), ForwardedFor);
        assert_eq!(Kind::of(b"set_cookie"), Other);
    }
}
