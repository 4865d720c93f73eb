//! The app's answers towards a browser that speaks HTTP/1.1.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::AsyncWrite;

use crate::answer::write_date;
use crate::exchange::end_head;
use crate::feed::{self, Feed};
use crate::fields::line;
use crate::framing::{Length, chunk_size, content_length};
use crate::head::frame;
use crate::http1::{After, Connection};
use crate::origin::Origin;
use crate::request::RequestHead;
use crate::stream::Stream;
use crate::{BoxBody, body};

/// What most heads need at most; longer ones make room for themselves.
const HEAD_BYTES: usize = 1024;

impl Connection {
    /// Lets the app answer.
    pub(crate) async fn ask_app(&mut self, head: &RequestHead, origin: &Origin, target: &str) -> After {
        let service = self.service.clone();
        let parts = match service.for_app(head, (origin, self.visitor.peer), target) {
            Ok(parts) => parts,
            Err(refusal) => return self.refuse(refusal, head).await,
        };
        let (mut feed, body) = if head.has_body() {
            let (feed, fed) = feed::pair(head, self.visitor.patience());
            (Some(feed), fed.boxed_unsync())
        } else {
            (None, body::empty())
        };
        let mut call = service.proxy.app.call(Request::from_parts(parts, body));
        let response = poll_fn(|cx| {
            loop {
                if let Poll::Ready(response) = call.as_mut().poll(cx) {
                    return Poll::Ready(Some(response));
                }
                match self.poll_feed(cx, &mut feed) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        match response.await {
            Some(response) => self.give(response, head, feed).await,
            None => After::Drop,
        }
    }

    /// Reads what the app wants of the body, and notices when the browser is gone. Ready with true when the app has to
    /// be asked again.
    fn poll_feed(&mut self, cx: &mut Context<'_>, feed: &mut Option<Feed>) -> Poll<bool> {
        let reading = feed.as_mut().map(|feed| (feed.poll(cx, &mut self.link), feed.until()));
        match reading {
            Some((Poll::Pending, Some(until))) => {
                ready!(self.alarm.poll(cx, until));
                if let Some(feed) = feed {
                    feed.give_up();
                }
                Poll::Ready(true)
            }
            Some((Poll::Pending, None)) => Poll::Pending,
            _ if self.poll_gone(cx) => Poll::Ready(false),
            _ => Poll::Pending,
        }
    }

    /// Sends an answer, while the app may still read the request.
    pub(crate) async fn give(
        &mut self,
        response: Response<BoxBody>,
        head: &RequestHead,
        mut feed: Option<Feed>,
    ) -> After {
        let (parts, body) = response.into_parts();
        let says_close = parts.headers.get(CONNECTION).is_some_and(|value| value == "close");
        let is_empty = head.method() == b"HEAD" || matches!(parts.status.as_u16(), 204 | 304);
        let told = parts.headers.get(CONTENT_LENGTH).and_then(|value| content_length(value.as_bytes()));
        let known = told.or_else(|| body.size_hint().exact());
        let length = match known {
            Some(bytes) => Length::Known(bytes),
            None if head.is_old => Length::Close,
            None => Length::Chunked,
        };
        let goes_on =
            !says_close && head.wants_more() && length != Length::Close && !self.service.is_stopping();
        let mut out = Vec::with_capacity(HEAD_BYTES);
        // Writing to a Vec does not fail.
        write!(out, "HTTP/1.1 {}\r\n", parts.status).ok();
        for (name, value) in &parts.headers {
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, STRICT_TRANSPORT_SECURITY].contains(name) {
                line(&mut out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        match parts.status.as_u16() {
            204 => {}
            304 if told.is_none() => {}
            _ => frame(&mut out, length),
        }
        if !parts.headers.contains_key(DATE) {
            write_date(&mut out);
        }
        end_head(&mut out, &self.service, self.visitor.peer.https, (goes_on, head.is_old));
        let body = (!is_empty).then_some(body);
        let mut giving = Giving { body, out, data: Bytes::new(), length, is_fresh: true, is_finished: false };
        let sent = self.send(&mut giving, &mut feed).await;
        let all_taken = feed.is_none_or(|feed| feed.finish(&mut self.link));
        match sent {
            Err(()) => After::Drop,
            Ok(()) if !all_taken => After::Linger,
            Ok(()) if goes_on => After::Next,
            Ok(()) => After::Close,
        }
    }

    async fn send(&mut self, giving: &mut Giving, feed: &mut Option<Feed>) -> Result<(), ()> {
        let mut writing = self.visitor.patience();
        poll_fn(|cx| {
            loop {
                let (polled, sent) = giving.poll(cx, &mut self.link.stream);
                if sent > 0 {
                    writing.passed(sent);
                }
                match polled {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => {
                        tracing::debug!("answer broken off: {error}");
                        return Poll::Ready(Err(()));
                    }
                    Poll::Pending => {}
                }
                if giving.waits_for_browser() {
                    ready!(self.alarm.poll(cx, writing.until()));
                    return Poll::Ready(Err(()));
                }
                match self.poll_feed(cx, feed) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Err(())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

/// An answer on its way.
struct Giving {
    body: Option<BoxBody>,
    out: Vec<u8>,
    /// Goes out behind it.
    data: Bytes,
    length: Length,
    /// Only the head is there, and nobody has looked whether the body begins at once.
    is_fresh: bool,
    is_finished: bool,
}

impl Giving {
    fn waits_for_browser(&self) -> bool {
        !self.out.is_empty() || !self.data.is_empty()
    }

    /// Moves on; says how many bytes went out.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> (Poll<io::Result<()>>, usize) {
        let mut sent = 0;
        loop {
            // Head and beginning go out together: each write costs as much as all else in a short answer.
            let is_fresh = std::mem::take(&mut self.is_fresh);
            if (is_fresh || !self.waits_for_browser()) && !self.is_finished {
                match self.poll_next(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) => return (Poll::Ready(Err(error)), sent),
                    Poll::Pending if is_fresh => {}
                    Poll::Pending => {
                        return match Pin::new(stream).poll_flush(cx) {
                            Poll::Ready(Err(error)) => (Poll::Ready(Err(error)), sent),
                            _ => (Poll::Pending, sent),
                        };
                    }
                }
            }
            if !self.waits_for_browser() {
                return (Pin::new(stream).poll_flush(cx), sent);
            }
            let pieces = [IoSlice::new(&self.out), IoSlice::new(&self.data)];
            match Pin::new(&mut *stream).poll_write_vectored(cx, &pieces) {
                Poll::Pending => return (Poll::Pending, sent),
                Poll::Ready(Err(error)) => return (Poll::Ready(Err(error)), sent),
                Poll::Ready(Ok(0)) => return (Poll::Ready(Err(io::ErrorKind::WriteZero.into())), sent),
                Poll::Ready(Ok(written)) => {
                    sent += written;
                    let of_out = written.min(self.out.len());
                    self.out.drain(..of_out);
                    self.data.advance(written - of_out);
                }
            }
        }
    }

    /// Takes the next piece of the body.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frame = match &mut self.body {
            Some(body) => ready!(Pin::new(body).poll_frame(cx)).transpose().map_err(io::Error::other)?,
            None => None,
        };
        let Some(frame) = frame else {
            self.is_finished = true;
            match self.length {
                Length::Chunked if self.body.is_some() => self.out.extend_from_slice(b"0\r\n\r\n"),
                Length::Known(1..) if self.body.is_some() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                _ => {}
            }
            return Poll::Ready(Ok(()));
        };
        let Ok(data) = frame.into_data() else { return Poll::Ready(Ok(())) };
        match &mut self.length {
            Length::Known(left) => {
                let bytes = data.len() as u64;
                *left = left.checked_sub(bytes).ok_or(io::ErrorKind::InvalidData)?;
            }
            Length::Chunked if !data.is_empty() => {
                chunk_size(&mut self.out, data.len());
                self.out.extend_from_slice(&data);
                self.out.extend_from_slice(b"\r\n");
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        self.data = data;
        Poll::Ready(Ok(()))
    }
}
