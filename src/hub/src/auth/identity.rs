//! From a request to a person or service: login cookie, token, session id, ticket, address and scheme.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderMap, Method, header};
use hubd_proto::{Secret, UserName};
use hubd_proxy::Client;
use hubd_store::{ApiToken, StoreError, User};

use super::scopes::{Held, Scoped};
use super::signed::{Check, Formats, verify_dated};
use super::{Browser, Caller, CallerKind, Holder, SESSION_COOKIE, TICKET_COOKIE, cookies};
use crate::Hub;
use crate::error::HttpError;

/// How often at most the use of a login is written, in seconds: its owner wants to know the minute.
const LOGIN_RESOLUTION_SECONDS: i64 = 60;
/// Longest session id in bytes: JupyterHub's have 32, and what is stored must stay bounded.
const SESSION_ID_BYTES_MAX: usize = 64;
/// What tokens of user servers are called: their use is no activity of the person.
const SERVER_TOKEN_NOTE: &str = "Server at ";

impl Hub {
    /// Who the login cookie names: signature, age and `cookie_id` are checked. Also updates the user's
    /// activity. Use it in page handlers.
    pub fn browser(&self, headers: &HeaderMap) -> Option<Browser> {
        let (user, began) = self.cookie_user(headers)?;
        let name = UserName::new(user.name.as_str()).ok()?;
        if self.is_blocked(&user.name) {
            return None;
        }
        self.note_person(&user, self.clock.now());
        Some(Browser { user, name, session_id: self.session_id(headers), began })
    }

    /// Notes that somebody has done something.
    pub(crate) fn note_person(&self, user: &User, now: SystemTime) {
        if user.last_activity.is_none() {
            log_unwritten(self.store.record_user_activity(&user.name, now));
        } else if self.is_stale(user.last_activity, now) {
            self.store.note_user(&user.name, now);
        }
    }

    /// Who calls the API, by `Authorization` or cookie with the XSRF rules of JupyterHub. `None` is anonymous.
    pub fn caller(&self, parts: &Parts) -> Result<Option<Caller>, HttpError> {
        self.notice_others()?;
        if let Some(token) = bearer(&parts.headers)
            && let Some(caller) = self.token_caller(token)?
        {
            return Ok(Some(caller));
        }
        let browser = self.browser(&parts.headers).filter(|_| may_use_cookie(parts));
        let Some(browser) = browser else {
            self.look_for_dead_login(parts);
            // Only a browser on another site sends Origin without credentials: it must not learn more.
            if parts.headers.contains_key(header::ORIGIN) {
                self.check_api_xsrf(parts, None)?;
            }
            return Ok(None);
        };
        if !matches!(parts.method, Method::HEAD | Method::OPTIONS) {
            self.check_api_xsrf(parts, Some(&browser))?;
        }
        let scopes = Arc::new(self.scopes_of_user(&browser.user)?);
        let session_id = browser.session_id;
        Ok(Some(Caller { kind: CallerKind::User(Arc::new(browser.user)), scopes, token: None, session_id }))
    }

    /// The ticket in the person's cookie.
    pub fn ticket(&self, headers: &HeaderMap) -> Option<Secret> {
        let value = cookies::values(headers, TICKET_COOKIE).find(|value| !value.is_empty())?;
        Some(Secret::new(value.to_owned()))
    }

