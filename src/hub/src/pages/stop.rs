//! `/hub/stop/NAME[/SERVER]`: stopping a server without JavaScript. hubd's own page; scripts use the API.

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use minijinja::context;

use super::errors::PageError;
use super::spawn::{Target, target};
use super::user_url::server_path;
use super::visit::Visit;

/// The scope that stopping needs.
const SCOPE: &str = "delete:servers";

/// `GET`: asks.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    let extra = context! {
        title => "Stop this server?",
        text => "Running notebooks, terminals and everything they hold in memory end. Saved files stay.",
        action => visit.hub_url(&format!("stop/{}", server_path(&owner, &server))),
        button => "Stop server",
        danger => true,
        cancel_url => visit.hub_url("home"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
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
    let pending = visit.hub_url(&format!("spawn-pending/{}", server_path(&owner, &server)));
    Ok(visit.redirect(StatusCode::SEE_OTHER, &pending))
}
