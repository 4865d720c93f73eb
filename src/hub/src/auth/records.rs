//! The rows that the configuration asks for, and those whose time is over.

use std::sync::Arc;
use std::time::Duration;

use hubd_proto::UserName;
use hubd_store::{ConfiguredUsers, MustHaveUserRole, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Hub;

/// How often expired tokens, codes and shares are deleted, as JupyterHub.
const PURGE_INTERVAL: Duration = Duration::from_secs(3600);

impl Hub {
    /// Makes the rows of roles, users and groups that the configuration names, gives and takes roles, takes the
    /// rights of blocked users, and deletes what has expired: in JupyterHub's order. For the start, before the
    /// first request.
    ///
    /// # Errors
    /// The database cannot be written, or a role is given to a service that there is not.
    pub fn prepare_records(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut new_cookie_id = || self.new_token();
        let rules = &self.settings.authenticator;
        let roles = &self.settings.roles;
        let users = ConfiguredUsers {
            admins: rules.admin_users.iter().map(UserName::as_str).collect(),
            allowed: rules.allowed_users.iter().map(UserName::as_str).collect(),
        };
        let user_role = MustHaveUserRole {
            named: rules.allowed_users.iter().map(ToString::to_string).collect(),
            everybody: !rules.allowed_users.is_empty() && rules.allow_existing_users,
        };
        let blocked: Vec<&str> = rules.blocked_users.iter().map(UserName::as_str).collect();

        self.store.define_roles(&roles.defaults, &roles.configured)?;
        self.store.configure_users(&users, &mut new_cookie_id, now)?;
        self.store.load_groups(&self.settings.groups, &mut new_cookie_id, now)?;
        self.store.assign_roles(&roles.members, &user_role, &mut new_cookie_id, now)?;
        self.store.strip_users(&blocked)?;
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
    use hubd_store::{ConfiguredGroup, RoleDefinition, RoleMembers};

    use crate::auth::scopes::CustomScope;
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
    #[tokio::test]
    async fn roles_of_the_configuration_give_their_scopes_and_those_that_they_contain() {
        let test = TestHub::with(|settings| {
            let scope = |subscopes: &[&str]| CustomScope {
                description: "x".into(),
                subscopes: subscopes.iter().map(|name| (*name).to_owned()).collect(),
            };
            settings.custom_scopes.0.insert("custom:lab:all".into(), scope(&["custom:lab:read"]));
            settings.custom_scopes.0.insert("custom:lab:read".into(), scope(&[]));
            settings.roles.configured = vec![RoleDefinition {
                name: "teacher".into(),
                description: None,
                scopes: vec!["custom:lab:all".into(), "read:hub".into()],
            }];
            settings.roles.members = vec![RoleMembers {
                role: "teacher".into(),
                groups: Some(vec!["teachers".into()]),
                ..RoleMembers::default()
            }];
            settings.groups = vec![ConfiguredGroup {
                name: "teachers".into(),
                users: vec!["ann".into()],
                properties: None,
            }];
        })
        .await;
        test.hub.prepare_records().unwrap();
        let ann = test.hub.store.user("ann").unwrap().unwrap();
        let held = test.hub.scopes_of_user(&ann).unwrap();
        for scope in ["custom:lab:all", "custom:lab:read", "read:hub", "access:servers!user=ann"] {
            assert!(held.contains(scope), "{scope}: {held:?}");
        }
    }
}
