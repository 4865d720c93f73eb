//! Routes that somebody guards: what the guard decides holds in every protocol, and what it is shown goes no further.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{COOKIE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{Admission, Endpoint, Guard, Guarded, Pass, RouteData, Target, Wish};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{Canned, LIMIT, Running, header, read_head, start};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Lets in who has the cookie `in`.
#[derive(Default)]
struct Doorman {
    ends: Mutex<Vec<Arc<CancellationToken>>>,
    confines: bool,
}

impl Guard for Doorman {
    fn admit(&self, request: &Parts, wish: Wish) -> Admission {
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
        if wish == Wish::Upgrade {
            let end = Arc::<CancellationToken>::default();
            self.ends.lock().unwrap().push(end.clone());
            pass.end = Some(end);
        }
        Admission::Pass(pass)
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
    for end in doorman.ends.lock().unwrap().iter() {
        end.cancel();
    }
    let end = tokio::time::timeout(LIMIT, browser.read(&mut hello)).await.expect("closed in time");
    assert!(matches!(end, Ok(0) | Err(_)));
    assert_eq!(tokio::time::timeout(LIMIT, server).await.expect("closed in time").unwrap(), b"bye");
}
