//! Errors as pages, or as JSON for programs.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use hubd_proxy::BackendFailure;
use minijinja::context;

use super::headers::add_common;
use super::language::text;
use super::visit::Visit;
use super::{urls, user_url};
use crate::Hub;
use crate::error::HttpError;

/// Why a handler gave no page. It travels in the response's extensions to [`finish`], which has the
/// request at hand and writes the page.
#[derive(Debug, Clone)]
pub enum PageError {
    /// Somebody has to log in first.
    Login,
    /// An error page.
    Http(HttpError),
}

impl From<HttpError> for PageError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<hubd_store::StoreError> for PageError {
    fn from(error: hubd_store::StoreError) -> Self {
        Self::Http(error.into())
    }
}

impl PageError {
    /// An error page with JupyterHub's text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Http(HttpError::new(status, message))
    }

    /// 404 for what the person may not know about.
    pub fn no_access() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No access to resources or resources not found")
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match &self {
            Self::Login => StatusCode::FOUND,
            Self::Http(error) => error.status,
        };
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the page of an error that a handler returned.
pub fn finish(hub: &Arc<Hub>, parts: Parts, error: PageError) -> Response {
    let visit = Visit::new(Arc::clone(hub), parts);
    match error {
        PageError::Login => {
            let login = visit.hub_url("login");
            visit.found(&format!("{login}?next={}", urls::value(visit.uri())))
        }
        PageError::Http(error) if are_json(hub, visit.parts.uri.path()) => {
            let body = serde_json::json!({ "status": error.status.as_u16(), "message": error.message });
            visit.json(error.status, &body)
        }
        // JupyterHub shows programs a page here.
        PageError::Http(error) if user_url::prefers_json(&visit.parts.headers) => {
            let message = error.message.as_deref().or_else(|| error.status.canonical_reason());
            visit.json(
                error.status,
                &serde_json::json!({ "status": error.status.as_u16(), "message": message }),
            )
        }
        PageError::Http(error) => error_page(&visit, &error),
    }
}

/// Whether the errors at a path are JSON, for whomever: the API's are. The OAuth provider shows pages there, and metrics
/// are refused with one.
pub fn are_json(hub: &Hub, path: &str) -> bool {
    let below =
        path.strip_prefix(hub.settings.base_url.as_str()).and_then(|path| path.strip_prefix("hub/api/"));
    below.is_some_and(|below| !["oauth2/authorize", "metrics"].iter().any(|page| below.starts_with(page)))
}

/// The error page; `404.html` for 404 as in JupyterHub.
pub fn error_page(visit: &Visit, error: &HttpError) -> Response {
    let status = error.status;
    // A site may have a page of its own for any status.
    let own = format!("{}.html", status.as_u16());
    let template = if visit.hub.templates.has(&own) { own.as_str() } else { "error.html" };
    // JupyterHub shows Python's `None` where there is no text, and its tests look for it.
    let message = error.message.as_deref().unwrap_or("None");
    let extra = context! {
        status_code => status.as_u16(),
        status_message => status.canonical_reason().unwrap_or("Unknown HTTP Error"),
        message => message,
        detail => error.message.as_deref(),
        advice => advice(status),
        retry_after_seconds => error.retry_after_seconds,
    };
    let mut response = visit.page(status, template, extra);
    if let Some(seconds) = error.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What a person can do about a kind of error.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 422 => text!("The link or form that brought you here is incomplete. Go back and try again."),
        403 => text!("If you think that you should be allowed to, ask the people who run this hub."),
        405 => text!("This address exists, but not for this kind of request."),
        408 => text!("Your connection may be slow. Go back and try again."),
        413 => text!("Send less at once."),
        429 => text!("Wait a little, then try again."),
        500 => {
            text!(
                "This is a fault of the hub, not yours. Try again; if it stays, tell the people who run this hub."
            )
        }
        502..=504 => text!("Try again in a moment."),
        _ => "",
    }
}

