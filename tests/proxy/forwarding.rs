//! Ordinary requests: what reaches the server, what comes back.

use http::StatusCode;
use hubd_proxy::{BackendFailure, Endpoint, ProxySettings, Target, probe};

use crate::support::{Canned, LIMIT, header, settings, start, start_with};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn app_answers_what_no_route_takes() {
    let proxy = start().await;
    let answer =
        proxy.get("/hub/%6cogin?next=%2F", "X-Forwarded-For: 1.1.1.1\r\nRemote-User: root\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("app GET /hub/login?next=%2F https=false host=hub address=127.0.0.1"),
        "{answer}"
    );
    assert!(!answer.contains("x-forwarded-for") && !answer.contains("remote-user"), "{answer}");
}

#[tokio::test]
async fn app_gets_bodies_and_cookies() {
    let proxy = start().await;
    let head = "POST /hub/login HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nCookie: hub-login=x\r\n";
    let answer = proxy.talk(format!("{head}Content-Length: 3\r\n\r\nabc")).await;
    assert!(answer.contains("body=3") && answer.contains("cookie: hub-login=x"), "{answer}");
    let answer = proxy.talk(format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")).await;
    assert!(answer.contains("body=4"), "{answer}");
}

#[tokio::test]
async fn server_gets_the_path_byte_for_byte_and_the_answer_comes_back() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/alice/", server.address);
    let answer = proxy.get("/user/%61lice/a%2fb//c;d?e=%zz&f", "Accept: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    let head = server.heads().pop().unwrap();
    assert!(head.starts_with("GET /user/%61lice/a%2fb//c;d?e=%zz&f HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "hub"),
        ("accept", "x"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "hub"),
        ("x-forwarded-port", "80"),
    ] {
        assert_eq!(header(&head, name).as_deref(), Some(value), "{head}");
    }
    assert_eq!(header(&head, "connection"), None);
}

#[tokio::test]
async fn forwarded_headers_count_only_from_trusted_proxies() {
    let said =
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\nProxy: x\r\n";
    let server = Canned::start(OK).await;
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let trusting = start_with(ProxySettings { trusted_proxies, ..settings() }, None).await;
    trusting.route("/user/a/", server.address);
    trusting.get("/user/a/", said).await;
    let answer = trusting.get("/hub/", said).await;
    assert!(answer.contains("https=true host=hub address=192.0.2.1"), "{answer}");
    let proxy = start().await;
    proxy.route("/user/a/", server.address);
    proxy.get("/user/a/", said).await;
    let [trusted, stranger] = &server.heads()[..] else { panic!("two requests") };
    assert_eq!(header(trusted, "x-forwarded-for").as_deref(), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(header(trusted, "x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(header(trusted, "x-real-ip").as_deref(), Some("192.0.2.1"));
    assert_eq!(header(stranger, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(header(stranger, "x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(header(stranger, "x-real-ip"), None);
    assert_eq!(header(trusted, "proxy").or(header(stranger, "proxy")), None);
}

#[tokio::test]
async fn hub_cookies_do_not_reach_servers_and_servers_cannot_set_them() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1; Path=/user/a/\r\n\
        Set-Cookie: hub-login=x; Path=/user/a/\r\nSet-Cookie: __Host-hubd-ticket=x; Path=/\r\nSet-Cookie: b=1; Path=/hub/\r\n\
        Service-Worker-Allowed: /\r\nClear-Site-Data: \"*\"\r\nStrict-Transport-Security: max-age=1\r\n\r\n";
    let (proxy, server) = (start().await, Canned::start(answer).await);
    proxy.route("/user/a/", server.address);
    let cookies =
        "Cookie: a=1; hub-login=secret; __Host-hubd-ticket=secret\r\nCookie: hubd-ticket=secret\r\n";
    let answer = proxy.get("/user/a/x", cookies).await;
    let head = server.heads().pop().unwrap();
    assert_eq!(header(&head, "cookie").as_deref(), Some("a=1"));
    assert!(!head.contains("secret"), "{head}");
    assert_eq!(header(&answer, "set-cookie").as_deref(), Some("a=1; Path=/user/a/"));
    assert_eq!(answer.to_lowercase().matches("set-cookie").count(), 1, "{answer}");
    for name in ["service-worker-allowed", "clear-site-data", "strict-transport-security"] {
        assert_eq!(header(&answer, name), None);
    }
}

#[tokio::test]
async fn connections_to_a_server_are_used_again() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    for _ in 0..5 {
        assert!(proxy.get("/user/a/", "").await.ends_with("hi"));
    }
    assert_eq!((server.heads().len(), server.connections()), (5, 1));
    assert!(proxy.routes.last_activity("/user/a/").is_some());
}

#[tokio::test]
async fn a_server_that_closes_waiting_connections_is_asked_again() {
    let (proxy, server) = (start().await, Canned::limited(OK, 1).await);
    proxy.route("/user/a/", server.address);
    for _ in 0..20 {
        assert!(proxy.get("/user/a/", "").await.ends_with("hi"));
    }
    assert_eq!(server.heads().len(), 20);
}

#[tokio::test]
async fn answers_that_count_as_activity_are_those_below_300() {
    let server = Canned::start("HTTP/1.1 302 Found\r\nLocation: /hub/\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = start().await;
    proxy.route("/user/a/", server.address);
    assert!(proxy.get("/user/a/", "").await.starts_with("HTTP/1.1 302"));
    assert_eq!(proxy.routes.last_activity("/user/a/"), None);
    let post = "POST /user/a/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    assert!(proxy.talk(post).await.starts_with("HTTP/1.1 302"));
    assert!(proxy.routes.last_activity("/user/a/").is_some());
}

#[tokio::test]
async fn head_and_not_modified_keep_their_lengths_without_a_body() {
    let proxy = start().await;
    let server = Canned::start("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    proxy.route("/user/a/", server.address);
    for _ in 0..2 {
        let answer = proxy.talk("HEAD /user/a/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await;
        assert_eq!(header(&answer, "content-length").as_deref(), Some("1000"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(server.connections(), 1);
    let server = Canned::start("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n").await;
    proxy.route("/user/b/", server.address);
    let answer = proxy.get("/user/b/", "If-None-Match: \"x\"\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 304") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(header(&answer, "etag").as_deref(), Some("\"x\""));
}

#[tokio::test]
async fn parts_of_files_are_asked_for_and_given_as_they_are() {
    let told = "Content-Range: bytes 2-3/10\r\nAccept-Ranges: bytes\r\nETag: \"x\"\r\n";
    let part = format!("HTTP/1.1 206 Partial Content\r\n{told}Content-Length: 2\r\n\r\ncd");
    let (proxy, server) = (start().await, Canned::start(part).await);
    proxy.route("/user/a/", server.address);
    let answer = proxy.get("/user/a/file", "Range: bytes=2-3\r\nIf-Range: \"x\"\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 206") && answer.ends_with("\r\n\r\ncd"), "{answer}");
    for (name, value) in [("content-range", "bytes 2-3/10"), ("accept-ranges", "bytes"), ("etag", "\"x\"")] {
        assert_eq!(header(&answer, name).as_deref(), Some(value), "{answer}");
    }
    let head = server.heads().pop().unwrap();
    assert_eq!(header(&head, "range").as_deref(), Some("bytes=2-3"));
    assert_eq!(header(&head, "if-range").as_deref(), Some("\"x\""));
}

#[tokio::test]
async fn informational_answers_of_a_server_are_not_the_answer() {
    let server = Canned::start(format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}")).await;
    let proxy = start().await;
    proxy.route("/user/a/", server.address);
    let answer = proxy.get("/user/a/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
}

#[tokio::test]
async fn app_explains_a_server_that_does_not_listen() {
    let proxy = start().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    proxy.route("/user/a/", nobody);
    let answer = proxy.get("/user/a/x?y", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("failed /user/a/ Refused /user/a/x?y true"), "{answer}");
    let target = Target { endpoint: Endpoint::Unix("/nonexistent/s".into()), uid: None };
    proxy.routes.add("/user/b/", target);
    assert!(proxy.get("/user/b/", "").await.contains("failed /user/b/ Refused"));
}

#[tokio::test]
async fn app_explains_a_server_that_does_not_speak_http() {
    let proxy = start().await;
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 two hundred\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let server = Canned::limited(garbage, 1).await;
        proxy.route("/user/a/", server.address);
        let answer = proxy.get("/user/a/", "").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("BrokenAnswer"), "{answer}");
    }
    let silent = Canned::limited("", 1).await;
    proxy.route("/user/a/", silent.address);
    assert!(proxy.get("/user/a/", "").await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn a_removed_route_leads_to_the_app_and_closes_its_connections() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    proxy.get("/user/a/", "").await;
    assert!(proxy.routes.remove("/user/a/"));
    assert!(proxy.get("/user/a/", "").await.contains("app GET /user/a/"));
    proxy.route("/user/a/", server.address);
    proxy.get("/user/a/", "").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn probe_says_whether_a_server_is_ready() {
    let server = Canned::start(OK).await;
    let target = |address| Target { endpoint: Endpoint::Tcp(address), uid: None };
    let head = probe(&target(server.address), "/user/a/api", LIMIT).await.unwrap();
    assert_eq!(head.status, StatusCode::OK);
    assert!(server.heads()[0].starts_with("GET /user/a/api HTTP/1.1\r\n"));
    let missing = Target { endpoint: Endpoint::Unix("/nonexistent/s".into()), uid: None };
    assert_eq!(probe(&missing, "/", LIMIT).await.unwrap_err(), BackendFailure::Refused);
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waiting = std::time::Duration::from_millis(50);
    let result = probe(&target(mute.local_addr().unwrap()), "/", waiting).await;
    assert_eq!(result.unwrap_err(), BackendFailure::Timeout);
}
