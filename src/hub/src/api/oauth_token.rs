//! The back channel of the OAuth provider: a client turns a code into a token.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hubd_store::{CodeUse, NewToken, OAuthClient, OAuthCode, TokenOwner};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::answer::{ApiError, json_answer};
use super::body;
use crate::Hub;
use crate::error::HttpError;
use crate::pages::urls;

/// Letters and digits of codes and access tokens.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// How many of them, as JupyterHub: 178 random bits.
const TEXT_CHARACTERS: usize = 30;
/// Lengths of a code verifier (RFC 7636 §4.1).
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// An error in OAuth's form.
struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: Option<&'static str>,
}

impl OAuthError {
    fn new(error: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: None }
    }

    fn invalid_request(description: &'static str) -> Self {
        Self { description: Some(description), ..Self::new("invalid_request") }
    }

    fn answer(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let (Some(body), Some(text)) = (body.as_object_mut(), self.description) {
            body.insert("error_description".into(), text.into());
        }
        let mut response = json_answer(self.status, &body);
        if self.status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer error=\"invalid_client\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// `POST /oauth2/token`.
pub async fn exchange(State(hub): State<Arc<Hub>>, parts: Parts, body: Body) -> Response {
    if parts.headers.contains_key(header::ORIGIN) {
        let text = "'_xsrf' argument missing from POST";
        return ApiError::from(HttpError::forbidden(text)).into_response();
    }
    let fields = match body::form(body).await {
        Ok(fields) => fields,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let mut response = match basic(&parts.headers).and_then(|basic| token(&hub, basic.as_ref(), &fields)) {
        Ok(Ok(body)) => json_answer(StatusCode::OK, &body),
        Ok(Err(error)) => error.answer(),
        Err(error) => ApiError::from(error).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Id and secret of a client that sends them by HTTP Basic: both are form-encoded (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, Zeroizing<String>)>, HttpError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, encoded)) = value.and_then(|value| value.split_once(' ')) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let wrong = || HttpError::bad_request("The Authorization header is not that of HTTP Basic.");
    let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
    let (id, secret) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Some((urls::decode(id).into_owned(), Zeroizing::new(urls::decode(secret).into_owned()))))
}

/// Checks a request in JupyterHub's order and uses the code up.
fn token(
    hub: &Hub,
    basic: Option<&(String, Zeroizing<String>)>,
    fields: &[(String, String)],
) -> Result<Result<Value, OAuthError>, HttpError> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    };
    if field("grant_type") != Some("authorization_code") {
        return Ok(Err(OAuthError::new("unsupported_grant_type")));
    }
    let Some(code) = field("code") else {
        return Ok(Err(OAuthError::invalid_request("Missing code parameter.")));
    };
    let (id, secret) = match (basic, field("client_id"), field("client_secret")) {
        (None, id, secret) => (id, secret),
        (Some(_), _, Some(_)) => {
            return Ok(Err(OAuthError::invalid_request("The client's secret is given twice.")));
        }
        // Who names two clients is neither.
        (Some((id, _)), Some(other), None) if id != other => (None, None),
        (Some((id, secret)), _, None) => (Some(id.as_str()), Some(secret.as_str())),
    };
    let Some(client) = client(hub, id, secret)? else {
        let error = OAuthError::new("invalid_client");
        return Ok(Err(OAuthError { status: StatusCode::UNAUTHORIZED, ..error }));
    };
    let Some(code) = hub.store.oauth_code(&client.identifier, code, hub.clock.now())? else {
        return Ok(Err(OAuthError::new("invalid_grant")));
    };
    if !code.is_used() {
        // A code of before the option was set.
        if hub.settings.oauth_require_pkce && code.code_challenge.is_none() {
            let description = Some("Challenge not found");
            return Ok(Err(OAuthError { description, ..OAuthError::new("invalid_grant") }));
        }
        if let Err(error) = check_pkce(&code, field("code_verifier")) {
            return Ok(Err(error));
        }
        if !same_redirect(&code, &client, field("redirect_uri")) {
            return Ok(Err(OAuthError::invalid_request("Mismatching redirect URI.")));
        }
    }
    redeem(hub, &client, &code)
}

/// The client, if its secret is right.
fn client(hub: &Hub, id: Option<&str>, secret: Option<&str>) -> Result<Option<OAuthClient>, HttpError> {
    let (Some(id), Some(secret)) = (id, secret) else { return Ok(None) };
    let client = hub.store.oauth_client(id)?;
    Ok(client.filter(|client| hubd_store::token_matches(secret, &client.secret_hash)))
}

