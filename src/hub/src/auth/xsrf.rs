//! The token against forged requests, as JupyterHub makes and checks it (`handlers`, `_xsrf_utils.py`).
//!
//! It is the signed text `<session id>:<who>`, so it is worthless in any other session.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;

use super::signed::{Check, Formats, sign, verify};
use super::{Browser, Cookie, Lifetime, XSRF_COOKIE, cookies};
use crate::Hub;
use crate::error::HttpError;

/// How long a token holds, in seconds: Tornado's default of 31 days.
const AGE_SECONDS_MAX: f64 = 31.0 * 86400.0;
/// How long an anonymous browser keeps its token: an open login form works for an hour.
const ANONYMOUS_LIFETIME: Duration = Duration::from_secs(3600);

/// The `_xsrf` token of a page.
pub struct Xsrf {
    /// The token, for the form's hidden field.
    pub token: String,
    /// `Set-Cookie`, if the browser needs a new one.
    pub set_cookie: Option<String>,
}

impl Hub {
    /// The `_xsrf` token for a page: the one of a still valid cookie, or a new one with the
    /// `Set-Cookie` value that gives it to the browser.
    pub fn xsrf_for_page(&self, parts: &Parts, browser: Option<&Browser>) -> Xsrf {
        let id = self.xsrf_id(parts, browser);
        if let Some((token, found)) = self.valid_xsrf_cookie(&parts.headers)
            && found == id.as_bytes()
        {
            // A login form's cookie is set again, so that its hour begins anew.
            let set_cookie = browser.is_none().then(|| self.xsrf_cookie(parts, &token, browser.is_some()));
            return Xsrf { set_cookie, token };
        }
        let token = self.xsrf_token(&id);
        let set_cookie = match fetch_header(&parts.headers, "sec-fetch-mode") {
            None | Some("navigate") => Some(self.xsrf_cookie(parts, &token, browser.is_some())),
            Some(_) => None,
        };
        Xsrf { token, set_cookie }
    }

    /// Checks a form post: `submitted` must equal the cookie, and the cookie be this session's.
    pub fn check_xsrf(
        &self,
        parts: &Parts,
        browser: Option<&Browser>,
        submitted: &str,
    ) -> Result<(), HttpError> {
        let method = &parts.method;
        if submitted.is_empty() {
            let text = format!("'_xsrf' argument missing from {method}");
            return Err(HttpError::new(StatusCode::FORBIDDEN, text));
        }
        let id = self.xsrf_id(parts, browser);
        match self.valid_xsrf_cookie(&parts.headers) {
            Some((token, found))
                if found == id.as_bytes() && bool::from(token.as_bytes().ct_eq(submitted.as_bytes())) =>
            {
                Ok(())
            }
            _ => {
                let text = format!("XSRF cookie does not match {method} argument");
                Err(HttpError::new(StatusCode::FORBIDDEN, text))
            }
        }
    }

    /// Checks an API call made with a cookie, or anonymously from another origin. The token comes in the
    /// query or a header.
    pub(super) fn check_api_xsrf(&self, parts: &Parts, browser: Option<&Browser>) -> Result<(), HttpError> {
        if !needs_check(&parts.method, &parts.headers) {
            return Ok(());
        }
        let query = crate::auth::next_url::query_value(parts.uri.query().unwrap_or(""), XSRF_COOKIE);
        let submitted = query.or_else(|| {
            ["x-xsrftoken", "x-csrftoken"]
                .iter()
                .find_map(|name| Some(fetch_header(&parts.headers, name)?.to_owned()))
        });
        self.check_xsrf(parts, browser, &submitted.unwrap_or_default())
    }

    /// A new token and its cookie for the session that a login has just begun.
    pub(super) fn new_xsrf_cookie(&self, parts: &Parts, session_id: &str, cookie_id: &str) -> String {
        self.xsrf_cookie(parts, &self.xsrf_token(&format!("{session_id}:{cookie_id}")), true)
    }

    fn xsrf_token(&self, id: &str) -> String {
        let signed = sign(&self.settings.cookie_secret, XSRF_COOKIE, id.as_bytes(), self.unix_now());
        URL_SAFE_NO_PAD.encode(signed)
    }

