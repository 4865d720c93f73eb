//! One request of HTTP/1.1 on behalf of somebody who does not speak it: a stream of HTTP/2, or this program.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::BoxError;
use crate::body::Inbound;
use crate::buffer::LARGE_BYTES;
use crate::fields::line;
use crate::flow::Link;
use crate::framing::{Decoder, Length, chunk_size};
use crate::kind::Kind;
use crate::patience::Alarm;
use crate::pool::Pool;
use crate::reply::{NoReply, ReplyHead, poll_head};
use crate::routes::Route;

/// A request on its way to a server.
pub(crate) struct Call {
    pub(crate) link: Link,
    /// Head, and what stands between the pieces of the body.
    out: Vec<u8>,
    /// Goes out behind it.
    data: Bytes,
    body: Option<Inbound>,
    has_body: bool,
    is_chunked: bool,
    state: Sending,
    since: Instant,
    /// The server may have seen something of it.
    pub(crate) has_sent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Going,
    Done,
    /// The server takes no more.
    Refused,
    /// The body broke off.
    Broken,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    NoReply(NoReply),
    /// The body that was to be sent broke off or came too slowly.
    Body,
    Timeout,
    /// It changed the protocol, or did not, in a way nobody asked for.
    Switched,
}

impl Call {
    /// The request whose head is `out`, with the body behind it.
    pub(crate) fn new(link: Link, out: Vec<u8>, body: Option<(Inbound, Length)>) -> Self {
        let is_chunked = body.as_ref().is_some_and(|(_, length)| *length == Length::Chunked);
        let (has_body, body) = (body.is_some(), body.map(|(body, _)| body));
        let (data, state, since) = (Bytes::new(), Sending::Going, Instant::now());
        Self { link, out, data, body, has_body, is_chunked, state, since, has_sent: false }
    }

    /// Begins anew on another connection. If something was sent before, the memory for the head comes back, which
    /// has to be written again.
    pub(crate) fn again(&mut self, link: Link) -> Option<&mut Vec<u8>> {
        self.link = link;
        (self.state, self.since) = (Sending::Going, Instant::now());
        let has_sent = std::mem::take(&mut self.has_sent);
        has_sent.then(|| {
            self.out.clear();
            &mut self.out
        })
    }

    /// Waits for the head of the answer. The limit begins anew as long as the server reads the body.
    pub(crate) async fn reply(
        &mut self,
        reply: &mut ReplyHead,
        to_head: bool,
        time: Option<Duration>,
    ) -> Result<(), CallError> {
        let mut alarm = Alarm::default();
        poll_fn(|cx| {
            if self.poll_send(cx) == Poll::Ready(Sending::Broken) {
                return Poll::Ready(Err(CallError::Body));
            }
            if let Poll::Ready(result) = poll_head(cx, &mut self.link, reply, to_head) {
                return Poll::Ready(result.map_err(CallError::NoReply));
            }
            let Some(time) = time else { return Poll::Pending };
            ready!(alarm.poll(cx, self.since + time));
            Poll::Ready(Err(CallError::Timeout))
        })
        .await
    }

