//! The reverse proxy: HTTP/1.1 and WebSockets from browsers to user servers, TLS towards browsers.
//!
//! It knows routes and one [`App`] that answers what no route takes. It never knows users, tokens or the
//! database.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};

/// A response body of any origin.
pub type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
/// What a body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests that are not for a user server. Implemented by the hub, joined in `hubd/src/run.rs`.
pub trait App: Send + Sync + 'static {
    /// Answers a request. Its extensions hold a [`Client`]. Its path is in canonical form.
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>>;

    /// The answer when a routed server cannot be reached or broke its answer. `route` is the prefix of
    /// the route, for instance `/user/alice/`.
    fn backend_failed(
        &self,
        request: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody>;
}

/// What the proxy knows of the other end.
#[derive(Debug, Clone)]
pub struct Client {
    /// The browser's address: the peer's, or the one a trusted proxy reports.
    pub address: IpAddr,
    /// The scheme the browser used.
    pub https: bool,
    /// The host the browser asked for, as sent.
    pub host: String,
}

/// Why a routed server gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendFailure {
    /// Nothing listens: 503.
    Refused,
    /// Somebody else than the server's owner listens there: 503, and an alarm in the log.
    WrongPeer,
    /// It did not answer in time: 504.
    Timeout,
    /// It closed the connection or sent what is not HTTP: 502.
    BrokenAnswer,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The socket.
    pub endpoint: Endpoint,
    /// Who must be listening there; checked on every connection before the first byte is sent.
    pub uid: Option<u32>,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

/// The route table: longest prefix of whole path segments wins. Cheap to read from many threads.
#[derive(Default)]
pub struct Routes {}

impl Routes {
    /// Adds or replaces the route of `prefix`, such as `/user/alice/`; percent-encoding is decoded per segment.
    pub fn add(&self, prefix: &str, target: Target) {
        todo!()
    }

    /// Removes a route; says whether there was one. Its pooled connections are closed.
    pub fn remove(&self, prefix: &str) -> bool {
        todo!()
    }

    /// When the route of `prefix` last carried data.
    pub fn last_activity(&self, prefix: &str) -> Option<SystemTime> {
        todo!()
    }

    /// The prefixes of all routes.
    pub fn prefixes(&self) -> Vec<String> {
        todo!()
    }
}

/// Sends one `GET` to `target` as the proxy would (peer check included) and returns status and headers.
/// For readiness checks.
pub async fn probe(
    target: &Target,
    path: &str,
    timeout: std::time::Duration,
) -> Result<http::response::Parts, BackendFailure> {
    todo!()
}

/// How the proxy behaves; defaults are safe.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// Peers whose `X-Forwarded-*` are believed; from all others they are dropped.
    pub trusted_proxies: Vec<IpAddr>,
    /// The longest wait for a request's headers.
    pub header_timeout: std::time::Duration,
    /// The longest wait for a user server to accept a connection.
    pub connect_timeout: std::time::Duration,
    /// Cookies that never reach a user server, and that no user server may set.
    pub hub_cookies: Vec<String>,
}

/// The proxy: routes, and the app for the rest.
pub struct Proxy {}

impl Proxy {
    /// Joins routes and app.
    pub fn new(settings: ProxySettings, routes: Arc<Routes>, app: Arc<dyn App>) -> Arc<Self> {
        todo!()
    }
}

/// A bound socket to serve on.
pub enum Listener {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// A Unix socket, for a front proxy.
    Unix(tokio::net::UnixListener),
}

/// A certificate and key that can be replaced while connections live.
pub struct Tls {}

impl Tls {
    /// Loads chain and key from PEM files, which may be the same file.
    pub fn load(certificate: &std::path::Path, key: &std::path::Path) -> Result<Arc<Self>, TlsError> {
        todo!()
    }

    /// Loads the files again; on an error the present pair stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        todo!()
    }
}

/// Why certificate or key cannot be used: names the file and the cure.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
}

/// Serves connections until `stop` is cancelled, then lets requests in progress finish for `drain`.
/// Open WebSockets are closed at the end of it.
pub async fn serve(
    listener: Listener,
    tls: Option<Arc<Tls>>,
    proxy: Arc<Proxy>,
    stop: tokio_util::sync::CancellationToken,
    drain: std::time::Duration,
) {
    todo!()
}
