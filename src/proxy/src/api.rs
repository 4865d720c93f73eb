//! configurable-http-proxy's REST API: `/api/routes`, for whoever has the token.

mod shown;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::counters::Counters;
use crate::data::{HOST, LAST_ACTIVITY, RouteData, TARGET, json_text};
use crate::destination::{self, Destination};
use crate::routes::{Owner, Route, RouteError, Routes, now_millis};
use crate::{App, BackendFailure, BoxBody, BoxFuture, Endpoint, Target, body};
use shown::{inactive_since, iso, route_key, shown, table_key};

/// The largest body, in bytes: JupyterHub sends some hundred.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Where all of it is.
const ROUTES: &str = "/api/routes";

/// The REST API over a route table.
pub struct Api {
    routes: Arc<Routes>,
    token: Option<Zeroizing<String>>,
    hosts: bool,
    https: bool,
    kept: Option<Kept>,
    counters: Arc<Counters>,
}

/// The route that is the program's own app.
struct Kept {
    prefix: String,
    shown: String,
    below: Vec<String>,
}

/// An answer: status, text, and whether the text is JSON.
struct Reply(StatusCode, String, bool);

impl Api {
    /// Over `routes`. Without a token everybody is let in.
    pub fn new(routes: Arc<Routes>, token: Option<Zeroizing<String>>) -> Self {
        let token = token.filter(|token| !token.is_empty());
        Self { routes, token, hosts: false, https: false, kept: None, counters: Arc::default() }
    }

    /// Counts there.
    #[must_use]
    pub fn counting(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// The first segment of each path is a host's name.
    #[must_use]
    pub fn with_hosts(self) -> Self {
        Self { hosts: true, ..self }
    }

    /// Targets may have TLS.
    #[must_use]
    pub fn with_https(self) -> Self {
        Self { https: true, ..self }
    }

    /// Shows the program's app as a route of `prefix`, and lets nobody have a route of that prefix or of one in
    /// `below` or deeper.
    #[must_use]
    pub fn keeping(self, prefix: &str, target: Target, data: RouteData, below: &[String]) -> Self {
        let data = data.with(TARGET, destination::url(&target)).with(LAST_ACTIVITY, iso(now_millis()));
        let kept = Kept { prefix: table_key(prefix), shown: data.to_json(), below: below.to_vec() };
        Self { kept: Some(kept), ..self }
    }

    /// Whether a path is the API's.
    pub fn takes(path: &str) -> bool {
        path.strip_prefix(ROUTES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    async fn answer(&self, request: Request<BoxBody>) -> Reply {
        let (head, body) = request.into_parts();
        let Some(path) = Some(head.uri.path()).filter(|path| Self::takes(path)) else {
            return Reply::text(StatusCode::NOT_FOUND, "Not Found");
        };
        let path = path.strip_prefix(ROUTES).filter(|path| !path.is_empty()).unwrap_or("/");
        if ![Method::GET, Method::POST, Method::DELETE].contains(&head.method) {
            return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "Method not supported");
        }
        if !self.authorized(&head.headers) {
            tracing::debug!("Rejecting API request");
            return Reply::empty(StatusCode::FORBIDDEN);
        }
        if head.method == Method::POST {
            return match body::collect(body, BODY_BYTES_MAX).await {
                Some(body) => self.post(path, &body),
                None => Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "Body larger than 1 MiB, or broken off"),
            };
        }
        if head.method == Method::DELETE {
            return self.delete(path);
        }
        if path == "/" { self.list(head.uri.query().unwrap_or_default()) } else { self.get(path) }
    }

    fn authorized(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(token_of);
        given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into())
    }

