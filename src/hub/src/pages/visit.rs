//! One request for a page: who asks, with what query, and how a page is answered.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use minijinja::value::{Serde, Value};
use minijinja::{Error, context};

use super::access_log::Asker;
use super::errors::PageError;
use super::form::Form;
use super::headers::{Nonce, page_policy};
use super::kept::Fresh;
use super::language::Language;
use super::urls;
use crate::Hub;
use crate::api::inside::{Called, ForPages};
use crate::auth::{Browser, Caller, CallerKind, Xsrf};
use crate::error::HttpError;
use crate::subdomains::Subdomains;

/// A request for a page.
pub struct Visit {
    /// The hub.
    pub hub: Arc<Hub>,
    /// The request without its body.
    pub parts: Parts,
    /// Who the login cookie names.
    pub browser: Option<Browser>,
    /// The language that the browser asks for.
    pub language: &'static Language,
    /// What its page's own script and style carry.
    pub nonce: Nonce,
}

impl FromRequestParts<Arc<Hub>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Infallible> {
        Ok(Self::new(Arc::clone(hub), parts.clone()))
    }
}

impl Visit {
    /// Looks at the login cookie of a request.
    pub fn new(hub: Arc<Hub>, parts: Parts) -> Self {
        let browser = hub.browser(&parts.headers);
        if browser.is_none() {
            hub.look_for_dead_login(&parts);
        }
        Self { browser, ..Self::of_stranger(hub, parts) }
    }

    /// The logged-in person; strangers are sent to the login page.
    pub fn person(&self) -> Result<&Browser, PageError> {
        self.browser.as_ref().ok_or(PageError::Login)
    }

    /// The same request as a stranger's.
    pub fn of_stranger(hub: Arc<Hub>, parts: Parts) -> Self {
        let (language, nonce) = (Language::of(&parts.headers), Nonce::new(&hub));
        Self { hub, parts, browser: None, language, nonce }
    }

