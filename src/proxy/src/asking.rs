//! A request of HTTP/1.1 on its way to a user server, until its answer has been passed on: both stream, in both
//! directions at once.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::backend::Failed;
use crate::exchange::Failure;
use crate::flow::{Fault, Flow, Link, Wait};
use crate::http1::Connection;
use crate::patience::Patience;
use crate::reply::{NoReply, ReplyHead, poll_head};
use crate::request::RequestHead;
use crate::routes::Route;
use crate::screen::Refusal;

/// A request under way.
pub(crate) struct Asking {
    pub(crate) server: Link,
    pub(crate) upload: Flow,
    reading: Patience,
    pub(crate) state: Sending,
    has_body: bool,
    /// When it was sent, or more of its body was.
    since: Instant,
    /// The connection has been used before.
    is_used: bool,
    /// The server may have seen something of it.
    pub(crate) has_sent: bool,
}

#[derive(PartialEq, Eq)]
pub(crate) enum Sending {
    Going,
    Done,
    /// The server takes no more; it may have answered all the same.
    Broken,
}

impl Asking {
    /// The request in `upload`, over `server`; `reading` is the patience with the browser.
    pub(crate) fn new(
        (server, is_used): (Link, bool),
        upload: Flow,
        head: &RequestHead,
        reading: Patience,
    ) -> Self {
        let (has_body, state, since) = (head.has_body(), Sending::Going, Instant::now());
        Self { server, upload, reading, state, has_body, since, is_used, has_sent: false }
    }

    /// Begins anew on a fresh connection. If something was sent before, the head has to be written again.
    pub(crate) fn again(&mut self, server: Link) {
        self.server = server;
        (self.state, self.since, self.is_used) = (Sending::Going, Instant::now(), false);
    }

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
        if sent > 0 {
            self.has_sent = true;
            if self.has_body {
                self.since = Instant::now();
                route.touch();
            }
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
    pub(crate) fn poll_reply(
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
                return Poll::Ready(Err(Failure::Server(Failed::broken(no_reply.text()))));
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
            Failure::Server(connection.service.too_late())
        }))
    }

    /// Moves the request and the answer on.
    pub(crate) fn poll_relay(
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
