//! What an operator decides about the hub; `hubd/src/config` fills it in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubd_proto::{ProfileName, Secret, ServerName, UserName};
use hubd_store::{ConfiguredGroup, CryptKeys, DEFAULT_ROLES, RoleDefinition, RoleMembers};
use zeroize::Zeroizing;

use crate::auth::scopes::CustomScopes;
use crate::auth::{HOST_LOGIN_COOKIE, LOGIN_COOKIE};
use crate::servers::{GroupOverride, SpawnOptions};
use crate::services::ServiceSettings;
use crate::subdomains::Subdomains;

/// Everything the hub has to know. Names are JupyterHub's option names.
pub struct Settings {
    /// `JupyterHub.base_url`: starts and ends with `/`.
    pub base_url: String,
    /// What services are told as `JUPYTERHUB_API_URL`, for instance `http://127.0.0.1:8081/hub/api`.
    pub hub_api_url: String,
    /// `JupyterHub.public_url`, without a trailing slash, if set: cookies are Secure when it is https.
    pub public_url: Option<String>,
    /// `JupyterHub.subdomain_host`: people's servers have hosts of their own. Then `public_url` is set, too.
    pub subdomains: Option<Subdomains>,
    /// `JUPYTERHUB_CRYPT_KEY`: what encrypts `auth_state`.
    pub crypt_keys: CryptKeys,
    /// The raw bytes that sign cookies: 32 when hubd made them, any number in an old installation.
    pub cookie_secret: Zeroizing<Vec<u8>>,
    /// `JupyterHub.cookie_max_age_days`: how long a login holds.
    pub cookie_max_age_days: f64,
    /// `JupyterHub.cookie_host_prefix_enabled`: the login cookie's name begins with `__Host-`.
    pub cookie_host_prefix: bool,
    /// `JupyterHub.oauth_require_pkce`: no OAuth without a challenge.
    pub oauth_require_pkce: bool,
    /// `JupyterHub.oauth_token_expires_in`: how long a login at a server or service holds.
    pub oauth_token_lifetime: Duration,
    /// `JupyterHub.activity_resolution`: activity within so long after the last one is not noted.
    pub activity_resolution: Duration,
    /// `JupyterHub.active_user_window`: how recently somebody was active who counts as active.
    pub active_user_window: Duration,
    /// `JupyterHub.default_url`.
    pub default_url: Option<String>,
    /// `JupyterHub.redirect_to_server`.
    pub redirect_to_server: bool,
    /// `JupyterHub.admin_access`.
    pub admin_access: bool,
    /// `JupyterHub.allow_named_servers`.
    pub allow_named_servers: bool,
    /// `JupyterHub.named_server_limit_per_user`; 0 is no limit.
    pub named_server_limit_per_user: u32,
    /// `JupyterHub.allow_existing_invalid_named_servers`.
    pub invalid_named_servers: InvalidNamedServers,
    /// `JupyterHub.token_expires_in_max_seconds`; 0 is no limit.
    pub token_expires_in_max_seconds: u32,
    /// `JupyterHub.concurrent_spawn_limit`: how many servers may be starting at once; 0 is no limit.
    pub concurrent_spawn_limit: u32,
    /// `JupyterHub.active_server_limit`: how many servers may run, start or stop; 0 is no limit.
    pub active_server_limit: u32,
    /// `JupyterHub.shutdown_on_logout`.
    pub shutdown_on_logout: bool,
    /// `JupyterHub.authenticate_prometheus`: whether `/metrics` needs the scope `read:metrics`.
    pub authenticate_prometheus: bool,
    /// `JUPYTERHUB_METRICS_PREFIX`: what the names of metrics begin with.
    pub metrics_prefix: String,
    /// `JUPYTERHUB_SERVER_SPAWN_DURATION_SECONDS_BUCKETS`: bounds in seconds; JupyterHub's if there are none.
    pub spawn_buckets: Vec<f64>,
    /// `JUPYTERHUB_SERVER_STOP_DURATION_SECONDS_BUCKETS`, in the same way.
    pub stop_buckets: Vec<f64>,
    /// `EventLogger.handlers`: files that get a line of JSON for each event.
    pub event_files: Vec<PathBuf>,
    /// `JupyterHub.api_page_default_limit`: how many items a part of a list has unless the request says it.
    pub api_page_default_limit: u32,
    /// `JupyterHub.api_page_max_limit`: how many it has at most.
    pub api_page_max_limit: u32,
    /// `JupyterHub.template_vars`.
    pub template_vars: BTreeMap<String, serde_json::Value>,
    /// `JupyterHub.load_roles` over the default roles.
    pub roles: RoleSettings,
    /// `JupyterHub.load_groups`.
    pub groups: Vec<ConfiguredGroup>,
    /// `JupyterHub.custom_scopes`.
    pub custom_scopes: CustomScopes,
    /// `JupyterHub.default_server_name`: the server that `user-redirect` means, with named servers on.
    pub default_server_name: Option<ServerName>,
    /// `JupyterHub.implicit_spawn_seconds`: a page of a server that does not run starts it after so long.
    pub implicit_spawn_seconds: f64,
    /// `JupyterHub.use_legacy_stopped_server_status_code`: 503 instead of 424.
    pub legacy_stopped_status: bool,
    /// `JupyterHub.template_paths`: folders whose templates come before the built-in ones.
    pub template_paths: Vec<PathBuf>,
    /// `JupyterHub.logo_file`; the built-in logo if there is none.
    pub logo_file: Option<PathBuf>,
    /// `JupyterHub.announcements_file`: what everybody is told on every page.
    pub announcements_file: PathBuf,
    /// Who may log in and how.
    pub authenticator: AuthenticatorSettings,
    /// When idle servers are stopped, if ever.
    pub culler: Option<crate::servers::CullerSettings>,
    /// How servers are started.
    pub spawner: SpawnerSettings,
    /// Services, and tokens of the configuration.
    pub services: ServiceSettings,
    /// `tornado_settings.slow_spawn_timeout` (10 s): how long an API start waits before it answers 202.
    pub slow_spawn_timeout: Duration,
    /// `tornado_settings.slow_stop_timeout` (10 s): how long an API stop waits before it answers 202.
    pub slow_stop_timeout: Duration,
}

