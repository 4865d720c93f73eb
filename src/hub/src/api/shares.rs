//! Shares: what of a server is given to users and groups.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_store::{Share, ShareOf, ShareWith, Spawner, User};
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, empty, json_answer, read_answer};
use super::ask::Ask;
use super::body;
use super::models::Viewer;
use super::page::Paging;
use super::{python, timestamps};
use crate::auth::Caller;
use crate::auth::scopes::{Access, Target};
use crate::error::HttpError;

/// `GET /shares/OWNER`.
pub async fn list_of_owner(ask: Ask) -> Answer {
    let caller = ask.need(&["read:shares"], Target::User(ask.path("name")))?;
    let owner = ask.user()?;
    list(&ask, caller, ShareOf::Owner(owner.id))
}

/// `GET /shares/OWNER/SERVER`.
pub async fn list_of_server(ask: Ask) -> Answer {
    let caller = ask.need(&["read:shares"], target(&ask))?;
    let server = server(&ask)?;
    list(&ask, caller, ShareOf::Spawner(server.id))
}

/// `GET /users/NAME/shared`: also what is shared with the user's groups.
pub async fn list_with_user(ask: Ask) -> Answer {
    let caller = ask.need(&["read:users:shares"], Target::User(ask.path("name")))?;
    let name = ask.path("name");
    let user = ask.hub.store.user(name)?;
    let user = user.ok_or_else(|| HttpError::not_found(format!("No such user: {name}")))?;
    list(&ask, caller, ShareOf::User(user.id))
}

/// `GET /groups/NAME/shared`.
pub async fn list_with_group(ask: Ask) -> Answer {
    let caller = ask.need(&["read:groups:shares"], Target::Group(ask.path("group")))?;
    let name = ask.path("group");
    let group = ask.hub.store.group(name)?;
    let group = group.ok_or_else(|| HttpError::not_found(format!("No such group: {name}")))?;
    list(&ask, caller, ShareOf::Group(group.id))
}

/// `GET /users/NAME/shared/OWNER/SERVER`.
pub async fn read_with_user(ask: Ask) -> Answer {
    let caller = ask.need(&["read:users:shares"], Target::User(ask.path("name")))?;
    let (_, _, share) = given(&ask, "user", "name")?;
    Ok(read_answer(&ask.parts.headers, &model(&ask, caller, &share)?))
}

/// `GET /groups/NAME/shared/OWNER/SERVER`.
pub async fn read_with_group(ask: Ask) -> Answer {
    let caller = ask.need(&["read:groups:shares"], Target::Group(ask.path("group")))?;
    let (_, _, share) = given(&ask, "group", "group")?;
    Ok(read_answer(&ask.parts.headers, &model(&ask, caller, &share)?))
}

/// `DELETE /users/NAME/shared/OWNER/SERVER`: somebody gives back what was shared with them.
pub async fn leave_as_user(ask: Ask) -> Answer {
    ask.need(&["users:shares"], Target::User(ask.path("name")))?;
    leave(&ask, "user", "name")
}

/// `DELETE /groups/NAME/shared/OWNER/SERVER`.
pub async fn leave_as_group(ask: Ask) -> Answer {
    ask.need(&["groups:shares"], Target::Group(ask.path("group")))?;
    leave(&ask, "group", "group")
}

