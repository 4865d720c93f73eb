//! Who is asking: cookies, tokens, XSRF, and what they may do (scopes).
//!
//! Pages ask [`Hub::browser`](crate::Hub::browser) and [`Hub::may`](crate::Hub::may), the API asks
//! [`Hub::caller`](crate::Hub::caller); `login.rs` is what a login and a logout do.

mod auth_state;
mod cookies;
mod identity;
mod login;
mod next_url;
mod records;
pub mod scopes;
pub(crate) mod signed;
mod xsrf;

use std::collections::BTreeSet;
use std::sync::Arc;

use hubd_proto::UserName;

pub use cookies::{Cookie, Lifetime};
pub(crate) use cookies::{hex, values as cookie_values};
pub(crate) use identity::{bearer, client};
pub use xsrf::Xsrf;

/// Cookie of the helper's ticket: HttpOnly, SameSite=Lax, Path = hub prefix. `__Host-` is not possible with a path.
pub const TICKET_COOKIE: &str = "hubd-ticket";
/// Cookie that says who is logged in: the signed `users.cookie_id`.
pub const LOGIN_COOKIE: &str = "jupyterhub-hub-login";
/// The same with `cookie_host_prefix_enabled`: browsers take it from nobody but the hub's own host.
pub const HOST_LOGIN_COOKIE: &str = "__Host-jupyterhub-hub-login";
/// Cookie of the browser's session id.
pub const SESSION_COOKIE: &str = "jupyterhub-session-id";
/// Cookie of the token against forged requests.
pub const XSRF_COOKIE: &str = "_xsrf";

/// A person in a browser, known by the login cookie.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The user's row.
    pub user: hubd_store::User,
    /// The user's name, checked.
    pub name: UserName,
    /// Value of `jupyterhub-session-id`, if the browser sent one.
    pub session_id: Option<String>,
    /// When the login cookie was signed, in seconds since 1970: names the login among those of the user.
    pub began: i64,
}

/// Somebody known by a token, or a [`Browser`] that calls the API.
#[derive(Debug, Clone)]
pub struct Caller {
    /// User or service.
    pub kind: CallerKind,
    /// Expanded scopes.
    pub scopes: Arc<BTreeSet<String>>,
    /// The token's row, when a token was used.
    pub token: Option<Arc<hubd_store::ApiToken>>,
    /// The browser's session id, when a cookie was used.
    pub session_id: Option<String>,
}

/// What a [`Caller`] is.
#[derive(Debug, Clone)]
pub enum CallerKind {
    /// A user.
    User(Arc<hubd_store::User>),
    /// A service.
    Service(Arc<hubd_store::Service>),
}

impl CallerKind {
    /// The user's or service's name.
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Service(service) => &service.name,
        }
    }
}

/// Whose a token is, as far as activity does not change it.
#[derive(Debug, Clone)]
pub(crate) enum Holder {
    /// A user of this name.
    User(String),
    /// A service.
    Service(Arc<hubd_store::Service>),
}

impl Caller {
    /// Whether the user's or service's record says admin.
    pub fn is_admin(&self) -> bool {
        match &self.kind {
            CallerKind::User(user) => user.admin,
            CallerKind::Service(service) => service.admin,
        }
    }

    /// The user's or service's name.
    pub fn name(&self) -> &str {
        self.kind.name()
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&hubd_store::User> {
        match &self.kind {
            CallerKind::User(user) => Some(user),
            CallerKind::Service(_) => None,
        }
    }
}

/// The signed value of a login cookie, for tests.
#[cfg(test)]
pub(crate) fn sign_login(hub: &crate::Hub, cookie_id: &str) -> String {
    signed::sign(
        &hub.settings.cookie_secret,
        hub.settings.login_cookie(),
        cookie_id.as_bytes(),
        hub.unix_now(),
    )
}
