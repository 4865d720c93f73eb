//! Accepting connections, and ending them in good order.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::HEAD_BYTES_MAX;
use crate::head::{Peer, is_host};
use crate::limits::{Gate, HEADERS, Pass, Spare, is_shortage_of_descriptors, refuse};
use crate::tls::HTTP2;
use crate::wire::{Watch, Wire};
use crate::{Proxy, Tls, h2, proxy_protocol};

/// Longer than any honest handshake, also over a bad line.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// When descriptors or memory are short, waiting lets connections end; trying at once would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS connection (RFC 8446 section 5.1: a record of type handshake).
const TLS_HANDSHAKE: u8 = 0x16;

/// A bound socket to serve on.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, for a front proxy.
    Unix(UnixListener),
}

/// What the tasks of one [`serve`] share.
pub(crate) struct Service {
    pub(crate) proxy: Arc<Proxy>,
    /// Open WebSockets, and streams of HTTP/2.
    pub(crate) tunnels: TaskTracker,
    /// No request begins any more.
    pub(crate) stop: CancellationToken,
    /// Everything ends.
    pub(crate) end: CancellationToken,
}

enum Socket {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

/// Serves connections until `stop` is cancelled, then lets requests in progress finish for `drain`.
/// Open WebSockets are closed at the end of it.
pub async fn serve(
    listener: Listener,
    tls: Option<Arc<Tls>>,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
    drain: Duration,
) {
    let connections = TaskTracker::new();
    let end = CancellationToken::new();
    let service =
        Arc::new(Service { proxy, tunnels: TaskTracker::new(), stop: stop.clone(), end: end.clone() });
    let gate = Gate::new(&service.proxy.settings.limits);
    let mut door = Door::new(listener, tls.is_none());
    loop {
        let socket = tokio::select! {
            socket = door.next() => socket,
            () = stop.cancelled() => break,
        };
        let (service, tls, end, pass) = (service.clone(), tls.clone(), end.clone(), gate.enter());
        connections.spawn(async move {
            tokio::select! {
                () = connection(service, socket, tls, pass) => {}
                () = end.cancelled() => {}
            }
        });
    }
    drop(door);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::info!("requests cut off at the end of the drain time: {}", connections.len());
    }
    end.cancel();
    service.tunnels.close();
    connections.wait().await;
    service.tunnels.wait().await;
}

/// Where connections come in.
struct Door {
    listener: Listener,
    spare: Spare,
    /// Whoever is refused is told so in HTTP; there is no time for TLS then.
    plain: bool,
    short: bool,
}

impl Door {
    fn new(listener: Listener, plain: bool) -> Self {
        Self { listener, spare: Spare::new(), plain, short: false }
    }

