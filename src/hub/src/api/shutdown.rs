//! The end of the hub.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, json_answer};
use super::ask::Ask;
use super::{body, python};
use crate::auth::scopes::Target;
use crate::error::HttpError;

/// `POST /shutdown`. The proxy is part of the daemon and ends with it, whatever `proxy` says; `servers` overrides
/// `JupyterHub.cleanup_servers`.
pub async fn shutdown(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["shutdown"], Target::All)?;
    let data = body::object(body, "Body must be a JSON object").await?;
    flag(&data, "proxy")?;
    let servers = flag(&data, "servers")?;
    tracing::warn!("Shutting down: {} asked for it", caller.name());
    ask.hub.ending.ask(servers);
    Ok(json_answer(StatusCode::ACCEPTED, &json!({ "message": "Shutting down Hub" })))
}

fn flag(data: &Map<String, Value>, key: &str) -> Result<Option<bool>, HttpError> {
    let Some(value) = data.get(key) else { return Ok(None) };
    let wrong =
        || HttpError::bad_request(format!("{key} must be true or false, got {}", python::repr(value)));
    value.as_bool().ok_or_else(wrong).map(Some)
}
