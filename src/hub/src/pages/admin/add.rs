//! `/hub/admin/add`: one user or many.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use minijinja::context;
use serde_json::json;

use super::{check, group_names, page};
use crate::pages::errors::PageError;
use crate::pages::urls;
use crate::pages::visit::Visit;

/// `GET`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    check(&visit)?;
    let groups = group_names(&visit).await?;
    Ok(page(&visit, StatusCode::OK, "admin_add.html", context! { tab => "users", groups => groups }))
}

/// `POST`: names with white space or commas between them.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let text = form.get("names").unwrap_or_default();
    let names: Vec<&str> =
        text.split(['\n', '\r', ',']).map(str::trim).filter(|name| !name.is_empty()).collect();
    let body = json!({ "usernames": names, "admin": form.get("admin").is_some() });
    let called = visit.api((Method::POST, "/users"), Some(body)).await?;
    let mut problem = (!called.is_ok()).then(|| (called.status, called.message()));
    if let (None, Some(group)) = (&problem, form.get("group").filter(|group| !group.is_empty())) {
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let path = format!("/groups/{}/users", urls::segment(group));
        let called = visit.api((Method::POST, &path), Some(json!({ "users": names }))).await?;
        problem = (!called.is_ok()).then(|| (called.status, called.message()));
    }
    let Some((status, problem)) = problem else {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("admin?sort=-id")));
    };
    let groups = group_names(&visit).await?;
    let extra = context! { tab => "users", groups => groups, names => text, problem => problem };
    Ok(page(&visit, status, "admin_add.html", extra))
}
