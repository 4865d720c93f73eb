//! One request for a page: who asks, with what query, and how a page is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use hubd_proto::{ServerName, UserName};
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Error, context};

use super::access_log::Asker;
use super::announcement;
use super::errors::PageError;
use super::form::Form;
use super::headers::{Nonce, page_policy};
use super::language::Language;
use super::urls;
use crate::Hub;
use crate::api::inside::{Called, ForPages};
use crate::auth::{Browser, Caller, CallerKind, scopes};
use crate::error::HttpError;
use crate::services::ServiceLink;
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
        let language = Language::of(&parts.headers);
        Self { hub, parts, browser, language }
    }

    /// The logged-in person; strangers are sent to the login page.
    pub fn person(&self) -> Result<&Browser, PageError> {
        self.browser.as_ref().ok_or(PageError::Login)
    }

    /// The same request as a stranger's.
    pub fn of_stranger(hub: Arc<Hub>, parts: Parts) -> Self {
        let language = Language::of(&parts.headers);
        Self { hub, parts, browser: None, language }
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
            kind: CallerKind::User(browser.user.clone()),
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
        let nonce = self.parts.extensions.get::<Nonce>().cloned().unwrap_or_else(|| Nonce::new(&self.hub));
        let xsrf = self.hub.xsrf_for_page(&self.parts, self.browser.as_ref());
        let common = self.common(&nonce, &xsrf.token);
        let mut response = match self.render(template, extra, common) {
            Ok(html) => html_response(status, html),
            Err(error) => {
                tracing::error!(template, error = format!("{error:#}"), "template");
                html_response(StatusCode::INTERNAL_SERVER_ERROR, BROKEN_TEMPLATE.to_owned())
            }
        };
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&self.policy(&nonce)) {
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
    fn render(&self, template: &str, extra: Value, common: Value) -> Result<String, Error> {
        let vars = Value::from(Serde(&self.hub.settings.template_vars));
        // `_` translates; the macro has no way to write its name.
        let texts = Value::from_pairs([("_", self.language.function.clone())]);
        let common = context! { ..common, ..texts };
        self.hub.templates.render(template, context! { ..extra, ..context! { ..vars, ..common } })
    }

    /// What every page knows.
    fn common(&self, nonce: &Nonce, xsrf_token: &str) -> Value {
        let settings = &self.hub.settings;
        let base_url = settings.hub_prefix();
        let admin = self.browser.as_ref().is_some_and(|browser| browser.user.admin);
        let held = self.held();
        let mut jhdata = serde_json::json!({
            "base_url": base_url,
            "prefix": settings.base_url,
            "admin_access": settings.admin_access && admin,
            "options_form": settings.spawner.options.asks(),
            "xsrf_token": xsrf_token,
        });
        if let Some(map) = jhdata.as_object_mut() {
            if let Some(browser) = &self.browser {
                map.insert("user".to_owned(), browser.name.as_str().into());
            }
            if self.language.tag != "en" {
                map.insert("texts".to_owned(), self.language.for_scripts.clone());
            }
        }
        context! {
            lang => self.language.tag,
            announcements => Serde(&self.undismissed()),
            here => self.uri(),
            base_url => base_url,
            prefix => settings.base_url.as_str(),
            user => self.browser.as_ref().map(|browser| self.user_value(&browser.name, browser.user.admin)),
            login_url => self.hub_url("login"),
            logout_url => self.hub_url("logout"),
            xsrf => xsrf_token,
            xsrf_token => xsrf_token,
            jhdata => Serde(&jhdata),
            nonce => nonce.0.as_str(),
            admin_ui => held.contains("admin-ui"),
            services => Serde(&self.services(&held)),
            parsed_scopes => parsed(&held),
            expanded_scopes => held.into_iter().collect::<Vec<_>>(),
            version_hash => super::assets::version("css/style.min.css"),
        }
    }

    /// The services that the person may use and that want to be seen.
    fn services(&self, held: &scopes::Held) -> Vec<ServiceLink> {
        if self.browser.is_none() {
            return Vec::new();
        }
        self.hub.services_for(held).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up services");
            Vec::new()
        })
    }

    /// The announcements that the person has not dismissed.
    fn undismissed(&self) -> Vec<crate::announcements::Announcement> {
        let mut all = self.hub.announcements();
        if !all.is_empty() {
            let dismissed = announcement::dismissed(&self.parts.headers);
            all.retain(|news| !dismissed.contains(&news.id.as_str()));
        }
        all
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

    /// What the person may do. A page is shown even if the database cannot be asked.
    fn held(&self) -> scopes::Held {
        let Some(browser) = &self.browser else { return scopes::Held::new() };
        self.hub.scopes_of_user(&browser.user).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up what a person may do");
            scopes::Held::new()
        })
    }

    /// `user.server_url(name)` of JupyterHub's templates.
    fn server_url_function(&self, name: &UserName) -> Value {
        let base = self.server_url(name.as_str(), "");
        Value::from_function(move |server: Option<&str>| match server {
            None | Some("") => base.clone(),
            Some(server) => format!("{base}{}/", urls::segment(server)),
        })
    }

    /// `user.all_spawners(include_default=…)` of JupyterHub's templates.
    fn all_spawners_function(&self, name: &UserName) -> Value {
        let all = super::home::servers_of(self, name, &ServerName::default()).unwrap_or_default();
        Value::from_function(move |options: Kwargs| -> Result<Value, Error> {
            let default = options.get::<Option<bool>>("include_default")?.unwrap_or(true);
            Ok(all.iter().skip(usize::from(!default)).cloned().collect())
        })
    }

    /// The `user` variable.
    fn user_value(&self, name: &UserName, admin: bool) -> Value {
        context! {
            name => name.as_str(),
            escaped_name => urls::segment(name.as_str()),
            json_escaped_name => name.as_str(),
            admin => admin,
            url => self.server_url(name.as_str(), ""),
            server_url => self.server_url_function(name),
            all_spawners => self.all_spawners_function(name),
            spawner => super::home::spawner_value(self, name, &ServerName::default(), &self.hub.server(name, &ServerName::default())),
        }
    }
}

/// The scopes with their filters apart, as JupyterHub's `parsed_scopes`.
fn parsed(held: &scopes::Held) -> Value {
    let mut parsed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for scope in held {
        let (name, filter) = scope.split_once('!').unwrap_or((scope, ""));
        let filters = parsed.entry(name).or_default();
        if !filter.is_empty() {
            filters.push(filter);
        }
    }
    Value::from(Serde(&parsed))
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
