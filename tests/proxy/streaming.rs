//! Bodies stream both ways, with back-pressure; a broken one is broken for the other end, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Canned, LIMIT, eventually, header, read_all, read_head, start};

const MEGABYTE: u64 = 1_000_000;

/// A server that sends so many bytes to whoever asks, and counts what it could send.
async fn source(bytes: u64) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counter = sent.clone();
    tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; 100_000];
        while counter.load(Ordering::Relaxed) < bytes {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            counter.fetch_add(100_000, Ordering::Relaxed);
        }
    });
    (address, sent)
}

/// What this process holds in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn two_hundred_megabytes_come_down_in_bounded_memory() {
    let total = 200 * MEGABYTE;
    let (address, _) = source(total).await;
    let proxy = start().await;
    proxy.route("/user/a/", address);
    let mut stream = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    stream.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = read_head(&mut stream).await;
    assert_eq!(header(&head, "content-length"), Some(total.to_string()), "{head}");
    let (before, mut piece, mut received) = (resident(), vec![0; 100_000], 0);
    while received < total {
        let read = tokio::time::timeout(LIMIT, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0 && piece[..read].iter().all(|byte| *byte == b'x'));
        received += read as u64;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 * MEGABYTE, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn two_hundred_megabytes_go_up_in_bounded_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let head = read_head(&mut stream).await;
        let mut left: u64 = header(&head, "content-length").unwrap().parse().unwrap();
        let mut piece = vec![0; 100_000];
        while left > 0 {
            left -= stream.read(&mut piece).await.unwrap() as u64;
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = format!(
        "PUT /user/a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        200 * MEGABYTE
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (before, piece) = (resident(), vec![b'x'; 1_000_000]);
    for _ in 0..200 {
        stream.write_all(&piece).await.unwrap();
    }
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 201"));
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 * MEGABYTE, "memory grew by {grown} bytes");
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_waits_for_a_browser_that_does_not_read() {
    let (address, sent) = source(1_000 * MEGABYTE).await;
    let proxy = start().await;
    proxy.route("/user/a/", address);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // It has stopped when nothing more was sent for a while.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = sent.load(Ordering::Relaxed);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before < 50 * MEGABYTE, "{before} bytes are under way");
}

#[tokio::test]
async fn pieces_arrive_when_they_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    browser
        .write_all(b"POST /user/a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    browser.write_all(b"1\r\na\r\n").await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    let head = read_head(&mut server).await;
    assert_eq!(header(&head, "transfer-encoding").as_deref(), Some("chunked"));
    let mut chunk = [0; 6];
    server.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"1\r\na\r\n");
    // The answer may begin before the request has ended.
    server.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n").await.unwrap();
    let head = read_head(&mut browser).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    browser.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"1\r\nb\r\n");
    browser.write_all(b"0\r\n\r\n").await.unwrap();
    server.read_exact(&mut chunk[..5]).await.unwrap();
    server.write_all(b"0\r\n\r\n").await.unwrap();
    browser.read_exact(&mut chunk[..5]).await.unwrap();
    assert_eq!(&chunk[..5], b"0\r\n\r\n");
}

#[tokio::test]
async fn a_truncated_answer_ends_the_browsers_connection() {
    let proxy = start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let server = Canned::limited(answer, 1).await;
        proxy.route("/user/a/", server.address);
        let got = proxy.talk("GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // Whether its beginning arrives depends on how the packets fall; that it is broken must be seen.
        let body = got.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!body.ends_with("0\r\n\r\n") && body.len() < 10, "{got}");
    }
}

#[tokio::test]
async fn an_answer_without_length_ends_with_its_connection() {
    let proxy = start().await;
    let server = Canned::limited("HTTP/1.0 200 OK\r\n\r\nall of it", 1).await;
    proxy.route("/user/a/", server.address);
    let answer = proxy.get("/user/a/", "").await;
    assert!(answer.contains("all of it") && answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_browser_that_expects_100_gets_it_when_the_server_is_there() {
    let (proxy, server) =
        (start().await, Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
    proxy.route("/user/a/", server.address);
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    let head = "PUT /user/a/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    browser.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut browser).await, "HTTP/1.1 100 Continue\r\n\r\n");
    browser.write_all(b"abc").await.unwrap();
    assert!(read_head(&mut browser).await.starts_with("HTTP/1.1 200"));
    // Without a server there is no invitation, only the answer.
    proxy.routes.add(
        "/user/b/",
        hubd_proxy::Target { endpoint: hubd_proxy::Endpoint::Unix("/nonexistent".into()), uid: None },
    );
    let answer = proxy.talk(head.replace("/a/", "/b/")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_browser_that_goes_away_frees_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    browser.write_all(b"GET /user/a/slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    read_head(&mut server).await;
    drop(browser);
    assert_eq!(read_all(&mut server).await, "");
}

#[tokio::test]
async fn an_upload_that_breaks_off_reaches_the_server_as_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    browser
        .write_all(b"PUT /user/a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        .await
        .unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    read_head(&mut server).await;
    drop(browser);
    let body = read_all(&mut server).await;
    assert!(!body.ends_with("0\r\n\r\n"), "{body:?}");
}

#[tokio::test]
async fn connections_with_unread_answers_are_not_used_again() {
    let (address, _) = source(100 * MEGABYTE).await;
    let proxy = start().await;
    proxy.route("/user/a/", address);
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    browser.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut browser).await;
    drop(browser);
    let server = Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    proxy.route("/user/a/", server.address);
    assert!(proxy.get("/user/a/", "").await.ends_with("hi"));
    eventually("the server was asked", || server.heads().len() == 1).await;
}