    fn list(&self, query: &str) -> Reply {
        let since = match inactive_since(query) {
            Ok(since) => since,
            Err(text) => {
                let text = format!("Invalid datestamp '{text}' must be ISO8601.");
                return Reply::text(StatusCode::BAD_REQUEST, text);
            }
        };
        let kept = self.kept.iter().filter(|_| since.is_none());
        let kept = kept.map(|kept| format!("{}:{}", json_text(&kept.prefix), kept.shown));
        let routes = self.routes.all();
        let old = |route: &&Arc<Route>| since.is_none_or(|since| i128::from(route.seen_millis()) < since);
        let routes = routes.iter().filter(old);
        let routes = routes.map(|route| format!("{}:{}", json_text(&route_key(route)), shown(route)));
        let mut text = String::from("{");
        for member in kept.chain(routes) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&member);
        }
        text.push('}');
        self.counters.routes_read.fetch_add(1, Ordering::Relaxed);
        Reply::json(text)
    }

    fn get(&self, path: &str) -> Reply {
        let kept = self.kept.as_ref().filter(|kept| kept.prefix == table_key(path));
        match (kept, self.routes.get(path)) {
            (Some(kept), _) => Reply::json(kept.shown.clone()),
            (None, Some(route)) => Reply::json(shown(&route)),
            (None, None) => Reply::empty(StatusCode::NOT_FOUND),
        }
    }

    fn post(&self, path: &str, body: &[u8]) -> Reply {
        let data = match RouteData::parse(body) {
            Ok(data) => data,
            Err(error) => {
                return Reply::text(StatusCode::BAD_REQUEST, format!("Body not valid JSON: {error}"));
            }
        };
        let Some(url) = data.text(TARGET) else {
            return Reply::text(StatusCode::BAD_REQUEST, "Must specify 'target' as string");
        };
        let destination = match Destination::parse(&url) {
            Ok(Destination { target: Target { endpoint: Endpoint::Tls(..), .. }, .. }) if !self.https => {
                return Reply::text(StatusCode::BAD_REQUEST, "'target' must be http:// or http+unix:// here");
            }
            Ok(destination) => destination,
            Err(error) => return Reply::text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let key = table_key(path);
        let data = match key.split('/').nth(1).filter(|host| self.hosts && !host.is_empty()) {
            Some(host) => data.with(HOST, host),
            None => data,
        };
        if let Err(error) = self.may_have(&key) {
            return Reply::refusal(error);
        }
        // The time is kept apart from the data, and shown in this place.
        let data = data.with(LAST_ACTIVITY, ());
        match self.routes.put(path, destination, (data, None), Owner::Api) {
            Ok(()) => {
                self.counters.routes_added.fetch_add(1, Ordering::Relaxed);
                tracing::info!("Route added {key} -> {url}");
                Reply::empty(StatusCode::CREATED)
            }
            Err(error) => Reply::refusal(error),
        }
    }

    fn delete(&self, path: &str) -> Reply {
        let key = table_key(path);
        match self.may_have(&key).and_then(|()| self.routes.take(path, Owner::Api)) {
            Ok(true) => {
                self.counters.routes_deleted.fetch_add(1, Ordering::Relaxed);
                tracing::info!("Removing route {key}");
                Reply::empty(StatusCode::NO_CONTENT)
            }
            Ok(false) => Reply::empty(StatusCode::NOT_FOUND),
            Err(error) => Reply::refusal(error),
        }
    }

    /// Whether the API may have a route of this key at all.
    fn may_have(&self, key: &str) -> Result<(), RouteError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let inside = |below: &String| {
            let rest = key.strip_prefix(below.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if key == kept.prefix || kept.below.iter().any(inside) { Err(RouteError::Taken) } else { Ok(()) }
    }
}

impl App for Api {
    fn call(&self, request: Request<BoxBody>) -> BoxFuture<'_, Response<BoxBody>> {
        Box::pin(async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let Reply(status, text, json) = self.answer(request).await;
            let said = if json { String::new() } else { text.clone() };
            self.counters.api(status);
            match status.as_u16() {
                ..400 => tracing::info!("{} {method} {path} {said}", status.as_u16()),
                400..500 => tracing::warn!("{} {method} {path} {said}", status.as_u16()),
                _ => tracing::error!("{} {method} {path} {said}", status.as_u16()),
            }
            let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
            let mut response = Response::new(body::text(text));
            *response.status_mut() = status;
            if json || !said.is_empty() {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            response
        })
    }

    fn backend_failed(&self, _: &http::request::Parts, _: &str, _: BackendFailure) -> Response<BoxBody> {
        // Nothing is routed where the API is served; an answer is owed all the same.
        let mut response = Response::new(body::text(""));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}

impl Reply {
    fn empty(status: StatusCode) -> Self {
        Self(status, String::new(), false)
    }

    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into(), false)
    }

    fn json(text: String) -> Self {
        Self(StatusCode::OK, text, true)
    }

    fn refusal(error: RouteError) -> Self {
        let status = match error {
            RouteError::Taken => StatusCode::CONFLICT,
            RouteError::Path(_) | RouteError::Segments => StatusCode::BAD_REQUEST,
        };
        Self::text(status, error.to_string())
    }
}

/// The token in an `Authorization` header: after the first `token` with white space behind it, wherever that is.
fn token_of(header: &str) -> Option<&str> {
    let rest = header.match_indices("token").find_map(|(at, word)| {
        let rest = header.get(at + word.len()..)?;
        let token = rest.trim_start();
        (token.len() < rest.len() && !token.is_empty()).then_some(token)
    })?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests;
