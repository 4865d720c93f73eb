//! One connection with the daemon, one message at a time, each in the state in which it is legal.

use std::io::{self, Read};
use std::os::{fd::AsFd, unix::net::UnixStream};
use std::time::{Duration, Instant};

use hubd_policy::state::{ChannelError, State};
use hubd_proto::frame;
use hubd_proto::{Reply, Request};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;

/// Longest time that a message may take once its first byte is there, and a reply to be taken.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(5);

/// The connection. Descriptors that a peer sends along are closed by the kernel, because they are
/// never asked for with recvmsg(2).
pub struct Channel(pub(crate) UnixStream);

impl Channel {
    /// Takes the connection over, if the kernel says that the daemon is at its other end.
    ///
    /// # Errors
    /// The connection failed; the inner one says who it is instead.
    pub fn new(daemon: Uid, stream: UnixStream) -> io::Result<Result<Self, String>> {
        let peer = getsockopt(&stream, PeerCredentials)?;
        if peer.uid() != daemon.as_raw() {
            let who = format!("the peer is uid {}, process {}, not the daemon", peer.uid(), peer.pid());
            return Ok(Err(who));
        }
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(MESSAGE_TIME_MAX))?;
        Ok(Ok(Self(stream)))
    }

    /// A second handle on the same connection, for the PAM conversation.
    pub fn duplicate(&self) -> Result<Self, ChannelError> {
        self.0.try_clone().map(Self).map_err(|_| ChannelError::Closed)
    }

    /// Waits at most `wait` for a message to begin, then at most [`MESSAGE_TIME_MAX`] for its end. It must
    /// be legal in `state`.
    pub fn receive(&mut self, state: State, wait: Duration) -> Result<Request, ChannelError> {
        let milliseconds = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], milliseconds);
        if ready.map_err(|_| ChannelError::Closed)? == 0 {
            return Err(ChannelError::Silent);
        }
        let mut reader = Hurried { stream: &self.0, until: Instant::now() + MESSAGE_TIME_MAX };
        let request = frame::decode_request(&frame::read_body(&mut reader)?)?;
        state.check(request)
    }

    /// What to wait for.
    pub fn stream(&self) -> &UnixStream {
        &self.0
    }

    /// Sends a reply.
    pub fn send(&mut self, reply: &Reply) -> Result<(), ChannelError> {
        Ok(frame::write(&mut self.0, reply)?)
    }
}

/// Reads with what is left of the time, so that a drop every four seconds does not last for ever.
struct Hurried<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { self.stream.read(buffer) }
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
            b"hub\x04\0\0\0\x08\"status\"",
            b"hub\x04\0\0\0\x06\"stop\"",
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
            let mut channel = Channel(helper);
            while channel.receive(State::Running, MESSAGE_TIME_MAX).is_ok() {}
        }

        #[test]
        fn any_body_is_a_request_or_malformed(mut body in pieces()) {
            let _ = frame::decode_request(&body);
            body.insert(0, b'{');
            let _ = frame::decode_request(&body);
        }
    }
}
