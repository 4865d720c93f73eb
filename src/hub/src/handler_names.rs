//! What JupyterHub calls the handler of a route: dashboards filter metrics by it.

/// Routes with the full names of their handlers.
macro_rules! named {
    ($kind:literal: $($at:literal => $name:literal,)*) => {
        &[$(($at, concat!("jupyterhub.", $kind, ".", $name))),*]
    };
}

/// Below the API, by the first segments of the route; the longest one counts.
#[rustfmt::skip]
const API: &[(&str, &str)] = named!("apihandlers":
    "" => "hub.RootAPIHandler",
    "/info" => "hub.InfoAPIHandler",
    "/shutdown" => "hub.ShutdownAPIHandler",
    "/proxy" => "proxy.ProxyAPIHandler",
    "/user" => "users.SelfAPIHandler",
    "/users" => "users.UserListAPIHandler",
    "/users/{name}" => "users.UserAPIHandler",
    "/users/{name}/activity" => "users.ActivityAPIHandler",
    "/users/{name}/server" => "users.UserServerAPIHandler",
    "/users/{name}/server/progress" => "users.SpawnProgressAPIHandler",
    "/users/{name}/servers" => "users.UserServerAPIHandler",
    "/users/{name}/servers/{server}/progress" => "users.SpawnProgressAPIHandler",
    "/users/{name}/tokens" => "users.UserTokenListAPIHandler",
    "/users/{name}/tokens/{id}" => "users.UserTokenAPIHandler",
    "/users/{name}/shared" => "shares.UserShareListAPIHandler",
    "/users/{name}/shared/{owner}" => "shares.UserShareAPIHandler",
    "/groups" => "groups.GroupListAPIHandler",
    "/groups/{group}" => "groups.GroupAPIHandler",
    "/groups/{group}/users" => "groups.GroupUsersAPIHandler",
    "/groups/{group}/properties" => "groups.GroupPropertiesAPIHandler",
    "/groups/{group}/shared" => "shares.GroupShareListAPIHandler",
    "/groups/{group}/shared/{owner}" => "shares.GroupShareAPIHandler",
    "/services" => "services.ServiceListAPIHandler",
    "/services/{service}" => "services.ServiceAPIHandler",
    "/shares" => "shares.ServerShareAPIHandler",
    "/share-codes" => "shares.ServerShareCodeAPIHandler",
    "/authorizations/token" => "auth.TokenAPIHandler",
    "/authorizations/cookie" => "auth.CookieAPIHandler",
    "/oauth2/authorize" => "auth.OAuthAuthorizeHandler",
    "/oauth2/token" => "auth.OAuthTokenHandler",
);

/// Below the hub's prefix.
#[rustfmt::skip]
const PAGES: &[(&str, &str)] = named!("handlers":
    "" => "pages.RootHandler",
    "/login" => "login.LoginHandler",
    "/logout" => "login.LogoutHandler",
    "/home" => "pages.HomeHandler",
    "/spawn" => "pages.SpawnHandler",
    "/spawn-pending" => "pages.SpawnPendingHandler",
    "/token" => "pages.TokenPageHandler",
    "/accept-share" => "pages.AcceptShareHandler",
    "/admin" => "pages.AdminHandler",
    "/error" => "pages.ProxyErrorHandler",
    "/health" => "pages.HealthCheckHandler",
    "/api/health" => "pages.HealthCheckHandler",
    "/metrics" => "metrics.MetricsHandler",
    "/api/metrics" => "metrics.MetricsHandler",
    "/user" => "base.UserUrlHandler",
    "/user-redirect" => "base.UserRedirectHandler",
    "/static" => "static.CacheControlStaticFilesHandler",
    "/logo" => "static.LogoHandler",
    "/stop" => "pages.StopHandler",
);

const UNKNOWN_API: &str = "jupyterhub.apihandlers.base.API404";
const UNKNOWN_PAGE: &str = "jupyterhub.handlers.base.Template404";

/// The label of a route, given as the router writes it below the hub's prefix (`/api/users/{name}`). `None` is no
/// route at all; then `path` tells an unknown part of the API from an unknown page.
pub fn handler_name(route: Option<&str>, path: &str) -> &'static str {
    let in_api = |text: &str| text == "/api" || text.starts_with("/api/");
    match route {
        None if in_api(path) => UNKNOWN_API,
        None => UNKNOWN_PAGE,
        Some(route) => match (longest(PAGES, route), route.strip_prefix("/api")) {
            (Some((at, name)), _) if !at.is_empty() => name,
            (_, Some(below)) if in_api(route) => longest(API, below).map_or(UNKNOWN_API, |(_, name)| name),
            (found, _) => found.map_or(UNKNOWN_PAGE, |(_, name)| name),
        },
    }
}

fn longest(table: &[(&'static str, &'static str)], route: &str) -> Option<(&'static str, &'static str)> {
    let within = |at: &str| match route.strip_prefix(at) {
        Some(rest) => rest.is_empty() || (rest.starts_with('/') && (!at.is_empty() || rest == "/")),
        None => false,
    };
    table.iter().filter(|(at, _)| within(at)).max_by_key(|(at, _)| at.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_jupyterhubs_names() {
        for (route, name) in [
            ("/api/users/{name}", "jupyterhub.apihandlers.users.UserAPIHandler"),
            (
                "/api/users/{name}/servers/{server}/progress",
                "jupyterhub.apihandlers.users.SpawnProgressAPIHandler",
            ),
            ("/api/users/{name}/servers/{server}", "jupyterhub.apihandlers.users.UserServerAPIHandler"),
            ("/api/", "jupyterhub.apihandlers.hub.RootAPIHandler"),
            ("/api", "jupyterhub.apihandlers.hub.RootAPIHandler"),
            ("/api/health", "jupyterhub.handlers.pages.HealthCheckHandler"),
            ("/", "jupyterhub.handlers.pages.RootHandler"),
            ("/home", "jupyterhub.handlers.pages.HomeHandler"),
            ("/user/{name}/{*path}", "jupyterhub.handlers.base.UserUrlHandler"),
        ] {
            assert_eq!(handler_name(Some(route), ""), name, "{route}");
        }
        assert_eq!(handler_name(None, "/api/x"), "jupyterhub.apihandlers.base.API404");
        assert_eq!(handler_name(None, "/x"), "jupyterhub.handlers.base.Template404");
    }
}
