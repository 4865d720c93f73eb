//! From a request to an answer: to the app, or through to a user server.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version, response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use crate::body::{self, Download, Inbound, Lease, Progress, Upload};
use crate::foreign::{self, ForeignHub};
use crate::head::{self, Origin, Peer};
use crate::listen::Service;
use crate::path::{CanonicalPath, PathError};
use crate::routes::Route;
use crate::screen::{self, Refusal};
use crate::websocket::Asked;
use crate::wire::Watch;
use crate::{BackendFailure, BoxBody, answer, backend, h2, upgrade};

/// A request for a user server.
pub(crate) struct Routed {
    /// Cleaned, but with the hub's cookies: as the app sees it, should the server fail.
    pub(crate) head: Parts,
    pub(crate) origin: Arc<Origin>,
    pub(crate) route: Arc<Route>,
    pub(crate) peer: Peer,
    /// It asks for another protocol.
    pub(crate) websocket: bool,
}

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        peer: Peer,
        watch: Arc<Watch>,
        request: Request<Incoming>,
    ) -> Response<BoxBody> {
        let mut response = self.dispatch(peer, watch, request).await;
        if let Some(hsts) = self.proxy.hsts.as_ref().filter(|_| peer.https) {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        response
    }

    async fn dispatch(&self, peer: Peer, watch: Arc<Watch>, request: Request<Incoming>) -> Response<BoxBody> {
        let seen = watch.seen();
        let (mut head, body) = request.into_parts();
        let asked = Asked::take(&mut head, &watch);
        let body = Inbound::new(body, watch, seen);
        h2::as_http1(&mut head);
        if head.headers.len() > self.proxy.settings.limits.headers {
            return refused(Refusal::Headers);
        }
        let host = match screen::screen(&mut head, seen) {
            Ok(host) => host,
            Err(refusal) => return refused(refusal),
        };
        let uri = head.uri.clone();
        let path = match CanonicalPath::new(uri.path()) {
            Ok(path) => path,
            Err(error) => return refused(error.into()),
        };
        let find_out = |host| Origin::new(peer, host, &head.headers, &self.proxy.settings);
        let origin =
            if peer.trusted { Arc::new(find_out(host)) } else { body.watch().origin(host, find_out) };
        let foreign = self.proxy.settings.foreign.as_deref();
        head::clean(&mut head, peer.trusted || foreign.is_some());
        head.extensions.insert(origin.client.clone());
        let found = match foreign {
            None => self.proxy.routes.find_at(&origin.client.host, &path),
            Some(foreign) => match self.find_foreign(foreign, &path, &head) {
                Ok(found) => found,
                Err(error) => return refused(error.into()),
            },
        };
        let Some(route) = found else {
            head.uri = if foreign.is_some() { uri } else { screen::canonical_uri(&uri, &path) };
            let response = self.proxy.app.call(Request::from_parts(head, body.boxed_unsync())).await;
            let agrees = asked.is_some_and(|asked| asked.would_agree(response.status()));
            return if agrees { refused(Refusal::NoWebSocket) } else { response };
        };
        let routed = Routed { head, origin, route, peer, websocket: asked.is_some() };
        if let Some(foreign) = foreign {
            foreign.counters.asked(routed.websocket);
        }
        // What is rare is boxed, so that the usual request's future stays small.
        let result = match asked {
            Some(_) if !body.is_end_stream() => return refused(Refusal::Framing),
            Some(asked) => {
                let limit = self.proxy.settings.answer_timeout;
                in_time(limit, &Progress::default(), Box::pin(upgrade::start(self, &routed, asked))).await
            }
            None => self.exchange(&routed, body).await,
        };
        match result {
            Ok(response) => response,
            Err(failure) => self.proxy.app.answer_failure(&routed.head, &routed.route.prefix, failure).await,
        }
    }

    /// The route of a request for somebody else's hub.
    fn find_foreign(
        &self,
        foreign: &ForeignHub,
        path: &CanonicalPath<'_>,
        head: &Parts,
    ) -> Result<Option<Arc<Route>>, PathError> {
        if head.uri == foreign::HEALTH {
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

    /// Sends a request to its server, which may take its time to answer, but not for ever.
    async fn exchange(&self, routed: &Routed, body: Inbound) -> Result<Response<BoxBody>, BackendFailure> {
        let upload = Upload::new(body, &routed.route);
        let progress = upload.progress();
        in_time(self.proxy.settings.answer_timeout, &progress, self.send(routed, upload)).await
    }

    /// Sends a request to its server, over a waiting connection if there is one.
    async fn send(&self, routed: &Routed, upload: Upload) -> Result<Response<BoxBody>, BackendFailure> {
        let progress = upload.progress();
        let repeatable = upload.is_end_stream() && routed.head.method.is_idempotent();
        let mut request = self.outgoing(routed, upload);
        if let Some(mut sender) = routed.route.pool.take().await {
            match sender.try_send_request(request).await {
                Ok(response) => return self.relay(routed, response, Lease { sender, upload: progress }),
                // The server may close a waiting connection at any time; then another one is tried, if that
                // cannot do a thing twice.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if repeatable => request = self.outgoing(routed, Upload::empty()),
                    None => return failed(routed, &progress, error.error()),
                },
            }
        }
        let timeout = self.proxy.settings.connect_timeout;
        let mut sender = Box::pin(self.open(routed, timeout)).await?;
        match sender.send_request(request).await {
            Ok(response) => self.relay(routed, response, Lease { sender, upload: progress }),
            Err(error) => failed(routed, &progress, &error),
        }
    }

    /// The request as the server gets it; its path is that of the browser, byte for byte.
    pub(crate) fn outgoing(&self, routed: &Routed, body: Upload) -> Request<Upload> {
        let mut request = Request::new(body);
        *request.method_mut() = routed.head.method.clone();
        *request.uri_mut() = routed.head.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = head::for_server(&routed.head, &routed.origin, &self.proxy.settings);
        if let Some(foreign) = &self.proxy.settings.foreign {
            foreign.add_headers(routed, request.headers_mut());
            if let Some(uri) = foreign.server_uri(&routed.head.uri, &routed.route) {
                *request.uri_mut() = uri;
            }
        }
        request
    }

    /// A new connection to the server.
    pub(crate) async fn open(
        &self,
        routed: &Routed,
        timeout: Duration,
    ) -> Result<SendRequest<Upload>, BackendFailure> {
        let foreign = self.proxy.settings.foreign.as_deref();
        let tls = foreign.and_then(|foreign| foreign.tls.as_ref());
        backend::open(&routed.route.destination.target, timeout, tls).await
    }

    /// Takes from a server's answer what must not reach the browser.
    pub(crate) fn clean_answer(&self, routed: &Routed, answer: &mut response::Parts) {
        let settings = &self.proxy.settings;
        match &settings.foreign {
            None => {
                let path = routed.head.uri.path();
                answer::clean(&mut answer.headers, &routed.route, path, &settings.hub_cookies);
            }
            Some(foreign) => {
                foreign.counters.proxied(answer.status);
                answer::end_hop(&mut answer.headers);
                foreign.rewrite(&routed.head, &routed.route.destination, answer);
            }
        }
    }

    /// Passes a server's answer on.
    pub(crate) fn relay(
        &self,
        routed: &Routed,
        response: Response<Incoming>,
        lease: Lease,
    ) -> Result<Response<BoxBody>, BackendFailure> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tracing::warn!("server of {} changed the protocol without being asked", routed.route.prefix);
            return Err(BackendFailure::BrokenAnswer);
        }
        let counts = response.status().as_u16() < 300;
        let (mut head, body) = response.into_parts();
        self.clean_answer(routed, &mut head);
        head.version = Version::HTTP_11;
        let body = Download::new(body, routed.route.clone(), lease, counts);
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }
}

