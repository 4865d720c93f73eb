//! Which groups and roles a user is given by `PATCH /users/NAME`. Nobody hands out more than they have.

use std::collections::BTreeSet;

use hubd_store::{Group, User};
use serde_json::{Map, Value};

use super::ask::Ask;
use super::body;
use crate::auth::Caller;
use crate::auth::scopes::{Access, Owner, Target, expand, intersect};
use crate::error::HttpError;

/// The role that follows the admin flag.
const ADMIN: &str = "admin";

/// Roles that come and go.
pub struct RoleChange {
    taken: Vec<String>,
    given: Vec<String>,
}

impl RoleChange {
    /// Roles that the user loses.
    pub fn taken(&self) -> Vec<&str> {
        self.taken.iter().map(String::as_str).collect()
    }

    /// Roles that the user gets.
    pub fn given(&self) -> Vec<&str> {
        self.given.iter().map(String::as_str).collect()
    }
}

/// Keys of the groups that a body puts the user in; `None` if it says nothing of groups.
pub fn groups(
    ask: &Ask,
    caller: &Caller,
    user: &User,
    data: &Map<String, Value>,
) -> Result<Option<Vec<i64>>, HttpError> {
    let Some(wanted) = names(data, "groups")? else { return Ok(None) };
    let find = |name: &String| -> Result<Group, HttpError> {
        let group = ask.hub.store.group(name)?;
        group.ok_or_else(|| HttpError::bad_request(format!("No such group: {name}")))
    };
    let present: BTreeSet<String> = user.groups.iter().cloned().collect();
    for name in wanted.symmetric_difference(&present) {
        if ask.access(caller, "groups", Target::Group(name)) != Access::Allowed {
            let text = format!("You may not change who is in group {name}: groups!group={name} is missing");
            return Err(HttpError::forbidden(text));
        }
        super::groups::check_rank(caller, &find(name)?)?;
    }
    wanted.iter().map(|name| find(name).map(|group| group.id)).collect::<Result<_, _>>().map(Some)
}

/// What a body changes about the user's roles; `None` if it says nothing of roles.
pub fn roles(
    ask: &Ask,
    caller: &Caller,
    user: &User,
    data: &Map<String, Value>,
) -> Result<Option<RoleChange>, HttpError> {
    let Some(wanted) = names(data, "roles")? else { return Ok(None) };
    let present: BTreeSet<String> = user.roles.iter().cloned().collect();
    let change = RoleChange {
        taken: present.difference(&wanted).cloned().collect(),
        given: wanted.difference(&present).cloned().collect(),
    };
    if change.taken.is_empty() && change.given.is_empty() {
        return Ok(None);
    }
    if !caller.is_admin() {
        return Err(HttpError::forbidden("Only admins can change roles"));
    }
    if change.taken.iter().chain(&change.given).any(|role| role == ADMIN) {
        return Err(HttpError::bad_request("The role admin follows user.admin: change that"));
    }
    for role in &change.given {
        let raw = ask.hub.store.role_scopes(role)?;
        let raw = raw.ok_or_else(|| HttpError::bad_request(format!("No such role: {role}")))?;
        let gained = expand(&raw, Owner::User(&user.name), None);
        if intersect(&gained, &caller.scopes, ask.hub.store.as_ref()) != gained {
            let text = format!("You cannot give the role {role}: it may do more than you may");
            return Err(HttpError::forbidden(text));
        }
    }
    Ok(Some(change))
}

fn names(data: &Map<String, Value>, key: &str) -> Result<Option<BTreeSet<String>>, HttpError> {
    if !data.contains_key(key) {
        return Ok(None);
    }
    Ok(Some(body::strings(data, key)?.unwrap_or_default().into_iter().collect()))
}
