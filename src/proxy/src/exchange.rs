//! One request of HTTP/1.1 to a user server, and its answer: both stream, in both directions at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::BackendFailure;
use crate::fields::line;
use crate::flow::{Fault, Flow, Link, Wait};
use crate::forward::{Routed, broken};
use crate::framing::Length;
use crate::http1::{After, Connection, Work};
use crate::listen::Service;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::reply::{HEAD_BYTES_MAX, ReplyHead};
use crate::request::RequestHead;
use crate::routes::Route;
use crate::screen::Refusal;
use crate::upgrade::Switched;

const SWITCHING_PROTOCOLS: u16 = 101;

/// Why there is no answer of the server to pass on.
pub(crate) enum Failure {
    /// The app says what is wrong with the server.
    Server(BackendFailure),
    /// It was asked on a connection that it had closed already.
    Stale,
    /// The browser is told what is wrong with its request.
    Browser(Refusal),
    /// The browser has gone.
    Gone,
}

/// A request under way.
pub(crate) struct Asking {
    pub(crate) server: Link,
    upload: Flow,
    reading: Patience,
    state: Sending,
    has_body: bool,
    /// When it was sent, or more of its body was.
    since: Instant,
    /// The connection has been used before.
    is_used: bool,
}

#[derive(PartialEq, Eq)]
enum Sending {
    Going,
    Done,
    /// The server takes no more; it may have answered all the same.
    Broken,
}

impl Connection {
    /// Asks the server and passes its answer on.
    pub(crate) async fn exchange(&mut self, work: &mut Work, routed: &Routed) -> After {
        let (asking, result) = self.ask(work, routed).await;
        match (result, asking) {
            (Ok(()), Some(asking)) if work.reply.status == SWITCHING_PROTOCOLS => {
                After::Switched(Switched::new(&self.service, asking.server, work, routed))
            }
            (Ok(()), Some(mut asking)) => {
                let after = self.relay(&mut asking, work, routed).await;
                finish(asking, work, &routed.route, &after);
                after
            }
            (Err(Failure::Browser(refusal)), _) => self.refuse(refusal, &work.request).await,
            (Err(Failure::Server(failure)), asking) => {
                let all_sent = asking.is_some_and(|asking| asking.state == Sending::Done);
                let head = &work.request;
                let explained = async {
                    let response = self.service.explain(head, routed, failure).await;
                    self.give(response, head, None).await
                };
                match Box::pin(explained).await {
                    After::Next | After::Close if head.has_body() && !all_sent => After::Linger,
                    after => after,
                }
            }
            _ => After::Drop,
        }
    }

    /// Sends a request to its server, over a waiting connection if there is one, and reads the head of the answer.
    async fn ask(&mut self, work: &mut Work, routed: &Routed) -> (Option<Asking>, Result<(), Failure>) {
        let (head, reply) = (&work.request, &mut work.reply);
        let has_body = head.has_body();
        let repeatable = !has_body && head.is_idempotent();
        let mut waiting = if routed.asked.is_some() { None } else { routed.route.pool.take() };
        loop {
            let is_used = waiting.is_some();
            let server = match waiting.take() {
                Some(server) => server,
                None => match Box::pin(self.service.open(&routed.route)).await {
                    Ok(server) => server,
                    Err(failure) => return (None, Err(Failure::Server(failure))),
                },
            };
            if head.waits() && self.link.input.is_empty() && !self.invite().await {
                return (None, Err(Failure::Gone));
            }
            let mut upload = Flow::new(std::mem::take(&mut work.up));
            self.service.write_request(&mut upload.out, head, routed);
            upload.begin(head.length, head.length);
            let (reading, since) = (self.visitor.patience(), Instant::now());
            let state = Sending::Going;
            let mut asking = Asking { server, upload, reading, state, has_body, since, is_used };
            let asked = poll_fn(|cx| asking.poll_reply(cx, self, (head, reply), &routed.route)).await;
            let result = match asked {
                Err(Failure::Stale) if repeatable => {
                    work.up = asking.upload.out;
                    continue;
                }
                Err(Failure::Stale) => {
                    Err(Failure::Server(broken(&routed.route, "it closed a waiting connection")))
                }
                Ok(()) => agreed(routed, reply),
                Err(failure) => Err(failure),
            };
            return (Some(asking), result);
        }
    }

