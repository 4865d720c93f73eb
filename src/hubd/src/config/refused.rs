//! JupyterHub's options that this version does not obey. Each is refused with the reason: none is silently ignored.

/// Later versions will have it.
const NOT_YET: &str =
    "this version of hubd does not have it yet: delete the line, or stay with JupyterHub until it does";
/// The proxy is inside.
const PROXY: &str = "the proxy is a part of hubd: delete the line";
/// A function.
const CALLABLE: &str = "it is a Python function, and hubd runs no Python: delete the line";
/// An object of Python.
const PYTHON: &str = "it configures a Python library that hubd does not have: delete the line";
/// Read by another program.
const SERVERS: &str =
    "user servers read it, not the hub: write it into /etc/jupyter/jupyter_server_config.py";
/// The helper's.
const ROOT: &str = "root decides: see helper.toml(5)";

/// Whole classes: name and reason.
const CLASSES: &[(&str, &str)] = &[
    ("CryptKeeper", NOT_YET),
    ("EventLogger", NOT_YET),
    ("HubAuth", SERVERS),
    ("HubOAuth", SERVERS),
    ("IdleCuller", NOT_YET),
    ("JupyterHubHTTPClient", PYTHON),
    ("JupyterHubSingleUser", SERVERS),
    ("NativeAuthenticator", NOT_YET),
    ("PeriodicMetricsCollector", NOT_YET),
    ("Service", NOT_YET),
    ("SharedPasswordAuthenticator", NOT_YET),
    ("SystemdSpawner", NOT_YET),
];

