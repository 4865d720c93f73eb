//! JupyterHub's options that this version does not obey. Each is refused with the reason: none is silently ignored.

/// The proxy is inside.
const PROXY: &str = "the proxy is a part of hubd: delete the line";
/// The culler is inside too.
const CULLER: &str = "the idle culler is a part of hubd: delete the line";
/// A function.
const CALLABLE: &str = "it is a Python function, and hubd runs no Python: delete the line";
/// An object of Python.
const PYTHON: &str = "it configures a Python library that hubd does not have: delete the line";
/// Read by another program.
const SERVERS: &str =
    "user servers read it, not the hub: write it into /etc/jupyter/jupyter_server_config.py";
/// Encryption between the hub and servers.
const INSIDE: &str = "hub and user servers are on one machine and check each other's uid, so nothing is encrypted \
     between them: delete the line";
/// Authenticators that know more than a name.
const NO_REFRESH: &str = "PAM has nothing to refresh; hubd-helper asks PAM's account stack at every start of a server: \
     delete the line";
/// What only other authenticators manage.
const NO_MANAGED: &str = "no authenticator of hubd manages it: delete the line";
/// Second factors.
const PAM_ASKS: &str = "PAM asks for second factors by itself, with questions of its own: delete the line";
/// Figures that are not kept but counted when they are asked for.
const FRESH: &str = "active users are counted whenever the metrics are read: delete the line";
/// What blocks in Python.
const NO_LOOP: &str = "hubd has threads and no event loop that could block: delete the line";

/// Limits, which the kernel holds and root sets.
const LIMITS: &str = "root decides: set it in `limits` of [profile.default] in helper.toml(5)";

/// Whole classes: name and reason.
const CLASSES: &[(&str, &str)] = &[
    (
        "CryptKeeper",
        "keys come from the environment variable JUPYTERHUB_CRYPT_KEY, or the credential crypt_keys of systemd: delete the line",
    ),
    ("HubAuth", SERVERS),
    ("HubOAuth", SERVERS),
    ("JupyterHubHTTPClient", PYTHON),
    ("JupyterHubSingleUser", SERVERS),
    (
        "NativeAuthenticator",
        "people log in with accounts of the machine; make those with useradd(8), or see shared-password: delete the line",
    ),
    ("Service", "write [[JupyterHub.services]] tables"),
    (
        "SystemdSpawner",
        "every server has a PAM session of its own already, and root decides about limits and paths: see helper.toml(5)",
    ),
];

