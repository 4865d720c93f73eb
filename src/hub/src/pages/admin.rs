//! `/hub/admin`: everybody's servers, to start and stop. Plain forms and links, no script needed.

use axum::response::Response;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use hubd_store::{Page, User, UserFilter, UserOrder, UserState, UserSubset};
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::home::{iso_time, spawner_value};
use super::urls;
use super::visit::Visit;
use crate::auth::scopes;
use crate::hub::JUPYTERHUB_VERSION;

/// Users on one page, JupyterHub's `api_page_default_limit`.
const USERS_PER_PAGE: i64 = 50;
/// Longest text to search for, in characters; no name is longer.
const SEARCH_CHARS_MAX: usize = 255;

/// `GET /hub/admin`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    let browser = visit.person()?;
    let held = visit.hub.scopes_of_user(&browser.user)?;
    if !held.contains("admin-ui") {
        let text = "Action is not authorized with current scopes; requires any of [admin-ui]";
        return Err(PageError::new(StatusCode::FORBIDDEN, text));
    }
    let search: String =
        visit.argument("name_filter").unwrap_or_default().chars().take(SEARCH_CHARS_MAX).collect();
    let active = visit.argument("state").is_some_and(|state| state == "active");
    let offset = visit.argument("offset").and_then(|text| text.parse().ok()).unwrap_or(0_i64).max(0);
    let everybody = scopes::access(&held, "list:users", scopes::Target::All, visit.hub.store.as_ref());
    let filter = UserFilter {
        state: active.then_some(UserState::Active),
        name: (!search.is_empty()).then(|| search.clone()),
        // Who may not list everybody sees at least themselves.
        only: (everybody != scopes::Access::Allowed)
            .then(|| UserSubset { users: vec![browser.name.to_string()], groups: Vec::new() }),
        order: UserOrder::Name,
        descending: false,
    };
    let page = Page { offset, limit: USERS_PER_PAGE };
    let (users, total) = visit.hub.store.users(&filter, page)?;
    let shown = i64::try_from(users.len()).unwrap_or(USERS_PER_PAGE);
    let at = |offset: i64| page_url(&visit, &search, active, offset);
    let extra = context! {
        users => users.iter().filter_map(|user| row(&visit, user)).collect::<Vec<_>>(),
        search => search.as_str(),
        only_active => active,
        first => if shown > 0 { offset + 1 } else { 0 },
        last => offset + shown,
        total => total,
        previous_url => (offset > 0).then(|| at((offset - USERS_PER_PAGE).max(0))),
        next_url => (offset + shown < total && shown > 0).then(|| at(offset + shown)),
        server_version => JUPYTERHUB_VERSION,
        api_page_limit => USERS_PER_PAGE,
    };
    Ok(visit.page(StatusCode::OK, "admin.html", extra))
}

/// The address of another part of the list.
fn page_url(visit: &Visit, search: &str, active: bool, offset: i64) -> String {
    let mut query = vec![("offset".to_owned(), offset.to_string())];
    if !search.is_empty() {
        query.push(("name_filter".to_owned(), search.to_owned()));
    }
    if active {
        query.push(("state".to_owned(), "active".to_owned()));
    }
    urls::with_query(&visit.hub_url("admin"), &query)
}

/// A user with the default server first, then those that run beside it.
fn row(visit: &Visit, user: &User) -> Option<Value> {
    let owner = UserName::new(user.name.as_str()).ok()?;
    let default = ServerName::default();
    let mut servers = vec![spawner_value(visit, &owner, &default, &visit.hub.server(&owner, &default))];
    for (name, snapshot) in visit.hub.servers_of(&owner) {
        if !name.is_default() {
            servers.push(spawner_value(visit, &owner, &name, &snapshot));
        }
    }
    Some(context! {
        name => owner.as_str(),
        admin => user.admin,
        last_activity => user.last_activity.map(iso_time),
        servers => servers,
    })
}