/// Single options with a reason of their own: class, key, reason.
#[rustfmt::skip]
const OPTIONS: &[(&str, &str, &str)] = &[
    ("Authenticator", "post_auth_hook", CALLABLE),
    ("Authenticator", "reconcile_auth_state_hook", CALLABLE),
    ("ConfigurableHTTPProxy", "api_url", "it is http://ADDRESS:PORT/api/routes of the inner port; set [JupyterHub] hub_ip and hub_port"),
    ("ConfigurableHTTPProxy", "check_running_interval", PROXY),
    ("ConfigurableHTTPProxy", "command", PROXY),
    ("ConfigurableHTTPProxy", "concurrency", PROXY),
    ("ConfigurableHTTPProxy", "debug", PROXY),
    ("ConfigurableHTTPProxy", "default_target", PROXY),
    ("ConfigurableHTTPProxy", "log_level", PROXY),
    ("ConfigurableHTTPProxy", "pid_file", PROXY),
    ("ConfigurableHTTPProxy", "should_start", PROXY),
    ("JupyterHub", "answer_yes", "give it on the command line: hubd -y"),
    ("JupyterHub", "cleanup_proxy", PROXY),
    ("JupyterHub", "config_file", "give it on the command line: hubd -f FILE"),
    ("JupyterHub", "confirm_no_ssl", "it has had no effect since JupyterHub 0.7: delete the line"),
    ("JupyterHub", "db_kwargs", PYTHON),
    ("JupyterHub", "debug_proxy", PROXY),
    ("JupyterHub", "extra_handlers", PYTHON),
    ("JupyterHub", "extra_log_file", "redirect standard error, or set log_to = \"syslog\""),
    ("JupyterHub", "extra_log_handlers", PYTHON),
    ("JupyterHub", "forwarded_host_header", "it has no effect in JupyterHub either: delete the line"),
    ("JupyterHub", "generate_config", "give it on the command line: hubd --generate-config"),
    ("JupyterHub", "hub_connect_port", "write [JupyterHub] hub_connect_url = \"http://ADDRESS:PORT\""),
    ("JupyterHub", "jinja_environment_options", PYTHON),
    ("JupyterHub", "log_datefmt", "log lines have JupyterHub's default format; log_to = \"json\" makes them JSON"),
    ("JupyterHub", "log_format", "log lines have JupyterHub's default format; log_to = \"json\" makes them JSON"),
    ("JupyterHub", "logging_config", PYTHON),
    ("JupyterHub", "proxy_check_interval", PROXY),
    ("JupyterHub", "proxy_class", PROXY),
    ("JupyterHub", "proxy_cmd", PROXY),
    ("JupyterHub", "show_config", "give it on the command line: hubd --show-config"),
    ("JupyterHub", "user_redirect_hook", CALLABLE),
    ("LocalAuthenticator", "add_user_cmd", ROOT),
    ("LocalAuthenticator", "group_whitelist", "it has no effect in JupyterHub either: delete the line"),
    ("LocalProcessSpawner", "env_keep", "sessions get their environment from PAM and helper.toml(5); add variables with [Spawner] environment"),
    ("LocalProcessSpawner", "interrupt_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("LocalProcessSpawner", "kill_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("LocalProcessSpawner", "popen_kwargs", PYTHON),
    ("LocalProcessSpawner", "shell_cmd", "root decides: write a [profile.NAME] in helper.toml(5) and name it here with [Spawner] profile"),
    ("LocalProcessSpawner", "term_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("PAMAuthenticator", "check_account", "hubd-helper always asks PAM's account stack: delete the line"),
    ("PAMAuthenticator", "encoding", "it is always UTF-8: delete the line"),
    ("PAMAuthenticator", "executor_threads", "each login has its own hubd-helper process: delete the line"),
    ("PAMAuthenticator", "open_sessions", "hubd-helper always opens and closes PAM sessions: delete the line"),
    ("PAMAuthenticator", "service", "root decides: set pam_service in helper.toml(5)"),
    ("SimpleLocalProcessSpawner", "home_dir_template", "set home_template in helper.toml(5) of the helper that runs without root"),
    ("Spawner", "auth_state_hook", CALLABLE),
    ("Spawner", "cmd", "root decides: write a [profile.NAME] in helper.toml(5) and name it here with [Spawner] profile"),
    ("Spawner", "consecutive_failure_limit", "hubd does not end because servers fail: delete the line"),
    ("Spawner", "env_keep", "sessions get their environment from PAM and helper.toml(5); add variables with [Spawner] environment"),
    ("Spawner", "ip", "user servers listen on a Unix socket, or with [Spawner] socket = \"tcp\" on 127.0.0.1"),
    ("Spawner", "poll_interval", "hubd is told at once when a server ends: delete the line"),
    ("Spawner", "poll_jitter", "hubd is told at once when a server ends: delete the line"),
    ("Spawner", "port", "user servers listen on a Unix socket, or with [Spawner] socket = \"tcp\" on a free port of 127.0.0.1"),
    ("Spawner", "post_stop_hook", CALLABLE),
    ("Spawner", "pre_spawn_hook", CALLABLE),
    ("Spawner", "progress_ready_hook", CALLABLE),
];

/// Options that later versions will have: class and keys.
#[rustfmt::skip]
const LATER: &[(&str, &[&str])] = &[
    ("JupyterHub", &[
        "active_user_window", "activity_resolution",
        "allow_existing_invalid_named_servers", "api_page_default_limit", "api_page_max_limit",
        "api_tokens", "authenticate_prometheus", "cookie_host_prefix_enabled", "data_files_path", "debug_db",
        "default_server_name", "external_ssl_authorities", "generate_certs",
        "hub_routespec", "hub_socket_mode", "implicit_spawn_seconds", "init_spawners_timeout",
        "internal_certs_location", "internal_ssl", "last_activity_interval", 
        "oauth_require_pkce", "oauth_token_expires_in", "proxy_api_ip",
        "proxy_api_port", "recreate_internal_certs", "reset_db",
        "service_check_interval", "service_tokens", "services", "show_config_json",
       
        "trust_user_provided_tokens", "trusted_alt_names", "upgrade_db",
        "use_legacy_stopped_server_status_code",
    ]),
    ("Authenticator", &[
        "any_allow_config", "auth_refresh_age", "auth_refresh_strict", "auto_login",
        "auto_login_oauth2_authorize", "delete_invalid_users", "enable_auth_state", "manage_groups",
        "manage_roles", "otp_prompt", "refresh_pre_spawn", "refresh_pre_stop", "request_otp",
        "reset_managed_roles_on_startup", "username_map", "username_pattern",
    ]),
    ("LocalAuthenticator", &[
        "allowed_groups", "create_system_users", "uids",
    ]),
    ("PAMAuthenticator", &[
        "admin_groups", "pam_normalize_username",
    ]),
    ("DummyAuthenticator", &[
        "allow_all",
    ]),
    ("Spawner", &[
        "apply_user_options", "cpu_guarantee", "cpu_limit", "group_overrides", "hub_connect_url",
        "mem_guarantee", "mem_limit", "oauth_client_allowed_scopes", "oauth_roles", "options_form",
        "options_from_form", "server_token_scopes", "ssl_alt_names", "ssl_alt_names_include_local",
    ]),
];

/// Why an option of JupyterHub's is refused; nothing if JupyterHub has no such option either.
pub fn reason(class: &str, key: &str) -> Option<&'static str> {
    let single = OPTIONS.iter().find(|(c, k, _)| *c == class && *k == key).map(|(_, _, why)| *why);
    let later = || LATER.iter().any(|(c, keys)| *c == class && keys.contains(&key)).then_some(NOT_YET);
    let whole = || CLASSES.iter().find(|(c, _)| *c == class).map(|(_, why)| *why);
    single.or_else(later).or_else(whole).or_else(|| reason(super::names::parent(class)?, key))
}

/// Whether JupyterHub has such a class.
pub fn knows_class(class: &str) -> bool {
    CLASSES.iter().any(|(c, _)| *c == class)
        || LATER.iter().any(|(c, _)| *c == class)
        || OPTIONS.iter().any(|(c, _, _)| *c == class)
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::*;

    #[test]
    fn nothing_is_both_obeyed_and_refused() {
        for option in options::OPTIONS {
            assert_eq!(reason(option.class, option.key), None, "{}.{}", option.class, option.key);
        }
    }

    #[test]
    fn a_callable_and_a_later_option_say_what_they_are() {
        assert!(reason("Spawner", "pre_spawn_hook").unwrap().contains("Python function"));
        assert!(reason("LocalProcessSpawner", "mem_limit").unwrap().contains("not have it yet"));
        assert!(reason("ConfigurableHTTPProxy", "command").unwrap().contains("part of hubd"));
        assert_eq!(reason("JupyterHub", "no_such_option"), None);
    }
}
