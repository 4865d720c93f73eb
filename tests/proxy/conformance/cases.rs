//! What is sent, by sections of RFC 9113, and what has to come of it.

use super::Verdict::{Connection, Fine, Stream};
use super::hpack::{get, literal, post};
use super::*;

pub fn request(more: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &get(more))
}

/// A POST on stream 1 whose body may follow.
fn begun(more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &post(more))
}

pub fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn all(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

#[rustfmt::skip]
pub fn frames() -> Vec<Case> {
    let large = vec![0; 16_385];
    vec![
        ("4.1: a frame of an unknown kind", all(&[frame(0xff, 0xff, 0, b"12345678"), request(b"")]), Fine),
        ("4.1: unknown flags", all(&[frame(PING, 0x16, 0, b"12345678"), request(b"")]), Fine),
        ("4.1: the reserved bit", all(&[frame(PING, 0, 0x8000_0000, b"12345678"), request(b"")]), Fine),
        ("4.2: a DATA frame larger than announced", all(&[begun(b""), frame(DATA, END_STREAM, 1, &large)]), Stream(&[FRAME_SIZE])),
        ("4.2: a HEADERS frame larger than announced", frame(HEADERS, WHOLE, 1, &large), Connection(&[FRAME_SIZE])),
        ("4.3: a header block interrupted by another stream", all(&[frame(HEADERS, END_STREAM, 1, &get(b"")), frame(HEADERS, WHOLE, 3, &get(b""))]), Connection(&[PROTOCOL])),
        ("5.5: an unknown frame within a header block", all(&[frame(HEADERS, END_STREAM, 1, &get(b"")), frame(0xff, 0, 0, b""), frame(CONTINUATION, END_HEADERS, 1, b"")]), Connection(&[PROTOCOL])),
        ("6.1: DATA on stream 0", frame(DATA, END_STREAM, 0, b"x"), Connection(&[PROTOCOL])),
        ("6.1: padding longer than the DATA frame", all(&[begun(b""), frame(DATA, END_STREAM | PADDED, 1, b"\x09x")]), Connection(&[PROTOCOL])),
        ("6.1: padded DATA", all(&[begun(b""), frame(DATA, END_STREAM | PADDED, 1, b"\x02x\0\0")]), Fine),
        ("6.2: HEADERS on stream 0", frame(HEADERS, WHOLE, 0, &get(b"")), Connection(&[PROTOCOL])),
        ("6.2: padding longer than the HEADERS frame", frame(HEADERS, WHOLE | PADDED, 1, &[&[99][..], &get(b"")].concat()), Connection(&[PROTOCOL])),
        ("6.2: HEADERS with padding and priority", frame(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 1, &[&[1, 0, 0, 0, 0, 15][..], &get(b""), &[0]].concat()), Fine),
        ("6.3: PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\0\0"), Connection(&[PROTOCOL])),
        ("6.3: PRIORITY of four bytes", all(&[begun(b""), frame(PRIORITY, 0, 1, b"\0\0\0\0")]), Stream(&[FRAME_SIZE])),
        ("6.3: PRIORITY of a stream to come", all(&[frame(PRIORITY, 0, 7, b"\0\0\0\0\x0f"), request(b"")]), Fine),
        ("6.4: RST_STREAM on stream 0", frame(RESET, 0, 0, b"\0\0\0\x08"), Connection(&[PROTOCOL])),
        ("6.4: RST_STREAM of a stream that never began", frame(RESET, 0, 1, b"\0\0\0\x08"), Connection(&[PROTOCOL])),
        ("6.4: RST_STREAM of three bytes", all(&[begun(b""), frame(RESET, 0, 1, b"\0\0\0")]), Connection(&[FRAME_SIZE])),
        ("6.6: PUSH_PROMISE of a browser", all(&[begun(b""), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get(b"")].concat())]), Connection(&[PROTOCOL])),
        ("6.10: a header block in two frames", all(&[frame(HEADERS, END_STREAM, 1, &get(b"")), frame(CONTINUATION, END_HEADERS, 1, &literal("a", "b"))]), Fine),
        ("6.10: CONTINUATION on stream 0", all(&[frame(HEADERS, END_STREAM, 1, &get(b"")), frame(CONTINUATION, END_HEADERS, 0, b"")]), Connection(&[PROTOCOL])),
        ("6.10: CONTINUATION behind a whole block", all(&[begun(b""), frame(CONTINUATION, END_HEADERS, 1, b"")]), Connection(&[PROTOCOL])),
        ("6.10: CONTINUATION behind DATA", all(&[begun(b""), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"")]), Connection(&[PROTOCOL])),
    ]
}

