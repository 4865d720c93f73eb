//! Every URL of the hub, one line each, and what all requests have in common.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use axum::{Extension, Router};
use futures_util::FutureExt;
use http::request::Parts;
use http::{Method, StatusCode, header};

use crate::Hub;
use crate::api;
use crate::api::inside::ForPages;
use crate::auth;
use crate::error::HttpError;
use crate::handler_names::handler_name;
use crate::pages::access_log::{Asker, Line};
use crate::pages::headers::add_common;
use crate::pages::{
    PageError, accept_share, admin, announcement, assets, edge, errors, home, login, logins, logout, outside,
    pending, server_log, share, spawn, stop, token, user_url,
};

/// The hub as a service: pages, API, static files, and the redirect of everything outside the hub prefix.
pub fn router(hub: Arc<Hub>) -> Router {
    // A path may hold braces, which mean captures to the router.
    let base = hub.settings.base_url.replace('{', "{{").replace('}', "}}");
    let at = |path: &str| format!("{base}hub/{path}");

    let api = api::router(Arc::clone(&hub));
    let pages = Router::new()
        .route(&format!("{base}hub"), page(outside::hub_without_slash))
        .route(&at(""), page(outside::hub_root))
        .route(&at("login"), page(login::form).post(login::submit))
        .route(&at("logout"), page(logout::get).post(logout::post))
        .route(&at("home"), page(home::get))
        .route(&at("spawn"), page(spawn::get).post(spawn::post))
        .route(&at("spawn/{name}"), page(spawn::get).post(spawn::post))
        .route(&at("spawn/{name}/{server}"), page(spawn::get).post(spawn::post))
        .route(&at("spawn-pending/{name}"), page(pending::get))
        .route(&at("spawn-pending/{name}/{server}"), page(pending::get))
        .route(&at("stop/{name}"), page(stop::get).post(stop::post))
        .route(&at("stop/{name}/{server}"), page(stop::get).post(stop::post))
        .route(&at("home/new"), page(home::new_server))
        .route(&at("delete/{name}/{server}"), page(stop::ask_delete).post(stop::delete))
        .route(&at("log/{name}"), page(server_log::get))
        .route(&at("log/{name}/{server}"), page(server_log::get))
        .route(&at("share/{name}"), page(share::get).post(share::post))
        .route(&at("share/{name}/{server}"), page(share::get).post(share::post))
        .route(&at("security/csp-report"), post(outside::csp_report))
        .route(&at("token"), page(token::get).post(token::create))
        .route(&at("token/revoke"), post(token::revoke))
        .route(&at("logins/end"), post(logins::end))
        .route(&at("admin"), page(admin::list::get))
        .route(&at("admin/act"), post(admin::act::post))
        .route(&at("admin/add"), page(admin::add::get).post(admin::add::post))
        .route(&at("admin/user/{name}"), page(admin::user::get).post(admin::user::post))
        .route(&at("admin/open/{name}"), page(admin::user::open).post(admin::user::enter))
        .route(&at("admin/open/{name}/{server}"), page(admin::user::open).post(admin::user::enter))
        .route(&at("admin/groups"), page(admin::groups::get).post(admin::groups::post))
        .route(&at("admin/group"), page(admin::groups::read).post(admin::groups::change))
        .route(&at("admin/hub"), page(admin::hub::get).post(admin::hub::post))
        .route(&at("announcement/dismiss"), post(announcement::dismiss))
        .route(&at("accept-share"), page(accept_share::get).post(accept_share::post))
        .route(&at("edge/{name}"), page(edge::get).post(edge::post))
        .route(&at("edge/{name}/{server}"), page(edge::get).post(edge::post))
        .route(&at("user-redirect/"), page(outside::user_redirect))
        .route(&at("user-redirect/{*path}"), page(outside::user_redirect))
        .route(&at("error/{code}"), page(errors::proxy_error))
        .route(&format!("{base}user/{{name}}"), page(outside::add_slash))
        .route(&format!("{base}services/{{name}}"), page(outside::add_slash))
        .route_layer(Extension(ForPages(api.clone())))
        .route_layer(middleware::from_fn(no_head))
        .method_not_allowed_fallback(outside::wrong_method);

    let others = Router::new()
        .route(&at("user/{name}"), any(user_url::any))
        .route(&at("user/{name}/"), any(user_url::any))
        .route(&at("user/{name}/{*path}"), any(user_url::any))
        .route(&at("health"), get(assets::health))
        .route(&at("logo"), get(assets::logo))
        .route(&at("favicon.ico"), get(assets::favicon))
        .route(&at("robots.txt"), get(assets::robots))
        .route(&format!("{base}robots.txt"), get(assets::robots))
        .route(&at("static/"), get(assets::directory))
        .route(&at("static/{*path}"), get(assets::file))
        .method_not_allowed_fallback(outside::wrong_method);

    let all = Router::new()
        .merge(pages)
        .merge(others)
        .fallback(outside::fallback)
        .with_state(Arc::clone(&hub))
        .nest(&format!("{base}hub/api"), api)
        .merge(api::root(&at("api/"), Arc::clone(&hub)))
        .merge(api::metrics(&at("metrics"), Arc::clone(&hub)));
    // The router adds `Allow` last of all.
    Router::new().fallback_service(dressed(all, hub)).layer(middleware::map_response(without_allow))
}

