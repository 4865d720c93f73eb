//! What a fuzzer, or a test with what fuzzers have found, does with some bytes. Everything goes through the proxy as
//! a browser, a front proxy or another program would send it; what comes out at the other end is held against what
//! may ever come out there.
//!
//! Used by `tests/fuzz/fuzz_targets` and by `tests/proxy/replay.rs`.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hubd_proxy::{
    Api, App, BackendFailure, BoxBody, BoxFuture, Endpoint, Listener, Proxy, ProxySettings, Routes, Target,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// No exchange of some thousand bytes over loopback takes so long.
const LIMIT: Duration = Duration::from_secs(2);
/// How long the proxy may need for a small answer; the machine may be busy.
const PAUSE: Duration = Duration::from_millis(if cfg!(fuzzing) { 3 } else { 50 });
/// The cookie of the hub, which no server may see.
const HUB_COOKIE: &str = "hub-login";
/// Who has a server.
const PEOPLE: [&str; 2] = ["a", "b"];

/// A proxy, servers behind it, and the runtime of all of them.
struct Stage {
    runtime: tokio::runtime::Runtime,
    /// Where everybody is a stranger.
    strangers: SocketAddr,
    /// Where everybody is a trusted front proxy.
    trusted: SocketAddr,
    /// Where everybody has to begin with a PROXY protocol header.
    introduced: SocketAddr,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

fn on_stage(act: impl AsyncFnOnce(&Stage)) {
    STAGE.with(|stage| {
        let mut stage = stage.borrow_mut();
        let stage = stage.get_or_insert_with(Stage::new);
        stage.runtime.block_on(act(stage));
    });
}

/// Anything that a stranger may send.
pub fn connection(data: &[u8]) {
    on_stage(async |stage| {
        let answer = talk(stage.strangers, data).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "not HTTP: {}", answer.escape_ascii());
    });
}

/// Headers of a trusted front proxy about those behind it.
pub fn forwarded(data: &[u8]) {
    // A line that ends early is another case.
    let lines = String::from_utf8_lossy(data).replace(['\r', '\0'], "");
    let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
    let mut request = String::from("GET /user/a/x HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n");
    for (line, name) in lines.lines().zip(names.iter().cycle()).take(20) {
        request.push_str(&format!("{name}: {line}\r\n"));
    }
    request.push_str("\r\n");
    on_stage(async |stage| {
        let answer = talk(stage.trusted, request.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    });
}

/// What stands where a PROXY protocol header has to be.
pub fn proxy_protocol(data: &[u8]) {
    on_stage(async |stage| {
        let request = b"GET /user/a/x HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
        let answer = talk(stage.introduced, &[data, request].concat()).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "not HTTP: {}", answer.escape_ascii());
    });
}

/// What passes through an agreed WebSocket, in pieces: both ends get just what the other one sent.
pub fn websocket(data: &[u8]) {
    on_stage(async |stage| {
        let mut stream = dial(stage.strangers).await;
        let ask =
            b"GET /user/a/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut stream = BufReader::new(stream);
        let head = lines_of(&mut stream).await;
        assert!(head.first().is_some_and(|line| line.starts_with("HTTP/1.1 101")), "{head:?}");
        let (mut from, mut to) = stream.into_inner().into_split();
        let piece = usize::from(data.first().copied().unwrap_or_default()) + 1;
        let sending = async {
            for piece in data.chunks(piece).take(100) {
                to.write_all(piece).await.unwrap();
            }
        };
        let sent: Vec<u8> = data.chunks(piece).take(100).collect::<Vec<_>>().concat();
        let mut back = vec![0; sent.len()];
        let both = async { tokio::join!(sending, from.read_exact(&mut back)).1 };
        tokio::time::timeout(LIMIT, both).await.expect("all bytes in time").expect("all bytes");
        assert_eq!(back, sent);
    });
}