/// Waits for a server's answer. The limit begins anew as long as the server reads the request's body.
async fn in_time<F>(
    limit: Option<Duration>,
    progress: &Progress,
    answer: F,
) -> Result<Response<BoxBody>, BackendFailure>
where
    F: Future<Output = Result<Response<BoxBody>, BackendFailure>>,
{
    let Some(limit) = limit else { return answer.await };
    let mut answer = pin!(answer);
    loop {
        match tokio::time::timeout(limit, answer.as_mut()).await {
            Ok(result) => return result,
            Err(_) if progress.has_moved() => {}
            Err(_) => return Err(BackendFailure::Timeout),
        }
    }
}

/// No answer came. If that is the browser's fault, because its body came too slowly, the app is not asked.
fn failed(
    routed: &Routed,
    progress: &Progress,
    error: &hyper::Error,
) -> Result<Response<BoxBody>, BackendFailure> {
    if progress.is_broken() { Ok(refused(Refusal::Slow)) } else { Err(broken(routed, error)) }
}

/// The server did not answer in HTTP, or closed instead of answering.
pub(crate) fn broken(routed: &Routed, error: &hyper::Error) -> BackendFailure {
    tracing::warn!("server of {} gave no answer: {error}", routed.route.prefix);
    BackendFailure::BrokenAnswer
}

/// The answer to what is not forwarded. The connection ends, because what follows on it may be part of a trick.
fn refused(refusal: Refusal) -> Response<BoxBody> {
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
