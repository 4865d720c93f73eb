//! One request of HTTP/1.1 to a user server, and its answer: over which connection it goes, and what comes of that.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::asking::{Asking, Sending};
use crate::backend::Failed;
use crate::fields::line;
use crate::flow::Flow;
use crate::forward::Routed;
use crate::framing::Length;
use crate::http1::{After, Connection, Work};
use crate::listen::Service;
use crate::pool::Pool;
use crate::reply::ReplyHead;
use crate::routes::Route;
use crate::screen::Refusal;
use crate::upgrade::Switched;

/// So long a browser that came with its request is not watched while its server works on the answer.
const UNWATCHED_TIME: Duration = Duration::from_millis(5);
const SWITCHING_PROTOCOLS: u16 = 101;
/// What a server did that answers so without having been asked for it.
pub(crate) const UNASKED_SWITCH: &str = "it changed the protocol in a way nobody asked for";

/// Why there is no answer of the server to pass on.
pub(crate) enum Failure {
    /// The app says what is wrong with the server.
    Server(Failed),
    /// It was asked on a connection that it had closed already.
    Stale,
    /// The browser is told what is wrong with its request.
    Browser(Refusal),
    /// The browser has gone.
    Gone,
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
        let Work { request: head, reply, up, .. } = work;
        let route = &routed.route;
        let waiting = if routed.asked.is_some() { None } else { route.pool.take(head) };
        let is_used = waiting.is_some();
        let server = match waiting {
            Some(server) => server,
            None => match Box::pin(self.service.open(route)).await {
                Ok(server) => server,
                Err(failed) => return (None, Err(Failure::Server(failed))),
            },
        };
        if head.waits() && self.link.input.is_empty() && !self.invite().await {
            return (None, Err(Failure::Gone));
        }
        let mut upload = Flow::new(std::mem::take(up));
        self.service.write_request(&mut upload.out, head, routed);
        upload.begin(head.length, head.length);
        let mut asking = Asking::new((server, is_used), upload, head, self.visitor.patience());
        loop {
            let asked = poll_fn(|cx| asking.poll_reply(cx, self, (head, reply), route)).await;
            let result = match asked {
                Ok(()) => agreed(routed, reply),
                // It cannot have done anything yet, or nothing that it must not do twice.
                Err(Failure::Stale) if !asking.has_sent || head.is_repeatable() => {
                    match Box::pin(self.service.open(route)).await {
                        Ok(server) => asking.again(server),
                        Err(failed) => return (Some(asking), Err(Failure::Server(failed))),
                    }
                    if std::mem::take(&mut asking.has_sent) {
                        asking.upload = Flow::new(std::mem::take(&mut asking.upload.out));
                        self.service.write_request(&mut asking.upload.out, head, routed);
                    }
                    continue;
                }
                Err(Failure::Stale) => {
                    Err(Failure::Server(Failed::broken("it closed a waiting connection when it was asked")))
                }
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
        self.service.rules(head, routed, reply).write(&mut down.out, reply, to);
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

    /// Whether the browser has gone, as far as it can be seen without losing what it says. One that nobody watches so
    /// far is not watched for the short time in which most answers come.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.link.stream.is_unwatched() && self.alarm.poll(cx, self.came + UNWATCHED_TIME).is_pending() {
            return false;
        }
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
    Err(Failure::Server(Failed::broken(UNASKED_SWITCH)))
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
    if asking.state == Sending::Done && work.reply.is_reusable && route.may_wait(work.request.has_body()) {
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
