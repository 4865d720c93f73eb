//! Groups and their members.

use axum::body::Body;
use http::StatusCode;
use hubd_store::Group;
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, empty, json_answer, read_answer};
use super::ask::Ask;
use super::body::{self, Model};
use super::models::Viewer;
use super::page::Paging;
use crate::auth::Caller;
use crate::auth::scopes::{Access, Target, filters};
use crate::error::HttpError;

/// What a body about a group may hold.
const GROUP: Model = Model { kind: "group", keys: &[("name", "str"), ("users", "list"), ("roles", "list")] };

/// Longest name, in characters, as the column.
const NAME_CHARACTERS_MAX: usize = 255;

/// `GET /groups`.
pub async fn list(ask: Ask) -> Answer {
    let caller = ask.somebody()?;
    let only: Option<Vec<String>> = match ask.access(caller, "list:groups", Target::All) {
        Access::Allowed => None,
        Access::Elsewhere => {
            Some(filters(&caller.scopes, "list:groups", "group").map(str::to_owned).collect())
        }
        Access::Denied => {
            ask.need(&["list:groups"], Target::All)?;
            None
        }
    };
    let paging = Paging::of(&ask)?;
    let (groups, total) = ask.hub.store.groups(only.as_deref(), paging.page)?;
    let viewer = Viewer { hub: &ask.hub, scopes: &caller.scopes };
    let models = groups.iter().filter_map(|group| viewer.group(group)).collect();
    Ok(paging.answer(&ask, models, total))
}

/// `GET /groups/NAME`.
pub async fn read(ask: Ask) -> Answer {
    let scopes = ["read:groups", "read:groups:name", "read:roles:groups"];
    let caller = ask.need(&scopes, Target::Group(ask.path("group")))?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.group(&find(&ask)?);
    Ok(read_answer(&ask.parts.headers, &json!(model)))
}

/// `POST /groups`: several groups, with the same members.
pub async fn create_many(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["admin:groups"], Target::All)?;
    let nothing = || HttpError::bad_request("Must specify at least one group to create");
    let Value::Object(mut data) = body::json(body).await? else { return Err(nothing().into()) };
    let names = body::strings(&data, "groups")?.ok_or_else(nothing)?;
    data.remove("groups");
    let data = GROUP.check(Value::Object(data))?;
    let users = users(&ask, &data)?;
    let mut models = Vec::new();
    for name in names {
        models.extend(make(&ask, caller, &name, &users)?);
    }
    Ok(json_answer(StatusCode::CREATED, &Value::Array(models)))
}

/// `POST /groups/NAME`.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["admin:groups"], Target::Group(ask.path("group")))?;
    let data = match body::json(body).await? {
        Value::Null => Map::new(),
        data => GROUP.check(data)?,
    };
    let users = users(&ask, &data)?;
    let model = make(&ask, caller, ask.path("group"), &users)?;
    Ok(json_answer(StatusCode::CREATED, &json!(model)))
}

/// `DELETE /groups/NAME`.
pub async fn delete(ask: Ask) -> Answer {
    let caller = ask.need(&["delete:groups"], Target::Group(ask.path("group")))?;
    let group = find(&ask)?;
    check_rank(caller, &group)?;
    ask.hub.store.delete_group(&group.name)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `PUT /groups/NAME/properties`.
pub async fn set_properties(ask: Ask, body: Body) -> Answer {
    ask.need(&["groups"], Target::Group(ask.path("group")))?;
    let group = find(&ask)?;
    let data = body::json(body).await?;
    if !data.is_object() {
        return Err(HttpError::bad_request("Must specify properties").into());
    }
    ask.hub.store.set_group_properties(&group.name, &data)?;
    answer(&ask)
}

/// `POST /groups/NAME/users`.
pub async fn add_users(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["groups"], Target::Group(ask.path("group")))?;
    let group = find(&ask)?;
    check_rank(caller, &group)?;
    let data = GROUP.check(body::json(body).await?)?;
    ask.hub.store.add_to_group(group.id, &members(&ask, &data, "Must specify users to add")?)?;
    answer(&ask)
}

/// `DELETE /groups/NAME/users`.
pub async fn remove_users(ask: Ask, body: Body) -> Answer {
    ask.need(&["groups"], Target::Group(ask.path("group")))?;
    let group = find(&ask)?;
    let data = GROUP.check(body::json(body).await?)?;
    ask.hub.store.remove_from_group(group.id, &members(&ask, &data, "Must specify users to delete")?)?;
    answer(&ask)
}

fn answer(ask: &Ask) -> Answer {
    let caller = ask.somebody()?;
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.group(&find(ask)?);
    Ok(json_answer(StatusCode::OK, &json!(model)))
}

fn find(ask: &Ask) -> Result<Group, ApiError> {
    let name = ask.path("group");
    let group = ask.hub.store.group(name)?;
    group.ok_or_else(|| HttpError::not_found(format!("No such group: {name}")).into())
}

fn make(ask: &Ask, caller: &Caller, name: &str, users: &[i64]) -> Result<Option<Value>, ApiError> {
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        return Err(HttpError::bad_request(format!("Invalid group name: '{name}'")).into());
    }
    if !ask.hub.store.create_group(name)? {
        return Err(HttpError::new(StatusCode::CONFLICT, format!("Group {name} already exists")).into());
    }
    let missing = || HttpError::not_found(format!("No such group: {name}"));
    let group = ask.hub.store.group(name)?.ok_or_else(missing)?;
    ask.hub.store.add_to_group(group.id, users)?;
    let group = ask.hub.store.group(name)?.ok_or_else(missing)?;
    Ok(Viewer { hub: &ask.hub, scopes: &caller.scopes }.group(&group))
}

/// A group with roles gives its members rights that only admins may hand out.
pub fn check_rank(caller: &Caller, group: &Group) -> Result<(), HttpError> {
    if !group.roles.is_empty() && !caller.is_admin() {
        return Err(HttpError::forbidden("Only admins can change who is in a group with roles"));
    }
    Ok(())
}

/// Keys of the users that a body names, which may name none.
fn users(ask: &Ask, data: &Map<String, Value>) -> Result<Vec<i64>, HttpError> {
    let mut keys = Vec::new();
    for name in body::strings(data, "users")?.unwrap_or_default() {
        let user = ask.hub.store.user(&name)?;
        keys.push(user.ok_or_else(|| HttpError::bad_request(format!("No such user: {name}")))?.id);
    }
    Ok(keys)
}

/// Keys of the users that a body must name.
fn members(ask: &Ask, data: &Map<String, Value>, otherwise: &str) -> Result<Vec<i64>, HttpError> {
    if !data.contains_key("users") {
        return Err(HttpError::bad_request(otherwise));
    }
    users(ask, data)
}
