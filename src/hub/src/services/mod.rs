//! Services: programs beside the hub that use its API and its logins.
//!
//! What the configuration says is read in `spec.rs` and brought into the database in `records.rs`. An external
//! service is a route; a managed one also a program, which `managed.rs` starts through the helper and stays
//! with. Nothing here holds up the hub's own start.

mod environment;
mod fields;
mod health;
mod managed;
mod menu;
mod records;
mod runtime;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubd_proto::{Secret, SessionId};
use hubd_proxy::{Endpoint, RouteData, Target, TargetTls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Hub;
use crate::pages::urls;
use crate::servers;
pub use menu::ServiceLink;
pub use runtime::AddError;
pub use spec::{Spec, SpecError, token_is_good};

use managed::Managed;

/// What the configuration says of services and of tokens.
#[derive(Clone, Default)]
pub struct ServiceSettings {
    /// `JupyterHub.services`.
    pub specs: Vec<Spec>,
    /// `JupyterHub.service_tokens`: token and name.
    pub service_tokens: Vec<(Secret, String)>,
    /// `JupyterHub.api_tokens`: token and name of a user.
    pub user_tokens: Vec<(Secret, String)>,
    /// `JupyterHub.trust_user_provided_tokens`: they are random enough not to be hashed thousands of times.
    pub trust_tokens: bool,
    /// `JupyterHub.service_check_interval`; `None` is never.
    pub check_interval: Option<Duration>,
    /// How services with `https://` are spoken to; without it they do not answer.
    pub target_tls: Option<TargetTls>,
}

/// The managed services, and what runs for services.
#[derive(Default)]
pub struct Services {
    managed: Mutex<BTreeMap<String, Arc<Managed>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Services {
    /// The process of a managed service; 0 for others and while it does not run, as in JupyterHub's model.
    pub fn pid(&self, name: &str) -> i32 {
        self.lock().get(name).map_or(0, |managed| managed.pid())
    }

    /// The sessions that managed services run in.
    pub(crate) fn sessions(&self) -> HashSet<SessionId> {
        self.lock().values().filter_map(|managed| managed.session()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Managed>>> {
        // Each entry stands for itself, so a panic elsewhere leaves nothing half done.
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Routes external services, takes managed ones back that run, and starts the others. Waits for nobody.
    pub fn begin_services(self: &Arc<Self>) {
        for spec in self.settings.services.specs.iter().filter(|spec| !spec.is_managed()) {
            self.begin_external(spec);
        }
        self.begin_added();
        let hub = Arc::clone(self);
        self.services.tasks.spawn(async move { hub.begin_managed().await });
        if let Some(interval) = self.settings.services.check_interval {
            let hub = Arc::clone(self);
            self.services.tasks.spawn(async move { hub.check_services(interval).await });
        }
    }

    async fn begin_managed(self: Arc<Self>) {
        let mut running: BTreeMap<String, _> = servers::running_services(&self)
            .await
            .into_iter()
            .map(|session| (session.0.server.as_str().to_owned(), session))
            .collect();
        for spec in self.settings.services.specs.iter().filter(|spec| spec.is_managed()) {
            let managed = Arc::new(Managed::new(spec.clone()));
            self.services.lock().insert(spec.name.clone(), Arc::clone(&managed));
            let (found, stop) = (running.remove(&spec.name), self.services.stop.clone());
            self.services.tasks.spawn(managed::run(Arc::clone(&self), managed, found, stop));
        }
        for (name, (_, control)) in running {
            tracing::warn!("Service {name} still runs and is not configured any more, it is stopped");
            self.services.tasks.spawn(managed::end(control));
        }
    }

    /// Ends what runs for services, the managed ones too with `stop_managed`; each for at most `limit`.
    pub async fn end_services(self: &Arc<Self>, stop_managed: bool, limit: Duration) {
        let managed = self.services.lock().len();
        self.services.tasks.close();
        if !stop_managed {
            return;
        }
        if managed > 0 {
            tracing::info!("Cleaning up {managed} services...");
        }
        self.services.stop.cancel();
        if tokio::time::timeout(limit, self.services.tasks.wait()).await.is_err() {
            tracing::warn!("services did not end within {} seconds", limit.as_secs());
        }
    }

    /// Leads requests to a service. `uid` is whose socket that must be, where it is known.
    fn route_service(&self, name: &str, endpoint: &Endpoint, uid: Option<u32>) {
        let prefix = self.service_route(name);
        tracing::info!("Adding service {name} to proxy {prefix} => {}", shown(endpoint));
        let data = RouteData::default().with("service", name).with("jupyterhub", true);
        self.routes.add_with(&prefix, Target { endpoint: endpoint.clone(), uid }, data);
    }

    /// The prefix of a service's route: its path, behind its host where services have hosts of their own.
    fn service_route(&self, name: &str) -> String {
        let host = self.settings.subdomains.as_ref().map(|hosts| hosts.host_of_service(name));
        let host = host.map(|host| format!("/{host}")).unwrap_or_default();
        format!("{host}{}", self.service_path(name))
    }

    /// The path of a service: `/services/NAME/`.
    pub(crate) fn service_path(&self, name: &str) -> String {
        spec::prefix(&self.settings.base_url, &urls::segment(name))
    }
}

/// An endpoint in words for the log.
fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Name(name, port) => format!("http://{name}:{port}"),
        Endpoint::Tls(name, port) => format!("https://{name}:{port}"),
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
    }
}
