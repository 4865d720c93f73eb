//! HTTP/2 used as a weapon: the connection ends, the service goes on. (RFC 9113 section 10.5)

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http2::start;
use crate::support::{LIMIT, Running};
use crate::tls::{Files, connect_with};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// More than any limit lets through.
const FRAMES: u32 = 200_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:method: POST`, `:scheme: https`, `:path: /`, `:authority: hub` (RFC 7541 appendix A).
const POST: &[u8] = b"\x83\x87\x84\x01\x03hub";

/// Sends `first`, then pieces until the proxy has enough; says whether it ever had, and what it said.
async fn flood(
    (proxy, files): &(Running, Files),
    first: Vec<u8>,
    piece: impl Fn(u32) -> Vec<u8>,
) -> (bool, Vec<u8>) {
    let stream = connect_with(proxy.address, &files.root, &[b"h2"]).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = from.read_to_end(&mut said).await;
        said
    });
    to.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &first].concat()).await.unwrap();
    let mut cut = false;
    for number in 0..FRAMES {
        if to.write_all(&piece(number)).await.is_err() || to.flush().await.is_err() || reading.is_finished() {
            cut = true;
            break;
        }
    }
    let said = tokio::time::timeout(LIMIT, reading).await;
    (cut, said.map(Result::unwrap).unwrap_or_default())
}

async fn ends_the_connection_only(first: Vec<u8>, piece: impl Fn(u32) -> Vec<u8>) {
    let running = start().await;
    assert!(flood(&running, first, piece).await.0, "the flood was taken");
    let mut stream = connect_with(running.0.address, &running.1.root, &[b"http/1.1"]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = crate::support::read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "the service lives: {answer}");
}

#[tokio::test]
async fn a_ping_flood_ends_the_connection() {
    ends_the_connection_only(Vec::new(), |_| frame(PING, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn a_settings_flood_ends_the_connection() {
    ends_the_connection_only(Vec::new(), |_| frame(SETTINGS, 0, 0, b"")).await;
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    ends_the_connection_only(Vec::new(), |number| {
        let stream = number * 2 + 1;
        let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, POST);
        pair.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
        pair
    })
    .await;
}

#[tokio::test]
async fn a_continuation_flood_ends_the_connection() {
    ends_the_connection_only(frame(HEADERS, 0, 1, POST), |_| frame(CONTINUATION, 0, 1, b"\0\x01a\x01b"))
        .await;
}

#[tokio::test]
async fn a_flood_of_empty_data_ends_the_connection() {
    ends_the_connection_only(frame(HEADERS, END_HEADERS, 1, POST), |_| frame(DATA, 0, 1, b"")).await;
}

#[tokio::test]
async fn a_flood_of_window_updates_or_priorities_ends_the_connection() {
    let open = || frame(HEADERS, END_HEADERS, 1, POST);
    ends_the_connection_only(open(), |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
    ends_the_connection_only(open(), |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0])).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let (_, said) = flood(&start().await, Vec::new(), |number| {
        if number >= 200 {
            return frame(SETTINGS, 9, 1, b"");
        }
        frame(HEADERS, END_HEADERS, number * 2 + 1, POST)
    })
    .await;
    let refused = frame(RESET, 0, 401, &[0, 0, 0, 7]);
    assert!(said.len() >= 13, "{said:?}");
    let refused_some = said.windows(13).any(|frame| frame[3] == RESET && frame[9..] == refused[9..]);
    assert!(refused_some, "REFUSED_STREAM");
}

#[tokio::test]
async fn a_header_bomb_is_refused_without_being_unpacked() {
    // One entry of 4,000 bytes for the dynamic table, then 10,000 references to it in as many bytes.
    let mut block = POST.to_vec();
    block.extend(b"\x40\x01a\x7f\xa1\x1e");
    block.extend([b'x'; 4000]);
    let mut first = frame(HEADERS, END_STREAM, 1, &block);
    first.extend(frame(CONTINUATION, END_HEADERS, 1, &[0xbe; 10_000]));
    let (_, said) = flood(&start().await, first, |_| frame(PING, 0, 0, &[0; 8])).await;
    assert!(!said.windows(3).any(|bytes| bytes == b"app"), "the app was asked");
}
