//! `/hub/user/NAME/…`: where requests for a server end up that is not routed.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use hubd_proto::{ServerName, UserName};
use minijinja::context;

use super::errors::PageError;
use super::urls;
use super::visit::Visit;
use crate::auth::scopes;
use crate::error::HttpError;
use crate::servers::State;

/// Redirects after which the loop is called one.
const REDIRECTS_MAX: u32 = 4;
/// Longest pause before another redirect, in seconds.
const REDIRECT_PAUSE_SECONDS_MAX: u64 = 10;
/// Types that an `Accept` header is matched against; the first wins a tie.
const OFFERED: [&str; 2] = ["application/json", "text/html"];

/// Any method on `/hub/user/{name}` and below.
pub async fn any(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let mut segments = segments.into_iter().map(|(_, value)| value);
    let name = segments.next().unwrap_or_default();
    let rest = segments.next().unwrap_or_default();
    match visit.parts.method {
        Method::GET => get(&visit, &name, &rest).await,
        Method::POST | Method::PATCH | Method::DELETE => {
            check_writer(&visit)?;
            let owner = UserName::new(name).map_err(|_| PageError::no_access())?;
            let server = server_of(&visit, &owner, &rest)?;
            Ok(not_running_json(&visit, &owner, &server))
        }
        _ => Err(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED).into()),
    }
}

/// Who writes must show a token, or a login cookie with its `_xsrf`.
fn check_writer(visit: &Visit) -> Result<(), PageError> {
    let shows_token = visit.parts.headers.contains_key(header::AUTHORIZATION);
    if shows_token && visit.hub.caller(&visit.parts)?.is_some() {
        return Ok(());
    }
    visit.check_xsrf(None)?;
    visit.person()?;
    Ok(())
}

/// `GET`: to the server when it is there, to its progress when it starts, or the page with the start button.
async fn get(visit: &Visit, name: &str, rest: &str) -> Result<Response, PageError> {
    let owner = UserName::new(name).map_err(|_| PageError::no_access())?;
    let server = server_of(visit, &owner, rest)?;
    check_access(visit, &owner, &server)?;
    let state = visit.hub.server(&owner, &server).state;
    if state == State::Ready {
        return to_server(visit, &owner).await;
    }
    if wants_json(&visit.parts.headers, rest) {
        return Ok(not_running_json(visit, &owner, &server));
    }
    let next = [("next".to_owned(), visit.uri().to_owned())];
    let path = server_path(&owner, &server);
    match state {
        State::Starting | State::Stopped { failure: Some(_) } => {
            let pending = visit.hub_url(&format!("spawn-pending/{path}"));
            Ok(visit.redirect(StatusCode::SEE_OTHER, &urls::with_query(&pending, &next)))
        }
        _ => {
            let spawn = visit.hub_url(&format!("spawn/{path}"));
            let extra = context! {
                server_name => server.as_str(),
                owner => owner.as_str(),
                spawn_url => urls::with_query(&spawn, &next),
                stopping => state == State::Stopping,
                implicit_spawn_seconds => Some(visit.hub.settings.implicit_spawn_seconds)
                    .filter(|seconds| *seconds > 0.0 && state != State::Stopping),
            };
            Ok(visit.page(stopped_status(visit), "not_running.html", extra))
        }
    }
}

