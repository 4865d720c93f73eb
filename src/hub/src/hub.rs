//! The hub itself: one value that holds what handlers need.

use std::sync::Arc;

use hubd_proxy::Routes;
use hubd_store::{Memory, Store};

use crate::accounts::Accounts;
use crate::announcements::Announcements;
use crate::api::KeptModels;
use crate::auth::Holder;
use crate::auth::scopes::Held;
use crate::clock::{Clock, Random};
use crate::edge::Edge;
use crate::ending::Ending;
use crate::helper::HelperClient;
use crate::login::Logins;
use crate::metrics::Metrics;
use crate::others::Looked;
use crate::pages::Templates;
use crate::servers::Servers;
use crate::services::Services;
use crate::settings::{AuthenticatorSettings, Settings};

/// The version of JupyterHub whose protocols the hub speaks; sent as `X-JupyterHub-Version`.
pub const JUPYTERHUB_VERSION: &str = "6.1.1";

/// Everything the hub holds. Handlers get it as `Arc<Hub>`.
pub struct Hub {
    /// What the operator decided.
    pub settings: Settings,
    /// Who may log in and how; exchanged by a reload.
    pub access: arc_swap::ArcSwap<AuthenticatorSettings>,
    /// The machine's accounts and groups.
    pub accounts: Arc<dyn Accounts>,
    /// The database.
    pub store: Arc<Store>,
    /// Where requests for user servers go; shared with the proxy.
    pub routes: Arc<Routes>,
    /// Whose tokens were used a moment ago, and what they may do; by the token's key.
    pub(crate) holders: Memory<i64, (Holder, Arc<Held>)>,
    /// The way to the root helper.
    pub helper: HelperClient,
    /// Logins in progress and logins whose PAM handle is still held.
    pub logins: Logins,
    /// What runs, starts and stops.
    pub servers: Servers,
    /// Programs beside the hub.
    pub services: Services,
    /// The pages' templates.
    pub templates: Templates,
    /// What everybody is told on every page.
    pub announcements: Announcements,
    /// What is measured.
    pub metrics: Metrics,
    /// What is kept for servers that hubd itself guards.
    pub(crate) edge: Edge,
    /// When it was looked for changes of the database by others.
    pub(crate) looked: Looked,
    /// Models of users as they were made last.
    pub(crate) models: KeptModels,
    /// The end of the daemon.
    pub ending: Ending,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

/// What is handed to [`Hub::new`].
pub struct Parts {
    /// What the operator decided.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// The proxy's route table.
    pub routes: Arc<Routes>,
    /// The way to the root helper.
    pub helper: HelperClient,
    /// The machine's accounts and groups.
    pub accounts: Arc<dyn Accounts>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

impl Hub {
    /// Puts the hub together. Nothing runs yet: call [`Hub::adopt`] before the first request.
    pub fn new(parts: Parts) -> Arc<Self> {
        let templates = Templates::new(&parts.settings.template_paths);
        let metrics = Metrics::new(&parts.settings.spawn_buckets, &parts.settings.stop_buckets);
        Arc::new(Self {
            access: arc_swap::ArcSwap::from_pointee(parts.settings.authenticator.clone()),
            accounts: parts.accounts,
            settings: parts.settings,
            store: Arc::new(parts.store),
            routes: parts.routes,
            holders: Memory::default(),
            helper: parts.helper,
            logins: Logins::default(),
            servers: Servers::default(),
            services: Services::default(),
            templates,
            announcements: Announcements::default(),
            metrics,
            edge: Edge::default(),
            looked: Looked::default(),
            models: KeptModels::default(),
            ending: Ending::default(),
            clock: parts.clock,
            random: parts.random,
        })
    }

    /// 32 lower-case hex digits, as JupyterHub's `new_token`.
    pub fn new_token(&self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
