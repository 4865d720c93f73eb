//! WebSockets, and whatever else a server agrees to upgrade to: nothing passes before the server's 101, then
//! bytes are copied both ways.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::body::{self, Lease, Upload};
use crate::forward::{Routed, broken};
use crate::h2::Stream;
use crate::listen::Service;
use crate::routes::Route;
use crate::websocket::Asked;
use crate::wire::Watch;
use crate::{BackendFailure, BoxBody};

/// Bytes moved at once. One buffer a thread serves all tunnels, so that an idle one holds none.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long one direction may go on after the other has ended: a WebSocket has nothing more to say then.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(60);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// Asks the server for the upgrade. If it agrees, a task joins both ends; any other answer is passed on.
pub(crate) async fn start(
    service: &Service,
    routed: &Routed,
    asked: Asked,
) -> Result<Response<BoxBody>, BackendFailure> {
    let mut request = service.outgoing(routed, Upload::empty());
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    request.headers_mut().insert(header::UPGRADE, asked.protocol.clone());
    let upload = request.body().progress();
    let timeout = service.proxy.settings.connect_timeout;
    let mut sender = service.open(routed, timeout).await?;
    let mut response = sender.send_request(request).await.map_err(|error| broken(routed, &error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if asked.would_agree(response.status()) {
            tracing::warn!("server of {} did not change the protocol as asked", routed.route.prefix);
            return Err(BackendFailure::BrokenAnswer);
        }
        return service.relay(routed, response, Lease { sender, upload });
    }
    if !asked.is_agreed(response.headers()) {
        tracing::warn!("server of {} changed to a protocol nobody asked for", routed.route.prefix);
        return Err(BackendFailure::BrokenAnswer);
    }
    let server = hyper::upgrade::on(&mut response);
    let mut switching = Response::new(body::text(""));
    let (mut head, _) = response.into_parts();
    service.clean_answer(routed, &mut head);
    (*switching.status_mut(), *switching.headers_mut()) = asked.agreement(head.headers);
    routed.route.touch();
    let stream = routed.head.extensions.get::<Arc<Stream>>().cloned();
    let tunnel = Tunnel::new(routed.route.clone(), stream, asked.watch);
    service.tunnels.spawn(run(asked.client, server, tunnel, service.end.clone()));
    Ok(switching)
}

/// Joins the two ends, until both have closed or the proxy ends.
async fn run(
    client: OnUpgrade,
    server: OnUpgrade,
    mut tunnel: Tunnel,
    end: tokio_util::sync::CancellationToken,
) {
    let (mut client, mut server) = match (client.await, server.await) {
        (Ok(client), Ok(server)) => (TokioIo::new(client), TokioIo::new(server)),
        (client, server) => {
            let error = client.err().or(server.err());
            return tracing::debug!("no upgrade for {}: {error:?}", tunnel.route.prefix);
        }
    };
    tokio::select! {
        result = poll_fn(|cx| tunnel.poll(cx, &mut client, &mut server)) => {
            if let Err(error) = result {
                tracing::debug!("tunnel of {} broke: {error}", tunnel.route.prefix);
            }
        }
        () = end.cancelled() => {}
    }
}

struct Tunnel {
    up: Half,
    down: Half,
    route: Arc<Route>,
    /// With HTTP/2.
    stream: Option<Arc<Stream>>,
    _watch: Arc<Watch>,
    /// Runs once one half has ended.
    last: Option<Pin<Box<Sleep>>>,
}

impl Tunnel {
    fn new(route: Arc<Route>, stream: Option<Arc<Stream>>, watch: Arc<Watch>) -> Self {
        Self { up: Half::default(), down: Half::default(), route, stream, _watch: watch, last: None }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut TokioIo<Upgraded>,
        server: &mut TokioIo<Upgraded>,
    ) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, client, server, &self.route)?;
        let down = self.down.poll(cx, server, client, &self.route)?;
        if let Some(stream) = &self.stream {
            stream.note_waiting(!self.down.waiting.is_empty());
        }
        match (up, down) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => {
                let last = self.last.get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_CLOSED_TIME)));
                last.as_mut().poll(cx).map(Ok)
            }
        }
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    /// What was read and could not be written at once; nothing more is read meanwhile.
    waiting: Vec<u8>,
    written: usize,
    unflushed: bool,
    state: State,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Open,
    Closing,
    Closed,
}

impl Half {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TokioIo<Upgraded>,
        to: &mut TokioIo<Upgraded>,
        route: &Route,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.write_waiting(cx, to))?;
            match self.state {
                State::Open => match self.read_and_write(cx, from, to)? {
                    Poll::Ready(()) => route.touch(),
                    Poll::Pending => {
                        if self.unflushed && Pin::new(&mut *to).poll_flush(cx)?.is_ready() {
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn write_waiting(&mut self, cx: &mut Context<'_>, to: &mut TokioIo<Upgraded>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // The memory is given back: most tunnels are idle most of the time.
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes as much as can be written at once.
    fn read_and_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TokioIo<Upgraded>,
        to: &mut TokioIo<Upgraded>,
    ) -> io::Result<Poll<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            if Pin::new(from).poll_read(cx, &mut read)?.is_pending() {
                return Ok(Poll::Pending);
            }
            let bytes = read.filled();
            if bytes.is_empty() {
                self.state = State::Closing;
                return Ok(Poll::Ready(()));
            }
            self.unflushed = true;
            let written = match Pin::new(to).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.waiting.extend_from_slice(bytes.get(written..).unwrap_or_default());
            Ok(Poll::Ready(()))
        })
    }
}
