//! What all requests have in common: an error page if the handler has none, the headers of every answer, one line in
//! the log, and one count in the metrics.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use hubd_proxy::Client;
use tower::{Layer, Service};

use crate::Hub;
use crate::api;
use crate::auth::{self, Caller, CallerKind};
use crate::error::HttpError;
use crate::handler_names::handler_name;
use crate::pages::access_log::{Asker, Line};
use crate::pages::headers::add_common;
use crate::pages::{PageError, errors};

/// Puts it around a route. A type of its own, because the router's general middleware copies all that is inside of it
/// for each request.
#[derive(Clone)]
pub struct Around(pub Arc<Hub>);

/// A route with it.
#[derive(Clone)]
pub struct Surrounded<S> {
    hub: Arc<Hub>,
    inner: S,
}

impl<S> Layer<S> for Around {
    type Service = Surrounded<S>;

    fn layer(&self, inner: S) -> Surrounded<S> {
        Surrounded { hub: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Request> for Surrounded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let hub = Arc::clone(&self.hub);
        let (mut parts, body) = request.into_parts();
        let asked = Asked::of(&hub, &mut parts);
        let answering = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let answered = AssertUnwindSafe(answering).catch_unwind().await;
            Ok(asked.dress(&hub, answered))
        })
    }
}

/// What is asked of a request again once it was answered.
struct Asked {
    started: SystemTime,
    method: Method,
    uri: Uri,
    /// Empty if nobody looks at them again.
    headers: HeaderMap,
    client: Option<Arc<Client>>,
    route: Option<MatchedPath>,
    address: IpAddr,
    https: bool,
    /// The API answers it.
    is_api: bool,
    noted: Noted,
}

/// What is found out on the way about who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    asker: OnceLock<CallerKind>,
    cookie: OnceLock<String>,
}

impl Noted {
    /// Somebody calls the API.
    pub fn asker(&self, caller: &Caller) {
        self.0.asker.get_or_init(|| caller.kind.clone());
    }

    /// The answer sets a cookie, unless the handler sets this one itself.
    pub fn sets(&self, cookie: String) {
        self.0.cookie.get_or_init(|| cookie);
    }
}

impl Asked {
    fn of(hub: &Hub, parts: &mut Parts) -> Self {
        let path = parts.uri.path();
        let is_api = api::answers(hub, path);
        let headers = if errors::are_json(hub, path) { HeaderMap::new() } else { parts.headers.clone() };
        let asked = Self {
            started: hub.clock.now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers,
            client: auth::client(parts).cloned(),
            route: parts.extensions.get::<MatchedPath>().cloned(),
            address: hub.client_address(parts),
            https: hub.is_https(parts),
            is_api,
            noted: Noted::default(),
        };
        parts.extensions.insert(asked.noted.clone());
        asked
    }

    /// The answer as it goes out.
    fn dress(self, hub: &Arc<Hub>, answered: std::thread::Result<Result<Response, Infallible>>) -> Response {
        let mut response = match answered {
            Ok(Ok(mut response)) => {
                if self.is_api {
                    api::dress(&mut response, self.uri.path());
                }
                response
            }
            Ok(Err(never)) => match never {},
            Err(_) => {
                tracing::error!(method = %self.method, path = self.uri.path(), "a handler panicked");
                let error = HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
                PageError::from(error).into_response()
            }
        };
        if let Some(error) = response.extensions_mut().remove::<PageError>() {
            response = errors::finish(hub, self.parts(), error);
        }
        add_common(response.headers_mut(), self.https);
        if let Some(cookie) = self.noted.0.cookie.get() {
            add_missing_cookie(response.headers_mut(), cookie);
        }
        let took = hub.clock.now().duration_since(self.started).unwrap_or_default();
        let of_page = || response.extensions().get::<Asker>().map(|asker| asker.0.as_str());
        let line = Line {
            method: &self.method,
            uri: &self.uri,
            asker: self.noted.0.asker.get().map(CallerKind::name).or_else(of_page).unwrap_or_default(),
            address: self.address,
            status: response.status(),
            headers: response.headers(),
            took,
        };
        line.write();
        self.measure(hub, response.status(), took);
        response
    }

    /// The request once more, for a page about what went wrong.
    fn parts(&self) -> Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.method.clone();
        parts.uri = self.uri.clone();
        parts.headers = self.headers.clone();
        if let Some(client) = &self.client {
            parts.extensions.insert(Arc::clone(client));
        }
        parts
    }

    /// Counts it under the name that JupyterHub gives its handler.
    fn measure(&self, hub: &Hub, status: StatusCode, took: Duration) {
        let base = hub.settings.base_url.as_str();
        let route = self.route.as_ref();
        let route = route.and_then(|route| route.as_str().strip_prefix(base)?.strip_prefix("hub"));
        let name = match self.uri.path().strip_prefix(base).and_then(|path| path.strip_prefix("hub")) {
            Some(path) => handler_name(route, path),
            None => "jupyterhub.handlers.base.PrefixRedirectHandler",
        };
        // Methods are free text on the wire; each other one would be a series of its own.
        let known = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::HEAD,
            Method::OPTIONS,
        ];
        let method = if known.contains(&self.method) { self.method.as_str() } else { "other" };
        hub.metrics.request(method, name, status, took);
    }
}

fn add_missing_cookie(headers: &mut HeaderMap, cookie: &str) {
    let name = |cookie: &[u8]| cookie.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let wanted = name(cookie.as_bytes());
    let set = headers.get_all(header::SET_COOKIE).iter().any(|value| name(value.as_bytes()) == wanted);
    if let (false, Ok(cookie)) = (set, HeaderValue::from_str(cookie)) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::test_support::TestHub;

    async fn broken() -> Response {
        panic!("a test")
    }

    #[tokio::test]
    async fn a_panic_is_an_error_page_and_the_hub_goes_on() {
        let hub = TestHub::new().await.hub;
        let router =
            Router::new().route("/hub/x", get(broken)).route("/hub/api/x", get(broken)).layer(Around(hub));
        for (path, kind) in [("/hub/x", "text/html"), ("/hub/api/x", "application/json")] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
        }
    }
}
