//! Connections to user servers: whoever listens there is checked before the first byte is sent.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::flow::Link;
use crate::peer::tcp_listener;
use crate::stream::{Socket, Stream};
use crate::target_tls::TargetTls;
use crate::{BackendFailure, Endpoint, Target};

/// Connects to `target` and checks who listens there.
pub(crate) async fn open(
    target: &Target,
    timeout: Duration,
    tls: Option<&TargetTls>,
) -> Result<Link, BackendFailure> {
    match tokio::time::timeout(timeout, connect_and_check(target, tls)).await {
        Err(_) => Err(BackendFailure::Timeout),
        Ok(result) => result.map(Link::new),
    }
}

async fn connect_and_check(target: &Target, tls: Option<&TargetTls>) -> Result<Stream, BackendFailure> {
    match &target.endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| refused(target, &error))?;
            // The kernel noted this uid when the other end began to listen.
            let peer = stream.peer_cred().map_err(|error| refused(target, &error))?;
            check(target, peer.uid())?;
            Ok(Stream::Plain(Socket::Unix(stream)))
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
            let stream = tls.connect(bare, Socket::Tcp(stream)).await.map_err(|error| {
                tracing::warn!("no TLS connection to {target:?}: {error}");
                BackendFailure::BrokenAnswer
            })?;
            Ok(Stream::Tls(Box::new(stream.into())))
        }
    }
}

fn tcp(stream: TcpStream, target: &Target) -> Result<Stream, BackendFailure> {
    stream.set_nodelay(true).map_err(|error| refused(target, &error))?;
    Ok(Stream::Plain(Socket::Tcp(stream)))
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
