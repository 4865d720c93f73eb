//! A connection as it comes from the browser, watched for what hyper does not tell: heads that are written in a
//! way that others may read differently, and readers that do not read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::head::Origin;
use crate::limits::Pass;
use crate::patience::Patience;

/// Bits of what was seen.
const BARE_LINE_FEED: u8 = 1;
const FRAGMENT: u8 = 2;
const CONTENT_LENGTH: u8 = 4;
/// The head was seen from its first to its last byte.
const WHOLE: u8 = 8;

const NAME: &[u8] = b"content-length";

/// What was seen of the present request's head, shared between connection and request.
pub(crate) struct Watch {
    reading_head: AtomicBool,
    seen: AtomicU8,
    /// Bytes that came after the head.
    beyond: AtomicU64,
    minimum_rate: u64,
    /// Who asks, by the host asked for; it is the same from request to request.
    origin: Mutex<Option<(String, Arc<Origin>)>>,
    /// The connection's place, as long as anything is left of it.
    _pass: Option<Pass>,
}

/// Of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(u8);

impl Watch {
    pub(crate) fn new(minimum_rate: u64, pass: Option<Pass>) -> Arc<Self> {
        let (seen, beyond) = (AtomicU8::new(0), AtomicU64::new(0));
        let reading_head = AtomicBool::new(true);
        Arc::new(Self { reading_head, seen, beyond, minimum_rate, origin: Mutex::default(), _pass: pass })
    }

    /// From now on, heads are not read here.
    pub(crate) fn leave_heads(&self) {
        self.reading_head.store(false, Ordering::Release);
    }

    /// Who asks for `host`, as found out before on this connection or now. Only for peers whose headers say nothing
    /// of it.
    pub(crate) fn origin(&self, host: String, find_out: impl FnOnce(String) -> Origin) -> Arc<Origin> {
        let mut known = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, origin)) = known.as_ref().filter(|(known, _)| *known == host) {
            return origin.clone();
        }
        let origin = Arc::new(find_out(host.clone()));
        *known = Some((host, origin.clone()));
        origin
    }

    /// How long the other end is waited for.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.minimum_rate)
    }

    /// What was seen, of the head that hyper has just read.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.seen.swap(0, Ordering::AcqRel))
    }

    /// The request has been read to its end, after a body of so many bytes: what comes now is a head. If
    /// a part of it has come already, this connection is not watched any more.
    pub(crate) fn expect_head(&self, seen: Seen, body_bytes: u64) {
        if seen.0 & WHOLE != 0 && self.beyond.load(Ordering::Acquire) == body_bytes {
            self.beyond.store(0, Ordering::Release);
            self.reading_head.store(true, Ordering::Release);
        }
    }
}

impl Seen {
    /// A line that ends without a carriage return.
    pub(crate) fn bare_line_feed(self) -> bool {
        self.0 & BARE_LINE_FEED != 0
    }

    /// `#` in the request line, which hyper cuts off.
    pub(crate) fn fragment(self) -> bool {
        self.0 & FRAGMENT != 0
    }

    /// `Content-Length`, which hyper drops beside `Transfer-Encoding`.
    pub(crate) fn content_length(self) -> bool {
        self.0 & CONTENT_LENGTH != 0
    }
}

/// A watched stream. Once requests come without waiting for answers, heads cannot be told from bodies here; then
/// hyper's reading counts, which is the standard's, and everything is framed anew for the server anyway.
pub(crate) struct Wire<S> {
    stream: S,
    watch: Arc<Watch>,
    line: Line,
    writing: Patience,
}

/// How far a head has been read.
struct Line {
    /// Bytes of the present line.
    length: usize,
    previous: u8,
    is_request_line: bool,
    /// As far as read, the line is that of a content length.
    is_length: bool,
}

impl Line {
    const START: Self = Self { length: 0, previous: 0, is_request_line: true, is_length: true };