/// A request to the REST API: method, path and body.
pub fn routes_api(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, body) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(uri) = http::Uri::try_from(format!("/api/routes/{path}")) else { return };
    on_stage(async |_| {
        let api = Api::new(Arc::default(), None);
        let (status, _) = ask(&api, "POST", &uri, body).await;
        let (found, shown) = ask(&api, "GET", &uri, "").await;
        if status != StatusCode::CREATED {
            assert!(status.is_client_error(), "{status}");
            return;
        }
        // Half of a surrogate pair passes as it was given; this program's own parser does not read it.
        if serde_json::from_str::<Value>(body).is_err() {
            return;
        }
        let list = ask(&api, "GET", &"/api/routes".parse().unwrap(), "").await.1;
        let list: Value = serde_json::from_str(&list).expect("the list is JSON");
        assert_eq!(list.as_object().map(serde_json::Map::len), Some(1));
        let asks_for_all = uri.path().trim_start_matches("/api/routes").trim_matches('/').is_empty();
        if !asks_for_all {
            assert_eq!(found, StatusCode::OK, "a route that was added is there");
            let shown: Value = serde_json::from_str(&shown).expect("what is shown is JSON");
            let given: Value = serde_json::from_str(body).expect("only JSON is taken");
            assert_eq!(shown["target"], given["target"]);
        }
        assert_eq!(ask(&api, "DELETE", &uri, "").await.0, StatusCode::NO_CONTENT);
        assert_eq!(ask(&api, "GET", &"/api/routes".parse().unwrap(), "").await.1, "{}");
    });
}

async fn ask(api: &Api, method: &str, uri: &http::Uri, body: &str) -> (StatusCode, String) {
    let body = Full::from(body.to_owned()).map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().method(method).uri(uri.clone()).body(body).unwrap();
    let (head, body) = api.call(request).await.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (head.status, String::from_utf8(body.to_vec()).expect("the API speaks UTF-8"))
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (strangers, trusted, introduced) = runtime.block_on(async {
            let routes = Arc::new(Routes::default());
            for person in PEOPLE {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
                tokio::spawn(serve(listener, person));
                routes.add(&format!("/user/{person}/"), Target { endpoint, uid: None });
            }
            let settings = ProxySettings { hub_cookies: vec![HUB_COOKIE.into()], ..ProxySettings::default() };
            let network = vec!["127.0.0.1".parse().unwrap()];
            let trusted = ProxySettings { trusted_proxies: network, ..settings.clone() };
            let introduced = ProxySettings { proxy_protocol: true, ..trusted.clone() };
            (
                open(settings, routes.clone()).await,
                open(trusted, routes.clone()).await,
                open(introduced, routes).await,
            )
        });
        Self { runtime, strangers, trusted, introduced }
    }
}

async fn open(settings: ProxySettings, routes: Arc<Routes>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::new(settings, routes, Arc::new(Nobody));
    tokio::spawn(hubd_proxy::serve(
        Listener::Tcp(listener),
        None,
        proxy,
        CancellationToken::new(),
        Duration::ZERO,
    ));
    address
}

async fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    // Millions of connections would use up the ports if each one lingered.
    stream.set_zero_linger().unwrap();
    stream
}

/// Sends bytes and reads what comes back. When nothing comes any more the sending side ends: whoever ends it earlier
/// has gone, and gets no answer.
async fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = dial(address).await.into_split();
    let mut answer = Vec::new();
    let sending = async {
        // The proxy may answer and close before it has read everything.
        let _ = to.write_all(bytes).await;
        to
    };
    let reading =
        async { while let Ok(Ok(1..)) = tokio::time::timeout(PAUSE, from.read_buf(&mut answer)).await {} };
    let both = async { tokio::join!(sending, reading).0 };
    if let Ok(mut to) = tokio::time::timeout(LIMIT, both).await {
        let _ = to.shutdown().await;
        // What waits for more that never comes is given up by the proxy later.
        let _ = tokio::time::timeout(LIMIT, from.read_to_end(&mut answer)).await;
    }
    answer
}

/// An app that answers what no route takes, after reading it.
struct Nobody;

impl App for Nobody {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(async {
            let path = request.uri().path().to_owned();
            assert!(!PEOPLE.iter().any(|person| is_below(&path, person)), "a server's path was not routed");
            let body = request.into_body().collect().await;
            empty(if body.is_ok() { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST })
        })
    }

    fn backend_failed(
        &self,
        _: &http::request::Parts,
        _: &str,
        failure: BackendFailure,
    ) -> Response<BoxBody> {
        assert!(!matches!(failure, BackendFailure::WrongPeer), "nobody was to be checked");
        empty(StatusCode::BAD_GATEWAY)
    }
}

