//! `/hub/stop/NAME[/SERVER]`: stopping a server without JavaScript. hubd's own page; scripts use the API.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{Method, StatusCode};
use minijinja::context;

use super::errors::PageError;
use super::language::text;
use super::spawn::{Target, target};
use super::urls;
use super::user_url::server_path;
use super::visit::Visit;
use crate::servers::State;

/// How long the answer waits for the stop, so that a quick one is over when the next page comes. A notebook
/// server without kernels takes about half a second.
const QUICK_STOP_WAIT: Duration = Duration::from_secs(2);
/// The scope that stopping needs.
const SCOPE: &str = "delete:servers";

/// `GET`: asks.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    let extra = context! {
        title => text!("Stop this server?"),
        text => text!("Running notebooks, terminals and everything they hold in memory end. Saved files stay."),
        action => visit.hub_url(&format!("stop/{}", server_path(&owner, &server))),
        button => text!("Stop server"),
        danger => true,
        cancel_url => visit.hub_url("home"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
}

/// `GET /hub/delete/NAME/SERVER`: asks before a named server is forgotten.
pub async fn ask_delete(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    let extra = context! {
        title => text!("Delete this server?"),
        listed => server.as_str(),
        text => text!("It is stopped if it runs, and its name, options and shares are forgotten. Files stay."),
        action => visit.hub_url(&format!("delete/{}", server_path(&owner, &server))),
        button => text!("Delete Server"),
        danger => true,
        cancel_url => visit.hub_url("home"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
}

/// `POST /hub/delete/NAME/SERVER`.
pub async fn delete(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    visit.person()?;
    visit.form(body).await?;
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    let (owner, server) = (urls::segment(owner.as_str()), urls::segment(server.as_str()));
    let path = format!("/users/{owner}/servers/{server}");
    let called = visit.api((Method::DELETE, &path), Some(serde_json::json!({ "remove": true }))).await?;
    if !called.is_ok() {
        return Err(PageError::new(called.status, called.message()));
    }
    Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("home")))
}

/// `POST`: stops, and shows it.
pub async fn post(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    visit.person()?;
    visit.form(body).await?;
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    visit
        .hub
        .stop_server(&owner, &server)
        .await
        .map_err(|error| PageError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if let State::Stopped { .. } = visit.hub.wait_server(&owner, &server, QUICK_STOP_WAIT).await {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("home")));
    }
    let pending = visit.hub_url(&format!("spawn-pending/{}", server_path(&owner, &server)));
    Ok(visit.redirect(StatusCode::SEE_OTHER, &pending))
}
