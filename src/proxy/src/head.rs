//! What of a request's head reaches whom.

use std::borrow::Cow;
use std::io::Write as _;

use crate::ProxySettings;
use crate::fields::line;
use crate::framing::Length;
use crate::kind::Kind;
use crate::request::RequestHead;

/// What a server gets instead of, or in addition to, what the browser wrote.
pub(crate) struct Outgoing<'a> {
    /// Path and query.
    pub(crate) target: Cow<'a, str>,
    /// The host of the server, for requests that name none.
    pub(crate) authority: &'a str,
    /// What this proxy tells of the browser, as lines; nothing if the fields of the browser pass.
    pub(crate) told: Option<&'a [u8]>,
    /// Fields that take the place of the browser's of the same names.
    pub(crate) replaced: Vec<(http::HeaderName, Vec<u8>)>,
    /// The protocol to change to.
    pub(crate) upgrade: Option<&'a [u8]>,
    /// The key of a WebSocket that the browser left to this proxy.
    pub(crate) key: Option<&'a str>,
    /// `Authorization` ends here.
    pub(crate) takes_authorization: bool,
    /// Cookies whose names begin so end here, beside the hub's.
    pub(crate) hidden_cookies: &'a [&'a str],
}

/// Whether a field goes further than this connection, to the app or a server. What only a trusted proxy may say goes
/// on only if it `is_trusted`.
pub(crate) fn passes(head: &RequestHead, is_trusted: bool, kind: Kind, name: &[u8]) -> bool {
    match kind {
        // RFC 9110 section 7.6.1; `Expect` is answered by this proxy, when the server is there.
        Kind::Connection | Kind::Hop | Kind::ForProxies | Kind::Te | Kind::Upgrade | Kind::Expect => false,
        Kind::Host | Kind::ContentLength => true,
        kind if kind.is_told() && !is_trusted => false,
        _ => !(head.options.names && head.fields.names(name)),
    }
}

/// Writes the head for a server. Its body is framed as it came.
pub(crate) fn write(
    out: &mut Vec<u8>,
    head: &RequestHead,
    outgoing: &Outgoing<'_>,
    (settings, is_trusted): (&ProxySettings, bool),
) {
    for piece in [head.method(), b" ", outgoing.target.as_bytes(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(piece);
    }
    for field in head.fields.iter() {
        let is_replaced = outgoing.replaced.iter().any(|(name, _)| {
            let name = name.as_str().as_bytes();
            name.eq_ignore_ascii_case(field.name)
        });
        if is_replaced || !passes(head, is_trusted, field.kind, field.name) {
            continue;
        }
        match field.kind {
            Kind::TransferEncoding | Kind::ContentLength => {}
            kind if kind.is_written_here() && outgoing.told.is_some() => {}
            Kind::Cookie => {
                if let Some(value) =
                    without_cookies(field.value, &settings.hub_cookies, outgoing.hidden_cookies)
                {
                    line(out, field.name, &value);
                }
            }
            Kind::WebSocketKey if outgoing.key.is_some() => {}
            Kind::Authorization if outgoing.takes_authorization => {}
            _ => line(out, field.name, field.value),
        }
    }
    let names_host = outgoing.replaced.iter().any(|(name, _)| name == http::header::HOST);
    if head.fields.first(Kind::Host).is_none() && !names_host {
        line(out, b"Host", outgoing.authority.as_bytes());
    }
    out.extend_from_slice(outgoing.told.unwrap_or_default());
    for (name, value) in &outgoing.replaced {
        line(out, name.as_str().as_bytes(), value);
    }
    if let Some(protocol) = outgoing.upgrade {
        line(out, b"Connection", b"Upgrade");
        line(out, b"Upgrade", protocol);
    }
    if let Some(key) = outgoing.key {
        line(out, b"Sec-WebSocket-Key", key.as_bytes());
    }
    // Where a body is usual, its absence is told (RFC 9110 section 8.6).
    let says_none = head.length == Length::Empty && matches!(head.method(), b"POST" | b"PUT" | b"PATCH");
    frame(out, if says_none { Length::Known(0) } else { head.length });
    out.extend_from_slice(b"\r\n");
}

/// Appends the field that says where the body ends.
pub(crate) fn frame(out: &mut Vec<u8>, length: Length) {
    match length {
        // Writing into memory does not fail.
        Length::Known(bytes) => {
            let _ = write!(out, "Content-Length: {bytes}\r\n");
        }
        Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Length::Empty | Length::Close => {}
    }
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

fn without_cookies<'a>(value: &'a [u8], hub_cookies: &[String], hidden: &[&str]) -> Option<Cow<'a, [u8]>> {
    let is_hubs = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        is_hub_cookie(name, hub_cookies) || hidden.iter().any(|start| name.starts_with(start.as_bytes()))
    };
    let pairs = || value.split(|byte| *byte == b';');
    if !pairs().any(|pair| is_hubs(&pair)) {
        return Some(Cow::Borrowed(value));
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !is_hubs(pair)).map(<[u8]>::trim_ascii).collect();
    if kept.is_empty() { None } else { Some(Cow::Owned(kept.join(&b"; "[..]))) }
}

