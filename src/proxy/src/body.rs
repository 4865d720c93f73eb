//! The bodies that stream through: from the browser to a server, and back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use crate::pool::Pool;
use crate::routes::Route;
use crate::{BoxBody, BoxError};

/// A short body of text.
pub(crate) fn text(text: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A request's body on its way to a user server.
pub(crate) struct Upload {
    inner: Option<Incoming>,
    route: Option<Arc<Route>>,
    done: UploadDone,
}

/// Set when a request's body was read to its end: only then can its connection be used again.
#[derive(Clone)]
pub(crate) struct UploadDone(Option<Arc<AtomicBool>>);

impl UploadDone {
    fn is_set(&self) -> bool {
        self.0.as_ref().is_none_or(|flag| flag.load(Ordering::Acquire))
    }
}

impl Upload {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { inner: None, route: None, done: UploadDone(None) }
    }

    /// Streams `body`, which counts as activity of the route.
    pub(crate) fn new(body: Incoming, route: &Arc<Route>) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let done = UploadDone(Some(Arc::new(AtomicBool::new(false))));
        Self { inner: Some(body), route: Some(route.clone()), done }
    }

    pub(crate) fn done(&self) -> UploadDone {
        self.done.clone()
    }

    fn finish(&self) {
        if let Some(flag) = &self.done.0 {
            flag.store(true, Ordering::Release);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        let ended = frame.is_none() || inner.is_end_stream();
        if ended {
            self.finish();
        }
        if let (Some(Ok(_)), Some(route)) = (&frame, &self.route) {
            route.touch();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The connection an answer comes from. It goes back to the pool when the answer was read to its end.
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) upload: UploadDone,
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
            && lease.upload.is_set()
        {
            Pool::give(&self.route, lease.sender);
        }
    }
}
