//! HTTP/2 frame by frame: what RFC 9113 and RFC 7541 forbid ends the stream or the connection with the error that
//! they prescribe, and what they allow does no harm. The sections are those that h2spec walks through.

mod cases;
mod hpack;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::http2;
use crate::support::LIMIT;
use crate::tls::connect_with;

/// Error codes (RFC 9113 section 7).
pub const PROTOCOL: u32 = 1;
pub const FLOW_CONTROL: u32 = 3;
pub const CLOSED: u32 = 5;
pub const FRAME_SIZE: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION: u32 = 9;

/// Kinds of frames (section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;
/// A request's only frame.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What has to come of some frames.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// The connection ends with GOAWAY. These codes are prescribed; PROTOCOL_ERROR counts too: the h2 library says it of
    /// most that it cannot read, and an error code is only a hint (RFC 9113 section 7).
    Connection(&'static [u32]),
    /// The stream is reset with one of these codes, or the request is answered with 4xx, or the connection ends as
    /// above: a stream's error may be treated as the connection's (section 5.4).
    Stream(&'static [u32]),
    /// Stream 1 is answered, and the connection goes on.
    Fine,
}

pub type Case = (&'static str, Vec<u8>, Verdict);

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What the proxy said, as far as it decides.
#[derive(Debug, Default)]
struct Said {
    goaway: Option<u32>,
    resets: Vec<(u32, u32)>,
    /// Streams with an answer, and the byte that tells its status (RFC 7541 appendix A).
    answers: Vec<(u32, u8)>,
    /// Bytes of each DATA frame.
    data: Vec<usize>,
    /// The mark of the acknowledged ping that is sent behind everything.
    reached: bool,
    ended: bool,
}

/// The mark of the last ping of each case.
const MARK: &[u8; 8] = b"the mark";

/// Sends a case's frames and reads until it is clear what came of them.
async fn outcome(
    proxy: &(crate::support::Running, crate::tls::Files),
    preface: &[u8],
    frames: &[u8],
) -> Said {
    let stream = connect_with(proxy.0.address, &proxy.1.root, &[b"h2"]).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let bytes = [preface, &frame(SETTINGS, 0, 0, b""), frames, &frame(PING, 0, 0, MARK)].concat();
    // The proxy may end the connection before it has read everything.
    let _ = to.write_all(&bytes).await;
    let _ = to.flush().await;
    let mut said = Said::default();
    while !said.ended {
        // After the mark only answers that take a moment can follow.
        let patience = if said.reached { Duration::from_millis(300) } else { LIMIT };
        match tokio::time::timeout(patience, read_frame(&mut from)).await {
            Ok(Some((kind, flags, stream, payload))) => said.note(kind, flags, stream, &payload),
            Ok(None) => said.ended = true,
            Err(_) if said.reached => break,
            Err(_) => panic!("neither an end nor an answer: {said:?}"),
        }
    }
    said
}

impl Said {
    fn note(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            GOAWAY => self.goaway = Some(code(4)),
            DATA => self.data.push(payload.len()),
            RESET => self.resets.push((stream, code(0))),
            HEADERS => self
                .answers
                .push((stream, payload.iter().copied().find(|byte| *byte & 0xe0 != 0x20).unwrap())),
            PING if flags & ACK != 0 && payload == MARK => self.reached = true,
            _ => {}
        }
    }

    fn is_ended_by(&self, codes: &[u32]) -> bool {
        self.ended && self.goaway.is_some_and(|code| codes.contains(&code) || code == PROTOCOL)
    }

    fn is(&self, verdict: Verdict) -> bool {
        // 400 and 404 have indexes of their own (RFC 7541 appendix A).
        const REFUSED: [u8; 2] = [0x80 | 12, 0x80 | 13];
        match verdict {
            Verdict::Connection(codes) => self.is_ended_by(codes),
            Verdict::Stream(codes) => {
                self.resets.iter().any(|(_, code)| codes.contains(code))
                    || self.answers.iter().any(|(_, status)| REFUSED.contains(status))
                    || self.is_ended_by(codes)
            }
            Verdict::Fine => {
                self.reached
                    && !self.ended
                    && self.goaway.is_none()
                    && self.answers.iter().any(|(at, _)| *at == 1)
            }
        }
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, payload))
}

async fn check(cases: Vec<Case>) {
    let proxy = http2::start().await;
    let mut wrong = Vec::new();
    for (name, frames, verdict) in cases {
        let said = outcome(&proxy, PREFACE, &frames).await;
        if !said.is(verdict) {
            wrong.push(format!("{name}: {said:?} is not {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_connection_begins_with_its_preface() {
    let proxy = http2::start().await;
    let said = outcome(&proxy, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"").await;
    assert!(said.ended && !said.reached, "GOAWAY may be left out here (section 3.4): {said:?}");
}

#[tokio::test]
async fn no_more_is_sent_than_a_stream_may_take() {
    let proxy = http2::start().await;
    let frames = [cases::setting(4, 1), cases::request(b"")].concat();
    let said = outcome(&proxy, PREFACE, &frames).await;
    assert!(said.is(Verdict::Fine) && said.data == [1], "{said:?}");
    // The rest comes when there is room, also after a window that was below nothing.
    let window = |bytes: u8| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, bytes]);
    let frames = [frames, cases::setting(4, 0), window(1), window(2)].concat();
    let said = outcome(&proxy, PREFACE, &frames).await;
    assert!(said.is(Verdict::Fine) && said.data.iter().sum::<usize>() <= 3, "{said:?}");
}

#[tokio::test]
async fn frames_are_what_they_should_be() {
    check(cases::frames()).await;
}

#[tokio::test]
async fn streams_are_in_the_state_that_a_frame_needs() {
    check(cases::streams()).await;
}

#[tokio::test]
async fn settings_pings_and_windows_are_valid() {
    check(cases::control()).await;
}

#[tokio::test]
async fn requests_are_well_formed() {
    check(cases::requests()).await;
}

#[tokio::test]
async fn headers_are_well_compressed() {
    check(hpack::cases()).await;
}
