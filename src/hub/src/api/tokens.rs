//! API tokens of a user.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http::StatusCode;
use hubd_proto::Secret;
use hubd_proto::message::Revocation;
use hubd_store::{ApiToken, NewToken, TokenOwner, User};
use serde_json::{Map, Value, json};

use super::answer::{Answer, ApiError, empty, json_answer, read_answer};
use super::ask::Ask;
use super::{body, models, python};
use crate::auth::scopes::{Held, Owner, Target, expand, intersect};
use crate::auth::{Caller, CallerKind};
use crate::error::HttpError;
use crate::login::LoginStep;

/// Longest note, in characters, as the column.
const NOTE_CHARACTERS_MAX: usize = 1023;
/// Longest life of a token, in seconds: 100 years, so that no date overflows.
const EXPIRES_IN_MAX: i64 = 100 * 366 * 86400;

/// `GET /users/NAME/tokens`.
pub async fn list(ask: Ask) -> Answer {
    ask.need(&["read:tokens"], Target::User(ask.path("name")))?;
    let user = owner(&ask)?;
    let kind = CallerKind::User(user.clone().into());
    let mut tokens = Vec::new();
    // The page shows the last used first, the API last.
    for token in ask.hub.store.tokens_of(TokenOwner::User(user.id), ask.hub.clock.now())?.into_iter().rev() {
        let scopes = ask.hub.scopes_of_token(&token, &kind)?.scopes;
        tokens.push(models::token(&token, &kind, &scopes));
    }
    Ok(read_answer(&ask.parts.headers, &json!({ "api_tokens": tokens })))
}

/// `GET /users/NAME/tokens/ID`.
pub async fn read(ask: Ask) -> Answer {
    ask.need(&["read:tokens"], Target::User(ask.path("name")))?;
    let user = owner(&ask)?;
    let token = find(&ask, &user)?;
    let kind = CallerKind::User(user.into());
    let scopes = ask.hub.scopes_of_token(&token, &kind)?.scopes;
    Ok(read_answer(&ask.parts.headers, &models::token(&token, &kind, &scopes)))
}

