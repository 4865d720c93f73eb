//! The connection with the daemon, while it is used one message at a time.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hubd_proto::frame::{self, FrameError};
use hubd_proto::{Reply, Request};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Longest time that a message may take once its first byte is there, and a reply to be taken.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(5);

/// Why no message came, or none could be sent.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The daemon hung up between two messages.
    #[error("the daemon closed the connection")]
    Closed,
    /// Nothing came in the time allowed.
    #[error("nothing was asked in time")]
    Silent,
    /// What came is not a message, or not one that is legal now.
    #[error("{0}")]
    Violation(String),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The connection. Descriptors that a peer sends along are closed by the kernel, because they are
/// never asked for with recvmsg(2).
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Takes the connection over.
    pub fn new(stream: UnixStream) -> Result<Self, ChannelError> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(MESSAGE_TIME_MAX))?;
        Ok(Self { stream })
    }

    /// A second handle on the same connection, for the PAM conversation.
    pub fn duplicate(&self) -> Result<Self, ChannelError> {
        Ok(Self { stream: self.stream.try_clone()? })
    }

    /// Gives the connection to somebody else, who handles several at a time.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Waits at most `wait` for a message to begin, then at most [`MESSAGE_TIME_MAX`] for its end.
    pub fn receive(&mut self, wait: Duration) -> Result<Request, ChannelError> {
        let milliseconds = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, milliseconds).map_err(std::io::Error::from)? == 0 {
            return Err(ChannelError::Silent);
        }
        let mut reader = Hurried { stream: &self.stream, until: Instant::now() + MESSAGE_TIME_MAX };
        let body = frame::read_body(&mut reader).map_err(violation)?;
        frame::decode_request(&body).map_err(violation)
    }

    /// Sends a reply.
    pub fn send(&mut self, reply: &Reply) -> Result<(), ChannelError> {
        frame::write(&mut self.stream, reply).map_err(violation)
    }
}

/// A connection hung up between messages is no violation; everything else that frames complain about is.
fn violation(error: FrameError) -> ChannelError {
    match error {
        FrameError::Closed => ChannelError::Closed,
        FrameError::Io(error) => match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                ChannelError::Violation("a message was not finished in time".into())
            }
            std::io::ErrorKind::UnexpectedEof => ChannelError::Violation("a message was cut short".into()),
            _ => ChannelError::Io(error),
        },
        other => ChannelError::Violation(other.to_string()),
    }
}

/// Reads with what is left of the time, so that a drop every four seconds does not last for ever.
struct Hurried<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// What a daemon may send: pieces of real messages and of nonsense, in any order.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let real: &[&[u8]] = &[
            b"hub\x02\0\0\0\x08\"status\"",
            b"hub\x02\0\0\0\x06\"stop\"",
            br#"{"answer":{"text":""#,
            br#"{"authenticate":{"user":"alice","source":null}}"#,
            br#"{"start":{"user":"a","ticket":null,"server":"","profile":null,"listen":"unix","#,
            br#""arguments":[],"environment":{},"note":""}}"#,
            b"\\ud800",
            b"\\u0000",
            b"[[[[[[[[[[[[[[[[",
        ];
        let piece = prop_oneof![
            prop::sample::select(real).prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..40),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_a_violation_or_the_end(bytes in pieces()) {
            let (mut daemon, helper) = UnixStream::pair().expect("a pair");
            daemon.write_all(&bytes).expect("fits into the buffer");
            drop(daemon);
            let mut channel = Channel::new(helper).expect("a channel");
            while channel.receive(MESSAGE_TIME_MAX).is_ok() {}
        }

        #[test]
        fn any_body_is_a_request_or_malformed(mut body in pieces()) {
            let _ = frame::decode_request(&body);
            body.insert(0, b'{');
            let _ = frame::decode_request(&body);
        }
    }
}