/// `POST /shares/OWNER/SERVER`. Nobody shares more than they have, or with somebody they may not see.
pub async fn grant(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["shares"], target(&ask))?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let (kind, name) = receiver(&data)?;
    let scopes = scopes(&ask, &data, &["user", "group", "scopes"])?;
    let server = server(&ask)?;
    check_held(&ask, caller, &scopes)?;
    let (scope, seen) = match kind {
        "user" => ("read:users:name", Target::User(&name)),
        _ => ("read:groups:name", Target::Group(&name)),
    };
    if ask.access(caller, scope, seen) != Access::Allowed {
        let text = format!("Need scope '{scope}' to share with {kind}s by name");
        return Err(HttpError::forbidden(text).into());
    }
    let with = find_receiver(&ask, kind, &name)?
        .ok_or_else(|| HttpError::bad_request(format!("No such {kind}: {name}")))?;
    let share = ask.hub.store.grant_share(server.id, with, &scopes, ask.hub.clock.now())?;
    let share = share.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    tracing::info!("Sharing scopes {scopes:?} for {kind}:{name} on {}/{}", share.owner, share.server);
    Ok(json_answer(StatusCode::OK, &model(&ask, caller, &share)?))
}

/// `PATCH /shares/OWNER/SERVER`: takes back some scopes, or all.
pub async fn revoke(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["shares"], target(&ask))?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let (kind, name) = receiver(&data)?;
    let asked = scopes(&ask, &data, &["user", "group", "scopes"])?;
    let some = body::strings(&data, "scopes")?.is_some();
    let server = server(&ask)?;
    let Some(with) = find_receiver(&ask, kind, &name)? else {
        return Ok(json_answer(StatusCode::OK, &json!({})));
    };
    let revoked = some.then_some(asked.as_slice());
    let left = ask.hub.store.revoke_share(server.id, with, revoked, ask.hub.clock.now())?;
    tracing::info!("Revoked permissions from {kind}:{name} on {}/{}", server.user, server.name);
    let left = left.map(|share| model(&ask, caller, &share)).transpose()?;
    Ok(json_answer(StatusCode::OK, &left.unwrap_or_else(|| json!({}))))
}

/// `DELETE /shares/OWNER/SERVER`: ends all shares of the server.
pub async fn delete(ask: Ask) -> Answer {
    ask.need(&["shares"], target(&ask))?;
    let server = server(&ask)?;
    let count = ask.hub.store.delete_shares(server.id)?;
    tracing::info!("Deleted {count} shares for {}/{}", server.user, server.name);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What the caller must hold the scope for.
pub(super) fn target(ask: &Ask) -> Target<'_> {
    Target::Server(ask.path("name"), ask.path("server"))
}

/// The row of the server that the path names.
pub(super) fn server(ask: &Ask) -> Result<Spawner, ApiError> {
    let (name, server) = (ask.path("name"), ask.path("server"));
    let found = ask.hub.store.spawner(name, server)?;
    found.ok_or_else(|| HttpError::not_found(format!("No such server: {name}/{server}")).into())
}

