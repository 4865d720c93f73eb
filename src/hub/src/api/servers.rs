//! User servers: reading, making, starting, changing, stopping.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hubd_proto::{ServerName, UserName};
use hubd_store::{Spawner, User};
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, empty, json_answer, read_answer};
use super::ask::Ask;
use super::body;
use super::models::Viewer;
use super::server_names::{check_display_name, check_name, check_startable};
use crate::auth::scopes::Target;
use crate::error::HttpError;
use crate::servers::{Failure, NotBegun, StartRequest, State};

/// What a body says about a server.
struct Wanted {
    display_name: Option<String>,
    user_options: Option<Value>,
}

/// `GET …/server`.
pub async fn read(ask: Ask) -> Answer {
    let caller = ask.need(&["read:servers"], target(&ask))?;
    ask.user()?;
    let default = || ask.path("server").is_empty().then(|| Spawner::never_started(ask.path("name")));
    let spawner = spawner(&ask)?.or_else(default).ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.server(&spawner);
    Ok(read_answer(&ask.parts.headers, &model))
}

/// `PUT …/server`: makes the row without starting anything.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["start:servers"], target(&ask))?;
    let user = ask.user()?;
    let (_, server) = ask.server()?;
    let exists = spawner(&ask)?.is_some();
    if server.is_default() || exists {
        let what =
            if server.is_default() { "a default server".to_owned() } else { format!("server {server}") };
        let text = format!("User {} already has {what}", user.name);
        return Err(HttpError::new(StatusCode::CONFLICT, text).into());
    }
    check_new(&ask, &user, &server)?;
    let wanted = wanted(body).await?;
    let display_name = wanted.display_name.as_deref().unwrap_or(server.as_str());
    ask.hub.store.ensure_spawner(&user.name, server.as_str(), Some(display_name))?;
    if let Some(options) = &wanted.user_options {
        ask.hub.store.set_user_options(&user.name, server.as_str(), options)?;
    }
    let spawner = spawner(&ask)?.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.server(&spawner);
    Ok(json_answer(StatusCode::CREATED, &model))
}

/// `POST …/server`: starts it; 201 when it is ready in time, 202 while it still starts.
pub async fn start(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["start:servers"], target(&ask))?;
    let owner = ask.user()?;
    let mut wanted = wanted(body).await?;
    let (user, server) = ask.server()?;
    if !server.is_default() && spawner(&ask)?.is_none() {
        check_new(&ask, &owner, &server)?;
        wanted.display_name.get_or_insert_with(|| server.to_string());
    } else if !server.is_default() {
        check_named_servers(&ask)?;
        check_startable(&ask.hub, &server)?;
    }
    if let Some(name) = &wanted.display_name {
        ask.hub.store.ensure_spawner(&owner.name, server.as_str(), Some(name))?;
    }
    let own = caller.token.is_none() && caller.user().is_some_and(|person| person.id == owner.id);
    let request = StartRequest {
        user: user.clone(),
        server: server.clone(),
        // A ticket and a held login are the person's own: an admin's start nobody else's server.
        session_id: caller.session_id.clone().filter(|_| own),
        ticket: if own { ask.hub.ticket(&ask.parts.headers) } else { None },
        user_options: wanted.user_options,
    };
    let hub = &ask.hub;
    match hub.start_server(request).await {
        Ok(()) => {}
        Err(NotBegun::Pending(_, "spawn")) => return Ok(text(StatusCode::ACCEPTED)),
        Err(error) => return Err(error.into()),
    }
    match hub.wait_server(&user, &server, hub.settings.slow_spawn_timeout).await {
        State::Ready => Ok(text(StatusCode::CREATED)),
        State::Starting => {
            let seconds = hub.settings.slow_spawn_timeout.as_secs();
            tracing::warn!("User {user} is slow to start (timeout={seconds})");
            Ok(text(StatusCode::ACCEPTED))
        }
        State::Stopped { failure: Some(failure) } => Err(failed(&failure)),
        State::Stopped { failure: None } | State::Stopping => {
            Err(HttpError::bad_request("Spawn cancelled").into())
        }
    }
}

