//! Users: who one is, lists, reading and creating.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_proto::UserName;
use hubd_proto::message::RefusalCode;
use hubd_store::{NewUser, User, UserFilter, UserOrder, UserState, UserSubset};
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, json_answer, read_answer};
use super::ask::Ask;
use super::body;
use super::kept::user_answer;
use super::models::{Servers, Viewer, identity};
use super::page::Paging;
use super::user_changes::USER;
use crate::auth::Caller;
use crate::auth::scopes::{Access, Target, filters};
use crate::error::HttpError;
use crate::helper::HelperError;
use crate::servers::State;

/// Most users made in one call: what fits into a body.
const USERS_MAX: usize = 20_000;

/// `GET /user`: whose credential this is.
pub async fn identify(ask: Ask) -> Answer {
    let caller = ask.anybody().ok_or_else(|| HttpError::bare(StatusCode::FORBIDDEN))?;
    Ok(read_answer(&ask.parts.headers, &identity(&ask.hub, caller)?))
}

/// `GET /users`.
pub async fn list(ask: Ask) -> Answer {
    let caller = ask.somebody()?;
    let only = visible(&ask, caller)?;
    let paging = Paging::of(&ask)?;
    let state = ask.argument("state")?.filter(|state| !state.is_empty());
    let (order, descending) = order(ask.argument("sort")?.as_deref())?;
    let filter = UserFilter {
        state: match state.as_deref() {
            None => None,
            Some("active" | "ready") => Some(UserState::Active),
            Some("inactive") => Some(UserState::Inactive),
            Some(other) => {
                return Err(HttpError::bad_request(format!("Unrecognized state filter: '{other}'")).into());
            }
        },
        name: ask.argument("name_filter")?.filter(|name| !name.is_empty()),
        only,
        order,
        descending,
        ..UserFilter::default()
    };
    let (users, total) = ask.hub.store.users(&filter, paging.page)?;
    let (viewer, servers) = (Viewer { hub: &ask.hub, scopes: &caller.scopes }, servers(&ask)?);
    let mut models = Vec::with_capacity(users.len());
    for user in users.iter().filter(|user| state.as_deref() != Some("ready") || has_ready(&ask, user)) {
        models.extend(viewer.user(user, servers)?);
    }
    Ok(paging.answer(&ask, models, total))
}

/// `GET /users/NAME`.
pub async fn read(ask: Ask) -> Answer {
    let scopes = [
        "read:users",
        "read:users:name",
        "read:servers",
        "read:users:groups",
        "read:users:activity",
        "read:roles:users",
    ];
    let caller = ask.need(&scopes, Target::User(ask.path("name")))?;
    let user = ask.user()?;
    user_answer(&ask, caller, &user, servers(&ask)?)
}

/// `POST /users`: several users at once.
pub async fn create_many(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["admin:users"], Target::All)?;
    let nobody = || HttpError::bad_request("Must specify at least one user to create");
    let Value::Object(mut data) = body::json(body).await? else { return Err(nobody().into()) };
    let names = match data.remove("usernames") {
        Some(Value::Array(names)) if names.len() > USERS_MAX => {
            return Err(
                HttpError::bad_request(format!("usernames must not hold more than {USERS_MAX}")).into()
            );
        }
        Some(Value::Array(names)) if !names.is_empty() => names,
        None | Some(Value::Null | Value::Array(_)) => return Err(nobody().into()),
        Some(_) => return Err(HttpError::bad_request("usernames must be a list of strings").into()),
    };
    let data = USER.check(Value::Object(data))?;
    let admin = wants_admin(&data, caller)?;
    let names = normalised(&names)?;
    for name in &names {
        need_account(&ask, name).await?;
    }
    let new: Vec<NewUser> =
        names.into_iter().map(|name| NewUser { name, admin, cookie_id: ask.hub.new_token() }).collect();
    let created = ask.hub.store.create_users(&new, ask.hub.clock.now())?;
    if created.is_empty() {
        let text = format!("All {} users already exist", new.len());
        return Err(HttpError::new(StatusCode::CONFLICT, text).into());
    }
    let viewer = Viewer { hub: &ask.hub, scopes: &caller.scopes };
    let mut models = Vec::with_capacity(created.len());
    for user in &created {
        models.extend(viewer.user(user, Servers::Active)?);
    }
    Ok(json_answer(StatusCode::CREATED, &Value::Array(models)))
}

/// `POST /users/NAME`: one user, whose name is taken as it is.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let name = ask.path("name");
    let caller = ask.need(&["admin:users"], Target::User(name))?;
    let data = body::json(body).await?;
    if ask.hub.store.user(name)?.is_some() {
        return Err(HttpError::new(StatusCode::CONFLICT, format!("User {name} already exists")).into());
    }
    let data = if body::is_falsy(&data) { Map::new() } else { USER.check(data)? };
    let admin = wants_admin(&data, caller)?;
    if !is_valid(name) {
        return Err(HttpError::bad_request(format!("Failed to create user: {name}")).into());
    }
    need_account(&ask, name).await?;
    let new = NewUser { name: name.to_owned(), admin, cookie_id: ask.hub.new_token() };
    let created = ask.hub.store.create_users(&[new], ask.hub.clock.now())?;
    match created.first() {
        Some(user) => created_answer(&ask, caller, user),
        None => Err(HttpError::new(StatusCode::CONFLICT, format!("User {name} already exists")).into()),
    }
}

