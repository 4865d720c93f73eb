//! A proxy to test, servers behind it, and clients that say exactly what a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{
    App, BackendFailure, BoxBody, BoxFuture, Client, Endpoint, Listener, Proxy, ProxySettings, Routes,
    Target, Tls,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No answer in this test takes so long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// An app that says what it was asked.
pub struct Echo;

impl App for Echo {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(async move {
            let client =
                request.extensions().get::<Arc<Client>>().cloned().expect("the proxy tells who asks");
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await else {
                return reply(StatusCode::BAD_REQUEST, "broken".into());
            };
            let mut text = format!(
                "app {} {} https={} host={} address={} body={}\n",
                head.method,
                head.uri,
                client.https,
                client.host,
                client.address,
                body.to_bytes().len()
            );
            for (name, value) in &head.headers {
                text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
            }
            reply(StatusCode::OK, text)
        })
    }

    fn backend_failed(
        &self,
        head: &http::request::Parts,
        route: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        let status = match failure {
            BackendFailure::Refused | BackendFailure::WrongPeer => StatusCode::SERVICE_UNAVAILABLE,
            BackendFailure::Timeout => StatusCode::GATEWAY_TIMEOUT,
            BackendFailure::BrokenAnswer => StatusCode::BAD_GATEWAY,
        };
        let client = head.extensions.get::<Arc<Client>>().is_some();
        reply(status, format!("failed {route} {failure:?} {} {client}\n", head.uri))
    }
}

fn reply(status: StatusCode, text: String) -> Response<BoxBody> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("a valid answer")
}

/// A running proxy.
pub struct Running {
    pub address: SocketAddr,
    pub routes: Arc<Routes>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

pub fn settings() -> ProxySettings {
    ProxySettings { hub_cookies: vec!["hub-login".into(), "hubd-ticket".into()], ..ProxySettings::default() }
}

pub async fn start() -> Running {
    start_with(settings(), None).await
}

/// With a limit for requests in progress at the end.
pub async fn start_draining(drain: Duration) -> Running {
    run(settings(), None, drain).await
}

pub async fn start_with(settings: ProxySettings, tls: Option<Arc<Tls>>) -> Running {
    run(settings, tls, LIMIT).await
}

async fn run(settings: ProxySettings, tls: Option<Arc<Tls>>, drain: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let routes = Arc::new(Routes::default());
    let proxy = Proxy::new(settings, routes.clone(), Arc::new(Echo));
    let stop = CancellationToken::new();
    let task = tokio::spawn(hubd_proxy::serve(Listener::Tcp(listener), tls, proxy, stop.clone(), drain));
    Running { address, routes, stop, task }
}

impl Running {
    /// Routes a prefix to an address.
    pub fn route(&self, prefix: &str, address: SocketAddr) {
        self.routes.add(prefix, Target { endpoint: Endpoint::Tcp(address), uid: None });
    }

    /// Sends bytes on a new connection and reads until the proxy closes it.
    pub async fn talk(&self, bytes: impl AsRef<[u8]>) -> String {
        talk(self.address, bytes).await
    }

    /// A GET that ends its connection.
    pub async fn get(&self, path: &str, headers: &str) -> String {
        self.talk(format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n{headers}\r\n")).await
    }
}

pub async fn talk(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the proxy listens");
    // The proxy may answer and close before it has read everything.
    let _ = stream.write_all(bytes.as_ref()).await;
    read_all(&mut stream).await
}

pub async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(read.is_ok(), "the connection stayed open after: {text}");
    text
}

/// Everything up to and with an empty line. Empty at the end of the stream.
pub async fn read_head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = tokio::time::timeout(LIMIT, stream.read_line(&mut head)).await.expect("a head in time");
        if !matches!(read, Ok(1..)) {
            break;
        }
    }
    head
}

/// A server that answers each request of each connection with the same bytes.
pub struct Canned {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Canned {
    pub async fn start(answer: impl Into<Vec<u8>>) -> Self {
        Self::limited(answer, usize::MAX).await
    }

    /// Closes each connection after so many answers.
    pub async fn limited(answer: impl Into<Vec<u8>>, answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (heads, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (seen, counted, answer) = (heads.clone(), connections.clone(), answer.into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    for _ in 0..answers {
                        let head = read_head(&mut stream).await;
                        if head.is_empty() {
                            return;
                        }
                        let length = header(&head, "content-length").and_then(|text| text.parse().ok());
                        let mut body = vec![0; length.unwrap_or(0)];
                        if stream.read_exact(&mut body).await.is_err() {
                            return;
                        }
                        seen.lock().unwrap().push(head);
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heads, connections }
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// The value of a header in the text of a head.
pub fn header(head: &str, name: &str) -> Option<String> {
    let is = |line: &&str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
    Some(head.lines().skip(1).find(is)?.split_once(':')?.1.trim().to_owned())
}

/// Waits for something that will come true.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "never: {what}");
}
