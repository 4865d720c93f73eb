//! The browser's part of the OAuth provider: a person allows a server or service to know who they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::request::Parts;
use hubd_store::{OAuthClient, OAuthCode, TokenOwner};
use minijinja::context;
use minijinja::value::Serde;

use super::{body, oauth_token};
use crate::Hub;
use crate::auth::Browser;
use crate::auth::scopes::{
    Access, Owner, Target, access, access_scope, client_of, expand, intersect, resolve_requested,
};
use crate::error::HttpError;
use crate::pages::headers::allow_form_target;
use crate::pages::visit::add_cookies;
use crate::pages::{PageError, Visit, urls};

/// How long a code holds, in seconds, as JupyterHub.
const CODE_SECONDS: i64 = 300;
/// Length of an S256 challenge: 32 bytes as base64url (RFC 7636 §4.2).
const CHALLENGE_BYTES: usize = 32;
/// What every client may know of the person.
const IDENTIFY: [&str; 2] = ["read:users:name!user", "read:users:groups!user"];

/// An authorization request that may be granted.
struct Authorization {
    client: OAuthClient,
    /// As given in the request; empty if it had none.
    redirect_uri: String,
    state: Option<String>,
    challenge: Option<String>,
    grant: Grant,
}

/// What a client gets.
struct Grant {
    /// Raw scopes that it gets if the person says yes.
    granted: BTreeSet<String>,
    /// Those of them that cannot be left out.
    required: BTreeSet<String>,
}

/// Why there is no code.
enum Refusal {
    /// An error page: the client, or where it wants the person to go, is wrong.
    Page(PageError),
    /// Back to the client with an error.
    Back(Box<Response>),
}

impl<E: Into<PageError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Page(error.into())
    }
}

/// `GET /oauth2/authorize`: the code, if the person's yes is known already; else the page that asks.
pub async fn ask(State(hub): State<Arc<Hub>>, parts: Parts) -> Result<Response, PageError> {
    let visit = Visit::new(hub, parts);
    let browser = visit.person()?;
    let authorization = match read(&visit, browser) {
        Ok(authorization) => authorization,
        Err(Refusal::Page(error)) => return Err(error),
        Err(Refusal::Back(response)) => return Ok(*response),
    };
    if needs_no_question(&visit.hub, browser, &authorization)? {
        let granted = authorization.grant.granted.clone();
        return give_code(&visit, browser, &authorization, granted);
    }
    let client = &authorization.client;
    let page = context! {
        oauth_client => context! {
            description => client.description.as_str(),
            identifier => client.identifier.as_str(),
            redirect_uri => client.redirect_uri.as_str(),
        },
        scope_descriptions => Serde(&descriptions(&visit.hub, &authorization.grant.granted, browser)),
        allowed_scopes => Serde(&authorization.grant.granted),
        only_identify => authorization.grant.granted == authorization.grant.required,
    };
    let mut response = visit.page(StatusCode::OK, "oauth.html", page);
    allow_form_target(response.headers_mut(), &client.redirect_uri);
    Ok(response)
}

/// `POST /oauth2/authorize`: the person said yes to the scopes of the form.
pub async fn confirm(State(hub): State<Arc<Hub>>, parts: Parts, body: Body) -> Result<Response, PageError> {
    let visit = Visit::new(hub, parts);
    let browser = visit.person()?;
    let form = body::form(body).await?;
    let field = form.iter().find(|(name, _)| name == "_xsrf").map(|(_, value)| value.as_str());
    visit.check_xsrf(field)?;
    let authorization = match read(&visit, browser) {
        Ok(authorization) => authorization,
        Err(Refusal::Page(error)) => return Err(error),
        Err(Refusal::Back(response)) => return Ok(*response),
    };
    let said_yes_to = |scope: &&String| {
        authorization.grant.required.contains(*scope)
            || form.iter().any(|(name, value)| name == "scopes" && value == *scope)
    };
    let granted = authorization.grant.granted.iter().filter(said_yes_to).cloned().collect();
    give_code(&visit, browser, &authorization, granted)
}

