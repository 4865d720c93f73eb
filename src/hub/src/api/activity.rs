//! `POST /users/NAME/activity`: user servers tell when they were last used.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::answer::{Answer, empty};
use super::ask::Ask;
use super::{body, timestamps};
use crate::auth::scopes::Target;
use crate::error::HttpError;

/// How far in the future a time may lie: clocks differ, time zones must not be mixed up.
const FUTURE_MAX: Duration = Duration::from_secs(59 * 60);

/// What a body has to look like.
const FORM: &str = "servers must be a dict of the form {server_name: {last_activity: timestamp}}";

/// Raises the activity of a user and their servers.
pub async fn record(ask: Ask, body: Body) -> Answer {
    ask.need(&["users:activity"], Target::User(ask.path("name")))?;
    let name = ask.path("name");
    let missing = || HttpError::not_found(format!("No such user: '{name}'"));
    let user = ask.hub.store.user(name)?.ok_or_else(missing)?;
    let data = match body::json(body).await? {
        Value::Object(data) => data,
        _ => return Err(HttpError::bad_request("body must be a json dict").into()),
    };
    let now = ask.hub.clock.now();
    let given = |key: &str| data.get(key).filter(|value| !body::is_falsy(value));
    let (own, servers) = (given("last_activity"), given("servers"));
    if own.is_none() && servers.is_none() {
        return Err(
            HttpError::bad_request("body must contain at least one of `last_activity` or `servers`").into()
        );
    }
    let own = own.map(|value| time(value, now)).transpose()?;
    let mut rows = Vec::new();
    let servers = match servers {
        None => None,
        Some(Value::Object(servers)) => Some(servers),
        Some(_) => return Err(HttpError::bad_request(FORM).into()),
    };
    for (server, value) in servers.into_iter().flatten() {
        // The default server exists for everybody, also before its first start.
        if !server.is_empty() && ask.hub.store.spawner(&user.name, server)?.is_none() {
            let text = format!("No such server '{server}' for user {}", user.name);
            return Err(HttpError::bad_request(text).into());
        }
        let value = value.get("last_activity").ok_or_else(|| HttpError::bad_request(FORM))?;
        rows.push((user.name.clone(), server.clone(), time(value, now)?));
    }
    ask.hub.store.record_activity(&rows)?;
    if let Some(time) = own {
        ask.hub.store.record_user_activity(&user.name, time)?;
    }
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn time(value: &Value, now: SystemTime) -> Result<SystemTime, HttpError> {
    let text = value.as_str().unwrap_or_default();
    let Some(time) = timestamps::read(text, now) else {
        let shown = if value.is_string() { format!("'{text}'") } else { value.to_string() };
        return Err(HttpError::bad_request(format!("Not a valid timestamp: {shown}")));
    };
    if time.duration_since(now).is_ok_and(|ahead| ahead > FUTURE_MAX) {
        let shown = timestamps::write(Some(time));
        let text = format!(
            "Rejecting activity from more than an hour in the future: {}",
            shown.as_str().unwrap_or(text)
        );
        return Err(HttpError::bad_request(text));
    }
    Ok(time)
}
