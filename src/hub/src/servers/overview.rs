//! What runs, for an operator at the machine.

use std::time::SystemTime;

use hubd_proto::{ServerName, UserName};

use crate::Hub;

/// A server that starts, runs or stops.
pub struct ActiveServer {
    /// Its owner.
    pub user: UserName,
    /// Its name; empty for the default one.
    pub server: ServerName,
    /// `running`, or what is pending: `spawn` or `stop`.
    pub state: &'static str,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// When it last did something, as far as the database has it.
    pub last_activity: Option<SystemTime>,
}

impl Hub {
    /// Every server that starts, runs or stops, by user and name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn active_servers(&self) -> Result<Vec<ActiveServer>, hubd_store::StoreError> {
        let rows = self.store.active_spawners()?;
        let mut servers = Vec::new();
        for server in self.servers.all() {
            let state = server.state();
            if !state.is_active() {
                continue;
            }
            let which = &server.which;
            let row =
                rows.iter().find(|row| row.user == which.user.as_str() && row.name == which.server.as_str());
            let seen = self.routes.last_activity(&which.url(&self.settings.base_url));
            servers.push(ActiveServer {
                user: which.user.clone(),
                server: which.server.clone(),
                state: state.pending().unwrap_or("running"),
                started: row.and_then(|row| row.started),
                last_activity: seen.max(row.and_then(|row| row.last_activity)),
            });
        }
        servers.sort_by(|a, b| (&a.user, &a.server).cmp(&(&b.user, &b.server)));
        Ok(servers)
    }

    /// Deletes a person from the database; nothing of theirs may run. Says whether there was one.
    ///
    /// # Errors
    /// A server of theirs is active, or the database cannot be written.
    pub fn remove_person(&self, name: &UserName) -> Result<bool, String> {
        if self.servers_of(name).iter().any(|(_, server)| server.state.is_active()) {
            return Err(format!(
                "a server of {name} is running: stop it first, on the admin page or with the API"
            ));
        }
        let user = self.store.user(name.as_str()).map_err(|error| error.to_string())?;
        user.map_or(Ok(false), |user| self.store.delete_user(user.id)).map_err(|error| error.to_string())
    }
}
