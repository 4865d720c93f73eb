//! `/hub/admin/add`: one user or many, with accounts of the machine where the configuration makes them.

use std::collections::HashSet;

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use minijinja::context;
use minijinja::value::Value;
use serde_json::json;

use super::act::{CALLS_AT_ONCE, USERS_MAX, result, results};
use super::{check, group_names, names as names_of, page};
use crate::pages::errors::PageError;
use crate::pages::language::text;
use crate::pages::urls;
use crate::pages::visit::Visit;

/// What is said of a user who was made.
const ADDED: &str = text!("added");
/// What is said of one whom the hub knew.
const KNOWN: &str = text!("was there already");

/// A problem of the whole form: nobody was added.
type Problem = (StatusCode, String);

/// `GET`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    check(&visit)?;
    form_page(&visit, "", None).await
}

/// `POST`: names with white space or commas between them.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let text = form.get("names").unwrap_or_default();
    let mut seen = HashSet::new();
    let names: Vec<String> = text
        .split(['\n', '\r', ','])
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty() && seen.insert(name.clone()))
        .collect();
    let admin = form.get("admin").is_some();
    let accounts = visit.hub.access.load().create_system_users;
    let done =
        if accounts { one_by_one(&visit, names, admin).await } else { at_once(&visit, names, admin).await };
    let mut done = match done? {
        Ok(done) => done,
        Err(problem) => return form_page(&visit, text, Some(problem)).await,
    };
    if let Some(group) = form.get("group").filter(|group| !group.is_empty()) {
        let members: Vec<&str> = done.iter().filter(|line| line.ok).map(|line| line.name.as_str()).collect();
        let path = format!("/groups/{}/users", urls::segment(group));
        let called = visit.api((Method::POST, &path), Some(json!({ "users": members }))).await?;
        if !called.is_ok() {
            done.push(Line { name: group.to_owned(), ok: false, text: called.message() });
        }
    }
    let list = visit.hub_url("admin?sort=-id");
    if !accounts && done.iter().all(|line| line.text == ADDED) {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &list));
    }
    let lines = done.iter().map(|line| result(&line.name, line.ok, &line.text)).collect::<Vec<Value>>();
    Ok(results(&visit, text!("Add Users"), lines, &list))
}

/// What became of one name.
struct Line {
    name: String,
    ok: bool,
    text: String,
}

/// All in one call, which adds all of them or nobody.
async fn at_once(
    visit: &Visit,
    names: Vec<String>,
    admin: bool,
) -> Result<Result<Vec<Line>, Problem>, PageError> {
    let body = json!({ "usernames": names, "admin": admin });
    let called = visit.api((Method::POST, "/users"), Some(body)).await?;
    let added: HashSet<String> = match called.status {
        StatusCode::CONFLICT => HashSet::new(),
        _ if called.is_ok() => names_of(&called).into_iter().collect(),
        status => return Ok(Err((status, called.message()))),
    };
    let line = |name: String| {
        let text = if added.contains(&name) { ADDED } else { KNOWN };
        Line { name, ok: true, text: text.to_owned() }
    };
    Ok(Ok(names.into_iter().map(line).collect()))
}

/// Each with an account of the machine, so that one that cannot be made keeps nobody else out.
async fn one_by_one(
    visit: &Visit,
    names: Vec<String>,
    admin: bool,
) -> Result<Result<Vec<Line>, Problem>, PageError> {
    if names.len() > USERS_MAX {
        let text = format!("At most {USERS_MAX} users with accounts can be added at once.");
        return Ok(Err((StatusCode::BAD_REQUEST, text)));
    }
    let add = |name: String| async move {
        let path = format!("/users/{}", urls::segment(&name));
        let called = visit.api((Method::POST, &path), Some(json!({ "admin": admin }))).await?;
        let (ok, text) = match called.status {
            StatusCode::CONFLICT => (true, KNOWN.to_owned()),
            _ if called.is_ok() => (true, ADDED.to_owned()),
            _ => (false, called.message()),
        };
        Ok(Line { name, ok, text })
    };
    let calls = futures_util::stream::iter(names.into_iter().map(add)).buffered(CALLS_AT_ONCE);
    let all: Vec<Result<Line, PageError>> = calls.collect().await;
    all.into_iter().collect::<Result<Vec<_>, _>>().map(Ok)
}

async fn form_page(visit: &Visit, names: &str, problem: Option<Problem>) -> Result<Response, PageError> {
    let extra = context! {
        tab => "users",
        groups => group_names(visit).await?,
        names => names,
        accounts => visit.hub.access.load().create_system_users,
        problem => problem.as_ref().map(|(_, text)| text.as_str()),
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    Ok(page(visit, status, "admin_add.html", extra))
}
