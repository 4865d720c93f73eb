//! The server behind all proxies: small answers, a big one, uploads, and WebSockets that send back what they get.

use std::io;
use std::net::SocketAddr;

use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The body of a small answer.
pub const SMALL: &[u8] = b"{\"version\": \"2.17.0\"}\n";
/// Bytes of the big answer and of an upload.
pub const BIG_BYTES: usize = 100_000_000;
/// What the big answer consists of, again and again.
pub const PIECE: &[u8] = &[b'b'; 65_536];
/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16_384;

/// Starts it on threads of its own; returns where it listens.
pub fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                // A proxy may end its connections at any time.
                tokio::spawn(async { serve(stream).await.ok() });
            }
        });
    });
    address
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; HEAD_BYTES_MAX];
    let mut filled = 0;
    loop {
        let end = loop {
            if let Some(end) = find(&buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        if let Some(key) = header(&head, "sec-websocket-key") {
            let rest = buffer[end..filled].to_vec();
            return echo(stream, key, &rest).await;
        }
        let length = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let mut missing = length - (filled - end).min(length);
        let mut sink = vec![0; PIECE.len()];
        while missing > 0 {
            let room = missing.min(sink.len());
            match stream.read(&mut sink[..room]).await? {
                0 => return Ok(()),
                read => missing -= read,
            }
        }
        buffer.copy_within((end + length).min(filled)..filled, 0);
        filled -= (end + length).min(filled);
        answer(&mut stream, &head, length).await?;
    }
}

async fn answer(stream: &mut TcpStream, head: &str, length: usize) -> io::Result<()> {
    if head.starts_with("GET") && head.split(' ').nth(1).unwrap().ends_with("/big") {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        for _ in 0..BIG_BYTES / PIECE.len() {
            stream.write_all(PIECE).await?;
        }
        return stream.write_all(&PIECE[..BIG_BYTES % PIECE.len()]).await;
    }
    let body = if length > 0 { length.to_string().into_bytes() } else { SMALL.to_vec() };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await
}

async fn echo(mut stream: TcpStream, key: &str, early: &[u8]) -> io::Result<()> {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), early].concat()).await?;
    let mut buffer = Vec::new();
    loop {
        stream.readable().await?;
        // Idle connections keep no buffer.
        buffer.resize(PIECE.len(), 0);
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => stream.write_all(&buffer[..read]).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => buffer = Vec::new(),
            Err(error) => return Err(error),
        }
    }
}

/// The value of a header in the text of a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    pairs.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Where `wanted` begins.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