/// Checks a request in JupyterHub's order: client and redirect URI first, because until they are known to be
/// right nobody is sent anywhere.
fn read(visit: &Visit, browser: &Browser) -> Result<Authorization, Refusal> {
    let query = visit.query();
    let argument = |name: &str| -> Result<Option<String>, HttpError> {
        let mut values = query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone());
        match (values.next().filter(|value| !value.is_empty()), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(HttpError::bad_request(format!("Duplicate {name} parameter."))),
        }
    };
    let client_id =
        argument("client_id")?.ok_or_else(|| HttpError::bad_request("Missing client_id parameter."))?;
    let client = visit
        .hub
        .store
        .oauth_client(&client_id)?
        .filter(|client| !client.secret_hash.is_empty())
        .ok_or_else(|| HttpError::bad_request("Invalid client_id parameter value."))?;
    let redirect_uri = argument("redirect_uri")?.unwrap_or_default();
    if client.redirect_uri.is_empty() || !(redirect_uri.is_empty() || redirect_uri == client.redirect_uri) {
        return Err(HttpError::bad_request("Mismatching redirect URI.").into());
    }
    let state = argument("state")?;
    let back = |pairs: &[(&str, &str)]| {
        Refusal::Back(Box::new(visit.found(&redirect(&client.redirect_uri, pairs, state.as_deref()))))
    };
    let invalid = |text: &str| back(&[("error", "invalid_request"), ("error_description", text)]);
    match argument("response_type")?.as_deref() {
        Some("code") => {}
        None => return Err(invalid("Missing response_type parameter.")),
        Some(_) => return Err(back(&[("error", "unsupported_response_type")])),
    }
    let challenge = argument("code_challenge")?;
    let method = argument("code_challenge_method")?;
    match (&challenge, method.as_deref()) {
        (None, None) if visit.hub.settings.oauth_require_pkce => {
            return Err(invalid("Code challenge required."));
        }
        (None, None) => {}
        // Without a method it would be `plain`, which protects from nobody who reads the request.
        (Some(_), None) => return Err(invalid("Transform algorithm not supported.")),
        (None, Some(_)) => return Err(invalid("Code challenge required.")),
        (Some(challenge), Some("S256")) => {
            let decoded = URL_SAFE_NO_PAD.decode(challenge).unwrap_or_default();
            if decoded.len() != CHALLENGE_BYTES {
                return Err(invalid("Code challenge is not a SHA-256 digest."));
            }
        }
        (Some(_), Some(_)) => return Err(invalid("Transform algorithm not supported.")),
    }
    let scope = argument("scope")?;
    let Some(grant) = grant(&visit.hub, browser, &client, scope.as_deref())? else {
        return Err(back(&[("error", "invalid_scope")]));
    };
    Ok(Authorization { client, redirect_uri, state, challenge, grant })
}

/// What the client gets and what of it cannot be left out; `None` if it asks for more than it may. Fails if
/// the person may not use what the client stands for.
fn grant(
    hub: &Hub,
    browser: &Browser,
    client: &OAuthClient,
    requested: Option<&str>,
) -> Result<Option<Grant>, HttpError> {
    let owner = Owner::User(browser.name.as_str());
    let mut required: BTreeSet<String> = IDENTIFY.iter().map(|scope| (*scope).to_owned()).collect();
    required.extend(access_scope(client));
    let mut allowed = required.clone();
    allowed.extend(client.allowed_scopes.iter().cloned());
    let mut wanted = BTreeSet::new();
    match requested {
        None => wanted.extend(allowed.iter().cloned()),
        Some(text) => {
            for scope in text.split_whitespace().filter(|scope| *scope != "identify") {
                match hub.store.role_scopes(scope)? {
                    Some(scopes) => wanted.extend(scopes),
                    None => {
                        wanted.insert(scope.to_owned());
                    }
                }
            }
        }
    }
    if wanted.iter().any(|scope| hub.settings.custom_scopes.known(scope).is_err()) {
        return Ok(None);
    }
    let of = |scopes: &BTreeSet<String>| expand(&scopes.iter().collect::<Vec<_>>(), owner, client_of(client));
    let (within, limits) = (of(&wanted), of(&allowed));
    if !allowed.contains("inherit") && intersect(&within, &limits, hub.store.as_ref()) != within {
        return Ok(None);
    }
    let held = hub.scopes_of_user(&browser.user)?;
    let target = match (&client.server, &client.service) {
        (Some((user, server)), _) => Some(("access:servers", Target::Server(user, server))),
        (None, Some(service)) => Some(("access:services", Target::Service(service))),
        (None, None) => None,
    };
    let may = target
        .is_some_and(|(scope, target)| access(&held, scope, target, hub.store.as_ref()) == Access::Allowed);
    if !may {
        let text = format!("You do not have permission to access {}", client.description);
        return Err(HttpError::forbidden(text));
    }
    if wanted.contains("inherit") {
        let granted = BTreeSet::from(["inherit".to_owned()]);
        return Ok(Some(Grant { granted, required: BTreeSet::new() }));
    }
    let (mut granted, _) = resolve_requested(&wanted, &held, owner, client_of(client), hub.store.as_ref());
    granted.extend(required.iter().cloned());
    Ok(Some(Grant { granted, required }))
}