/// `PATCH …/server`: display name and options of a server that is stopped.
pub async fn modify(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["start:servers"], target(&ask))?;
    let user = ask.user()?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let (name, mut server) = ask.server()?;
    if spawner(&ask)?.is_none() {
        let text = format!("User {name} has no such server '{server}'");
        return Err(HttpError::not_found(text).into());
    }
    if ask.hub.server(&name, &server).state.is_active() {
        let text = format!("{} is active. Please stop it before modifying it.", log_name(&name, &server));
        return Err(HttpError::bad_request(text).into());
    }
    if let Some(key) =
        data.keys().find(|key| !matches!(key.as_str(), "name" | "display_name" | "user_options"))
    {
        return Err(HttpError::bad_request(format!("Cannot modify '{key}' of a server")).into());
    }
    if data.is_empty() {
        return Err(HttpError::bad_request("Must specify at least one field to modify.").into());
    }
    if let Some(display_name) = data.get("display_name").filter(|name| !body::is_falsy(name)) {
        let display_name =
            display_name.as_str().ok_or_else(|| HttpError::bad_request("display_name must be a string"))?;
        check_display_name(display_name)?;
        ask.hub.store.ensure_spawner(&user.name, server.as_str(), Some(display_name))?;
    }
    if let Some(options) = data.get("user_options") {
        if !options.is_object() {
            return Err(HttpError::bad_request("user_options must be a dict").into());
        }
        ask.hub.store.set_user_options(&user.name, server.as_str(), options)?;
    }
    if let Some(new) = data.get("name") {
        server = rename(&ask, &user, &server, new)?;
    }
    let spawner = ask.hub.store.spawner(&user.name, server.as_str())?;
    let spawner = spawner.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.server(&spawner);
    let mut response = json_answer(StatusCode::OK, &model);
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// `DELETE …/server`: stops it, and with `remove` forgets it.
pub async fn stop(ask: Ask, body: Body) -> Answer {
    ask.need(&["delete:servers"], target(&ask))?;
    ask.user()?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let (user, server) = ask.server()?;
    let remove = match data.get("remove") {
        None | Some(Value::Null) => false,
        Some(remove) => {
            remove.as_bool().ok_or_else(|| HttpError::bad_request("remove must be true or false"))?
        }
    };
    if !server.is_default() {
        check_named_servers(&ask)?;
        if spawner(&ask)?.is_none() {
            return Err(HttpError::not_found(format!("{user} has no server named '{server}'")).into());
        }
    } else if remove {
        return Err(HttpError::bad_request("Cannot delete the default server").into());
    }
    let hub = &ask.hub;
    hub.stop_server(&user, &server).await?;
    let stopped = |state: &State| matches!(state, State::Stopped { .. });
    if stopped(&hub.wait_server(&user, &server, hub.settings.slow_stop_timeout).await) {
        if remove {
            hub.store.delete_spawner(user.as_str(), server.as_str())?;
        }
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let seconds = hub.settings.slow_stop_timeout.as_secs();
    tracing::warn!("User {}: server is slow to stop (timeout={seconds})", log_name(&user, &server));
    if remove {
        tokio::spawn(remove_when_stopped(ask.hub.clone(), user, server));
    }
    Ok(text(StatusCode::ACCEPTED))
}

/// Waits for the end of a slow stop, as long as stops may take, and forgets the server then.
async fn remove_when_stopped(hub: std::sync::Arc<crate::Hub>, user: UserName, server: ServerName) {
    hub.wait_server(&user, &server, REMOVE_WAIT_MAX).await;
    if let Err(error) = hub.store.delete_spawner(user.as_str(), server.as_str()) {
        tracing::error!(%user, %server, %error, "cannot forget a server");
    }
}

/// The longest wait for a stop before a removal is given up: beyond every `stop_seconds` of the helper.
const REMOVE_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(300);

/// Gives a named server that is stopped another name.
fn rename(ask: &Ask, user: &User, server: &ServerName, new: &Value) -> Result<ServerName, HttpError> {
    let name = new.as_str().ok_or_else(|| HttpError::bad_request("name must be a string"))?;
    if name == server.as_str() {
        return Ok(server.clone());
    }
    let new = ServerName::new(name).map_err(|error| HttpError::bad_request(error.to_string()))?;
    if server.is_default() {
        // It becomes one named server more; the next default server is a new one.
        check_new(ask, user, &new)?;
    }
    check_name(name)?;
    if ask.hub.store.spawner(&user.name, name)?.is_some() {
        let text = format!("User {} already has server '{name}'", user.name);
        return Err(HttpError::new(StatusCode::CONFLICT, text));
    }
    ask.hub.store.rename_spawner(&user.name, server.as_str(), name)?;
    Ok(new)
}

/// What the caller must hold the scope for.
fn target(ask: &Ask) -> Target<'_> {
    Target::Server(ask.path("name"), ask.path("server"))
}

