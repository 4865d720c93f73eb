//! A request's body for the app: read from the browser when the app wants it, piece by piece.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::BoxError;
use crate::flow::Link;
use crate::framing::{Decoder, Length};
use crate::patience::Patience;
use crate::request::RequestHead;

const INVITATION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The connection's end.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    decoder: Decoder,
    reading: Patience,
    /// What the browser is told before it sends anything.
    invitation: &'static [u8],
    is_broken: bool,
}

/// The app's end.
pub(crate) struct Fed {
    shared: Arc<Shared>,
    hint: SizeHint,
}

#[derive(Default)]
struct Shared(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    piece: Option<Result<Bytes, BoxError>>,
    is_wanted: bool,
    has_ended: bool,
    app: Option<Waker>,
    connection: Option<Waker>,
}

/// Both ends of the body of a request.
pub(crate) fn pair(head: &RequestHead, reading: Patience) -> (Feed, Fed) {
    let shared = Arc::new(Shared::default());
    let invitation = if head.waits() { INVITATION } else { b"" };
    let decoder = Decoder::new(head.length);
    let hint = match head.length {
        Length::Known(bytes) => SizeHint::with_exact(bytes),
        _ => SizeHint::default(),
    };
    (Feed { shared: shared.clone(), decoder, reading, invitation, is_broken: false }, Fed { shared, hint })
}

impl Feed {
    /// Reads what the app wants. Pending as long as there is something to come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, browser: &mut Link) -> Poll<()> {
        while !self.is_broken && !self.decoder.is_done() {
            {
                let mut slot = self.shared.lock();
                if !slot.is_wanted || slot.piece.is_some() {
                    slot.connection = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            let piece = ready!(self.poll_piece(cx, browser));
            self.is_broken = piece.is_err();
            let mut slot = self.shared.lock();
            slot.has_ended = self.decoder.is_done();
            slot.piece = Some(piece);
            if let Some(app) = slot.app.take() {
                app.wake();
            }
        }
        Poll::Ready(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>, browser: &mut Link) -> Poll<Result<Bytes, BoxError>> {
        while !self.invitation.is_empty() && browser.input.is_empty() {
            let written = ready!(Pin::new(&mut browser.stream).poll_write(cx, self.invitation))?;
            self.invitation = self.invitation.get(written..).unwrap_or_default();
        }
        loop {
            let step = self.decoder.step(browser.input.bytes())?;
            browser.input.consume(step.skip);
            if step.data > 0 || self.decoder.is_done() {
                let piece = Bytes::copy_from_slice(browser.input.first(step.data));
                browser.input.consume(step.data);
                return Poll::Ready(Ok(piece));
            }
            if step.skip > 0 {
                continue;
            }
            let _ = Pin::new(&mut browser.stream).poll_flush(cx)?;
            match ready!(browser.poll_fill(cx))? {
                0 => self.decoder.end()?,
                read => self.reading.passed(read),
            }
        }
    }

    /// Until when the browser may take for its next piece; nothing if it is not waited for.
    pub(crate) fn until(&mut self) -> Option<Instant> {
        let waits = !self.is_broken && !self.decoder.is_done();
        let waits = waits && {
            let slot = self.shared.lock();
            slot.is_wanted && slot.piece.is_none()
        };
        waits.then(|| self.reading.until())
    }

    /// The browser takes too long.
    pub(crate) fn give_up(&mut self) {
        self.is_broken = true;
        let mut slot = self.shared.lock();
        slot.piece = Some(Err("the request's body comes too slowly".into()));
        if let Some(app) = slot.app.take() {
            app.wake();
        }
    }

    /// Throws away what has come of the body; says whether nothing of it is left to come.
    pub(crate) fn finish(mut self, browser: &mut Link) -> bool {
        while !self.decoder.is_done() {
            let Ok(step) = self.decoder.step(browser.input.bytes()) else { return false };
            browser.input.consume(step.skip + step.data);
            if step.skip + step.data == 0 {
                break;
            }
        }
        self.decoder.is_done() && !self.is_broken
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut slot = self.shared.lock();
        match slot.piece.take() {
            Some(Ok(piece)) if piece.is_empty() => Poll::Ready(None),
            Some(piece) => {
                slot.is_wanted = false;
                Poll::Ready(Some(piece.map(Frame::data)))
            }
            None if slot.has_ended => Poll::Ready(None),
            None => {
                slot.is_wanted = true;
                slot.app = Some(cx.waker().clone());
                if let Some(connection) = slot.connection.take() {
                    connection.wake();
                }
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.shared.lock().is_wanted = false;
    }
}