    /// The memory of the head, once that has been sent.
    pub(crate) fn take_memory(&mut self) -> Vec<u8> {
        if self.out.is_empty() { std::mem::take(&mut self.out) } else { Vec::new() }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Sending> {
        while self.state == Sending::Going {
            let written = if self.out.is_empty() && self.data.is_empty() {
                ready!(self.poll_next(cx));
                Ok(1)
            } else {
                let pieces = [IoSlice::new(&self.out), IoSlice::new(&self.data)];
                let written = ready!(Pin::new(&mut self.link.stream).poll_write_vectored(cx, &pieces));
                written.inspect(|written| self.advance(*written))
            };
            if !matches!(written, Ok(1..)) {
                self.state = Sending::Refused;
            }
        }
        Poll::Ready(self.state)
    }

    fn advance(&mut self, written: usize) {
        self.has_sent = true;
        let of_out = written.min(self.out.len());
        self.out.drain(..of_out);
        self.data.advance(written - of_out);
        if self.body.is_some() {
            self.since = Instant::now();
        }
    }

    /// Takes the next piece of the body, or ends it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let frame = match &mut self.body {
            Some(body) => ready!(Pin::new(body).poll_frame(cx)),
            None => None,
        };
        match frame {
            None if self.is_chunked => {
                self.end_chunks(None);
            }
            None => self.state = self.flushed(cx),
            Some(Err(_)) => self.state = Sending::Broken,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if self.is_chunked && !data.is_empty() => {
                    chunk_size(&mut self.out, data.len());
                    self.out.extend_from_slice(&data);
                    self.out.extend_from_slice(b"\r\n");
                }
                Ok(data) => self.data = data,
                Err(frame) if self.is_chunked => self.end_chunks(frame.into_trailers().ok()),
                // There is no place for them behind a body of known length.
                Err(_) => {}
            },
        }
        if self.state == Sending::Going && self.out.is_empty() && self.data.is_empty() && self.body.is_none()
        {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Ends a body in chunks, with the fields after it that may go on.
    fn end_chunks(&mut self, trailers: Option<HeaderMap>) {
        self.out.extend_from_slice(b"0\r\n");
        let trailers = trailers.unwrap_or_default();
        for (name, value) in &trailers {
            if Kind::of(name.as_str().as_bytes()).may_trail() {
                line(&mut self.out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        self.out.extend_from_slice(b"\r\n");
        self.is_chunked = false;
        self.body = None;
    }

    fn flushed(&mut self, cx: &mut Context<'_>) -> Sending {
        match Pin::new(&mut self.link.stream).poll_flush(cx) {
            Poll::Pending => Sending::Going,
            Poll::Ready(Ok(())) => Sending::Done,
            Poll::Ready(Err(_)) => Sending::Refused,
        }
    }
}

/// The body of an answer. Its connection is used again when both bodies have come to their ends.
pub(crate) struct Download {
    call: Option<Call>,
    decoder: Decoder,
    length: Length,
    is_reusable: bool,
    /// Nothing for this program's own requests.
    route: Option<Arc<Route>>,
    /// Whether the end of this answer counts as activity.
    counts: bool,
}

impl Download {
    pub(crate) fn new(call: Call, reply: &ReplyHead, route: Option<Arc<Route>>) -> Self {
        let mut download = Self {
            call: Some(call),
            decoder: Decoder::new(reply.length),
            length: reply.length,
            is_reusable: reply.is_reusable,
            route,
            counts: reply.status < 300,
        };
        download.finish();
        download
    }

    /// Lets the connection go if all has been read.
    fn finish(&mut self) {
        if !self.decoder.is_done() {
            return;
        }
        let Some(call) = self.call.take() else { return };
        let Some(route) = &self.route else { return };
        if self.counts {
            route.touch();
        }
        if self.is_reusable && call.state == Sending::Done && route.may_wait(call.has_body) {
            Pool::give(&route.pool, call.link);
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let Some(call) = &mut self.call else { return Poll::Ready(Ok(Bytes::new())) };
        // A body that goes on breaking off is the browser's loss.
        let _ = call.poll_send(cx);
        loop {
            let step = self.decoder.step(call.link.input.bytes()).map_err(|_| broken())?;
            call.link.input.consume(step.skip);
            if step.data > 0 || self.decoder.is_done() {
                let data = Bytes::copy_from_slice(call.link.input.first(step.data));
                call.link.input.consume(step.data);
                return Poll::Ready(Ok(data));
            }
            if step.skip > 0 {
                continue;
            }
            if self.length != Length::Empty {
                call.link.input.grow(LARGE_BYTES);
            }
            if ready!(call.link.poll_fill(cx))? == 0 {
                self.decoder.end().map_err(|_| broken())?;
            }
        }
    }

    /// The fields after the body, once.
    fn trailers(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        let mut trailers = HeaderMap::new();
        let taken = self.decoder.take_trailers(|name, value| {
            // The parser is as strict as these types are.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                trailers.append(name, value);
            }
        });
        taken.map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Some(trailers).filter(|trailers| !trailers.is_empty()).map(Frame::trailers))
    }

    fn broke_off(&mut self, error: io::Error) -> BoxError {
        if let Some(route) = &self.route {
            tracing::warn!("server of {} broke off its answer: {error}", route.prefix);
        }
        self.call = None;
        error.into()
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = ready!(self.poll_data(cx));
        self.finish();
        let frame = match data {
            Ok(data) if data.is_empty() => self.trailers().transpose(),
            Ok(data) => Some(Ok(Frame::data(data))),
            Err(error) => Some(Err(error)),
        };
        Poll::Ready(frame.map(|frame| frame.map_err(|error| self.broke_off(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_done() && !self.decoder.has_trailers()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Length::Empty => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
