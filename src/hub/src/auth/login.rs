//! What a login and a logout do to rows and cookies.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header;
use http::request::Parts;
use hubd_proto::UserName;
use hubd_proto::message::Revocation;
use hubd_store::{NewLogin, NewUser};

use super::signed::sign;
use super::{Cookie, Lifetime, SESSION_COOKIE, TICKET_COOKIE, XSRF_COOKIE};
use crate::Hub;
use crate::around::Noted;
use crate::error::HttpError;
use crate::login::LoggedIn;
use crate::subdomains::Subdomains;

/// How long a browser keeps the login cookie, as JupyterHub; how long it counts is `cookie_max_age_days`.
const LOGIN_COOKIE_LIFETIME: Duration = Duration::from_secs(30 * 86400);
/// How far in the past the expiry of a cleared cookie lies, as Tornado writes it.
const CLEARED_AGO: Duration = Duration::from_secs(365 * 86400);

/// Longest name of a browser that is kept, in characters; real ones have about 120.
const AGENT_CHARS_MAX: usize = 256;

impl Hub {
    /// Ends a login that the hub's lists admit: makes or updates the user's rows (roles, admin), keeps the PAM handle,
    /// and returns the `Set-Cookie` values (session id, login, ticket, `_xsrf`), all new.
    pub async fn finish_login(
        self: &Arc<Self>,
        parts: &Parts,
        mut login: LoggedIn,
    ) -> Result<Vec<String>, HttpError> {
        let now = self.clock.now();
        let new = NewUser { name: login.user.to_string(), admin: false, cookie_id: self.new_token() };
        let user = self.store.login_user(&new, login.admin, now)?;
        if let Some(groups) = &login.groups {
            self.store.put_into_groups(user.id, groups)?;
        }
        self.end_previous_session(parts)?;

        // A session id that somebody planted before the login must not be the one after it.
        let session_id = self.new_token();
        self.keep_login(&session_id, &mut login);
        let began = self.begin_login(parts, user.id, &session_id)?;
        let signed = sign(
            &self.settings.cookie_secret,
            self.settings.login_cookie(),
            user.cookie_id.as_bytes(),
            began,
        );
        let hub_prefix = self.settings.hub_prefix();
        let secure = self.is_https(parts);
        let cookie = |name, value, path, lifetime| {
            Cookie { name, value, path, domain: None, lifetime, http_only: true, secure }.header()
        };
        let until = Lifetime::Until(now + LOGIN_COOKIE_LIFETIME);
        let mut cookies = vec![
            self.session_cookie(parts, &session_id).header(),
            Cookie { lifetime: until, ..self.login_cookie(parts, signed.as_str(), &hub_prefix) }.header(),
        ];
        if let Some((ticket, expires_at)) = &login.ticket {
            let until = Lifetime::Until(UNIX_EPOCH + Duration::from_secs(*expires_at));
            cookies.push(cookie(TICKET_COOKIE, ticket.expose(), hub_prefix.as_str(), until));
        }
        cookies.push(self.new_xsrf_cookie(parts, &session_id, &user.cookie_id));
        tracing::info!("User logged in: {}", login.user);
        Ok(cookies)
    }

    /// Logs out of this browser: its login cookie, tokens, ticket and held PAM handle end; returns the `Set-Cookie` values
    /// that clear all.
    pub async fn finish_logout(self: &Arc<Self>, parts: &Parts) -> Result<Vec<String>, HttpError> {
        if let Some(browser) = self.browser(&parts.headers) {
            let session_id = browser.session_id.as_deref();
            self.store.end_login(browser.user.id, browser.began, session_id)?;
            let ticket = self.ticket(&parts.headers);
            self.end_login(session_id.unwrap_or_default(), &browser.name, ticket, Revocation::This).await;
            self.logged_out(&browser.name).await;
        }
        Ok(self.cleared_cookies(parts))
    }

    /// Logs out of all browsers, this one too, with all tickets.
    pub async fn finish_logout_everywhere(self: &Arc<Self>, parts: &Parts) -> Result<Vec<String>, HttpError> {
        if let Some(browser) = self.browser(&parts.headers) {
            for login in self.store.logins(browser.user.id, 0)? {
                self.logins.release(login.session_id.as_deref().unwrap_or_default());
            }
            self.store.end_logins(browser.user.id, &self.new_token())?;
            let ticket = self.ticket(&parts.headers);
            let session_id = browser.session_id.as_deref().unwrap_or_default();
            self.end_login(session_id, &browser.name, ticket, Revocation::All).await;
            self.logged_out(&browser.name).await;
        }
        Ok(self.cleared_cookies(parts))
    }

