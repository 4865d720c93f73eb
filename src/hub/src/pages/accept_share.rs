//! `/hub/accept-share?code=…`: somebody takes what a share code gives.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_store::ShareCode;
use minijinja::context;

use super::errors::PageError;
use super::urls;
use super::visit::Visit;

/// `GET`: says what is given, and asks.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    visit.person()?;
    let code = visit.argument("code").unwrap_or_default();
    let found = find(&visit, &code, StatusCode::NOT_FOUND, "Share not found or expired")?;
    if found.owner == visit.person()?.user.name {
        return Err(PageError::new(StatusCode::FORBIDDEN, "You can't share with yourself!"));
    }
    let extra = context! {
        title => "Accept this share?",
        text => format!(
            "{} lets you use the server {}{}. You get: {}.",
            found.owner, found.owner, shown(&found.server), found.scopes.join(", ")
        ),
        action => visit.hub_url(&format!("accept-share?code={}", urls::value(&code))),
        button => "Accept",
        cancel_url => visit.hub_url("home"),
    };
    Ok(visit.page(StatusCode::OK, "ask.html", extra))
}

/// `POST`: takes it, and goes to the server.
pub async fn post(visit: Visit, body: Body) -> Result<Response, PageError> {
    visit.person()?;
    let form = visit.form(body).await?;
    let code = visit.argument("code").or_else(|| form.get("code").map(str::to_owned)).unwrap_or_default();
    let found = find(&visit, &code, StatusCode::BAD_REQUEST, "Invalid share code")?;
    let user = &visit.person()?.user;
    if found.owner == user.name {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "You can't share with yourself!"));
    }
    let hub = &visit.hub;
    let share = hub.store.exchange_share_code(&code, user.id, hub.clock.now())?;
    let share = share.ok_or_else(|| PageError::new(StatusCode::BAD_REQUEST, "Invalid share code"))?;
    tracing::info!("Exchanging a share code for user:{} on {}/{}", user.name, share.owner, share.server);
    let next = visit.next_or(visit.server_url(&share.owner, &share.server));
    Ok(visit.found(&next))
}

fn find(visit: &Visit, code: &str, status: StatusCode, text: &str) -> Result<ShareCode, PageError> {
    let found = visit.hub.store.share_code(code, visit.hub.clock.now())?;
    found.ok_or_else(|| PageError::new(status, text))
}

fn shown(server: &str) -> String {
    if server.is_empty() { String::new() } else { format!("/{server}") }
}
