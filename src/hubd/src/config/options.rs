//! The table of options that hubd obeys. Parser, command line, `--help-all`, `--generate-config`, completions,
//! `--show-config` and hubd.toml(5) come from it.
//!
//! A new option is one row here; then `HUBD_WRITE_PAGES=1 cargo test -p hubd page` writes the manual anew.

use super::option::{Opt, opt};
use super::value::Kind;

/// Longest time that a person may configure, in seconds: a day.
const DAY_SECONDS: i64 = 86_400;
/// Longest time that browsers are asked to insist on https, in seconds: ten years.
const HSTS_SECONDS_MAX: i64 = 315_360_000;
/// The most of anything that is counted.
const COUNT_MAX: i64 = 1_000_000_000;
/// Ports.
const PORT: Kind = Kind::Integer(0, 65535);
/// Names and numbers that JupyterHub takes for `log_level`.
const LEVELS: Kind = Kind::Choice(&[
    "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "0", "10", "20", "30", "40", "50",
]);

/// Names of authenticators, JupyterHub's among them.
const AUTHENTICATORS: &[&str] = &[
    "pam",
    "default",
    "jupyterhub.auth.PAMAuthenticator",
    "dummy",
    "jupyterhub.auth.DummyAuthenticator",
    "jupyterhub.dummy",
    "shared-password",
    "jupyterhub.authenticators.shared.SharedPasswordAuthenticator",
    "null",
    "jupyterhub.auth.NullAuthenticator",
];