    async fn logged_out(self: &Arc<Self>, user: &UserName) {
        self.look_at_exchanges_soon();
        tracing::info!("User logged out: {user}");
        if self.settings.shutdown_on_logout {
            self.stop_servers_of(user).await;
        }
    }

    /// For a request that nobody was found for: a login cookie that does not hold is taken from the browser, as in
    /// JupyterHub.
    pub(crate) fn look_for_dead_login(&self, parts: &Parts) {
        let mut sent = super::cookies::values(&parts.headers, self.settings.login_cookie());
        if let Some(noted) = parts.extensions.get::<Noted>()
            && sent.any(|value| !value.is_empty())
            && self.cookie_user(&parts.headers).is_none()
        {
            let (hub_prefix, lifetime) = (self.settings.hub_prefix(), self.long_ago());
            noted.sets(Cookie { lifetime, ..self.login_cookie(parts, "", &hub_prefix) }.header());
        }
    }

    /// The lifetime of a cookie that the browser shall forget.
    fn long_ago(&self) -> Lifetime {
        Lifetime::Until(self.clock.now().checked_sub(CLEARED_AGO).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    fn cleared_cookies(&self, parts: &Parts) -> Vec<String> {
        let (hub_prefix, secure) = (self.settings.hub_prefix(), self.is_https(parts));
        let lifetime = self.long_ago();
        let cleared = |name, http_only| {
            let path = hub_prefix.as_str();
            Cookie { name, value: "", path, domain: None, lifetime, http_only, secure }.header()
        };
        vec![
            Cookie { lifetime, ..self.session_cookie(parts, "") }.header(),
            Cookie { lifetime, ..self.login_cookie(parts, "", &hub_prefix) }.header(),
            cleared(TICKET_COOKIE, true),
            cleared(XSRF_COOKIE, false),
        ]
    }

    /// Notes a login, for the person's own list; returns when it began.
    fn begin_login(&self, parts: &Parts, user_id: i64, session_id: &str) -> Result<i64, HttpError> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let browser: String = agent.unwrap_or_default().chars().take(AGENT_CHARS_MAX).collect();
        let address = self.client_address(parts).to_string();
        let new = NewLogin { user_id, session_id, address: &address, browser: &browser };
        Ok(self.store.begin_login(&new, self.unix_now(), self.oldest_login())?)
    }

    /// Logins from before this second are too old to count, in seconds since 1970.
    pub(crate) fn oldest_login(&self) -> i64 {
        self.unix_now() - (self.settings.cookie_max_age_days * 86400.0) as i64
    }

    /// The login cookie. With a name that begins with `__Host-` browsers take it for the whole host and over TLS only.
    fn login_cookie<'a>(&self, parts: &Parts, value: &'a str, hub_prefix: &'a str) -> Cookie<'a> {
        let prefixed = self.settings.cookie_host_prefix;
        Cookie {
            name: self.settings.login_cookie(),
            value,
            path: if prefixed { "/" } else { hub_prefix },
            domain: None,
            lifetime: Lifetime::Session,
            http_only: true,
            secure: prefixed || self.is_https(parts),
        }
    }

    /// The cookie of a browser's session id. Everybody's servers get it, whatever their host.
    pub(crate) fn session_cookie<'a>(&'a self, parts: &Parts, session_id: &'a str) -> Cookie<'a> {
        Cookie {
            name: SESSION_COOKIE,
            value: session_id,
            path: &self.settings.base_url,
            domain: self.settings.subdomains.as_ref().map(Subdomains::domain),
            lifetime: Lifetime::Session,
            http_only: true,
            secure: self.is_https(parts),
        }
    }

    /// What the session before this login was given must not outlive it unseen: its logout can no longer name it.
    fn end_previous_session(&self, parts: &Parts) -> Result<(), HttpError> {
        if let Some(browser) = self.browser(&parts.headers)
            && let Some(session_id) = &browser.session_id
        {
            self.store.end_login(browser.user.id, browser.began, Some(session_id))?;
        }
        Ok(())
    }

    async fn stop_servers_of(self: &Arc<Self>, user: &UserName) {
        for (server, _) in self.servers_of(user) {
            if let Err(error) = self.stop_server(user, &server).await {
                tracing::warn!(%user, %server, %error, "cannot stop a server at logout");
            }
        }
    }
}
