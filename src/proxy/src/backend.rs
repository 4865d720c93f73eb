//! Connections to user servers: whoever listens there is checked before the first byte is sent.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::destination;
use crate::flow::Link;
use crate::peer::tcp_listener;
use crate::stream::{Socket, Stream};
use crate::target_tls::TargetTls;
use crate::tcp::Tcp;
use crate::{BackendFailure, Endpoint, Target};

/// Why a server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) kind: BackendFailure,
    /// For the log.
    pub(crate) cause: Cow<'static, str>,
}

impl Failed {
    /// The server did not answer in HTTP, or closed instead of answering.
    pub(crate) fn broken(cause: &'static str) -> Self {
        Self { kind: BackendFailure::BrokenAnswer, cause: cause.into() }
    }

    /// It was waited for so long.
    pub(crate) fn timeout(what: &str, time: Duration) -> Self {
        let cause = format!("{what} within {} s", time.as_secs_f32());
        Self { kind: BackendFailure::Timeout, cause: cause.into() }
    }
}

/// Connects to `target` and checks who listens there.
pub(crate) async fn open(
    target: &Target,
    timeout: Duration,
    tls: Option<&TargetTls>,
) -> Result<Link, Failed> {
    match tokio::time::timeout(timeout, connect_and_check(target, tls)).await {
        Err(_) => Err(Failed::timeout(&format!("{} took no connection", shown(target)), timeout)),
        Ok(result) => result.map(Link::new),
    }
}

async fn connect_and_check(target: &Target, tls: Option<&TargetTls>) -> Result<Stream, Failed> {
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
            let before = before.ok_or_else(|| refused(target, &io::ErrorKind::ConnectionRefused.into()))?;
            check(target, before.uid)?;
            let stream = TcpStream::connect(address).await.map_err(|error| refused(target, &error))?;
            let after = tcp_listener(*address, wanted).await.map_err(|error| refused(target, &error))?;
            if after.as_ref() != Some(&before) {
                return Err(wrong(target, "another socket began to listen there meanwhile"));
            }
            tcp(stream, target)
        }
        Endpoint::Name(name, port) => {
            let stream =
                TcpStream::connect((&**name, *port)).await.map_err(|error| refused(target, &error))?;
            tcp(stream, target)
        }
        Endpoint::Tls(host, port) => {
            let tls = tls.ok_or_else(|| Failed::broken("TLS to servers is not set up"))?;
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, *port)).await.map_err(|error| refused(target, &error))?;
            stream.set_nodelay(true).map_err(|error| refused(target, &error))?;
            let stream = tls.connect(bare, Socket::Tcp(Tcp::Watched(stream))).await.map_err(|error| {
                let cause = format!("no TLS connection to {}: {error}", shown(target)).into();
                Failed { kind: BackendFailure::BrokenAnswer, cause }
            })?;
            Ok(Stream::Tls(Box::new(stream.into())))
        }
    }
}

fn tcp(stream: TcpStream, target: &Target) -> Result<Stream, Failed> {
    stream.set_nodelay(true).map_err(|error| refused(target, &error))?;
    Ok(Stream::Plain(Socket::Tcp(Tcp::Watched(stream))))
}

fn check(target: &Target, uid: u32) -> Result<(), Failed> {
    match target.uid {
        Some(wanted) if wanted != uid => {
            Err(wrong(target, &format!("it is uid {uid}'s, not uid {wanted}'s")))
        }
        _ => Ok(()),
    }
}

fn wrong(target: &Target, why: &str) -> Failed {
    let cause = format!("{} belongs to another user, nothing was sent: {why}", shown(target)).into();
    Failed { kind: BackendFailure::WrongPeer, cause }
}

fn refused(target: &Target, error: &io::Error) -> Failed {
    let (kind, what) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            (BackendFailure::Refused, "nothing listens at")
        }
        io::ErrorKind::TimedOut => (BackendFailure::Timeout, "no answer from"),
        _ => (BackendFailure::Refused, "cannot connect to"),
    };
    Failed { kind, cause: format!("{what} {}: {error}", shown(target)).into() }
}

fn shown(target: &Target) -> String {
    destination::url(target)
}
