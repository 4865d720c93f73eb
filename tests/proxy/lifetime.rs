//! Connections that wait too long, and the end of the proxy.

use std::time::{Duration, Instant};

use hubd_proxy::{Limits, ProxySettings};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Canned, LIMIT, read_all, read_head, settings, start, start_with};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let header_timeout = Duration::from_millis(300);
    let proxy = start_with(
        ProxySettings { limits: Limits { header_timeout, ..Limits::default() }, ..settings() },
        None,
    )
    .await;
    for begin in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let start = Instant::now();
        let answer = read_all(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    // A trickle does not help.
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let mut sent = 0;
    while stream.write_all(b"X: y\r\n").await.is_ok() && sent < 90 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sent += 1;
    }
    assert!(sent < 90, "cut off before the limit of headers");
}

#[tokio::test]
async fn requests_in_progress_finish_and_new_connections_are_refused_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    browser.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    read_head(&mut server).await;
    // Two without a request yet, and one that waits between two.
    let mut newcomer = TcpStream::connect(proxy.address).await.unwrap();
    let mut fresh = TcpStream::connect(proxy.address).await.unwrap();
    let mut waiting = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    waiting.write_all(b"GET /hub/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut waiting).await;
    proxy.stop.cancel();
    read_all(&mut waiting).await;
    // Its browser cannot know, so it is answered all the same.
    newcomer.write_all(b"GET /hub/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_all(&mut newcomer).await.starts_with("HTTP/1.1 "));
    assert_eq!(read_all(&mut fresh).await, "");
    assert!(TcpStream::connect(proxy.address).await.is_err());
    assert!(!proxy.task.is_finished());
    server.write_all(OK.as_bytes()).await.unwrap();
    assert!(read_all(&mut browser).await.ends_with("hi"));
    tokio::time::timeout(LIMIT, proxy.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_that_do_not_end_are_cut_off_after_the_drain_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = crate::support::start_draining(Duration::from_millis(100)).await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    browser.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    read_head(&mut server).await;
    proxy.stop.cancel();
    tokio::time::timeout(LIMIT, proxy.task).await.unwrap().unwrap();
    assert_eq!(read_all(&mut browser).await, "");
}

#[tokio::test]
async fn many_browsers_at_once_are_served() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    let address = proxy.address;
    let browsers = (0..200).map(|_| {
        tokio::spawn(async move {
            let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
            for _ in 0..20 {
                stream.write_all(b"GET /user/a/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
                assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
                let mut body = [0; 2];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
            }
        })
    });
    for browser in browsers.collect::<Vec<_>>() {
        browser.await.unwrap();
    }
    assert_eq!(server.heads().len(), 4000);
    assert!(server.connections() <= 200, "{} connections", server.connections());
}
