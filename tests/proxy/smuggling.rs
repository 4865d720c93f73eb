//! Requests that two programs may understand differently are refused, and nothing of them is forwarded.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Canned, read_all, start};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Sends each request on its own; each must be answered with the status, and none may reach the server.
async fn refused(status: u16, requests: &[&str]) {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/", server.address);
    for request in requests {
        let answer = proxy.talk(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.200?} got {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request:?} got {answer:?}");
    }
    assert_eq!(server.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn hosts_must_be_clear() {
    refused(
        400,
        &[
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    )
    .await;
}

#[tokio::test]
async fn framing_must_be_clear() {
    refused(
        400,
        &[
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
        ],
    )
    .await;
    refused(501, &["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"]).await;
}

#[tokio::test]
async fn methods_and_versions_must_be_known() {
    let trace = "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n";
    refused(405, &[trace, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"]).await;
    refused(
        400,
        &["GET /\r\n\r\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "G T / HTTP/1.1\r\nHost: a\r\n\r\n"],
    )
    .await;
}

#[tokio::test]
async fn paths_must_be_clear() {
    let paths = [
        "/user/a/../b/",
        "/user/a/%2e%2e/b/",
        "/user/a/%2E./b",
        "/user/a/..%2fb",
        "/./",
        "/a\\b",
        "/a%00",
        "/a%0d%0aX:y",
        "/%zz",
        "/a%",
        "*",
        "/a#b",
        "a",
    ];
    let requests: Vec<String> = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        .collect();
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    refused(400, &requests).await;
}

#[tokio::test]
async fn absolute_form_goes_to_the_server_in_origin_form() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    let answer =
        proxy.talk("GET http://HUB/user/a/?x HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("hi"), "{answer}");
    assert!(server.heads()[0].starts_with("GET /user/a/?x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    refused(
        431,
        &[
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(80_000)),
            &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(80_000)),
        ],
    )
    .await;
}

#[tokio::test]
async fn requests_sent_without_waiting_are_answered_in_order() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let first = "POST /user/a/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    let second = "GET /user/a/2 HTTP/1.1\r\nHost: a\r\nCookie: c=#\r\nConnec";
    stream.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
    crate::support::eventually("the first one arrives", || server.heads().len() == 1).await;
    stream.write_all(b"tion: close\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    let heads = server.heads();
    assert!(heads[0].starts_with("POST /user/a/1 ") && heads[1].starts_with("GET /user/a/2 "), "{heads:?}");
}
