//! Limits: whoever has too much, is too many or too slow is told so, and everybody else is served.

use std::time::Duration;

use hubd_proxy::{Limits, ProxySettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::http2;
use crate::support::{Running, eventually, header, read_all, read_head, settings, start_with};
use crate::websockets::echo_server;

const GET: &str = "GET /hub/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";

async fn start(limits: Limits) -> Running {
    start_with(ProxySettings { limits, ..settings() }, None).await
}

/// A connection that has been served once and stays open.
async fn served(proxy: &Running) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    stream.write_all(b"HEAD /hub/ HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    stream
}

/// Waits until a new connection is served.
async fn is_served_again(proxy: &Running) {
    for _ in 0..1000 {
        if proxy.talk(GET).await.starts_with("HTTP/1.1 200") {
            return;
        }
    }
    panic!("nobody is served any more");
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_later() {
    let proxy = start(Limits { connections: 2, ..Limits::default() }).await;
    let (first, _second) = (served(&proxy).await, served(&proxy).await);
    let answer = proxy.talk(GET).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(header(&answer, "retry-after").as_deref(), Some("10"));
    drop(first);
    is_served_again(&proxy).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let proxy = start(Limits { connections_per_address: 1, ..Limits::default() }).await;
    let _mine = served(&proxy).await;
    assert!(proxy.talk(GET).await.starts_with("HTTP/1.1 503"));
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(proxy.address).await.unwrap();
    other.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_all(&mut other).await.contains("address=127.0.0.2"));
}

#[tokio::test]
async fn an_open_websocket_keeps_its_place() {
    let proxy = start(Limits { connections: 1, ..Limits::default() }).await;
    proxy.route("/user/a/", echo_server().await);
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async("ws://hub/user/a/ws", stream).await.unwrap();
    assert!(proxy.talk(GET).await.starts_with("HTTP/1.1 503"));
    drop(socket);
    is_served_again(&proxy).await;
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let proxy = start(Limits { headers: 5, header_bytes: 10_000, ..Limits::default() }).await;
    assert!(proxy.get("/hub/", "a: b\r\n").await.starts_with("HTTP/1.1 200"));
    let many: String = (0..5).map(|number| format!("a{number}: b\r\n")).collect();
    assert!(proxy.get("/hub/", &many).await.starts_with("HTTP/1.1 431"));
    let long = format!("a: {}\r\n", "x".repeat(20_000));
    assert!(proxy.get("/hub/", &long).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn the_same_holds_for_http2() {
    let limits = Limits { headers: 5, header_bytes: 10_000, ..Limits::default() };
    let (proxy, files) = http2::start_with(ProxySettings { limits, ..settings() }).await;
    let mut browser = http2::browser(&proxy, &files).await;
    let mut request = http2::get("/hub/");
    for status in [200, 431] {
        let (head, _) = http2::send(&mut browser, request).await;
        assert_eq!(head.status(), status);
        request =
            (0..6).fold(http2::get("/hub/"), |request, number| request.header(format!("a{number}"), "b"));
    }
    let long = http2::get("/hub/").header("a", "x".repeat(20_000)).body(Default::default()).unwrap();
    let answer = browser.send_request(long).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
}

async fn silent_server(proxy: &Running) -> TcpListener {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.route("/user/a/", server.local_addr().unwrap());
    server
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let answer_timeout = Some(Duration::from_millis(300));
    let proxy = start_with(ProxySettings { answer_timeout, ..settings() }, None).await;
    let server = silent_server(&proxy).await;
    let answer = proxy.get("/user/a/", "").await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("Timeout"), "{answer}");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!(proxy.get("/user/a/", upgrade).await.starts_with("HTTP/1.1 504"));
    let mut asked = server.accept().await.unwrap().0;
    assert!(read_all(&mut asked).await.starts_with("GET /user/a/"), "its connection is closed");
}

#[tokio::test]
async fn a_server_that_still_reads_has_time() {
    let answer_timeout = Some(Duration::from_millis(300));
    let proxy = start_with(ProxySettings { answer_timeout, ..settings() }, None).await;
    let server = silent_server(&proxy).await;
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    let head = "POST /user/a/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: 8\r\n\r\n";
    browser.write_all(head.as_bytes()).await.unwrap();
    let mut asked = BufReader::new(server.accept().await.unwrap().0);
    read_head(&mut asked).await;
    for _ in 0..8 {
        // Together longer than the limit, which begins anew with each piece.
        tokio::time::sleep(Duration::from_millis(100)).await;
        browser.write_all(b"x").await.unwrap();
        asked.read_u8().await.unwrap();
    }
    asked.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    assert!(read_all(&mut browser).await.ends_with("hi"));
}

#[tokio::test]
async fn an_unused_http2_connection_ends() {
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let (proxy, files) = http2::start_with(ProxySettings { limits, ..settings() }).await;
    let mut used = http2::browser(&proxy, &files).await;
    let unused = http2::browser(&proxy, &files).await;
    http2::send(&mut used, http2::get("/hub/")).await;
    eventually("both are told to go", || used.is_closed() && unused.is_closed()).await;
}
