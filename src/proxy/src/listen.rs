//! Accepting connections, and ending them in good order.

use std::io;
use std::net::{self, IpAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::limits::{Gate, Spare, is_shortage_of_descriptors, refuse};
use crate::stream::Socket;
use crate::tcp::Tcp;
use crate::welcome::welcome;
use crate::{Proxy, Tls};

/// When descriptors or memory are short, waiting lets connections end; trying at once would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
    /// The same two as plain facts, which cost nothing to look at.
    stopping: AtomicBool,
    ended: AtomicBool,
}

impl Service {
    pub(crate) fn new(proxy: Arc<Proxy>) -> Arc<Self> {
        Arc::new(Self {
            proxy,
            tunnels: TaskTracker::new(),
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Whether no request begins any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.cancel();
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.cancel();
    }
}

/// The work for one connection, which is woken when the service stops, and left when it ends.
struct Served<F> {
    work: Pin<Box<F>>,
    service: Arc<Service>,
    /// The next of the two that wakes it, asked once.
    waker: Pin<Box<WaitForCancellationFutureOwned>>,
    waits_for: Turn,
}

/// What a connection has not heard of yet.
#[derive(PartialEq, Eq)]
enum Turn {
    /// Nothing was asked.
    New,
    /// The stop.
    Stop,
    /// The end.
    End,
}

impl<F: Future<Output = ()>> Served<F> {
    fn new(service: Arc<Service>, work: F) -> Self {
        let waker = Box::pin(service.stop.clone().cancelled_owned());
        Self { work: Box::pin(work), service, waker, waits_for: Turn::New }
    }

    /// Sees to it that the next of the two wakes this task.
    fn stay_known(&mut self, cx: &mut Context<'_>) {
        if self.waits_for == Turn::New {
            self.waits_for = Turn::Stop;
            let _ = self.waker.as_mut().poll(cx);
        }
        if self.waits_for == Turn::Stop && self.service.is_stopping() {
            self.waits_for = Turn::End;
            self.waker.set(self.service.end.clone().cancelled_owned());
            let _ = self.waker.as_mut().poll(cx);
        }
    }
}

impl<F: Future<Output = ()>> Future for Served<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.stay_known(cx);
        if self.service.ended.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.work.as_mut().poll(cx)
    }
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
    let service = Service::new(proxy);
    let gate = Gate::new(&service.proxy.settings.limits);
    let mut door = match Door::new(listener, tls.is_none()) {
        Ok(door) => door,
        Err(error) => return tracing::error!("cannot wait for connections: {error}"),
    };
    let mut stopped = pin!(stop.cancelled());
    loop {
        let socket = tokio::select! {
            socket = door.next() => socket,
            () = &mut stopped => break,
        };
        let work = welcome(service.clone(), socket, tls.clone(), gate.enter());
        connections.spawn(Served::new(service.clone(), work));
    }
    drop(door);
    service.stop();
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::info!("requests cut off at the end of the drain time: {}", connections.len());
    }
    service.end();
    service.tunnels.close();
    connections.wait().await;
    service.tunnels.wait().await;
}

/// Where connections come in.
struct Door {
    entry: Entry,
    spare: Spare,
    /// Whoever is refused is told so in HTTP; there is no time for TLS then.
    plain: bool,
    short: bool,
}

/// A listening socket. From one of TCP, connections come that the runtime does not know yet.
enum Entry {
    Tcp(AsyncFd<net::TcpListener>),
    Unix(UnixListener),
}

impl Door {
    fn new(listener: Listener, plain: bool) -> io::Result<Self> {
        let entry = match listener {
            Listener::Tcp(listener) => {
                // Without it small answers wait for the acknowledgement of those before. Connections inherit it (tcp(7)).
                if let Err(error) = SockRef::from(&listener).set_tcp_nodelay(true) {
                    tracing::warn!("answers may be slow, TCP_NODELAY cannot be set: {error}");
                }
                let listener = listener.into_std()?;
                #[expect(
                    deprecated,
                    reason = "its successor is unsafe; a std::net::TcpListener keeps its descriptor"
                )]
                Entry::Tcp(AsyncFd::with_interest(listener, Interest::READABLE)?)
            }
            Listener::Unix(listener) => Entry::Unix(listener),
        };
        Ok(Self { entry, spare: Spare::new(), plain, short: false })
    }

    /// The next connection. Errors are those of one connection, or a shortage that passes.
    async fn next(&mut self) -> (Socket, Option<IpAddr>) {
        loop {
            match self.entry.accept().await {
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
        let waiting = self.entry.accept().await;
        let taken = waiting.is_ok();
        if let Ok((socket, _)) = waiting
            && self.plain
        {
            refuse(socket).await;
        }
        self.spare = Spare::new();
        taken
    }
}

impl Entry {
    async fn accept(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) =
                    listener.async_io(Interest::READABLE, net::TcpListener::accept).await?;
                Ok((Socket::Tcp(Tcp::accepted(stream)?), Some(address.ip())))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
