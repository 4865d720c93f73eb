//! Messages as bytes: a header of eight bytes, then that many bytes of JSON.
//!
//! ```text
//! 0      3   4         8
//! +------+---+---------+----------------+
//! | "hub"| V | length  | JSON, UTF-8    |
//! +------+---+---------+----------------+
//!          |     `- u32, big endian, at most 16384
//!          `- VERSION
//! ```
//!
//! The length is checked before a byte of the body is read, so a peer can make the other side hold
//! [`FRAME_BYTES_MAX`] at most. Buffers that may hold secrets are wiped.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::message::{ARGUMENTS_MAX, NOTE_BYTES_MAX, Request, VARIABLES_MAX};

/// The version of the protocol; both sides come from one package, so others are refused.
pub const VERSION: u8 = 4;
/// Longest body of a frame, in bytes: a start with ninety variables takes about 8 KiB.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;
/// Length of a header, in bytes.
pub const HEADER_BYTES: usize = 8;

const MAGIC: [u8; 3] = *b"hub";

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the connection between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The bytes are not a frame of this protocol.
    #[error("not a frame of hubd's helper protocol")]
    NotAFrame,
    /// The peer speaks another version.
    #[error(
        "the peer speaks version {0} of the helper protocol, this program version {VERSION}; install both programs from one package and restart them"
    )]
    Version(u8),
    /// The body is longer than [`FRAME_BYTES_MAX`].
    #[error("a message of {0} bytes is longer than the {FRAME_BYTES_MAX} allowed")]
    TooLong(usize),
    /// The body is not the expected message. The text never quotes values.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A count or size inside the message is over its limit.
    #[error("too many or too long {0} in a message")]
    Limit(&'static str),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Turns a message into header and body.
///
/// # Errors
/// [`FrameError::TooLong`] when the body would be longer than [`FRAME_BYTES_MAX`].
pub fn encode<M: Serialize>(message: &M) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // The whole capacity at once, so that growing leaves no copy of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + FRAME_BYTES_MAX));
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *bytes, message).map_err(|error| FrameError::Malformed(category(&error)))?;
    let length = bytes.len() - HEADER_BYTES;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let header_length = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    if let Some(field) = bytes.get_mut(4..HEADER_BYTES) {
        field.copy_from_slice(&header_length.to_be_bytes());
    }
    Ok(bytes)
}

