//! `/hub/admin/hub`: announcements, and the end of the hub.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use minijinja::context;
use minijinja::value::Serde;
use serde_json::json;

use super::{check, page, succeeded};
use crate::pages::errors::PageError;
use crate::pages::form::Form;
use crate::pages::language::text;
use crate::pages::urls;
use crate::pages::visit::Visit;

/// `GET`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    check(&visit)?;
    Ok(hub_page(&visit, None, ""))
}

/// `POST`.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    check(&visit)?;
    let form = visit.form(body).await?;
    let called = match form.get("action") {
        Some("announce") => visit.api((Method::POST, "/announcements"), Some(announcement(&form))).await?,
        Some("withdraw") => {
            let path = format!("/announcements/{}", urls::segment(form.get("id").unwrap_or_default()));
            visit.api((Method::DELETE, &path), None).await?
        }
        Some("shutdown") if form.get("sure").is_some() => {
            let body = if form.get("servers").is_some() { json!({ "servers": true }) } else { json!({}) };
            succeeded(visit.api((Method::POST, "/shutdown"), Some(body)).await?)?;
            let extra = context! {
                status_code => 202,
                message => visit.say(text!("Shutting down Hub")),
                advice => text!("This page works again when the hub has been started again."),
            };
            return Ok(visit.page(StatusCode::ACCEPTED, "error.html", extra));
        }
        _ => return Err(PageError::new(StatusCode::BAD_REQUEST, "No such action")),
    };
    if called.is_ok() {
        return Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("admin/hub")));
    }
    let problem = (called.status, called.message());
    Ok(hub_page(&visit, Some(problem), form.get("text").unwrap_or_default()))
}

/// The API's body of a form.
fn announcement(form: &Form) -> serde_json::Value {
    let seconds = form.get("seconds").and_then(|text| text.parse::<u64>().ok());
    json!({ "text": form.get("text"), "level": form.get("level").unwrap_or("info"), "expires_in": seconds })
}

fn hub_page(visit: &Visit, problem: Option<(StatusCode, String)>, text: &str) -> Response {
    let extra = context! {
        tab => "hub",
        problem => problem.as_ref().map(|(_, text)| text.as_str()),
        all_announcements => Serde(&visit.hub.announcements()),
        news_text => text,
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    page(visit, status, "admin_hub.html", extra)
}