fn spawner(ask: &Ask) -> Result<Option<Spawner>, HttpError> {
    Ok(ask.hub.store.spawner(ask.path("name"), ask.path("server"))?)
}

/// Whether a new named server may be made.
fn check_new(ask: &Ask, user: &User, server: &ServerName) -> Result<(), HttpError> {
    check_named_servers(ask)?;
    check_name(server.as_str())?;
    let limit = ask.hub.settings.named_server_limit_per_user;
    if limit > 0 {
        let named = ask.hub.store.spawners_of(&user.name)?.iter().filter(|row| !row.name.is_empty()).count();
        if named >= limit as usize {
            return Err(HttpError::bad_request(format!(
                "User {} already has the maximum of {limit} named servers.  \
                 One must be deleted before a new server can be created",
                user.name
            )));
        }
    }
    Ok(())
}

fn check_named_servers(ask: &Ask) -> Result<(), HttpError> {
    if ask.hub.settings.allow_named_servers {
        Ok(())
    } else {
        Err(HttpError::bad_request("Named servers are not enabled."))
    }
}

/// Reads the body of a start: clients before JupyterHub 6 send the options alone.
async fn wanted(body: Body) -> Result<Wanted, HttpError> {
    let mut data = body::object(body, "Body must be a JSON object").await?;
    if !data.contains_key("display_name") && !data.contains_key("user_options") {
        let user_options = (!data.is_empty()).then_some(Value::Object(data));
        return Ok(Wanted { display_name: None, user_options });
    }
    let display_name = match data.remove("display_name") {
        None => None,
        Some(Value::String(name)) if name.is_empty() => None,
        Some(Value::String(name)) => {
            check_display_name(&name)?;
            Some(name)
        }
        Some(_) => return Err(HttpError::bad_request("display_name must be a string")),
    };
    let user_options = match data.remove("user_options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(Value::Object(options)),
        Some(_) => return Err(HttpError::bad_request("user_options must be an object or null")),
    };
    Ok(Wanted { display_name, user_options })
}

/// A start that failed: JupyterHub's keys, and what the page of a failed start shows.
fn failed(failure: &Failure) -> ApiError {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut error = HttpError::new(status, failure.message.as_str());
    error.retry_after_seconds = failure.retry_after_seconds;
    ApiError::from(error)
        .with("code", json!(failure.code))
        .with("step", json!(failure.step))
        .with("advice", json!(failure.advice))
        .with("log", json!(failure.log))
}

/// `alice`, or `alice:lab` for a named server.
pub fn log_name(user: &UserName, server: &ServerName) -> String {
    if server.is_default() { user.to_string() } else { format!("{user}:{server}") }
}

/// An empty answer, typed as JupyterHub types it.
fn text(status: StatusCode) -> Response {
    let mut response = empty(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn options(body: &'static str) -> Result<(Option<String>, Option<Value>), HttpError> {
        wanted(Body::from(body)).await.map(|wanted| (wanted.display_name, wanted.user_options))
    }

    #[tokio::test]
    async fn bodies_of_old_and_new_clients_are_understood() {
        assert_eq!(options("").await, Ok((None, None)));
        assert_eq!(options("{}").await, Ok((None, None)));
        assert_eq!(options("[]").await, Ok((None, None)));
        assert_eq!(options("{\"a\": 1}").await, Ok((None, Some(json!({"a": 1})))));
        assert_eq!(options("{\"display_name\": \"X\"}").await, Ok((Some("X".into()), None)));
        assert_eq!(options("{\"user_options\": {\"a\": 1}}").await, Ok((None, Some(json!({"a": 1})))));
        let message = |result: Result<_, HttpError>| result.unwrap_err().message.unwrap();
        assert_eq!(message(options("[1]").await), "Body must be a JSON object");
        assert_eq!(message(options("{\"display_name\": 1}").await), "display_name must be a string");
        assert_eq!(message(options("{\"user_options\": 1}").await), "user_options must be an object or null");
        assert_eq!(message(options("{").await), "Invalid JSON in body of request");
    }

    #[test]
    fn a_failed_start_is_told_with_its_cause() {
        let failure = Failure {
            code: "ticket-missing".into(),
            step: "checking your permission".into(),
            words: Default::default(),
            message: "no ticket".into(),
            advice: "log in".into(),
            log: vec!["line".into()],
            status: 403,
            retry_after_seconds: Some(3),
        };
        let response = failed(&failure).into_response();
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["retry-after"], "3");
    }
}
