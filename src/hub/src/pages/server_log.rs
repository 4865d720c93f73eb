//! `/hub/log/NAME[/SERVER]`: the last lines that a server printed, and what it uses.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use hubd_proto::ServerName;
use minijinja::context;

use super::errors::PageError;
use super::home::spawner_value;
use super::spawn::{Target, target};
use super::visit::Visit;
use crate::servers::State;

/// The scope that reading needs. What a server prints can hold secrets, so reading it is as much as using it.
const SCOPE: &str = "access:servers";

/// `GET`.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let Target { owner, server } = target(&visit, &segments, SCOPE)?;
    visit.hub.look_at_figures(std::slice::from_ref(&owner)).await;
    let snapshot = visit.hub.server(&owner, &server);
    let lines = match &snapshot.state {
        State::Stopped { failure: Some(failure) } => failure.log.clone(),
        State::Stopped { failure: None } => Vec::new(),
        _ => visit.hub.server_log(&owner, &ServerName::clone(&server)).await,
    };
    let extra = context! {
        own => owner == visit.person()?.name,
        server => spawner_value(&visit, &owner, &server, &snapshot),
        lines => lines,
    };
    Ok(visit.page(StatusCode::OK, "server_log.html", extra))
}
