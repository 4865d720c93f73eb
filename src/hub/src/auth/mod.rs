//! Who is asking: cookies, tokens, XSRF, and what they may do (scopes).

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use hubd_proto::{Secret, UserName};

use crate::Hub;
use crate::error::HttpError;
use crate::login::LoggedIn;

/// Cookie of the helper's ticket: HttpOnly, SameSite=Lax, Path = hub prefix. `__Host-` is not possible with a path.
pub const TICKET_COOKIE: &str = "hubd-ticket";

/// A person in a browser, known by the login cookie.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The user's row.
    pub user: hubd_store::User,
    /// The user's name, checked.
    pub name: UserName,
    /// Value of `jupyterhub-session-id`, if the browser sent one.
    pub session_id: Option<String>,
}

/// Somebody known by a token, or a [`Browser`] that calls the API.
#[derive(Debug, Clone)]
pub struct Caller {
    /// User or service.
    pub kind: CallerKind,
    /// Expanded scopes.
    pub scopes: BTreeSet<String>,
    /// The token's row, when a token was used.
    pub token: Option<hubd_store::ApiToken>,
    /// The browser's session id, when a cookie was used.
    pub session_id: Option<String>,
}

/// What a [`Caller`] is.
#[derive(Debug, Clone)]
pub enum CallerKind {
    /// A user.
    User(hubd_store::User),
    /// A service.
    Service(hubd_store::Service),
}

impl Hub {
    /// Who the login cookie names: signature, age and `cookie_id` are checked. Also updates the user's
    /// activity. Use it in page handlers.
    pub fn browser(&self, headers: &HeaderMap) -> Option<Browser> {
        todo!()
    }

    /// Who calls the API, by `Authorization` or cookie with the XSRF rules of JupyterHub. `None` is anonymous.
    pub fn caller(&self, parts: &Parts) -> Result<Option<Caller>, HttpError> {
        todo!()
    }

    /// The ticket in the person's cookie.
    pub fn ticket(&self, headers: &HeaderMap) -> Option<Secret> {
        todo!()
    }

    /// The `_xsrf` token for a page: the one of a still valid cookie, or a new one with the
    /// `Set-Cookie` value that gives it to the browser.
    pub fn xsrf_for_page(&self, parts: &Parts, browser: Option<&Browser>) -> Xsrf {
        todo!()
    }

    /// Checks a form post: `submitted` must equal the cookie, and the cookie be this session's.
    pub fn check_xsrf(
        &self,
        parts: &Parts,
        browser: Option<&Browser>,
        submitted: &str,
    ) -> Result<(), HttpError> {
        todo!()
    }

    /// Ends a login attempt well: makes or updates the user's rows (roles, admin), keeps the PAM handle,
    /// and returns the `Set-Cookie` values (session id, login, ticket, `_xsrf`), all new.
    pub async fn finish_login(
        self: &Arc<Self>,
        parts: &Parts,
        login: LoggedIn,
    ) -> Result<Vec<String>, HttpError> {
        todo!()
    }

    /// Logs out: tokens of the session, ticket, held PAM handle, and a new `cookie_id` so that the old login
    /// cookie is dead; returns the `Set-Cookie` values that clear all.
    pub async fn finish_logout(self: &Arc<Self>, parts: &Parts) -> Result<Vec<String>, HttpError> {
        todo!()
    }

    /// The validated `next` of a login or start, or where the person belongs (`default_url`, server, spawn, home).
    pub fn next_url(&self, parts: &Parts, browser: Option<&Browser>) -> String {
        todo!()
    }

    /// Whether the person may see or use `owner`'s server `server` (`scope` is for instance `access:servers` or
    /// `servers`): own, by scope, group or share.
    pub fn may(&self, browser: &Browser, scope: &str, owner: &UserName, server: &str) -> bool {
        todo!()
    }
}

/// The `_xsrf` token of a page.
pub struct Xsrf {
    /// The token, for the form's hidden field.
    pub token: String,
    /// `Set-Cookie`, if the browser needs a new one.
    pub set_cookie: Option<String>,
}