/// A challenge needs its verifier, and a verifier a challenge: else somebody was fooled.
fn check_pkce(code: &OAuthCode, verifier: Option<&str>) -> Result<(), OAuthError> {
    match (code.code_challenge.as_deref(), code.code_challenge_method.as_deref(), verifier) {
        (None, _, None) => Ok(()),
        (None, _, Some(_)) => {
            Err(OAuthError::invalid_request("Code verifier given without a code challenge."))
        }
        (Some(_), _, None) => Err(OAuthError::invalid_request("Code verifier required.")),
        (Some(challenge), Some("S256"), Some(verifier)) if VERIFIER_BYTES.contains(&verifier.len()) => {
            let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            if bool::from(expected.as_bytes().ct_eq(challenge.as_bytes())) {
                Ok(())
            } else {
                Err(OAuthError::new("invalid_grant"))
            }
        }
        (Some(_), _, Some(_)) => Err(OAuthError::new("invalid_grant")),
    }
}

/// The redirect URI of the authorization must be given again, if it was given then (RFC 6749 §4.1.3).
fn same_redirect(code: &OAuthCode, client: &OAuthClient, given: Option<&str>) -> bool {
    match given {
        None => code.redirect_uri.is_empty(),
        Some(given) if code.redirect_uri.is_empty() => given == client.redirect_uri,
        Some(given) => given == code.redirect_uri,
    }
}

fn redeem(hub: &Hub, client: &OAuthClient, code: &OAuthCode) -> Result<Result<Value, OAuthError>, HttpError> {
    let now = hub.clock.now();
    let lifetime = hub.settings.oauth_token_lifetime;
    let text = random_text(hub);
    let mut salt = [0; 8];
    hub.random.fill(&mut salt);
    let new = NewToken {
        owner: TokenOwner::User(code.user_id),
        hashed: hubd_store::hash_token(&text, hubd_store::GENERATED_ROUNDS, salt),
        prefix: hubd_store::token_prefix(&text),
        client_id: client.identifier.clone(),
        session_id: code.session_id.clone(),
        note: String::new(),
        scopes: code.scopes.clone(),
        created: now,
        expires_at: Some(now + lifetime),
    };
    match hub.store.redeem_code(code.id, &new)? {
        CodeUse::Token(_) => Ok(Ok(json!({
            "access_token": text,
            "expires_in": lifetime.as_secs(),
            "token_type": "Bearer",
            "scope": code.scopes.join(" "),
        }))),
        CodeUse::UsedBefore => {
            tracing::warn!(client = client.identifier, "an OAuth code was used twice: its token is revoked");
            Ok(Err(OAuthError::new("invalid_grant")))
        }
    }
}

/// A new code or access token.
pub fn random_text(hub: &Hub) -> String {
    // Bytes beyond the largest multiple of the alphabet's length would make its first letters likelier.
    let limit = 256 - 256 % ALPHABET.len();
    let mut text = String::with_capacity(TEXT_CHARACTERS);
    let mut bytes = [0; 2 * TEXT_CHARACTERS];
    while text.len() < TEXT_CHARACTERS {
        hub.random.fill(&mut bytes);
        let good = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        let letters = good.filter_map(|byte| ALPHABET.get(byte % ALPHABET.len()));
        text.extend(letters.take(TEXT_CHARACTERS - text.len()).map(|letter| char::from(*letter)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(challenge: Option<&str>, method: Option<&str>) -> OAuthCode {
        OAuthCode {
            id: 1,
            code: "c".into(),
            client_id: "x".into(),
            user_id: 1,
            session_id: None,
            redirect_uri: "/cb".into(),
            scopes: Vec::new(),
            expires_at: 0,
            code_challenge: challenge.map(str::to_owned),
            code_challenge_method: method.map(str::to_owned),
        }
    }

    #[test]
    fn the_verifier_of_a_real_login_fits_its_challenge() {
        let vector: Value = serde_json::from_str(include_str!("../auth/testdata/pkce.json")).unwrap();
        let code = code(vector["code_challenge"].as_str(), Some("S256"));
        assert!(check_pkce(&code, vector["code_verifier"].as_str()).is_ok());
        let error = |result: Result<(), OAuthError>| result.err().map(|error| error.error);
        assert_eq!(error(check_pkce(&code, Some(&"x".repeat(43)))), Some("invalid_grant"));
        assert_eq!(error(check_pkce(&code, Some("short"))), Some("invalid_grant"));
        assert_eq!(error(check_pkce(&code, None)), Some("invalid_request"));
    }

    #[test]
    fn plain_and_unasked_verifiers_are_refused() {
        let verifier = "x".repeat(43);
        assert!(check_pkce(&code(Some(&verifier), Some("plain")), Some(&verifier)).is_err());
        assert!(check_pkce(&code(None, None), Some(&verifier)).is_err());
        assert!(check_pkce(&code(None, None), None).is_ok());
    }
}
