//! Routes that somebody guards: what the guard decides holds in every protocol, and what it is shown goes no further.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{COOKIE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{Admission, Endpoint, Guard, Guarded, Pass, RouteData, Target, Wish};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http2;
use crate::support::{Canned, LIMIT, Running, eventually, header, read_all, read_head, start};
use crate::websockets::echo_server;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Lets in who has the cookie `in`.
#[derive(Default)]
struct Doorman {
    ends: Mutex<Vec<Arc<CancellationToken>>>,
    confines: bool,
}

impl Guard for Doorman {
    fn admit(&self, request: &Parts, _: Wish) -> Admission {
        let cookies = request.headers.get_all(COOKIE).into_iter();
        let mut pairs = cookies.flat_map(|value| value.to_str().unwrap().split("; "));
        if !pairs.any(|pair| pair == "in=1") {
            let body = Full::new("turned away".into()).map_err(|never| match never {}).boxed_unsync();
            let mut answer = Response::new(body);
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return Admission::Answer(Box::new(answer));
        }
        let mut pass = Pass { takes_authorization: true, confines: self.confines, ..Pass::default() };
        pass.tells.push((HeaderName::from_static("x-forwarded-user"), HeaderValue::from_static("bob")));
        for (name, value) in [("content-security-policy", "sandbox"), ("x-added", "guard")] {
            pass.adds.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
        }
        let end = Arc::<CancellationToken>::default();
        self.ends.lock().unwrap().push(end.clone());
        pass.end = Some(end);
        Admission::Pass(pass)
    }
}

impl Doorman {
    /// Nobody may use the server any more.
    fn end_all(&self) {
        for end in self.ends.lock().unwrap().iter() {
            end.cancel();
        }
    }
}

fn guard(
    proxy: &Running,
    address: std::net::SocketAddr,
    strips_prefix: bool,
    doorman: Doorman,
) -> Arc<Doorman> {
    let doorman = Arc::new(doorman);
    let guarded = Guarded { guard: doorman.clone(), hidden_cookies: &["jupyterhub-"], strips_prefix };
    let target = Target { endpoint: Endpoint::Tcp(address), uid: None };
    proxy.routes.add_guarded("/user/alice/", target, RouteData::default(), Some(guarded));
    doorman
}

