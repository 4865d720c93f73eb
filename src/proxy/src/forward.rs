//! Where a request goes, and what is written to a server and to the browser: the same for HTTP/1.1 and HTTP/2.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;

use crate::answer::Rules;
use crate::backend::Failed;
use crate::flow::Link;
use crate::foreign::{self, ForeignHub};
use crate::framing::Length;
use crate::guard::Pass;
use crate::head::{self, Outgoing};
use crate::kind::Kind;
use crate::listen::Service;
use crate::origin::{Origin, Peer, Visitor};
use crate::path::{CanonicalPath, PathError};
use crate::reply::ReplyHead;
use crate::request::RequestHead;
use crate::routes::Route;
use crate::screen::{self, Refusal};
use crate::websocket::Asked;
use crate::{BackendFailure, BoxBody, backend, body};

/// A request that may go on.
pub(crate) struct Judged {
    pub(crate) origin: Arc<Origin>,
    pub(crate) peer: Peer,
    pub(crate) way: Way,
}

/// Where it goes.
pub(crate) enum Way {
    /// To the app, with this target.
    App(String),
    /// To a server.
    Server(Arc<Route>),
}

/// A request for a user server.
pub(crate) struct Routed {
    pub(crate) origin: Arc<Origin>,
    pub(crate) route: Arc<Route>,
    pub(crate) peer: Peer,
    /// It asks for another protocol.
    pub(crate) asked: Option<Asked>,
    /// How the route's guard let it in, if there is one.
    pub(crate) pass: Option<Pass>,
}

impl Service {
    /// Checks a request and finds out where it goes. How a body of HTTP/2 is framed is told in `framed`.
    pub(crate) fn judge(
        &self,
        head: &mut RequestHead,
        visitor: &Visitor,
        framed: Option<Length>,
    ) -> Result<Judged, Refusal> {
        screen::screen(head, framed)?;
        let settings = &self.proxy.settings;
        let path = CanonicalPath::new(head.path())?;
        let origin = visitor.origin(head.host(), &head.fields, settings);
        let found = match &settings.foreign {
            None => self.proxy.routes.find_at(&origin.client.host, &path),
            Some(foreign) => self.find_foreign(foreign, &path, head)?,
        };
        let way = match found {
            Some(route) => Way::Server(route),
            None if settings.foreign.is_some() => Way::App(head.target().to_owned()),
            None => Way::App(screen::canonical_target(head, &path)),
        };
        Ok(Judged { origin, peer: visitor.peer, way })
    }

    /// The route of a request for somebody else's hub.
    fn find_foreign(
        &self,
        foreign: &ForeignHub,
        path: &CanonicalPath<'_>,
        head: &RequestHead,
    ) -> Result<Option<Arc<Route>>, PathError> {
        if head.target() == foreign::HEALTH {
            return Ok(None);
        }
        let began = Instant::now();
        let found = match foreign.lookup_path(head) {
            Some(path) => self.proxy.routes.find(&CanonicalPath::new(&path)?),
            None => self.proxy.routes.find(path),
        };
        foreign.counters.looked_up(began.elapsed());
        Ok(found)
    }

    /// The head as the app sees it.
    pub(crate) fn for_app(
        &self,
        head: &RequestHead,
        (origin, peer): (&Origin, Peer),
        target: &str,
    ) -> Result<Parts, Refusal> {
        let believed = peer.trusted || self.proxy.settings.foreign.is_some();
        let kept = |kind, name: &[u8]| head::passes(head, believed, kind, name);
        let mut parts = head.parts(target, kept).ok_or(Refusal::Syntax)?;
        parts.extensions.insert(origin.client.clone());
        Ok(parts)
    }

