//! Load over HTTP/1.1, by hand: what a client spends itself should not hide what a proxy costs.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{BIG_BYTES, PIECE, SMALL, find, header};
use crate::proxies::ROUTES;

/// A load in progress; says how many operations were done.
pub type Load = Pin<Box<dyn Future<Output = u64> + Send>>;

/// Connections at once, as wrk's usual measurement.
pub const CONNECTIONS: usize = 50;
/// Connections at once for big bodies.
const STREAMS: usize = 2;

pub async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Runs a number of tasks until the time is over, and adds up what they have done.
pub fn together<F>(count: usize, time: Duration, task: impl Fn(usize, Instant, Arc<AtomicU64>) -> F) -> Load
where
    F: Future<Output = ()> + Send + 'static,
{
    let end = Instant::now() + time;
    let done = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..count).map(|number| task(number, end, done.clone())).collect();
    Box::pin(async move {
        for task in tasks.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        done.load(Ordering::Relaxed)
    })
}

/// Small answers over connections that stay open.
pub fn kept(port: u16, time: Duration) -> Load {
    together(CONNECTIONS, time, move |_, end, done| async move {
        let mut stream = connect(port).await;
        while Instant::now() < end {
            small(&mut stream, "/user/u7/api", "").await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// The same from all routes in turn.
pub fn routes(port: u16, time: Duration) -> Load {
    together(CONNECTIONS, time, move |first, end, done| async move {
        let mut stream = connect(port).await;
        let mut number = first;
        while Instant::now() < end {
            // A step that shares no factor with the number of routes visits all of them.
            number = (number + 7_919) % ROUTES;
            small(&mut stream, &format!("/user/u{number}/api"), "").await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// A connection for each small answer.
pub fn not_kept(port: u16, time: Duration) -> Load {
    together(CONNECTIONS, time, move |_, end, done| async move {
        while Instant::now() < end {
            let mut stream = connect(port).await;
            small(&mut stream, "/user/u7/api", "Connection: close\r\n").await;
            let mut rest = [0; 1];
            assert_eq!(stream.read(&mut rest).await.unwrap_or(0), 0, "more than one answer");
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// 100 MB down.
pub fn down(port: u16, time: Duration) -> Load {
    together(STREAMS, time, move |_, end, done| async move {
        let mut stream = connect(port).await;
        while Instant::now() < end {
            big(&mut stream).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// 100 MB up.
pub fn up(port: u16, time: Duration) -> Load {
    together(STREAMS, time, move |_, end, done| async move {
        let mut stream = connect(port).await;
        while Instant::now() < end {
            let head =
                format!("POST /user/u7/up HTTP/1.1\r\nHost: bench\r\nContent-Length: {BIG_BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..BIG_BYTES / PIECE.len() {
                stream.write_all(PIECE).await.unwrap();
            }
            stream.write_all(&PIECE[..BIG_BYTES % PIECE.len()]).await.unwrap();
            let (_, body) = answer(&mut stream).await;
            assert_eq!(String::from_utf8_lossy(&body), BIG_BYTES.to_string(), "the server got less");
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Sends a request, to its last byte: a task that has read much is made to wait in the middle of whatever comes next, and
/// over TLS what is left of a write then stays where it is until somebody flushes.
async fn ask<S: AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
}

/// Asks for a small answer and compares it.
pub async fn small<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n");
    ask(stream, request.as_bytes()).await;
    let (head, body) = answer(stream).await;
    assert!(head.starts_with("HTTP/1.1 200") && body == SMALL, "wrong answer: {head}");
}

/// Asks for the big answer and compares it.
pub async fn big<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    ask(stream, b"GET /user/u7/big HTTP/1.1\r\nHost: bench\r\n\r\n").await;
    let mut buffer = vec![0; 262_144];
    let (mut filled, end) = read_head(stream, &mut buffer).await;
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "wrong answer");
    filled -= end;
    buffer.copy_within(end..end + filled, 0);
    let mut missing = BIG_BYTES;
    loop {
        // Comparing a byte of each piece notices what is lost or mixed up, and costs nothing.
        assert!(buffer[..filled].iter().step_by(4096).all(|byte| *byte == b'b'), "wrong bytes");
        missing = missing.checked_sub(filled).expect("no more than the length");
        if missing == 0 {
            return;
        }
        filled = stream.read(&mut buffer).await.unwrap();
        assert!(filled > 0, "the answer was cut off, {missing} bytes are missing");
    }
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(
            read > 0,
            "the connection ended before an answer: {:?}",
            String::from_utf8_lossy(&buffer[..filled])
        );
        filled += read;
        if let Some(end) = find(&buffer[..filled], b"\r\n\r\n") {
            return (filled, end + 4);
        }
    }
}

/// Reads a whole answer with a length or in chunks.
pub async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> (String, Vec<u8>) {
    let mut buffer = [0; 4096];
    let (filled, end) = read_head(stream, &mut buffer).await;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut body = buffer[end..filled].to_vec();
    let Some(length) = header(&head, "content-length") else {
        while !body.ends_with(b"0\r\n\r\n")
            && !head.starts_with("HTTP/1.1 204")
            && header(&head, "transfer-encoding").is_some()
        {
            assert!(stream.read_buf(&mut body).await.unwrap() > 0, "cut off: {head}");
        }
        return (head, body);
    };
    let length: usize = length.parse().unwrap();
    while body.len() < length {
        assert!(stream.read_buf(&mut body).await.unwrap() > 0, "cut off: {head}");
    }
    (head, body)
}
