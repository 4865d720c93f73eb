//! Load over WebSockets: one message at a time, many, big ones, and none at all.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::backend::find;
use crate::http::{Load, connect, together};

/// WebSockets at once that talk.
const TALKING: usize = 20;
/// WebSockets that say nothing.
pub const IDLE: usize = 5_000;
/// Addresses that they come from: proxies have limits for each.
const SOURCES: usize = 10;
/// How many messages are on the way at once.
const WINDOW: usize = 32;

/// Asks for a WebSocket.
async fn open(mut stream: TcpStream) -> TcpStream {
    let ask = "GET /user/u7/ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while find(&head, b"\r\n\r\n").is_none() {
        assert!(
            stream.read_buf(&mut head).await.unwrap() > 0,
            "no WebSocket: {}",
            String::from_utf8_lossy(&head)
        );
    }
    let text = String::from_utf8_lossy(&head);
    assert!(text.starts_with("HTTP/1.1 101") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    stream
}

/// A masked binary frame (RFC 6455 section 5.2); the server sends it back as it is.
fn frame(payload: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload {
        ..126 => frame.push(0x80 | u8::try_from(payload).unwrap()),
        126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[1, 2, 3, 4]);
    frame.extend((0..payload).map(|number| u8::try_from(number % 251).unwrap()));
    frame
}

/// One small message there and back, by one browser.
pub fn round_trip(port: u16, time: Duration) -> Load {
    together(1, time, move |_, end, done| async move {
        let mut stream = open(connect(port).await).await;
        let (frame, mut back) = (frame(100), vec![0; frame(100).len()]);
        while Instant::now() < end {
            stream.write_all(&frame).await.unwrap();
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, frame, "another message came back");
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Small messages of many browsers, each one at a time.
pub fn messages(port: u16, time: Duration) -> Load {
    together(TALKING, time, move |_, end, done| async move {
        let mut stream = open(connect(port).await).await;
        let (frame, mut back) = (frame(100), vec![0; frame(100).len()]);
        while Instant::now() < end {
            stream.write_all(&frame).await.unwrap();
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, frame, "another message came back");
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Frames of a megabyte, several on the way at once.
pub fn big(port: u16, time: Duration) -> Load {
    together(2, time, move |_, end, done| async move {
        let (mut from, mut to) = open(connect(port).await).await.into_split();
        let frame = frame(1_000_000);
        let sent = frame.clone();
        let (permit, mut permits) = tokio::sync::mpsc::channel::<()>(WINDOW);
        let writing = tokio::spawn(async move {
            while Instant::now() < end && permit.send(()).await.is_ok() {
                to.write_all(&sent).await.unwrap();
            }
            to
        });
        let mut back = vec![0; frame.len()];
        while permits.recv().await.is_some() {
            from.read_exact(&mut back).await.unwrap();
            assert!(back == frame, "another message came back");
            done.fetch_add(1, Ordering::Relaxed);
        }
        writing.await.unwrap();
    })
}

/// Opens many and lets them be; the caller looks at the memory meanwhile.
pub async fn idle(port: u16) -> Vec<TcpStream> {
    let mut open_ones = Vec::new();
    for number in 0..IDLE {
        let socket = TcpSocket::new_v4().unwrap();
        let source = u8::try_from(number % SOURCES).unwrap() + 1;
        socket.bind(SocketAddr::from(([127, 0, 0, source], 0))).unwrap();
        let stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        open_ones.push(open(stream).await);
    }
    open_ones
}