/// The protocol that a request asks to change to, if it does.
pub(crate) fn asked_upgrade(head: &RequestHead) -> Option<&[u8]> {
    if !head.options.upgrade || head.is_old {
        return None;
    }
    let protocol = head.fields.first(Kind::Upgrade)?;
    // Another HTTP inside would be one that this proxy does not look into; the asker may go on without.
    let hidden = ["h2c", "http/", "tls/"];
    let name = std::str::from_utf8(protocol).ok()?.to_ascii_lowercase();
    (!hidden.iter().any(|start| name.starts_with(start)) && !name.contains(',')).then_some(protocol)
}

/// Whether a text could be a `Host` header's value, and can stand in an address.
pub(crate) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HEADERS;
    use crate::origin::{Origin, Peer};

    fn settings() -> ProxySettings {
        ProxySettings {
            trusted_proxies: vec!["10.0.0.0/30".parse().unwrap()],
            hub_cookies: vec!["hub-login".into(), "hubd-ticket".into()],
            ..ProxySettings::default()
        }
    }

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut head = RequestHead::default();
        head.read(format!("GET /user/a/ HTTP/1.1\r\n{lines}\r\n").as_bytes(), HEADERS).unwrap().unwrap();
        head
    }

    /// What a server gets, as lines.
    fn sent(from: &str, fields: &[(&str, &str)]) -> Vec<String> {
        let (head, settings) = (head(fields), settings());
        let peer = Peer::new(Some(from.parse().unwrap()), false, &settings);
        let origin = Origin::new(peer, "hub:8000", &head.fields, &settings);
        let outgoing = Outgoing {
            target: head.target().into(),
            authority: "server",
            told: Some(&origin.lines),
            replaced: Vec::new(),
            upgrade: None,
            key: None,
            takes_authorization: false,
            hidden_cookies: &[],
        };
        let mut out = Vec::new();
        write(&mut out, &head, &outgoing, (&settings, peer.trusted));
        let text = String::from_utf8(out).unwrap();
        text.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn forwarded_headers_of_strangers_are_replaced() {
        let lines = sent(
            "192.0.2.1",
            &[
                ("host", "hub:8000"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("x-real-ip", "1.1.1.1"),
                ("X_Real_IP", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
                ("x-scheme", "https"),
                ("remote-user", "root"),
                ("proxy", "evil"),
            ],
        );
        assert_eq!(
            lines,
            [
                "host: hub:8000",
                "Forwarded: for=192.0.2.1;host=\"hub:8000\";proto=http",
                "X-Forwarded-For: 192.0.2.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: hub:8000",
                "X-Forwarded-Port: 8000"
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
        assert!(lines.contains(&"X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.2, 10.0.0.1".to_owned()));
        assert!(lines.contains(&"X-Forwarded-Proto: https".to_owned()));
        assert!(lines.contains(&"X-Forwarded-Host: hub.example".to_owned()));
        assert!(lines.contains(&"X-Forwarded-Port: 443".to_owned()));
        assert!(lines.contains(&"x-real-ip: 192.0.2.7".to_owned()));
        assert!(lines.contains(&"Host: server".to_owned()), "a server wants a host");
        assert_eq!(lines.len(), 7);
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
                ("keep-alive", "1"),
                ("te", "trailers"),
                ("upgrade", "x"),
                ("proxy-authorization", "x"),
                ("proxy-connection", "x"),
                ("expect", "100-continue"),
                ("x-kept", "1"),
            ],
        );
        for kept in ["host: hub:8000", "x-kept: 1"] {
            assert!(lines.contains(&kept.to_owned()), "{kept}");
        }
        assert_eq!(lines.len(), 2 + 5, "Forwarded and the four X-Forwarded- fields come in addition");
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
        let asked = |fields: &[(&str, &str)]| asked_upgrade(&head(fields)).is_some();
        assert!(asked(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!asked(&[("upgrade", "websocket")]));
        assert!(!asked(&[("connection", "upgrade")]));
        for hidden in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c"] {
            assert!(!asked(&[("connection", "upgrade"), ("upgrade", hidden)]), "{hidden}");
        }
    }
}
