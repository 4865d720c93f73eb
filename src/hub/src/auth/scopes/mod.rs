//! What somebody may do.
//!
//! A scope is `name` or `name!kind=value`. Raw scopes, as roles and tokens store them, are expanded for their
//! owner ([`expand`]), then held as a set; [`Access`] tells whether a set allows something, [`intersect`]
//! what two sets have in common.

mod check;
mod custom;
mod expand;
mod intersect;
mod table;

use std::collections::BTreeSet;

use hubd_proto::UserName;
use hubd_store::{ApiToken, OAuthClient, Store, StoreError, User};

pub(crate) use check::filters;
pub use check::{Access, Target, access};
pub use custom::{CustomScope, CustomScopes};
pub use expand::{ClientOf, Owner, UnknownScope, expand, known};
pub use intersect::{Membership, intersect, resolve_requested};
pub use table::{SCOPES, Scope, find, is_custom};

use super::{Browser, CallerKind};
use crate::Hub;

/// Expanded scopes.
pub type Held = BTreeSet<String>;

/// What somebody may do, and for how long that is known.
pub(crate) struct Scoped {
    /// Expanded scopes.
    pub scopes: Held,
    /// Whether they hold until somebody writes to the database. Those of shares do not: shares end by themselves.
    pub lasting: bool,
}

/// The client of ordinary API tokens: it gives no access of its own.
const PLAIN_CLIENT: &str = "jupyterhub";

impl Membership for Store {
    fn user_in(&self, user: &str, group: &str) -> bool {
        match self.groups_of(user) {
            Ok(groups) => groups.iter().any(|found| found == group),
            Err(error) => {
                tracing::error!(%error, "cannot look up groups");
                false
            }
        }
    }
}

impl Hub {
    /// Whether the person may see or use `owner`'s server `server` (`scope` is for instance `access:servers` or
    /// `servers`): own, by scope, group or share.
    pub fn may(&self, browser: &Browser, scope: &str, owner: &UserName, server: &str) -> bool {
        let held = match self.scopes_of_user(&browser.user) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(%error, "cannot look up what a person may do");
                return false;
            }
        };
        let target = Target::Server(owner.as_str(), server);
        access(&held, scope, target, self.store.as_ref()) == Access::Allowed
    }

    /// Expanded scopes of a person: roles, roles of groups, and shares.
    pub fn scopes_of_user(&self, user: &User) -> Result<Held, StoreError> {
        Ok(self.scoped_user(user)?.scopes)
    }

    /// The same, with how long it is known.
    pub(crate) fn scoped_user(&self, user: &User) -> Result<Scoped, StoreError> {
        let owner = Owner::User(&user.name);
        let mut raw = self.store.role_scopes_of_user(user.id)?;
        let now = self.clock.now();
        let mut shared = self.store.shared_with_user(user.id, now)?;
        shared.extend(self.store.shared_with_groups_of(user.id, now)?);
        let lasting = shared.is_empty();
        raw.extend(shared);
        Ok(Scoped { scopes: expand(&self.settings.custom_scopes.with_subscopes(raw), owner, None), lasting })
    }

    /// Expanded scopes of a token: what it was given, as far as its owner still has it.
    pub(crate) fn scopes_of_token(&self, token: &ApiToken, kind: &CallerKind) -> Result<Scoped, StoreError> {
        let (owner, held) = match kind {
            CallerKind::User(user) => (Owner::User(&user.name), self.scoped_user(user)?),
            CallerKind::Service(service) => {
                let owner = Owner::Service(&service.name);
                let raw = self.store.role_scopes_of_service(service.id)?;
                let scopes = expand(&self.settings.custom_scopes.with_subscopes(raw), owner, None);
                (owner, Scoped { scopes, lasting: true })
            }
        };
        if token.scopes.iter().any(|scope| scope == "inherit") {
            return Ok(held);
        }
        let client = match token.client_id.as_deref() {
            None | Some(PLAIN_CLIENT) => None,
            Some(client_id) => self.store.oauth_client(client_id)?,
        };
        let mut raw = token.scopes.clone();
        raw.extend(owner.identify_scopes());
        raw.extend(client.as_ref().and_then(access_scope));
        let raw = self.settings.custom_scopes.with_subscopes(raw);
        let given = expand(&raw, owner, client.as_ref().and_then(client_of));
        Ok(Scoped { scopes: intersect(&given, &held.scopes, self.store.as_ref()), lasting: held.lasting })
    }
}

/// The scope that lets somebody use the server or service of an OAuth client.
pub fn access_scope(client: &OAuthClient) -> Option<String> {
    match client_of(client)? {
        ClientOf::Server(user, server) => Some(format!("access:servers!server={user}/{server}")),
        ClientOf::Service(service) => Some(format!("access:services!service={service}")),
    }
}

/// Whose client it is.
pub fn client_of(client: &OAuthClient) -> Option<ClientOf<'_>> {
    match (&client.server, &client.service) {
        (Some((user, server)), _) => Some(ClientOf::Server(user, server)),
        (None, Some(service)) => Some(ClientOf::Service(service)),
        (None, None) => None,
    }
}
