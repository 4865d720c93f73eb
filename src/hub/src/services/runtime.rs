//! Services that the API adds and removes while the hub runs. They are external ones.

use std::sync::Arc;

use hubd_store::{ServiceWritten, StoreError};

use super::spec::{self, Spec};
use crate::Hub;

/// Why a service was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is one of this name.
    #[error("there is a service of this name")]
    Exists,
    /// Another one has this OAuth client.
    #[error("its oauth_client_id is somebody else's")]
    Client,
}

impl Hub {
    /// Adds a service for good: its rows, its token, its route.
    ///
    /// # Errors
    /// It exists, or the database cannot be written.
    pub fn add_service(self: &Arc<Self>, spec: &Spec) -> Result<(), AddError> {
        let client = if spec.uses_oauth() { self.store.oauth_client(&spec.client_id())? } else { None };
        if client.is_some_and(|client| client.service.as_ref() != Some(&spec.name)) {
            // Its secret would be replaced, and logins meant for its owner would come here.
            return Err(AddError::Client);
        }
        if self.write_service(spec, false)? == ServiceWritten::Foreign {
            return Err(AddError::Exists);
        }
        if let Some(token) = &spec.api_token {
            self.add_service_token(token, &spec.name)?;
        }
        self.begin_external(spec);
        Ok(())
    }

    /// Removes a service that the API added; says whether there was one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn remove_service(&self, name: &str) -> Result<bool, StoreError> {
        let removed = self.store.delete_service(name)?;
        if self.routes.remove(&self.service_route(name)) {
            tracing::info!("Removing service {name} from proxy");
        }
        Ok(removed)
    }

    /// Routes an external service and finds out, without waiting, whether it answers.
    pub(super) fn begin_external(self: &Arc<Self>, spec: &Spec) {
        let place = spec.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        tracing::info!("Adding external service {}{place}", spec.name);
        if let Some(endpoint) = &spec.endpoint {
            self.route_service(&spec.name, endpoint, None);
            self.watch_for_first_answer(spec, None);
        }
    }

    /// Routes the services that the API added before this start.
    pub(super) fn begin_added(&self) {
        let rows = self.store.services().unwrap_or_else(|error| {
            tracing::error!("cannot read the services that the API added: {error}");
            Vec::new()
        });
        for service in rows.into_iter().filter(|service| !service.from_config) {
            let client = service.client_id.as_ref().map(|id| format!("with oauth_client_id={id}"));
            let oauth = client.unwrap_or_else(|| "without oauth".to_owned());
            tracing::info!("Loaded service {} from database {oauth}.", service.name);
            match service.url.as_deref().map(spec::endpoint) {
                Some(Ok(endpoint)) => self.route_service(&service.name, &endpoint, None),
                Some(Err(error)) => tracing::error!("service {}: {error}", service.name),
                None => {}
            }
        }
    }
}