    /// Passes an answer on while the rest of the request goes to the server.
    async fn relay(&mut self, asking: &mut Asking, work: &mut Work, routed: &Routed) -> After {
        let (head, reply) = (&work.request, &work.reply);
        let to = match reply.length {
            Length::Chunked | Length::Close if head.is_old => Length::Close,
            Length::Close => Length::Chunked,
            length => length,
        };
        let goes_on = head.wants_more() && to != Length::Close && !self.service.is_stopping();
        let mut down = Flow::new(std::mem::take(&mut work.down));
        self.service.rules(head, &routed.route, reply).write(&mut down.out, reply, to);
        end_head(&mut down.out, &self.service, routed.peer.https, (goes_on, head.is_old));
        down.begin(reply.length, to);
        let mut writing = self.visitor.patience();
        let result =
            poll_fn(|cx| asking.poll_relay(cx, self, (&mut down, &mut writing), &routed.route)).await;
        work.down = std::mem::take(&mut down.out);
        match result {
            Ok(()) if asking.state != Sending::Done => After::Linger,
            Ok(()) if goes_on => After::Next,
            Ok(()) => After::Close,
            Err(()) => After::Drop,
        }
    }

    /// Asks the browser for the body that it holds back.
    async fn invite(&mut self) -> bool {
        let write = async {
            use tokio::io::AsyncWriteExt;
            self.link.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.link.stream.flush().await
        };
        let time = self.service.proxy.settings.limits.header_timeout;
        matches!(tokio::time::timeout(time, write).await, Ok(Ok(())))
    }

    /// Whether the browser has gone, as far as it can be seen without losing what it says.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while !self.link.input.is_full() {
            match self.link.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }
}

/// Whether the server may change the protocol, if it does.
fn agreed(routed: &Routed, reply: &ReplyHead) -> Result<(), Failure> {
    let agreed = match &routed.asked {
        Some(asked) => asked.agreed(reply),
        None => (reply.status == SWITCHING_PROTOCOLS).then_some(false),
    };
    if agreed != Some(false) {
        return Ok(());
    }
    Err(Failure::Server(broken(&routed.route, "it changed the protocol in a way nobody asked for")))
}

/// After an answer was passed on: what can be used again is kept.
fn finish(asking: Asking, work: &mut Work, route: &Arc<Route>, after: &After) {
    if matches!(after, After::Drop) {
        return;
    }
    if work.reply.status < 300 {
        route.touch();
    }
    work.up = asking.upload.out;
    if asking.state == Sending::Done && work.reply.is_reusable {
        Pool::give(&route.pool, asking.server);
    }
}

/// Appends the fields that every answer gets.
pub(crate) fn end_fields(out: &mut Vec<u8>, service: &Service, https: bool) {
    if let Some(hsts) = service.proxy.hsts.as_ref().filter(|_| https) {
        line(out, b"Strict-Transport-Security", hsts.as_bytes());
    }
}

