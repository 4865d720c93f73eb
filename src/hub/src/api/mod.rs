//! The REST API below `/hub/api`, JupyterHub's to the byte where a client can see it.
//!
//! A handler is given an [`ask::Ask`] (who asks for what); its first line is the permission that it needs.
//! Every URL is one line in [`router`].

mod activity;
mod announcements;
mod answer;
mod ask;
mod belonging;
mod body;
mod dates;
mod deprecated;
mod groups;
mod info;
pub mod inside;
mod kept;
mod metrics;
mod models;
mod oauth_authorize;
mod oauth_token;
mod openapi;
mod page;
mod progress;
mod proxy;
pub(crate) mod python;
mod server_names;
mod servers;
mod services;
mod share_codes;
mod shares;
mod shutdown;
#[cfg(test)]
mod tests;
mod timestamps;
mod tokens;
mod user_changes;
mod users;

pub(crate) use answer::{dress, unknown};
pub(crate) use kept::KeptModels;
pub use server_names::{check_display_name, check_startable};

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, delete, on, post, put};

use crate::Hub;

/// The API's routes at `prefix`: `/hub/api`.
pub fn router(prefix: &str, hub: Arc<Hub>) -> Router {
    Below { prefix, router: Router::new() }
        .route("/", get(info::version))
        .route("/info", get(info::info))
        .route("/health", axum::routing::get(info::health))
        .route("/metrics", get(metrics::read))
        .route("/openapi.json", get(openapi::read))
        .route("/user", get(users::identify))
        .route("/users", get(users::list).post(users::create_many))
        .route(
            "/users/{name}",
            get(users::read).post(users::create).patch(user_changes::modify).delete(user_changes::delete),
        )
        .route("/users/{name}/admin-access", post(deprecated::admin_access))
        .route("/users/{name}/activity", post(activity::record))
        .route("/users/{name}/tokens", get(tokens::list).post(tokens::create))
        .route("/users/{name}/tokens/{id}", get(tokens::read).delete(tokens::delete))
        .route("/users/{name}/server", server_methods())
        .route("/users/{name}/server/progress", get(progress::stream))
        .route("/users/{name}/servers/", server_methods())
        .route("/users/{name}/servers/{server}", server_methods())
        .route("/users/{name}/servers/{server}/progress", get(progress::stream))
        .route("/groups", get(groups::list).post(groups::create_many))
        .route("/groups/{group}", get(groups::read).post(groups::create).delete(groups::delete))
        .route("/groups/{group}/properties", put(groups::set_properties))
        .route("/groups/{group}/users", post(groups::add_users).delete(groups::remove_users))
        .route("/announcements", get(announcements::list).post(announcements::create))
        .route("/announcements/{id}", delete(announcements::delete))
        .route("/services", get(services::list))
        .route("/services/{service}", get(services::read).post(services::create).delete(services::delete))
        .route("/proxy", get(proxy::list).post(proxy::check).patch(proxy::replace))
        .route("/shutdown", post(shutdown::shutdown))
        .route("/authorizations/token", post(deprecated::request_token))
        .route("/authorizations/token/{token}", get(deprecated::token_owner))
        .route("/authorizations/cookie/{cookie}/{value}", get(deprecated::cookie_owner))
        .route("/oauth2/authorize", get(oauth_authorize::ask).post(oauth_authorize::confirm))
        .route("/oauth2/token", post(oauth_token::exchange))
        .shares()
        .router
        .route(prefix, get(info::version))
        .method_not_allowed_fallback(answer::wrong_method)
        .with_state(hub)
}

/// Routes below a prefix. The router's own way to nest them writes the address of each request anew.
struct Below<'a> {
    prefix: &'a str,
    router: Router<Arc<Hub>>,
}

impl Below<'_> {
    fn route(self, path: &str, methods: MethodRouter<Arc<Hub>>) -> Self {
        let router = self.router.route(&format!("{}{path}", self.prefix), methods);
        Self { router, ..self }
    }

    /// Shares and share codes.
    fn shares(self) -> Self {
        let shares =
            || get(shares::list_of_server).post(shares::grant).patch(shares::revoke).delete(shares::delete);
        let codes = || get(share_codes::list_of_server).post(share_codes::create).delete(share_codes::delete);
        let user = || get(shares::read_with_user).delete(shares::leave_as_user);
        let group = || get(shares::read_with_group).delete(shares::leave_as_group);
        self.route("/shares/{name}", get(shares::list_of_owner))
            .route("/shares/{name}/", shares())
            .route("/shares/{name}/{server}", shares())
            .route("/share-codes/{name}", get(share_codes::list_of_owner))
            .route("/share-codes/{name}/", codes())
            .route("/share-codes/{name}/{server}", codes())
            .route("/users/{name}/shared", get(shares::list_with_user))
            .route("/users/{name}/shared/{owner}/", user())
            .route("/users/{name}/shared/{owner}/{server}", user())
            .route("/groups/{group}/shared", get(shares::list_with_group))
            .route("/groups/{group}/shared/{owner}/", group())
            .route("/groups/{group}/shared/{owner}/{server}", group())
    }
}

/// The metrics at `path`, where Prometheus looks for them; they are the API's too.
pub fn metrics(path: &str, hub: Arc<Hub>) -> Router {
    Router::new()
        .route(path, get(metrics::read))
        .method_not_allowed_fallback(answer::wrong_method)
        .with_state(hub)
}

/// Whether the API answers what is asked for at a path.
pub fn answers(hub: &Hub, path: &str) -> bool {
    let below = path.strip_prefix(hub.settings.base_url.as_str()).and_then(|path| path.strip_prefix("hub/"));
    below.is_some_and(|below| {
        below == "metrics"
            || below.strip_prefix("api").is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
    })
}

/// The methods of one server, whichever way it is named.
fn server_methods() -> MethodRouter<Arc<Hub>> {
    get(servers::read).put(servers::create).post(servers::start).patch(servers::modify).delete(servers::stop)
}

/// `GET` alone: JupyterHub answers `HEAD` with 405; the router would take it for `GET`.
fn get<H, T>(handler: H) -> MethodRouter<Arc<Hub>>
where
    H: Handler<T, Arc<Hub>>,
    T: 'static,
{
    on(MethodFilter::GET, handler).head(answer::no_head)
}