/// Sends the browser to the same path of the server, slower each time it comes back here.
async fn to_server(visit: &Visit, owner: &UserName) -> Result<Response, PageError> {
    let mut query = visit.query();
    let count =
        query.iter().find(|(name, _)| name == "redirects").map(|(_, value)| value.parse().unwrap_or(0));
    let count: u32 = count.unwrap_or(0);
    if count >= REDIRECTS_MAX {
        return Err(PageError::new(StatusCode::INTERNAL_SERVER_ERROR, "Redirect loop detected."));
    }
    if count > 0 {
        let pause = 2_u64.saturating_pow(count).min(REDIRECT_PAUSE_SECONDS_MAX);
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
    query.retain(|(name, _)| name != "redirects");
    query.push(("redirects".to_owned(), (count + 1).to_string()));
    let hosts = visit.hub.settings.subdomains.as_ref();
    let origin = hosts.map(|hosts| hosts.origin_of_user(owner.as_str())).unwrap_or_default();
    Ok(visit.found(&format!("{origin}{}", urls::with_query(&outer_path(visit), &query))))
}

/// The request's path without the hub's prefix: `/user/erin/lab`.
fn outer_path(visit: &Visit) -> String {
    let path = visit.parts.uri.path();
    let inside = path.strip_prefix(&visit.hub.settings.hub_prefix()).unwrap_or_default();
    format!("{}{inside}", visit.hub.settings.base_url)
}

/// The person, or a token's owner, must be allowed to use the server.
fn check_access(visit: &Visit, owner: &UserName, server: &ServerName) -> Result<(), PageError> {
    const SCOPE: &str = "access:servers";
    let allowed = match &visit.browser {
        Some(browser) => visit.hub.may(browser, SCOPE, owner, server.as_str()),
        None => {
            let caller = visit.hub.caller(&visit.parts)?.ok_or(PageError::Login)?;
            let target = scopes::Target::Server(owner.as_str(), server.as_str());
            scopes::access(&caller.scopes, SCOPE, target, visit.hub.store.as_ref()) == scopes::Access::Allowed
        }
    };
    if !allowed {
        return Err(PageError::no_access());
    }
    if visit.hub.store.user(owner.as_str())?.is_none() {
        return Err(PageError::new(StatusCode::NOT_FOUND, format!("No such user {owner}")));
    }
    Ok(())
}

/// The server that a path below the user's name means: a named one only if it exists.
fn server_of(visit: &Visit, owner: &UserName, rest: &str) -> Result<ServerName, PageError> {
    let first = rest.split('/').next().unwrap_or_default();
    let Ok(server) = ServerName::new(first) else { return Ok(ServerName::default()) };
    if first.is_empty() || visit.hub.store.spawner(owner.as_str(), first)?.is_none() {
        return Ok(ServerName::default());
    }
    Ok(server)
}

/// `erin` or `erin/lab`, as in the hub's URLs about a server.
pub fn server_path(owner: &UserName, server: &ServerName) -> String {
    match server.is_default() {
        true => urls::segment(owner.as_str()),
        false => format!("{}/{}", urls::segment(owner.as_str()), urls::segment(server.as_str())),
    }
}

/// The status of a server that does not run.
fn stopped_status(visit: &Visit) -> StatusCode {
    match visit.hub.settings.legacy_stopped_status {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::FAILED_DEPENDENCY,
    }
}

/// The same for programs.
fn not_running_json(visit: &Visit, owner: &UserName, server: &ServerName) -> Response {
    let spawn = visit.hub_url(&format!("spawn/{}", server_path(owner, server)));
    let origin = match &visit.hub.settings.public_url {
        Some(url) => origin_of(url),
        None => {
            let scheme = if visit.hub.is_https(&visit.parts) { "https" } else { "http" };
            format!("{scheme}://{}", visit.hub.host(&visit.parts))
        }
    };
    let path = outer_path(visit);
    let message =
        format!("JupyterHub server no longer running at {path}. Restart the server at {origin}{spawn}");
    visit.json(stopped_status(visit), &serde_json::json!({ "message": message }))
}

/// Scheme and host of a URL.
fn origin_of(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end =
        url.get(after_scheme..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url).to_owned()
}

/// Whether a program asks: its `Accept` prefers JSON, or a path segment is `api`.
pub fn wants_json(headers: &HeaderMap, path: &str) -> bool {
    path.split('/').any(|segment| segment == "api") || prefers_json(headers)
}

/// Whether the `Accept` header prefers JSON to a page.
pub fn prefers_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    preferred(accept) == Some("application/json")
}

/// The offered type that an `Accept` header likes best; `None` when it names none of them.
fn preferred(accept: &str) -> Option<&'static str> {
    let mut best: Option<(&'static str, f32)> = None;
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let Some(offered) = OFFERED.into_iter().find(|offered| *offered == kind) else { continue };
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |weight| weight.trim().parse().unwrap_or(1.0));
        if best.is_none_or(|(_, known)| weight > known) {
            best = Some((offered, weight));
        }
    }
    best.map(|(offered, _)| offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_are_weighed_as_upstream_weighs_them() {
        for (accept, expected) in [
            ("", None),
            ("*/*", None),
            ("text/html", Some("text/html")),
            ("application/json", Some("application/json")),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some("text/html")),
            ("application/json, text/javascript, */*; q=0.01", Some("application/json")),
            ("text/html;q=0.5, application/json;q=0.9", Some("application/json")),
            ("application/json;q=0.1,text/html", Some("text/html")),
            ("application/json;charset=utf-8", Some("application/json")),
            ("APPLICATION/JSON", None),
            ("text/html;q=abc,application/json", Some("text/html")),
        ] {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }

    #[test]
    fn a_path_segment_api_means_a_program() {
        assert!(wants_json(&HeaderMap::new(), "api/contents"));
        assert!(!wants_json(&HeaderMap::new(), "files/myapi"));
    }

    #[test]
    fn the_origin_of_a_public_url_is_its_scheme_and_host() {
        assert_eq!(origin_of("https://pub.example/pre"), "https://pub.example");
        assert_eq!(origin_of("https://pub.example"), "https://pub.example");
    }
}
