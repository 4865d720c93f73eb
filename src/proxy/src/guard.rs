//! Routes that somebody guards, because the server behind them does not ask who comes.

use std::fmt;
use std::sync::Arc;

use http::Response;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use crate::BoxBody;
use crate::forward::refused;
use crate::listen::Service;
use crate::origin::{Origin, Peer};
use crate::request::RequestHead;
use crate::routes::Route;

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
    /// Closes the tunnel that the request becomes, when it is cancelled.
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