#[rustfmt::skip]
pub fn streams() -> Vec<Case> {
    let whole = |stream: u32| frame(HEADERS, WHOLE, stream, &get(b""));
    let reset = frame(RESET, 0, 1, b"\0\0\0\x08");
    vec![
        ("5.1: DATA on a stream that never began", frame(DATA, END_STREAM, 1, b"x"), Connection(&[PROTOCOL])),
        ("5.1: WINDOW_UPDATE of a stream that never began", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x64"), Connection(&[PROTOCOL])),
        ("5.1: CONTINUATION without a beginning", frame(CONTINUATION, END_HEADERS, 1, &get(b"")), Connection(&[PROTOCOL])),
        ("5.1: DATA behind the end", all(&[whole(1), frame(DATA, END_STREAM, 1, b"x")]), Stream(&[CLOSED])),
        ("5.1: HEADERS behind the end", all(&[whole(1), whole(1)]), Stream(&[CLOSED, PROTOCOL])),
        ("5.1: DATA behind a reset", all(&[begun(b""), reset.clone(), frame(DATA, END_STREAM, 1, b"x"), whole(3)]), Stream(&[CLOSED])),
        ("5.1: WINDOW_UPDATE behind a reset is late, not wrong", all(&[whole(1), whole(3), frame(RESET, 0, 3, b"\0\0\0\x08"), frame(WINDOW_UPDATE, 0, 3, b"\0\0\0\x01")]), Fine),
        ("5.1: PRIORITY behind the end is allowed", all(&[whole(1), frame(PRIORITY, 0, 1, b"\0\0\0\0\x01")]), Fine),
        ("5.1.1: an even stream", whole(2), Connection(&[PROTOCOL])),
        ("5.1.1: a stream with a smaller number", all(&[whole(5), whole(3)]), Connection(&[PROTOCOL, CLOSED])),
        ("5.1.2: more streams than announced", all(&(0..=100).map(|number| begun_at(2 * number + 1)).collect::<Vec<_>>()), Stream(&[REFUSED_STREAM])),
        ("5.1: WINDOW_UPDATE on a stream that never began", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"), Connection(&[PROTOCOL])),
        ("5.3.1: a stream that depends on itself", frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&b"\0\0\0\x01\x0f"[..], &get(b"")].concat()), Stream(&[PROTOCOL])),
        ("5.3.1: PRIORITY of a stream on itself", all(&[begun(b""), frame(PRIORITY, 0, 1, b"\0\0\0\x01\x0f")]), Stream(&[PROTOCOL])),
        ("7: an unknown error in GOAWAY", all(&[whole(1), frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff")]), Connection(&[0])),
        ("7: an unknown error in RST_STREAM", all(&[whole(1), begun_at(3), frame(RESET, 0, 3, b"\0\0\0\xff")]), Fine),
        ("6.8: GOAWAY on a stream", all(&[begun(b""), frame(GOAWAY, 0, 1, b"\0\0\0\0\0\0\0\0")]), Connection(&[PROTOCOL])),
    ]
}

fn begun_at(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &post(b""))
}

#[rustfmt::skip]
pub fn control() -> Vec<Case> {
    vec![
        ("6.5: an acknowledgement with content", frame(SETTINGS, ACK, 0, b"\0\0\0\0\0\0"), Connection(&[FRAME_SIZE])),
        ("6.5: SETTINGS on a stream", all(&[begun(b""), frame(SETTINGS, 0, 1, b"")]), Connection(&[PROTOCOL])),
        ("6.5: SETTINGS of five bytes", frame(SETTINGS, 0, 0, b"\0\0\0\0\0"), Connection(&[FRAME_SIZE])),
        ("6.5.2: ENABLE_PUSH of 2", setting(2, 2), Connection(&[PROTOCOL])),
        ("6.5.2: INITIAL_WINDOW_SIZE beyond its largest", setting(4, 0x8000_0000), Connection(&[FLOW_CONTROL])),
        ("6.5.2: MAX_FRAME_SIZE below its smallest", setting(5, 16_383), Connection(&[PROTOCOL])),
        ("6.5.2: MAX_FRAME_SIZE beyond its largest", setting(5, 16_777_216), Connection(&[PROTOCOL])),
        ("6.5.2: an unknown setting", all(&[setting(0xff, 1), request(b"")]), Fine),
        ("6.5.3: the same setting twice", all(&[setting(4, 100), setting(4, 65_535), request(b"")]), Fine),
        ("6.7: PING on a stream", all(&[begun(b""), frame(PING, 0, 1, b"12345678")]), Connection(&[PROTOCOL])),
        ("6.7: PING of six bytes", frame(PING, 0, 0, b"123456"), Connection(&[FRAME_SIZE])),
        ("6.7: an acknowledgement that nobody waits for", all(&[frame(PING, ACK, 0, b"12345678"), request(b"")]), Fine),
        ("6.9: an increment of 0 for the connection", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), Connection(&[PROTOCOL])),
        ("6.9: an increment of 0 for a stream", all(&[begun(b""), frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\0")]), Stream(&[PROTOCOL])),
        ("6.9: WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"), Connection(&[FRAME_SIZE])),
        ("6.9.1: a window of the connection beyond the largest", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Connection(&[FLOW_CONTROL])),
        ("6.9.1: a window of a stream beyond the largest", all(&[begun(b""), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")]), Stream(&[FLOW_CONTROL])),
        ("6.9.2: windows made smaller and larger again", all(&[setting(4, 0), request(b""), setting(4, 10), frame(WINDOW_UPDATE, 0, 1, b"\0\x01\0\0")]), Fine),
        ("6.9.2: a setting that takes a window beyond the largest", all(&[begun(b""), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0"), setting(4, 0x7fff_ffff)]), Connection(&[FLOW_CONTROL])),
    ]
}

#[rustfmt::skip]
pub fn requests() -> Vec<Case> {
    let malformed = Stream(&[PROTOCOL]);
    let with = |name: &str, value: &str| request(&literal(name, value));
    let block = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    let trailers = |flags: u8, more: &[u8]| all(&[begun(b""), frame(DATA, 0, 1, b"x"), frame(HEADERS, flags, 1, more)]);
    vec![
        ("8.1: trailers", trailers(WHOLE, &literal("a", "b")), Fine),
        ("8.1: HEADERS in the middle that end nothing", trailers(END_HEADERS, &literal("a", "b")), malformed),
        ("8.1: pseudo-headers in trailers are left out by the library", trailers(WHOLE, b"\x82"), Fine),
        ("8.2.1: a name in capitals", with("X-Test", "a"), malformed),
        ("8.2.1: a line feed in a value", with("x-test", "a\nb"), malformed),
        ("8.2.1: a name with a colon", with("x:test", "a"), malformed),
        ("8.2.2: Connection", with("connection", "keep-alive"), malformed),
        ("8.2.2: Transfer-Encoding", with("transfer-encoding", "chunked"), malformed),
        ("8.2.2: Upgrade", with("upgrade", "websocket"), malformed),
        ("8.2.2: TE of something else", with("te", "trailers, deflate"), malformed),
        ("8.2.2: TE of trailers", with("te", "trailers"), Fine),
        ("8.3: an unknown pseudo-header", with(":test", "a"), malformed),
        ("8.3: a pseudo-header of answers", with(":status", "200"), malformed),
        ("8.3: a pseudo-header behind a header", block(&[&b"\x82\x87"[..], &literal("a", "b"), b"\x84\x01\x03hub"].concat()), malformed),
        ("8.3.1: an empty path", block(&[&b"\x82\x87\x01\x03hub"[..], &literal(":path", "")].concat()), malformed),
        ("8.3.1: no method", block(b"\x87\x84\x01\x03hub"), malformed),
        ("8.3.1: no scheme", block(b"\x82\x84\x01\x03hub"), malformed),
        ("8.3.1: no path", block(b"\x82\x87\x01\x03hub"), malformed),
        ("8.3.1: two methods", request(b"\x82"), malformed),
        ("8.3.1: two schemes", request(b"\x87"), malformed),
        ("8.3.1: two paths", request(b"\x84"), malformed),
        ("8.1.1: less content than its length", all(&[begun(&literal("content-length", "2")), frame(DATA, END_STREAM, 1, b"x")]), malformed),
        ("8.1.1: more content than its length", all(&[begun(&literal("content-length", "1")), frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"yz")]), malformed),
        ("8.1.1: content of its length in pieces", all(&[begun(&literal("content-length", "3")), frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"yz")]), Fine),
        ("8.1: HEAD", block(&[&literal(":method", "HEAD")[..], b"\x87\x84\x01\x03hub"].concat()), Fine),
        ("8.1: OPTIONS", block(&[&literal(":method", "OPTIONS")[..], b"\x87\x84\x01\x03hub"].concat()), Fine),
        ("8.1: POST with a body", all(&[begun(b""), frame(DATA, END_STREAM, 1, b"x")]), Fine),
        ("8.2.2: Keep-Alive", with("keep-alive", "1"), malformed),
        ("8.2.2: Proxy-Connection", with("proxy-connection", "keep-alive"), malformed),
        ("8.5: CONNECT with a path", block(&[&literal(":method", "CONNECT")[..], b"\x87\x84\x01\x03hub"].concat()), malformed),
    ]
}