/// Single options with a reason of their own: class, key, reason.
#[rustfmt::skip]
const OPTIONS: &[(&str, &str, &str)] = &[
    ("Authenticator", "auth_refresh_age", NO_REFRESH),
    ("Authenticator", "auth_refresh_strict", NO_REFRESH),
    ("Authenticator", "auto_login_oauth2_authorize", "who is not logged in is always led to the login and back: delete the line"),
    ("Authenticator", "manage_roles", NO_MANAGED),
    ("Authenticator", "otp_prompt", PAM_ASKS),
    ("Authenticator", "post_auth_hook", "it is a Python function, and hubd runs no Python: let pam_exec(8) or pam_access(8) in /etc/pam.d/hubd decide, or use allowed_groups"),
    ("Authenticator", "refresh_pre_spawn", NO_REFRESH),
    ("Authenticator", "refresh_pre_stop", NO_REFRESH),
    ("Authenticator", "request_otp", PAM_ASKS),
    ("Authenticator", "reset_managed_roles_on_startup", NO_MANAGED),
    ("Authenticator", "reconcile_auth_state_hook", CALLABLE),
    ("ConfigurableHTTPProxy", "check_running_interval", PROXY),
    ("ConfigurableHTTPProxy", "command", PROXY),
    ("ConfigurableHTTPProxy", "concurrency", PROXY),
    ("ConfigurableHTTPProxy", "debug", PROXY),
    ("ConfigurableHTTPProxy", "default_target", PROXY),
    ("ConfigurableHTTPProxy", "log_level", PROXY),
    ("ConfigurableHTTPProxy", "pid_file", PROXY),
    ("IdleCuller", "api_page_size", CULLER),
    ("IdleCuller", "config_file", CULLER),
    ("IdleCuller", "generate_config", CULLER),
    ("IdleCuller", "internal_certs_location", CULLER),
    ("IdleCuller", "log_datefmt", CULLER),
    ("IdleCuller", "log_format", CULLER),
    ("IdleCuller", "log_level", CULLER),
    ("IdleCuller", "ssl_enabled", CULLER),
    ("IdleCuller", "url", CULLER),
    ("IdleCuller", "cull_arbiter_hook", "it is a Python function, and hubd runs no Python: timeout, max_age and busy_cpu_percent decide"),
    ("JupyterHub", "answer_yes", "give it on the command line: hubd -y"),
    ("JupyterHub", "cleanup_proxy", PROXY),
    ("JupyterHub", "config_file", "give it on the command line: hubd -f FILE"),
    ("JupyterHub", "confirm_no_ssl", "it has had no effect since JupyterHub 0.7: delete the line"),
    ("JupyterHub", "db_kwargs", PYTHON),
    ("JupyterHub", "data_files_path", "pages and styles are inside the program: delete the line"),
    ("JupyterHub", "debug_db", "hubd logs no SQL statements: delete the line, or set log_level = \"DEBUG\""),
    ("JupyterHub", "debug_proxy", PROXY),
    ("JupyterHub", "external_ssl_authorities", INSIDE),
    ("JupyterHub", "extra_handlers", PYTHON),
    ("JupyterHub", "extra_log_handlers", PYTHON),
    ("JupyterHub", "forwarded_host_header", "it has no effect in JupyterHub either: delete the line"),
    ("JupyterHub", "generate_certs", INSIDE),
    ("JupyterHub", "generate_config", "give it on the command line: hubd --generate-config"),
    ("JupyterHub", "hub_routespec", "the hub and the proxy are one program, and the hub answers what no route takes: delete the line"),
    ("JupyterHub", "init_spawners_timeout", "running servers are taken back before the port opens, which takes milliseconds: delete the line"),
    ("JupyterHub", "internal_certs_location", INSIDE),
    ("JupyterHub", "internal_ssl", INSIDE),
    ("JupyterHub", "last_activity_interval", "hubd sees the traffic itself, and its routes are never out of step: delete the line"),
    ("JupyterHub", "recreate_internal_certs", INSIDE),
    ("JupyterHub", "reset_db", "stop hubd and delete the database file"),
    ("JupyterHub", "show_config_json", "give it on the command line: hubd --show-config-json"),
    ("JupyterHub", "trusted_alt_names", INSIDE),
    ("JupyterHub", "jinja_environment_options", PYTHON),
    ("JupyterHub", "log_datefmt", "log lines have JupyterHub's default format; log_to = \"json\" makes them JSON"),
    ("JupyterHub", "log_format", "log lines have JupyterHub's default format; log_to = \"json\" makes them JSON"),
    ("JupyterHub", "logging_config", PYTHON),
    ("JupyterHub", "proxy_check_interval", PROXY),
    ("JupyterHub", "proxy_class", PROXY),
    ("JupyterHub", "proxy_cmd", PROXY),
    ("JupyterHub", "show_config", "give it on the command line: hubd --show-config"),
    ("JupyterHub", "user_redirect_hook", "it is a Python function, and hubd runs no Python: name a server with default_server_name"),
    ("LocalAuthenticator", "add_user_cmd", "hubd-helper runs useradd(8) with root's arguments: set account_shell and account_groups in helper.toml(5)"),
    ("LocalAuthenticator", "group_whitelist", "it has no effect in JupyterHub either: delete the line"),
    ("LocalAuthenticator", "uids", "root decides, and useradd(8) chooses uids: make an account that shall have a certain one before its person is added, useradd --uid UID --create-home NAME"),
    ("LocalProcessSpawner", "env_keep", "sessions get their environment from PAM and helper.toml(5); add variables with [Spawner] environment"),
    ("LocalProcessSpawner", "interrupt_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("LocalProcessSpawner", "kill_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("LocalProcessSpawner", "popen_kwargs", PYTHON),
    ("LocalProcessSpawner", "shell_cmd", "root decides: write a [profile.NAME] in helper.toml(5) and name it here with [Spawner] profile"),
    ("LocalProcessSpawner", "term_timeout", "root decides: set stop_seconds in helper.toml(5)"),
    ("PAMAuthenticator", "pam_normalize_username", "a person always has the name that the account has after PAM's and NSS's word: delete the line"),
    ("PAMAuthenticator", "check_account", "hubd-helper always asks PAM's account stack: delete the line"),
    ("PAMAuthenticator", "encoding", "it is always UTF-8: delete the line"),
    ("PAMAuthenticator", "executor_threads", "each login has its own hubd-helper process: delete the line"),
    ("PAMAuthenticator", "open_sessions", "hubd-helper always opens and closes PAM sessions: delete the line"),
    ("PAMAuthenticator", "service", "root decides: set pam_service in helper.toml(5)"),
    ("PeriodicMetricsCollector", "active_users_enabled", FRESH),
    ("PeriodicMetricsCollector", "active_users_update_interval", FRESH),
    ("PeriodicMetricsCollector", "event_loop_interval_enabled", NO_LOOP),
    ("PeriodicMetricsCollector", "event_loop_interval_log_threshold", NO_LOOP),
    ("PeriodicMetricsCollector", "event_loop_interval_resolution", NO_LOOP),
    ("Proxy", "should_start", PROXY),
    ("SimpleLocalProcessSpawner", "home_dir_template", "set home_template in helper.toml(5) of the helper that runs without root"),
    ("Spawner", "cpu_guarantee", LIMITS),
    ("Spawner", "cpu_limit", LIMITS),
    ("Spawner", "mem_guarantee", LIMITS),
    ("Spawner", "mem_limit", LIMITS),
    ("Spawner", "auth_state_hook", "it is a Python function, and hubd runs no Python: let PAM set variables, for instance with pam_env(8), and name them in helper.toml(5)"),
    ("Spawner", "cmd", "root decides: write a [profile.NAME] in helper.toml(5) and name it here with [Spawner] profile"),
    ("Spawner", "env_keep", "sessions get their environment from PAM and helper.toml(5); add variables with [Spawner] environment"),
    ("Spawner", "ip", "user servers listen on a Unix socket, or with [Spawner] socket = \"tcp\" on 127.0.0.1"),
    ("Spawner", "poll_interval", "hubd is told at once when a server ends: delete the line"),
    ("Spawner", "poll_jitter", "hubd is told at once when a server ends: delete the line"),
    ("Spawner", "port", "user servers listen on a Unix socket, or with [Spawner] socket = \"tcp\" on a free port of 127.0.0.1"),
    ("Spawner", "post_stop_hook", "it is a Python function, and hubd runs no Python: let pam_exec(8) in the session stack of /etc/pam.d/hubd run a program at close_session"),
    ("Spawner", "pre_spawn_hook", "it is a Python function, and hubd runs no Python: let pam_exec(8) or pam_mkhomedir(8) in the session stack of /etc/pam.d/hubd do it, or a program of your own in [profile.NAME] of helper.toml(5)"),
    ("Spawner", "progress_ready_hook", "it is a Python function, and hubd runs no Python: delete the line"),
    ("Spawner", "ssl_alt_names", INSIDE),
    ("Spawner", "ssl_alt_names_include_local", INSIDE),
];

/// Why an option of JupyterHub's is refused; nothing if JupyterHub has no such option either.
pub fn reason(class: &str, key: &str) -> Option<&'static str> {
    let single = OPTIONS.iter().find(|(c, k, _)| *c == class && *k == key).map(|(_, _, why)| *why);
    let whole = || CLASSES.iter().find(|(c, _)| *c == class).map(|(_, why)| *why);
    single.or_else(whole).or_else(|| reason(super::names::parent(class)?, key))
}

/// What kind of refusal a reason is, for the list of all options.
#[cfg(test)]
pub fn category(reason: &str) -> &'static str {
    match reason {
        _ if reason.contains("Python function") => "refused",
        _ if reason.contains("delete the line") => "does not apply",
        _ => "elsewhere",
    }
}

/// Whether JupyterHub has such a class.
pub fn knows_class(class: &str) -> bool {
    CLASSES.iter().any(|(c, _)| *c == class) || OPTIONS.iter().any(|(c, _, _)| *c == class)
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
    fn a_callable_and_an_option_of_roots_say_what_they_are() {
        assert!(reason("Spawner", "pre_spawn_hook").unwrap().contains("Python function"));
        assert!(reason("LocalProcessSpawner", "mem_limit").unwrap().contains("helper.toml"));
        assert!(reason("ConfigurableHTTPProxy", "command").unwrap().contains("part of hubd"));
        assert_eq!(reason("JupyterHub", "no_such_option"), None);
    }
}
