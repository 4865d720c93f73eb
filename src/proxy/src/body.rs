//! The bodies that stream through: from the browser to a server, and back.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use crate::patience::Patience;
use crate::pool::Pool;
use crate::routes::Route;
use crate::wire::{Seen, Watch};
use crate::{BoxBody, BoxError};

/// A short body of text.
pub(crate) fn text(text: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
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

/// A request's body as it comes from the browser, which must not take for ever.
pub(crate) struct Inbound {
    body: Incoming,
    watch: Arc<Watch>,
    seen: Seen,
    patience: Patience,
}

impl Inbound {
    /// `seen` is what was seen of the head.
    pub(crate) fn new(body: Incoming, watch: Arc<Watch>, seen: Seen) -> Self {
        if body.is_end_stream() {
            watch.expect_head(seen, 0);
        }
        let patience = watch.patience();
        Self { body, watch, seen, patience }
    }

    /// The connection it comes on.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let slow = "the request's body comes too slowly";
            return self.patience.poll_over(cx).map(|()| Some(Err(slow.into())));
        };
        if let Some(Ok(frame)) = &frame {
            self.patience.passed(frame.data_ref().map_or(0, Bytes::len));
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.watch.expect_head(self.seen, self.patience.bytes());
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

/// A request's body on its way to a user server.
pub(crate) struct Upload {
    inner: Option<(Inbound, Arc<Route>)>,
    progress: Progress,
}

/// How far a request's body has come: only after its end its connection can be used again.
#[derive(Clone, Default)]
pub(crate) struct Progress(Option<Arc<AtomicU8>>);

const ENDED: u8 = 1;
const BROKEN: u8 = 2;
/// Something came since somebody asked.
const MOVED: u8 = 4;

impl Progress {
    fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(|state| state.load(Ordering::Acquire) & (ENDED | BROKEN) == ENDED)
    }

    /// The browser's end failed, so the server is not to blame.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.load(Ordering::Acquire) & BROKEN != 0)
    }

    /// Whether the server has read on since this was asked last.
    pub(crate) fn has_moved(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.fetch_and(!MOVED, Ordering::AcqRel) & MOVED != 0)
    }

    fn note(&self, what: u8) {
        if let Some(state) = &self.0 {
            state.fetch_or(what, Ordering::AcqRel);
        }
    }
}

impl Upload {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { inner: None, progress: Progress::default() }
    }

    /// Streams `body`, which counts as activity of the route.
    pub(crate) fn new(body: Inbound, route: &Arc<Route>) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self { inner: Some((body, route.clone())), progress: Progress(Some(Arc::default())) }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, progress } = &mut *self;
        let Some((body, route)) = inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => {
                progress.note(MOVED);
                route.touch();
            }
            Some(Err(_)) => progress.note(BROKEN),
            None => {}
        }
        if frame.is_none() || body.is_end_stream() {
            progress.note(ENDED);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

/// The connection an answer comes from. It goes back to the pool when the answer was read to its end.
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) upload: Progress,
}

/// An answer's body on its way to the browser.
pub(crate) struct Download {
    inner: Incoming,
    route: Arc<Route>,
    lease: Option<Lease>,
    /// Whether the end of this answer counts as activity.
    counts: bool,
    ended: bool,
}

impl Download {
    pub(crate) fn new(inner: Incoming, route: Arc<Route>, lease: Lease, counts: bool) -> Self {
        Self { inner, route, lease: Some(lease), counts, ended: false }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.ended |= frame.is_none();
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                tracing::warn!("server of {} broke off its answer: {error}", self.route.prefix);
                error.into()
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            return;
        }
        if self.counts {
            self.route.touch();
        }
        if let Some(lease) = self.lease.take()
            && lease.upload.has_ended()
        {
            Pool::give(&self.route, lease.sender);
        }
    }
}