/// Every option that this version obeys, by class.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    // Where it listens.
    opt("JupyterHub", "bind_url", Kind::Text, "\"http://:8000\"", "The public address, http://ADDRESS:PORT/PREFIX. With ssl_cert it is https, whatever is written here. For a front proxy it may be a Unix socket, unix:/PATH or, with a prefix, http+unix://%2FPATH/PREFIX; command_umask decides who may connect to it.").flag("url", "URL"),
    opt("JupyterHub", "ip", Kind::Text, "\"\"", "The public address alone; empty is all of them, IPv4 and IPv6.").flag("ip", "ADDRESS"),
    opt("JupyterHub", "port", PORT, "8000", "The public port alone.").flag("port", "PORT"),
    opt("JupyterHub", "base_url", Kind::Text, "\"/\"", "The prefix of every URL.").flag("base-url", "PREFIX"),
    opt("JupyterHub", "public_url", Kind::Text, "\"\"", "The URL that people use, with its prefix, when a front proxy makes it another one than bind_url."),
    opt("JupyterHub", "subdomain_host", Kind::Text, "\"\"", "Give everybody's servers a host of their own below this one, https://HOST:PORT, so that browsers keep them apart: alice's are at alice.HOST. Needs a name for *.HOST, and a certificate for it."),
    opt("JupyterHub", "subdomain_hook", Kind::Choice(&["idna", "legacy"]), "\"idna\"", "How a name becomes a host: idna makes a valid one of every name, legacy is JupyterHub's way before version 5."),
    opt("JupyterHub", "trusted_proxies", Kind::List, "[]", "Addresses and networks (10.0.0.0/8) of front proxies whose X-Forwarded-For, -Proto and -Host, or Forwarded, are believed. From all others they are dropped."),
    opt("JupyterHub", "proxy_protocol", Kind::Bool, "false", "Every connection comes from one of trusted_proxies and begins with a PROXY protocol header of version 2, which names the browser's address."),
    opt("JupyterHub", "redirect_port", PORT, "0", "A second public port, for plain HTTP, that only sends browsers to https; 0 is none."),
    opt("JupyterHub", "redirect_to", PORT, "0", "The port that redirect_port sends browsers to; 0 is the public one."),
    opt("JupyterHub", "hub_bind_url", Kind::Text, "\"\"", "The inner address, where user servers reach the hub, as http://ADDRESS:PORT; instead of hub_ip and hub_port. It may be a Unix socket, unix:/PATH, if hub_connect_url says where servers reach the hub."),
    opt("JupyterHub", "hub_socket_mode", Kind::Integer(0, 0o777), "384", "Mode of that socket's file; better written as 0o600."),
    opt("JupyterHub", "hub_ip", Kind::Text, "\"127.0.0.1\"", "The inner address alone."),
    opt("JupyterHub", "hub_port", PORT, "8081", "The inner port alone."),
    opt("JupyterHub", "hub_connect_url", Kind::Text, "\"\"", "What user servers are told instead of the inner address."),
    opt("JupyterHub", "hub_connect_ip", Kind::Text, "\"\"", "The same, the address alone."),
    opt("JupyterHub", "hub_connect_port", PORT, "0", "The same, the port alone. Deprecated in JupyterHub."),
    opt("JupyterHub", "proxy_api_ip", Kind::Text, "\"\"", "An address of its own for the REST API for routes. Deprecated in JupyterHub: write api_url in [ConfigurableHTTPProxy]."),
    opt("JupyterHub", "proxy_api_port", PORT, "0", "The same, the port alone; 0 is the one after the public port."),
    // TLS and secrets.
    opt("JupyterHub", "ssl_cert", Kind::Path, "\"\"", "File with the certificate and its chain, PEM. With it the public side speaks TLS.").flag("ssl-cert", "FILE"),
    opt("JupyterHub", "ssl_key", Kind::Path, "\"\"", "File with the certificate's key, PEM; may be the same file.").flag("ssl-key", "FILE"),
    opt("JupyterHub", "ssl_more_certs", Kind::TextTable, "{}", "More certificates, for other names: a table of certificate files and their key files; an empty key is in the same file. A browser gets the first one that is for the name it asks for, or else ssl_cert."),
    opt("JupyterHub", "hsts_seconds", Kind::Seconds(0, HSTS_SECONDS_MAX), "", "How long browsers shall insist on https (HSTS); 0 says nothing. Default: a year with ssl_cert, nothing with self_signed."),
    opt("JupyterHub", "self_signed", Kind::Bool, "false", "Make a self-signed certificate in the working directory if ssl_cert and ssl_key are not set, and use it. Browsers warn about it.").flag("self-signed", ""),
    opt("JupyterHub", "cookie_secret", Kind::Secret, "\"\"", "The key that signs cookies, in hex. Better in cookie_secret_file."),
    opt("JupyterHub", "cookie_secret_file", Kind::Path, "\"jupyterhub_cookie_secret\"", "File with that key; made with mode 0600 at the first start."),
    opt("JupyterHub", "cookie_max_age_days", Kind::Number(0.0), "14", "How long a login holds, in days."),
    opt("JupyterHub", "cookie_host_prefix_enabled", Kind::Bool, "false", "Give the login cookie a name with __Host-, which no other host of the domain can plant. Needs TLS. With subdomain_host, servers do the same."),
    opt("JupyterHub", "oauth_require_pkce", Kind::Bool, "false", "Refuse OAuth without a PKCE challenge."),
    opt("JupyterHub", "oauth_token_expires_in", Kind::Seconds(1, 100 * 366 * DAY_SECONDS), "1209600", "How long a login at a server or service holds; as cookie_max_age_days unless it is set."),
    // Data.
    opt("JupyterHub", "db_url", Kind::Text, "\"sqlite:///jupyterhub.sqlite\"", "The SQLite database: sqlite:///RELATIVE, sqlite:////ABSOLUTE, or a file name.").flag("db", "URL"),
    opt("JupyterHub", "upgrade_db", Kind::Bool, "false", "Bring the database of an older JupyterHub to today's schema at the start, after a copy beside it, as hubd upgrade-db does.").flag("upgrade-db", ""),
    opt("JupyterHub", "pid_file", Kind::Path, "\"\"", "File for the process id; removed at the end.").flag("pid-file", "FILE"),
    // Who and what.
    opt("JupyterHub", "authenticator_class", Kind::Choice(AUTHENTICATORS), "\"pam\"", "pam: accounts of this machine, checked by hubd-helper. dummy and shared-password: any name, for trials only. null: nobody logs in, only API tokens work."),
    opt("JupyterHub", "spawner_class", Kind::Choice(&["local", "default", "localprocess", "jupyterhub.spawner.LocalProcessSpawner", "simple", "jupyterhub.spawner.SimpleLocalProcessSpawner"]), "\"local\"", "local: a server runs as its user. simple: all run as the helper's own user, for trials only."),
    opt("JupyterHub", "helper_socket", Kind::Path, "\"/run/hubd/helper.sock\"", "The socket of hubd-helper; its sessions directory lies beside it."),
    opt("JupyterHub", "control_socket", Kind::Path, "\"hubd.sock\"", "Where hubd status and its like ask the daemon; for root and the daemon's user."),
    opt("JupyterHub", "admin_access", Kind::Bool, "false", "Let admins into everybody's server. Deprecated in JupyterHub."),
    opt("JupyterHub", "allow_named_servers", Kind::Bool, "false", "Let people have more than one server."),
    opt("JupyterHub", "named_server_limit_per_user", Kind::Integer(0, 10_000), "0", "How many named servers each person may have; 0 is no limit."),
    opt("JupyterHub", "allow_existing_invalid_named_servers", Kind::Choice(&["allow-start", "allow-delete", "autorename"]), "\"allow-start\"", "What may be done with named servers from before JupyterHub 6 whose names are none any more: start them, only stop and delete them, or rename them when hubd starts; then their old name is what people see."),
    opt("JupyterHub", "activity_resolution", Kind::Seconds(0, DAY_SECONDS), "30", "Activity is noted if so much time has passed since the last one; 0 notes all."),
    opt("JupyterHub", "active_user_window", Kind::Seconds(1, 366 * DAY_SECONDS), "1800", "Who was active within this time counts as active in hubd status."),
    opt("JupyterHub", "token_expires_in_max_seconds", Kind::Seconds(0, 100 * 366 * DAY_SECONDS), "0", "The longest life of a token that somebody makes, in seconds, and its life if nothing is said; 0 is no limit."),
    opt("JupyterHub", "api_page_default_limit", Kind::Integer(1, 100_000), "50", "How many items a part of a list has in the REST API, if a client asks for parts and not for how many."),
    opt("JupyterHub", "api_page_max_limit", Kind::Integer(1, 100_000), "200", "How many items an answer of the REST API lists at most."),
    opt("JupyterHub", "authenticate_prometheus", Kind::Bool, "true", "Show the metrics only to who has the scope read:metrics."),
    opt("JupyterHub", "concurrent_spawn_limit", Kind::Integer(0, 1_000_000), "100", "How many servers may be starting at once; more are told to try again in a moment. 0 is no limit."),
    opt("JupyterHub", "active_server_limit", Kind::Integer(0, 1_000_000), "0", "How many servers there may be at once, all people together; 0 is no limit."),
    opt("JupyterHub", "shutdown_on_logout", Kind::Bool, "false", "Stop a person's servers when they log out."),
    opt("JupyterHub", "cleanup_servers", Kind::Bool, "false", "Stop all servers when hubd ends. JupyterHub's default is true; servers here survive a restart."),
    opt("JupyterHub", "tornado_settings", Kind::Table, "{}", "Of JupyterHub's web settings: slow_spawn_timeout and slow_stop_timeout, in seconds."),
    // Roles and groups.
    opt("JupyterHub", "load_roles", Kind::Tables, "[]", "Roles, one [[JupyterHub.load_roles]] each, with name, description, scopes, users, services and groups. A role has exactly the members named here; roles that are no longer here are deleted. The default roles user, admin, server and token can be given other members and, except admin, other scopes."),
    opt("JupyterHub", "load_groups", Kind::Table, "{}", "Groups to make and fill: [JupyterHub.load_groups.NAME] with users and properties, or only a list of users under the name. Members are only added; properties replace those that there are."),
    opt("JupyterHub", "extra_user_scopes", Kind::List, "[]", "Scopes that everybody has, added to those of the role user unless load_roles has that role."),
    opt("JupyterHub", "custom_scopes", Kind::Table, "{}", "Scopes of your own for services: each name, custom:NAME, has a table with description and, for what it contains, subscopes."),
    // Services and tokens.
    opt("JupyterHub", "services", Kind::Tables, "[]", "Programs beside the hub, one [[JupyterHub.services]] each, with the fields under SERVICES below."),
    opt("JupyterHub", "cleanup_services", Kind::Bool, "true", "Stop managed services when hubd ends. Those that were not stopped are found again by the next start."),
    opt("JupyterHub", "service_check_interval", Kind::Seconds(0, DAY_SECONDS), "60", "Seconds between looks at services with a URL, which are told in the log when they do not answer; 0 never looks."),
    opt("JupyterHub", "service_tokens", Kind::Tokens, "{}", "API tokens for services, each with the name of its service. Better as api_token of that."),
    opt("JupyterHub", "api_tokens", Kind::Tokens, "{}", "API tokens for users, each with the name of its user. Pending deprecation in JupyterHub, which prefers services."),
    opt("JupyterHub", "trust_user_provided_tokens", Kind::Bool, "false", "The tokens of the configuration are random, and need not be hashed thousands of times to be safe."),
    // What people see.
    opt("JupyterHub", "default_url", Kind::Text, "\"\"", "Where people go after login, instead of to their server."),
    opt("JupyterHub", "redirect_to_server", Kind::Bool, "true", "After login go to the own server, not to the home page."),
    opt("JupyterHub", "default_server_name", Kind::Text, "\"\"", "The server that /hub/user-redirect means; only with allow_named_servers."),
    opt("JupyterHub", "implicit_spawn_seconds", Kind::Number(0.0), "0", "The page of a server that does not run starts it after so many seconds; 0 waits for the person."),
    opt("JupyterHub", "use_legacy_stopped_server_status_code", Kind::Bool, "false", "Answer 503 instead of 424 for a server that does not run."),
    opt("JupyterHub", "template_vars", Kind::Table, "{}", "Variables for the pages' templates."),
    opt("JupyterHub", "template_paths", Kind::List, "[]", "Folders with templates of your own: one of the name of a built-in page replaces it, and may extend it as templates/NAME."),
    opt("JupyterHub", "logo_file", Kind::Path, "\"\"", "An image file that is shown instead of the built-in logo."),
    opt("JupyterHub", "announcements_file", Kind::Path, "\"announcements.json\"", "File of what everybody is told on every page: a JSON list of objects with text, and perhaps level (info, warning, danger) and until (seconds since 1970). Admins write it on the admin page or by the API; it may be edited too."),
    // Logging.
    opt("JupyterHub", "log_level", LEVELS, "\"INFO\"", "How much is logged.").flag("log-level", "LEVEL").live(),
    opt("JupyterHub", "log_to", Kind::Choice(&["auto", "stderr", "json", "journal", "syslog"]), "\"auto\"", "Where to: auto is the journal under systemd, syslog without a standard error, else standard error. json is JSON lines on standard error."),
    opt("JupyterHub", "log_levels", Kind::TextTable, "{}", "Other levels for parts: { proxy = \"DEBUG\", store = \"WARN\" }. Parts are proxy, hub, store, hubd, and requests, the line that each request leaves.").live(),
    opt("JupyterHub", "log_file", Kind::Path, "\"\"", "File for log lines, beside the other destination; made with mode 0640, reopened on SIGHUP. Empty is none.").flag("log-file", "FILE"),
    // What happens, for other programs.
    opt("EventLogger", "handlers", Kind::List, "[]", "Files that get a line of JSON for each start and stop of a server, in JupyterHub's form."),
    // Others who add routes.
    opt("ConfigurableHTTPProxy", "api_url", Kind::Text, "\"\"", "An address of its own for the REST API for routes, http://ADDRESS:PORT or unix:/PATH. Empty: it is on the inner port."),
    opt("ConfigurableHTTPProxy", "command_umask", Kind::Integer(0, 0o777), "7", "What the modes of Unix sockets in bind_url and api_url lack; better written as 0o007, which lets the daemon's group connect."),
    opt("ConfigurableHTTPProxy", "auth_token", Kind::Secret, "\"\"", "The token of the REST API for routes, /api/routes on the inner port. Empty: CONFIGPROXY_AUTH_TOKEN, or one made at the start, which nobody knows."),
    // What browsers may do.
    opt("Proxy", "extra_routes", Kind::TextTable, "{}", "More routes: { \"/dashboard/\" = \"http://127.0.0.1:9000\" }. Requests are cleaned as those for a notebook server: no cookie of the hub reaches the target."),
    opt("Proxy", "http2", Kind::Bool, "true", "Offer HTTP/2 to browsers; only over TLS."),
    opt("Proxy", "http2_streams", Kind::Integer(1, 10_000), "100", "Requests in progress on one HTTP/2 connection."),
    opt("Proxy", "max_connections", Kind::Integer(0, COUNT_MAX), "0", "Connections of browsers in all; more are refused with 503. 0 is half of the descriptors that the process may have."),
    opt("Proxy", "max_connections_per_address", Kind::Integer(1, COUNT_MAX), "1000", "Connections from one address, or from one /64 network of IPv6. A whole institute may have one address. trusted_proxies have no limit."),
    opt("Proxy", "max_header_bytes", Kind::Bytes(8192, 1_048_576), "65536", "Bytes of a request's headers; more are refused with 431."),
    opt("Proxy", "max_headers", Kind::Integer(20, 10_000), "100", "Headers of a request; more are refused with 431."),
    opt("Proxy", "header_timeout", Kind::Seconds(1, DAY_SECONDS), "10", "Seconds for a request's headers to come, and for the first request of a new connection."),
    opt("Proxy", "http1_idle_timeout", Kind::Seconds(1, DAY_SECONDS), "60", "Seconds that an HTTP/1.1 connection may be without a request after the first one."),
    opt("Proxy", "idle_timeout", Kind::Seconds(1, DAY_SECONDS), "120", "Seconds that an HTTP/2 connection may be without a request."),
    opt("Proxy", "minimum_rate", Kind::Integer(0, COUNT_MAX), "100", "Bytes per second that a request's body or the reader of an answer has to keep up, after the first 10 seconds; pauses may take a minute. 0 asks for no rate."),
    opt("Proxy", "connect_timeout", Kind::Seconds(1, DAY_SECONDS), "5", "Seconds for a user server to take a connection; then 504."),
    opt("Proxy", "answer_timeout", Kind::Seconds(0, DAY_SECONDS), "600", "Seconds for a user server to begin its answer, once it has the request; then 504. 0 is no limit."),
    // Who may log in.
    opt("Authenticator", "admin_users", Kind::Set, "[]", "Admins of the hub; they are made at the start. The option only grants: who leaves the list stays an admin until it is taken away on the admin page.").live(),
    opt("Authenticator", "allowed_users", Kind::Set, "[]", "Who may log in; they are in the database from the start. With PAM, everybody with an account may if no option says who.").live(),
    opt("Authenticator", "blocked_users", Kind::Set, "[]", "Who may not, whatever else is said. Roles, groups and the admin flag are taken from them at the start.").live(),
    opt("Authenticator", "allow_all", Kind::Bool, "", "Everybody who can authenticate may log in. Default: with PAM true if no other option says who may; with dummy true if allowed_users is empty; else false.").live(),
    opt("Authenticator", "allow_existing_users", Kind::Bool, "", "Everybody in the database may log in. Default: true if allowed_users is not empty.").live(),
    opt("Authenticator", "any_allow_config", Kind::Bool, "false", "Do not warn that nobody may log in.").live(),
    opt("Authenticator", "username_map", Kind::TextTable, "{}", "Other names for people, after lower-casing: { \"alice.smith\" = \"asmith\" }. The helper starts a server only for the account that logged in, so a mapped name needs a rule in helper.toml(5).").live(),
    opt("Authenticator", "username_pattern", Kind::Text, "\"\"", "Regular expression that names have to match, from their start; nothing holds the end but $.").live(),
    opt("Authenticator", "enable_auth_state", Kind::Bool, "false", "Keep what an authenticator tells of people, encrypted with JUPYTERHUB_CRYPT_KEY, which must be set then. PAM tells nothing; admins see and set it by the API."),
    opt("Authenticator", "manage_groups", Kind::Bool, "false", "Every login sets the person's groups in the hub: with PAM to the groups of the account, with shared-password to those of the password.").live(),
    opt("Authenticator", "auto_login", Kind::Bool, "false", "Show no login form, and after logging out a page that says so. Only with authenticator_class = \"null\": every other authenticator of hubd asks with a form.").live(),
    opt("Authenticator", "delete_invalid_users", Kind::Bool, "false", "At the start, delete people from the database who have no account on this machine any more. Their homes are left alone."),
    opt("LocalAuthenticator", "allowed_groups", Kind::Set, "[]", "Members of these groups of the machine may log in, beside allowed_users.").live(),
    opt("LocalAuthenticator", "create_system_users", Kind::Bool, "false", "Make an account of this machine for somebody whom an admin adds. Root has to allow it too: create_system_users in helper.toml, and systemctl enable --now hubd-accounts.socket.").live(),
    opt("PAMAuthenticator", "admin_groups", Kind::Set, "[]", "Members of these groups of the machine are admins. When it is set, everybody else but admin_users stops being one at the next login.").live(),
    // Authenticators for trials.
    opt("DummyAuthenticator", "password", Kind::Secret, "\"\"", "The password for everybody; empty accepts any."),
    opt("SharedPasswordAuthenticator", "user_password", Kind::Secret, "\"\"", "The password of everybody who is not in admin_users, 8 characters at least; whoever knows it can be any of them."),
    opt("SharedPasswordAuthenticator", "admin_password", Kind::Secret, "\"\"", "The password of everybody in admin_users, 32 characters at least and another one than user_password. No other password lets them in."),
    opt("SharedPasswordAuthenticator", "password_groups", Kind::Table, "{}", "More passwords, and the groups of the hub that people are put into who use them: { \"PASSWORD\" = [\"group\"] }. Needs manage_groups."),
    // When idle servers are stopped.
    opt("IdleCuller", "enabled", Kind::Bool, "", "Stop idle servers. Default: true if anything else is set in this table."),
    opt("IdleCuller", "timeout", Kind::Seconds(1, 366 * DAY_SECONDS), "600", "How long nothing may happen in a server: no request or WebSocket message, no activity that it reports, no busy kernel, no processor time. Fifteen minutes before, the home page says so, and lets its owner put it off."),
    opt("IdleCuller", "cull_every", Kind::Seconds(1, DAY_SECONDS), "", "How often that is looked at. Default: half of timeout."),
    opt("IdleCuller", "max_age", Kind::Seconds(0, 3660 * DAY_SECONDS), "0", "Stop servers that are older than this, even if they are in use; 0 is never."),
    opt("IdleCuller", "cull_default_servers", Kind::Bool, "true", "Stop idle default servers."),
    opt("IdleCuller", "cull_named_servers", Kind::Bool, "true", "Stop idle named servers."),
    opt("IdleCuller", "remove_named_servers", Kind::Bool, "false", "Delete idle named servers instead of only stopping them."),
    opt("IdleCuller", "cull_users", Kind::Bool, "false", "Delete people from the database who have been idle for so long. Accounts and homes are left alone."),
    opt("IdleCuller", "cull_admin_users", Kind::Bool, "true", "With cull_users, admins too."),
    opt("IdleCuller", "concurrency", Kind::Integer(1, 1000), "10", "How many servers are asked at once for their kernels."),
    opt("IdleCuller", "busy_cpu_percent", Kind::Number(0.0), "50", "A server that uses this much of a processor core is not idle, where that is known; 0 does not look at it."),
    // How servers start.
    opt("Spawner", "profile", Kind::Text, "\"default\"", "The [profile.NAME] of helper.toml(5) that names the program to run."),
    opt("Spawner", "socket", Kind::Choice(&["unix", "tcp"]), "\"unix\"", "What user servers listen on: a Unix socket, or a port of 127.0.0.1."),
    opt("Spawner", "args", Kind::List, "[]", "Arguments after those of the profile; helper.toml(5) has to allow them."),
    opt("Spawner", "environment", Kind::TextTable, "{}", "Environment variables of user servers; helper.toml(5) has to allow them."),
    opt("Spawner", "hub_connect_url", Kind::Text, "\"\"", "Where user servers reach the hub, http://ADDRESS:PORT, if that is another place than services are told."),
    opt("Spawner", "default_url", Kind::Text, "\"\"", "Where a server opens, for instance /lab; {username} is replaced."),
    opt("Spawner", "notebook_dir", Kind::Text, "\"\"", "The directory that a server shows, for instance ~/notebooks; {username} is replaced."),
    opt("Spawner", "options_form", Kind::Text, "\"\"", "HTML of a form that people fill in before a start; its fields become user_options. Scripts in it run."),
    opt("Spawner", "options_from_form", Kind::Choice(&["passthrough", "simple"]), "\"passthrough\"", "passthrough: each field is a list of texts. simple: a single value is a text, and on is true."),
    opt("Spawner", "apply_user_options", Kind::TextTable, "{}", "What fields of options_form set: a table of their names and profile, default_url or notebook_dir."),
    opt("Spawner", "profile_list", Kind::Tables, "[]", "Environments to choose from before a start, one [[Spawner.profile_list]] each: slug, display_name, description, limits (a text), groups (who sees it; nothing is everybody), default, and start, a table of what it means: profile (of helper.toml(5)), default_url, notebook_dir and environment. options are further questions, each a table of name, display_name and choices, which have name, display_name and start."),
    opt("Spawner", "group_overrides", Kind::Table, "{}", "Other settings for members of groups: [Spawner.group_overrides.KEY] with groups and spawner_override, a table of profile, args, environment, default_url, notebook_dir, debug, disable_user_config, start_timeout and http_timeout. Applied in the order of the keys; environment is added to, and NAME = false takes a variable away."),
    opt("Spawner", "oauth_client_allowed_scopes", Kind::List, "[]", "Scopes that a server may ask its visitors for, beside knowing who they are."),
    opt("Spawner", "oauth_roles", Kind::List, "[]", "Roles whose scopes it may ask for. Deprecated in JupyterHub: write oauth_client_allowed_scopes."),
    opt("Spawner", "server_token_scopes", Kind::List, "[]", "Scopes of a server's own token, as far as its owner has them. Default: those of the role server, which load_roles can change."),
    opt("Spawner", "consecutive_failure_limit", Kind::Integer(0, 1_000_000), "0", "End hubd with status 1 after so many failed starts in a row, so that the service manager starts it anew; 0 never does. Starts that were refused do not count."),
    opt("Spawner", "start_timeout", Kind::Seconds(1, DAY_SECONDS), "60", "Seconds for a server's process to start."),
    opt("Spawner", "http_timeout", Kind::Seconds(1, DAY_SECONDS), "30", "Seconds for a started server to answer."),
    opt("Spawner", "debug", Kind::Bool, "false", "Let servers log more."),
    opt("Spawner", "disable_user_config", Kind::Bool, "false", "Let servers ignore the configuration in people's homes."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_kind() {
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            let table: toml::Table = format!("v = {}", option.default).parse().unwrap();
            assert!(option.kind.read_toml(&table["v"]).is_ok(), "{}.{}", option.class, option.key);
        }
    }

    #[test]
    fn no_name_is_taken_twice() {
        let mut names = std::collections::BTreeSet::new();
        for option in OPTIONS {
            assert!(names.insert((option.class, option.key)), "{}.{}", option.class, option.key);
            if let Some((flag, _)) = option.flag {
                assert!(names.insert(("", flag)), "{flag}");
            }
        }
    }
}