    /// The next connection. Errors are those of one connection, or a shortage that passes.
    async fn next(&mut self) -> Socket {
        loop {
            match accept(&self.listener).await {
                Ok(socket) => {
                    self.short = false;
                    return socket;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !self.short {
                        tracing::error!("cannot take connections for now: {error}");
                    }
                    self.short = true;
                    if !is_shortage_of_descriptors(&error) || !self.refuse_one().await {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Takes a connection with the spare descriptor and refuses it; false if that could not be done.
    async fn refuse_one(&mut self) -> bool {
        if !self.spare.give() {
            self.spare = Spare::new();
            return false;
        }
        let waiting = accept(&self.listener).await;
        let taken = waiting.is_ok();
        match waiting {
            Ok(Socket::Tcp(stream, _)) if self.plain => refuse(stream).await,
            Ok(Socket::Unix(stream)) if self.plain => refuse(stream).await,
            _ => {}
        }
        self.spare = Spare::new();
        taken
    }
}

async fn accept(listener: &Listener) -> io::Result<Socket> {
    match listener {
        Listener::Tcp(listener) => {
            listener.accept().await.map(|(stream, address)| Socket::Tcp(stream, address.ip()))
        }
        Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Socket::Unix(stream)),
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn connection(service: Arc<Service>, socket: Socket, tls: Option<Arc<Tls>>, pass: Option<Pass>) {
    match socket {
        Socket::Unix(mut stream) => {
            let Some(peer) = introduced(&service, &mut stream, None, tls.is_some()).await else { return };
            let Some(watch) = admitted(&service, pass, peer) else { return refused(stream, &tls).await };
            match tls {
                Some(tls) => speak_tls(service, stream, &tls, peer, watch).await,
                None => speak(service, stream, peer, watch).await,
            }
        }
        Socket::Tcp(mut stream, address) => {
            // Without it small answers wait for the acknowledgement of those before.
            if stream.set_nodelay(true).is_err() {
                return;
            }
            let peer = introduced(&service, &mut stream, Some(address), tls.is_some()).await;
            let Some(peer) = peer else { return };
            let Some(watch) = admitted(&service, pass, peer) else { return refused(stream, &tls).await };
            let Some(tls) = tls else { return speak(service, stream, peer, watch).await };
            match tokio::time::timeout(HANDSHAKE_TIME, speaks_tls(&stream)).await {
                Ok(Ok(true)) => speak_tls(service, stream, &tls, peer, watch).await,
                Ok(Ok(false)) => say_https(stream).await,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

/// What is known of a connection from now on; None if there are too many.
fn admitted(service: &Service, pass: Option<Pass>, peer: Peer) -> Option<Arc<Watch>> {
    let pass = pass.and_then(|pass| pass.of(peer));
    if pass.is_none() {
        tracing::debug!("too many connections, one refused: {:?}", peer.address);
    }
    pass.map(|pass| Watch::new(service.proxy.settings.limits.minimum_rate, Some(pass)))
}

/// There is no time for a TLS handshake with somebody who has no place.
async fn refused<S: AsyncRead + AsyncWrite + Unpin>(stream: S, tls: &Option<Arc<Tls>>) {
    if tls.is_none() {
        refuse(stream).await;
    }
}

/// Who is at the other end, by the kernel's word or by that of the front proxy that opened the connection.
/// None if the front proxy says nothing, or is none.
async fn introduced<S: AsyncRead + Unpin>(
    service: &Service,
    stream: &mut S,
    address: Option<IpAddr>,
    https: bool,
) -> Option<Peer> {
    let settings = &service.proxy.settings;
    let near = Peer::new(address, https, settings);
    if !settings.proxy_protocol {
        return Some(near);
    }
    if !near.trusted {
        tracing::debug!("connection refused, trusted_proxies does not name {address:?}");
        return None;
    }
    match tokio::time::timeout(HANDSHAKE_TIME, proxy_protocol::read(stream)).await {
        Ok(Ok(Some(far))) => Some(Peer::new(Some(far), https, settings)),
        Ok(Ok(None)) => Some(near),
        Ok(Err(error)) => {
            tracing::warn!("connection of {address:?} refused: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn speak_tls<S>(service: Arc<Service>, stream: S, tls: &Tls, peer: Peer, watch: Arc<Watch>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(stream) = handshake(stream, tls).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        h2::speak(service, stream, peer, watch).await;
    } else {
        speak(service, stream, peer, watch).await;
    }
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: &Tls,
) -> Option<tokio_rustls::server::TlsStream<S>> {
    match tokio::time::timeout(HANDSHAKE_TIME, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!("no TLS connection: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [TLS_HANDSHAKE];
    stream.peek(&mut first).await?;
    // Everything that is not a letter is left to rustls, which answers with an alert.
    Ok(!first.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Tells somebody who speaks plain HTTP to the TLS port what to do.
async fn say_https(mut stream: TcpStream) {
    let mut buffer = vec![0; HEAD_BYTES_MAX];
    let talk = async {
        let length = stream.peek(&mut buffer).await?;
        let host = buffer.get(..length).and_then(host_of).unwrap_or_default();
        let text = format!("This port speaks HTTPS: open https://{host}\n");
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What was sent is read, or the kernel resets the connection and the answer is lost.
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not take the answer does not need it.
    let _ = tokio::time::timeout(HANDSHAKE_TIME, talk).await;
}

/// The host that a plain request names, as far as it has come.
fn host_of(head: &[u8]) -> Option<&str> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let host = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        name.eq_ignore_ascii_case(b"host:").then_some(value)
    })?;
    std::str::from_utf8(host.trim_ascii()).ok().filter(|host| is_host(host))
}

/// HTTP/1.1 on one connection.
async fn speak<S>(service: Arc<Service>, stream: S, peer: Peer, watch: Arc<Watch>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Arc::new(AtomicBool::new(false));
    let stop = service.stop.clone();
    let limits = &service.proxy.settings.limits;
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes);
    // Setting it costs an allocation for each request.
    if limits.headers != HEADERS {
        settings.max_headers(limits.headers);
    }
    let stream = TokioIo::new(Wire::new(stream, watch.clone()));
    let answer = {
        let begun = begun.clone();
        service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            let (service, watch) = (service.clone(), watch.clone());
            async move { Ok::<_, Infallible>(service.answer(peer, watch, request).await) }
        })
    };
    let mut connection = pin!(settings.serve_connection(stream, answer).with_upgrades());
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            // A browser opens connections before it needs them: nothing is lost with those.
            if !begun.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{App, BackendFailure, BoxBody, BoxFuture, ProxySettings, Routes};
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    /// Reads a body and says what came of it, or sends a long answer to a request without one.
    struct Reader;

    impl App for Reader {
        fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
            Box::pin(async move {
                let text = match request.into_body().collect().await.map(http_body_util::Collected::to_bytes)
                {
                    Ok(body) if body.is_empty() => "x".repeat(10_000_000),
                    Ok(_) => "complete".to_owned(),
                    Err(error) => error.to_string(),
                };
                Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
            })
        }

        fn backend_failed(&self, _: &http::request::Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
            unreachable!("nothing is routed")
        }
    }

    /// A browser that has said something, and the task that serves it.
    async fn browser(says: &str) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let proxy = Proxy::new(ProxySettings::default(), Arc::new(Routes::default()), Arc::new(Reader));
        let peer = Peer::new(None, false, &proxy.settings);
        let (tunnels, stop) = (TaskTracker::new(), CancellationToken::new());
        let service = Arc::new(Service { proxy, tunnels, end: stop.clone(), stop });
        let (mut browser, stream) = tokio::io::duplex(10_000);
        browser.write_all(says.as_bytes()).await.unwrap();
        (browser, tokio::spawn(speak(service, stream, peer, Watch::new(100, None))))
    }

    #[test]
    fn the_host_of_a_plain_request_is_found_and_checked() {
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nA: b\r\nHOST: hub:80\r\n\r\n"), Some("hub:80"));
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nHost: <b>\r\n\r\n"), None);
        assert_eq!(host_of(b"GET / HTTP/1.1\r\nA"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let start = Instant::now();
        let (mut browser, _task) =
            browser("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("the request's body comes too slowly"), "{answer}");
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_browser_that_does_not_read_is_given_up() {
        let start = Instant::now();
        let (_browser, task) = browser("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        task.await.unwrap();
        // 10 s, and what the first 10 kB have earned, but no more than a minute.
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waits_between_requests_ends_after_the_head_time() {
        let (mut browser, _task) =
            browser("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfull").await;
        let start = Instant::now();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("complete"), "{answer}");
        assert_eq!(start.elapsed(), crate::Limits::default().header_timeout);
    }
}
