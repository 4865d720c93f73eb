//! One direction of an exchange: the body that a source sends, framed anew for a sink. Nothing is read while
//! something waits to be written, so a slow sink slows its source down.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::buffer::{Buffer, LARGE_BYTES, SMALL_BYTES};
use crate::framing::{Decoder, Length, chunk_size};
use crate::stream::Stream;

/// Up to so many bytes are copied behind the head, which is cheaper than to write two pieces.
const COPY_BYTES: usize = 4 * 1024;
const CHUNK_END: &[u8] = b"\r\n";

/// A connection, and what has been read of it and not used yet.
pub(crate) struct Link {
    pub(crate) stream: Stream,
    pub(crate) input: Buffer,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, input: Buffer::default() }
    }

    /// Reads once; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.poll_fill(cx, &mut self.stream)
    }
}

/// Why a flow ends early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The source broke off.
    Source,
    /// Its body is not framed as the standard says.
    Framing,
    /// The sink takes nothing any more.
    Sink,
}

/// What a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Source,
    Sink,
}

/// A body on its way, with the head before it.
pub(crate) struct Flow {
    decoder: Decoder,
    /// The sink gets chunks.
    is_chunked: bool,
    /// Goes out first.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// Then so many bytes of the source's.
    data: usize,
    /// Then so many of the chunk's end.
    tail: usize,
    /// The end of the body is in `out`.
    is_finished: bool,
    is_flushed: bool,
    is_long: bool,
    pub(crate) wait: Wait,
    /// Bytes read and written since somebody asked.
    read: usize,
    sent: usize,
}

impl Flow {
    /// With the memory of an earlier one.
    pub(crate) fn new(mut out: Vec<u8>) -> Self {
        out.clear();
        Self {
            decoder: Decoder::new(Length::Empty),
            is_chunked: false,
            out,
            written: 0,
            data: 0,
            tail: 0,
            is_finished: false,
            is_flushed: false,
            is_long: false,
            wait: Wait::Source,
            read: 0,
            sent: 0,
        }
    }

    /// Begins a body: how it comes, and how it goes on.
    pub(crate) fn begin(&mut self, from: Length, to: Length) {
        self.decoder = Decoder::new(from);
        self.is_chunked = to == Length::Chunked;
    }

