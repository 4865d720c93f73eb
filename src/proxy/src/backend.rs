//! Connections to user servers: whoever listens there is checked before the first byte is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::body::Upload;
use crate::peer::tcp_listener;
use crate::target_tls::TargetTls;
use crate::{BackendFailure, Endpoint, Target};

/// Bytes of one head, and of hyper's read buffer, in both directions.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connected socket of either kind.
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to `target` and checks who listens there.
pub(crate) async fn connect(
    target: &Target,
    timeout: Duration,
    tls: Option<&TargetTls>,
) -> Result<Stream, BackendFailure> {
    match tokio::time::timeout(timeout, connect_and_check(target, tls)).await {
        Err(_) => Err(BackendFailure::Timeout),
        Ok(result) => result,
    }
}

/// Connects and speaks HTTP/1.1; the connection lives in a task of its own, until the sender is dropped.
pub(crate) async fn open(
    target: &Target,
    timeout: Duration,
    tls: Option<&TargetTls>,
) -> Result<SendRequest<Upload>, BackendFailure> {
    let stream = connect(target, timeout, tls).await?;
    let (sender, connection) =
        settings().handshake(TokioIo::new(stream)).await.map_err(|_| BackendFailure::BrokenAnswer)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!("connection to a server ended: {error}");
        }
    });
    Ok(sender)
}

fn settings() -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings.max_header_size(HEAD_BYTES_MAX);
    settings
}

async fn connect_and_check(target: &Target, tls: Option<&TargetTls>) -> Result<Stream, BackendFailure> {
    match &target.endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| refused(target, &error))?;
            // The kernel noted this uid when the other end began to listen.
            let peer = stream.peer_cred().map_err(|error| refused(target, &error))?;
            check(target, peer.uid())?;
            Ok(Stream::Unix(stream))
        }
        Endpoint::Tcp(address) => {
            let Some(wanted) = target.uid else {
                let stream = TcpStream::connect(address).await.map_err(|error| refused(target, &error))?;
                return tcp(stream, target);
            };
            // Looked up before and after: the same socket listened all the time, so it is the one that
            // took the connection.
            let before = tcp_listener(*address, wanted).await.map_err(|error| refused(target, &error))?;
            let before = before.ok_or(BackendFailure::Refused)?;
            check(target, before.uid)?;
            let stream = TcpStream::connect(address).await.map_err(|error| refused(target, &error))?;
            let after = tcp_listener(*address, wanted).await.map_err(|error| refused(target, &error))?;
            if after.as_ref() != Some(&before) {
                tracing::error!("listening socket of {target:?} changed while connecting");
                return Err(BackendFailure::WrongPeer);
            }
            tcp(stream, target)
        }
        Endpoint::Name(name, port) => {
            let stream =
                TcpStream::connect((&**name, *port)).await.map_err(|error| refused(target, &error))?;
            tcp(stream, target)
        }
        Endpoint::Tls(host, port) => {
            let tls = tls.ok_or(BackendFailure::Refused)?;
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, *port)).await.map_err(|error| refused(target, &error))?;
            stream.set_nodelay(true).map_err(|error| refused(target, &error))?;
            let stream = tls.connect(bare, stream).await.map_err(|error| {
                tracing::warn!("no TLS connection to {target:?}: {error}");
                BackendFailure::BrokenAnswer
            })?;
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

fn tcp(stream: TcpStream, target: &Target) -> Result<Stream, BackendFailure> {
    stream.set_nodelay(true).map_err(|error| refused(target, &error))?;
    Ok(Stream::Tcp(stream))
}

fn check(target: &Target, uid: u32) -> Result<(), BackendFailure> {
    match target.uid {
        Some(wanted) if wanted != uid => {
            tracing::error!("{target:?} belongs to another user, nothing was sent: uid {uid}");
            Err(BackendFailure::WrongPeer)
        }
        _ => Ok(()),
    }
}

fn refused(target: &Target, error: &io::Error) -> BackendFailure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
        io::ErrorKind::TimedOut => return BackendFailure::Timeout,
        _ => tracing::warn!("cannot connect to {target:?}: {error}"),
    }
    BackendFailure::Refused
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp(_) => true,
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
