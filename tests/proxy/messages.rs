//! Messages of HTTP/1.1, byte by byte: how they are framed, cut and ended, on both sides.

use std::time::{Duration, Instant};

use hubd_proxy::{Limits, ProxySettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Canned, LIMIT, Running, header, read_all, read_head, settings, start, start_with};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn every_request_of_a_pipeline_is_judged_like_the_first() {
    let (proxy, server) = (start().await, Canned::start(OK).await);
    proxy.route("/user/a/", server.address);
    for second in [
        "GET /user/a/2 HTTP/1.1\r\nHost: a\n\r\n",
        "GET /user/a/2#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /user/a/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /user/b/../a/2 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let first = "POST /user/a/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let third = "GET /user/a/3 HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = proxy.talk(format!("{first}{second}{third}")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hiHTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 2, "{answer}");
        let heads = server.heads();
        assert!(heads.iter().all(|head| head.starts_with("POST /user/a/1 ")), "{heads:?}");
    }
}

/// What comes of a conversation whose pieces are cut in this way, without what differs from time to time.
async fn cut(proxy: &Running, request: &str, size: usize) -> String {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in request.as_bytes().chunks(size) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let answer = read_all(&mut stream).await;
    answer.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn messages_mean_the_same_however_they_are_cut() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nghijk lmnop",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nghijk\r\n6\r\n lmnop\r\n0\r\nX-Sum: 1\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 404 Not Here\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ];
    let end = "GET /hub/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let requests = [
        format!("\r\nGET /user/a/x?y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n{end}"),
        format!("POST /user/a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /{end}"),
        "GET /user/a/ HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        let proxy = start().await;
        for request in &requests {
            let mut results = Vec::new();
            for size in [1000, 1, 3, 7, 29] {
                let server = in_pieces(answer, size).await;
                proxy.route("/user/a/", server);
                // A chunk goes on as it comes, so those of the answer are joined before they are compared.
                let result = cut(&proxy, request, size).await;
                results.push(joined(&result));
            }
            assert!(
                results.iter().all(|result| *result == results[0]),
                "{request:?} {answer:?}: {results:#?}"
            );
        }
    }
}

