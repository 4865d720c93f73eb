//! Whether services with a URL answer. Nobody waits for it: a dead service is a line in the log.

use std::sync::Arc;
use std::time::Duration;

use hubd_proxy::{BackendFailure, Endpoint, Target, TargetTls, probe_service};
use tokio::time::{Instant, sleep};

use super::spec::Spec;
use crate::Hub;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(500);

impl Hub {
    /// Says when a service that was just added or started answers, or that it does not in its time.
    pub(super) fn watch_for_first_answer(self: &Arc<Self>, spec: &Spec, uid: Option<u32>) {
        let Some(endpoint) = spec.endpoint.clone() else { return };
        let (spec, path) = (spec.clone(), self.service_path(&spec.name));
        let stop = self.services.stop.clone();
        let tls = self.settings.services.target_tls.clone();
        self.services.tasks.spawn(async move {
            let target = Target { endpoint, uid };
            let limit = Duration::from_secs(spec.timeout_seconds.unsigned_abs());
            let answers = answers(&target, tls.as_ref(), &path, limit);
            let Some(answers) = stop.run_until_cancelled(answers).await else { return };
            let (name, url) = (&spec.name, spec.url.as_deref().unwrap_or_default());
            match answers {
                true => tracing::debug!("{} service {name} running at {url}", spec.kind()),
                false if spec.is_managed() => {
                    tracing::error!("Cannot connect to managed service {name} at {url}");
                }
                false => {
                    tracing::warn!("Cannot connect to external service {name} at {url}. Is it running?");
                }
            }
        });
    }

    /// Asks every service with a URL again and again, as `service_check_interval` says.
    pub(super) async fn check_services(self: Arc<Self>, interval: Duration) {
        let stop = self.services.stop.clone();
        while stop.run_until_cancelled(sleep(interval)).await.is_some() {
            for spec in &self.settings.services.specs {
                let Some(target) = self.target_of(spec) else { continue };
                let path = self.service_path(&spec.name);
                let limit = Duration::from_secs(spec.timeout_seconds.unsigned_abs());
                let url = spec.url.as_deref().unwrap_or_default();
                let tls = self.settings.services.target_tls.as_ref();
                match stop.run_until_cancelled(answers(&target, tls, &path, limit)).await {
                    None => return,
                    Some(true) => tracing::debug!("{} service {} running at {url}", spec.kind(), spec.name),
                    Some(false) => {
                        tracing::warn!("Cannot connect to {} service {} at {url}", spec.kind(), spec.name);
                    }
                }
            }
        }
    }

    fn target_of(&self, spec: &Spec) -> Option<Target> {
        if !spec.is_managed() {
            return Some(Target { endpoint: spec.endpoint.clone()?, uid: None });
        }
        let managed = self.services.lock().get(&spec.name).cloned()?;
        let (endpoint, uid): (Endpoint, u32) = managed.target()?;
        Some(Target { endpoint, uid: Some(uid) })
    }
}

/// Whether something that is no error of the server comes back within `limit`.
async fn answers(target: &Target, tls: Option<&TargetTls>, path: &str, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match probe_service(target, tls, path, ANSWER_LIMIT).await {
            Ok(answer) if !answer.status.is_server_error() => return true,
            Err(BackendFailure::WrongPeer) => return false,
            _ if Instant::now() >= until => return false,
            _ => sleep(PAUSE).await,
        }
    }
}