    /// The browser's session id.
    pub fn session_id(&self, headers: &HeaderMap) -> Option<String> {
        let plain = |value: &&str| {
            !value.is_empty()
                && value.len() <= SESSION_ID_BYTES_MAX
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        cookies::values(headers, SESSION_COOKIE).find(plain).map(str::to_owned)
    }

    /// The user of a token that holds, with what the token may do; notes its use.
    pub(crate) fn token_caller(&self, token: &str) -> Result<Option<Caller>, HttpError> {
        let now = self.clock.now();
        let Some(token) = self.store.token(token, now)? else { return Ok(None) };
        let Some((mut kind, scopes)) = self.holder(&token)? else { return Ok(None) };
        if matches!(&kind, CallerKind::User(user) if self.is_blocked(&user.name)) {
            return Ok(None);
        }
        if self.is_stale(token.last_activity, now) {
            let person = match &kind {
                CallerKind::User(user) if !token.note.starts_with(SERVER_TOKEN_NOTE) => {
                    Some(user.name.as_str())
                }
                _ => None,
            };
            self.store.note_token(&token, person, now);
            if token.last_activity.is_none() {
                log_unwritten(self.store.flush_activity());
            }
            if let (CallerKind::User(user), false) = (&mut kind, token.note.starts_with(SERVER_TOKEN_NOTE)) {
                Arc::make_mut(user).last_activity = Some(now);
            }
        }
        let session_id = token.session_id.clone();
        Ok(Some(Caller { kind, scopes, token: Some(token), session_id }))
    }

    /// Whose token it is and what it may do, from memory while nobody writes to the database.
    fn holder(&self, token: &ApiToken) -> Result<Option<(CallerKind, Arc<Held>)>, StoreError> {
        let moment = match self.holders.recall(self.store.generation(), &token.id) {
            Ok((holder, scopes)) => return Ok(self.caller_kind(&holder)?.map(|kind| (kind, scopes))),
            Err(moment) => moment,
        };
        let (kind, holder) = match (token.user_id, token.service_id) {
            (Some(id), _) => match self.store.user_by_id(id)? {
                Some(user) => (CallerKind::User(Arc::new(user.clone())), Holder::User(user.name)),
                None => return Ok(None),
            },
            (None, Some(id)) => match self.store.service_by_id(id)?.map(Arc::new) {
                Some(service) => (CallerKind::Service(Arc::clone(&service)), Holder::Service(service)),
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let Scoped { scopes, lasting } = self.scopes_of_token(token, &kind)?;
        let scopes = Arc::new(scopes);
        if lasting {
            self.holders.keep(moment, token.id, (holder, Arc::clone(&scopes)));
        }
        Ok(Some((kind, scopes)))
    }

    /// A holder as they are now.
    fn caller_kind(&self, holder: &Holder) -> Result<Option<CallerKind>, StoreError> {
        Ok(match holder {
            Holder::User(name) => self.store.recent_user(name)?.map(CallerKind::User),
            Holder::Service(service) => Some(CallerKind::Service(Arc::clone(service))),
        })
    }

    /// The user that a login cookie's value names, and when it was signed.
    pub(crate) fn user_of_login_cookie(&self, value: &str) -> Option<(User, i64)> {
        let check = Check {
            secret: &self.settings.cookie_secret,
            name: self.settings.login_cookie(),
            now: self.unix_now(),
            age_seconds_max: self.settings.cookie_max_age_days * 86400.0,
            formats: Formats::OneAndTwo,
        };
        let (cookie_id, began) = verify_dated(check, value)?;
        let cookie_id = String::from_utf8(cookie_id).ok()?;
        let found = self.store.user_by_cookie_id(&cookie_id).and_then(|user| {
            let Some(user) = user else { return Ok(None) };
            Ok(self.login_holds(user.id, began)?.then_some((user, began)))
        });
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up a login cookie");
            None
        })
    }

    /// Whether a login was not ended; notes that it is used.
    pub(crate) fn login_holds(&self, user_id: i64, began: i64) -> Result<bool, StoreError> {
        let Some(login) = self.store.login(user_id, began)? else { return Ok(true) };
        let now = self.unix_now();
        if !login.ended && now.saturating_sub(login.last_seen) >= LOGIN_RESOLUTION_SECONDS {
            self.store.note_login(user_id, began, now);
        }
        Ok(!login.ended)
    }

    /// Whether the configuration keeps a user out, however they come.
    pub(crate) fn is_blocked(&self, user: &str) -> bool {
        self.settings.authenticator.blocked_users.iter().any(|blocked| blocked.as_str() == user)
    }

    pub(super) fn cookie_user(&self, headers: &HeaderMap) -> Option<(User, i64)> {
        cookies::values(headers, self.settings.login_cookie())
            .find_map(|value| self.user_of_login_cookie(value))
    }

    /// Whether activity now is worth noting, after that of `last`.
    fn is_stale(&self, last: Option<SystemTime>, now: SystemTime) -> bool {
        let resolution = self.settings.activity_resolution;
        let Some(last) = last.filter(|_| !resolution.is_zero()) else { return true };
        now.duration_since(last).is_ok_and(|age| age > resolution)
    }

    /// Now, in whole seconds since 1970.
    pub(crate) fn unix_now(&self) -> i64 {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// The browser's address, as far as the proxy believes it.
    pub(crate) fn client_address(&self, parts: &Parts) -> IpAddr {
        client(parts).map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |client| client.address)
    }

    /// Whether the person's connection is encrypted: then cookies are Secure.
    pub(crate) fn is_https(&self, parts: &Parts) -> bool {
        match &self.settings.public_url {
            Some(url) => url.starts_with("https:"),
            None => client(parts).is_some_and(|client| client.https),
        }
    }

    /// The host the person asked for.
    pub(crate) fn host(&self, parts: &Parts) -> String {
        let sent = || parts.headers.get(header::HOST)?.to_str().ok().map(str::to_owned);
        client(parts).map(|client| client.host.clone()).or_else(sent).unwrap_or_default()
    }
}

/// What the proxy knows of the other end.
pub(crate) fn client(parts: &Parts) -> Option<&Arc<Client>> {
    parts.extensions.get::<Arc<Client>>()
}

/// The token of `Authorization: token …` or `bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let known = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    (known && !token.is_empty() && !token.contains(char::is_whitespace)).then_some(token)
}

/// A form on another site can post, but cannot call its body JSON.
fn may_use_cookie(parts: &Parts) -> bool {
    if parts.method != Method::POST {
        return true;
    }
    let Some(kind) = parts.headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(kind) = kind.to_str() else { return false };
    kind.is_empty()
        || kind.to_lowercase().split(';').any(|part| part.trim_start().starts_with("application/json"))
}

/// Activity that cannot be written keeps nobody out: reading goes on when the disk is full.
fn log_unwritten(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot note activity");
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn only_token_and_bearer_are_tokens() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(text));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("token abc").as_deref(), Some("abc"));
        assert_eq!(of("BEARER   abc").as_deref(), Some("abc"));
        for bad in ["Basic abc", "token", "token ", "token a b", "tokenabc", " token abc"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_foreign_form_cannot_use_the_cookie() {
        let may = |method: &str, kind: Option<&str>| {
            let mut request = Request::builder().method(method).uri("/");
            if let Some(kind) = kind {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            may_use_cookie(&request.body(()).unwrap().into_parts().0)
        };
        assert!(may("POST", None) && may("POST", Some("application/json; charset=utf-8")));
        assert!(may("DELETE", Some("text/plain")) && may("GET", Some("text/plain")));
        assert!(!may("POST", Some("text/plain")) && !may("POST", Some("application/x-www-form-urlencoded")));
    }
}
