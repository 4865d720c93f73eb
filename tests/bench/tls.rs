//! Load over TLS: handshakes, big answers, and HTTP/2.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::backend::SMALL;
use crate::http::{self, Load, connect, together};

/// Clients at once that only shake hands.
const CLIENTS: usize = 8;
/// Connections of HTTP/2, and requests at once on each.
const CONNECTIONS: usize = 5;
const STREAMS: usize = 10;

/// The certificate that all proxies show.
pub static CERTIFICATE: OnceLock<CertificateDer<'static>> = OnceLock::new();

async fn shake(port: u16, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CERTIFICATE.get().unwrap().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, connect(port).await).await.unwrap()
}

/// Full handshakes, one small answer each.
pub fn handshakes(port: u16, time: Duration) -> Load {
    together(CLIENTS, time, move |_, end, done| async move {
        while Instant::now() < end {
            let mut stream = shake(port, b"http/1.1").await;
            http::small(&mut stream, "/user/u7/api", "Connection: close\r\n").await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// 100 MB down.
pub fn down(port: u16, time: Duration) -> Load {
    together(2, time, move |_, end, done| async move {
        let mut stream = shake(port, b"http/1.1").await;
        while Instant::now() < end {
            http::big(&mut stream).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Small answers over HTTP/1.1 connections that stay open.
pub fn kept(port: u16, time: Duration) -> Load {
    together(http::CONNECTIONS, time, move |_, end, done| async move {
        let mut stream = shake(port, b"http/1.1").await;
        while Instant::now() < end {
            http::small(&mut stream, "/user/u7/api", "").await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Small answers over HTTP/2.
pub fn http2(port: u16, time: Duration) -> Load {
    together(CONNECTIONS, time, move |_, end, done| async move {
        let stream = shake(port, b"h2").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "no HTTP/2");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let streams = (0..STREAMS).map(|_| {
            let (mut sender, done) = (sender.clone(), done.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let request = ::http::Request::get("https://localhost/user/u7/api");
                    let request = request.body(Empty::<Bytes>::new()).unwrap();
                    let answer = sender.send_request(request).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(&body[..], SMALL, "wrong answer");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
        connection.abort();
    })
}
