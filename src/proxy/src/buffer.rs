//! What has been read of a stream and not used yet. Memory is lent by the thread, so that a stream that says nothing
//! holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once: enough for nearly every head.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Bytes read at once of long bodies: fewer system calls, and still in the processor's cache.
pub(crate) const LARGE_BYTES: usize = 128 * 1024;
/// Pieces of memory that a thread keeps for later, of each size.
const SPARE_SMALL: usize = 64;
const SPARE_LARGE: usize = 8;

/// Memory that waits for its next use.
struct Spare {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { small: Vec::new(), large: Vec::new() }) };
}

/// Bytes of a stream.
#[derive(Default)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// The first bytes of it.
    pub(crate) fn first(&self, bytes: usize) -> &[u8] {
        self.memory.get(self.start..self.end.min(self.start + bytes)).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether there is no place for more.
    pub(crate) fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.memory.len() && !self.memory.is_empty()
    }

    /// Forgets the first bytes.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes place for so many bytes in all.
    pub(crate) fn grow(&mut self, bytes: usize) {
        if bytes > self.memory.len() {
            let mut memory = borrow(bytes);
            let here = self.bytes();
            if let Some(place) = memory.get_mut(..here.len()) {
                place.copy_from_slice(here);
            }
            (self.start, self.end) = (0, here.len());
            give_back(std::mem::replace(&mut self.memory, memory));
        }
    }

    /// Gives the memory back if it holds nothing.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            give_back(std::mem::take(&mut self.memory));
        }
    }

    /// Reads once, behind what is there, and says how many bytes came; 0 is the end of the stream. While nothing is
    /// there and nothing comes, no memory is held.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        if self.memory.is_empty() {
            self.memory = borrow(SMALL_BYTES);
        } else if self.start > 0 && self.end == self.memory.len() {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.is_full() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut free = ReadBuf::new(self.memory.get_mut(self.end..).unwrap_or_default());
        let read = Pin::new(stream).poll_read(cx, &mut free);
        let came = free.filled().len();
        if read.is_pending() {
            self.rest();
        }
        ready!(read)?;
        self.end += came;
        Poll::Ready(Ok(came))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.memory));
    }
}

fn borrow(bytes: usize) -> Box<[u8]> {
    let (size, spare) = if bytes <= SMALL_BYTES {
        (SMALL_BYTES, SPARE.with_borrow_mut(|spare| spare.small.pop()))
    } else if bytes <= LARGE_BYTES {
        (LARGE_BYTES, SPARE.with_borrow_mut(|spare| spare.large.pop()))
    } else {
        (bytes, None)
    };
    spare.unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

fn give_back(memory: Box<[u8]>) {
    // At the end of a thread there is nobody to keep it.
    let _ = SPARE.try_with(|spare| {
        let Spare { small, large } = &mut *spare.borrow_mut();
        match memory.len() {
            SMALL_BYTES if small.len() < SPARE_SMALL => small.push(memory),
            LARGE_BYTES if large.len() < SPARE_LARGE => large.push(memory),
            _ => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn fill(buffer: &mut Buffer, mut stream: &[u8]) -> usize {
        poll_fn(|cx| buffer.poll_fill(cx, &mut stream)).await.unwrap()
    }

    #[tokio::test]
    async fn bytes_are_kept_in_order_while_memory_is_moved_and_grows() {
        let mut buffer = Buffer::default();
        let text: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
        assert_eq!(fill(&mut buffer, &text).await, SMALL_BYTES);
        assert!(buffer.is_full());
        buffer.consume(10_000);
        assert_eq!(fill(&mut buffer, &text[SMALL_BYTES..]).await, 10_000);
        buffer.grow(LARGE_BYTES);
        assert_eq!(buffer.bytes(), &text[10_000..SMALL_BYTES + 10_000]);
        assert_eq!(buffer.first(3), &text[10_000..10_003]);
        assert!(!buffer.is_full());
    }

    #[tokio::test]
    async fn a_silent_stream_holds_no_memory() {
        let (mut near, far) = tokio::io::duplex(10);
        let mut buffer = Buffer::default();
        let polled = poll_fn(|cx| Poll::Ready(buffer.poll_fill(cx, &mut near))).await;
        assert!(polled.is_pending() && buffer.memory.is_empty());
        drop(far);
        assert_eq!(poll_fn(|cx| buffer.poll_fill(cx, &mut near)).await.unwrap(), 0);
        buffer.rest();
        assert!(buffer.memory.is_empty());
    }
}
