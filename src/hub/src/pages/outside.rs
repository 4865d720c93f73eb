//! What is not a page of the hub: the hub's root, everything outside its prefix, and what does not exist.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use hubd_proto::UserName;

use super::errors::PageError;
use super::urls;
use super::visit::Visit;
use crate::Hub;
use crate::error::HttpError;

/// Longest report of a browser that the log takes, in bytes.
const REPORT_BYTES_MAX: usize = 8 * 1024;

/// What crawlers are told: nothing here is for them.
pub const ROBOTS: &str = "User-agent: *\nDisallow: /\n";

/// What of the hub is answered on every host.
const FOR_ALL: [&str; 4] = ["health", "logo", "favicon.ico", "robots.txt"];

/// `GET /hub`.
pub async fn hub_without_slash(visit: Visit) -> Response {
    visit.redirect(StatusCode::MOVED_PERMANENTLY, &visit.hub_url(""))
}

/// `GET /hub/`: to where the person belongs.
pub async fn hub_root(visit: Visit) -> Result<Response, PageError> {
    visit.person()?;
    Ok(visit.found(&visit.hub.next_url(&visit.parts, visit.browser.as_ref())))
}

/// `GET /hub/user-redirect/PATH`: to the person's own server, whoever it is.
pub async fn user_redirect(visit: Visit) -> Result<Response, PageError> {
    let name = visit.person()?.name.clone();
    let prefix = visit.hub_url("user-redirect/");
    let path = visit.uri().strip_prefix(&prefix).unwrap_or_default();
    let settings = &visit.hub.settings;
    let server = settings.default_server_name.clone().filter(|_| settings.allow_named_servers);
    let server = server.unwrap_or_default();
    let next = format!("{}{path}", visit.server_url(name.as_str(), server.as_str()));
    let spawn = visit.hub_url(&format!("spawn/{}", super::user_url::server_path(&name, &server)));
    Ok(visit.found(&urls::with_query(&spawn, &[("next".to_owned(), next)])))
}

/// `POST /hub/security/csp-report`: what a browser kept a page from doing, for the log.
pub async fn csp_report(visit: Visit, body: axum::body::Body) -> Result<Response, PageError> {
    visit.person()?;
    visit.check_xsrf(None)?;
    let body = http_body_util::Limited::new(body, REPORT_BYTES_MAX);
    let report = http_body_util::BodyExt::collect(body).await.map(|body| body.to_bytes()).unwrap_or_default();
    visit.hub.metrics.csp_report();
    tracing::warn!("Content security violation: {}", String::from_utf8_lossy(&report).escape_debug());
    Ok(super::visit::html_response(StatusCode::OK, String::new()))
}

/// `GET /user/NAME` and `/services/NAME`: the same with a slash.
pub async fn add_slash(visit: Visit) -> Response {
    let path = format!("{}/", visit.parts.uri.path());
    let location = match visit.parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    visit.redirect(StatusCode::MOVED_PERMANENTLY, &location)
}

/// Everything that no route takes.
pub async fn fallback(visit: Visit) -> Result<Response, PageError> {
    if let Some(name) = absent_service(&visit) {
        let text = format!("The service {name} is not running at the moment. Try again in a minute.");
        return Err(PageError::new(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    check_method_xsrf(&visit)?;
    let settings = &visit.hub.settings;
    let path = visit.parts.uri.path();
    let inside_hub = path.starts_with(&settings.hub_prefix());
    // Where people have hosts, all that no server takes comes here.
    let all = || settings.subdomains.as_ref().map(|_| path.trim_start_matches('/'));
    let Some(rest) = path.strip_prefix(&settings.base_url).or_else(all).filter(|_| !inside_hub) else {
        return Err(HttpError::bare(StatusCode::NOT_FOUND).into());
    };
    if visit.parts.method != Method::GET {
        return Err(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED).into());
    }
    let query = visit.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Cookies of the hub are for its own host.
    let origin = visit.hub.public_origin().unwrap_or_default();
    Ok(visit.found(&format!("{origin}{}{query}", visit.hub_url(rest))))
}

/// The configured service that the address belongs to: when it runs, the proxy takes it there.
fn absent_service(visit: &Visit) -> Option<&str> {
    let path = visit.parts.uri.path();
    let specs = visit.hub.settings.services.specs.iter().filter(|spec| spec.endpoint.is_some());
    specs.map(|spec| spec.name.as_str()).find(|name| path.starts_with(&visit.hub.service_path(name)))
}

/// Keeps the hub on its own host: on those of people's servers, its login page and what it tells of a person would
/// belong to the same origin as what the servers serve. Files that are the same for all may be had there, too.
pub async fn own_host(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let people = hub.settings.subdomains.as_ref().is_some_and(|hosts| hosts.is_below(&hub.host(&parts)));
    let below = parts.uri.path().strip_prefix(&hub.settings.hub_prefix());
    let own = below.is_some_and(|path| !path.starts_with("static/") && !FOR_ALL.contains(&path));
    if !(people && own) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let visit = Visit::of_stranger(hub, parts);
    if visit.parts.method != Method::GET {
        let body = serde_json::json!({ "status": 421, "message": "The hub has a host of its own" });
        return visit.json(StatusCode::MISDIRECTED_REQUEST, &body);
    }
    let origin = visit.hub.public_origin().unwrap_or_default();
    visit.found(&format!("{origin}{}", visit.uri()))
}

/// A page that does not know the method.
pub async fn wrong_method(visit: Visit) -> Result<Response, PageError> {
    check_method_xsrf(&visit)?;
    Err(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED).into())
}

/// JupyterHub checks `_xsrf` before it looks whether there is anything to do.
fn check_method_xsrf(visit: &Visit) -> Result<(), HttpError> {
    match visit.parts.method {
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => visit.check_xsrf(None),
        _ => Ok(()),
    }
}

/// Whether a path segment may be the name of a person; used where a name comes from the URL.
pub fn owner(visit: &Visit, name: Option<&str>) -> Result<UserName, PageError> {
    match name {
        None => Ok(visit.person()?.name.clone()),
        Some(name) => UserName::new(name).map_err(|_| PageError::no_access()),
    }
}
