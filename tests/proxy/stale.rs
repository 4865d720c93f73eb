//! Servers that close a waiting connection at a nasty moment: a request that cannot have done anything goes to the
//! server again, every other one is answered with 502, and none is done twice (RFC 9110 section 9.2.2).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::http2;
use crate::support::{Running, eventually, header, read_head, start};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// What a server does with the second request of a connection, or instead of waiting for it.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    /// Closes after its first answer.
    Idle,
    /// Ends its own side after its first answer, and waits for the proxy to end the other one.
    HalfIdle,
    /// Closes when it has the request.
    Asked,
    /// Closes within its answer.
    Answering,
}

/// A server of one moment, the requests that it got, and a word for each connection that has ended.
struct Moody {
    requests: Arc<Mutex<Vec<String>>>,
    ended: mpsc::UnboundedReceiver<()>,
}

impl Moody {
    async fn start(proxy: &Running, moment: Moment) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        proxy.route("/user/a/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::unbounded_channel();
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, end) = (seen.clone(), end.clone());
                tokio::spawn(async move {
                    serve(stream, moment, &seen).await;
                    let _ = end.send(());
                });
            }
        });
        Self { requests, ended }
    }

    /// The methods of all requests so far.
    fn methods(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|head| head.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    async fn connection_ended(&mut self) {
        tokio::time::timeout(crate::support::LIMIT, self.ended.recv()).await.unwrap().unwrap();
    }
}

async fn serve(stream: TcpStream, moment: Moment, seen: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    for number in 0.. {
        let head = read_head(&mut stream).await;
        if head.is_empty() {
            return;
        }
        let length = header(&head, "content-length").and_then(|text| text.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await.unwrap();
        seen.lock().unwrap().push(head);
        match (number, moment) {
            (1, Moment::Asked) => return,
            (1, Moment::Answering) => {
                let _ = stream.write_all(b"HTTP/1.1 2").await;
                return;
            }
            _ => stream.write_all(OK).await.unwrap(),
        }
        match moment {
            Moment::Idle => return,
            Moment::HalfIdle => {
                stream.shutdown().await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
                return;
            }
            Moment::Asked | Moment::Answering => {}
        }
    }
}

/// A request with or without a body.
fn request(method: &str) -> String {
    let body =
        if matches!(method, "POST" | "PUT" | "PATCH") { "Content-Length: 3\r\n\r\nabc" } else { "\r\n" };
    format!("{method} /user/a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{body}")
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_not_used() {
    let proxy = start().await;
    let mut server = Moody::start(&proxy, Moment::Idle).await;
    // Often enough to meet the moment at which the kernel knows and the runtime does not yet.
    for round in 0..300 {
        let method = ["POST", "PATCH", "PUT", "GET"][round % 4];
        let answer = proxy.talk(request(method)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{round} {method} {answer}");
        server.connection_ended().await;
    }
    assert_eq!(server.methods().len(), 300, "none was sent twice");
}

#[tokio::test]
async fn what_a_server_may_have_done_is_not_sent_again() {
    for (method, status, sent) in [
        ("POST", "502", vec!["POST"]),
        ("PATCH", "502", vec!["PATCH"]),
        // The body is gone.
        ("PUT", "502", vec!["PUT"]),
        ("GET", "200", vec!["GET", "GET"]),
        ("DELETE", "200", vec!["DELETE", "DELETE"]),
        ("HEAD", "200", vec!["HEAD", "HEAD"]),
    ] {
        let proxy = start().await;
        let server = Moody::start(&proxy, Moment::Asked).await;
        assert!(proxy.talk(request("GET")).await.starts_with("HTTP/1.1 200"));
        let answer = proxy.talk(request(method)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {answer}");
        assert_eq!(server.methods()[1..], sent, "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_the_answer() {
    for method in ["GET", "POST"] {
        let proxy = start().await;
        let server = Moody::start(&proxy, Moment::Answering).await;
        assert!(proxy.talk(request("GET")).await.starts_with("HTTP/1.1 200"));
        let answer = proxy.talk(request(method)).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{method} {answer}");
        assert_eq!(server.methods(), ["GET", method]);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start().await;
    proxy.route("/user/a/", listener.local_addr().unwrap());
    let closing = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await {
            count += 1;
        }
        count
    });
    assert!(proxy.talk(request("GET")).await.starts_with("HTTP/1.1 502"));
    assert_eq!(closing.await.unwrap(), 1, "it was asked once");
}

#[tokio::test]
async fn a_waiting_connection_goes_as_soon_as_its_server_has_closed() {
    let proxy = start().await;
    let mut server = Moody::start(&proxy, Moment::HalfIdle).await;
    // The first one starts the task that looks after them, the second one finds it at work.
    for _ in 0..2 {
        assert!(proxy.talk(request("GET")).await.starts_with("HTTP/1.1 200"));
        let ended = tokio::time::timeout(Duration::from_secs(2), server.connection_ended()).await;
        assert!(ended.is_ok(), "the proxy keeps what its server has closed");
    }
    proxy.routes.remove("/user/a/");
    eventually("the routes are gone", || proxy.routes.prefixes().is_empty()).await;
}

#[tokio::test]
async fn the_same_holds_over_http2() {
    let (proxy, files) = http2::start().await;
    let ask = |method: &str| {
        let (body, length) = if method == "GET" { ("", 0) } else { ("abc", 3) };
        let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
        let request = request.uri("https://hub/user/a/").header("content-length", length);
        request.body(Full::from(body)).unwrap()
    };
    let mut browser = http2::browser(&proxy, &files).await;
    let mut server = Moody::start(&proxy, Moment::Idle).await;
    for round in 0..100 {
        let method = ["POST", "GET"][round % 2];
        let (head, _) = http2::send_body(&mut browser, ask(method)).await;
        assert_eq!(head.status(), 200, "{round} {method}");
        server.connection_ended().await;
    }
    for (method, status, sent) in [("POST", 502, vec!["POST"]), ("GET", 200, vec!["GET", "GET"])] {
        let server = Moody::start(&proxy, Moment::Asked).await;
        assert_eq!(http2::send_body(&mut browser, ask("GET")).await.0.status(), 200);
        assert_eq!(http2::send_body(&mut browser, ask(method)).await.0.status(), status, "{method}");
        assert_eq!(server.methods()[1..], sent, "{method}");
    }
}
