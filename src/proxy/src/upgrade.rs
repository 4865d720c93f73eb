//! WebSockets, and whatever else a server agrees to upgrade to: nothing passes before the server's 101, then
//! bytes are copied both ways.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::exchange::end_fields;
use crate::fields::line;
use crate::flow::Link;
use crate::forward::Routed;
use crate::framing::Length;
use crate::guard::log_end;
use crate::h2::H2Stream;
use crate::http1::{Connection, Work};
use crate::listen::Service;
use crate::origin::Visitor;
use crate::routes::Route;
use crate::stream::Stream;

/// Bytes moved at once. One buffer a thread serves all tunnels, so that an idle one holds none.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long one direction may go on after the other has ended: a WebSocket has nothing more to say then.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(60);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// A server that has agreed to another protocol, towards a browser that speaks HTTP/1.1.
pub(crate) struct Switched {
    server: Link,
    /// What the browser is told.
    head: Vec<u8>,
    route: Arc<Route>,
    until: Option<Arc<CancellationToken>>,
}

impl Switched {
    /// After the server's agreement, which is in `work`.
    pub(crate) fn new(service: &Service, server: Link, work: &Work, routed: &Routed) -> Box<Self> {
        let mut head = Vec::new();
        service.rules(&work.request, routed, &work.reply).write(&mut head, &work.reply, Length::Empty);
        end_fields(&mut head, service, routed.peer.https);
        line(&mut head, b"Connection", b"Upgrade");
        let protocol = routed.asked.as_ref().map(|asked| &asked.protocol[..]);
        line(&mut head, b"Upgrade", protocol.unwrap_or_default());
        head.extend_from_slice(b"\r\n");
        let until = routed.end().cloned();
        Box::new(Self { server, head, route: routed.route.clone(), until })
    }

    /// Lets a task of its own join both ends.
    pub(crate) fn start(self, connection: Connection) {
        let Self { server, mut head, route, until } = self;
        let Connection { service, visitor, link, .. } = connection;
        head.extend_from_slice(server.input.bytes());
        let early = link.input.bytes().to_vec();
        let tunnel = Tunnel::new(route, None, visitor).until(until).with_waiting(early, head);
        service.tunnels.spawn(tunnel.run(link.stream, server.stream, service.end.clone()));
    }
}

/// Two ends that are joined.
pub(crate) struct Tunnel {
    up: Half,
    down: Half,
    route: Arc<Route>,
    /// With HTTP/2.
    stream: Option<Arc<H2Stream>>,
    /// When the route's guard ends it.
    until: Option<Arc<CancellationToken>>,
    _visitor: Arc<Visitor>,
    /// Runs once one half has ended.
    last: Option<Pin<Box<Sleep>>>,
}

impl Tunnel {
    pub(crate) fn new(route: Arc<Route>, stream: Option<Arc<H2Stream>>, visitor: Arc<Visitor>) -> Self {
        route.touch();
        let (up, down) = (Half::default(), Half::default());
        Self { up, down, route, stream, until: None, _visitor: visitor, last: None }
    }

    /// Until the guard of the route ends it.
    pub(crate) fn until(self, until: Option<Arc<CancellationToken>>) -> Self {
        Self { until, ..self }
    }

    /// With bytes that have come already, for the server and for the browser.
    pub(crate) fn with_waiting(mut self, up: Vec<u8>, down: Vec<u8>) -> Self {
        (self.up.waiting, self.down.waiting) = (up, down);
        self
    }

    /// Joins the two ends, until both have closed or the proxy ends.
    pub(crate) async fn run<C>(mut self, mut client: C, mut server: Stream, end: CancellationToken)
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let (until, route) = (self.until.clone(), self.route.clone());
        let guarded = async {
            match &until {
                Some(until) => until.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = poll_fn(|cx| self.poll(cx, &mut client, &mut server)) => {
                if let Err(error) = result {
                    tracing::debug!("tunnel of {} broke: {error}", self.route.prefix);
                }
            }
            () = end.cancelled() => {}
            () = guarded => log_end("WebSocket", &route),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
        server: &mut Stream,
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
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
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

    fn write_waiting(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
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
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
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
