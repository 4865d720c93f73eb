//! What the hub's own tests share: a hub on a temporary database, and a helper that only pretends.

mod fake_helper;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hubd_proto::{ServerName, UserName};
use hubd_proxy::Routes;
use hubd_store::Store;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::auth::scopes::CustomScopes;
use crate::clock::{Clock, Random};
use crate::helper::HelperClient;
use crate::hub::Parts;
use crate::servers::{SpawnOptions, StartRequest, State};
use crate::services::ServiceSettings;
use crate::settings::{
    AuthenticatorKind, AuthenticatorSettings, InvalidNamedServers, RoleSettings, SocketKind, SpawnerSettings,
};
use crate::{Hub, Settings};

pub(crate) use fake_helper::{CODE, FakeHelper, OnStart, PASSWORD, TICKET};

/// Longest wait of a test for something that takes milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A hub, its database and its helper.
pub(crate) struct TestHub {
    pub hub: Arc<Hub>,
    pub helper: FakeHelper,
    pub dir: TempDir,
}

impl TestHub {
    /// A hub with the settings of a fresh installation.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A hub with changed settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let helper = FakeHelper::start(&dir.path().join("run"));
        let mut settings = settings();
        change(&mut settings);
        let hub = hub_on(&dir.path().join("hub.sqlite"), &helper, settings);
        Self { hub, helper, dir }
    }

    /// Another hub on the same helper, as after a restart; `database` is a file name.
    pub fn restarted(&self, database: &str) -> Arc<Hub> {
        self.restarted_with(database, |_| {})
    }

    /// The same with changed settings.
    pub fn restarted_with(&self, database: &str, change: impl FnOnce(&mut Settings)) -> Arc<Hub> {
        let mut settings = settings();
        change(&mut settings);
        hub_on(&self.dir.path().join(database), &self.helper, settings)
    }
}

fn hub_on(database: &Path, helper: &FakeHelper, settings: Settings) -> Arc<Hub> {
    let routes = if settings.subdomains.is_some() { Routes::by_host() } else { Routes::default() };
    Hub::new(Parts {
        settings,
        store: Store::open(database).expect("a database"),
        routes: Arc::new(routes),
        helper: HelperClient { socket: helper.socket(), timeout: Duration::from_secs(5) },
        accounts: Arc::new(Machine),
        clock: Arc::new(SystemClock),
        random: Arc::new(Counting),
    })
}

/// A machine on which everybody has an account but `nobody-here`, and `staff-` people are in the group `staff`.
struct Machine;

impl Accounts for Machine {
    fn groups(&self, account: &str) -> Option<Vec<String>> {
        let staff = account.starts_with("staff-").then(|| "staff".to_owned());
        self.exists(account).ok()?.then(|| staff.into_iter().chain(["users".to_owned()]).collect())
    }

    fn exists(&self, account: &str) -> std::io::Result<bool> {
        Ok(account != "nobody-here")
    }
}

/// A name.
pub(crate) fn user(name: &str) -> UserName {
    name.parse().expect("a user name")
}

/// A server's name.
pub(crate) fn server(name: &str) -> ServerName {
    name.parse().expect("a server name")
}

/// A request with a ticket that the fake helper accepts.
pub(crate) fn request(name: &str) -> StartRequest {
    StartRequest {
        user: user(name),
        server: server(""),
        session_id: None,
        ticket: Some(TICKET.to_owned().into()),
        user_options: None,
    }
}

/// Starts the default server of `name` and waits for the end of the start.
pub(crate) async fn started(hub: &Arc<Hub>, name: &str) -> State {
    hub.start_server(request(name)).await.expect("begun");
    hub.wait_server(&user(name), &server(""), SOON).await
}

/// Settings as a fresh installation has them, with the hub on 127.0.0.1:8081.
pub(crate) fn settings() -> Settings {
    Settings {
        base_url: "/".into(),
        hub_api_url: "http://127.0.0.1:8081/hub/api".into(),
        public_url: None,
        subdomains: None,
        cookie_secret: Zeroizing::new(vec![7; 32]),
        crypt_keys: hubd_store::CryptKeys::default(),
        cookie_max_age_days: 14.0,
        cookie_host_prefix: false,
        oauth_require_pkce: false,
        oauth_token_lifetime: Duration::from_secs(14 * 86400),
        activity_resolution: Duration::from_secs(30),
        active_user_window: Duration::from_secs(1800),
        default_url: None,
        redirect_to_server: true,
        admin_access: false,
        allow_named_servers: true,
        named_server_limit_per_user: 0,
        invalid_named_servers: InvalidNamedServers::AllowStart,
        token_expires_in_max_seconds: 0,
        concurrent_spawn_limit: 100,
        active_server_limit: 0,
        shutdown_on_logout: false,
        authenticate_prometheus: true,
        metrics_prefix: "jupyterhub".into(),
        spawn_buckets: Vec::new(),
        stop_buckets: Vec::new(),
        event_files: Vec::new(),
        api_page_default_limit: 50,
        api_page_max_limit: 200,
        template_vars: BTreeMap::new(),
        roles: RoleSettings::default(),
        groups: Vec::new(),
        custom_scopes: CustomScopes::default(),
        default_server_name: None,
        implicit_spawn_seconds: 0.0,
        legacy_stopped_status: false,
        template_paths: Vec::new(),
        logo_file: None,
        announcements_file: "/nonexistent/announcements.json".into(),
        authenticator: AuthenticatorSettings::everybody(AuthenticatorKind::Pam),
        culler: None,
        spawner: SpawnerSettings {
            hub_api_url: "http://127.0.0.1:8081/hub/api".into(),
            profile: None,
            socket: SocketKind::Unix,
            args: Vec::new(),
            environment: BTreeMap::new(),
            default_url: String::new(),
            notebook_dir: String::new(),
            debug: false,
            disable_user_config: false,
            options: Arc::new(SpawnOptions::default()),
            group_overrides: Arc::new([]),
            oauth_client_allowed_scopes: Vec::new(),
            oauth_roles: Vec::new(),
            server_token_scopes: Vec::new(),
            consecutive_failure_limit: 0,
            start_timeout: Duration::from_secs(60),
            http_timeout: Duration::from_secs(30),
        },
        services: ServiceSettings::default(),
        slow_spawn_timeout: Duration::from_secs(10),
        slow_stop_timeout: Duration::from_secs(10),
    }
}

/// The real time.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Different bytes each time, also for a second hub.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            *byte = (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ count as u8;
        }
    }
}
