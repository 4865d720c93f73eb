//! A TCP connection that the runtime gets to know when it has to wait for it. A browser that asks once and goes has sent
//! its request before it is looked at, and takes the answer at once: to watch it in between would be two
//! system calls and a turn of the runtime for nothing.

use std::io::{self, IoSlice, Read, Write};
use std::mem::replace;
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
pub(crate) enum Tcp {
    /// It does not block, and nobody has waited for it. It is read once like this: a browser that says more could
    /// otherwise keep the thread to itself.
    New(net::TcpStream),
    /// The same, when something has been read.
    Heard(net::TcpStream),
    /// The runtime says when it is ready.
    Watched(TcpStream),
    /// The runtime did not take it.
    Lost,
}

impl Tcp {
    /// A connection that has just been accepted.
    pub(crate) fn accepted(stream: net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::New(stream))
    }

    /// As the runtime knows it; it does from now on.
    pub(crate) fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let Self::New(_) | Self::Heard(_) = self
            && let Self::New(stream) | Self::Heard(stream) = replace(self, Self::Lost)
        {
            *self = Self::Watched(TcpStream::from_std(stream)?);
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether nobody has waited for it so far.
    pub(crate) fn is_unwatched(&self) -> bool {
        matches!(self, Self::New(_) | Self::Heard(_))
    }

    /// As socket options are asked of it.
    pub(crate) fn socket(&self) -> Option<SockRef<'_>> {
        match self {
            Self::New(stream) | Self::Heard(stream) => Some(SockRef::from(stream)),
            Self::Watched(stream) => Some(SockRef::from(stream)),
            Self::Lost => None,
        }
    }

    /// Ready when something has come; also if that is not known.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Watched(stream) => stream.poll_read_ready(cx).map(|_| ()),
            _ => Poll::Ready(()),
        }
    }

    /// What `write` does at once, if the runtime has not to be asked.
    fn write_now(
        &self,
        write: impl FnOnce(&net::TcpStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let (Self::New(stream) | Self::Heard(stream)) = self else { return None };
        Some(write(stream)).filter(|result| !would_block(result))
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::New(stream) = this {
            let read = stream.read(buf.initialize_unfilled());
            if !would_block(&read) {
                if let Self::New(stream) = replace(this, Self::Lost) {
                    *this = Self::Heard(stream);
                }
                return Poll::Ready(read.map(|length| buf.advance(length)));
            }
        }
        Pin::new(this.watched()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.write_now(|mut stream| stream.write(buf)) {
            Some(result) => Poll::Ready(result),
            None => Pin::new(this.watched()?).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.write_now(|mut stream| stream.write_vectored(bufs)) {
            Some(result) => Poll::Ready(result),
            None => Pin::new(this.watched()?).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is held back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.socket().map_or(Ok(()), |socket| socket.shutdown(net::Shutdown::Write));
        // Whoever has gone hears nothing more.
        Poll::Ready(shut.or_else(|error| match error.kind() {
            io::ErrorKind::NotConnected => Ok(()),
            _ => Err(error),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pair() -> (net::TcpStream, Tcp) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let browser = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (browser, Tcp::accepted(listener.accept().unwrap().0).unwrap())
    }

    #[tokio::test]
    async fn a_question_that_is_there_is_answered_without_the_runtime() {
        let (mut browser, mut tcp) = pair();
        browser.write_all(b"question").unwrap();
        let mut text = [0; 20];
        assert_eq!(tcp.read(&mut text).await.unwrap(), 8);
        tcp.write_all(b"answer").await.unwrap();
        assert!(tcp.is_unwatched());
        assert_eq!(browser.read(&mut text).unwrap(), 6);
    }

    #[tokio::test]
    async fn what_has_not_come_is_waited_for() {
        let (mut browser, mut tcp) = pair();
        let mut text = [0; 20];
        for word in [&b"first"[..], b"second"] {
            let mut free = ReadBuf::new(&mut text);
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut tcp).poll_read(cx, &mut free))).await;
            assert!(polled.is_pending() && !tcp.is_unwatched());
            browser.write_all(word).unwrap();
            assert_eq!(tcp.read(&mut text).await.unwrap(), word.len());
        }
        drop(browser);
        assert_eq!(tcp.read(&mut text).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_second_piece_is_waited_for_and_so_is_a_reader_who_is_slow() {
        let (mut browser, mut tcp) = pair();
        browser.write_all(b"ab").unwrap();
        assert_eq!(tcp.read_u8().await.unwrap(), b'a');
        assert!(tcp.is_unwatched());
        assert_eq!(tcp.read_u8().await.unwrap(), b'b');
        assert!(!tcp.is_unwatched(), "one connection must not keep its thread to itself");

        let (mut browser, mut tcp) = pair();
        let long = vec![b'x'; 20_000_000];
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            browser.read_to_end(&mut got).unwrap();
            got.len()
        });
        tcp.write_all(&long).await.unwrap();
        assert!(!tcp.is_unwatched());
        tcp.shutdown().await.unwrap();
        assert_eq!(reading.join().unwrap(), long.len());
    }
}
