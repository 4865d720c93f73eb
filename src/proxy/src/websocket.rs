//! WebSockets of HTTP/2 (RFC 8441), which servers are asked for in HTTP/1.1 (RFC 6455).

use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use crate::head;
use crate::wire::Watch;

/// RFC 6455 section 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// A request to change the protocol.
pub(crate) struct Asked {
    pub(crate) protocol: HeaderValue,
    pub(crate) client: OnUpgrade,
    /// What is known of the browser's connection, which counts until the tunnel ends.
    pub(crate) watch: Arc<Watch>,
    /// Only with HTTP/2, where the browser leaves this to the proxy.
    key: Option<Key>,
}

/// What the server has to answer to show that it speaks WebSocket.
struct Key {
    accept: String,
}

impl Asked {
    /// The request's wish, if it has one. An extended CONNECT becomes the GET that it stands for.
    pub(crate) fn take(head: &mut Parts, watch: &Arc<Watch>) -> Option<Self> {
        if head.method != Method::CONNECT {
            let protocol = head::asked_upgrade(head)?;
            let client = head.extensions.remove()?;
            return Some(Self { protocol, client, watch: watch.clone(), key: None });
        }
        let protocol = head.extensions.get::<Protocol>()?;
        if !protocol.as_str().eq_ignore_ascii_case("websocket") {
            return None;
        }
        let mut nonce = [0; KEY_BYTES];
        rand::fill(&mut nonce).ok()?;
        let key = BASE64.encode(nonce);
        let accept = accept_of(&key);
        head.headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::try_from(key).ok()?);
        head.method = Method::GET;
        let protocol = HeaderValue::from_static("websocket");
        let client = head.extensions.remove()?;
        Some(Self { protocol, client, watch: watch.clone(), key: Some(Key { accept }) })
    }

    /// Whether a server's answer agrees to what was asked.
    pub(crate) fn is_agreed(&self, headers: &HeaderMap) -> bool {
        let same = |name: header::HeaderName, wanted: &[u8]| {
            headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted))
        };
        let accepts = |key: &Key| {
            let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT);
            accept.is_some_and(|accept| accept.as_bytes() == key.accept.as_bytes())
        };
        same(header::UPGRADE, self.protocol.as_bytes()) && self.key.as_ref().is_none_or(accepts)
    }

    /// Whether this status would tell the browser that the protocol has changed.
    pub(crate) fn would_agree(&self, status: StatusCode) -> bool {
        self.key.is_some() && status.is_success()
    }

    /// The status and headers by which the browser learns that the protocol has changed, from the server's cleaned
    /// ones.
    pub(crate) fn agreement(&self, mut headers: HeaderMap) -> (StatusCode, HeaderMap) {
        if self.key.is_some() {
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            headers.remove(header::CONTENT_LENGTH);
            return (StatusCode::OK, headers);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    }
}

fn accept_of(key: &str) -> String {
    let text = format!("{key}{KEY_SUFFIX}");
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_proof_is_the_standards() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_websockets_may_be_asked_for_by_connect() {
        let asked = |protocol: Option<&'static str>| {
            let mut head = http::Request::connect("https://hub/").body(()).unwrap().into_parts().0;
            if let Some(protocol) = protocol {
                head.extensions.insert(Protocol::from_static(protocol));
            }
            let mut request = http::Request::new(());
            head.extensions.insert(hyper::upgrade::on(&mut request));
            Asked::take(&mut head, &Watch::new(100, None)).map(|asked| (asked.key.is_some(), head.method))
        };
        assert_eq!(asked(Some("WebSocket")), Some((true, Method::GET)));
        assert_eq!(asked(Some("connect-udp")), None);
        assert_eq!(asked(None), None);
    }
}
