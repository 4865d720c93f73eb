//! A new connection: who is there, is there room, and which protocol is spoken.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::head::is_host;
use crate::limits::{Pass, refuse};
use crate::listen::Service;
use crate::origin::{Peer, Visitor};
use crate::stream::{Socket, Stream};
use crate::tls::HTTP2;
use crate::{Tls, h2, http1, proxy_protocol};

/// Longer than any honest handshake, also over a bad line.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Bytes looked at of a plain request to the TLS port.
const LOOK_BYTES: usize = 64 * 1024;
/// The first byte of a TLS connection (RFC 8446 section 5.1: a record of type handshake).
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves a connection that has been accepted, to its end.
pub(crate) async fn welcome(
    service: Arc<Service>,
    (mut socket, address): (Socket, Option<IpAddr>),
    tls: Option<Arc<Tls>>,
    pass: Option<Pass>,
) {
    let Some(peer) = introduced(&service, &mut socket, address, tls.is_some()).await else { return };
    let Some(visitor) = admitted(&service, pass, peer) else {
        // There is no time for a TLS handshake with somebody who has no place.
        return if tls.is_none() {
            refuse(socket).await
        };
    };
    let Some(tls) = tls else { return http1::speak(service, Stream::Plain(socket), visitor).await };
    if let Socket::Tcp(stream) = &mut socket {
        let Ok(stream) = stream.watched() else { return };
        match tokio::time::timeout(HANDSHAKE_TIME, speaks_tls(stream)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return say_https(socket).await,
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let Some(stream) = handshake(socket, &tls).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let stream = Stream::Tls(Box::new(stream.into()));
    if is_http2 {
        h2::Together::new(h2::speak(service, stream, visitor)).await;
    } else {
        http1::speak(service, stream, visitor).await;
    }
}

/// What is known of a connection from now on; None if there are too many.
fn admitted(service: &Service, pass: Option<Pass>, peer: Peer) -> Option<Arc<Visitor>> {
    let pass = pass.and_then(|pass| pass.of(peer));
    if pass.is_none() {
        tracing::debug!("too many connections, one refused: {:?}", peer.address);
    }
    pass.map(|pass| Visitor::new(peer, service.proxy.settings.limits.minimum_rate, Some(pass)))
}

/// Who is at the other end, by the kernel's word or by that of the front proxy that opened the connection.
/// None if the front proxy says nothing, or is none.
async fn introduced(
    service: &Service,
    stream: &mut Socket,
    address: Option<IpAddr>,
    https: bool,
) -> Option<Peer> {
    let settings = &service.proxy.settings;
    let near = Peer::new(address, https, settings);
    if !settings.proxy_protocol {
        return Some(near);
    }
    if !near.trusted {
        tracing::debug!("connection refused, trusted_proxies does not name {address:?}");
        return None;
    }
    match tokio::time::timeout(HANDSHAKE_TIME, proxy_protocol::read(stream)).await {
        Ok(Ok(Some(far))) => Some(Peer::new(Some(far), https, settings)),
        Ok(Ok(None)) => Some(near),
        Ok(Err(error)) => {
            tracing::warn!("connection of {address:?} refused: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn handshake(socket: Socket, tls: &Tls) -> Option<tokio_rustls::server::TlsStream<Socket>> {
    match tokio::time::timeout(HANDSHAKE_TIME, tls.acceptor().accept(socket)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!("no TLS connection: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [TLS_HANDSHAKE];
    stream.peek(&mut first).await?;
    // Everything that is not a letter is left to rustls, which answers with an alert.
    Ok(!first.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Tells somebody who speaks plain HTTP to the TLS port what to do.
async fn say_https(mut stream: Socket) {
    let mut buffer = vec![0; LOOK_BYTES];
    let talk = async {
        let length = stream.read(&mut buffer).await?;
        let host = buffer.get(..length).and_then(host_of).unwrap_or_default();
        let text = format!("This port speaks HTTPS: open https://{host}\n");
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What was sent is read, or the kernel resets the connection and the answer is lost.
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not take the answer does not need it.
    let _ = tokio::time::timeout(HANDSHAKE_TIME, talk).await;
}

/// The host that a plain request names, as far as it has come.
fn host_of(head: &[u8]) -> Option<&str> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let host = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"host:").then_some(value)
    })?;
    std::str::from_utf8(host.trim_ascii()).ok().filter(|host| is_host(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_plain_request_is_found_and_checked() {
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nA: b\r\nHOST: hub:80\r\n\r\n"), Some("hub:80"));
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nHost: <b>\r\n\r\n"), None);
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nA"), None);
    }
}
