//! Bodies in the types of `http`: of the app, and of HTTP/2.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::framing::Length;
use crate::origin::Visitor;
use crate::patience::{Alarm, Patience};
use crate::{BoxBody, BoxError};

/// A short body of text.
pub(crate) fn text(text: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(crate) fn empty() -> BoxBody {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A whole body of at most so many bytes; nothing if it is longer or breaks off.
pub(crate) async fn collect<B>(body: B, bytes_max: usize) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.ok()?;
        let piece = frame.data_ref().map_or(&[][..], |piece| piece);
        if bytes.len() + piece.len() > bytes_max {
            return None;
        }
        bytes.extend_from_slice(piece);
    }
    Some(bytes)
}

/// The body of a request of HTTP/2, which must not take for ever.
pub(crate) struct Inbound {
    body: Incoming,
    patience: Patience,
    alarm: Alarm,
}

impl Inbound {
    pub(crate) fn new(body: Incoming, visitor: &Arc<Visitor>) -> Self {
        Self { body, patience: visitor.patience(), alarm: Alarm::default() }
    }

    /// How it goes on with HTTP/1.1.
    pub(crate) fn length(&self) -> Length {
        match self.body.size_hint().exact() {
            _ if self.body.is_end_stream() => Length::Empty,
            Some(bytes) => Length::Known(bytes),
            None => Length::Chunked,
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, patience, alarm } = &mut *self;
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            ready!(alarm.poll(cx, patience.until()));
            return Poll::Ready(Some(Err("the request's body comes too slowly".into())));
        };
        if let Some(Ok(frame)) = &frame {
            patience.passed(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
