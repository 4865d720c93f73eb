//! The rows that the configuration asks for, and those whose time is over.

use std::sync::Arc;
use std::time::Duration;

use hubd_proto::UserName;
use hubd_store::{ConfiguredUsers, MustHaveUserRole, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Hub;
use crate::login::Admitted;
use crate::settings::AuthenticatorKind;

/// Most names in one line of the log.
const NAMES_SHOWN: usize = 50;
/// How often activity is written: what a crash may lose of it.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(1);
/// How often expired tokens, codes and shares are deleted, as JupyterHub.
const PURGE_INTERVAL: Duration = Duration::from_secs(3600);

impl Hub {
    /// Makes the rows of roles, users, groups, services and tokens that the configuration names, gives and takes roles, takes the
    /// rights of blocked users, and deletes what has expired: in JupyterHub's order. For the start, before the
    /// first request.
    ///
    /// # Errors
    /// The database cannot be written, or a role is given to a service that there is not.
    pub fn prepare_records(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut new_cookie_id = || self.new_token();
        let rules = self.access.load();
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
        self.prepare_services()?;
        self.store.assign_roles(&roles.members, &user_role, &mut new_cookie_id, now)?;
        self.store.strip_users(&blocked)?;
        self.store.purge_expired(now)?;
        let missing = self.missing_oauth_roles()?;
        if !missing.is_empty() {
            tracing::error!(
                "Spawner.oauth_roles: no such role(s): {}; no server can start",
                missing.join(", ")
            );
        }
        self.look_at_server_names()
    }

    /// Makes the rows of users that changed rules name, and takes the rights of blocked ones. For a reload: roles that
    /// people were given since the start stay.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn prepare_people(&self) -> Result<(), StoreError> {
        let rules = self.access.load();
        let users = ConfiguredUsers {
            admins: rules.admin_users.iter().map(UserName::as_str).collect(),
            allowed: rules.allowed_users.iter().map(UserName::as_str).collect(),
        };
        let blocked: Vec<&str> = rules.blocked_users.iter().map(UserName::as_str).collect();
        self.store.configure_users(&users, &mut || self.new_token(), self.clock.now())?;
        self.store.strip_users(&blocked)
    }

    /// People who may log in only because the database knows them (`allow_existing_users`), by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn admitted_by_record(&self) -> Result<Vec<String>, StoreError> {
        let access = self.access.load_full();
        if access.allow_all || !access.allow_existing_users {
            return Ok(Vec::new());
        }
        let mut names = self.store.user_names()?;
        names.retain(|name| {
            UserName::new(name.clone()).is_ok_and(|user| {
                let groups = if access.allowed_groups.is_empty() { None } else { self.accounts.groups(name) };
                let groups = groups.unwrap_or_default().into_iter().collect();
                matches!(self.admitted(&access, &user, &groups), Ok(Admitted::ByRecord))
            })
        });
        Ok(names)
    }

    /// Looks for people in the database whose account is gone; with `delete_invalid_users` they are deleted, else they
    /// are named in the log. For a thread that may block: accounts may come from a directory server.
    pub fn check_accounts(&self) {
        let access = self.access.load_full();
        if !matches!(access.kind, AuthenticatorKind::Pam) {
            return;
        }
        let names = match self.store.user_names() {
            Ok(names) => names,
            Err(error) => return tracing::error!(%error, "cannot read the users"),
        };
        let mut gone = Vec::new();
        for name in names {
            match self.accounts.exists(&name) {
                Ok(true) => {}
                Ok(false) => gone.push(name),
                // A directory server that does not answer must not cost anybody their records.
                Err(error) => return tracing::warn!(%error, "cannot look up accounts; nobody is deleted"),
            }
        }
        if access.delete_invalid_users {
            gone.iter().for_each(|name| self.delete_invalid(name));
        } else if !gone.is_empty() {
            tracing::warn!(
                "users without an account on this machine: {}; set [Authenticator] delete_invalid_users = true to delete them",
                gone.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
    }

    fn delete_invalid(&self, name: &str) {
        tracing::warn!("Deleting invalid user {name} from the Hub database");
        let deleted = self
            .store
            .user(name)
            .and_then(|user| user.map_or(Ok(false), |user| self.store.delete_user(user.id)));
        if let Err(error) = deleted {
            tracing::error!(%error, "cannot delete a user");
        }
    }

    /// Writes every second who was seen, until `stop`, and once more then.
    async fn write_activity(&self, stop: &CancellationToken) {
        let mut is_told = false;
        loop {
            let ends = stop.run_until_cancelled(tokio::time::sleep(ACTIVITY_INTERVAL)).await.is_none();
            let store = Arc::clone(&self.store);
            let written = tokio::task::spawn_blocking(move || store.flush_activity()).await;
            match written {
                Ok(Err(error)) if !is_told => {
                    // Told once: a full disk would fill the log as well.
                    tracing::warn!(%error, "cannot note activity");
                    is_told = true;
                }
                Ok(Ok(())) => is_told = false,
                _ => {}
            }
            if ends {
                return;
            }
        }
    }

    /// Writes activity every second and deletes every hour what has expired, until `stop`.
    pub async fn tend_records(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.write_activity(&stop), self.purge_records(&stop));
    }

    /// Deletes every hour what has expired, until `stop`.
    async fn purge_records(&self, stop: &CancellationToken) {
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
    async fn who_gets_in_only_by_being_known_is_named() {
        let test = TestHub::with(|settings| {
            let access = &mut settings.authenticator;
            (access.allow_all, access.allow_existing_users) = (false, true);
            access.allowed_users = [user("alice")].into();
            access.allowed_groups = ["staff".to_owned()].into();
        })
        .await;
        for name in ["alice", "bob", "staff-carol"] {
            test.hub.store.ensure_user(name, name, test.hub.clock.now()).unwrap();
        }
        assert_eq!(test.hub.admitted_by_record().unwrap(), ["bob"]);
    }

    #[tokio::test]
    async fn users_without_an_account_are_deleted_only_if_that_is_wished() {
        for delete in [false, true] {
            let test = TestHub::with(|settings| settings.authenticator.delete_invalid_users = delete).await;
            for name in ["alice", "nobody-here"] {
                test.hub.store.ensure_user(name, name, test.hub.clock.now()).unwrap();
            }
            test.hub.check_accounts();
            assert!(test.hub.store.user("alice").unwrap().is_some());
            assert_eq!(test.hub.store.user("nobody-here").unwrap().is_none(), delete);
        }
    }

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
