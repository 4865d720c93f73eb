//! `GET …/server/progress`: what a start does, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, header};
use hubd_proto::{ServerName, UserName};

use super::answer::Answer;
use super::ask::Ask;
use super::servers::log_name;
use crate::Hub;
use crate::auth::scopes::Target;
use crate::error::HttpError;
use crate::servers::{Progress, State};

/// How often something is sent while nothing happens, so that no proxy on the way gives up: JupyterHub's 8 s.
const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// The events of a start until it ends; of one that has ended the last event alone.
pub async fn stream(ask: Ask) -> Answer {
    ask.need(&["read:servers"], Target::Server(ask.path("name"), ask.path("server")))?;
    ask.user()?;
    let (user, server) = ask.server()?;
    if !server.is_default() && ask.hub.store.spawner(user.as_str(), server.as_str())?.is_none() {
        return Err(HttpError::bare(http::StatusCode::NOT_FOUND).into());
    }
    let snapshot = ask.hub.server(&user, &server);
    let last = snapshot.progress.last().cloned();
    let body = match (&snapshot.state, last) {
        (State::Starting, _) => {
            let watch = Watch { hub: Arc::clone(&ask.hub), user, server, seen: 0, step: Step::Begin };
            Body::from_stream(events(watch))
        }
        (State::Ready, last) => {
            let url = ask.hub.server_url(&user, &server);
            Body::from(event(&last.filter(|last| last.ready).unwrap_or_else(|| Progress::ready(&url))))
        }
        (State::Stopped { failure: Some(failure) }, last) => {
            let failed =
                last.filter(|last| last.failed).unwrap_or_else(|| Progress::failed(&failure.message));
            Body::from(event(&failed))
        }
        (State::Stopped { failure: None } | State::Stopping, _) => {
            let text = format!("{} is not starting...", log_name(&user, &server));
            return Err(HttpError::bad_request(text).into());
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// One browser that watches one start.
struct Watch {
    hub: Arc<Hub>,
    user: UserName,
    server: ServerName,
    /// How many events were sent.
    seen: usize,
    step: Step,
}

enum Step {
    Begin,
    Wait,
    End,
}

/// Ends with the start, which ends within its own time-outs.
fn events(watch: Watch) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let text = match watch.step {
            Step::Begin => {
                watch.step = Step::Wait;
                Bytes::from_static(b"\n\n")
            }
            Step::Wait => watch.next().await,
            Step::End => return None,
        };
        Some((Ok(text), watch))
    })
}

impl Watch {
    async fn next(&mut self) -> Bytes {
        let news = self.hub.progress(&self.user, &self.server, self.seen);
        let Ok(news) = tokio::time::timeout(KEEP_ALIVE, news).await else {
            return Bytes::from_static(b"\n\n");
        };
        self.seen += news.len();
        let ended = news.iter().any(|event| event.ready || event.failed);
        if ended || news.is_empty() {
            self.step = Step::End;
        }
        Bytes::from(news.iter().map(event).collect::<String>())
    }
}

fn event(progress: &Progress) -> String {
    let json = hubd_store::to_json(progress).unwrap_or_else(|_| "{}".to_owned());
    format!("data: {json}\n\n")
}
