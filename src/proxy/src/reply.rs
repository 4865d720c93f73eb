//! The head of a server's answer.

use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use crate::fields::{Fields, Options, Part};
use crate::flow::Link;
use crate::framing::{Broken, Length, content_length};
use crate::kind::Kind;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of an answer: more than any server sends.
const FIELDS_MAX: usize = 200;

/// An answer's head. The memory is used again for the next one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplyHead {
    pub(crate) fields: Fields,
    pub(crate) status: u16,
    reason: Part,
    /// What `Connection` says.
    pub(crate) options: Options,
    /// How the body is framed.
    pub(crate) length: Length,
    /// After this answer another one can come.
    pub(crate) is_reusable: bool,
    to_head: bool,
}

impl ReplyHead {
    /// Reads a head from the beginning of `bytes`; `to_head` says that the request's method was HEAD. Its length comes
    /// back, or nothing if it has not come to its end yet.
    pub(crate) fn read(&mut self, bytes: &[u8], to_head: bool) -> Result<Option<usize>, Broken> {
        let mut found = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut reply = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut reply, bytes, &mut found) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Broken),
        };
        let head = bytes.get(..length).unwrap_or_default();
        self.fields.take(head, reply.headers);
        self.status = reply.code.ok_or(Broken)?;
        self.reason = Part::of(head, reply.reason.unwrap_or_default().as_bytes());
        if reply.reason.unwrap_or_default().is_empty() {
            self.reason = Part::default();
        }
        self.options = self.fields.options();
        self.to_head = to_head;
        self.frame(reply.version == Some(0))?;
        Ok(Some(length))
    }

    /// RFC 9112 section 6.3, without guesses.
    fn frame(&mut self, is_old: bool) -> Result<(), Broken> {
        let mut codings = self.fields.all(Kind::TransferEncoding);
        let mut lengths = self.fields.all(Kind::ContentLength);
        let (coding, length) = (codings.next(), lengths.next());
        if codings.next().is_some() || lengths.any(|other| Some(other) != length) {
            return Err(Broken);
        }
        let framed = match (coding, length) {
            (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") && !is_old => Length::Chunked,
            (Some(_), _) => return Err(Broken),
            (None, Some(length)) => Length::Known(content_length(length).ok_or(Broken)?),
            (None, None) => Length::Close,
        };
        // Two ways to say it are one too many to go on.
        let is_clear = coding.is_none() || length.is_none();
        let none = self.to_head || self.status < 200 || matches!(self.status, 204 | 304);
        self.length = if none { Length::Empty } else { framed };
        let stays = if is_old { self.options.keep_alive } else { !self.options.close };
        self.is_reusable = is_clear && stays && self.length != Length::Close;
        Ok(())
    }

    /// The words after the status.
    pub(crate) fn reason(&self) -> &[u8] {
        self.fields.bytes(self.reason)
    }

    /// An answer before the answer.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether a length may be told although there is no body.
    pub(crate) fn tells_length(&self) -> bool {
        self.length != Length::Empty || ((self.to_head || self.status == 304) && self.status != 204)
    }
}

/// Why no head of an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The connection ended before the first byte.
    Closed,
    BrokenOff,
    NotHttp,
}

impl NoReply {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Closed => "it closed the connection",
            Self::BrokenOff => "it closed the connection within the head",
            Self::NotHttp => "what it says is not HTTP",
        }
    }
}

/// Reads the head of an answer, skipping those that only say that it will come.
pub(crate) fn poll_head(
    cx: &mut Context<'_>,
    server: &mut Link,
    reply: &mut ReplyHead,
    to_head: bool,
) -> Poll<Result<(), NoReply>> {
    loop {
        if !server.input.is_empty() {
            match reply.read(server.input.bytes(), to_head) {
                Ok(Some(length)) => {
                    server.input.consume(length);
                    if reply.is_interim() {
                        continue;
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if server.input.bytes().len() < HEAD_BYTES_MAX => {}
                _ => return Poll::Ready(Err(NoReply::NotHttp)),
            }
            if server.input.is_full() {
                server.input.grow(HEAD_BYTES_MAX);
            }
        }
        match server.poll_fill(cx) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) if server.input.is_empty() => return Poll::Ready(Err(NoReply::Closed)),
            Poll::Ready(_) => return Poll::Ready(Err(NoReply::BrokenOff)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str, to_head: bool) -> Result<(Length, bool), Broken> {
        let mut head = ReplyHead::default();
        let text = if fields.starts_with("HTTP/") {
            fields.to_owned()
        } else {
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
        };
        head.read(text.as_bytes(), to_head)?.expect("the head is whole");
        Ok((head.length, head.is_reusable))
    }

    #[test]
    fn the_end_of_an_answer_is_found_as_the_standard_says() {
        for (fields, expected) in [
            ("Content-Length: 5\r\n", (Length::Known(5), true)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", (Length::Known(5), true)),
            ("Transfer-Encoding: Chunked\r\n", (Length::Chunked, true)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", (Length::Chunked, false)),
            ("Connection: close\r\nContent-Length: 0\r\n", (Length::Known(0), false)),
            ("", (Length::Close, false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", (Length::Known(5), false)),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
                (Length::Known(5), true),
            ),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (Length::Empty, true)),
            ("HTTP/1.1 204\r\n\r\n", (Length::Empty, true)),
        ] {
            assert_eq!(read(fields, false), Ok(expected), "{fields:?}");
        }
        assert_eq!(read("Content-Length: 5\r\n", true), Ok((Length::Empty, true)));
    }

    #[test]
    fn answers_that_can_be_read_in_two_ways_are_broken() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 two hundred\r\n\r\n",
            "A : b\r\n",
            "A: b\r\n c\r\n",
        ] {
            assert_eq!(read(fields, false), Err(Broken), "{fields:?}");
        }
    }
}
