//! `/hub/token`: a person's API tokens and the applications they let in. Forms do it all, without scripts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use hubd_proto::Secret;
use hubd_store::{ApiToken, NewToken, TokenOwner};
use minijinja::context;
use minijinja::value::Value;

use super::errors::PageError;
use super::form::Form;
use super::home::iso_time;
use super::visit::Visit;
use crate::auth::{Browser, scopes};
use crate::error::HttpError;

/// The client of ordinary tokens; all others are applications.
const PLAIN_CLIENT: &str = "jupyterhub";
/// What the form sends as a note when the person wrote none, as in JupyterHub.
const DEFAULT_NOTE: &str = "Requested via token page";
/// Longest note, in characters; more does not fit into a row.
const NOTE_CHARS_MAX: usize = 200;
/// Most scopes that one token may name; the hub knows about fifty.
const SCOPES_MAX: usize = 64;
/// Longest life that a form may ask for, in seconds: the longest the page offers is one year.
const EXPIRES_IN_SECONDS_MAX: u64 = 10 * 365 * 86400;
/// A token that the hub made is hashed once: it is random, as `database.md` says of JupyterHub's own.
const HASH_ROUNDS: u32 = 1;

/// `GET /hub/token`.
pub async fn get(visit: Visit) -> Result<Response, PageError> {
    token_page(&visit, StatusCode::OK, None, None)
}

/// `POST /hub/token`: makes a token and shows it this once.
pub async fn create(visit: Visit, body: Body) -> Result<Response, PageError> {
    visit.person()?;
    let form = visit.form(body).await?;
    let browser = visit.person()?;
    match wanted(&visit, browser, &form) {
        Ok(wanted) => {
            let token = store(&visit, browser, wanted)?;
            tracing::info!("User {} requested new API token", browser.name);
            token_page(&visit, StatusCode::OK, Some(token.expose()), None)
        }
        Err(error) => token_page(&visit, error.status, None, error.message.as_deref()),
    }
}

/// `POST /hub/token/revoke`: ends a token, or all tokens of an application.
pub async fn revoke(visit: Visit, body: Body) -> Result<Response, PageError> {
    visit.person()?;
    let form = visit.form(body).await?;
    let browser = visit.person()?;
    let hub = &visit.hub;
    if let Some(client) = form.get("client").filter(|client| *client != PLAIN_CLIENT) {
        let count = hub.store.delete_tokens_of_client(browser.user.id, client)?;
        tracing::info!("Deleting {count} tokens for {} issued by {client}", browser.name);
    } else if let Some(id) = form.get("token").and_then(|id| id.strip_prefix('a')?.parse().ok()) {
        let owner = TokenOwner::User(browser.user.id);
        if hub.store.token_of(owner, id, hub.clock.now())?.is_some() {
            hub.store.delete_token(id)?;
            tracing::info!("Deleting token a{id} for {}", browser.name);
        }
    }
    Ok(visit.redirect(StatusCode::SEE_OTHER, &visit.hub_url("token")))
}

/// What a form asks for.
struct Wanted {
    note: String,
    scopes: Vec<String>,
    expires_at: Option<SystemTime>,
}

/// Reads the form; nobody gets a token that may do more than they.
fn wanted(visit: &Visit, browser: &Browser, form: &Form) -> Result<Wanted, HttpError> {
    let refuse = |text: String| HttpError::new(StatusCode::BAD_REQUEST, text);
    let held = visit.hub.scopes_of_user(&browser.user)?;
    let own = scopes::Target::User(browser.name.as_str());
    if scopes::access(&held, "tokens", own, visit.hub.store.as_ref()) != scopes::Access::Allowed {
        return Err(HttpError::new(StatusCode::FORBIDDEN, "Your account may not make tokens."));
    }
    let note = form.get("note").map(str::trim).filter(|note| !note.is_empty()).unwrap_or(DEFAULT_NOTE);
    let expires_in = match form.get("expires_in").map(str::trim).unwrap_or_default() {
        "" => None,
        text => match text.parse::<u64>() {
            Ok(seconds @ 1..=EXPIRES_IN_SECONDS_MAX) => Some(Duration::from_secs(seconds)),
            _ => {
                return Err(refuse(
                    "The time after which the token expires is not a number of seconds.".into(),
                ));
            }
        },
    };
    let asked: Vec<String> =
        form.get("scopes").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if asked.len() > SCOPES_MAX {
        return Err(refuse(format!("A token can have {SCOPES_MAX} permissions at most.")));
    }
    for scope in &asked {
        let known = visit.hub.settings.custom_scopes.known(scope);
        known.map_err(|unknown| refuse(format!("There is no permission {scope} ({unknown}).")))?;
    }
    let inherits = asked.is_empty() || asked.iter().any(|scope| scope == "inherit");
    if !inherits {
        let want = scopes::expand(&asked, scopes::Owner::User(browser.name.as_str()), None);
        if scopes::intersect(&want, &held, visit.hub.store.as_ref()) != want {
            let text = "You cannot give a token permissions that you do not have.";
            return Err(HttpError::new(StatusCode::FORBIDDEN, text));
        }
    }
    Ok(Wanted {
        note: note.chars().take(NOTE_CHARS_MAX).collect(),
        scopes: if inherits { vec!["inherit".to_owned()] } else { asked },
        expires_at: within(expires_in, visit.hub.settings.token_expires_in_max_seconds)
            .and_then(|time| visit.hub.clock.now().checked_add(time)),
    })
}