/// The length of the body that a header announces.
///
/// # Errors
/// A wrong magic, version or length; nothing of the body has to be read then.
pub fn body_length(header: [u8; HEADER_BYTES]) -> Result<usize, FrameError> {
    let [a, b, c, version, l0, l1, l2, l3] = header;
    if [a, b, c] != MAGIC {
        return Err(FrameError::NotAFrame);
    }
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_BYTES_MAX { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

/// Turns a body into a message.
///
/// # Errors
/// [`FrameError::Malformed`] for anything but exactly one message of this type.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, FrameError> {
    serde_json::from_slice(body).map_err(|error| FrameError::Malformed(category(&error)))
}

/// Turns a body into a request and checks the counts and sizes that types alone do not.
///
/// # Errors
/// As [`decode`], and [`FrameError::Limit`].
pub fn decode_request(body: &[u8]) -> Result<Request, FrameError> {
    let request = decode(body)?;
    match &request {
        Request::Start(start) => check_counts(&start.arguments, start.environment.len(), &start.note)?,
        Request::StartService(start) => check_counts(&start.command, start.environment.len(), &start.note)?,
        _ => {}
    }
    Ok(request)
}

fn check_counts(arguments: &[String], variables: usize, note: &str) -> Result<(), FrameError> {
    if arguments.len() > ARGUMENTS_MAX {
        return Err(FrameError::Limit("arguments"));
    }
    if variables > VARIABLES_MAX {
        return Err(FrameError::Limit("environment variables"));
    }
    if note.len() > NOTE_BYTES_MAX {
        return Err(FrameError::Limit("bytes in the note"));
    }
    // Each would take six bytes in a reply, and the note has to fit into every status.
    if note.chars().any(char::is_control) {
        return Err(FrameError::Limit("control characters in the note"));
    }
    Ok(())
}

/// Reads one body from a blocking reader.
///
/// # Errors
/// [`FrameError::Closed`] at the end of the stream, otherwise as [`body_length`].
pub fn read_body(reader: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut(1);
    // One byte tells an end between frames from one within; `read_exact` goes on after a signal.
    match reader.read_exact(first) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        read => read?,
    }
    reader.read_exact(rest)?;
    let mut body = Zeroizing::new(vec![0; body_length(header)?]);
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// Writes one message to a blocking writer.
///
/// # Errors
/// As [`encode`], or the writer's own.
pub fn write<M: Serialize>(writer: &mut impl Write, message: &M) -> Result<(), FrameError> {
    writer.write_all(&encode(message)?)?;
    Ok(writer.flush()?)
}

/// What is wrong with a body, without quoting it: it may hold a password.
fn category(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "not writable",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "not a message of this kind",
        serde_json::error::Category::Eof => "cut short",
    };
    format!("{kind}, at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Authenticate, CheckAccount, Edge, Reply};
    use crate::{Secret, UserName};

    fn alice() -> UserName {
        UserName::new("alice").expect("a good name")
    }

    #[test]
    fn golden_bytes_of_version_four() {
        let request =
            Request::CheckAccount(CheckAccount { user: alice(), ticket: Some(Secret::new("t".into())) });
        let bytes = encode(&request).expect("short enough");
        assert_eq!(&bytes[..8], b"hub\x04\x00\x00\x00\x2f");
        assert_eq!(&bytes[8..], br#"{"check_account":{"user":"alice","ticket":"t"}}"#);
        assert_eq!(bytes.len(), 8 + 0x2f);
    }

    #[test]
    fn a_message_survives_the_wire() {
        let mut wire = Vec::new();
        write(&mut wire, &Request::Authenticate(Authenticate { user: alice(), source: None }))
            .expect("written");
        let body = read_body(&mut wire.as_slice()).expect("read");
        assert!(matches!(decode_request(&body), Ok(Request::Authenticate(a)) if a.user == alice()));
        let mut wire = Vec::new();
        write(&mut wire, &Reply::Done).expect("written");
        let body = read_body(&mut wire.as_slice()).expect("read");
        assert!(matches!(decode::<Reply>(&body), Ok(Reply::Done)));
    }

    #[test]
    fn a_status_says_edge_only_where_the_daemon_has_to_ask_who_comes() {
        let text = r#"{"status":{"session":"u1000-00000000000000ff","user":"alice","uid":1000,"server":"","profile":"default","pid":7,"started_at":1,"endpoint":{"unix":"/s"},"note":""MORE,"stopping":false,"memory_bytes":null,"memory_limit_bytes":null,"cpu_microseconds":null}}"#;
        let of = |more: &str| decode::<Reply>(text.replace("MORE", more).as_bytes());
        let Ok(Reply::Status(status)) = of("") else { panic!("as before") };
        assert_eq!(status.edge, None);
        let bytes = encode(&Reply::Status(status)).expect("short enough");
        assert_eq!(&bytes[8..], text.replace("MORE", "").as_bytes());
        let edge =
            |more| matches!(of(more), Ok(Reply::Status(s)) if s.edge == Some(Edge { strip_prefix: true }));
        assert!(edge(r#","edge":{"strip_prefix":true}"#) && !edge(r#","edge":{}"#));
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header_alone() {
        assert!(matches!(body_length(*b"hub\x04\x00\x00\x40\x01"), Err(FrameError::TooLong(16385))));
        assert!(matches!(body_length(*b"hub\x02\x00\x00\x00\x01"), Err(FrameError::Version(2))));
        assert!(matches!(body_length(*b"GET / HT"), Err(FrameError::NotAFrame)));
    }

    #[test]
    fn an_end_between_frames_is_told_from_one_within() {
        assert!(matches!(read_body(&mut [].as_slice()), Err(FrameError::Closed)));
        assert!(matches!(read_body(&mut b"hub\x04".as_slice()), Err(FrameError::Io(_))));
        assert!(matches!(read_body(&mut b"hub\x04\0\0\0\x05{}".as_slice()), Err(FrameError::Io(_))));
    }

    #[test]
    fn unknown_fields_kinds_and_trailing_bytes_are_refused_without_quoting_them() {
        for body in [
            br#"{"authenticate":{"user":"alice","source":null,"uid":0}}"#.as_slice(),
            br#"{"become_root":{}}"#,
            br#""status" x"#,
            br#"{"authenticate":{"user":"-hunter2","source":null}}"#,
            b"\xff",
        ] {
            match decode_request(body) {
                Err(FrameError::Malformed(text)) => assert!(!text.contains("hunter2"), "{text}"),
                _ => panic!("accepted {:?}", String::from_utf8_lossy(body)),
            }
        }
    }

    #[test]
    fn counts_inside_a_start_are_limited() {
        let arguments = vec!["\"x\""; ARGUMENTS_MAX + 1].join(",");
        let body = format!(
            r#"{{"start":{{"user":"alice","ticket":null,"server":"","profile":null,"listen":"unix","arguments":[{arguments}],"environment":{{}},"note":""}}}}"#
        );
        assert!(matches!(decode_request(body.as_bytes()), Err(FrameError::Limit("arguments"))));
    }

    #[test]
    fn a_service_is_named_and_its_counts_are_limited() {
        let start = |more: &str, count: usize| {
            let command = vec!["\"x\""; count].join(",");
            let body = format!(
                r#"{{"start_service":{{"service":"cull","user":null,"command":[{command}],"directory":null,"environment":{{}},"note":""{more}}}}}"#
            );
            decode_request(body.as_bytes())
        };
        assert!(matches!(start("", 2), Ok(Request::StartService(s)) if s.service.as_str() == "cull"));
        assert!(matches!(start("", ARGUMENTS_MAX + 1), Err(FrameError::Limit("arguments"))));
        assert!(matches!(start(r#","uid":0"#, 1), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_note_that_would_not_fit_into_a_status_is_refused() {
        let start = |note: &str| {
            format!(
                r#"{{"start":{{"user":"alice","ticket":null,"server":"","profile":null,"listen":"unix","arguments":[],"environment":{{}},"note":"{note}"}}}}"#
            )
        };
        assert!(decode_request(start(r#"{\"a\": 1}"#).as_bytes()).is_ok());
        assert!(decode_request(start(&"x".repeat(NOTE_BYTES_MAX + 1)).as_bytes()).is_err());
        assert!(decode_request(start(r"\u0001").as_bytes()).is_err());
    }
}