    /// A text of the catalogue in the person's language.
    pub fn say<'a>(&self, english: &'a str) -> &'a str {
        self.language.text(english)
    }

    /// Calls the API as the person; `path` is below `/hub/api` and encoded.
    pub async fn api(
        &self,
        (method, path): (Method, &str),
        body: Option<serde_json::Value>,
    ) -> Result<Called, PageError> {
        let browser = self.person()?;
        let caller = Caller {
            kind: CallerKind::User(browser.user.clone().into()),
            scopes: Arc::new(self.hub.scopes_of_user(&browser.user)?),
            token: None,
            session_id: browser.session_id.clone(),
        };
        let api = self.parts.extensions.get::<ForPages>();
        let api = api.ok_or_else(|| HttpError::bare(StatusCode::INTERNAL_SERVER_ERROR))?;
        Ok(api.call(caller, &self.parts, (method, path), body).await)
    }

    /// The hub's prefix, for instance `/hub/`.
    pub fn hub_url(&self, path: &str) -> String {
        format!("{}{path}", self.hub.settings.hub_prefix())
    }

    /// The address of a user's server, `/user/alice/` or `/user/alice/lab/`, with scheme and host where people have
    /// hosts of their own.
    pub fn server_url(&self, user: &str, server: &str) -> String {
        let base = &self.hub.settings.base_url;
        let origin = self.hub.settings.subdomains.as_ref().map(|hosts| hosts.origin_of_user(user));
        let mut url = format!("{}{base}user/{}/", origin.unwrap_or_default(), urls::segment(user));
        if !server.is_empty() {
            url.push_str(&urls::segment(server));
            url.push('/');
        }
        url
    }

    /// Path and query as the browser asked for them.
    pub fn uri(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// The query's parameters.
    pub fn query(&self) -> Vec<(String, String)> {
        urls::pairs(self.parts.uri.query().unwrap_or_default())
    }

    /// One parameter of the query.
    pub fn argument(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The query's `next` if there is one, checked by the hub; otherwise `other`.
    pub fn next_or(&self, other: String) -> String {
        match self.argument("next") {
            Some(next) if !next.is_empty() => self.hub.next_url(&self.parts, self.browser.as_ref()),
            _ => other,
        }
    }

    /// The browser's address, as the proxy knows it.
    pub fn source(&self) -> IpAddr {
        self.hub.client_address(&self.parts)
    }

    /// Reads a form and checks its `_xsrf`, which may also be in the query.
    pub async fn form(&self, body: Body) -> Result<Form, HttpError> {
        let form = Form::read(&self.parts.headers, body).await?;
        self.check_xsrf(form.get("_xsrf"))?;
        Ok(form)
    }

    /// Checks the `_xsrf` of a post: from a form field, the query, or the header that scripts use.
    pub fn check_xsrf(&self, field: Option<&str>) -> Result<(), HttpError> {
        let header = || self.parts.headers.get("x-xsrftoken").and_then(|value| value.to_str().ok());
        let submitted = match field {
            Some(field) => Some(field.to_owned()),
            None => self.argument("_xsrf").or_else(|| header().map(str::to_owned)),
        };
        let Some(submitted) = submitted else {
            let text = format!("'_xsrf' argument missing from {}", self.parts.method);
            return Err(HttpError::new(StatusCode::FORBIDDEN, text));
        };
        self.hub.check_xsrf(&self.parts, self.browser.as_ref(), &submitted)
    }

    /// The token that forms of a page carry.
    pub fn xsrf_token(&self) -> String {
        self.hub.xsrf_for_page(&self.parts, self.browser.as_ref()).token
    }

    /// A page.
    pub fn page(&self, status: StatusCode, template: &str, extra: Value) -> Response {
        let (nonce, xsrf) = self.fresh();
        let page = self.render(template, extra, &nonce, &xsrf.token);
        self.dressed(status, (template, page), &nonce, xsrf)
    }

    /// A page that is the same for all strangers who ask for this address in this language: it is rendered once.
    pub fn page_of_strangers(&self, template: &str, extra: impl Fn() -> Value) -> Response {
        let (nonce, xsrf) = self.fresh();
        let page = if self.browser.is_some() || !self.hub.announcements().is_empty() {
            self.render(template, extra(), &nonce, &xsrf.token)
        } else {
            let fresh = Fresh { nonce: &nonce.0, token: &xsrf.token };
            let spare = || (Nonce::new(&self.hub).0, self.hub.new_token());
            let render = |fresh: Fresh<'_>| {
                self.render(template, extra(), &Nonce(fresh.nonce.to_owned()), fresh.token)
            };
            self.hub.templates.kept.page((self.language.tag, self.uri()), fresh, spare, render)
        };
        self.dressed(StatusCode::OK, (template, page), &nonce, xsrf)
    }

    /// What is new in each page.
    fn fresh(&self) -> (Nonce, Xsrf) {
        (self.nonce.clone(), self.hub.xsrf_for_page(&self.parts, self.browser.as_ref()))
    }

    /// The answer that brings a page, with all its headers.
    fn dressed(
        &self,
        status: StatusCode,
        (template, page): (&str, Result<String, Error>),
        nonce: &Nonce,
        xsrf: Xsrf,
    ) -> Response {
        let mut response = match page {
            Ok(html) => html_response(status, html),
            Err(error) => {
                tracing::error!(template, error = format!("{error:#}"), "template");
                html_response(StatusCode::INTERNAL_SERVER_ERROR, BROKEN_TEMPLATE.to_owned())
            }
        };
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&self.policy(nonce)) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.language.tag));
        add_cookies(&mut response, xsrf.set_cookie);
        self.sign(response)
    }

    /// A redirect. Targets are paths of this origin, or the hub's or a person's own.
    pub fn redirect(&self, status: StatusCode, location: &str) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let location = HeaderValue::from_str(location)
            .or_else(|_| HeaderValue::from_str(&self.hub_url("home")))
            .unwrap_or_else(|_| HeaderValue::from_static("/"));
        headers.insert(header::LOCATION, location);
        self.sign(response)
    }

    /// `302 Found`.
    pub fn found(&self, location: &str) -> Response {
        self.redirect(StatusCode::FOUND, location)
    }

    /// A JSON answer.
    pub fn json(&self, status: StatusCode, body: &serde_json::Value) -> Response {
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.sign(response)
    }

    /// Notes on the answer who asked, for the access log.
    fn sign(&self, mut response: Response) -> Response {
        if let Some(browser) = &self.browser {
            response.extensions_mut().insert(Asker(browser.name.to_string()));
        }
        response
    }

    /// Renders with the page's own variables first, then the operator's, then the common ones.
    fn render(&self, template: &str, extra: Value, nonce: &Nonce, xsrf_token: &str) -> Result<String, Error> {
        let vars = Value::from(Serde(&self.hub.settings.template_vars));
        // `_` translates; the macro has no way to write its name.
        let texts = Value::from_pairs([("_", self.language.function.clone())]);
        let common = context! { ..self.common(nonce, xsrf_token), ..texts };
        self.hub.templates.render(template, context! { ..extra, ..context! { ..vars, ..common } })
    }

    /// The page's security policy.
    fn policy(&self, nonce: &Nonce) -> String {
        let host = match &self.hub.settings.public_url {
            Some(url) => url.split("://").nth(1).and_then(|rest| rest.split('/').next()).map(str::to_owned),
            None => Some(self.hub.host(&self.parts)),
        };
        let people = self.hub.settings.subdomains.as_ref().map(Subdomains::policy_source);
        let static_files = format!("{}{}", host.unwrap_or_default(), self.hub_url("static/"));
        page_policy(nonce, &static_files, people.as_deref().unwrap_or_default())
    }
}

/// What is shown when a site's own template cannot be rendered.
const BROKEN_TEMPLATE: &str = "<!DOCTYPE html><html lang=\"en\"><title>JupyterHub</title>\
    <h1>500 : Internal Server Error</h1><p>This page cannot be shown: its template is broken. \
    The hub's log has the reason.</p></html>";

/// An HTML answer, typed as JupyterHub types it. The pages name their encoding themselves.
pub fn html_response(status: StatusCode, html: String) -> Response {
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// Adds `Set-Cookie` headers; a value that cannot be a header is dropped and logged without its text.
pub fn add_cookies(response: &mut Response, cookies: impl IntoIterator<Item = String>) {
    for cookie in cookies {
        match HeaderValue::from_str(&cookie) {
            Ok(value) => {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
            Err(_) => tracing::error!("a cookie that cannot be sent was dropped"),
        }
    }
}
