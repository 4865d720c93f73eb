//! What the checked configuration means for the hub: its [`Settings`].

use std::sync::Arc;
use std::time::Duration;

use hubd_hub::Settings;
use hubd_hub::settings::{InvalidNamedServers, SocketKind, SpawnerSettings};
use hubd_hub::subdomains::{SubdomainHook, Subdomains};
use hubd_proto::{ProfileName, ServerName};
use hubd_store::CryptKeys;
use zeroize::Zeroizing;

use super::Values;
use super::address::BindUrl;
use super::places;
use super::plan::{HUB, spawner_is_simple};
use super::problem::Problem;

/// Classes of the spawners, most specific first.
const LOCAL: &[&str] = &["LocalProcessSpawner", "Spawner"];
const SIMPLE: &[&str] = &["SimpleLocalProcessSpawner", "LocalProcessSpawner", "Spawner"];
/// Longest wait that `tornado_settings` may ask for, in seconds: a day.
const SLOW_SECONDS_MAX: f64 = 86_400.0;

/// Works out the settings; the cookie secret is loaded later.
pub fn settings(
    values: &mut Values,
    public: &BindUrl,
    inner: &BindUrl,
    problems: &mut Vec<Problem>,
) -> Settings {
    let hub_api_url = places::hub_api_url(values, public, inner, problems);
    let authenticator = super::access::authenticator(values, problems);
    let roles = super::roles::read(values, &authenticator.admin_users, problems);
    values.warnings.extend(roles.warnings);
    let cookie_host_prefix = cookie_host_prefix(values);
    let text = |key| Some(values.text(HUB, key)).filter(|text| !text.is_empty());
    let count = |key| u32::try_from(values.integer(HUB, key)).unwrap_or(0);
    let seconds = |key| Duration::from_secs(u64::try_from(values.integer(HUB, key)).unwrap_or(0));
    let mut slow = |key| slow_timeout(values, key, problems);
    let (slow_spawn_timeout, slow_stop_timeout) = (slow("slow_spawn_timeout"), slow("slow_stop_timeout"));
    for key in values.table(HUB, "tornado_settings").keys() {
        if !["slow_spawn_timeout", "slow_stop_timeout"].contains(&key.as_str()) {
            let text = format!("JupyterHub.tornado_settings: {key} cannot be used");
            let cure = "this version of hubd obeys slow_spawn_timeout and slow_stop_timeout: delete the rest";
            problems.push(Problem::new(&values.origin(HUB, "tornado_settings"), text, cure));
        }
    }
    let public_url = text("public_url").map(|url| public_url(values, &url, problems));
    let subdomains = subdomains(values, public_url.as_deref(), problems);
    let own =
        subdomains.as_ref().map(|hosts| format!("{}{}", hosts.origin(), public.prefix.trim_end_matches('/')));
    Settings {
        base_url: public.prefix.clone(),
        public_url: public_url.or(own),
        subdomains,
        crypt_keys: CryptKeys::default(),
        cookie_secret: Zeroizing::new(Vec::new()),
        cookie_max_age_days: values.number(HUB, "cookie_max_age_days"),
        cookie_host_prefix,
        oauth_require_pkce: values.yes(HUB, "oauth_require_pkce"),
        oauth_token_lifetime: oauth_token_lifetime(values),
        activity_resolution: seconds("activity_resolution"),
        active_user_window: seconds("active_user_window"),
        default_url: text("default_url"),
        redirect_to_server: values.yes(HUB, "redirect_to_server"),
        admin_access: values.yes(HUB, "admin_access"),
        allow_named_servers: values.yes(HUB, "allow_named_servers"),
        named_server_limit_per_user: count("named_server_limit_per_user"),
        invalid_named_servers: invalid_named_servers(values),
        token_expires_in_max_seconds: count("token_expires_in_max_seconds"),
        concurrent_spawn_limit: count("concurrent_spawn_limit"),
        active_server_limit: count("active_server_limit"),
        shutdown_on_logout: values.yes(HUB, "shutdown_on_logout"),
        authenticate_prometheus: values.yes(HUB, "authenticate_prometheus"),
        metrics_prefix: "jupyterhub".to_owned(),
        spawn_buckets: Vec::new(),
        stop_buckets: Vec::new(),
        event_files: values.list(&["EventLogger"], "handlers").into_iter().map(Into::into).collect(),
        api_page_default_limit: count("api_page_default_limit"),
        api_page_max_limit: count("api_page_max_limit"),
        template_vars: values.table(HUB, "template_vars"),
        roles: roles.roles,
        groups: roles.groups,
        custom_scopes: roles.custom_scopes,
        default_server_name: server_name(values, problems),
        implicit_spawn_seconds: values.number(HUB, "implicit_spawn_seconds"),
        legacy_stopped_status: values.yes(HUB, "use_legacy_stopped_server_status_code"),
        template_paths: values.list(HUB, "template_paths").into_iter().map(Into::into).collect(),
        logo_file: text("logo_file").map(Into::into),
        announcements_file: values.text(HUB, "announcements_file").into(),
        authenticator,
        culler: super::culler::settings(values),
        spawner: spawner(values, &hub_api_url, problems),
        hub_api_url,
        services: super::services::settings(values, problems),
        slow_spawn_timeout,
        slow_stop_timeout,
    }
}

fn public_url(values: &Values, url: &str, problems: &mut Vec<Problem>) -> String {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        let text = format!("JupyterHub.public_url: {url} is not a URL");
        let cure = "for instance https://hub.example.org/";
        problems.push(Problem::new(&values.origin(HUB, "public_url"), text, cure));
    }
    url.trim_end_matches('/').to_owned()
}

