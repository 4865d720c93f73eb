//! `/hub/admin`: everybody's servers, users, groups, and the hub itself.
//!
//! Plain forms and links, no script needed. What a form does is a call of the API, so permissions, checks
//! and words are the API's; the pages only ask and show.

pub mod act;
pub mod add;
pub mod groups;
pub mod hub;
pub mod list;
pub mod user;

use axum::response::Response;
use http::{Method, StatusCode};
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::urls;
use super::visit::Visit;
use crate::api::inside::Called;
use crate::auth::scopes::Held;
use crate::hub::JUPYTERHUB_VERSION;

/// Longest text to search for, in characters; no name is longer.
const SEARCH_CHARS_MAX: usize = 255;
/// Most groups that menus offer; who has more types addresses.
const GROUPS_OFFERED_MAX: i64 = 200;

/// The scopes of a person who may see the pages.
fn check(visit: &Visit) -> Result<Held, PageError> {
    let browser = visit.person()?;
    let held = visit.hub.scopes_of_user(&browser.user)?;
    if !held.contains("admin-ui") {
        let text = "Action is not authorized with current scopes; requires any of [admin-ui]";
        return Err(PageError::new(StatusCode::FORBIDDEN, text));
    }
    Ok(held)
}

/// A page of administration.
fn page(visit: &Visit, status: StatusCode, template: &str, extra: Value) -> Response {
    let settings = &visit.hub.settings;
    let common = context! {
        server_version => JUPYTERHUB_VERSION,
        admin_access => settings.admin_access,
        allow_named_servers => settings.allow_named_servers,
        named_server_limit_per_user => settings.named_server_limit_per_user,
        here => visit.uri(),
    };
    visit.page(status, template, context! { ..extra, ..common })
}

/// Names of groups for menus, as far as the person may list them.
async fn group_names(visit: &Visit) -> Result<Vec<String>, PageError> {
    let path = format!("/groups?limit={GROUPS_OFFERED_MAX}");
    let called = visit.api((Method::GET, &path), None).await?;
    Ok(names(&called))
}

/// The names in a list that the API answered.
fn names(called: &Called) -> Vec<String> {
    let list = called.body.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|model| model.get("name")?.as_str().map(str::to_owned)).collect()
}

/// An API answer that is no success, as an error page.
fn succeeded(called: Called) -> Result<Called, PageError> {
    if called.is_ok() { Ok(called) } else { Err(PageError::new(called.status, called.message())) }
}

/// The address of a user's page.
fn user_url(visit: &Visit, name: &str) -> String {
    visit.hub_url(&format!("admin/user/{}", urls::segment(name)))
}

/// Where a form leads back to: a page of administration, or the list.
fn back(visit: &Visit, wanted: Option<&str>) -> String {
    let list = visit.hub_url("admin");
    let own = |path: &&str| {
        path.strip_prefix(list.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '/']))
            && !path.chars().any(char::is_control)
    };
    wanted.filter(own).map_or(list.clone(), str::to_owned)
}
