//! `/hub/accept-share?code=…`: somebody takes what a share code gives.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_proto::{ServerName, UserName};
use hubd_store::ShareCode;
use minijinja::context;

use super::errors::PageError;
use super::visit::Visit;
use crate::auth::scopes;
use crate::servers::State;

/// `GET`: says what is given, and asks.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    visit.person()?;
    let missing = || PageError::new(StatusCode::BAD_REQUEST, "Missing argument code");
    let code = visit.argument("code").ok_or_else(missing)?;
    let found = find(&visit, &code, StatusCode::NOT_FOUND, "Share not found or expired")?;
    if found.owner == visit.person()?.user.name {
        return Err(PageError::new(StatusCode::FORBIDDEN, "You can't share with yourself!"));
    }
    let url = visit.server_url(&found.owner, &found.server);
    let ready = match (UserName::new(found.owner.as_str()), ServerName::new(found.server.as_str())) {
        (Ok(owner), Ok(server)) => visit.hub.server(&owner, &server).state == State::Ready,
        _ => false,
    };
    let meaning = |scope: &String| {
        let name = scope.split('!').next().unwrap_or_default();
        context! { scope => scope.as_str(), description => scopes::find(name).map_or(name, |scope| scope.meaning) }
    };
    let extra = context! {
        code => code,
        owner => context! { name => found.owner.as_str() },
        spawner => context! { name => found.server.as_str(), ready => ready },
        spawner_ready => ready,
        spawner_url => url.as_str(),
        scope_descriptions => found.scopes.iter().map(meaning).collect::<Vec<_>>(),
        next_url => visit.next_or(url.clone()),
    };
    Ok(visit.page(StatusCode::OK, "accept-share.html", extra))
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
