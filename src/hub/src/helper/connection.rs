//! Frames over a Unix socket, without blocking and without leaving secrets in memory.

use std::io;
use std::path::Path;
use std::time::Duration;

use hubd_proto::frame::{self, HEADER_BYTES};
use hubd_proto::{FrameError, Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::HelperError;

/// One connection to one helper process.
pub(super) struct Connection {
    stream: UnixStream,
    /// The longest wait for the helper to take a request.
    send_timeout: Duration,
    /// What has been read of the frame that is on its way. It grows to a frame's own size only,
    /// because thousands of idle connections are held.
    partial: Zeroizing<Vec<u8>>,
    /// How many bytes of `partial` have been read.
    filled: usize,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(socket: &Path, limit: Duration) -> Result<Self, HelperError> {
        match timeout(limit, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => Ok(Self::new(stream, limit)),
            Ok(Err(error)) => Err(HelperError::connect(socket, error)),
            Err(_) => Err(HelperError::Timeout(limit)),
        }
    }

    fn new(stream: UnixStream, send_timeout: Duration) -> Self {
        Self { stream, send_timeout, partial: Zeroizing::new(Vec::new()), filled: 0 }
    }

    /// Sends one request. A helper that closed already may have said why: the caller then reads it.
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), HelperError> {
        let bytes = frame::encode(request)?;
        match timeout(self.send_timeout, self.stream.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(error)) => Err(FrameError::Io(error).into()),
            Err(_) => Err(HelperError::Timeout(self.send_timeout)),
        }
    }

    /// The next reply, refusals as errors. Cancelling loses nothing: the next call goes on.
    pub(super) async fn receive(&mut self) -> Result<Reply, HelperError> {
        loop {
            if self.partial.is_empty() {
                self.partial = Zeroizing::new(vec![0; HEADER_BYTES]);
                self.filled = 0;
            }
            while self.filled < self.partial.len() {
                let room = self.partial.get_mut(self.filled..).unwrap_or_default();
                match self.stream.read(room).await {
                    Ok(0) if self.filled == 0 => return Err(FrameError::Closed.into()),
                    Ok(0) => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()).into()),
                    Ok(read) => self.filled += read,
                    Err(error) => return Err(FrameError::Io(error).into()),
                }
            }
            if let Some(reply) = self.take_frame()? {
                return match reply {
                    Reply::Refused(refused) => Err(HelperError::Refused(Box::new(refused))),
                    reply => Ok(reply),
                };
            }
        }
    }

    /// As [`Connection::receive`], but not for ever.
    pub(super) async fn receive_within(&mut self, limit: Duration) -> Result<Reply, HelperError> {
        timeout(limit, self.receive()).await.unwrap_or(Err(HelperError::Timeout(limit)))
    }

    /// Decodes a complete frame, or makes room for the body that a complete header announces.
    fn take_frame(&mut self) -> Result<Option<Reply>, HelperError> {
        if let Ok(header) = <[u8; HEADER_BYTES]>::try_from(self.partial.as_slice()) {
            let body = frame::body_length(header)?;
            // No message has an empty body, so a buffer of header length is always a header.
            if body == 0 {
                return Err(FrameError::Malformed("an empty body".to_owned()).into());
            }
            self.partial.resize(HEADER_BYTES + body, 0);
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.partial);
        Ok(Some(frame::decode(frame.get(HEADER_BYTES..).unwrap_or_default())?))
    }
}