/// Makes the account of somebody who is added, where the configuration says so and there is none.
async fn need_account(ask: &Ask, name: &str) -> Result<(), HttpError> {
    if !ask.hub.access.load().create_system_users {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!("Failed to create user {name}: {error}");
        HttpError::bad_request(format!("Failed to create user {name}: {error}"))
    };
    let user = UserName::new(name).map_err(|error| failed(&error))?;
    match ask.hub.helper.check_account(&user, None).await {
        Err(HelperError::Refused(refused)) if refused.code == RefusalCode::AccountUnknown => {
            let made = ask.hub.helper.create_account(&user).await.map_err(|error| failed(&error))?;
            tracing::info!("made the account {} with uid {}", made.user, made.uid);
            Ok(())
        }
        // Barred ones exist; that they cannot log in is told to who tries.
        Ok(_) | Err(HelperError::Refused(_)) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

fn created_answer(ask: &Ask, caller: &Caller, user: &User) -> Result<Response, ApiError> {
    let model = Viewer { hub: &ask.hub, scopes: &caller.scopes }.user(user, Servers::Active)?;
    Ok(json_answer(StatusCode::CREATED, &json!(model)))
}

/// Whether a name can be a hub user's: as in JupyterHub, and safe to hand to the helper.
pub fn is_valid(name: &str) -> bool {
    name.trim() == name
        && UserName::new(name).is_ok()
        && !name.to_lowercase().replace("%2e", ".").chars().all(|c| c == '.')
}

/// Who of all users may be listed: everybody, or the names and groups of the caller's filters.
fn visible(ask: &Ask, caller: &Caller) -> Result<Option<UserSubset>, ApiError> {
    match ask.access(caller, "list:users", Target::All) {
        Access::Allowed => Ok(None),
        Access::Denied => {
            ask.need(&["list:users"], Target::All)?;
            Ok(None)
        }
        Access::Elsewhere => {
            let names =
                |kind| filters(&caller.scopes, "list:users", kind).map(str::to_owned).collect::<Vec<_>>();
            let (users, groups) = (names("user"), names("group"));
            if users.is_empty() && groups.is_empty() {
                // Filters by server or service do not make a list of users.
                return Err(HttpError::bare(StatusCode::FORBIDDEN).into());
            }
            Ok(Some(UserSubset { users, groups }))
        }
    }
}

fn order(sort: Option<&str>) -> Result<(UserOrder, bool), HttpError> {
    let sort = sort.unwrap_or("id");
    let (name, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    match name {
        "id" => Ok((UserOrder::Id, descending)),
        "name" => Ok((UserOrder::Name, descending)),
        "last_activity" => Ok((UserOrder::LastActivity, descending)),
        _ => Err(HttpError::bad_request(format!(
            "sort must be 'id', 'name', or 'last_activity', not '{sort}'"
        ))),
    }
}

/// Which servers the models shall list.
fn servers(ask: &Ask) -> Result<Servers, HttpError> {
    let asked = ask.argument("include_stopped_servers")?.map(|text| text.to_lowercase());
    Ok(match asked.as_deref() {
        None | Some("0" | "false") => Servers::Active,
        Some(_) => Servers::All,
    })
}

fn has_ready(ask: &Ask, user: &User) -> bool {
    let Ok(name) = UserName::new(user.name.as_str()) else { return false };
    ask.hub.servers_of(&name).iter().any(|(_, snapshot)| snapshot.state == State::Ready)
}

/// The `admin` of a body; only admins can make admins.
fn wants_admin(data: &Map<String, Value>, caller: &Caller) -> Result<bool, HttpError> {
    let admin = data.get("admin").and_then(Value::as_bool).unwrap_or(false);
    if admin && !caller.is_admin() {
        return Err(HttpError::forbidden("Only admins can grant admin permissions"));
    }
    Ok(admin)
}

/// The names of a body in lower case, each once.
fn normalised(names: &[Value]) -> Result<Vec<String>, HttpError> {
    let mut good: Vec<String> = Vec::new();
    let mut bad = Vec::new();
    for name in names {
        let Some(name) = name.as_str() else {
            return Err(HttpError::bad_request("usernames must be a list of strings"));
        };
        let name = name.to_lowercase();
        if !is_valid(&name) {
            bad.push(name);
        } else {
            good.push(name);
        }
    }
    match bad.as_slice() {
        [] => {}
        [name] => return Err(HttpError::bad_request(format!("Invalid username: {name}"))),
        names => return Err(HttpError::bad_request(format!("Invalid usernames: {}", names.join(", ")))),
    }
    let mut seen = std::collections::HashSet::new();
    good.retain(|name| seen.insert(name.clone()));
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_in_a_path_are_refused() {
        for good in ["alice", "a b", "A", "a1", "1a", "ü", "a%2Fb"] {
            assert!(is_valid(good), "{good:?}");
        }
        for bad in ["", "a/b", ".", "..", "...", "%2e", "%2E%2e", " a", "a ", "\tx", "x\n", "-x"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn unknown_orders_are_refused() {
        assert_eq!(order(Some("-name")), Ok((UserOrder::Name, true)));
        assert_eq!(order(None), Ok((UserOrder::Id, false)));
        assert!(order(Some("cookie_id")).is_err());
    }
}