#[tokio::test]
async fn who_is_turned_away_does_not_reach_the_server() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    guard(&proxy, server.address, false, Doorman::default());
    for path in ["/user/alice/", "/user/alice/lab?x", "/user/%61lice/x", "/user/alice"] {
        let answer = proxy.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("turned away"), "{path}: {answer}");
    }
    let upgrade =
        "GET /user/alice/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(read_head(&mut BufReader::new(&mut stream)).await.starts_with("HTTP/1.1 403 "));
    // The body of a request that is turned away is no request of its own.
    let hidden = "GET /user/alice/ HTTP/1.1\r\nHost: hub\r\nCookie: in=1\r\n\r\n";
    let post = format!(
        "POST /user/alice/ HTTP/1.1\r\nHost: hub\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let answer = proxy.talk(post).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_server_gets_no_credential_and_hears_who_comes_from_the_guard_alone() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    guard(&proxy, server.address, false, Doorman::default());
    let fields = "Cookie: in=1; hub-login=x; jupyterhub-session-id=y; own=z\r\nAuthorization: token t\r\n\
                  X-Forwarded-User: root\r\nX_Forwarded_User: root\r\nRemote-User: root\r\nX-Kept: 1\r\n";
    let answer = proxy.get("/user/alice/x?y", fields).await;
    assert!(
        answer.contains("x-added: guard") && answer.contains("content-security-policy: sandbox"),
        "{answer}"
    );
    let head = server.heads().pop().unwrap();
    assert!(head.starts_with("GET /user/alice/x?y HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "cookie").as_deref(), Some("in=1; own=z"));
    assert_eq!(header(&head, "x-forwarded-user").as_deref(), Some("bob"));
    assert_eq!(header(&head, "x-kept").as_deref(), Some("1"));
    assert!(!head.contains("root") && !head.to_ascii_lowercase().contains("authorization"), "{head}");
}

#[tokio::test]
async fn cookies_for_the_whole_site_come_to_be_for_the_server_alone() {
    let cookies = [
        "a=1; path=/; HttpOnly",
        "b=2",
        "hub-login=x; Path=/",
        "=c",
        "__Host-hub-login=x; Path=/",
        "d=3; Path=/user/bob/",
    ];
    let lines: String = cookies.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    let (proxy, server) = (start().await, Canned::start(answer).await);
    guard(&proxy, server.address, false, Doorman::default());
    let answer = proxy.get("/user/alice/x", "Cookie: in=1\r\n").await;
    let mut set: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")).collect();
    set.sort_unstable();
    assert_eq!(set, ["a=1; HttpOnly; Path=/user/alice/", "b=2", "d=3; Path=/user/alice/"], "{answer}");
}

#[tokio::test]
async fn a_body_that_the_server_leaves_unread_is_not_taken_for_somebody_elses_request() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    guard(&proxy, server.address, false, Doorman::default());
    for (round, head) in ["GET", "POST", "GET", "GET"].into_iter().enumerate() {
        let body = if head == "POST" { "Content-Length: 4\r\n\r\nbody" } else { "\r\n" };
        let fields = "Host: hub\r\nCookie: in=1\r\nConnection: close\r\n";
        let answer = proxy.talk(format!("{head} /user/alice/x HTTP/1.1\r\n{fields}{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // The connection of the POST, which was that of the first GET, is not used again.
        assert_eq!(server.connections(), [1, 1, 2, 2][round], "{round}");
    }
}

#[tokio::test]
async fn a_server_without_its_prefix_is_led_back_under_it_and_a_visitor_is_kept_there() {
    let (proxy, server) = (
        start().await,
        Canned::start("HTTP/1.1 302 Found\r\nLocation: /x/\r\nContent-Length: 0\r\n\r\n").await,
    );
    guard(&proxy, server.address, true, Doorman::default());
    let answer = proxy.get("/user/alice/x", "Cookie: in=1\r\n").await;
    assert_eq!(header(&answer, "location").as_deref(), Some("/user/alice/x/"));
    assert!(server.heads().pop().unwrap().starts_with("GET /x HTTP/1.1\r\n"));
    guard(&proxy, server.address, false, Doorman { confines: true, ..Doorman::default() });
    let answer = proxy.get("/user/alice/x", "Cookie: in=1\r\n").await;
    assert_eq!(header(&answer, "location"), None, "{answer}");
}

#[tokio::test]
async fn a_tunnel_ends_when_its_person_may_not_use_the_server_any_more() {
    let proxy = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let doorman = guard(&proxy, listener.local_addr().unwrap(), false, Doorman::default());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        read_head(&mut stream).await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    let upgrade = "GET /user/alice/ws HTTP/1.1\r\nHost: hub\r\nCookie: in=1\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    browser.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(read_head(&mut browser).await.starts_with("HTTP/1.1 101 "));
    let mut hello = [0; 5];
    browser.read_exact(&mut hello).await.unwrap();
    browser.write_all(b"bye").await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(50), browser.read(&mut hello)).await;
    assert!(waits.is_err(), "the tunnel lives");
    doorman.end_all();
    let end = tokio::time::timeout(LIMIT, browser.read(&mut hello)).await.expect("closed in time");
    assert!(matches!(end, Ok(0) | Err(_)));
    assert_eq!(tokio::time::timeout(LIMIT, server).await.expect("closed in time").unwrap(), b"bye");
}

/// A server that begins to answer one request, when it is asked to, and never comes to the end.
async fn endless(says: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        read_head(&mut stream).await;
        stream.write_all(says.as_bytes()).await.unwrap();
        // Until the proxy closes the connection.
        read_all(&mut stream).await
    });
    (address, server)
}

/// Server-sent events, and a download that takes long.
const ENDLESS: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst",
];