/// `DELETE /users/NAME/tokens/ID`: with the token of an application, all of that application's.
pub async fn delete(ask: Ask) -> Answer {
    ask.need(&["tokens"], Target::User(ask.path("name")))?;
    let user = owner(&ask)?;
    let token = find(&ask, &user)?;
    match token.client_id.as_deref() {
        Some(client) if client != "jupyterhub" => {
            ask.hub.store.delete_tokens_of_client(user.id, client)?;
        }
        _ => {
            ask.hub.store.delete_token(token.id)?;
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /users/NAME/tokens`. Nobody makes a token that may do more than they may themselves.
pub async fn create(ask: Ask, body: Body) -> Answer {
    let (ask, data) = identified(ask, body).await?;
    let name = ask.path("name");
    let kind = match ask.anybody().map(|caller| &caller.kind) {
        Some(CallerKind::Service(_)) => "Service",
        _ => "User",
    };
    let refused =
        || HttpError::forbidden(format!("{kind} {name} not found or no permissions to generate tokens"));
    // Strangers and others get the same answer whether the user exists or not.
    let caller = ask.need(&["tokens"], Target::User(name)).map_err(|_| refused())?;
    let user = ask.hub.store.user(name)?.ok_or_else(refused)?;
    let scopes = scopes(&ask, &data, &user, caller)?;
    let now = ask.hub.clock.now();
    let text = ask.hub.new_token();
    let mut salt = [0; 8];
    ask.hub.random.fill(&mut salt);
    let new = NewToken {
        owner: TokenOwner::User(user.id),
        hashed: hubd_store::hash_token(&text, hubd_store::GENERATED_ROUNDS, salt),
        prefix: hubd_store::token_prefix(&text),
        client_id: "jupyterhub".to_owned(),
        session_id: None,
        note: note(&data, &user, caller)?,
        scopes,
        created: now,
        expires_at: expiry(&data, now, ask.hub.settings.token_expires_in_max_seconds.into())?,
    };
    ask.hub.store.create_token(&new)?;
    let Some(stored) = ask.hub.store.token(&text, now)? else {
        return Err(HttpError::bare(StatusCode::INTERNAL_SERVER_ERROR).into());
    };
    let kind = CallerKind::User(user.into());
    let mut model = models::token(&stored, &kind, &ask.hub.scopes_of_token(&stored, &kind)?.scopes);
    if let Some(model) = model.as_object_mut() {
        model.insert("token".into(), text.into());
    }
    Ok(json_answer(StatusCode::CREATED, &model))
}

/// The body; and if nothing else says who asks, the name and password in it.
async fn identified(ask: Ask, body: Body) -> Result<(Ask, Map<String, Value>), ApiError> {
    let mut data = body::object(body, "Body must be a JSON dict or empty").await?;
    let auth = data.remove("auth");
    if ask.anybody().is_some() {
        return Ok((ask, data));
    }
    let unknown = || HttpError::bare(StatusCode::FORBIDDEN);
    let Some(Value::Object(mut auth)) = auth else { return Err(unknown().into()) };
    let (Some(Value::String(name)), Some(Value::String(password))) =
        (auth.remove("username"), auth.remove("password"))
    else {
        return Err(unknown().into());
    };
    let address = ask.hub.client_address(&ask.parts);
    let began = Instant::now();
    let step = ask.hub.login_begin(&name, Secret::new(password), address).await;
    let done = match step {
        LoginStep::Done(done) => Some(done),
        // Whoever is asked for more than a password has to use a browser.
        LoginStep::Prompt(_) | LoginStep::Refused(_) => None,
    };
    ask.hub.metrics.login(done.is_some(), began.elapsed());
    let done = done.ok_or_else(unknown)?;
    if let (Some((ticket, _)), hub) = (done.ticket, Arc::clone(&ask.hub)) {
        // There is no browser to keep it.
        hub.end_login("", &done.user, Some(ticket), Revocation::This).await;
    }
    // Only a login of the browser makes a user; a password here makes a token for one who exists.
    let user = ask.hub.store.user(done.user.as_str())?.ok_or_else(unknown)?;
    let scopes = Arc::new(ask.hub.scopes_of_user(&user)?);
    let caller = Caller { kind: CallerKind::User(user.into()), scopes, token: None, session_id: None };
    Ok((ask.acting_as(caller), data))
}

fn owner(ask: &Ask) -> Result<User, ApiError> {
    let name = ask.path("name");
    let user = ask.hub.store.user(name)?;
    user.ok_or_else(|| HttpError::not_found(format!("No such user: {name}")).into())
}

fn find(ask: &Ask, user: &User) -> Result<ApiToken, ApiError> {
    let id = ask.path("id");
    let missing = || HttpError::not_found(format!("No such token {id} for user {}", user.name));
    let key: i64 = id.strip_prefix('a').and_then(|digits| digits.parse().ok()).ok_or_else(missing)?;
    let now = ask.hub.clock.now();
    Ok(ask.hub.store.token_of(TokenOwner::User(user.id), key, now)?.ok_or_else(missing)?)
}

/// The raw scopes of a new token: those asked for, or of the roles asked for, or of the role `token`.
fn scopes(
    ask: &Ask,
    data: &Map<String, Value>,
    user: &User,
    caller: &Caller,
) -> Result<Vec<String>, ApiError> {
    let mut raw = BTreeSet::new();
    match (names(data, "scopes")?, names(data, "roles")?) {
        (Some(_), Some(_)) => {
            return Err(HttpError::bad_request(
                "Can only assign one of scopes or roles when creating tokens.",
            )
            .into());
        }
        (Some(scopes), None) => raw.extend(scopes),
        (None, Some(roles)) => {
            for role in roles {
                let found = ask.hub.store.role_scopes(&role)?;
                raw.extend(found.ok_or_else(|| HttpError::bad_request(format!("No such role: {role}")))?);
            }
        }
        (None, None) => raw.extend(ask.hub.store.role_scopes("token")?.unwrap_or_default()),
    }
    for scope in &raw {
        ask.hub
            .settings
            .custom_scopes
            .known(scope)
            .map_err(|error| HttpError::bad_request(format!("\"{error}\"")))?;
    }
    let owned = ask.hub.scopes_of_user(user)?;
    let list: Vec<&String> = raw.iter().collect();
    let mut wanted = expand(&list, Owner::User(&user.name), None);
    if wanted.remove("inherit") {
        wanted.extend(owned.iter().cloned());
    }
    let missing = |held: &Held| -> Vec<String> {
        let common = intersect(&wanted, held, ask.hub.store.as_ref());
        wanted.difference(&common).cloned().collect()
    };
    let not_owned = missing(&owned);
    if !not_owned.is_empty() {
        let text =
            format!("Not assigning requested scopes {} not held by User {}", not_owned.join(","), user.name);
        return Err(HttpError::bad_request(text).into());
    }
    let mut held = Held::clone(&caller.scopes);
    held.extend(Owner::User(&user.name).identify_scopes());
    let not_held = missing(&held);
    if !not_held.is_empty() {
        let text = format!(
            "You cannot make a token that may do more than you may: {} is missing",
            not_held.join(", ")
        );
        return Err(HttpError::forbidden(text).into());
    }
    Ok(raw.into_iter().collect())
}

fn names(data: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, HttpError> {
    if data.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        // No scopes at all is something else than none named: such a token only says whose it is.
        return Ok(Some(Vec::new()));
    }
    let wrong = |_| {
        let shown = python::repr(data.get(key).unwrap_or(&Value::Null));
        HttpError::bad_request(format!("token {key} must be null or a list of strings, not {shown}"))
    };
    body::strings(data, key).map_err(wrong)
}

fn note(data: &Map<String, Value>, user: &User, caller: &Caller) -> Result<String, HttpError> {
    let note = match data.get("note") {
        Some(note) if !body::is_falsy(note) => match note {
            Value::String(note) => note.clone(),
            Value::Array(_) | Value::Object(_) => {
                return Err(HttpError::bad_request("token note must be a string"));
            }
            other => python::repr(other),
        },
        _ => match &caller.kind {
            CallerKind::User(own) if own.id == user.id => "Requested via api".to_owned(),
            CallerKind::User(other) => format!("Requested via api by user {}", other.name),
            CallerKind::Service(service) => format!("Requested via api by service {}", service.name),
        },
    };
    if note.chars().count() > NOTE_CHARACTERS_MAX {
        return Err(HttpError::bad_request(format!("note must not exceed {NOTE_CHARACTERS_MAX} characters")));
    }
    Ok(note)
}

/// When a token ends; `max` is the longest life in seconds that the operator allows, 0 any.
fn expiry(data: &Map<String, Value>, now: SystemTime, max: i64) -> Result<Option<SystemTime>, HttpError> {
    let value = match data.get("expires_in") {
        None | Some(Value::Null) if max > 0 => {
            return Ok(Some(now + Duration::from_secs(max.unsigned_abs())));
        }
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let Some(seconds) = value.as_i64() else {
        return Err(HttpError::bad_request(format!(
            "token expires_in must be null or integer, not {}",
            python::repr(value)
        )));
    };
    if seconds <= 0 {
        let text = format!("expires_in must be a positive integer or null, not {seconds}");
        return Err(HttpError::bad_request(text));
    }
    let max = if max > 0 { max.min(EXPIRES_IN_MAX) } else { EXPIRES_IN_MAX };
    if seconds > max {
        let text = format!("token expires_in: {seconds} must not exceed {max}");
        return Err(HttpError::bad_request(text));
    }
    Ok(Some(now + Duration::from_secs(seconds.unsigned_abs())))
}
