//! HTTP/2 on one connection: each request becomes one as HTTP/1.1 would have it, and goes the same way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::frames::Frames;
use crate::listen::Service;
use crate::origin::Visitor;
use crate::stream::Stream;
use crate::{BoxBody, BoxError};

/// What a stream may send before it is read, and all of them together: enough for 100 MB/s at a tenth of a second.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What is kept of one stream's answer until the browser takes it.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// Streams that were reset before anybody looked at them: more is an attack (CVE-2023-44487).
const EARLY_RESETS_MAX: usize = 20;
/// Streams that this side had to reset because of the other's mistakes, over the life of the connection.
const ERROR_RESETS_MAX: usize = 100;
/// A connection that says nothing is asked, and given up if it does not answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A browser that takes nothing of an answer for so long does not want it. Longer than with HTTP/1.1, because
/// everything else that it does here ends with it.
const STALL_TIME: Duration = Duration::from_secs(300);

/// HTTP/2 on one connection.
pub(crate) async fn speak(service: Arc<Service>, stream: Stream, visitor: Arc<Visitor>) {
    let settings = settings(&service);
    let limits = &service.proxy.settings.limits;
    let (header_timeout, idle_timeout) = (limits.header_timeout, limits.idle_timeout);
    let streams = Streams::new();
    let stream = TokioIo::new(Frames::new(stream, visitor.patience()));
    let answer = {
        let (service, streams) = (service.clone(), streams.clone());
        service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (service, visitor, guard) = (service.clone(), visitor.clone(), streams.begin());
            async move {
                // Boxed, because what is spawned is moved several times.
                let response = Box::pin(service.answer(visitor, request, &guard)).await;
                Ok::<_, Infallible>(response.map(|body| Paced { body, guard }))
            }
        })
    };
    let mut connection = pin!(settings.serve_connection(stream, answer));
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut ending = false;
    poll_fn(|cx| {
        // Whoever waits for the connection is woken by the stop, too; see `listen`.
        if !ending && service.is_stopping() {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if let Err(error) = result {
                tracing::debug!("HTTP/2 connection ended: {error}");
            }
            return Poll::Ready(());
        }
        while look.poll_tick(cx).is_ready() {
            let idle = if streams.any_yet() { idle_timeout } else { header_timeout };
            if streams.stalled() || streams.idle_for() > idle + LOOK_EVERY {
                tracing::debug!("HTTP/2 connection given up");
                return Poll::Ready(());
            }
            if !ending && streams.idle_for() > idle {
                ending = true;
                connection.as_mut().graceful_shutdown();
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await;
}

/// A connection whose turn comes after that of the streams that are ready, too: what they have to say goes out in one
/// piece, instead of in as many as there are streams.
pub(crate) struct Together<F> {
    connection: Pin<Box<F>>,
    /// It has let the others go first.
    has_waited: bool,
}

impl<F: Future<Output = ()>> Together<F> {
    pub(crate) fn new(connection: F) -> Self {
        Self { connection: Box::pin(connection), has_waited: false }
    }
}

impl<F: Future<Output = ()>> Future for Together<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.connection.as_mut().poll(cx)
    }
}

fn settings(service: &Service) -> http2::Builder<Tracked> {
    let limits = &service.proxy.settings.limits;
    let mut settings = http2::Builder::new(Tracked(service.tunnels.clone()));
    settings
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(EARLY_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    settings
}

/// Starts the tasks of streams where they are waited for at the end.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// The open streams of a connection.
struct Streams {
    open: Mutex<Vec<Weak<H2Stream>>>,
    count: AtomicUsize,
    /// When the last one ended, and before the first one when the connection began.
    idle_since: Mutex<Instant>,
}

/// One stream, held by whatever works for it.
pub(crate) struct H2Stream {
    streams: Arc<Streams>,
    /// Since when the browser has taken nothing of an answer that is there.
    waits_since: Mutex<Option<Instant>>,
}

impl Streams {
    fn new() -> Arc<Self> {
        let idle_since = Mutex::new(Instant::now());
        Arc::new(Self { open: Mutex::default(), count: AtomicUsize::new(0), idle_since })
    }

    fn begin(self: &Arc<Self>) -> Arc<H2Stream> {
        let stream = Arc::new(H2Stream { streams: self.clone(), waits_since: Mutex::default() });
        self.count.fetch_add(1, Ordering::AcqRel);
        let mut open = lock(&self.open);
        // The dead ones are cleared when they would make the list grow.
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        stream
    }

    fn any_yet(&self) -> bool {
        lock(&self.open).capacity() > 0
    }

    fn idle_for(&self) -> Duration {
        if self.count.load(Ordering::Acquire) > 0 { Duration::ZERO } else { lock(&self.idle_since).elapsed() }
    }

    /// Whether the browser leaves an answer lying.
    fn stalled(&self) -> bool {
        let open = lock(&self.open);
        let mut streams = open.iter().filter_map(Weak::upgrade);
        streams.any(|stream| lock(&stream.waits_since).is_some_and(|since| since.elapsed() > STALL_TIME))
    }
}

impl H2Stream {
    /// Notes whether something is there that the browser does not take.
    pub(crate) fn note_waiting(&self, waits: bool) {
        let mut since = lock(&self.waits_since);
        *since = waits.then(|| since.unwrap_or_else(Instant::now));
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        *lock(&self.streams.idle_since) = Instant::now();
        self.streams.count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer's body, which notes when it waits for the browser: hyper asks for the next piece as soon as the
/// browser has room for it.
struct Paced {
    body: BoxBody,
    guard: Arc<H2Stream>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        *lock(&self.guard.waits_since) = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    async fn next(body: &mut Paced) {
        let frame = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
        drop(frame);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_noticed_and_one_that_is_not_there_yet_is_not() {
        let streams = Streams::new();
        let nothing_yet = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let nothing_yet = http_body_util::StreamBody::new(nothing_yet).boxed_unsync();
        let mut slow_server = Paced { body: nothing_yet, guard: streams.begin() };
        next(&mut slow_server).await;
        tokio::time::advance(STALL_TIME * 2).await;
        assert!(!streams.stalled());
        let body = Full::new(Bytes::from("x")).map_err(|never| match never {}).boxed_unsync();
        let mut slow_reader = Paced { body, guard: streams.begin() };
        next(&mut slow_reader).await;
        tokio::time::advance(STALL_TIME).await;
        assert!(!streams.stalled());
        tokio::time::advance(LOOK_EVERY).await;
        assert!(streams.stalled());
        drop(slow_reader);
        assert!(!streams.stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_waits_from_its_first_moment_of_waiting() {
        let streams = Streams::new();
        let stream = streams.begin();
        for _ in 0..3 {
            stream.note_waiting(true);
            tokio::time::advance(STALL_TIME / 2).await;
        }
        assert!(streams.stalled());
        stream.note_waiting(false);
        assert!(!streams.stalled());
    }

    #[tokio::test]
    async fn streams_that_are_ready_have_their_turn_before_their_connection() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let say = |word: &'static str| {
            let order = order.clone();
            async move { lock(&order).push(word) }
        };
        let connection = tokio::spawn(Together::new(say("connection")));
        let streams = [tokio::spawn(say("stream")), tokio::spawn(say("stream"))];
        connection.await.unwrap();
        assert_eq!(*lock(&order), ["stream", "stream", "connection"]);
        assert!(streams.iter().all(tokio::task::JoinHandle::is_finished));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_stream() {
        let streams = Streams::new();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(!streams.any_yet() && streams.idle_for().as_secs() == 7);
        let (first, second) = (streams.begin(), streams.begin());
        tokio::time::advance(Duration::from_secs(7)).await;
        drop(first);
        assert!(streams.any_yet() && streams.idle_for().is_zero());
        drop(second);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(streams.idle_for().as_secs(), 3);
    }
}
