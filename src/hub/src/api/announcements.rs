//! Announcements: what everybody is told on every page. hubd's own; JupyterHub has no such calls.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, empty, json_answer, read_answer};
use super::ask::Ask;
use super::body;
use crate::announcements::Level;
use crate::auth::scopes::Target;
use crate::error::HttpError;

/// The scope of who may speak to everybody: they manage everybody anyway.
const SCOPE: &str = "admin:users";
/// Longest life of an announcement that has an end, in seconds: a year.
const EXPIRES_IN_MAX: u64 = 366 * 86_400;

/// `GET /announcements`: for everybody, as the pages are.
pub async fn list(ask: Ask) -> Answer {
    Ok(read_answer(&ask.parts.headers, &json!(ask.hub.announcements())))
}

/// `POST /announcements`: `text`, and perhaps `level` and `expires_in`, in seconds.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&[SCOPE], Target::All)?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let text = data.get("text").and_then(Value::as_str);
    let text = text.ok_or_else(|| HttpError::bad_request("Must specify the text"))?;
    let level = match data.get("level") {
        None | Some(Value::Null) => Level::default(),
        Some(level) => serde_json::from_value(level.clone())
            .map_err(|_| HttpError::bad_request("level must be info, warning or danger"))?,
    };
    let lasts = match data.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(seconds) => match seconds.as_u64() {
            Some(seconds @ 1..=EXPIRES_IN_MAX) => Some(Duration::from_secs(seconds)),
            _ => return Err(HttpError::bad_request("expires_in must be a number of seconds").into()),
        },
    };
    let news = ask.hub.announce(text, level, lasts)?;
    tracing::info!("{} announces {}: {}", caller.name(), news.id, news.text);
    Ok(json_answer(StatusCode::CREATED, &json!(news)))
}

/// `DELETE /announcements/ID`.
pub async fn delete(ask: Ask) -> Answer {
    let caller = ask.need(&[SCOPE], Target::All)?;
    let id = ask.path("id");
    if !ask.hub.withdraw(id)? {
        return Err(HttpError::not_found(format!("No such announcement: {id}")).into());
    }
    tracing::info!("{} withdraws the announcement {id}", caller.name());
    Ok(empty(StatusCode::NO_CONTENT))
}