fn empty(status: StatusCode) -> Response<BoxBody> {
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("a valid answer")
}

/// A server that reads as strictly as can be: whatever it does not understand stops the run.
async fn serve(listener: TcpListener, person: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while one(&mut stream, person).await.is_some() {}
        });
    }
}

/// One request and its answer; None at the end of the connection.
async fn one(stream: &mut BufReader<TcpStream>, person: &str) -> Option<()> {
    let head = lines_of(stream).await;
    let (first, headers) = head.split_first()?;
    check_request_line(first, person);
    let values = |wanted: &str| {
        let fields =
            headers.iter().map(|line| field(line)).filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        fields.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values("host").len(), 1, "one host: {head:?}");
    let cookies = values("cookie").join(";");
    let is_hubs =
        |pair: &str| pair.split('=').next().is_some_and(|name| name.trim_matches([' ', '\t']) == HUB_COOKIE);
    assert!(!cookies.split(';').any(is_hubs), "the hub's cookie: {head:?}");
    for name in ["te", "keep-alive", "proxy-connection", "proxy-authorization", "expect-ct"] {
        assert!(values(name).is_empty(), "{name} is for one hop: {head:?}");
    }
    for proto in values("x-forwarded-proto") {
        assert!(["http", "https"].contains(&proto.as_str()), "{head:?}");
    }
    if !values("upgrade").is_empty() {
        let agree = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(agree.as_bytes()).await.ok()?;
        return echo(stream).await;
    }
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "one framing: {head:?}");
    if let Some(length) = lengths.first() {
        let length: u64 = length.parse().expect("a plain number");
        let read = tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await.ok()?;
        (read == length).then_some(())?;
    }
    if let Some(coding) = codings.first() {
        assert_eq!(coding, "chunked");
        chunks(stream).await?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok()
}

/// Only the person's own paths may come here, whoever decodes them and however often.
fn check_request_line(line: &str, person: &str) {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { panic!("no request line: {line:?}") };
    assert!(!method.is_empty() && method.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?}");
    assert!(!["CONNECT", "TRACE"].contains(&method), "{line:?}");
    assert!(target.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{line:?}");
    let path = target.split('?').next().unwrap_or_default();
    assert!(is_below(path, person), "another one's path: {line:?}");
    let decoded = decode(path);
    assert!(!decoded.split('/').any(|segment| [".", ".."].contains(&segment)), "dot segments: {line:?}");
}

/// Whether a path is one of a person's server: by whole segments of the raw path, each decoded once.
fn is_below(path: &str, person: &str) -> bool {
    let mut segments = path.split('/');
    segments.next() == Some("")
        && segments.next().is_some_and(|segment| decode(segment) == "user")
        && segments.next().is_some_and(|segment| decode(segment) == person)
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        plain.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// A header's name and its value.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(token), "no name: {line:?}");
    let value = value.trim_matches([' ', '\t']);
    assert!(!value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f), "{line:?}");
    (name, value)
}

/// The lines of a head, which all end with CR LF. None of them at the end of the connection.
async fn lines_of(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if !matches!(stream.read_until(b'\n', &mut line).await, Ok(1..)) || !line.ends_with(b"\n") {
            return Vec::new();
        }
        let line = line.strip_suffix(b"\r\n").expect("each line ends with CR LF");
        if line.is_empty() {
            return lines;
        }
        // Bytes above ASCII are allowed in values; what they mean does not matter here.
        lines.push(line.iter().map(|byte| char::from(*byte)).collect());
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let size = line.strip_suffix("\r\n")?;
        let size = u64::from_str_radix(size, 16).expect("the size of a chunk, without extensions");
        if size == 0 {
            lines_of(stream).await.iter().for_each(|line| {
                field(line);
            });
            return Some(());
        }
        let read = tokio::io::copy(&mut (&mut *stream).take(size), &mut tokio::io::sink()).await.ok()?;
        (read == size).then_some(())?;
        let mut end = [0; 2];
        stream.read_exact(&mut end).await.ok()?;
        assert_eq!(&end, b"\r\n", "the end of a chunk");
    }
}

async fn echo(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => stream.write_all(buffer.get(..read)?).await.ok()?,
        }
    }
}
