//! HTTP/2 towards browsers: the same rules as for HTTP/1.1, and WebSockets by extended CONNECT (RFC 8441).

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{COOKIE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hubd_proxy::ProxySettings;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::{self, Canned, LIMIT, Running, eventually, header, settings};
use crate::tls::{Files, connect_with, files};
use crate::websockets::echo_server;

/// A proxy that speaks TLS, and what its browsers trust.
pub async fn start() -> (Running, Files) {
    start_with(settings()).await
}

pub async fn start_with(settings: ProxySettings) -> (Running, Files) {
    let files = files();
    let tls = hubd_proxy::Tls::load(&files.certificate, &files.key).unwrap();
    (support::start_with(settings, Some(tls)).await, files)
}

pub type Browser = SendRequest<Full<Bytes>>;

pub async fn browser(proxy: &Running, files: &Files) -> Browser {
    let stream = connect_with(proxy.address, &files.root, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn get(uri: &str) -> http::request::Builder {
    Request::get(format!("https://hub{uri}"))
}

pub async fn send(browser: &mut Browser, request: http::request::Builder) -> (Response<()>, String) {
    send_body(browser, request.body(Full::default()).unwrap()).await
}

pub async fn send_body(browser: &mut Browser, request: Request<Full<Bytes>>) -> (Response<()>, String) {
    let response = tokio::time::timeout(LIMIT, browser.send_request(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn app_is_asked_as_if_by_http1() {
    let (proxy, files) = start().await;
    let mut browser = browser(&proxy, &files).await;
    let (head, text) =
        send(&mut browser, get("/hub/%61?b=c").header(COOKIE, "a=1").header(COOKIE, "b=2")).await;
    assert_eq!((head.status(), head.version()), (StatusCode::OK, Version::HTTP_2));
    assert!(text.contains("app GET /hub/a?b=c https=true host=hub address=127.0.0.1"), "{text}");
    assert!(text.contains("cookie: a=1; b=2\n"), "{text}");
    let body = Full::new(Bytes::from(vec![1; 3_000_000]));
    let (_, text) = send_body(&mut browser, Request::post("https://hub/hub/").body(body).unwrap()).await;
    assert!(text.contains("body=3000000"), "{text}");
}

#[tokio::test]
async fn servers_get_http1_without_the_hubs_cookies() {
    let (proxy, files) = start().await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: x\r\n\
        Set-Cookie: hub-login=x\r\nStrict-Transport-Security: max-age=1\r\n\r\nhi";
    let server = Canned::start(answer).await;
    proxy.route("/user/a/", server.address);
    let mut browser = browser(&proxy, &files).await;
    let cookies = get("/user/a/x%2fy").header(COOKIE, "hub-login=secret").header(COOKIE, "b=2; c=3");
    let (head, text) = send(&mut browser, cookies).await;
    assert_eq!((head.status(), text.as_str()), (StatusCode::OK, "hi"));
    for name in ["connection", "keep-alive", "set-cookie", "strict-transport-security"] {
        assert!(!head.headers().contains_key(name), "{name}");
    }
    let sent = server.heads().pop().unwrap();
    assert!(sent.starts_with("GET /user/a/x%2fy HTTP/1.1\r\n"), "{sent}");
    assert_eq!(header(&sent, "host").as_deref(), Some("hub"));
    assert_eq!(header(&sent, "cookie").as_deref(), Some("b=2; c=3"));
    assert_eq!(header(&sent, "x-forwarded-proto").as_deref(), Some("https"));
}

#[tokio::test]
async fn many_requests_share_a_connection_and_bodies_stream() {
    let (proxy, files) = start().await;
    let body = "x".repeat(5_000_000);
    let server = Canned::start(format!("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n{body}")).await;
    proxy.route("/user/a/", server.address);
    let browser = browser(&proxy, &files).await;
    let downloads = (0..8).map(|_| {
        let mut browser = browser.clone();
        tokio::spawn(async move { send(&mut browser, get("/user/a/")).await.1.len() })
    });
    for download in futures_util::future::join_all(downloads).await {
        assert_eq!(download.unwrap(), 5_000_000);
    }
}

#[tokio::test]
async fn what_is_ambiguous_is_refused() {
    let (proxy, files) = start().await;
    let server = Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    proxy.route("/user/a/", server.address);
    let mut browser = browser(&proxy, &files).await;
    for (request, status) in [
        (get("/user/b/../a/"), 400),
        (get("/user/b/%2e%2e/a/"), 400),
        (get("/user/a/").header(HOST, "evil"), 400),
        (Request::get("https://user@hub/user/a/"), 400),
        (get("/user/a/").method(Method::TRACE), 405),
        (Request::connect("hub:443"), 405),
    ] {
        let (head, text) = send(&mut browser, request).await;
        assert_eq!(head.status(), status, "{text}");
    }
    assert_eq!(server.heads().len(), 0);
    let (head, _) = send(&mut browser, get("/user/a/").header(HOST, "hub")).await;
    assert_eq!(head.status(), 200);
}

pub fn ask(uri: &str) -> http::request::Builder {
    Request::connect(format!("https://hub{uri}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header(COOKIE, "hub-login=secret")
}

pub async fn asked(browser: &mut Browser, uri: &str) -> Response<Incoming> {
    // The other end's settings say that it may be asked; they come with its first words.
    send(browser, get("/hub/")).await;
    let request = ask(uri).body(Full::default()).unwrap();
    tokio::time::timeout(LIMIT, browser.send_request(request)).await.unwrap().unwrap()
}

#[tokio::test]
async fn websockets_pass_messages_both_ways() {
    let (proxy, files) = start().await;
    proxy.route("/user/a/", echo_server().await);
    let mut browser = browser(&proxy, &files).await;
    let response = asked(&mut browser, "/user/a/ws").await;
    assert_eq!(response.status(), 200);
    let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    for message in [Message::text("hello"), Message::binary(vec![7; 3_000_000]), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let (head, _) = send(&mut browser, get("/hub/")).await;
    assert_eq!(head.status(), 200, "other requests go on beside it");
    proxy.stop.cancel();
    drop((socket, browser));
    tokio::time::timeout(LIMIT, proxy.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_servers_websocket_request_is_http1s() {
    let (proxy, files) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = browser(&proxy, &files).await;
    let asking = tokio::spawn(async move { asked(&mut browser, "/user/a/ws").await.status() });
    let mut server = tokio::io::BufReader::new(listener.accept().await.unwrap().0);
    let head = crate::support::read_head(&mut server).await;
    assert!(head.starts_with("GET /user/a/ws HTTP/1.1\r\n") && !head.contains("secret"), "{head}");
    for (name, value) in
        [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]
    {
        assert_eq!(header(&head, name).as_deref(), Some(value), "{head}");
    }
    assert_eq!(header(&head, "sec-websocket-key").unwrap().len(), 24);
    drop(server);
    assert_eq!(asking.await.unwrap(), 502);
}

#[tokio::test]
async fn only_a_servers_own_agreement_opens_a_websocket() {
    let (proxy, files) = start().await;
    let unproven = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let refuses = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let mut browser = browser(&proxy, &files).await;
    for (answer, status) in [(unproven, 502), (ok, 502), (refuses, 403)] {
        let server = Canned::start(answer).await;
        proxy.route("/user/a/", server.address);
        assert_eq!(asked(&mut browser, "/user/a/ws").await.status(), status, "{answer}");
    }
    assert_eq!(asked(&mut browser, "/hub/").await.status(), 404, "the app has none");
}

#[tokio::test]
async fn a_reset_stream_closes_its_servers_connection() {
    let (proxy, files) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let mut browser = browser(&proxy, &files).await;
    let request = get("/user/a/").body(Full::default()).unwrap();
    let asking = tokio::spawn(async move {
        let _ = browser.send_request(request).await;
    });
    let mut server = tokio::io::BufReader::new(listener.accept().await.unwrap().0);
    crate::support::read_head(&mut server).await;
    asking.abort();
    assert_eq!(crate::support::read_all(&mut server).await, "");
}

#[tokio::test]
async fn idle_connections_are_told_to_go_when_the_proxy_ends() {
    let (proxy, files) = start().await;
    let mut browser = browser(&proxy, &files).await;
    send(&mut browser, get("/hub/")).await;
    proxy.stop.cancel();
    tokio::time::timeout(LIMIT, proxy.task).await.unwrap().unwrap();
    eventually("the browser is told", || browser.is_closed()).await;
}

#[tokio::test]
async fn harmless_trailers_pass_both_ways_and_others_do_not() {
    let (proxy, files) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let stream = connect_with(proxy.address, &files.root, &[b"h2"]).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut browser, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let trailers: Vec<_> = [
        ("x-sum", "1"),
        ("x-forwarded-for", "6.6.6.6"),
        ("set-cookie", "hub-login=x"),
        ("content-length", "3"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect();
    for body in ["", "abc"] {
        let frames = [Frame::data(Bytes::from(body)), Frame::trailers(trailers.iter().cloned().collect())];
        let frames = frames.map(Ok::<_, std::convert::Infallible>);
        let request = Request::put("https://hub/user/a/");
        let request = request.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap();
        let asking = tokio::spawn(browser.send_request(request));
        let mut server = tokio::io::BufReader::new(listener.accept().await.unwrap().0);
        let head = support::read_head(&mut server).await;
        assert_eq!(header(&head, "transfer-encoding").as_deref(), Some("chunked"), "{head}");
        let sent = support::read_head(&mut server).await;
        let chunk = if body.is_empty() { "" } else { "3\r\nabc\r\n" };
        assert_eq!(sent, format!("{chunk}0\r\nx-sum: 1\r\n\r\n"));
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\nX-Sum: 1\r\n\
             X-Forwarded-For: 6.6.6.6\r\nSet-Cookie: hub-login=x\r\nHost: evil\r\n\r\n"
        );
        server.write_all(answer.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(LIMIT, asking).await.unwrap().unwrap().unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        let found: Vec<_> = answer.trailers().into_iter().flatten().collect();
        assert_eq!(found, [(&HeaderName::from_static("x-sum"), &HeaderValue::from_static("1"))]);
        assert_eq!(answer.to_bytes(), body);
    }
}

#[tokio::test]
async fn trailers_that_are_not_there_or_broken_are_not_made_up() {
    let (proxy, files) = start().await;
    let mut browser = browser(&proxy, &files).await;
    for (trailers, fine) in [("", true), ("Host: evil\r\n", true), ("no field\r\n", false)] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
        let server = Canned::start(format!("{head}{trailers}\r\n")).await;
        proxy.route("/user/a/", server.address);
        let request = get("/user/a/").body(Full::default()).unwrap();
        let asking = async { browser.send_request(request).await?.into_body().collect().await };
        let answer = tokio::time::timeout(LIMIT, asking).await.unwrap();
        assert_eq!(answer.is_ok(), fine, "{trailers:?}");
        if let Ok(answer) = answer {
            assert!(answer.trailers().is_none_or(http::HeaderMap::is_empty), "{trailers:?}");
        }
    }
}
