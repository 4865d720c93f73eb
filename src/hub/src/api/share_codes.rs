//! Share codes: whoever has one exchanges it for a share.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use hubd_store::{NewShareCode, ShareCode, ShareOf};
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, empty, json_answer};
use super::ask::Ask;
use super::page::Paging;
use super::shares::{check_held, scopes, server, server_model, target};
use super::{body, python, timestamps};
use crate::auth::Caller;
use crate::auth::scopes::Target;
use crate::error::HttpError;

/// How long a code holds if nothing is said, in seconds: a day.
const EXPIRES_IN_DEFAULT: u64 = 86_400;
/// Shortest and longest life of a code, in seconds: a minute and a year, as JupyterHub.
const EXPIRES_IN_MIN: u64 = 60;
const EXPIRES_IN_MAX: u64 = 525_600 * 60;

/// `GET /share-codes/OWNER`.
pub async fn list_of_owner(ask: Ask) -> Answer {
    let caller = ask.need(&["read:shares"], Target::User(ask.path("name")))?;
    let owner = ask.user()?;
    list(&ask, caller, ShareOf::Owner(owner.id))
}

/// `GET /share-codes/OWNER/SERVER`.
pub async fn list_of_server(ask: Ask) -> Answer {
    let caller = ask.need(&["read:shares"], target(&ask))?;
    let server = server(&ask)?;
    list(&ask, caller, ShareOf::Spawner(server.id))
}

/// `POST /share-codes/OWNER/SERVER`: the only answer that shows the code.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let caller = ask.need(&["shares"], target(&ask))?;
    let data = body::object(body, "Body must be a JSON object").await?;
    let scopes = scopes(&ask, &data, &["scopes", "expires_in"])?;
    let expires_in = expires_in(&data)?;
    check_held(&ask, caller, &scopes)?;
    let row = server(&ask)?;
    let hub = &ask.hub;
    let (mut secret, mut salt) = ([0; 32], [0; 8]);
    hub.random.fill(&mut secret);
    hub.random.fill(&mut salt);
    let code = URL_SAFE_NO_PAD.encode(secret);
    let now = hub.clock.now();
    hub.store.create_share_code(&NewShareCode {
        spawner_id: row.id,
        scopes,
        // A code has 256 random bits: it needs no stretching.
        hashed: hubd_store::hash_token(&code, hubd_store::GENERATED_ROUNDS, salt),
        prefix: hubd_store::token_prefix(&code),
        created: now,
        expires_at: now + expires_in,
    })?;
    tracing::info!("Creating share code for {}/{}", row.user, row.name);
    let stored = hub.store.share_code(&code, now)?;
    let stored = stored.ok_or_else(|| HttpError::bare(StatusCode::NOT_FOUND))?;
    let mut model = model(&ask, caller, &stored)?;
    if let Some(model) = model.as_object_mut() {
        let path = format!("{}accept-share?code={code}", hub.settings.hub_prefix());
        model.insert("code".into(), code.into());
        let full = hub.public_origin().map(|origin| format!("{origin}{path}"));
        model.insert("accept_url".into(), path.into());
        model.insert("full_accept_url".into(), json!(full));
    }
    Ok(json_answer(StatusCode::OK, &model))
}

/// `DELETE /share-codes/OWNER/SERVER`: the one of `code` or `id`, or all.
pub async fn delete(ask: Ask) -> Answer {
    ask.need(&["shares"], target(&ask))?;
    let row = server(&ask)?;
    let hub = &ask.hub;
    let only = match (filled(&ask, "code")?, filled(&ask, "id")?) {
        (Some(code), _) => {
            let found = hub.store.share_code(&code, hub.clock.now())?;
            let found = found.filter(|found| found.owner == row.user && found.server == row.name);
            Some(found.ok_or_else(|| HttpError::not_found("No matching code found"))?.id)
        }
        (None, Some(id)) => {
            let missing = || HttpError::not_found(format!("No code found matching id={id}"));
            Some(id.strip_prefix("sc_").and_then(|digits| digits.parse().ok()).ok_or_else(missing)?)
        }
        (None, None) => None,
    };
    let count = hub.store.delete_share_codes(row.id, only)?;
    if let (Some(_), 0) = (only, count) {
        let id = filled(&ask, "id")?.unwrap_or_default();
        return Err(HttpError::not_found(format!("No code found matching id={id}")).into());
    }
    tracing::info!("Deleted {count} share codes for {}/{}", row.user, row.name);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A parameter of the query that is not empty.
fn filled(ask: &Ask, name: &str) -> Result<Option<String>, HttpError> {
    Ok(ask.argument(name)?.filter(|value| !value.is_empty()))
}

fn list(ask: &Ask, caller: &Caller, of: ShareOf) -> Answer {
    let paging = Paging::of(ask)?.in_parts();
    let (codes, total) = ask.hub.store.share_codes(of, paging.page, ask.hub.clock.now())?;
    let models = codes.iter().map(|code| model(ask, caller, code)).collect::<Result<_, ApiError>>()?;
    Ok(paging.answer(ask, models, total))
}

fn model(ask: &Ask, caller: &Caller, code: &ShareCode) -> Result<Value, ApiError> {
    Ok(json!({
        "server": server_model(ask, caller, &code.owner, &code.server)?,
        "scopes": code.scopes,
        "id": format!("sc_{}", code.id),
        "created_at": timestamps::write(code.created),
        "expires_at": timestamps::write(code.expires_at),
        "exchange_count": code.exchange_count,
        "last_exchanged_at": timestamps::write(code.last_exchanged),
    }))
}

fn expires_in(data: &Map<String, Value>) -> Result<Duration, HttpError> {
    let Some(value) = data.get("expires_in") else { return Ok(Duration::from_secs(EXPIRES_IN_DEFAULT)) };
    match value.as_u64() {
        Some(seconds @ EXPIRES_IN_MIN..=EXPIRES_IN_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(HttpError::bad_request(format!(
            "expires_in: Input should be an integer from {EXPIRES_IN_MIN} to {EXPIRES_IN_MAX}, not {}",
            python::repr(value)
        ))),
    }
}
