//! `/hub/edge/NAME[/SERVER]`: where a guarded server sends a browser that it does not know, and what a guard answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use minijinja::context;

use super::errors::{PageError, error_page};
use super::headers::add_common;
use super::language::text;
use super::spawn::{self, Target};
use super::urls;
use super::user_url::server_path;
use super::visit::Visit;
use crate::Hub;
use crate::edge::{ACCESS, Code, ENTRY, Place};
use crate::error::HttpError;

/// Length of the hash of a browser's state: SHA-256 in hexadecimal digits.
const STATE_BYTES: usize = 64;

/// `GET`: the code for the person's own server; for somebody else's a question first.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let target = spawn::target(&visit, &segments, ACCESS)?;
    let is_own = visit.person()?.name == target.owner;
    if is_own || !visit.hub.is_edge(&target.owner, &target.server) {
        return give_code(&visit, &target);
    }
    let who = server_path(&target.owner, &target.server);
    let extra = context! {
        title => text!("Open somebody else's server?"),
        listed => who,
        text => text!("What runs there is theirs: its pages can show and ask whatever they like, and they learn your name. Type no password there."),
        action => visit.uri(),
        button => text!("Access Server"),
        cancel_url => visit.hub_url("home"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
}

/// `POST`: the person said yes.
pub async fn post(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    visit.form(body).await?;
    let target = spawn::target(&visit, &segments, ACCESS)?;
    tracing::info!(
        "{} opens the server {}",
        visit.person()?.name,
        server_path(&target.owner, &target.server)
    );
    give_code(&visit, &target)
}

/// Sends the browser back to the server with a code; or just there, if nobody guards it or it does not run.
fn give_code(visit: &Visit, target: &Target) -> Result<Response, PageError> {
    let (hub, browser) = (&visit.hub, visit.person()?);
    let url = visit.server_url(target.owner.as_str(), target.server.as_str());
    let state = visit.argument("state").filter(|state| state.len() == STATE_BYTES);
    let (Some(state), true) = (state, hub.is_edge(&target.owner, &target.server)) else {
        return Ok(visit.found(&url));
    };
    let place = Place::new(hub, &target.owner, &target.server);
    let next = visit.argument("next").filter(|next| place.has(next)).unwrap_or_else(|| place.prefix.clone());
    let code = Code { state, cookie_id: browser.user.cookie_id.clone(), since: browser.began, next, place };
    let text = hub.new_token();
    hub.edge.codes.keep(text.clone(), code, hub.clock.now());
    Ok(visit.found(&urls::with_query(&format!("{url}{ENTRY}"), &[("code".to_owned(), text)])))
}

/// A guard's redirect.
pub(crate) fn edge_redirect(hub: &Arc<Hub>, request: &Parts, location: &str) -> Response {
    let visit = Visit::of_stranger(Arc::clone(hub), request.clone());
    finished(hub, request, visit.found(location))
}

/// A guard's refusal, told to a person or to a program.
pub(crate) fn edge_refusal(hub: &Arc<Hub>, request: &Parts, message: &str, to: Audience) -> Response {
    let visit = Visit::of_stranger(Arc::clone(hub), request.clone());
    let status = StatusCode::FORBIDDEN;
    let response = match to {
        Audience::Person => error_page(&visit, &HttpError::new(status, message)),
        Audience::Program => {
            visit.json(status, &serde_json::json!({ "status": status.as_u16(), "message": message }))
        }
    };
    finished(hub, request, response)
}

fn finished(hub: &Hub, request: &Parts, mut response: Response) -> Response {
    // The browser is at the server's own path: cookies of the hub do not belong into this answer.
    response.headers_mut().remove(header::SET_COOKIE);
    add_common(response.headers_mut(), hub.is_https(request));
    response
}

/// Who reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Somebody in front of a browser.
    Person,
    /// A script, or another program.
    Program,
}
