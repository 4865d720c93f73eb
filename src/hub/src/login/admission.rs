//! Whom the hub's own rules let in, once the authenticator has accepted somebody, and what they become.

use std::collections::BTreeSet;
use std::sync::Arc;

use hubd_proto::UserName;
use hubd_proto::message::Revocation;

use super::{LoggedIn, LoginRefused, LoginStep, quoted};
use crate::Hub;
use crate::settings::{AuthenticatorKind, AuthenticatorSettings};

/// By which rule somebody may use the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// `allow_all`, `allowed_users`, `admin_users` or `allowed_groups`.
    ByRule,
    /// Only because the database knows them (`allow_existing_users`).
    ByRecord,
    /// By none.
    No,
}

impl Hub {
    /// The last word of a login that the authenticator accepted under `account`: the hub's own lists.
    pub(super) async fn accepted(self: &Arc<Self>, mut login: LoggedIn) -> LoginStep {
        let access = self.access.load_full();
        let account = login.user.clone();
        let Some(user) = access.hub_name(account.as_str()) else {
            tracing::warn!("Disallowing invalid username {}.", quoted(account.as_str()));
            self.give_back(&mut login, &account);
            return self.refused(account.as_str(), LoginRefused::not_allowed());
        };
        if user != account {
            // Ticket and PAM handle are good for the account alone, and the helper would refuse them for another.
            self.give_back(&mut login, &account);
            login.user = user;
        }
        let groups = self.system_groups(&access, &account).await;
        match self.admitted(&access, &login.user, &groups) {
            Ok(Admitted::ByRule | Admitted::ByRecord) => {
                login.admin = login.admin.or_else(|| admin(&access, &login.user, &groups));
                if access.manage_groups && login.groups.is_none() {
                    login.groups = Some(groups.into_iter().collect());
                }
                return LoginStep::Done(login);
            }
            Ok(Admitted::No) => tracing::warn!("User {} not allowed.", quoted(login.user.as_str())),
            Err(error) => return self.refused(login.user.as_str(), LoginRefused::database(&error)),
        }
        self.give_back(&mut login, &account);
        self.refused(login.user.as_str(), LoginRefused::not_allowed())
    }

    /// Nobody will ever hold this ticket, but one less is one less to guess.
    fn give_back(self: &Arc<Self>, login: &mut LoggedIn, account: &UserName) {
        login.held = None;
        if let Some((ticket, _)) = login.ticket.take() {
            let (hub, account) = (Arc::clone(self), account.clone());
            tokio::spawn(async move { hub.end_login("", &account, Some(ticket), Revocation::This).await });
        }
    }

    /// The groups of the machine that an account is in, if a rule asks for them.
    async fn system_groups(&self, access: &AuthenticatorSettings, account: &UserName) -> BTreeSet<String> {
        let local = matches!(access.kind, AuthenticatorKind::Pam);
        let asked =
            access.manage_groups || !access.allowed_groups.is_empty() || !access.admin_groups.is_empty();
        if !local || !asked {
            return BTreeSet::new();
        }
        let (accounts, name) = (self.accounts.clone(), account.clone());
        let found = tokio::task::spawn_blocking(move || accounts.groups(name.as_str())).await;
        found.ok().flatten().unwrap_or_default().into_iter().collect()
    }

    /// By which rule `user` may use the hub, in JupyterHub's order: blocked, allowed, existing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn admitted(
        &self,
        access: &AuthenticatorSettings,
        user: &UserName,
        groups: &BTreeSet<String>,
    ) -> Result<Admitted, hubd_store::StoreError> {
        if access.blocked_users.contains(user) {
            tracing::warn!("User {} blocked. Stop authentication", quoted(user.as_str()));
            return Ok(Admitted::No);
        }
        if access.allow_all
            || access.allowed_users.contains(user)
            || access.admin_users.contains(user)
            || !access.allowed_groups.is_disjoint(groups)
        {
            return Ok(Admitted::ByRule);
        }
        let known = access.allow_existing_users && self.store.user(user.as_str())?.is_some();
        Ok(if known { Admitted::ByRecord } else { Admitted::No })
    }
}

/// Whether the login makes or unmakes an admin. `admin_groups` decides alone when it is set; `admin_users` only grants.
fn admin(access: &AuthenticatorSettings, user: &UserName, groups: &BTreeSet<String>) -> Option<bool> {
    if access.admin_users.contains(user) {
        Some(true)
    } else if access.admin_groups.is_empty() {
        None
    } else {
        Some(!access.admin_groups.is_disjoint(groups))
    }
}