    fn xsrf_cookie(&self, parts: &Parts, token: &str, logged_in: bool) -> String {
        let lifetime = if logged_in { Lifetime::Session } else { Lifetime::For(ANONYMOUS_LIFETIME) };
        let cookie = Cookie {
            name: XSRF_COOKIE,
            value: token,
            path: &self.settings.hub_prefix(),
            domain: None,
            lifetime,
            http_only: false,
            secure: self.is_https(parts),
        };
        cookie.header()
    }

    /// The first `_xsrf` cookie whose signature holds, as sent, and what it says.
    fn valid_xsrf_cookie(&self, headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
        let check = Check {
            secret: &self.settings.cookie_secret,
            name: XSRF_COOKIE,
            now: self.unix_now(),
            age_seconds_max: AGE_SECONDS_MAX,
            formats: Formats::Two,
        };
        cookies::values(headers, XSRF_COOKIE).find_map(|token| {
            let signed = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            Some((token.to_owned(), verify(check, &signed)?))
        })
    }

    /// Whom a token is for.
    fn xsrf_id(&self, parts: &Parts, browser: Option<&Browser>) -> String {
        let session = self.session_id(&parts.headers);
        let session = session.as_deref().unwrap_or("None");
        match browser {
            Some(browser) => format!("{session}:{}", browser.user.cookie_id),
            None => format!("{session}:{}", anonymous_id(self.client_address(parts), &parts.headers)),
        }
    }
}

/// Whether a call made with a cookie has to carry the token.
pub(super) fn needs_check(method: &Method, headers: &HeaderMap) -> bool {
    let mode = fetch_header(headers, "sec-fetch-mode");
    if mode == Some("websocket") {
        return false;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match mode {
        None | Some("navigate") => !reads,
        Some("no-cors") => !(reads && fetch_header(headers, "sec-fetch-site") == Some("same-origin")),
        Some(_) => true,
    }
}

/// Stands for a browser that is not logged in.
fn anonymous_id(address: IpAddr, headers: &HeaderMap) -> String {
    let mut bytes = address.to_string().into_bytes();
    bytes.extend_from_slice(headers.get(header::USER_AGENT).map_or(b"", |value| value.as_bytes()));
    bytes.push(0xff);
    URL_SAFE.encode(digest(&SHA256, &bytes))
}

fn fetch_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("testdata/xsrf.json")).unwrap()
    }

    #[test]
    fn anonymous_ids_are_those_of_jupyterhub() {
        for case in vectors()["anonymous_ids"].as_array().unwrap() {
            let mut headers = HeaderMap::new();
            let agent = case["headers"]["User-Agent"].as_str().unwrap();
            headers.insert(header::USER_AGENT, HeaderValue::from_bytes(agent.as_bytes()).unwrap());
            let id = anonymous_id(case["ip"].as_str().unwrap().parse().unwrap(), &headers);
            assert_eq!(id, case["anonymous_id"].as_str().unwrap());
        }
    }

    #[test]
    fn tokens_are_those_of_jupyterhub() {
        let vectors = vectors();
        let text = vectors["cookie_secret_hex"].as_str().unwrap();
        let secret: Vec<u8> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        for case in vectors["tokens"].as_array().unwrap() {
            let id = case["token_id"].as_str().unwrap();
            let signed = sign(&secret, XSRF_COOKIE, id.as_bytes(), case["timestamp"].as_i64().unwrap());
            assert_eq!(signed, case["signed_value"].as_str().unwrap());
            assert_eq!(URL_SAFE_NO_PAD.encode(signed), case["xsrf_token"].as_str().unwrap());
        }
    }

    #[test]
    fn the_same_requests_need_the_token_as_in_jupyterhub() {
        for case in vectors()["needs_check"].as_array().unwrap() {
            if case["token_auth"] == true {
                assert_eq!(case["needs_check"], false);
                continue;
            }
            let mut headers = HeaderMap::new();
            for (name, key) in [("sec-fetch-mode", "sec_fetch_mode"), ("sec-fetch-site", "sec_fetch_site")] {
                if let Some(value) = case[key].as_str() {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            let method = case["method"].as_str().unwrap().parse().unwrap();
            assert_eq!(needs_check(&method, &headers), case["needs_check"].as_bool().unwrap(), "{case}");
        }
    }
}