impl Settings {
    /// The prefix of everything the hub serves: `base_url` + `hub/`.
    pub fn hub_prefix(&self) -> String {
        format!("{}hub/", self.base_url)
    }

    /// The name of the login cookie.
    pub fn login_cookie(&self) -> &'static str {
        if self.cookie_host_prefix { HOST_LOGIN_COOKIE } else { LOGIN_COOKIE }
    }
}

/// What becomes of named servers of before JupyterHub 6 whose names are none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidNamedServers {
    /// They can be started.
    AllowStart,
    /// They can be stopped and deleted.
    AllowDelete,
    /// They get another name when the hub starts, unless they run.
    Autorename,
}

/// The roles that there shall be, and who has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// Default roles that the configuration does not override.
    pub defaults: Vec<RoleDefinition>,
    /// Roles of the configuration, overridden default roles among them.
    pub configured: Vec<RoleDefinition>,
    /// Who has the roles of the configuration.
    pub members: Vec<RoleMembers>,
}

impl Default for RoleSettings {
    fn default() -> Self {
        let defaults = DEFAULT_ROLES.iter().map(RoleDefinition::from).collect();
        Self { defaults, configured: Vec::new(), members: Vec::new() }
    }
}

/// Who may log in and how. The running ones are [`crate::Hub::access`], which a reload exchanges.
#[derive(Clone)]
pub struct AuthenticatorSettings {
    /// `JupyterHub.authenticator_class`.
    pub kind: AuthenticatorKind,
    /// `Authenticator.admin_users`.
    pub admin_users: BTreeSet<UserName>,
    /// `Authenticator.allowed_users`; empty is no restriction when `allow_all` holds.
    pub allowed_users: BTreeSet<UserName>,
    /// `Authenticator.blocked_users`.
    pub blocked_users: BTreeSet<UserName>,
    /// `Authenticator.allow_all`. With PAM and no other allow option it is true: an account is the permission.
    pub allow_all: bool,
    /// `Authenticator.allow_existing_users`.
    pub allow_existing_users: bool,
    /// `LocalAuthenticator.allowed_groups`: members of these groups of the machine may log in too.
    pub allowed_groups: BTreeSet<String>,
    /// `PAMAuthenticator.admin_groups`: members are admins, and nobody else but `admin_users` is.
    pub admin_groups: BTreeSet<String>,
    /// `Authenticator.username_map`: from names in lower case to names in the hub.
    pub username_map: BTreeMap<String, String>,
    /// `Authenticator.username_pattern`, which has to match at the start of a name.
    pub username_pattern: Option<regex_lite::Regex>,
    /// `Authenticator.delete_invalid_users`: people without an account are deleted at the start.
    pub delete_invalid_users: bool,
    /// `Authenticator.manage_groups`: each login sets the person's groups in the hub, with PAM to those of the machine.
    pub manage_groups: bool,
    /// `Authenticator.auto_login`: nobody is shown a form, and after logging out a page says so.
    pub auto_login: bool,
    /// `LocalAuthenticator.create_system_users`: people whom an admin adds get an account of the machine.
    pub create_system_users: bool,
}