/// The scopes of a body, each on the server that the path names; without any, access to it. No other keys than
/// `keys` are taken.
pub(super) fn scopes(ask: &Ask, data: &Map<String, Value>, keys: &[&str]) -> Result<Vec<String>, HttpError> {
    if let Some(key) = data.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(HttpError::bad_request(format!("{key}: Extra inputs are not permitted")));
    }
    let filter = format!("server={}/{}", ask.path("name"), ask.path("server"));
    let asked = body::strings(data, "scopes")?.unwrap_or_else(|| vec![format!("access:servers!{filter}")]);
    let mut scopes = Vec::new();
    for scope in asked {
        let (name, own) = scope.split_once('!').unwrap_or((&scope, &filter));
        if own != filter {
            let text = format!("!{own} not allowed on sharing {scope}, only !{filter}");
            return Err(HttpError::bad_request(text));
        }
        ask.hub
            .settings
            .custom_scopes
            .known(name)
            .map_err(|error| HttpError::bad_request(format!("\"{error}\"")))?;
        scopes.push(format!("{name}!{filter}"));
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// Nobody hands out what they do not hold.
pub(super) fn check_held(ask: &Ask, caller: &Caller, scopes: &[String]) -> Result<(), HttpError> {
    for scope in scopes {
        let name = scope.split('!').next().unwrap_or_default();
        if ask.access(caller, name, target(ask)) != Access::Allowed {
            let text = format!("Do not have permission to grant share with scope {scope}");
            return Err(HttpError::forbidden(text));
        }
    }
    Ok(())
}

/// What shares and codes tell of their server.
pub(super) fn server_model(ask: &Ask, caller: &Caller, owner: &str, name: &str) -> Result<Value, HttpError> {
    let row = ask.hub.store.spawner(owner, name)?.unwrap_or_else(|| Spawner::never_started(owner));
    let full = Viewer { hub: &ask.hub, scopes: &caller.scopes }.server(&row);
    let field = |key: &str| full.get(key).cloned().unwrap_or_default();
    Ok(json!({
        "user": { "name": owner },
        "name": name,
        "url": field("url"),
        "full_url": field("full_url"),
        "ready": field("ready"),
    }))
}

fn list(ask: &Ask, caller: &Caller, of: ShareOf) -> Result<Response, ApiError> {
    let paging = Paging::of(ask)?.in_parts();
    let (shares, total) = ask.hub.store.shares(of, paging.page, ask.hub.clock.now())?;
    let models = shares.iter().map(|share| model(ask, caller, share)).collect::<Result<_, _>>()?;
    Ok(paging.answer(ask, models, total))
}

fn model(ask: &Ask, caller: &Caller, share: &Share) -> Result<Value, HttpError> {
    let named = |name: &Option<String>| name.as_ref().map(|name| json!({ "name": name }));
    Ok(json!({
        "server": server_model(ask, caller, &share.owner, &share.server)?,
        "scopes": share.scopes,
        "user": named(&share.user),
        "group": named(&share.group),
        "kind": if share.group.is_some() { "group" } else { "user" },
        "created_at": timestamps::write(share.created),
    }))
}

/// To whom a body shares: kind and name.
fn receiver(data: &Map<String, Value>) -> Result<(&'static str, String), HttpError> {
    let text = |key: &str| match data.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(other) => {
            let text = format!("{key}: Input should be a valid string, not {}", python::repr(other));
            Err(HttpError::bad_request(text))
        }
    };
    match (text("user")?, text("group")?) {
        (Some(user), None) => Ok(("user", user)),
        (None, Some(group)) => Ok(("group", group)),
        (Some(_), Some(_)) => {
            Err(HttpError::bad_request("Expected exactly one of `user` or `group`, not both."))
        }
        (None, None) => Err(HttpError::bad_request("Specify exactly one of `user` or `group`")),
    }
}

fn find_receiver(ask: &Ask, kind: &str, name: &str) -> Result<Option<ShareWith>, HttpError> {
    Ok(match kind {
        "user" => ask.hub.store.user(name)?.map(|user: User| ShareWith::User(user.id)),
        _ => ask.hub.store.group(name)?.map(|group| ShareWith::Group(group.id)),
    })
}

/// The share that the path names by receiver, owner and server.
fn given(ask: &Ask, kind: &str, capture: &str) -> Result<(i64, ShareWith, Share), ApiError> {
    let (name, owner, server) = (ask.path(capture), ask.path("owner"), ask.path("server"));
    let missing = || HttpError::not_found(format!("No such share for {kind} {name} on {owner}/{server}"));
    let with = find_receiver(ask, kind, name)?.ok_or_else(missing)?;
    let row = ask.hub.store.spawner(owner, server)?.ok_or_else(missing)?;
    let share = ask.hub.store.share(row.id, with, ask.hub.clock.now())?.ok_or_else(missing)?;
    Ok((row.id, with, share))
}

fn leave(ask: &Ask, kind: &str, capture: &str) -> Answer {
    let (server, with, share) = given(ask, kind, capture)?;
    ask.hub.store.revoke_share(server, with, None, ask.hub.clock.now())?;
    tracing::info!(
        "Revoked all permissions from {kind}:{} on {}/{}",
        ask.path(capture),
        share.owner,
        share.server
    );
    Ok(empty(StatusCode::NO_CONTENT))
}
