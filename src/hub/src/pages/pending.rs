//! `/hub/spawn-pending/NAME[/SERVER]`: a start or stop as it goes on, and how it ended.

use axum::extract::Path;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use minijinja::context;
use minijinja::value::Serde;

use super::errors::PageError;
use super::home::spawner_value;
use super::spawn::{Target, target};
use super::urls;
use super::user_url::server_path;
use super::visit::Visit;
use crate::servers::{Failure, Snapshot, State};

/// The scope that watching needs.
const SCOPE: &str = "servers";

/// Failures that a new login cures: the page offers it.
const CURED_BY_LOGIN: [&str; 4] = ["ticket-missing", "ticket-invalid", "login-refused", "session-refused"];

/// `GET`: never starts anything.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let target = target(&visit, &segments, SCOPE)?;
    let Target { owner, server } = &target;
    let snapshot = visit.hub.server(owner, server);
    let known = server.is_default()
        || snapshot.state.is_active()
        || visit.hub.store.spawner(owner.as_str(), server.as_str())?.is_some();
    if !known {
        let text = format!("{owner} has no such server {server}");
        return Err(PageError::new(StatusCode::NOT_FOUND, text));
    }
    Ok(match &snapshot.state {
        State::Ready => visit.found(&visit.next_or(visit.server_url(owner.as_str(), server.as_str()))),
        State::Starting => progress(&visit, &target, &snapshot),
        State::Stopping => stopping(&visit, &target, &snapshot),
        State::Stopped { failure: Some(failure) } => failed(&visit, &target, failure),
        State::Stopped { failure: None } => stopped(&visit, &target),
    })
}

/// The progress page: events as they come, or a reload every few seconds without JavaScript.
fn progress(visit: &Visit, target: &Target, snapshot: &Snapshot) -> Response {
    let Target { owner, server } = target;
    let last = snapshot.progress.last();
    let extra = context! {
        spawner => spawner_value(visit, owner, server, snapshot),
        progress_url => progress_url(visit, target),
        stop_api_url => stop_api_url(visit, target),
        events => Serde(&snapshot.progress),
        percent => last.map_or(0, |event| event.progress),
        current => last.map(|event| event.message.as_str()),
    };
    visit.page(StatusCode::OK, "spawn_pending.html", extra)
}

/// The page of a server that stops.
fn stopping(visit: &Visit, target: &Target, snapshot: &Snapshot) -> Response {
    let extra = context! {
        spawner => spawner_value(visit, &target.owner, &target.server, snapshot),
        progress_url => progress_url(visit, target),
    };
    visit.page(StatusCode::OK, "stop_pending.html", extra)
}

/// The page of a server that does not run.
fn stopped(visit: &Visit, target: &Target) -> Response {
    let extra = context! {
        server_name => target.server.as_str(),
        owner => target.owner.as_str(),
        spawn_url => spawn_url(visit, target),
    };
    visit.page(StatusCode::OK, "not_running.html", extra)
}

/// The page of a start that failed: the step, the cause, the server's last words, and what to do.
pub fn failed(visit: &Visit, target: &Target, failure: &Failure) -> Response {
    let extra = context! {
        server_name => target.server.as_str(),
        owner => target.owner.as_str(),
        spawn_url => spawn_url(visit, target),
        failed => true,
        failed_message => failure.message_in(visit.language),
        failed_detail => failure.detail_for(visit.language),
        failed_advice => failure.advice_in(visit.language),
        failure => Serde(failure),
        login_again => CURED_BY_LOGIN.contains(&failure.code.as_str()),
    };
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = visit.page(status, "not_running.html", extra);
    if let Some(seconds) = failure.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Where to start again; `next` is kept.
fn spawn_url(visit: &Visit, target: &Target) -> String {
    let path = visit.hub_url(&format!("spawn/{}", server_path(&target.owner, &target.server)));
    let next: Vec<_> = visit.query().into_iter().filter(|(name, _)| name == "next").take(1).collect();
    urls::with_query(&path, &next)
}

/// The API's event stream of a start.
fn progress_url(visit: &Visit, target: &Target) -> String {
    format!("{}/progress", stop_api_url(visit, target))
}

/// The API's address of a server.
fn stop_api_url(visit: &Visit, target: &Target) -> String {
    let owner = urls::segment(target.owner.as_str());
    match target.server.is_default() {
        true => visit.hub_url(&format!("api/users/{owner}/server")),
        false => {
            let server = urls::segment(target.server.as_str());
            visit.hub_url(&format!("api/users/{owner}/servers/{server}"))
        }
    }
}
