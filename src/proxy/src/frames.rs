//! A connection of HTTP/2, watched. Frames that cost the sender nothing and bring nothing are counted: whoever sends
//! more of them than any browser does is cut off (RFC 9113 section 10.5). So is whoever does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::patience::{Alarm, Patience};

/// What every connection may send at once.
const CREDIT_MAX: u64 = 1000;
/// What it may send in the long run.
const CREDITS_PER_SECOND: u64 = 100;
/// Whoever is sent much has to say often that it may go on: a frame for each of so many bytes.
const BYTES_PER_CREDIT: u64 = 64;

/// "PRI * HTTP/2.0…": what comes before the first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// A stream whose incoming frames are counted.
pub(crate) struct Frames<S> {
    stream: S,
    scan: Scan,
    purse: Purse,
    writing: Patience,
    alarm: Alarm,
}

impl<S> Frames<S> {
    pub(crate) fn new(stream: S, writing: Patience) -> Self {
        Self { stream, scan: Scan::default(), purse: Purse::new(), writing, alarm: Alarm::default() }
    }
}

/// How far the frames have been read.
struct Scan {
    /// Bytes to skip before the next head.
    skip: usize,
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of the head that have come.
    filled: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { skip: PREFACE_BYTES, head: [0; FRAME_HEAD_BYTES], filled: 0 }
    }
}

impl Scan {
    /// Reads on; says how many frames came that bring nothing.
    fn scan(&mut self, mut bytes: &[u8]) -> u64 {
        let mut empty = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let missing = self.head.get_mut(self.filled..).unwrap_or_default();
            let taken = missing.len().min(bytes.len());
            let (new, rest) = bytes.split_at(taken);
            for (to, from) in missing.iter_mut().zip(new) {
                *to = *from;
            }
            self.filled += taken;
            bytes = rest;
            if self.filled == FRAME_HEAD_BYTES {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.filled = 0;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                empty += u64::from(brings_nothing(kind, flags, self.skip));
            }
        }
        empty
    }
}

fn brings_nothing(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        HEADERS => false,
        // RST_STREAM, SETTINGS, PING, PRIORITY, WINDOW_UPDATE, CONTINUATION, and what nobody knows.
        _ => true,
    }
}

/// Frames that may still come.
struct Purse {
    credit: u64,
    /// Bytes written that have not become a credit yet.
    bytes: u64,
    since: Instant,
}

impl Purse {
    fn new() -> Self {
        Self { credit: CREDIT_MAX, bytes: 0, since: Instant::now() }
    }

    fn earn(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Says whether there was enough left.
    fn spend(&mut self, frames: u64) -> bool {
        let seconds = self.since.elapsed().as_secs();
        if seconds > 0 {
            self.since = Instant::now();
        }
        let earned = seconds.saturating_mul(CREDITS_PER_SECOND) + self.bytes / BYTES_PER_CREDIT;
        self.bytes %= BYTES_PER_CREDIT;
        let credit = self.credit.saturating_add(earned).min(CREDIT_MAX);
        self.credit = credit.saturating_sub(frames);
        credit >= frames
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let frames = self.scan.scan(buf.filled().get(before..).unwrap_or_default());
        if frames > 0 && !self.purse.spend(frames) {
            let text = "more empty HTTP/2 frames than any browser sends";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0);
        self.written(cx, result).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Frames<S> {
    /// Passes a result on; one that is pending for too long becomes an error.
    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                self.purse.earn(*bytes);
                self.writing.passed(*bytes);
                result
            }
            Poll::Ready(Err(_)) => result,
            Poll::Pending => {
                self.alarm.poll(cx, self.writing.until()).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD_BYTES + usize::from(length), 0xff);
        frame
    }

    #[test]
    fn frames_that_bring_nothing_are_counted_however_they_are_cut() {
        let mut bytes = vec![b'x'; PREFACE_BYTES];
        for (kind, flags, length) in
            [(4, 0, 0), (1, 4, 7), (0, 0, 5), (0, 0, 0), (0, END_STREAM, 0), (6, 0, 8), (3, 0, 4), (8, 0, 4)]
        {
            bytes.extend(frame(kind, flags, length));
        }
        assert_eq!(Scan::default().scan(&bytes), 5);
        let mut scan = Scan::default();
        let one_by_one: u64 = bytes.chunks(1).map(|piece| scan.scan(piece)).sum();
        assert_eq!(one_by_one, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn credit_comes_with_time_and_with_bytes_written() {
        let mut purse = Purse::new();
        assert!(purse.spend(CREDIT_MAX) && !purse.spend(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(purse.spend(2 * CREDITS_PER_SECOND) && !purse.spend(1));
        purse.earn(64);
        assert!(purse.spend(1) && !purse.spend(1));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(!purse.spend(CREDIT_MAX + 1));
    }
}