/// Ends an answer's head: with what is about this connection.
pub(crate) fn end_head(out: &mut Vec<u8>, service: &Service, https: bool, (goes_on, is_old): (bool, bool)) {
    end_fields(out, service, https);
    if !goes_on {
        line(out, b"Connection", b"close");
    } else if is_old {
        line(out, b"Connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
}

impl Asking {
    /// Moves the request on; an error is the browser's.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        browser: &mut Link,
        route: &Route,
    ) -> Result<(), Failure> {
        if self.state != Sending::Going {
            return Ok(());
        }
        let polled = self.upload.poll(cx, browser, &mut self.server.stream);
        let (read, sent) = self.upload.take_moved();
        if read > 0 {
            self.reading.passed(read);
        }
        if sent > 0 && self.has_body {
            self.since = Instant::now();
            route.touch();
        }
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.state = Sending::Done,
            Poll::Ready(Err(Fault::Sink)) => self.state = Sending::Broken,
            Poll::Ready(Err(Fault::Source)) => return Err(Failure::Gone),
            Poll::Ready(Err(Fault::Framing)) => return Err(Failure::Browser(Refusal::Framing)),
        }
        Ok(())
    }

    /// Until when the browser may take for the rest of its body.
    fn upload_until(&mut self) -> Option<Instant> {
        let waits = self.state == Sending::Going && self.upload.wait == Wait::Source;
        waits.then(|| self.reading.until())
    }

    /// Sends the request and reads the head of the answer.
    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        (head, reply): (&RequestHead, &mut ReplyHead),
        route: &Route,
    ) -> Poll<Result<(), Failure>> {
        if let Err(failure) = self.poll_upload(cx, &mut connection.link, route) {
            return Poll::Ready(Err(failure));
        }
        match poll_head(cx, &mut self.server, reply, head.method() == b"HEAD") {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(NoReply::Closed)) if self.is_used => {
                return Poll::Ready(Err(Failure::Stale));
            }
            Poll::Ready(Err(no_reply)) => {
                return Poll::Ready(Err(Failure::Server(broken(route, no_reply.text()))));
            }
            Poll::Pending => {}
        }
        if self.state != Sending::Going && connection.poll_gone(cx) {
            return Poll::Ready(Err(Failure::Gone));
        }
        let answer_until = connection.service.answer_time().map(|time| self.since + time);
        let upload_until = self.upload_until();
        let Some(until) = answer_until.into_iter().chain(upload_until).min() else { return Poll::Pending };
        if connection.alarm.poll(cx, until).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(if upload_until == Some(until) {
            Failure::Browser(Refusal::Slow)
        } else {
            Failure::Server(BackendFailure::Timeout)
        }))
    }

    /// Moves the request and the answer on.
    fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        (down, writing): (&mut Flow, &mut Patience),
        route: &Route,
    ) -> Poll<Result<(), ()>> {
        if self.poll_upload(cx, &mut connection.link, route).is_err() {
            return Poll::Ready(Err(()));
        }
        match down.poll(cx, &mut self.server, &mut connection.link.stream) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Fault::Sink)) => return Poll::Ready(Err(())),
            Poll::Ready(Err(_)) => {
                tracing::warn!("server of {} broke off its answer", route.prefix);
                return Poll::Ready(Err(()));
            }
            Poll::Pending => {}
        }
        match down.take_moved() {
            (_, 0) => {}
            (_, sent) => writing.passed(sent),
        }
        let write_until = (down.wait == Wait::Sink).then(|| writing.until());
        if write_until.is_none() && self.state != Sending::Going && connection.poll_gone(cx) {
            return Poll::Ready(Err(()));
        }
        let Some(until) = write_until.into_iter().chain(self.upload_until()).min() else {
            return Poll::Pending;
        };
        connection.alarm.poll(cx, until).map(|()| {
            tracing::debug!("browser of {} is too slow", route.prefix);
            Err(())
        })
    }
}

/// Why no head of an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The connection ended before the first byte.
    Closed,
    BrokenOff,
    NotHttp,
}

impl NoReply {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Closed => "it closed the connection",
            Self::BrokenOff => "it closed the connection within the head",
            Self::NotHttp => "what it says is not HTTP",
        }
    }
}

/// Reads the head of an answer, skipping those that only say that it will come.
pub(crate) fn poll_head(
    cx: &mut Context<'_>,
    server: &mut Link,
    reply: &mut ReplyHead,
    to_head: bool,
) -> Poll<Result<(), NoReply>> {
    loop {
        if !server.input.is_empty() {
            match reply.read(server.input.bytes(), to_head) {
                Ok(Some(length)) => {
                    server.input.consume(length);
                    if reply.is_interim() {
                        continue;
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if server.input.bytes().len() < HEAD_BYTES_MAX => {}
                _ => return Poll::Ready(Err(NoReply::NotHttp)),
            }
            if server.input.is_full() {
                server.input.grow(HEAD_BYTES_MAX);
            }
        }
        match server.poll_fill(cx) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) if server.input.is_empty() => return Poll::Ready(Err(NoReply::Closed)),
            Poll::Ready(_) => return Poll::Ready(Err(NoReply::BrokenOff)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
