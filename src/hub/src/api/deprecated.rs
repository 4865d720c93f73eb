//! Calls of old clients: who a token or cookie belongs to.

use super::answer::{Answer, ApiError, read_answer};
use super::ask::Ask;
use super::models::{Servers, Viewer, identity};
use crate::auth::scopes::{Held, Owner, Target};
use crate::auth::{Caller, CallerKind};
use crate::error::HttpError;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// `POST /authorizations/token`: gone since JupyterHub 2.
pub async fn request_token(ask: Ask) -> ApiError {
    let path = ask.parts.uri.path();
    HttpError::not_found(format!(
        "Deprecated endpoint {path} is removed in JupyterHub 2.0. Use {}api/users/:user/tokens instead.",
        ask.hub.settings.hub_prefix()
    ))
    .into()
}

/// `GET /authorizations/token/TOKEN`: whoever knows a token may ask whose it is.
pub async fn token_owner(ask: Ask) -> Answer {
    with_token(&ask)?;
    let asker = ask.somebody()?;
    let owner = ask.hub.token_caller(ask.path("token"))?;
    let owner = owner.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    // Whoever knows a token may know its owner's name; for more they need scopes of their own.
    let mut scopes = Held::clone(&asker.scopes);
    let viewer = |scopes| Viewer { hub: &ask.hub, scopes };
    let model = match &owner.kind {
        CallerKind::User(user) => {
            scopes.extend(Owner::User(&user.name).identify_scopes());
            viewer(&scopes).user(user, Servers::Active)?
        }
        CallerKind::Service(service) => {
            scopes.extend(Owner::Service(&service.name).identify_scopes());
            viewer(&scopes).service(service)
        }
    };
    Ok(read_answer(&ask.parts.headers, &json!(model)))
}

/// `GET /authorizations/cookie/NAME/VALUE`: whose login cookie this is.
pub async fn cookie_owner(ask: Ask) -> Answer {
    with_token(&ask)?;
    let missing = || HttpError::bare(StatusCode::NOT_FOUND);
    if ask.path("cookie") != ask.hub.settings.login_cookie() {
        return Err(missing().into());
    }
    let value = ask.path("value").trim_matches('"');
    let (user, _) = ask.hub.user_of_login_cookie(value).ok_or_else(missing)?;
    let scopes = Arc::new(ask.hub.scopes_of_user(&user)?);
    let caller = Caller { kind: CallerKind::User(user.into()), scopes, token: None, session_id: None };
    Ok(read_answer(&ask.parts.headers, &identity(&ask.hub, &caller)?))
}

/// `POST /users/NAME/admin-access`: of old; admins now use OAuth as everybody does.
pub async fn admin_access(ask: Ask) -> Answer {
    ask.need(&["servers"], Target::User(ask.path("name")))?;
    if !ask.hub.settings.admin_access {
        return Err(HttpError::forbidden("admin access to user servers disabled").into());
    }
    ask.user()?;
    let mut response = super::answer::empty(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Only who has a token themselves may ask.
fn with_token(ask: &Ask) -> Result<(), ApiError> {
    match ask.anybody() {
        Some(caller) if caller.token.is_some() => Ok(()),
        _ => Err(HttpError::bare(StatusCode::FORBIDDEN).into()),
    }
}
