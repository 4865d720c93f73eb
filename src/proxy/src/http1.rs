//! HTTP/1.1 towards a browser: one task for each connection, which reads requests one after the other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use memchr::memchr;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::BoxBody;
use crate::flow::Link;
use crate::forward::{Judged, Routed, Way, refused};
use crate::guard::Wish;
use crate::listen::Service;
use crate::origin::Visitor;
use crate::patience::Alarm;
use crate::reply::ReplyHead;
use crate::request::RequestHead;
use crate::screen::Refusal;
use crate::stream::Stream;
use crate::upgrade::Switched;
use crate::websocket::Asked;

/// Memory for requests that a thread keeps for the next ones.
const SPARE_WORKS: usize = 64;
/// Memory of one part beyond which it is not kept.
const SPARE_BYTES: usize = 64 * 1024;
/// What comes after an answer that ends the connection is read and thrown away for so long: if the kernel had to
/// reset the connection, the answer could be lost.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// A connection that has just come may still send its first request for so long when the service stops: nobody told
/// its browser of the stop. Longer than a round trip; spare connections that browsers open hold the end up as long.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(300);

/// One connection.
pub(crate) struct Connection {
    pub(crate) service: Arc<Service>,
    pub(crate) visitor: Arc<Visitor>,
    pub(crate) link: Link,
    pub(crate) alarm: Alarm,
    pub(crate) came: Instant,
    served: bool,
}

/// Memory for one request and its answer.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) request: RequestHead,
    pub(crate) reply: ReplyHead,
    /// To the server, and to the browser.
    pub(crate) up: Vec<u8>,
    pub(crate) down: Vec<u8>,
}

/// What comes after a request.
pub(crate) enum After {
    /// The next one.
    Next,
    /// The end, when the browser has read the answer.
    Close,
    /// The end, although the browser may still be sending.
    Linger,
    /// The end at once: the answer is not complete, or nobody takes it.
    Drop,
    /// Another protocol.
    Switched(Box<Switched>),
}

/// Why no request comes.
enum End {
    Closed,
    Refused(Refusal),
}

/// Serves a connection to its end.
pub(crate) async fn speak(service: Arc<Service>, stream: Stream, visitor: Arc<Visitor>) {
    let (link, alarm, came) = (Link::new(stream), Alarm::default(), Instant::now());
    let mut connection = Connection { service, visitor, link, alarm, came, served: false };
    loop {
        let after = match connection.next_head().await {
            Ok(mut work) => {
                let after = connection.serve(&mut work).await;
                work.give_back();
                after
            }
            Err(End::Closed) => After::Drop,
            Err(End::Refused(refusal)) => {
                let after = connection.refuse(refusal, &RequestHead::default()).await;
                // Whoever is slow has had time enough.
                if refusal == Refusal::SlowHead { After::Close } else { after }
            }
        };
        match after {
            After::Next => {}
            After::Drop => return,
            After::Close => return connection.close(Duration::ZERO).await,
            After::Linger => return connection.close(LINGER_TIME).await,
            After::Switched(switched) => return switched.start(connection),
        }
    }
}

