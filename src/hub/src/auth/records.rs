//! The rows that the configuration asks for, and those whose time is over.

use std::sync::Arc;
use std::time::Duration;

use hubd_proto::UserName;
use hubd_store::{ConfiguredUsers, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Hub;

/// How often expired tokens, codes and shares are deleted, as JupyterHub.
const PURGE_INTERVAL: Duration = Duration::from_secs(3600);

impl Hub {
    /// Makes the rows of users that the configuration names, takes the rights of blocked ones, and deletes
    /// what has expired. For the start, before the first request.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn prepare_records(&self) -> Result<(), StoreError> {
        let rules = &self.settings.authenticator;
        let users = ConfiguredUsers {
            admins: rules.admin_users.iter().map(UserName::as_str).collect(),
            allowed: rules.allowed_users.iter().map(UserName::as_str).collect(),
            blocked: rules.blocked_users.iter().map(UserName::as_str).collect(),
        };
        let now = self.clock.now();
        self.store.configure_users(&users, &mut || self.new_token(), now)?;
        self.store.purge_expired(now)?;
        Ok(())
    }

    /// Deletes every hour what has expired, until `stop`.
    pub async fn purge_records(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PURGE_INTERVAL)).await.is_some() {
            if let Err(error) = self.store.purge_expired(self.clock.now()) {
                tracing::warn!(%error, "cannot delete expired records");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::test_support::{TestHub, user};

    #[tokio::test]
    async fn configured_admins_exist_and_blocked_ones_have_no_rights() {
        let test = TestHub::with(|settings| {
            settings.authenticator.admin_users = [user("root1"), user("mallory")].into();
            settings.authenticator.blocked_users = [user("mallory")].into();
        })
        .await;
        test.hub.prepare_records().unwrap();
        assert!(test.hub.store.user("root1").unwrap().is_some_and(|row| row.admin));
        let mallory = test.hub.store.user("mallory").unwrap().unwrap();
        assert!(!mallory.admin && mallory.roles.is_empty());
    }
}
