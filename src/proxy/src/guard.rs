//! Routes that somebody guards, because the server behind them does not ask who comes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::call::Download;
use crate::forward::{Routed, refused};
use crate::listen::Service;
use crate::origin::{Origin, Peer};
use crate::request::RequestHead;
use crate::routes::Route;
use crate::{BoxBody, BoxError};

/// Decides about each request for a guarded route.
pub trait Guard: Send + Sync + 'static {
    /// Whether a request goes on. Its extensions hold a [`Client`](crate::Client); its path is as the browser wrote it.
    fn admit(&self, request: &Parts, wish: Wish) -> Admission;
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An answer.
    Answer,
    /// A WebSocket, or another protocol.
    Upgrade,
}

/// What a [`Guard`] decides.
pub enum Admission {
    /// It goes on.
    Pass(Pass),
    /// It ends here, with this answer.
    Answer(Box<Response<BoxBody>>),
}

/// How a request goes on that was let in.
#[derive(Debug, Default)]
pub struct Pass {
    /// What the server is told, instead of what the browser says in fields of these names.
    pub tells: Vec<(HeaderName, HeaderValue)>,
    /// `Authorization` was for the guard: the server does not get it.
    pub takes_authorization: bool,
    /// What the browser gets besides.
    pub adds: Vec<(HeaderName, HeaderValue)>,
    /// The answer must not lead elsewhere on this site: a `Location` that does is dropped.
    pub confines: bool,
    /// Ends the exchange when it is cancelled: a tunnel is closed, and an answer on its way breaks off.
    pub end: Option<Arc<CancellationToken>>,
}

/// A route's guard, and what holds for all that it lets in.
#[derive(Clone)]
pub struct Guarded {
    /// Who decides.
    pub guard: Arc<dyn Guard>,
    /// Cookies whose names begin so never reach the server.
    pub hidden_cookies: &'static [&'static str],
    /// The server gets paths without the route's prefix.
    pub strips_prefix: bool,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("strips_prefix", &self.strips_prefix).finish_non_exhaustive()
    }
}

impl Service {
    /// Asks the guard of a route, if it has one.
    pub(crate) fn admit(
        &self,
        head: &RequestHead,
        (origin, peer): (&Origin, Peer),
        route: &Route,
        wish: Wish,
    ) -> Result<Option<Pass>, Box<Response<BoxBody>>> {
        let Some(guarded) = &route.guarded else { return Ok(None) };
        let parts = self.for_app(head, (origin, peer), head.target());
        let parts = parts.map_err(|refusal| Box::new(refused(refusal)))?;
        match guarded.guard.admit(&parts, wish) {
            Admission::Pass(pass) => Ok(Some(pass)),
            Admission::Answer(answer) => Err(answer),
        }
    }
}

impl Routed {
    /// What ends the exchange before its time, if the route has a guard.
    pub(crate) fn end(&self) -> Option<&Arc<CancellationToken>> {
        self.pass.as_ref()?.end.as_ref()
    }

    /// Does its work until the guard ends it; then nothing comes back.
    pub(crate) async fn until_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(end) = self.end() else { return Some(work.await) };
        let result = end.run_until_cancelled(work).await;
        if result.is_none() {
            log_end("answer", &self.route);
        }
        result
    }
}

/// Says so once for each thing that a guard ends.
pub(crate) fn log_end(what: &str, route: &Route) {
    tracing::info!("{what} of {} ended: its person may not use the server any more", route.prefix);
}

/// The body of an answer that breaks off when the guard ends it.
pub(crate) struct Ending {
    body: Download,
    route: Arc<Route>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Who could end it sees by this that it goes on.
    _end: Arc<CancellationToken>,
}

impl Ending {
    pub(crate) fn new(body: Download, route: Arc<Route>, end: &Arc<CancellationToken>) -> Self {
        let ended = Box::pin(CancellationToken::clone(end).cancelled_owned());
        Self { body, route, ended, _end: end.clone() }
    }
}

impl Body for Ending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            log_end("answer", &self.route);
            return Poll::Ready(Some(Err("its person may not use the server any more".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
