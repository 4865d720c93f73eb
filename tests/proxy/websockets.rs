//! WebSockets and other upgrades.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Canned, LIMIT, header, read_all, read_head, start};

const ASK: &str = "GET /user/a/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: hub-login=secret; a=1\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// A server that sends every message back.
pub async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn messages_pass_both_ways() {
    let proxy = start().await;
    proxy.route("/user/a/", echo_server().await);
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async("ws://hub/user/a/ws", stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7; 3_000_000]), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    assert!(proxy.routes.last_activity("/user/a/").is_some());
}

/// A browser that has asked, and the server that was asked, with the head it got.
async fn asked(extra: &[u8]) -> (BufReader<TcpStream>, BufReader<TcpStream>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    browser.write_all(&[ASK.as_bytes(), extra].concat()).await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    let head = read_head(&mut server).await;
    (BufReader::new(browser), server, head)
}

#[tokio::test]
async fn server_is_asked_without_the_hubs_cookies() {
    let (_browser, _server, head) = asked(b"").await;
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("cookie", "a=1"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(header(&head, name).as_deref(), Some(value), "{head}");
    }
    assert!(!head.contains("secret"));
}

#[tokio::test]
async fn bytes_after_the_request_wait_for_the_servers_agreement() {
    let (mut browser, mut server, _) = asked(b"early").await;
    let mut bytes = [0; 5];
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), server.read(&mut bytes)).await;
    assert!(early.is_err(), "nothing passes before 101");
    server.write_all(format!("{AGREE}first").as_bytes()).await.unwrap();
    let head = read_head(&mut browser).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(header(&head, "upgrade").as_deref(), Some("websocket"));
    browser.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"first");
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"early");
}

#[tokio::test]
async fn bytes_after_a_refused_upgrade_are_the_next_request() {
    let (browser, mut server, _) =
        asked(b"GET /hub/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await;
    server.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    let mut browser = browser;
    let answer = read_all(&mut browser).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("noHTTP/1.1 200"), "{answer}");
    assert!(answer.contains("app GET /hub/"), "the app has answered: {answer}");
}

#[tokio::test]
async fn a_protocol_nobody_asked_for_is_a_broken_answer() {
    let proxy = start().await;
    let server = Canned::start(AGREE).await;
    proxy.route("/user/a/", server.address);
    let answer = proxy.get("/user/a/", "").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("BrokenAnswer"), "{answer}");
    let other = AGREE.replace("websocket", "telnet");
    let server = Canned::start(other).await;
    proxy.route("/user/a/", server.address);
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    browser.write_all(ASK.as_bytes()).await.unwrap();
    assert!(read_head(&mut browser).await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn an_upgrade_with_a_body_or_to_a_hidden_http_is_not_forwarded_as_one() {
    let (proxy, server) =
        (start().await, Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
    proxy.route("/user/a/", server.address);
    let with_body = ASK.replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc");
    assert!(proxy.talk(with_body).await.starts_with("HTTP/1.1 400"));
    assert_eq!(server.heads().len(), 0);
    let hidden = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n";
    assert!(proxy.get("/user/a/", hidden).await.starts_with("HTTP/1.1 200"));
    let head = server.heads().pop().unwrap();
    assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
}

#[tokio::test]
async fn the_end_of_either_side_reaches_the_other() {
    let (mut browser, mut server, _) = asked(b"").await;
    server.write_all(AGREE.as_bytes()).await.unwrap();
    read_head(&mut browser).await;
    server.write_all(b"bye").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut browser).await, "bye");
    let (mut browser, mut server, _) = asked(b"").await;
    server.write_all(AGREE.as_bytes()).await.unwrap();
    read_head(&mut browser).await;
    drop(browser);
    assert_eq!(read_all(&mut server).await, "");
}

#[tokio::test]
async fn a_tunnel_waits_for_an_end_that_does_not_read() {
    let (mut browser, mut server, _) = asked(b"").await;
    server.write_all(AGREE.as_bytes()).await.unwrap();
    read_head(&mut browser).await;
    let piece = vec![1; 1_000_000];
    let mut sent = 0;
    while let Ok(result) =
        tokio::time::timeout(std::time::Duration::from_millis(500), server.write_all(&piece)).await
    {
        result.unwrap();
        sent += 1;
        assert!(sent < 50, "the proxy takes more than it can pass on");
    }
}

#[tokio::test]
async fn open_tunnels_are_closed_when_the_proxy_ends() {
    let proxy = start().await;
    proxy.route("/user/a/", echo_server().await);
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://hub/user/a/ws", stream).await.unwrap();
    socket.send(Message::text("x")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    proxy.stop.cancel();
    tokio::time::timeout(LIMIT, proxy.task).await.unwrap().unwrap();
    assert!(!matches!(socket.next().await, Some(Ok(_))));
}