    /// Bytes read of the source, and written to the sink, since this was asked last.
    pub(crate) fn take_moved(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.read), std::mem::take(&mut self.sent))
    }

    /// Moves what can be moved. Ready when all has been written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Link,
        sink: &mut Stream,
    ) -> Poll<Result<(), Fault>> {
        loop {
            if self.data == 0 && self.tail == 0 && !self.is_finished {
                self.take_next(&mut source.input)?;
            }
            self.wait = Wait::Sink;
            if self.written < self.out.len() || self.data > 0 || self.tail > 0 {
                ready!(self.poll_write(cx, &mut source.input, sink)).map_err(|_| Fault::Sink)?;
                continue;
            }
            if !self.is_flushed {
                let flushed = Pin::new(&mut *sink).poll_flush(cx).map_err(|_| Fault::Sink)?;
                self.is_flushed = flushed.is_ready();
            }
            if self.is_finished {
                return if self.is_flushed { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            self.wait = Wait::Source;
            if self.is_long {
                source.input.grow(LARGE_BYTES);
            }
            let read = ready!(source.poll_fill(cx)).map_err(|_| Fault::Source)?;
            if read == 0 {
                self.decoder.end().map_err(|_| Fault::Source)?;
            }
            self.read += read;
            self.is_long |= read >= SMALL_BYTES;
        }
    }

    /// Puts what has been read of the body behind what waits already: short pieces as a copy.
    fn take_next(&mut self, input: &mut Buffer) -> Result<(), Fault> {
        while self.data == 0 && self.out.len() < LARGE_BYTES {
            if self.decoder.is_done() {
                self.is_finished = true;
                if self.is_chunked {
                    self.out.extend_from_slice(b"0\r\n");
                    self.decoder.write_trailers(&mut self.out).map_err(|_| Fault::Framing)?;
                    self.out.extend_from_slice(CHUNK_END);
                }
                return Ok(());
            }
            let step = self.decoder.step(input.bytes()).map_err(|_| Fault::Framing)?;
            input.consume(step.skip);
            if step.data == 0 {
                if step.skip == 0 {
                    return Ok(());
                }
                continue;
            }
            if self.is_chunked {
                chunk_size(&mut self.out, step.data);
            }
            if step.data > COPY_BYTES {
                self.data = step.data;
                self.tail = if self.is_chunked { CHUNK_END.len() } else { 0 };
            } else {
                self.out.extend_from_slice(input.first(step.data));
                input.consume(step.data);
                if self.is_chunked {
                    self.out.extend_from_slice(CHUNK_END);
                }
            }
        }
        Ok(())
    }

    /// Writes once.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let out = self.out.get(self.written..).unwrap_or_default();
        let sink = Pin::new(sink);
        let sent = if self.data == 0 && self.tail == 0 {
            ready!(sink.poll_write(cx, out))?
        } else {
            let tail = CHUNK_END.get(CHUNK_END.len() - self.tail..).unwrap_or_default();
            let pieces = [IoSlice::new(out), IoSlice::new(input.first(self.data)), IoSlice::new(tail)];
            ready!(sink.poll_write_vectored(cx, &pieces))?
        };
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_flushed = false;
        self.sent += sent;
        let (of_out, rest) = (sent.min(out.len()), sent.saturating_sub(out.len()));
        self.written += of_out;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let of_data = rest.min(self.data);
        input.consume(of_data);
        self.data -= of_data;
        self.tail = self.tail.saturating_sub(rest - of_data);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Socket;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What a sink gets of `pieces`, through a pipe that holds few bytes.
    async fn through(from: Length, to: Length, pieces: Vec<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        let (mut writer, near) = tokio::io::duplex(64 * 1024);
        let (sink, mut reader) = tokio::io::duplex(7000);
        let writing = tokio::spawn(async move {
            for piece in pieces {
                writer.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).await.unwrap();
            got
        });
        let mut source = Link::new(Stream::Plain(Socket::Memory(near)));
        let mut sink = Stream::Plain(Socket::Memory(sink));
        let mut flow = Flow::new(Vec::new());
        flow.out.extend_from_slice(b"HEAD");
        flow.begin(from, to);
        let result = poll_fn(|cx| flow.poll(cx, &mut source, &mut sink)).await;
        drop(sink);
        writing.await.unwrap();
        let got = reading.await.unwrap();
        result.map(|()| got)
    }

    fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in body.chunks(size) {
            chunk_size(&mut wire, piece.len());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_body_arrives_whole_however_it_is_cut_and_framed(
            size in 0..60_000_usize, chunk in 1..30_000_usize, cuts in proptest::collection::vec(any::<usize>(), 0..6),
        ) {
            let body: Vec<u8> = (0..size).map(|at| (at % 253) as u8).collect();
            let known = Length::Known(size as u64);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for (from, wire) in [(known, body.clone()), (Length::Close, body.clone()), (Length::Chunked, in_chunks(&body, chunk))] {
                for to in [known, Length::Chunked] {
                    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
                    cuts.extend([0, wire.len()]);
                    cuts.sort_unstable();
                    let pieces = cuts.windows(2).map(|pair| wire[pair[0]..pair[1]].to_vec()).collect();
                    let got = runtime.block_on(through(from, to, pieces)).unwrap();
                    let got = got.strip_prefix(b"HEAD").unwrap();
                    if to == Length::Chunked {
                        let mut decoder = Decoder::new(Length::Chunked);
                        let (mut rest, mut decoded) = (got, Vec::new());
                        while !decoder.is_done() {
                            let step = decoder.step(rest).unwrap();
                            decoded.extend_from_slice(&rest[step.skip..step.skip + step.data]);
                            rest = &rest[step.skip + step.data..];
                        }
                        prop_assert!(rest.is_empty() && decoded == body);
                    } else {
                        prop_assert!(got == body);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_off_is_the_sources_fault() {
        for (from, wire) in [(Length::Known(5), "half"), (Length::Chunked, "4\r\nhalf\r\n")] {
            let result = through(from, Length::Chunked, vec![wire.as_bytes().to_vec()]).await;
            assert!(matches!(result, Err(Fault::Source)), "{wire}");
        }
        let result = through(Length::Chunked, Length::Chunked, vec![b"zz".to_vec()]).await;
        assert!(matches!(result, Err(Fault::Framing)));
    }
}