#[tokio::test]
async fn an_answer_that_goes_on_breaks_off_when_its_person_may_not_use_the_server_any_more() {
    for says in ENDLESS {
        let proxy = start().await;
        let (address, server) = endless(says).await;
        let doorman = guard(&proxy, address, false, Doorman::default());
        let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
        browser
            .write_all(b"GET /user/alice/events HTTP/1.1\r\nHost: hub\r\nCookie: in=1\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut browser).await.starts_with("HTTP/1.1 200 "));
        let mut began = String::new();
        while !began.ends_with("first") {
            began.push(char::from(browser.read_u8().await.unwrap()));
        }
        let waits = tokio::time::timeout(Duration::from_millis(50), browser.read_u8()).await;
        assert!(waits.is_err() || began.starts_with('5'), "the answer goes on");
        doorman.end_all();
        let rest = read_all(&mut browser).await;
        assert!(!rest.contains('0'), "the answer looks complete: {rest:?}");
        tokio::time::timeout(LIMIT, server).await.expect("the server's connection is closed").unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_begins_too_late_does_not_come() {
    let proxy = start().await;
    let (address, server) = endless("").await;
    let doorman = guard(&proxy, address, false, Doorman::default());
    let asking = tokio::spawn(async move { proxy.get("/user/alice/poll", "Cookie: in=1\r\n").await });
    eventually("the request to be let in", || !doorman.ends.lock().unwrap().is_empty()).await;
    doorman.end_all();
    assert_eq!(asking.await.unwrap(), "");
    tokio::time::timeout(LIMIT, server).await.expect("the server's connection is closed").unwrap();
}

#[tokio::test]
async fn over_http2_the_same_are_turned_away_and_the_same_breaks_off() {
    for says in ENDLESS {
        let (proxy, files) = http2::start().await;
        let (address, server) = endless(says).await;
        let doorman = guard(&proxy, address, false, Doorman::default());
        let mut browser = http2::browser(&proxy, &files).await;
        let (head, text) = http2::send(&mut browser, http2::get("/user/alice/events")).await;
        assert_eq!((head.status(), text.as_str()), (StatusCode::FORBIDDEN, "turned away"));
        assert_eq!(http2::asked(&mut browser, "/user/alice/ws").await.status(), StatusCode::FORBIDDEN);
        let request =
            http2::get("/user/alice/events").header("cookie", "in=1").body(Full::default()).unwrap();
        let answer = browser.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["x-added"], "guard");
        let mut body = answer.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        doorman.end_all();
        let end = tokio::time::timeout(LIMIT, body.frame()).await.expect("ended in time").unwrap();
        assert!(end.is_err(), "the answer looks complete");
        tokio::time::timeout(LIMIT, server).await.expect("the server's connection is closed").unwrap();
    }
}

#[tokio::test]
async fn over_http2_an_answer_that_begins_too_late_is_a_refusal_and_tunnels_end() {
    let (proxy, files) = http2::start().await;
    let (address, server) = endless("").await;
    let doorman = guard(&proxy, address, false, Doorman::default());
    let mut browser = http2::browser(&proxy, &files).await;
    let request = http2::get("/user/alice/poll").header("cookie", "in=1");
    let mut asks = browser.clone();
    let asking = tokio::spawn(async move { http2::send(&mut asks, request).await });
    eventually("the request to be let in", || !doorman.ends.lock().unwrap().is_empty()).await;
    doorman.end_all();
    let (head, text) = asking.await.unwrap();
    assert_eq!((head.status(), text.trim()), (StatusCode::FORBIDDEN, "you may not use this server any more"));
    tokio::time::timeout(LIMIT, server).await.expect("the server's connection is closed").unwrap();
    let doorman = guard(&proxy, echo_server().await, false, Doorman::default());
    let request = http2::ask("/user/alice/ws").header("cookie", "in=1").body(Full::default()).unwrap();
    let answer = browser.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    doorman.end_all();
    let mut rest = Vec::new();
    tokio::time::timeout(LIMIT, socket.read_to_end(&mut rest)).await.expect("the tunnel ends").ok();
}
