//! Where a body ends: lengths and chunks (RFC 9112 sections 6 and 7).

use std::io::Write as _;

use crate::kind::Kind;

/// Chunk extensions mean nothing to anybody; more bytes of them in one body are an attack.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the fields after a body.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 64;
const LINE_END: &[u8] = b"\r\n";

/// How a body is framed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    #[default]
    Empty,
    /// So many bytes.
    Known(u64),
    /// In chunks.
    Chunked,
    /// Up to the end of the connection.
    Close,
}

/// A body that is not framed as the standard says, or breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not framed as the standard says, or breaks off")]
pub(crate) struct Broken;

/// Finds the end of a body in the bytes that come.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes of chunk extensions so far.
    extension: usize,
    /// The lines after the last chunk.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are left.
    Known(u64),
    Close,
    /// The digits of a chunk's size; None before the first one.
    Size(Option<u64>),
    Extension(u64),
    /// The line feed after a chunk's size.
    SizeEnd(u64),
    Chunk(u64),
    /// Carriage return and line feed after a chunk.
    ChunkEnd,
    ChunkEndFeed,
    Trailers,
    Done,
}

/// What the next bytes are: first some to skip, then some of the body. Neither: more must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) skip: usize,
    pub(crate) data: usize,
}

impl Decoder {
    pub(crate) fn new(length: Length) -> Self {
        let state = match length {
            Length::Empty | Length::Known(0) => State::Done,
            Length::Known(bytes) => State::Known(bytes),
            Length::Chunked => State::Size(None),
            Length::Close => State::Close,
        };
        Self { state, extension: 0, trailers: Vec::new() }
    }

    /// Whether all of the body has been seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at the next bytes, which are taken by that.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, Broken> {
        let mut skip = 0;
        loop {
            let rest = input.get(skip..).unwrap_or_default();
            match self.state {
                State::Known(left) | State::Chunk(left) => {
                    let data = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - data as u64;
                    self.state = match self.state {
                        State::Known(_) if left == 0 => State::Done,
                        State::Known(_) => State::Known(left),
                        _ if left == 0 => State::ChunkEnd,
                        _ => State::Chunk(left),
                    };
                    return Ok(Step { skip, data });
                }
                State::Close => return Ok(Step { skip, data: rest.len() }),
                State::Done => return Ok(Step { skip, data: 0 }),
                State::Trailers => {
                    skip += self.trailer_bytes(rest)?;
                    return Ok(Step { skip, data: 0 });
                }
                _ => {
                    let Some(byte) = rest.first() else { return Ok(Step { skip, data: 0 }) };
                    self.state = self.see(*byte)?;
                    skip += 1;
                }
            }
        }
    }

    /// The next byte of what stands between chunks.
    fn see(&mut self, byte: u8) -> Result<State, Broken> {
        Ok(match (self.state, byte) {
            (State::Size(Some(size)), b'\r') | (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(Some(size)), b';' | b' ' | b'\t') => State::Extension(size),
            (State::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Broken)?;
                let size = size.unwrap_or(0).checked_mul(16).ok_or(Broken)?;
                State::Size(Some(size + u64::from(digit)))
            }
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                self.extension += 1;
                if self.extension > EXTENSION_BYTES_MAX {
                    return Err(Broken);
                }
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') => State::Trailers,
            (State::SizeEnd(size), b'\n') => State::Chunk(size),
            (State::ChunkEnd, b'\r') => State::ChunkEndFeed,
            (State::ChunkEndFeed, b'\n') => State::Size(None),
            _ => return Err(Broken),
        })
    }

    /// Collects the lines up to the empty one; says how many bytes of `rest` they took.
    fn trailer_bytes(&mut self, rest: &[u8]) -> Result<usize, Broken> {
        for (at, byte) in rest.iter().enumerate() {
            let is_bare = *byte == b'\n' && self.trailers.last() != Some(&b'\r');
            if is_bare || self.trailers.len() == TRAILER_BYTES_MAX {
                return Err(Broken);
            }
            self.trailers.push(*byte);
            if self.trailers == LINE_END || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Done;
                return Ok(at + 1);
            }
        }
        Ok(rest.len())
    }

    /// The connection has ended; this is fine only where that is the end of the body.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        match self.state {
            State::Close | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Broken),
        }
    }

    /// Whether something came after the body, before the last line.
    pub(crate) fn has_trailers(&self) -> bool {
        self.trailers.len() > LINE_END.len()
    }

    /// Takes the fields after the body, and calls `each` with the name and value of those that may go on.
    pub(crate) fn take_trailers(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
        let trailers = std::mem::take(&mut self.trailers);
        if trailers.len() <= LINE_END.len() {
            return Ok(());
        }
        let mut found = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        let Ok(httparse::Status::Complete((_, found))) = httparse::parse_headers(&trailers, &mut found)
        else {
            return Err(Broken);
        };
        for field in found.iter().filter(|field| Kind::of(field.name.as_bytes()).may_trail()) {
            each(field.name.as_bytes(), field.value.trim_ascii());
        }
        Ok(())
    }

    /// Appends the fields after the body that may go on, as lines.
    pub(crate) fn write_trailers(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.take_trailers(|name, value| crate::fields::line(out, name, value))
    }
}