impl Connection {
    /// Reads the next head.
    async fn next_head(&mut self) -> Result<Box<Work>, End> {
        let Self { service, link, alarm, served, .. } = self;
        let limits = &service.proxy.settings.limits;
        let wait = if *served { limits.http1_idle_timeout } else { limits.header_timeout };
        let mut until = Instant::now() + wait;
        // Nothing is looked at again before another line has come.
        let (mut begun, mut new_line, mut late) = (!link.input.is_empty(), true, false);
        poll_fn(|cx| {
            loop {
                if begun && new_line {
                    let mut work = Work::borrow();
                    match work.request.read(link.input.bytes(), limits.headers) {
                        Ok(Some(length)) if length <= limits.header_bytes => {
                            link.input.consume(length);
                            return Poll::Ready(Ok(work));
                        }
                        Ok(Some(_)) => return Poll::Ready(Err(End::Refused(Refusal::TooLarge))),
                        Ok(None) => work.give_back(),
                        Err(refusal) => return Poll::Ready(Err(End::Refused(refusal))),
                    }
                }
                if begun && *served && !late {
                    (until, late) = (Instant::now() + limits.header_timeout, true);
                }
                let waiting = link.input.bytes().len();
                if waiting >= limits.header_bytes {
                    return Poll::Ready(Err(End::Refused(Refusal::TooLarge)));
                }
                if link.input.is_full() {
                    link.input.grow(limits.header_bytes);
                }
                if !begun && !late && service.is_stopping() {
                    if *served {
                        return Poll::Ready(Err(End::Closed));
                    }
                    (until, late) = (until.min(Instant::now() + FIRST_REQUEST_GRACE), true);
                }
                match link.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(Err(End::Closed)),
                    Poll::Pending if alarm.poll(cx, until).is_pending() => return Poll::Pending,
                    Poll::Pending if begun => return Poll::Ready(Err(End::Refused(Refusal::SlowHead))),
                    Poll::Pending => return Poll::Ready(Err(End::Closed)),
                }
                let new = link.input.bytes().get(waiting..).unwrap_or_default();
                new_line = memchr(b'\n', new).is_some();
                begun = true;
            }
        })
        .await
    }

    /// Answers one request.
    async fn serve(&mut self, work: &mut Work) -> After {
        self.served = true;
        let head = &mut work.request;
        let Judged { origin, peer, way } = match self.service.judge(head, &self.visitor, None) {
            Ok(judged) => judged,
            Err(refusal) => return self.refuse(refusal, &work.request).await,
        };
        let route = match way {
            Way::Server(route) => route,
            Way::App(target) => return Box::pin(self.ask_app(&work.request, &origin, &target)).await,
        };
        let asked = Asked::of_http1(head);
        if asked.is_some() && head.has_body() {
            return self.refuse(Refusal::Framing, &work.request).await;
        }
        if let Some(foreign) = &self.service.proxy.settings.foreign {
            foreign.counters.asked(asked.is_some());
        }
        let wish = if asked.is_some() { Wish::Upgrade } else { Wish::Answer };
        match self.service.admit(head, (&origin, peer), &route, wish) {
            Ok(pass) => {
                let routed = Routed { origin, route, peer, asked, pass };
                if routed.end().is_none() {
                    return self.exchange(work, &routed).await;
                }
                // Boxed, so that the tasks of other routes' requests are no larger for it.
                let exchange = Box::pin(routed.until_ended(self.exchange(work, &routed)));
                exchange.await.unwrap_or(After::Drop)
            }
            Err(answer) => Box::pin(self.turn_away(*answer, &work.request)).await,
        }
    }

    /// Gives the answer of a route's guard, which has not looked at the body.
    async fn turn_away(&mut self, answer: Response<BoxBody>, head: &RequestHead) -> After {
        match self.give(answer, head, None).await {
            After::Next | After::Close if head.has_body() => After::Linger,
            after => after,
        }
    }

    /// Says why a request is not answered, and ends the connection.
    pub(crate) async fn refuse(&mut self, refusal: Refusal, head: &RequestHead) -> After {
        match Box::pin(self.give(refused(refusal), head, None)).await {
            After::Drop => After::Drop,
            _ => After::Linger,
        }
    }

    /// Ends the connection in good order.
    async fn close(mut self, linger: Duration) {
        if linger.is_zero() && matches!(self.link.stream, Stream::Plain(_)) {
            // Closing the socket says that nothing more comes.
            return;
        }
        let until = Instant::now() + LINGER_TIME;
        let mut is_shut = false;
        poll_fn(|cx| {
            loop {
                if !is_shut {
                    match Pin::new(&mut self.link.stream).poll_shutdown(cx) {
                        Poll::Ready(Ok(())) if !linger.is_zero() => is_shut = true,
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return self.alarm.poll(cx, until),
                    }
                }
                let waiting = self.link.input.bytes().len();
                self.link.input.consume(waiting);
                match self.link.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.alarm.poll(cx, until),
                }
            }
        })
        .await;
    }
}

thread_local! {
    // A box moves between thread and task without being copied.
    #[expect(clippy::vec_box, reason = "the boxes are lent, not their contents")]
    static SPARE: RefCell<Vec<Box<Work>>> = const { RefCell::new(Vec::new()) };
}

impl Work {
    pub(crate) fn borrow() -> Box<Self> {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub(crate) fn give_back(mut self: Box<Self>) {
        if self.up.capacity() > SPARE_BYTES {
            self.up = Vec::new();
        }
        if self.down.capacity() > SPARE_BYTES {
            self.down = Vec::new();
        }
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_WORKS {
                spare.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Peer;
    use crate::stream::Socket;
    use crate::{App, BackendFailure, BoxBody, BoxFuture, Proxy, ProxySettings, Routes};
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

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
        let (service, visitor) = (Service::new(proxy), Visitor::new(peer, 100, None));
        let (mut browser, stream) = tokio::io::duplex(10_000);
        browser.write_all(says.as_bytes()).await.unwrap();
        let stream = Stream::Plain(Socket::Memory(stream));
        (browser, tokio::spawn(speak(service, stream, visitor)))
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
    async fn a_connection_that_waits_between_requests_ends_after_the_idle_time() {
        let (mut browser, _task) =
            browser("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfull").await;
        let start = Instant::now();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("complete"), "{answer}");
        assert_eq!(start.elapsed(), crate::Limits::default().http1_idle_timeout);
    }
}
