//! Dismissing an announcement: the browser remembers it in a cookie.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::errors::PageError;
use super::visit::{Visit, add_cookies};
use crate::announcements::is_id;
use crate::auth::{Cookie, Lifetime, cookie_values};

/// The cookie of dismissed announcements: their ids, with dots between.
const COOKIE: &str = "hubd-dismissed";
/// Most ids that are kept; the oldest go first.
const IDS_MAX: usize = 20;
/// How long a dismissal holds: longer than most announcements.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

/// The announcements that a browser has dismissed.
pub fn dismissed(headers: &HeaderMap) -> Vec<&str> {
    cookie_values(headers, COOKIE).flat_map(|value| value.split('.')).filter(|id| is_id(id)).collect()
}

/// `POST /hub/announcement/dismiss`.
pub async fn dismiss(visit: Visit, body: Body) -> Result<Response, PageError> {
    let form = visit.form(body).await?;
    let id = form.get("id").filter(|id| is_id(id));
    let id = id.ok_or_else(|| PageError::new(StatusCode::BAD_REQUEST, "No such announcement"))?;
    let mut ids = dismissed(&visit.parts.headers);
    ids.retain(|known| *known != id);
    ids.push(id);
    let value = ids.get(ids.len().saturating_sub(IDS_MAX)..).unwrap_or_default().join(".");
    let prefix = visit.hub_url("");
    let own = |path: &&str| path.starts_with(prefix.as_str()) && !path.chars().any(char::is_control);
    let back = form.get("back").filter(own).map_or_else(|| visit.hub_url("home"), str::to_owned);
    let mut response = visit.redirect(StatusCode::SEE_OTHER, &back);
    let cookie = Cookie {
        name: COOKIE,
        value: &value,
        path: &prefix,
        lifetime: Lifetime::Until(visit.hub.clock.now() + LIFETIME),
        http_only: true,
        secure: visit.hub.is_https(&visit.parts),
        domain: None,
    };
    add_cookies(&mut response, [cookie.header()]);
    Ok(response)
}
