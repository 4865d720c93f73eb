//! `/hub/admin/groups`: groups, their members and properties.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use hubd_store::{Group, Page};
use minijinja::context;
use minijinja::value::Value;
use serde_json::json;

use super::{check, page, succeeded};
use crate::api::inside::Called;
use crate::pages::errors::PageError;
use crate::pages::form::Form;
use crate::pages::urls;
use crate::pages::visit::Visit;

/// Groups on one page.
const GROUPS_PER_PAGE: i64 = 100;

/// `GET /hub/admin/groups`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    check(&visit)?;
    list(&visit, None).await
}

/// `POST /hub/admin/groups`: a new group.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let name = form.get("name").unwrap_or_default().trim();
    if name.is_empty() {
        return list(&visit, Some((StatusCode::BAD_REQUEST, "A group needs a name.".to_owned()))).await;
    }
    let path = format!("/groups/{}", urls::segment(name));
    let called = visit.api((Method::POST, &path), Some(json!({}))).await?;
    if called.is_ok() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &group_url(&visit, name)));
    }
    list(&visit, Some((called.status, called.message()))).await
}

async fn list(visit: &Visit, problem: Option<(StatusCode, String)>) -> Result<Response, PageError> {
    let offset = visit.argument("offset").and_then(|text| text.parse().ok()).unwrap_or(0_i64).max(0);
    let path = format!("/groups?limit={GROUPS_PER_PAGE}&offset={offset}");
    let listed = super::names(&succeeded(visit.api((Method::GET, &path), None).await?)?);
    let whole = Page { offset: 0, limit: GROUPS_PER_PAGE };
    let (groups, total) = visit.hub.store.groups(Some(&listed), whole)?;
    let shown = i64::try_from(groups.len()).unwrap_or(GROUPS_PER_PAGE);
    let at = |offset: i64| visit.hub_url(&format!("admin/groups?offset={offset}"));
    let users_of =
        |name: &str| urls::with_query(&visit.hub_url("admin"), &[("group".to_owned(), name.to_owned())]);
    let rows = groups.iter().map(|group| {
        context! {
            name => group.name.as_str(),
            url => group_url(visit, &group.name),
            users_url => users_of(&group.name),
            count => group.users.len(),
            roles => group.roles.clone(),
        }
    });
    let extra = context! {
        tab => "groups",
        problem => problem.as_ref().map(|(_, text)| text.as_str()),
        groups => rows.collect::<Vec<Value>>(),
        total => total,
        first => if shown > 0 { offset.saturating_add(1) } else { 0 },
        last => offset.saturating_add(shown),
        previous_url => (offset > 0).then(|| at((offset - GROUPS_PER_PAGE).max(0))),
        next_url => (shown == GROUPS_PER_PAGE && offset.saturating_add(shown) < total).then(|| at(offset + shown)),
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    Ok(page(visit, status, "admin_groups.html", extra))
}

/// `GET /hub/admin/group?name=NAME`. A name is free text, so it is no segment of the path.
pub async fn read(visit: Visit) -> Result<Response, PageError> {
    check(&visit)?;
    let group = find(&visit).await?;
    Ok(group_page(&visit, &group, &Shown::default()))
}

/// `POST /hub/admin/group?name=NAME`: members, properties, or its end.
pub async fn change(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let group = find(&visit).await?;
    let called = match form.get("action") {
        Some("members") => set_members(&visit, &group, &form).await?,
        Some("properties") => match serde_json::from_str(form.get("properties").unwrap_or_default()) {
            Ok(properties) => {
                visit
                    .api((Method::PUT, &format!("{}/properties", api_path(&group))), Some(properties))
                    .await?
            }
            Err(error) => Called {
                status: StatusCode::BAD_REQUEST,
                body: json!({ "message": format!("This is not JSON: {error}") }),
            },
        },
        Some("delete") if form.get("sure").is_some() => {
            succeeded(visit.api((Method::DELETE, &api_path(&group)), None).await?)?;
            return Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("admin/groups")));
        }
        _ => return Err(PageError::new(StatusCode::BAD_REQUEST, "No such action")),
    };
    if called.is_ok() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &group_url(&visit, &group.name)));
    }
    let shown = Shown {
        problem: Some((called.status, called.message())),
        members: form.get("members").map(str::to_owned),
        properties: form.get("properties").map(str::to_owned),
    };
    Ok(group_page(&visit, &group, &shown))
}

/// Makes the members those of the form, by adding and removing.
async fn set_members(visit: &Visit, group: &Group, form: &Form) -> Result<Called, PageError> {
    let text = form.get("members").unwrap_or_default();
    let wanted: BTreeSet<String> = text
        .split(['\n', '\r', ','])
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let present: BTreeSet<String> = group.users.iter().cloned().collect();
    let path = format!("{}/users", api_path(group));
    let mut called = Called { status: StatusCode::OK, body: json!(null) };
    for (method, names) in
        [(Method::POST, wanted.difference(&present)), (Method::DELETE, present.difference(&wanted))]
    {
        let names: Vec<&String> = names.collect();
        if called.is_ok() && !names.is_empty() {
            called = visit.api((method, &path), Some(json!({ "users": names }))).await?;
        }
    }
    Ok(called)
}

/// What a refused form shows again.
#[derive(Default)]
struct Shown {
    problem: Option<(StatusCode, String)>,
    members: Option<String>,
    properties: Option<String>,
}

fn group_page(visit: &Visit, group: &Group, shown: &Shown) -> Response {
    let mut members = group.users.clone();
    members.sort_unstable();
    let properties = serde_json::to_string_pretty(&group.properties).unwrap_or_default();
    let extra = context! {
        tab => "groups",
        problem => shown.problem.as_ref().map(|(_, text)| text.as_str()),
        name => group.name.as_str(),
        roles => group.roles.clone(),
        count => group.users.len(),
        members => shown.members.clone().unwrap_or_else(|| members.join("\n")),
        properties => shown.properties.clone().unwrap_or(properties),
        group_url => group_url(visit, &group.name),
    };
    let status = shown.problem.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    page(visit, status, "admin_group.html", extra)
}

/// The group that the query names, if the person may read it.
async fn find(visit: &Visit) -> Result<Group, PageError> {
    let name = visit.argument("name").unwrap_or_default();
    let missing = || PageError::new(StatusCode::NOT_FOUND, format!("No such group: {name}"));
    if name.is_empty() {
        return Err(missing());
    }
    succeeded(visit.api((Method::GET, &format!("/groups/{}", urls::segment(&name))), None).await?)?;
    visit.hub.store.group(&name)?.ok_or_else(missing)
}

fn api_path(group: &Group) -> String {
    format!("/groups/{}", urls::segment(&group.name))
}

fn group_url(visit: &Visit, name: &str) -> String {
    urls::with_query(&visit.hub_url("admin/group"), &[("name".to_owned(), name.to_owned())])
}
