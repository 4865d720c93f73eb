//! `/hub/share/NAME[/SERVER]`: who else may use a server. What the forms do are calls of the API.

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{Method, StatusCode};
use hubd_store::{Page, ShareOf};
use minijinja::context;
use minijinja::value::Value;
use serde_json::json;

use super::errors::PageError;
use super::home::iso_time;
use super::spawn::{Target, target};
use super::urls;
use super::user_url::server_path;
use super::visit::Visit;

/// The scope that sharing needs.
const SCOPE: &str = "shares";
/// Most shares and links that the page shows.
const SHOWN_MAX: i64 = 100;

/// `GET`.
pub async fn get(visit: Visit, Path(segments): Path<Vec<(String, String)>>) -> Result<Response, PageError> {
    let target = target(&visit, &segments, SCOPE)?;
    share_page(&visit, &target, None, None)
}

/// `POST`: gives, takes back, makes and withdraws links.
pub async fn post(
    visit: Visit,
    Path(segments): Path<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, PageError> {
    visit.person()?;
    let form = visit.form(body).await?;
    let target = target(&visit, &segments, SCOPE)?;
    // A server that was never started has no record yet, and shares belong to one.
    visit.hub.store.ensure_spawner(target.owner.as_str(), target.server.as_str(), None)?;
    let of = |what: &str| {
        let owner = urls::segment(target.owner.as_str());
        format!("/{what}/{owner}/{}", urls::segment(target.server.as_str()))
    };
    let name = form.get("name").unwrap_or_default().trim();
    let with = match form.get("kind") {
        Some("group") => json!({ "group": name }),
        _ => json!({ "user": name }),
    };
    let called = match form.get("action") {
        Some("grant") => visit.api((Method::POST, &of("shares")), Some(with)).await?,
        Some("revoke") => visit.api((Method::PATCH, &of("shares")), Some(with)).await?,
        Some("withdraw") => {
            let id = urls::value(form.get("id").unwrap_or_default());
            visit.api((Method::DELETE, &format!("{}?id={id}", of("share-codes"))), None).await?
        }
        Some("code") => {
            let seconds: u64 = form.get("seconds").and_then(|text| text.parse().ok()).unwrap_or(86_400);
            visit.api((Method::POST, &of("share-codes")), Some(json!({ "expires_in": seconds }))).await?
        }
        _ => return Err(PageError::new(StatusCode::BAD_REQUEST, "No such action")),
    };
    if !called.is_ok() {
        return share_page(&visit, &target, Some((called.status, called.message())), None);
    }
    match called.body.get("accept_url").and_then(serde_json::Value::as_str) {
        Some(path) => {
            let url = format!("{}{path}", visit.hub.origin(&visit.parts));
            share_page(&visit, &target, None, Some(&url))
        }
        None => Ok(visit.redirect(StatusCode::SEE_OTHER, &share_url(&visit, &target))),
    }
}

fn share_url(visit: &Visit, target: &Target) -> String {
    visit.hub_url(&format!("share/{}", server_path(&target.owner, &target.server)))
}

fn share_page(
    visit: &Visit,
    target: &Target,
    problem: Option<(StatusCode, String)>,
    accept_url: Option<&str>,
) -> Result<Response, PageError> {
    let Target { owner, server } = target;
    let (store, now) = (&visit.hub.store, visit.hub.clock.now());
    let page = Page { offset: 0, limit: SHOWN_MAX };
    let (shares, codes) = match store.spawner(owner.as_str(), server.as_str())? {
        Some(row) => {
            let of = || ShareOf::Spawner(row.id);
            (store.shares(of(), page, now)?.0, store.share_codes(of(), page, now)?.0)
        }
        None => (Vec::new(), Vec::new()),
    };
    let shares = shares.iter().map(|share| {
        context! { user => share.user.as_deref(), group => share.group.as_deref(), created => share.created.map(iso_time) }
    });
    let codes = codes.iter().map(|code| {
        context! {
            id => format!("sc_{}", code.id),
            created => code.created.map(iso_time),
            expires => code.expires_at.map(iso_time),
            used => code.exchange_count,
        }
    });
    let extra = context! {
        title => if server.is_default() { visit.server_url(owner.as_str(), "") } else { server.to_string() },
        problem => problem.as_ref().map(|(_, text)| text.as_str()),
        accept_url => accept_url,
        share_url => share_url(visit, target),
        shares => shares.collect::<Vec<Value>>(),
        codes => codes.collect::<Vec<Value>>(),
    };
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    Ok(visit.page(status, "share.html", extra))
}