    /// Writes a request as the server gets it; its path is that of the browser, byte for byte.
    pub(crate) fn write_request(&self, out: &mut Vec<u8>, head: &RequestHead, routed: &Routed) {
        let settings = &self.proxy.settings;
        let asked = routed.asked.as_ref();
        let mut outgoing = Outgoing {
            target: Cow::Borrowed(head.target()),
            authority: &routed.route.destination.authority,
            told: Some(&routed.origin.lines),
            replaced: Vec::new(),
            upgrade: asked.map(|asked| &asked.protocol[..]),
            key: asked.and_then(Asked::key),
            takes_authorization: false,
            hidden_cookies: &[],
        };
        let mut believed = routed.peer.trusted || settings.foreign.is_some();
        if let (Some(pass), Some(guarded)) = (&routed.pass, &routed.route.guarded) {
            // Who comes is told by the guard alone, also behind a front proxy.
            believed = false;
            outgoing.target = routed.route.inner(head.target());
            let told = pass.tells.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec()));
            outgoing.replaced = told.collect();
            outgoing.takes_authorization = pass.takes_authorization;
            outgoing.hidden_cookies = guarded.hidden_cookies;
        }
        if let Some(foreign) = &settings.foreign {
            outgoing.told = None;
            outgoing.replaced = foreign.replaced(head, routed);
            if let Some(target) = foreign.server_target(head, &routed.route) {
                outgoing.target = target;
            }
        }
        head::write(out, head, &outgoing, (settings, believed));
    }

    /// By what a server's answer is judged.
    pub(crate) fn rules<'a>(
        &'a self,
        head: &'a RequestHead,
        routed: &'a Routed,
        reply: &ReplyHead,
    ) -> Rules<'a> {
        let settings = &self.proxy.settings;
        let (foreign, route) = (settings.foreign.as_deref(), &*routed.route);
        if let Some(foreign) = foreign {
            foreign.counters.proxied(reply.status);
        }
        Rules {
            route,
            path: head.path(),
            hub_cookies: &settings.hub_cookies,
            is_foreign: foreign.is_some(),
            location: match foreign {
                Some(foreign) => foreign.location(head, &route.destination, reply),
                None => reply.fields.first(Kind::Location).and_then(|location| route.outer(location)),
            },
            pass: routed.pass.as_ref(),
            host: &routed.origin.client.host,
        }
    }

    /// A new connection to a server.
    pub(crate) async fn open(&self, route: &Route) -> Result<Link, Failed> {
        let settings = &self.proxy.settings;
        let foreign = settings.foreign.as_deref().and_then(|foreign| foreign.tls.as_ref());
        let tls = foreign.or(settings.target_tls.as_ref());
        backend::open(&route.destination.target, settings.connect_timeout, tls).await
    }

    /// What the app says when a server fails. The cause is for the log: one line, without the query, which may hold
    /// secrets.
    pub(crate) async fn explain(
        &self,
        head: &RequestHead,
        routed: &Routed,
        failed: Failed,
    ) -> Response<BoxBody> {
        let Failed { kind, cause } = failed;
        let prefix = &routed.route.prefix;
        let (method, path) = (String::from_utf8_lossy(head.method()), head.path());
        match kind {
            _ if self.proxy.settings.foreign.is_some() => {}
            BackendFailure::WrongPeer => tracing::error!("{method} {path}: no answer of {prefix}: {cause}"),
            _ => tracing::warn!("{method} {path}: no answer of {prefix}: {cause}"),
        }
        match self.for_app(head, (&routed.origin, routed.peer), head.target()) {
            Ok(parts) => self.proxy.app.answer_failure(&parts, prefix, (kind, &cause)).await,
            Err(refusal) => refused(refusal),
        }
    }

    /// The server did not begin to answer in time.
    pub(crate) fn too_late(&self) -> Failed {
        Failed::timeout("it did not begin to answer", self.answer_time().unwrap_or_default())
    }

    /// The longest wait for an answer.
    pub(crate) fn answer_time(&self) -> Option<Duration> {
        self.proxy.settings.answer_timeout
    }
}

/// The answer to what is not forwarded. The connection ends, because what follows on it may be part of a trick.
pub(crate) fn refused(refusal: Refusal) -> Response<BoxBody> {
    tracing::debug!("request refused: {refusal}");
    let mut response = Response::new(body::text(format!("{refusal}\n")));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if refusal == Refusal::Method {
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}