/// A server that reads heads and bodies of known length, and answers in pieces.
async fn in_pieces(answer: &'static str, size: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            tokio::spawn(async move {
                loop {
                    let head = read_head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    let length = header(&head, "content-length").and_then(|text| text.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    stream.read_exact(&mut body).await.unwrap();
                    for piece in answer.as_bytes().chunks(size) {
                        if stream.write_all(piece).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    });
    address
}

/// The text without the lines between chunks: all that are hexadecimal numbers, and the ends of lines.
fn joined(text: &str) -> String {
    let is_size = |line: &&str| line.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines().filter(|line| !is_size(line)).collect()
}

#[tokio::test]
async fn a_kept_connection_may_wait_longer_than_a_head_may_take() {
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        http1_idle_timeout: Duration::from_millis(900),
        ..Limits::default()
    };
    let proxy = start_with(ProxySettings { limits, ..settings() }, None).await;
    let mut stream = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    stream.write_all(b"HEAD /hub/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let start = Instant::now();
    assert_eq!(read_all(&mut stream).await, "");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // A head that has begun has the time of a head.
    let mut stream = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    stream.write_all(b"HEAD /hub/ HTTP/1.1\r\nHost: a\r\n\r\nGET").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let start = Instant::now();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn harmless_trailers_pass_both_ways_and_others_do_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let trailers =
        "0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\nSet-Cookie: hub-login=x\r\nHost: evil\r\n\r\n";
    let mut browser = TcpStream::connect(proxy.address).await.unwrap();
    let head = "PUT /user/a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    browser.write_all(format!("{head}{trailers}").as_bytes()).await.unwrap();
    let mut server = BufReader::new(listener.accept().await.unwrap().0);
    read_head(&mut server).await;
    assert_eq!(read_head(&mut server).await, "0\r\nX-Sum: 1\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    server.write_all(format!("{head}{trailers}").as_bytes()).await.unwrap();
    let answer = read_all(&mut browser).await;
    assert!(answer.ends_with("\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_that_can_be_read_in_two_ways_are_not_passed_on() {
    let proxy = start().await;
    for fields in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 2\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length : 2\r\n",
        "A: b\r\n folded\r\n",
    ] {
        let server = Canned::start(format!("HTTP/1.1 200 OK\r\n{fields}\r\nhi")).await;
        proxy.route("/user/a/", server.address);
        let answer = proxy.get("/user/a/", "").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("BrokenAnswer"), "{fields} {answer}");
    }
}

#[tokio::test]
async fn what_a_server_says_unasked_is_nobodys_answer() {
    let (proxy, extra) = (start().await, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    let server = Canned::start(format!("{OK}{extra}")).await;
    proxy.route("/user/a/", server.address);
    for _ in 0..5 {
        let answer = proxy.get("/user/a/", "").await;
        assert!(answer.ends_with("hi") && !answer.contains("evil"), "{answer}");
    }
    assert_eq!(server.connections(), 5, "none is used again");
    // Also when it comes later, while the connection waits.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.route("/user/b/", listener.local_addr().unwrap());
    for _ in 0..2 {
        let asking = proxy.get("/user/b/", "");
        let answering = async {
            let mut server = BufReader::new(listener.accept().await.unwrap().0);
            read_head(&mut server).await;
            server.write_all(OK.as_bytes()).await.unwrap();
            server
        };
        let (answer, mut server) = tokio::join!(asking, answering);
        assert!(answer.ends_with("hi"), "{answer}");
        server.write_all(extra.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_answer_arrives_although_the_request_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut server = BufReader::new(stream);
            read_head(&mut server).await;
            let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            server.write_all(answer).await.unwrap();
        }
    });
    let body = vec![b'x'; 1_000_000];
    for path in ["/user/a/", "/user/../a/"] {
        let mut browser = TcpStream::connect(proxy.address).await.unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
        browser.write_all(head.as_bytes()).await.unwrap();
        let (mut from, mut to) = browser.split();
        let (_, answer) = tokio::join!(to.write_all(&body), read_all(&mut from));
        assert!(answer.starts_with("HTTP/1.1 4"), "{path} {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the body is no request: {answer}");
    }
}

#[tokio::test]
async fn old_browsers_get_what_they_understand() {
    let proxy = start().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    proxy.route("/user/a/", Canned::start(chunked).await.address);
    let answer = proxy.talk("GET /user/a/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nabc") && !answer.contains("chunked"), "{answer}");
    let server = Canned::start(OK).await;
    proxy.route("/user/b/", server.address);
    let twice = "GET /user/b/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /user/b/ HTTP/1.0\r\n\r\n";
    let answer = proxy.talk(twice).await;
    assert_eq!(answer.matches("hi").count(), 2, "{answer}");
    assert!(answer.contains("Connection: keep-alive") && answer.contains("Connection: close"), "{answer}");
    let head = server.heads().pop().unwrap();
    assert!(head.starts_with("GET /user/b/ HTTP/1.1\r\n") && header(&head, "host").is_some(), "{head}");
}

#[tokio::test]
async fn names_and_reasons_are_passed_on_as_they_were_written() {
    let proxy = start().await;
    let server = Canned::start("HTTP/1.1 299 Very Fine\r\neTag: x\r\nContent-Length: 0\r\n\r\n").await;
    proxy.route("/user/a/", server.address);
    let answer = proxy.get("/user/a/", "X-cAsE: 1\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 299 Very Fine\r\n") && answer.contains("\r\neTag: x\r\n"),
        "{answer}"
    );
    assert!(header(&answer, "date").is_some(), "whoever passes it on says when: {answer}");
    let head = server.heads().pop().unwrap();
    assert!(head.contains("\r\nX-cAsE: 1\r\n"), "{head}");
}

#[tokio::test]
async fn a_broken_body_is_refused_and_reaches_nobody_as_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let head = "PUT /user/a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let asking = proxy.talk(format!("{head}1\r\na\r\n1\nb\r\n0\r\n\r\n"));
    let serving = async { read_all(&mut listener.accept().await.unwrap().0).await };
    let (answer, body) = tokio::join!(asking, serving);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(!body.ends_with("0\r\n\r\n"), "{body}");
    let answer =
        proxy.talk("POST /hub/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "the app sees that it is broken: {answer}");
}

#[tokio::test]
async fn the_app_invites_whoever_waits_when_it_wants_the_body() {
    let proxy = start().await;
    let mut browser = BufReader::new(TcpStream::connect(proxy.address).await.unwrap());
    let head = "POST /hub/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    browser.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut browser).await, "HTTP/1.1 100 Continue\r\n\r\n");
    browser.write_all(b"abc").await.unwrap();
    let head = tokio::time::timeout(LIMIT, read_head(&mut browser)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}
