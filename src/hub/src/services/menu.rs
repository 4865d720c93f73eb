//! The services that a page may list.

use hubd_store::StoreError;
use serde::Serialize;

use crate::Hub;
use crate::auth::scopes::{Access, Held, Target, access};

/// A service in a menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceLink {
    /// Its name.
    pub name: String,
    /// Where it is, for a link.
    pub href: String,
    /// Its path.
    pub prefix: String,
}

impl Hub {
    /// The services with a URL that are to be listed and that `held` lets somebody use, in JupyterHub's order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn services_for(&self, held: &Held) -> Result<Vec<ServiceLink>, StoreError> {
        let all = self.store.services()?.into_iter();
        let listed = all.filter(|service| service.url.is_some() && service.display != Some(false));
        let allowed = listed.filter(|service| {
            let target = Target::Service(&service.name);
            access(held, "access:services", target, self.store.as_ref()) == Access::Allowed
        });
        let hosts = self.settings.subdomains.as_ref();
        let link = |name: String| {
            let origin = hosts.map(|hosts| hosts.origin_of_service(&name)).unwrap_or_default();
            let prefix = self.service_path(&name);
            ServiceLink { href: format!("{origin}{prefix}"), prefix, name }
        };
        Ok(allowed.map(|service| link(service.name)).collect())
    }
}