/// The life that was asked for, or the longest that the operator allows; 0 is any.
fn within(asked: Option<Duration>, max_seconds: u32) -> Option<Duration> {
    let max = (max_seconds > 0).then(|| Duration::from_secs(max_seconds.into()));
    match (asked, max) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    }
}

/// Stores a new token and returns it.
fn store(visit: &Visit, browser: &Browser, wanted: Wanted) -> Result<Secret, HttpError> {
    let hub = &visit.hub;
    let token = Secret::new(hub.new_token());
    let mut salt = [0; 8];
    hub.random.fill(&mut salt);
    hub.store.create_token(&NewToken {
        owner: TokenOwner::User(browser.user.id),
        hashed: hubd_store::hash_token(token.expose(), HASH_ROUNDS, salt),
        prefix: hubd_store::token_prefix(token.expose()),
        client_id: PLAIN_CLIENT.to_owned(),
        session_id: None,
        note: wanted.note,
        scopes: wanted.scopes,
        created: hub.clock.now(),
        expires_at: wanted.expires_at,
    })?;
    Ok(token)
}

/// The page, with a new token or the reason why there is none.
fn token_page(
    visit: &Visit,
    status: StatusCode,
    new_token: Option<&str>,
    error: Option<&str>,
) -> Result<Response, PageError> {
    let browser = visit.person()?;
    let owner = TokenOwner::User(browser.user.id);
    let tokens = visit.hub.store.tokens_of(owner, visit.hub.clock.now())?;
    let (plain, issued): (Vec<&ApiToken>, Vec<&ApiToken>) = tokens
        .iter()
        .partition(|token| token.client_id.as_deref().is_none_or(|client| client == PLAIN_CLIENT));
    let mut clients: BTreeMap<&str, Vec<&ApiToken>> = BTreeMap::new();
    for token in issued {
        clients.entry(token.client_id.as_deref().unwrap_or_default()).or_default().push(token);
    }
    let extra = context! {
        new_token => new_token,
        token_error => error,
        default_note => DEFAULT_NOTE,
        api_tokens => plain.into_iter().map(token_value).collect::<Vec<_>>(),
        logins => super::logins::of(visit, browser)?,
        servers_stay => !visit.hub.settings.shutdown_on_logout,
        oauth_clients => clients.into_iter().map(|(id, tokens)| client_value(id, &tokens)).collect::<Vec<_>>(),
    };
    Ok(visit.page(status, "token.html", extra))
}

/// A row of the tokens.
fn token_value(token: &ApiToken) -> Value {
    context! {
        api_id => format!("a{}", token.id),
        note => token.note.as_str(),
        scopes => token.scopes.clone(),
        last_activity => token.last_activity.map(iso_time),
        created => token.created.map(iso_time),
        expires_at => token.expires_at.map(iso_time),
    }
}

/// A row of the applications; the newest of its tokens speaks for all.
fn client_value(id: &str, tokens: &[&ApiToken]) -> Value {
    let description = tokens.first().and_then(|token| token.client_description.as_deref());
    let mut scopes: Vec<String> = tokens.iter().flat_map(|token| token.scopes.clone()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    context! {
        token_id => id,
        description => description.filter(|text| !text.is_empty()).unwrap_or(id),
        scopes => scopes,
        last_activity => tokens.iter().filter_map(|token| token.last_activity).max().map(iso_time),
        created => tokens.iter().filter_map(|token| token.created).min().map(iso_time),
    }
}
