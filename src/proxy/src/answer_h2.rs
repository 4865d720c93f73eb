//! One request of HTTP/2: to the app, or to a user server in HTTP/1.1.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::BoxBody;
use crate::backend::Failed;
use crate::body::{self, Inbound};
use crate::call::{Call, CallError, Download};
use crate::exchange::UNASKED_SWITCH;
use crate::forward::{Judged, Routed, Way, refused};
use crate::guard::{Ending, Wish};
use crate::h2::H2Stream;
use crate::http1::Work;
use crate::listen::Service;
use crate::origin::Visitor;
use crate::reply::{NoReply, ReplyHead};
use crate::request::RequestHead;
use crate::screen::Refusal;
use crate::upgrade::Tunnel;
use crate::websocket::Asked;

/// Why there is no answer of the server to pass on.
enum Failure {
    Server(Failed),
    /// The browser is told what is wrong with its request.
    Browser(Refusal),
}

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        visitor: Arc<Visitor>,
        request: Request<Incoming>,
        stream: &Arc<H2Stream>,
    ) -> Response<BoxBody> {
        let mut work = Work::borrow();
        let mut response = self.dispatch(&mut work, &visitor, request, stream).await;
        work.give_back();
        if let Some(hsts) = self.proxy.hsts.as_ref().filter(|_| visitor.peer.https) {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        response
    }

    async fn dispatch(
        &self,
        work: &mut Work,
        visitor: &Arc<Visitor>,
        request: Request<Incoming>,
        stream: &Arc<H2Stream>,
    ) -> Response<BoxBody> {
        let (mut parts, body) = request.into_parts();
        if parts.headers.len() > self.proxy.settings.limits.headers {
            return refused(Refusal::Headers);
        }
        let asked = Asked::of_http2(&mut parts);
        let head = &mut work.request;
        head.take_http2(&parts);
        let body = Inbound::new(body, visitor);
        let Judged { origin, peer, way } = match self.judge(head, visitor, Some(body.length())) {
            Ok(judged) => judged,
            Err(refusal) => return refused(refusal),
        };
        let route = match way {
            Way::Server(route) => route,
            Way::App(target) => {
                let parts = match self.for_app(head, (&origin, peer), &target) {
                    Ok(parts) => parts,
                    Err(refusal) => return refused(refusal),
                };
                let request = Request::from_parts(parts, body.boxed_unsync());
                let response = self.proxy.app.call(request).await;
                // A success would tell the browser that the protocol has changed.
                let agrees = asked.is_some() && response.status().is_success();
                return if agrees { refused(Refusal::NoWebSocket) } else { response };
            }
        };
        if let Some(foreign) = &self.proxy.settings.foreign {
            foreign.counters.asked(asked.is_some());
        }
        let (asked, client) = asked.unzip();
        let wish = if asked.is_some() { Wish::Upgrade } else { Wish::Answer };
        let pass = match self.admit(head, (&origin, peer), &route, wish) {
            Ok(pass) => pass,
            Err(answer) if wish == Wish::Upgrade && answer.status().is_success() => {
                return refused(Refusal::NoWebSocket);
            }
            Err(answer) => return *answer,
        };
        let routed = Routed { origin, route, peer, asked, pass };
        let result = match client {
            Some(_) if head.has_body() => return refused(Refusal::Framing),
            Some(client) => Box::pin(self.switch(&work.request, &routed, (client, visitor, stream))).await,
            None if routed.end().is_none() => self.pass(work, &routed, body).await,
            None => {
                let passed = Box::pin(routed.until_ended(self.pass(work, &routed, body))).await;
                passed.unwrap_or(Err(Failure::Browser(Refusal::Ended)))
            }
        };
        match result {
            Ok(response) => response,
            Err(Failure::Browser(refusal)) => refused(refusal),
            Err(Failure::Server(failure)) => self.explain(&work.request, &routed, failure).await,
        }
    }

    /// Sends a request to its server, over a waiting connection if there is one.
    async fn pass(
        &self,
        work: &mut Work,
        routed: &Routed,
        body: Inbound,
    ) -> Result<Response<BoxBody>, Failure> {
        let (head, reply, route) = (&work.request, &mut work.reply, &routed.route);
        let body = head.has_body().then_some((body, head.length));
        let waiting = route.pool.take(head);
        let mut is_used = waiting.is_some();
        let link = match waiting {
            Some(link) => link,
            None => Box::pin(self.open(route)).await.map_err(Failure::Server)?,
        };
        let mut out = std::mem::take(&mut work.up);
        out.clear();
        self.write_request(&mut out, head, routed);
        let mut call = Call::new(link, out, body);
        loop {
            let replied = call.reply(reply, head.method() == b"HEAD", self.answer_time()).await;
            match replied {
                Ok(()) => break,
                // The server closed a waiting connection just then, and it cannot have done anything yet.
                Err(CallError::NoReply(NoReply::Closed))
                    if is_used && (!call.has_sent || head.is_repeatable()) =>
                {
                    let link = Box::pin(self.open(route)).await.map_err(Failure::Server)?;
                    if let Some(out) = call.again(link) {
                        self.write_request(out, head, routed);
                    }
                    is_used = false;
                }
                Err(error) => return Err(failed(self, error)),
            }
        }
        work.up = call.take_memory();
        if reply.status == 101 {
            return Err(failed(self, CallError::Switched));
        }
        Ok(self.relay(head, routed, reply, call))
    }

    /// Asks the server for the WebSocket. If it agrees, a task joins both ends; any other answer is passed on.
    async fn switch(
        &self,
        head: &RequestHead,
        routed: &Routed,
        (client, visitor, stream): (OnUpgrade, &Arc<Visitor>, &Arc<H2Stream>),
    ) -> Result<Response<BoxBody>, Failure> {
        let link = self.open(&routed.route).await.map_err(Failure::Server)?;
        let mut out = Vec::with_capacity(1024);
        self.write_request(&mut out, head, routed);
        let (mut call, mut reply) = (Call::new(link, out, None), ReplyHead::default());
        let replied = call.reply(&mut reply, false, self.answer_time()).await;
        replied.map_err(|error| failed(self, error))?;
        match routed.asked.as_ref().and_then(|asked| asked.agreed(&reply)) {
            Some(true) => {}
            Some(false) => return Err(failed(self, CallError::Switched)),
            None => return Ok(self.relay(head, routed, &reply, call)),
        }
        let mut headers = self.rules(head, routed, &reply).map(&reply);
        headers.remove(SEC_WEBSOCKET_ACCEPT);
        headers.remove(CONTENT_LENGTH);
        let server = call.link;
        let tunnel = Tunnel::new(routed.route.clone(), Some(stream.clone()), visitor.clone())
            .until(routed.end().cloned())
            .with_waiting(Vec::new(), server.input.bytes().to_vec());
        let end = self.end.clone();
        self.tunnels.spawn(async move {
            match client.await {
                Ok(client) => tunnel.run(TokioIo::new(client), server.stream, end).await,
                Err(error) => tracing::debug!("no WebSocket: {error}"),
            }
        });
        Ok(response(StatusCode::OK, headers, body::text("")))
    }

    /// Passes a server's answer on.
    fn relay(&self, head: &RequestHead, routed: &Routed, reply: &ReplyHead, call: Call) -> Response<BoxBody> {
        let headers = self.rules(head, routed, reply).map(reply);
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let body = Download::new(call, reply, Some(routed.route.clone()));
        let body = match routed.end() {
            Some(end) => Ending::new(body, routed.route.clone(), end).boxed_unsync(),
            None => body.boxed_unsync(),
        };
        response(status, headers, body)
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: BoxBody) -> Response<BoxBody> {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Why the server's answer is not passed on.
fn failed(service: &Service, error: CallError) -> Failure {
    match error {
        CallError::Body => Failure::Browser(Refusal::Slow),
        CallError::Timeout => Failure::Server(service.too_late()),
        CallError::NoReply(no_reply) => Failure::Server(Failed::broken(no_reply.text())),
        CallError::Switched => Failure::Server(Failed::broken(UNASKED_SWITCH)),
    }
}