/// `GET /hub/error/N`: what a front proxy shows when it has no answer. The status is always 200, as in JupyterHub.
pub async fn proxy_error(
    visit: Visit,
    axum::extract::Path(code): axum::extract::Path<String>,
) -> Result<Response, PageError> {
    let digits = !code.is_empty() && code.len() <= 4 && code.bytes().all(|byte| byte.is_ascii_digit());
    let Some(code) = code.parse::<u16>().ok().filter(|_| digits) else {
        return Err(HttpError::bare(StatusCode::NOT_FOUND).into());
    };
    let known = StatusCode::from_u16(code).ok();
    let reason = known.and_then(|status| status.canonical_reason()).unwrap_or("Unknown HTTP Error");
    let (detail, restart) = match code {
        503 => (text!("Your server appears to be down."), true),
        404 => (text!("There is nothing at this address."), false),
        _ => ("", false),
    };
    let extra = context! {
        status_code => code,
        status_message => reason,
        message => reason,
        detail => detail,
        restart => restart,
        advice => known.map_or("", advice),
    };
    Ok(visit.page(StatusCode::OK, if code == 404 { "404.html" } else { "error.html" }, extra))
}

/// The answer of the hub when a user server could not be reached or broke off. `route` is the server's prefix.
pub fn backend_failed(hub: &Arc<Hub>, parts: &Parts, route: &str, failure: BackendFailure) -> Response {
    let visit = Visit::of_stranger(Arc::clone(hub), parts.clone());
    let told = told(failure);
    let route = match hub.settings.subdomains {
        // Behind the host.
        Some(_) => route.get(1..).and_then(|route| route.find('/').and_then(|at| route.get(at..))),
        None => Some(route),
    };
    let inside = route.and_then(|route| parts.uri.path().strip_prefix(route)).unwrap_or_default();
    let mut response = if user_url::wants_json(&parts.headers, inside) {
        let body = serde_json::json!({ "status": told.status.as_u16(), "message": told.detail });
        visit.json(told.status, &body)
    } else {
        let home = visit.hub_url("home");
        let extra = context! {
            status_code => told.status.as_u16(),
            status_message => told.title,
            message => told.title,
            detail => told.detail,
            advice => told.advice,
            fault => told.fault,
            again_url => visit.uri(),
            home_url => home,
            restart => told.restart,
        };
        visit.page(told.status, "error.html", extra)
    };
    // The browser is at the server's own path: cookies of the hub do not belong into this answer.
    response.headers_mut().remove(header::SET_COOKIE);
    add_common(response.headers_mut(), hub.is_https(parts));
    response
}

/// What is told about a [`BackendFailure`].
struct Told {
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    advice: &'static str,
    fault: &'static str,
    restart: bool,
}

/// Words for each failure: what happened, whose fault it is, what to do.
fn told(failure: BackendFailure) -> Told {
    match failure {
        BackendFailure::Refused => Told {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: text!("Your server is not answering"),
            detail: text!(
                "Your notebook server does not accept connections. It has stopped, or it is just restarting."
            ),
            advice: text!(
                "Try again in a few seconds. If it stays like this, go to the hub and start your server again."
            ),
            fault: text!("The fault is on the side of your server; the hub works."),
            restart: true,
        },
        BackendFailure::WrongPeer => Told {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: text!("This is not your server"),
            detail: text!(
                "Another program answers where your notebook server should. Nothing was sent to it."
            ),
            advice: text!(
                "Go to the hub, stop your server and start it again. The people who run this hub find a record of this in the log."
            ),
            fault: text!("The fault is a program of somebody else on this machine; the hub works."),
            restart: true,
        },
        BackendFailure::Timeout => Told {
            status: StatusCode::GATEWAY_TIMEOUT,
            title: text!("Your server takes too long"),
            detail: text!(
                "Your notebook server runs, but gave no answer in time. It may be busy, or out of memory."
            ),
            advice: text!(
                "Try again in a moment. If it stays like this, go to the hub, stop your server and start it again."
            ),
            fault: text!("The fault is on the side of your server; the hub works."),
            restart: true,
        },
        BackendFailure::BrokenAnswer => Told {
            status: StatusCode::BAD_GATEWAY,
            title: text!("Your server broke off"),
            detail: text!("Your notebook server closed the connection or sent an answer that is not HTTP."),
            advice: text!(
                "Try again. If it stays like this, go to the hub, stop your server and start it again."
            ),
            fault: text!("The fault is on the side of your server; the hub works."),
            restart: true,
        },
    }
}
