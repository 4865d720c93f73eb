//! Every URL of the hub, one line each.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use axum::{Extension, Router};
use http::{StatusCode, header};
use tower::Service;

use crate::Hub;
use crate::api;
use crate::api::inside::ForPages;
use crate::around::Around;
use crate::error::HttpError;
use crate::pages::{
    PageError, accept_share, admin, announcement, assets, edge, errors, home, login, logins, logout, outside,
    pending, server_log, share, spawn, stop, token, user_url,
};

/// The hub as a service: pages, API, static files, and the redirect of everything outside the hub prefix.
#[derive(Clone)]
pub struct Site(Router);

impl Site {
    /// All that the hub answers.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self(router(hub))
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let answered: Result<Response, Infallible> = self.0.clone().call(request).await;
        let mut response = answered.unwrap_or_else(|never| match never {});
        // JupyterHub names no methods in a 405, and those that the router names are not all allowed: it takes `HEAD`
        // for allowed where `GET` is.
        response.headers_mut().remove(header::ALLOW);
        response
    }
}

fn router(hub: Arc<Hub>) -> Router {
    // A path may hold braces, which mean captures to the router.
    let base = hub.settings.base_url.replace('{', "{{").replace('}', "}}");
    let at = |path: &str| format!("{base}hub/{path}");

    let api = api::router(&at("api"), Arc::clone(&hub));
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
        .route_layer(Extension(ForPages { api: api.clone(), prefix: at("api").into() }))
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
        .fallback(fallback)
        .with_state(Arc::clone(&hub))
        .merge(api)
        .merge(api::metrics(&at("metrics"), Arc::clone(&hub)));
    // Without hosts of people's own there is none to keep the hub from.
    let all = match hub.settings.subdomains {
        Some(_) => all.layer(middleware::from_fn_with_state(Arc::clone(&hub), outside::own_host)),
        None => all,
    };
    all.layer(Around(hub))
}

/// What no route takes: of the API, or a page.
async fn fallback(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if api::answers(&hub, request.uri().path()) {
        return api::unknown().await.into_response();
    }
    outside::fallback.call(request, hub).await
}

/// A page: `GET` only. Other methods are added to it. JupyterHub answers `HEAD` with 405; the router would take it for
/// `GET`.
fn page<H, T>(handler: H) -> MethodRouter<Arc<Hub>>
where
    H: Handler<T, Arc<Hub>>,
    T: 'static,
{
    on(MethodFilter::GET, handler).head(no_head)
}

async fn no_head() -> Response {
    PageError::from(HttpError::bare(StatusCode::METHOD_NOT_ALLOWED)).into_response()
}
