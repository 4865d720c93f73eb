//! The way into a guarded server: a code from the hub becomes a cookie for the server's part of the site.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::Response;
use http::Method;
use http::request::Parts;
use subtle::ConstantTimeEq;

use super::{EDGE_COOKIE, Place, STATE_COOKIE, cookie_name};
use crate::Hub;
use crate::auth::{Cookie, Lifetime, cookie_values, hex};
use crate::pages::edge::{Audience, edge_redirect, edge_refusal};
use crate::pages::urls;
use crate::pages::visit::add_cookies;

/// Below a server's prefix: where a code becomes a cookie. The server itself never sees this path.
pub(crate) const ENTRY: &str = ".hubd/enter";
/// How long a code holds: the browser brings it at once.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// Most codes that wait, each some 500 bytes. Who floods them makes others try again.
const CODES_MAX: usize = 10_000;
/// How long a browser may take from the server's page through the login and back.
const STATE_LIFETIME: Duration = Duration::from_secs(3600);
/// Length of a state cookie: that of the hub's tokens.
const STATE_BYTES: usize = 32;

/// What somebody is let in with, once.
pub(crate) struct Code {
    /// The server that it is for.
    pub place: Place,
    /// The hash of the cookie of the browser that it is for.
    pub state: String,
    /// The person, as the login cookie has them.
    pub cookie_id: String,
    /// When they logged in, in seconds since 1970.
    pub since: i64,
    /// Where they want to be.
    pub next: String,
}

/// Codes that wait for their browsers.
#[derive(Default)]
pub(crate) struct Codes(Mutex<HashMap<String, (Code, SystemTime)>>);

impl Codes {
    /// Keeps a code under its text.
    pub fn keep(&self, text: String, code: Code, now: SystemTime) {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= CODES_MAX {
            codes.retain(|_, (_, until)| now < *until);
        }
        if codes.len() >= CODES_MAX {
            codes.clear();
        }
        codes.insert(text, (code, now + CODE_LIFETIME));
    }

    /// Takes a code: it is gone, also if it turns out not to fit.
    fn take(&self, text: &str, now: SystemTime) -> Option<Code> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(text).filter(|(_, until)| now < *until).map(|(code, _)| code)
    }
}

impl Hub {
    /// Sends a browser to the hub, which knows the person, with a cookie by which it is known again.
    pub(super) fn send_to_entry(self: &Arc<Self>, request: &Parts, place: &Place) -> Response {
        let secure = self.is_https(request);
        let name = cookie_name(STATE_COOKIE, secure);
        let state = state_of(request, &name).map_or_else(|| self.new_token(), str::to_owned);
        let mut hub = self.settings.subdomains.as_ref().map(|hosts| hosts.origin()).unwrap_or_default();
        hub.push_str(&format!("{}edge/{}", self.settings.hub_prefix(), urls::segment(place.owner.as_str())));
        if !place.server.is_default() {
            hub.push_str(&format!("/{}", urls::segment(place.server.as_str())));
        }
        let query =
            [("next".to_owned(), own_form(request, &place.prefix)), ("state".to_owned(), hashed(&state))];
        let mut response = edge_redirect(self, request, &urls::with_query(&hub, &query));
        let lifetime = Lifetime::For(STATE_LIFETIME);
        add_cookies(&mut response, [edge_cookie(&name, &state, place, (lifetime, secure))]);
        response
    }

    /// The answer to a browser that brings its code; nothing for any other request.
    pub(super) fn enter(self: &Arc<Self>, request: &Parts, place: &Place) -> Option<Response> {
        let path = request.uri.path().strip_prefix(&place.prefix)?;
        if path != ENTRY || request.method != Method::GET {
            return None;
        }
        let (now, secure) = (self.clock.now(), self.is_https(request));
        let pairs = urls::pairs(request.uri.query().unwrap_or_default());
        let code = pairs.iter().find(|(name, _)| name == "code");
        let code = code.and_then(|(_, text)| self.edge.codes.take(text, now));
        let state_name = cookie_name(STATE_COOKIE, secure);
        let state = state_of(request, &state_name).map(hashed).unwrap_or_default();
        let fits =
            |code: &Code| code.place == *place && bool::from(code.state.as_bytes().ct_eq(state.as_bytes()));
        let Some(code) = code.filter(fits) else {
            let text = "This way into the server does not hold any more, or was for another browser. \
                        Open the server again from the hub; its pages need cookies.";
            return Some(edge_refusal(self, request, text, Audience::Person));
        };
        let mut response = edge_redirect(self, request, &code.next);
        let max_age = Duration::try_from_secs_f64(self.settings.cookie_max_age_days * 86400.0);
        let since = UNIX_EPOCH + Duration::from_secs(u64::try_from(code.since).unwrap_or_default());
        let until = Lifetime::Until(since + max_age.unwrap_or_default());
        let value = self.sign_edge(&code.cookie_id, place, code.since);
        let name = cookie_name(EDGE_COOKIE, secure);
        let cookies = [
            edge_cookie(&name, &value, place, (until, secure)),
            edge_cookie(&state_name, "", place, (Lifetime::For(Duration::ZERO), secure)),
        ];
        add_cookies(&mut response, cookies);
        Some(response)
    }
}

/// The value by which a browser is known again, if it has one.
fn state_of<'a>(request: &'a Parts, name: &'a str) -> Option<&'a str> {
    let is_state =
        |value: &&str| value.len() == STATE_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    cookie_values(&request.headers, name).find(is_state)
}

fn hashed(state: &str) -> String {
    hex(digest(&SHA256, state.as_bytes()).as_ref())
}

/// Path and query of a request with the prefix in the form that the cookie's path has.
fn own_form(request: &Parts, prefix: &str) -> String {
    let path = request.uri.path();
    let slashes = prefix.matches('/').count();
    let rest =
        path.match_indices('/').nth(slashes - 1).and_then(|(at, _)| path.get(at + 1..)).unwrap_or_default();
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{prefix}{rest}{query}")
}

fn edge_cookie(name: &str, value: &str, place: &Place, (lifetime, secure): (Lifetime, bool)) -> String {
    Cookie { name, value, path: &place.prefix, domain: None, lifetime, http_only: true, secure }.header()
}
