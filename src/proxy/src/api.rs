//! configurable-http-proxy's REST API: `/api/routes`, for whoever has the token.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::counters::Counters;
use crate::data::{HOST, LAST_ACTIVITY, RouteData, TARGET, json_text};
use crate::destination::{self, Destination};
use crate::routes::{Owner, Route, RouteError, Routes, now_millis};
use crate::{App, BackendFailure, BoxBody, BoxFuture, Endpoint, Target, body};

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
        match self.routes.put(path, destination, data, Owner::Api) {
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

/// The key of a path in the API's table: decoded, and without a slash at its end.
fn table_key(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    match decoded.strip_suffix('/').unwrap_or(&decoded) {
        "" => "/".to_owned(),
        key => key.to_owned(),
    }
}

impl Routes {
    /// All routes with what the REST API shows of them, a JSON object; in no order.
    pub fn shown(&self) -> Vec<(String, String)> {
        self.all().iter().map(|route| (route.prefix.clone(), shown(route))).collect()
    }
}

fn route_key(route: &Route) -> String {
    table_key(&route.canonical)
}

/// What the API shows of a route.
fn shown(route: &Route) -> String {
    let data = route.data.clone();
    let data = match data.text(TARGET) {
        Some(_) => data,
        None => data.with(TARGET, destination::url(&route.destination.target)),
    };
    data.with(LAST_ACTIVITY, iso(route.seen_millis())).to_json()
}

/// Milliseconds since 1970 as JavaScript writes a date.
fn iso(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    let mut text = String::new();
    if let Some(time) = time {
        // Writing to a String does not fail.
        write!(text, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")).ok();
    }
    text
}

/// The time in a query's `inactiveSince` or `inactive_since`, in milliseconds since 1970; the text if it is none.
fn inactive_since(query: &str) -> Result<Option<i128>, String> {
    let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
    let value = |wanted: &str| {
        let (_, value) = pairs().find(|(name, value)| *name == wanted && !value.is_empty())?;
        Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    };
    let Some(text) = value("inactiveSince").or_else(|| value("inactive_since")) else { return Ok(None) };
    // What names no zone is taken as UTC, like all times that JupyterHub writes.
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let time = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    time.map(|time| Some(i128::from(time.as_millisecond()))).ok_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn api() -> Api {
        Api::new(Arc::default(), Some(Zeroizing::new("tok".to_owned())))
    }

    async fn ask_with(api: &Api, token: &str, method: &str, uri: &str, text: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(uri).header(AUTHORIZATION, token);
        let response = api.call(request.body(body::text(text.to_owned())).unwrap()).await;
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    async fn ask(api: &Api, method: &str, uri: &str, text: &str) -> (u16, String) {
        ask_with(api, "token tok", method, uri, text).await
    }

    const POST: &str = r#"{"target":"http://127.0.0.1:9300","user":"a","extra":[1]}"#;

    #[tokio::test]
    async fn routes_are_added_shown_and_removed() {
        let api = api();
        assert_eq!(ask(&api, "GET", "/api/routes", "").await, (200, "{}".to_owned()));
        assert_eq!(ask(&api, "POST", "/api/routes/user/a%20b@x", POST).await, (201, String::new()));
        let (status, text) = ask(&api, "GET", "/api/routes/", "").await;
        let start =
            r#"{"/user/a b@x":{"target":"http://127.0.0.1:9300","user":"a","extra":[1],"last_activity":""#;
        assert!(status == 200 && text.starts_with(start) && text.ends_with("Z\"}}"), "{text}");
        assert_eq!(ask(&api, "GET", "/api/routes/user/a%20b%40x/", "").await.0, 200);
        assert_eq!(ask(&api, "GET", "/api/routes/user", "").await, (404, String::new()));
        assert_eq!(ask(&api, "DELETE", "/api/routes/user/a%20b@x", "").await, (204, String::new()));
        assert_eq!(ask(&api, "DELETE", "/api/routes/user/a%20b@x", "").await, (404, String::new()));
    }

    #[tokio::test]
    async fn nobody_gets_in_without_the_token() {
        for token in ["", "tok", "token", "token ", "token to", "token tokk", "Bearer tok", "Token tok"] {
            for method in ["GET", "POST", "DELETE"] {
                assert_eq!(ask_with(&api(), token, method, "/api/routes", POST).await, (403, String::new()));
            }
        }
        for token in ["token tok", "x token   tok y", "tokentoken tok"] {
            assert_eq!(ask_with(&api(), token, "GET", "/api/routes", "").await.0, 200, "{token}");
        }
        let open = Api::new(Arc::default(), Some(Zeroizing::default()));
        assert_eq!(ask_with(&open, "", "GET", "/api/routes", "").await.0, 200);
    }

    #[tokio::test]
    async fn bad_requests_are_told_what_is_wrong() {
        for (method, uri, text, status, answer) in [
            ("POST", "/api/routes/x", "{", 400, "Body not valid JSON: "),
            ("POST", "/api/routes/x", "{}", 400, "Must specify 'target' as string"),
            ("POST", "/api/routes/x", r#"{"target":1}"#, 400, "Must specify 'target' as string"),
            ("POST", "/api/routes/x", r#"{"target":"ftp://x"}"#, 400, "'target' must begin with"),
            (
                "POST",
                "/api/routes/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h",
                POST,
                400,
                "the path must not have more",
            ),
            ("POST", "/api/routes/x", r#"{"target":"https://x"}"#, 400, "'target' must be http:// or"),
            ("PUT", "/api/routes/x", POST, 405, "Method not supported"),
            ("GET", "/api/routesx", "", 404, "Not Found"),
            ("GET", "/api", "", 404, "Not Found"),
            (
                "GET",
                "/api/routes?inactive_since=nonsense",
                "",
                400,
                "Invalid datestamp 'nonsense' must be ISO8601.",
            ),
        ] {
            let (found, text) = ask(&api(), method, uri, text).await;
            assert!(found == status && text.starts_with(answer), "{method} {uri}: {found} {text}");
        }
        let long = format!(r#"{{"target":"http://x","pad":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
        assert_eq!(ask(&api(), "POST", "/api/routes/x", &long).await.0, 413);
    }

    #[tokio::test]
    async fn inactive_routes_are_found_by_time() {
        let api = api();
        ask(&api, "POST", "/api/routes/x", POST).await;
        for (query, found) in [
            ("inactive_since=2000-01-01T00:00:00Z", false),
            ("inactiveSince=2999-01-01T00:00:00.123Z", true),
            ("inactive_since=2999-01-01T00%3A00%3A00%2B02:00", true),
            ("inactive_since=2999-01-01", true),
            ("inactive_since=", true),
        ] {
            let (status, text) = ask(&api, "GET", &format!("/api/routes?{query}"), "").await;
            assert_eq!((status, text.contains("/x")), (200, found), "{query}: {text}");
        }
    }

    #[tokio::test]
    async fn the_programs_own_routes_are_shown_and_left_alone() {
        let api = api();
        let target = |port| Target { endpoint: Endpoint::Tcp(([127, 0, 0, 1], port).into()), uid: Some(1) };
        api.routes.add_with("/pre/user/a/", target(1), RouteData::default().with("user", "a"));
        let hub = RouteData::default().with("hub", true);
        let api = api.keeping("/pre/", target(8081), hub, &["/pre/hub/".to_owned()]);
        let (_, text) = ask(&api, "GET", "/api/routes", "").await;
        assert!(
            text.starts_with(r#"{"/pre":{"hub":true,"target":"http://127.0.0.1:8081","last_act"#),
            "{text}"
        );
        assert!(
            text.contains(r#""/pre/user/a":{"user":"a","target":"http://127.0.0.1:1","last_act"#),
            "{text}"
        );
        for path in ["/pre", "/pre/", "/pre/hub", "/pre/hub/x", "/pre/h%75b", "/pre/user/a", "/pre/user/%61/"]
        {
            let uri = format!("/api/routes{path}");
            let refusal = (409, "the route is the hub's own".to_owned());
            assert_eq!(ask(&api, "POST", &uri, POST).await, refusal, "{path}");
            assert_eq!(ask(&api, "DELETE", &uri, "").await, refusal, "{path}");
        }
        assert_eq!(ask(&api, "POST", "/api/routes/pre/hubx", POST).await.0, 201);
        assert_eq!(ask(&api, "GET", "/api/routes/pre", "").await.0, 200);
    }

    #[tokio::test]
    async fn hosts_are_noted_where_they_decide() {
        let api = api().with_hosts();
        ask(&api, "POST", "/api/routes/hub.example/user/a", POST).await;
        ask(&api, "POST", "/api/routes/", POST).await;
        let (_, text) = ask(&api, "GET", "/api/routes/hub.example/user/a", "").await;
        assert!(text.contains(r#""extra":[1],"host":"hub.example","last_activity":""#), "{text}");
        let (_, text) = ask(&api, "GET", "/api/routes", "").await;
        assert_eq!(text.matches("\"host\"").count(), 1, "{text}");
    }

    #[tokio::test]
    async fn a_slash_that_was_encoded_is_one_in_the_table() {
        let routes = Arc::new(Routes::new(crate::Slashes::Decoded));
        let api = Api::new(routes, None);
        assert_eq!(ask(&api, "POST", "/api/routes/user/a%2Fb/my-srv", POST).await.0, 201);
        assert_eq!(ask(&api, "GET", "/api/routes/user/a/b/my-srv", "").await.0, 200);
        assert!(ask(&api, "GET", "/api/routes", "").await.1.starts_with("{\"/user/a/b/my-srv\":"));
        assert_eq!(ask(&api, "POST", "/api/routes/user/%C3%BC~x", POST).await.0, 201);
        assert!(ask(&api, "GET", "/api/routes", "").await.1.contains("\"/user/ü~x\":"));
    }
}