/// The hosts of people's servers, below the hub's own: that of `public_url` if it is set.
fn subdomains(values: &Values, public_url: Option<&str>, problems: &mut Vec<Problem>) -> Option<Subdomains> {
    let url = Some(values.text(HUB, "subdomain_host")).filter(|url| !url.is_empty())?;
    // As in JupyterHub: whoever wants plain HTTP has to say so.
    let url = if url.contains("://") { url } else { format!("https://{url}") };
    let hook = match values.text(HUB, "subdomain_hook").as_str() {
        "legacy" => SubdomainHook::Legacy,
        _ => SubdomainHook::Idna,
    };
    let domain = public_url.and_then(|url| url.split("://").nth(1)?.split(['/', ':']).next());
    let hosts = Subdomains::new(&url, domain, hook);
    if hosts.is_none() {
        let text = format!("JupyterHub.subdomain_host: {url} has no name of a host");
        let cure = "for instance https://hub.example.org";
        problems.push(Problem::new(&values.origin(HUB, "subdomain_host"), text, cure));
    }
    hosts
}

fn slow_timeout(values: &Values, key: &str, problems: &mut Vec<Problem>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(10);
    let Some(value) = values.table(HUB, "tornado_settings").remove(key) else { return DEFAULT };
    match value.as_f64() {
        Some(seconds) if (0.0..=SLOW_SECONDS_MAX).contains(&seconds) => Duration::from_secs_f64(seconds),
        _ => {
            let text = format!("JupyterHub.tornado_settings: {key} is not a number of seconds");
            let origin = values.origin(HUB, "tornado_settings");
            problems.push(Problem::new(&origin, text, "write 0 to 86400"));
            DEFAULT
        }
    }
}

/// Whether the login cookie's name begins with `__Host-`; browsers take such a cookie over TLS only.
fn cookie_host_prefix(values: &mut Values) -> bool {
    let wanted = values.yes(HUB, "cookie_host_prefix_enabled");
    let tls = values.is_set(HUB, "ssl_cert") || values.yes(HUB, "self_signed");
    let front = |key| values.text(HUB, key).starts_with("https://");
    if wanted && !tls && !front("public_url") && !front("subdomain_host") {
        let origin = values.origin(HUB, "cookie_host_prefix_enabled");
        let text = "cookie_host_prefix_enabled without TLS: browsers refuse the login cookie on http://";
        let cure = "set ssl_cert, or public_url if a front proxy does TLS";
        values.warnings.push(Problem::new(&origin, text, cure));
    }
    wanted
}

fn invalid_named_servers(values: &Values) -> InvalidNamedServers {
    match values.text(HUB, "allow_existing_invalid_named_servers").as_str() {
        "allow-delete" => InvalidNamedServers::AllowDelete,
        "autorename" => InvalidNamedServers::Autorename,
        _ => InvalidNamedServers::AllowStart,
    }
}

/// As long as the cookie that keeps it, unless said otherwise.
fn oauth_token_lifetime(values: &Values) -> Duration {
    if values.is_set(HUB, "oauth_token_expires_in") {
        let seconds = values.integer(HUB, "oauth_token_expires_in");
        return Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    }
    Duration::from_secs((values.number(HUB, "cookie_max_age_days") * 86400.0) as u64)
}

fn server_name(values: &Values, problems: &mut Vec<Problem>) -> Option<ServerName> {
    let text = Some(values.text(HUB, "default_server_name")).filter(|text| !text.is_empty())?;
    ServerName::new(text)
        .map_err(|error| {
            let text = format!("JupyterHub.default_server_name: {error}");
            let origin = values.origin(HUB, "default_server_name");
            problems.push(Problem::new(&origin, text, "write the name of a server, such as lab"));
        })
        .ok()
}

fn spawner(values: &Values, hub_api_url: &str, problems: &mut Vec<Problem>) -> SpawnerSettings {
    let classes = if spawner_is_simple(values) { SIMPLE } else { LOCAL };
    let seconds = |key| Duration::from_secs(u64::try_from(values.integer(classes, key)).unwrap_or(0));
    let profile = ProfileName::new(values.text(classes, "profile")).map_err(|error| {
        let text = format!("Spawner.profile: {error}");
        let cure = "write the NAME of a [profile.NAME] in helper.toml(5)";
        problems.push(Problem::new(&values.origin(classes, "profile"), text, cure));
    });
    SpawnerSettings {
        hub_api_url: places::server_api_url(values, classes, hub_api_url, problems),
        profile: profile.ok(),
        socket: if values.text(classes, "socket") == "tcp" { SocketKind::Tcp } else { SocketKind::Unix },
        args: values.list(classes, "args"),
        environment: values
            .table(classes, "environment")
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect(),
        default_url: values.text(classes, "default_url"),
        notebook_dir: values.text(classes, "notebook_dir"),
        debug: values.yes(classes, "debug"),
        disable_user_config: values.yes(classes, "disable_user_config"),
        options: Arc::new(super::spawn_options::read(values, classes, problems)),
        group_overrides: super::spawn_options::overrides(values, classes, problems).into(),
        oauth_client_allowed_scopes: values.list(classes, "oauth_client_allowed_scopes"),
        oauth_roles: values.list(classes, "oauth_roles"),
        server_token_scopes: values.list(classes, "server_token_scopes"),
        consecutive_failure_limit: u32::try_from(values.integer(classes, "consecutive_failure_limit"))
            .unwrap_or(0),
        start_timeout: seconds("start_timeout"),
        http_timeout: seconds("http_timeout"),
    }
}