/// Appends the line before a chunk of so many bytes.
pub(crate) fn chunk_size(out: &mut Vec<u8>, bytes: usize) {
    // Writing into memory does not fail.
    let _ = write!(out, "{bytes:x}\r\n");
}

/// The value of `Content-Length`: digits and nothing else.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body, what comes after it, and what decoded it.
    type Decoded = (Vec<u8>, Vec<u8>, Decoder);

    /// The body in `pieces`; nothing if it has no end.
    fn decode(length: Length, pieces: &[&[u8]]) -> Result<Option<Decoded>, Broken> {
        let (mut decoder, mut waiting, mut body) = (Decoder::new(length), Vec::new(), Vec::new());
        for piece in pieces {
            waiting.extend_from_slice(piece);
            while !decoder.is_done() {
                let step = decoder.step(&waiting)?;
                body.extend_from_slice(&waiting[step.skip..step.skip + step.data]);
                waiting.drain(..step.skip + step.data);
                if step == (Step { skip: 0, data: 0 }) {
                    break;
                }
            }
        }
        Ok(decoder.is_done().then_some((body, waiting, decoder)))
    }

    fn chunks(text: &str) -> Result<Option<String>, Broken> {
        let whole = decode(Length::Chunked, &[text.as_bytes()])?;
        Ok(whole.map(|(body, rest, _)| format!("{}|{}", body.escape_ascii(), rest.escape_ascii())))
    }

    #[test]
    fn chunks_are_joined_up_to_the_end_and_no_further() {
        assert_eq!(chunks("3\r\nabc\r\n0\r\n\r\nGET").unwrap().as_deref(), Some("abc|GET"));
        assert_eq!(
            chunks("1;x=\"y\"\r\na\r\n0A \r\n0123456789\r\n000\r\n\r\n").unwrap().unwrap(),
            "a0123456789|"
        );
        assert_eq!(chunks("0\r\nA: b\r\n\r\n").unwrap().as_deref(), Some("|"));
        assert_eq!(chunks("3\r\nabc\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn chunks_that_others_may_read_differently_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\ra",
            "10000000000000000\r\n",
            "1;\0\r\na\r\n",
            "1;a\nb\r\na",
            " 1\r\na",
            "0\r\nA: b\n\r\n",
            "0\r\n\n\r\n\r\n",
        ] {
            assert_eq!(chunks(text), Err(Broken), "{text:?}");
        }
        assert_eq!(chunks(&format!("1;{}", "x".repeat(EXTENSION_BYTES_MAX + 1))), Err(Broken));
        assert_eq!(chunks(&format!("0\r\nA: {}", "x".repeat(TRAILER_BYTES_MAX))), Err(Broken));
    }

    #[test]
    fn only_harmless_trailers_go_on() {
        let text =
            b"0\r\nX-Sum: 1\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\nX-Forwarded-For: c\r\nHost: d\r\n\r\n";
        let (_, _, mut decoder) = decode(Length::Chunked, &[text]).unwrap().unwrap();
        assert!(decoder.has_trailers());
        let mut out = Vec::new();
        decoder.write_trailers(&mut out).unwrap();
        assert_eq!(out, b"X-Sum: 1\r\n");
        assert!(!decoder.has_trailers(), "they go on once");
        let (_, _, mut decoder) = decode(Length::Chunked, &[b"0\r\nno field\r\n\r\n"]).unwrap().unwrap();
        assert_eq!(decoder.write_trailers(&mut out), Err(Broken));
    }

    #[test]
    fn a_length_is_digits_only() {
        assert_eq!(content_length(b"010"), Some(10));
        for value in ["", "+1", "-1", "1,1", "1 1", "0x1", "18446744073709551616"] {
            assert_eq!(content_length(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn an_end_of_the_connection_ends_only_a_body_without_another_end() {
        for (length, fine) in [
            (Length::Close, true),
            (Length::Empty, true),
            (Length::Known(1), false),
            (Length::Chunked, false),
        ] {
            assert_eq!(Decoder::new(length).end().is_ok(), fine, "{length:?}");
        }
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in_however_they_are_cut(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in proptest::collection::vec(0..400_usize, 0..8), rest in "[a-z]{0,5}",
        ) {
            let mut wire = Vec::new();
            for piece in &pieces {
                chunk_size(&mut wire, piece.len());
                wire.extend_from_slice(piece);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            wire.extend_from_slice(rest.as_bytes());
            let plain = [pieces.concat(), rest.clone().into_bytes()].concat();
            let known = Length::Known(pieces.concat().len() as u64);
            for (length, bytes) in [(Length::Chunked, &wire), (known, &plain)] {
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort_unstable();
                let cut: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
                let (body, after, _) = decode(length, &cut).unwrap().unwrap();
                prop_assert_eq!(body, pieces.concat());
                prop_assert_eq!(after, rest.as_bytes());
            }
        }

        #[test]
        fn anything_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Length::Chunked, &[&bytes]);
        }
    }
}
