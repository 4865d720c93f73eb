//! The reverse proxy: HTTP/1.1, HTTP/2 and WebSockets from browsers to user servers, TLS towards browsers.
//!
//! It knows routes and one [`App`] that answers what no route takes. It never knows users, tokens or the
//! database.
//!
//! The way of a request: [`serve`] accepts (`listen`, `tcp`, `welcome`, `tls`), `http1` or `h2` reads its head into a
//! `request`, `screen` and `path` refuse what is ambiguous, [`Routes`] says whose it is (`forward`), `head` decides
//! what reaches the server, `backend` and `pool` connect, `exchange` (HTTP/1.1) or `call` (HTTP/2) asks it; `reply`
//! reads the head of the answer, `answer` decides what comes back, `flow` or `upgrade` streams. `give` and `feed` do
//! the same for the app.
//!
//! HTTP/1.1 is read and written here on both sides, with the parser of heads that hyper uses, too: the proxy's
//! speed is that of this loop. HTTP/2 is hyper's.

mod certificate;
mod frames;
mod h2;
mod http1;
mod limits;
mod listen;
mod proxy_protocol;
mod stream;
mod tcp;
mod tls;
mod welcome;

mod buffer;
mod fields;
mod flow;
mod framing;
mod kind;
mod patience;
mod reply;
mod request;

mod answer;
mod answer_h2;
mod api;
mod asking;
mod backend;
mod body;
mod call;
mod counters;
mod data;
mod destination;
mod error_pages;
mod exchange;
mod feed;
mod foreign;
mod forward;
mod forwarded;
mod give;
mod guard;
mod head;
mod network;
mod origin;
mod path;
mod peer;
mod pool;
mod probe;
mod redirect;
mod route;
mod routes;
mod screen;
mod target_tls;
mod upgrade;
mod websocket;

#[doc(hidden)]
pub mod measure;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

pub use api::Api;
pub use certificate::{PairFiles, TlsError};
pub use counters::Counters;
pub use data::RouteData;
pub use destination::{Destination, DestinationError};
pub use error_pages::{ErrorApp, ErrorPages};
pub use foreign::ForeignHub;
pub use guard::{Admission, Guard, Guarded, Pass, Wish};
pub use limits::Limits;
pub use listen::{Listener, serve};
pub use network::{Network, NetworkError};
pub use path::PathError;
pub use probe::{post, probe, probe_service, read};
pub use redirect::Redirect;
pub use routes::{AddError, RouteError, Routes, Slashes};
pub use target_tls::{TargetTls, TargetTrust};
pub use tls::{Tls, TlsSettings};

/// A response body of any origin.
pub type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
/// What a body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests that are not for a user server. Implemented by the hub, joined in `hubd/src/run.rs`.
pub trait App: Send + Sync + 'static {
    /// Answers a request. Its extensions hold an `Arc` of a [`Client`]. Its path is in canonical form.
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>>;

    /// The answer when a routed server cannot be reached or broke its answer. `route` is the prefix of
    /// the route, for instance `/user/alice/`.
    fn backend_failed(
        &self,
        request: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody>;

    /// The same for an app that has to ask somebody first, and that logs the cause itself where it is for somebody
    /// else's hub.
    fn answer_failure<'a>(
        &'a self,
        request: &'a http::request::Parts,
        route: &'a str,
        (failure, _cause): (BackendFailure, &'a str),
    ) -> BoxFuture<'a, Response<BoxBody>> {
        Box::pin(std::future::ready(self.backend_failed(request, route, failure)))
    }
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
    /// A host by its name, looked up for each connection, and a port.
    Name(Box<str>, u16),
    /// A host by its name or address, and a port, where TLS is spoken.
    Tls(Box<str>, u16),
}

/// How the proxy behaves; defaults are safe.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed; from all others they are dropped.
    pub trusted_proxies: Vec<Network>,
    /// Every connection must begin with a PROXY protocol header, and come from one of `trusted_proxies`.
    pub proxy_protocol: bool,
    /// How long browsers shall insist on https (RFC 6797); None says nothing. Only told over TLS.
    pub hsts: Option<std::time::Duration>,
    /// What browsers may do.
    pub limits: Limits,
    /// The longest wait for a user server to accept a connection.
    pub connect_timeout: std::time::Duration,
    /// The longest wait for a user server to begin its answer once it has the request; None is no limit.
    pub answer_timeout: Option<std::time::Duration>,
    /// Cookies that never reach a user server, and that no user server may set.
    pub hub_cookies: Vec<String>,
    /// How targets with TLS are spoken to, such as services with `https://`; without it they are not.
    pub target_tls: Option<TargetTls>,
    /// For somebody else's hub; what holds then is said there.
    pub foreign: Option<Arc<ForeignHub>>,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            hsts: None,
            limits: Limits::default(),
            connect_timeout: std::time::Duration::from_secs(5),
            answer_timeout: Some(std::time::Duration::from_secs(600)),
            hub_cookies: Vec::new(),
            target_tls: None,
            foreign: None,
        }
    }
}

/// The proxy: routes, and the app for the rest.
pub struct Proxy {
    settings: ProxySettings,
    routes: Arc<Routes>,
    app: Arc<dyn App>,
    /// The header of [`ProxySettings::hsts`].
    hsts: Option<HeaderValue>,
}

impl Proxy {
    /// Joins routes and app.
    pub fn new(settings: ProxySettings, routes: Arc<Routes>, app: Arc<dyn App>) -> Arc<Self> {
        let hsts = settings.hsts.map(|time| format!("max-age={}", time.as_secs()));
        let hsts = hsts.and_then(|text| HeaderValue::try_from(text).ok());
        Arc::new(Self { settings, routes, app, hsts })
    }
}