    /// Looks at bytes of a head; says what was seen and how many bytes are left after its end, if it ended.
    fn scan(&mut self, bytes: &[u8]) -> (u8, Option<usize>) {
        let mut seen = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if byte != b'\n' {
                seen |= self.see(byte);
                continue;
            }
            if self.previous != b'\r' {
                seen |= BARE_LINE_FEED;
            }
            let empty = self.length == usize::from(self.previous == b'\r');
            if empty && !self.is_request_line {
                *self = Self::START;
                return (seen, Some(bytes.len() - at - 1));
            }
            *self = Self { is_request_line: self.is_request_line && empty, ..Self::START };
        }
        (seen, None)
    }

    fn see(&mut self, byte: u8) -> u8 {
        let mut seen = 0;
        if self.is_request_line {
            if byte == b'#' {
                seen = FRAGMENT;
            }
        } else if self.is_length {
            match NAME.get(self.length) {
                Some(expected) => self.is_length = byte.eq_ignore_ascii_case(expected),
                None => {
                    if byte == b':' {
                        seen = CONTENT_LENGTH;
                    }
                    self.is_length = false;
                }
            }
        }
        self.length += 1;
        self.previous = byte;
        seen
    }
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, watch: Arc<Watch>) -> Self {
        let writing = watch.patience();
        Self { stream, watch, line: Line::START, writing }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if result.is_pending() {
            return result;
        }
        let bytes = buf.filled().get(before..).unwrap_or_default();
        let mut beyond = bytes.len();
        if self.watch.reading_head.load(Ordering::Acquire) {
            let (mut seen, ended) = self.line.scan(bytes);
            if ended.is_some() {
                seen |= WHOLE;
                self.watch.reading_head.store(false, Ordering::Release);
            }
            self.watch.seen.fetch_or(seen, Ordering::AcqRel);
            beyond = ended.unwrap_or(0);
        }
        self.watch.beyond.fetch_add(u64::try_from(beyond).unwrap_or(u64::MAX), Ordering::AcqRel);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.writing.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.writing.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0);
        self.writing.watch(cx, result).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx).map_ok(|()| 0);
        self.writing.watch(cx, result).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of a head, whole and in pieces of one byte.
    fn scan(head: &str) -> Seen {
        let (seen, left) = { Line::START }.scan(head.as_bytes());
        let left = left.expect("the head ends");
        let mut line = Line::START;
        let pieces = head.as_bytes()[..head.len() - left].chunks(1).map(|piece| line.scan(piece));
        assert_eq!(pieces.fold((0, None), |all, one| (all.0 | one.0, one.1)), (seen, Some(0)));
        Seen(seen)
    }

    #[test]
    fn an_ordinary_head_is_unsuspicious() {
        let seen = scan(
            "GET /a?b HTTP/1.1\r\nHost: a#b\r\nX-Content-Length: 1\r\nContent-Lengt: 1\r\nContent-Lengths: 1\r\n\r\n",
        );
        assert!(!seen.bare_line_feed() && !seen.fragment() && !seen.content_length());
        assert!(!scan("\r\nGET / HTTP/1.1\r\n\r\n").bare_line_feed());
    }

    #[test]
    fn suspicious_heads_are_noticed() {
        assert!(scan("GET / HTTP/1.1\r\nHost: a\n\r\n").bare_line_feed());
        assert!(scan("GET / HTTP/1.1\r\n\n").bare_line_feed());
        assert!(scan("GET /a#b HTTP/1.1\r\n\r\n").fragment());
        assert!(scan("GET / HTTP/1.1\r\nA: b\r\ncontent-LENGTH: 1\r\n\r\n").content_length());
    }

    #[test]
    fn bytes_after_the_head_are_not_looked_at() {
        assert!(!scan("POST / HTTP/1.1\r\nHost: a\r\n\r\nContent-Length: 3\n#\n").content_length());
    }

    #[tokio::test]
    async fn every_head_is_watched_until_one_comes_too_early() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut browser, stream) = tokio::io::duplex(1024);
        let watch = Watch::new(100, None);
        let mut wire = Wire::new(stream, watch.clone());
        let mut read = async |bytes: &str| {
            browser.write_all(bytes.as_bytes()).await.unwrap();
            wire.read_exact(&mut vec![0; bytes.len()]).await.unwrap();
            watch.seen()
        };
        let head = "GET /#a HTTP/1.1\r\n\r\n";
        let seen = read(head).await;
        assert!(seen.fragment());
        watch.expect_head(seen, 0);
        let seen = read(&format!("{head}body")).await;
        assert!(seen.fragment());
        watch.expect_head(seen, 4);
        let seen = read(&format!("{head}{head}")).await;
        assert!(seen.fragment());
        watch.expect_head(seen, 0);
        assert_eq!(read("GET / HTTP/1.1\r\nA: #\n").await, Seen(0));
    }
}
