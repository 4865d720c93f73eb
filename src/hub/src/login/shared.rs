//! Logins without PAM: `dummy`, `shared-password` and `null`. None of them protects people from each other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hubd_proto::{Secret, UserName};

use super::{LoggedIn, LoginRefused, LoginStep};
use crate::Hub;
use crate::settings::{AuthenticatorSettings, SharedPasswords};

/// How long a wrong shared password takes, as PAM's: guessing has to be slow.
const WRONG_PASSWORD_DELAY: Duration = Duration::from_secs(2);

impl Hub {
    /// A login under any name, with one password for all or none.
    pub(super) async fn dummy_login(
        self: &Arc<Self>,
        name: UserName,
        password: &Secret,
        wanted: Option<&Secret>,
    ) -> LoginStep {
        if wanted.is_none_or(|wanted| wanted.same_as(password)) {
            self.accepted(LoggedIn::without_ticket(name)).await
        } else {
            self.refused(name.as_str(), LoginRefused::uniform())
        }
    }

    /// A login with one of the shared passwords.
    pub(super) async fn shared_login(
        self: &Arc<Self>,
        name: UserName,
        password: &Secret,
        source: IpAddr,
    ) -> LoginStep {
        let access = self.access.load_full();
        let crate::settings::AuthenticatorKind::Shared(passwords) = &access.kind else {
            return self.refused(name.as_str(), LoginRefused::uniform());
        };
        let Some(_slot) = self.logins.slot(source).await else {
            return self.refused(name.as_str(), LoginRefused::too_many());
        };
        match accepted(&access, passwords, &name, password) {
            Some(login) => self.accepted(login).await,
            None => {
                tokio::time::sleep(WRONG_PASSWORD_DELAY).await;
                self.refused(name.as_str(), LoginRefused::uniform())
            }
        }
    }
}

/// JupyterHub's rules: admins have a password of their own, and no other one lets them in.
fn accepted(
    access: &AuthenticatorSettings,
    passwords: &SharedPasswords,
    name: &UserName,
    password: &Secret,
) -> Option<LoggedIn> {
    let is = |wanted: &Option<Secret>| wanted.as_ref().is_some_and(|wanted| wanted.same_as(password));
    let user = access.hub_name(name.as_str())?;
    let mut login = LoggedIn::without_ticket(name.clone());
    let groups = if access.admin_users.contains(&user) {
        login.admin = Some(true);
        is(&passwords.admin).then(Vec::new)?
    } else if is(&passwords.user) {
        login.admin = Some(false);
        Vec::new()
    } else {
        passwords.groups.iter().find(|(wanted, _)| wanted.same_as(password))?.1.clone()
    };
    login.groups = access.manage_groups.then_some(groups);
    Some(login)
}
