//! Whose fault it is that there is no answer: the status, a page for people, JSON for programs, and one line in the log
//! with the cause, over HTTP/1.1 and HTTP/2.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE};
use http_body_util::{BodyExt as _, Empty};
use hubd_tests::{Web, free_port, until};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::logged_in;
use crate::trial::Trial;

/// Until a line is written.
const LOG_LIMIT: Duration = Duration::from_secs(5);
/// What browsers send.
const PEOPLE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const PROGRAMS: &str = "application/json";

/// How a server fails.
enum Manner {
    Silent,
    Closes,
    Nonsense,
}

/// A server that takes connections and fails. It lives as long as the test.
fn server(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            match manner {
                Manner::Silent => kept.push(stream),
                Manner::Closes => {}
                Manner::Nonsense => drop(stream.write_all(b"220 mail.example.org ESMTP\r\n")),
            }
        }
    });
    address
}

/// What came back: status, kind of body, body.
type Answer = (u16, String, String);

/// One request as a browser's newer protocol has it.
async fn http2(trial: &Trial, cookies: &str, path: &str, accept: &str) -> Answer {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trial.path("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(trial.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("https://localhost:{}{path}", trial.address().port()));
    let request = request.header(ACCEPT, accept).header(COOKIE, cookies).body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let kind = head.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    connection.abort();
    (head.status.as_u16(), kind, body)
}

fn http1(web: &Web, path: &str, accept: &str) -> Answer {
    let answer = web.request("GET", path, &[("Accept", accept)], b"");
    (answer.status, answer.header("content-type").unwrap_or_default().to_owned(), answer.text())
}

#[test]
fn every_failure_says_whose_fault_it_is_over_both_protocols() {
    let routes = format!(
        "\"/refused/\" = \"http://127.0.0.1:{}\", \"/silent/\" = \"http://{}\", \"/closes/\" = \"http://{}\", \
         \"/nonsense/\" = \"http://{}\"",
        free_port(),
        server(Manner::Silent),
        server(Manner::Closes),
        server(Manner::Nonsense)
    );
    let trial = Trial::start_tls(&format!("[Proxy]\nanswer_timeout = 1\nextra_routes = {{ {routes} }}\n"));
    let alice = logged_in(&trial, "alice");
    let names = ["jupyterhub-session-id", "jupyterhub-hub-login", "_xsrf"];
    let cookies = names.map(|name| format!("{name}={}", alice.cookie(name).unwrap_or_default())).join("; ");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (path, status, cause) in [
        ("/hub/nothing", 404, "404 GET /hub/nothing"),
        ("/hub/user/alice/lab", 424, "424 GET /hub/user/alice/lab"),
        ("/refused/x", 503, "no answer of /refused/: nothing listens at http://127.0.0.1:"),
        ("/silent/x", 504, "no answer of /silent/: it did not begin to answer within 1 s"),
        ("/closes/x", 502, "no answer of /closes/: it closed the connection"),
        ("/nonsense/x", 502, "no answer of /nonsense/: what it says is not HTTP"),
    ] {
        for (accept, kind) in [(PEOPLE, "text/html"), (PROGRAMS, "application/json")] {
            for newer in [false, true] {
                let logs = || std::fs::read_to_string(trial.path("hubd.log")).unwrap();
                let before = logs().lines().count();
                let (found, found_kind, body) = match newer {
                    false => http1(&alice, path, accept),
                    true => runtime.block_on(http2(&trial, &cookies, path, accept)),
                };
                let what = format!("{path} {accept} {newer}: {found} {found_kind} {body}");
                assert!(found == status && found_kind.starts_with(kind), "{what}");
                if accept == PROGRAMS {
                    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
                } else {
                    assert!(body.contains("<html") && body.contains("</html>"), "{what}");
                }
                let lines = until("the line in the log", LOG_LIMIT, || {
                    let new: Vec<_> = logs().lines().skip(before).map(str::to_owned).collect();
                    Some(new).filter(|new| new.iter().any(|line| line.contains(cause)))
                });
                let about = lines.iter().filter(|line| line.contains(path.trim_end_matches('x')));
                assert_eq!(about.count(), 1, "{what}\n{lines:#?}");
            }
        }
    }
}