/// Whether the person need not be asked: their own server, a client that the operator trusts, or the same
/// was allowed before.
fn needs_no_question(hub: &Hub, browser: &Browser, authorization: &Authorization) -> Result<bool, HttpError> {
    let client = &authorization.client;
    let own = client.server.as_ref().is_some_and(|(user, _)| *user == browser.user.name);
    if own || client.no_confirm {
        return Ok(true);
    }
    let owner = Owner::User(browser.name.as_str());
    let wanted = expand(&authorization.grant.granted.iter().collect::<Vec<_>>(), owner, client_of(client));
    let mut given = Vec::new();
    for token in hub.store.tokens_of(TokenOwner::User(browser.user.id), hub.clock.now())? {
        if token.client_id.as_deref() == Some(&client.identifier) {
            given.extend(token.scopes);
        }
    }
    let given = expand(&given, owner, client_of(client));
    Ok(intersect(&wanted, &given, hub.store.as_ref()) == wanted)
}

/// Stores a code and sends the browser back to the client with it.
fn give_code(
    visit: &Visit,
    browser: &Browser,
    authorization: &Authorization,
    granted: BTreeSet<String>,
) -> Result<Response, PageError> {
    let hub = &visit.hub;
    let (session_id, cookie) = match &browser.session_id {
        Some(session_id) => (session_id.clone(), None),
        None => {
            let session_id = hub.new_token();
            let cookie = hub.session_cookie(&visit.parts, &session_id).header();
            (session_id, Some(cookie))
        }
    };
    let code = OAuthCode {
        id: 0,
        code: oauth_token::random_text(hub),
        client_id: authorization.client.identifier.clone(),
        user_id: browser.user.id,
        session_id: Some(session_id),
        redirect_uri: authorization.redirect_uri.clone(),
        scopes: granted.into_iter().collect(),
        expires_at: hub.unix_now() + CODE_SECONDS,
        code_challenge: authorization.challenge.clone(),
        code_challenge_method: authorization.challenge.as_ref().map(|_| "S256".to_owned()),
    };
    hub.store.create_code(&code)?;
    let state = authorization.state.as_deref();
    let mut response =
        visit.found(&redirect(&authorization.client.redirect_uri, &[("code", &code.code)], state));
    add_cookies(&mut response, cookie);
    Ok(response)
}

/// The client's address with parameters, `state` last.
fn redirect(uri: &str, pairs: &[(&str, &str)], state: Option<&str>) -> String {
    // Written as a form is: `+` for a space.
    let write = |(name, value): (&str, &str)| format!("{name}={}", urls::value(value).replace("%20", "+"));
    let query: Vec<String> =
        pairs.iter().copied().chain(state.map(|state| ("state", state))).map(write).collect();
    let joint = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{joint}{}", query.join("&"))
}

/// What the scopes mean, for the page that asks.
fn descriptions(hub: &Hub, scopes: &BTreeSet<String>, browser: &Browser) -> Vec<serde_json::Value> {
    let describe = |scope: &String| {
        let (name, filter) = scope.split_once('!').unwrap_or((scope, ""));
        let filter = if filter == "user" { format!("user={}", browser.name) } else { filter.to_owned() };
        let meaning = hub.settings.custom_scopes.meaning(name).unwrap_or(name);
        serde_json::json!({ "scope": scope, "description": meaning, "filter": filter })
    };
    scopes.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_written_as_jupyterhub_writes_them() {
        let error = [("error", "invalid_request"), ("error_description", "Missing response_type parameter.")];
        assert_eq!(
            redirect("/user/alice/oauth_callback", &error, Some("S")),
            "/user/alice/oauth_callback?error=invalid_request&error_description=Missing+response_type+parameter.&state=S"
        );
        assert_eq!(redirect("/cb?x=1", &[("code", "c")], Some("a b&c")), "/cb?x=1&code=c&state=a+b%26c");
    }
}