impl AuthenticatorSettings {
    /// Rules that let in whom the authenticator accepts, and nobody is an admin.
    pub fn everybody(kind: AuthenticatorKind) -> Self {
        Self {
            kind,
            admin_users: BTreeSet::new(),
            allowed_users: BTreeSet::new(),
            blocked_users: BTreeSet::new(),
            allow_all: true,
            allow_existing_users: false,
            allowed_groups: BTreeSet::new(),
            admin_groups: BTreeSet::new(),
            username_map: BTreeMap::new(),
            username_pattern: None,
            delete_invalid_users: false,
            manage_groups: false,
            auto_login: false,
            create_system_users: false,
        }
    }

    /// The name that somebody has in the hub: lower case, then `username_map`. Nothing if it is none.
    pub fn hub_name(&self, name: &str) -> Option<UserName> {
        let lower = name.to_lowercase();
        let name = UserName::new(self.username_map.get(&lower).cloned().unwrap_or(lower)).ok()?;
        self.matches_pattern(&name).then_some(name)
    }

    /// Whether `username_pattern` matches at the start of a name.
    fn matches_pattern(&self, name: &UserName) -> bool {
        let Some(pattern) = &self.username_pattern else { return true };
        pattern.find(name.as_str()).is_some_and(|found| found.start() == 0)
    }
}

/// Which authenticator checks a login.
#[derive(Clone)]
pub enum AuthenticatorKind {
    /// The helper's PAM conversation.
    Pam,
    /// `dummy`: any name; a password if one is set. For trials only.
    Dummy {
        /// `DummyAuthenticator.password`.
        password: Option<Secret>,
    },
    /// `shared-password`: any name with a password that all share. For a course's afternoon at most.
    Shared(SharedPasswords),
    /// `null`: nobody logs in; only tokens work.
    Null,
}

/// The passwords of `shared-password`.
#[derive(Clone, Default)]
pub struct SharedPasswords {
    /// `user_password`: for everybody who is not in `admin_users`.
    pub user: Option<Secret>,
    /// `admin_password`: for those in `admin_users`, who cannot use another one.
    pub admin: Option<Secret>,
    /// `password_groups`: more passwords, and the groups of the hub that they put people into.
    pub groups: Vec<(Secret, Vec<String>)>,
}

/// How servers are started.
#[derive(Clone)]
pub struct SpawnerSettings {
    /// What user servers are told as `JUPYTERHUB_API_URL`; `Spawner.hub_connect_url` makes it another one.
    pub hub_api_url: String,
    /// Profile of the helper's policy; `None` is `default`.
    pub profile: Option<ProfileName>,
    /// Where servers listen.
    pub socket: SocketKind,
    /// `Spawner.args`.
    pub args: Vec<String>,
    /// `Spawner.environment`.
    pub environment: BTreeMap<String, String>,
    /// `Spawner.default_url`, `{username}` expanded by the hub.
    pub default_url: String,
    /// `Spawner.notebook_dir`, `{username}` expanded by the hub; a leading `~` is the server's to expand.
    pub notebook_dir: String,
    /// `Spawner.debug`.
    pub debug: bool,
    /// `Spawner.disable_user_config`.
    pub disable_user_config: bool,
    /// What people may choose before a start.
    pub options: Arc<SpawnOptions>,
    /// `Spawner.group_overrides`, in the order in which they count.
    pub group_overrides: Arc<[GroupOverride]>,
    /// `Spawner.oauth_client_allowed_scopes`: what a server may ask its visitors for.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// `Spawner.oauth_roles`: the same by roles; deprecated since 3.0.
    pub oauth_roles: Vec<String>,
    /// `Spawner.server_token_scopes`: what a server's own token may do; empty is the role `server`.
    pub server_token_scopes: Vec<String>,
    /// `Spawner.consecutive_failure_limit`: the hub ends after so many failed starts in a row; 0 is never.
    pub consecutive_failure_limit: u32,
    /// `Spawner.start_timeout` (60 s): from the request to a running process.
    pub start_timeout: Duration,
    /// `Spawner.http_timeout` (30 s): from a running process to its first answer.
    pub http_timeout: Duration,
}

/// Where user servers listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// On Unix sockets; the default.
    Unix,
    /// On ports of 127.0.0.1.
    Tcp,
}
