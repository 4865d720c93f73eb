//! WebSockets of HTTP/2 (RFC 8441), which servers are asked for in HTTP/1.1 (RFC 6455).

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use http::request::Parts;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use crate::head;
use crate::kind::Kind;
use crate::reply::ReplyHead;
use crate::request::RequestHead;

/// RFC 6455 section 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;
const SWITCHING_PROTOCOLS: u16 = 101;

/// A request to change the protocol.
pub(crate) struct Asked {
    pub(crate) protocol: Vec<u8>,
    /// Only with HTTP/2, where the browser leaves this to the proxy.
    key: Option<Key>,
}

struct Key {
    key: String,
    /// What the server has to answer to show that it speaks WebSocket.
    accept: String,
}

impl Asked {
    /// The wish of a request of HTTP/1.1, if it has one.
    pub(crate) fn of_http1(head: &RequestHead) -> Option<Self> {
        Some(Self { protocol: head::asked_upgrade(head)?.to_vec(), key: None })
    }

    /// The same for HTTP/2, where it is an extended CONNECT, which becomes the GET that it stands for.
    pub(crate) fn of_http2(head: &mut Parts) -> Option<(Self, OnUpgrade)> {
        let protocol = head.extensions.get::<Protocol>().filter(|_| head.method == Method::CONNECT)?;
        if !protocol.as_str().eq_ignore_ascii_case("websocket") {
            return None;
        }
        let mut nonce = [0; KEY_BYTES];
        rand::fill(&mut nonce).ok()?;
        let key = BASE64.encode(nonce);
        let accept = accept_of(&key);
        head.method = Method::GET;
        let asked = Self { protocol: b"websocket".to_vec(), key: Some(Key { key, accept }) };
        Some((asked, head.extensions.remove()?))
    }

    /// The key for the server, if this proxy has to name one.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.key.as_str())
    }

    /// Whether a server's answer agrees to what was asked. Nothing if it does not change the protocol.
    pub(crate) fn agreed(&self, reply: &ReplyHead) -> Option<bool> {
        if reply.status != SWITCHING_PROTOCOLS {
            // A success would tell the browser of an extended CONNECT that the protocol has changed.
            return (self.key.is_some() && (200..300).contains(&reply.status)).then_some(false);
        }
        let protocol = reply.fields.first(Kind::Upgrade).unwrap_or_default();
        let accepts = |key: &Key| reply.fields.first(Kind::WebSocketAccept) == Some(key.accept.as_bytes());
        Some(protocol.eq_ignore_ascii_case(&self.protocol) && self.key.as_ref().is_none_or(accepts))
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
            Asked::of_http2(&mut head).map(|(asked, _)| (asked.key().is_some(), head.method))
        };
        assert_eq!(asked(Some("WebSocket")), Some((true, Method::GET)));
        assert_eq!(asked(Some("connect-udp")), None);
        assert_eq!(asked(None), None);
    }
}
