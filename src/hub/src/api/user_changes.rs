//! Changing and deleting users. Nobody changes those who have more than they have.

use axum::body::Body;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use hubd_store::User;
use serde_json::{Value, json};

use super::answer::{Answer, ApiError, empty, json_answer};
use super::ask::Ask;
use super::body::Model;
use super::models::{Servers, Viewer};
use super::{belonging, body};
use crate::auth::Caller;
use crate::auth::scopes::Target;
use crate::error::HttpError;
use crate::servers::State;

/// What a body about a user may hold.
pub const USER: Model = Model {
    kind: "user",
    keys: &[
        ("name", "str"),
        ("admin", "bool"),
        ("groups", "list"),
        ("roles", "list"),
        ("auth_state", "dict"),
    ],
};

/// `PATCH /users/NAME`: name, admin flag, groups and roles. All of it is checked before any of it is done.
pub async fn modify(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["admin:users"], Target::User(ask.path("name")))?;
    let user = ask.user()?;
    let data = USER.check(body::json(body).await?)?;
    check_rank(caller, &user)?;
    if data.get("admin").and_then(Value::as_bool) == Some(true) && !user.admin && !caller.is_admin() {
        return Err(HttpError::forbidden("Only admins can grant admin permissions").into());
    }
    let auth_state = data.get("auth_state").map(|value| ask.hub.sealed_auth_state(value)).transpose()?;
    let groups = belonging::groups(&ask, caller, &user, &data)?;
    let roles = belonging::roles(&ask, caller, &user, &data)?;
    let mut name = user.name.clone();
    if let Some(new) = data.get("name").and_then(Value::as_str) {
        name = new.to_lowercase();
        if name != user.name {
            rename(&ask, &user, &name)?;
        }
    }
    if let Some(admin) = data.get("admin").and_then(Value::as_bool) {
        ask.hub.store.set_admin(user.id, admin)?;
    }
    if let Some(groups) = groups {
        ask.hub.store.set_groups_of_user(user.id, &groups)?;
    }
    if let Some(change) = roles {
        ask.hub.store.change_roles(user.id, &change.taken(), &change.given())?;
    }
    if let Some(token) = auth_state {
        ask.hub.store.set_auth_state(user.id, token.as_deref())?;
    }
    let user = ask.hub.store.user(&name)?.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    let viewer = Viewer { hub: &ask.hub, scopes: &caller.scopes };
    let mut model = json!(viewer.user(&user, Servers::Active)?);
    fill_auth_state(&ask, &user, &mut model)?;
    Ok(json_answer(StatusCode::OK, &model))
}

/// `DELETE /users/NAME`: the servers are stopped first.
pub async fn delete(ask: Ask) -> Answer {
    let caller = ask.need(&["delete:users"], Target::User(ask.path("name")))?;
    let user = ask.user()?;
    check_rank(caller, &user)?;
    if caller.user().is_some_and(|own| own.id == user.id) {
        return Err(HttpError::bad_request("Cannot delete yourself!").into());
    }
    if let Ok(name) = UserName::new(user.name.as_str()) {
        for (server, snapshot) in ask.hub.servers_of(&name) {
            if snapshot.state.is_active() {
                stop(&ask, &name, &server).await?;
            }
        }
    }
    ask.hub.store.delete_user(user.id)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Puts `auth_state` into a model that has a place for it: only the model of one user shows it.
pub fn fill_auth_state(ask: &Ask, user: &User, model: &mut Value) -> Result<(), HttpError> {
    if let Some(place) = model.get_mut("auth_state") {
        *place = ask.hub.auth_state(user)?;
    }
    Ok(())
}

/// Only admins may change or delete admins: others would take over what they do not have.
fn check_rank(caller: &Caller, user: &User) -> Result<(), HttpError> {
    if user.admin && !caller.is_admin() {
        return Err(HttpError::forbidden("Only admins can modify other admins"));
    }
    Ok(())
}

fn rename(ask: &Ask, user: &User, name: &str) -> Result<(), ApiError> {
    if !super::users::is_valid(name) {
        return Err(HttpError::bad_request(format!("Invalid username: '{name}'")).into());
    }
    if ask.hub.store.user(name)?.is_some() {
        let text = format!("User {name} already exists, username must be unique");
        return Err(HttpError::bad_request(text).into());
    }
    let running = UserName::new(user.name.as_str())
        .is_ok_and(|old| ask.hub.servers_of(&old).iter().any(|(_, snapshot)| snapshot.state.is_active()));
    if running {
        // A running process belongs to the account of the old name.
        let text = format!("{}'s servers must be stopped before the user is renamed.", user.name);
        return Err(HttpError::bad_request(text).into());
    }
    Ok(ask.hub.store.rename_user(user.id, name)?)
}

async fn stop(ask: &Ask, user: &UserName, server: &ServerName) -> Result<(), ApiError> {
    ask.hub.stop_server(user, server).await.map_err(|error| HttpError::bad_request(error.to_string()))?;
    match ask.hub.wait_server(user, server, ask.hub.settings.slow_stop_timeout).await {
        State::Stopped { .. } => Ok(()),
        _ => {
            let text = format!("{user}'s server is in the process of stopping, please wait.");
            Err(HttpError::bad_request(text).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_checked_in_pythons_words() {
        let message = |data: Value| USER.check(data).unwrap_err().message.unwrap();
        assert_eq!(message(json!({"nope": 1})), "Invalid JSON keys: {'nope': 1}");
        assert_eq!(message(json!({"admin": "x"})), "user.admin must be <class 'bool'>, not: <class 'str'>");
        assert_eq!(message(Value::Null), "Invalid JSON data: None");
        assert!(message(json!([1])).starts_with("Invalid JSON data: "));
        assert!(USER.check(json!({"name": "a", "auth_state": {}})).is_ok());
    }
}