/// The routes with what is around all of them.
fn dressed(all: Router, hub: Arc<Hub>) -> Router {
    // Without hosts of people's own there is none to keep the hub from.
    let all = match hub.settings.subdomains {
        Some(_) => all.layer(middleware::from_fn_with_state(Arc::clone(&hub), outside::own_host)),
        None => all,
    };
    all.layer(middleware::from_fn_with_state(hub, around))
}

/// JupyterHub names no methods in a 405, and those that the router names are not all allowed: it takes `HEAD`
/// for allowed where `GET` is.
async fn without_allow(mut response: Response) -> Response {
    response.headers_mut().remove(header::ALLOW);
    response
}

/// A page: `GET` only. Other methods are added to it.
fn page<H, T>(handler: H) -> MethodRouter<Arc<Hub>>
where
    H: Handler<T, Arc<Hub>>,
    T: 'static,
{
    on(MethodFilter::GET, handler)
}

/// JupyterHub answers `HEAD` on pages with 405; the router would take it for `GET`.
async fn no_head(request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD {
        return PageError::from(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED)).into_response();
    }
    next.run(request).await
}

/// Around every request: an error page if the handler has none, the headers of every answer, and one line in the log.
async fn around(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let started = hub.clock.now();
    let (parts, body) = request.into_parts();
    let kept = kept(&parts);
    let answered = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(method = %kept.method, path = kept.uri.path(), "a handler panicked");
        PageError::from(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
            .into_response()
    });
    if let Some(error) = response.extensions_mut().remove::<PageError>() {
        response = errors::finish(&hub, &kept, error);
    }
    add_common(response.headers_mut(), hub.is_https(&kept));
    let took = hub.clock.now().duration_since(started).unwrap_or_default();
    let asker = response.extensions().get::<Asker>().map(|asker| asker.0.clone()).unwrap_or_default();
    let line = Line {
        method: &kept.method,
        uri: &kept.uri,
        asker: &asker,
        address: hub.client_address(&kept),
        status: response.status(),
        headers: response.headers(),
        took,
    };
    line.write();
    measure(&hub, &kept, response.status(), took);
    response
}

/// What is asked of a request again once it was answered: all but what only handlers look for.
fn kept(parts: &Parts) -> Parts {
    let mut kept = Request::new(()).into_parts().0;
    kept.method = parts.method.clone();
    kept.uri = parts.uri.clone();
    kept.headers = parts.headers.clone();
    if let Some(client) = auth::client(parts) {
        kept.extensions.insert(client.clone());
    }
    if let Some(route) = parts.extensions.get::<MatchedPath>() {
        kept.extensions.insert(route.clone());
    }
    kept
}

/// Counts a request under the name that JupyterHub gives its handler.
fn measure(hub: &Hub, request: &Parts, status: StatusCode, took: Duration) {
    let base = hub.settings.base_url.as_str();
    let route = request.extensions.get::<MatchedPath>();
    let route = route.and_then(|route| route.as_str().strip_prefix(base)?.strip_prefix("hub"));
    let name = match request.uri.path().strip_prefix(base).and_then(|path| path.strip_prefix("hub")) {
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
    let method = if known.contains(&request.method) { request.method.as_str() } else { "other" };
    hub.metrics.request(method, name, status, took);
}

#[cfg(test)]
mod tests {
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
        let around = middleware::from_fn_with_state(Arc::clone(&hub), around);
        let router =
            Router::new().route("/hub/x", get(broken)).route("/hub/api/x", get(broken)).layer(around);
        for (path, kind) in [("/hub/x", "text/html"), ("/hub/api/x", "application/json")] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
        }
    }
}
