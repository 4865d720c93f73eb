//! What a server's own token may do, and what a server may ask its visitors for.

use std::collections::BTreeSet;

use hubd_store::StoreError;

use super::names::Which;
use crate::Hub;
use crate::auth::scopes::{Owner, resolve_requested};
use crate::settings::SpawnerSettings;

/// What a server's token always may: without it nobody knows whether the server is idle.
const ACTIVITY: &str = "users:activity!user";

impl Hub {
    /// The settings for a server, with those of its owner's groups.
    pub(super) fn spawner_of(&self, which: &Which) -> SpawnerSettings {
        let spawner = &self.settings.spawner;
        if spawner.group_overrides.is_empty() {
            return spawner.clone();
        }
        let groups = self.store.groups_of(which.user.as_str()).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look up the groups of {}", which.user);
            Vec::new()
        });
        spawner.for_groups(&groups).into_owned()
    }

    /// What a server's token is to have: `server_token_scopes`, or the scopes of the role `server`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn wanted_token_scopes(&self, which: &Which) -> Result<BTreeSet<String>, StoreError> {
        let configured = &self.settings.spawner.server_token_scopes;
        let wanted = match configured.is_empty() {
            true => self.store.role_scopes("server")?.unwrap_or_default(),
            false => configured.clone(),
        };
        let (user, server) = (which.user.as_str(), which.server.as_str());
        // The token belongs to no server, so `!server` means something only here.
        let resolved = |scope: String| match scope.ends_with("!server") {
            true => format!("{scope}={user}/{server}"),
            false => scope,
        };
        let mut wanted: BTreeSet<String> = wanted.into_iter().map(resolved).collect();
        if ![ACTIVITY, "users:activity", "inherit"].iter().any(|scope| wanted.contains(*scope)) {
            tracing::warn!(
                "Adding required scope {ACTIVITY} to server token, missing from Spawner.server_token_scopes. Please make sure to add it!"
            );
            wanted.insert(ACTIVITY.to_owned());
        }
        Ok(wanted)
    }

    /// The same, as far as the owner has them: what is written with a new token.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn server_token_scopes(&self, which: &Which) -> Result<Vec<String>, StoreError> {
        let wanted = self.wanted_token_scopes(which)?;
        let user = which.user.as_str();
        let row = self.store.user(user)?;
        let held = row.map(|row| self.store.role_scopes_of_user(row.id)).transpose()?.unwrap_or_default();
        let mut held: BTreeSet<String> = held.into_iter().collect();
        held.insert("inherit".to_owned());
        let (granted, refused) =
            resolve_requested(&wanted, &held, Owner::User(user), None, self.store.as_ref());
        if !refused.is_empty() {
            tracing::debug!(
                "Not assigning requested scopes for {which}: requested={wanted:?}, assigned={granted:?}, excluded={refused:?}"
            );
        }
        Ok(granted.into_iter().collect())
    }

    /// Roles of `oauth_roles` that there are not; no server can start then.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn missing_oauth_roles(&self) -> Result<Vec<String>, StoreError> {
        let spawner = &self.settings.spawner;
        let mut missing = Vec::new();
        if spawner.oauth_client_allowed_scopes.is_empty() {
            for role in &spawner.oauth_roles {
                if self.store.role_scopes(role)?.is_none() {
                    missing.push(role.clone());
                }
            }
        }
        Ok(missing)
    }

    /// The scopes that a server's OAuth client may ask for.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn client_scopes(&self, which: &Which) -> Result<Vec<String>, StoreError> {
        let spawner = &self.settings.spawner;
        let mut scopes: BTreeSet<String> = spawner.oauth_client_allowed_scopes.iter().cloned().collect();
        if !scopes.is_empty() && !spawner.oauth_roles.is_empty() {
            tracing::warn!(
                "Ignoring deprecated Spawner.oauth_roles={:?} in favor of Spawner.oauth_client_allowed_scopes.",
                spawner.oauth_roles
            );
        } else {
            for role in &spawner.oauth_roles {
                match self.store.role_scopes(role)? {
                    Some(of_role) => scopes.extend(of_role),
                    None => return Err(StoreError::Missing("role", role.clone())),
                }
            }
        }
        scopes.insert(format!("access:servers!server={}/{}", which.user, which.server));
        Ok(scopes.into_iter().collect())
    }
}
