//! All servers that the hub knows, by user and name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hubd_proto::{ServerName, SessionId, UserName};

use super::NotBegun;
use super::life::{Orders, Server};
use super::names::Which;

/// How long a failure is worth telling; afterwards the server is as if never started.
const FAILURE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// All servers that are not stopped, or whose last start failed.
#[derive(Default)]
pub struct Servers {
    /// Never locked across an `await`; whoever begins a run does so while holding it, so a server
    /// that is being forgotten cannot begin unseen.
    servers: Mutex<HashMap<UserName, BTreeMap<ServerName, Arc<Server>>>>,
    /// Servers that are gone while their records could not be cleaned; the disk was full, for instance.
    unclean: Mutex<HashSet<Which>>,
}

impl Servers {
    /// Begins a run, or says why not.
    pub(super) fn start(&self, which: Which) -> Result<(Arc<Server>, Orders), NotBegun> {
        let mut servers = self.lock();
        let of_user = servers.entry(which.user.clone()).or_default();
        let server = of_user.entry(which.server.clone()).or_insert_with(|| Server::new(which));
        server.start().map(|orders| (Arc::clone(server), orders))
    }

    /// As [`Servers::start`] for a session that was found; nothing if the server is known already.
    pub(super) fn begin(&self, which: Which) -> Option<(Arc<Server>, Orders)> {
        self.start(which).ok()
    }

    /// The server, if it is known.
    pub(super) fn get(&self, user: &UserName, server: &ServerName) -> Option<Arc<Server>> {
        self.lock().get(user)?.get(server).cloned()
    }

    /// All known servers of a user.
    pub(super) fn of(&self, user: &UserName) -> Vec<(ServerName, Arc<Server>)> {
        let servers = self.lock();
        let of_user = servers.get(user).into_iter().flatten();
        of_user.map(|(name, server)| (name.clone(), Arc::clone(server))).collect()
    }

    /// All known servers.
    pub(super) fn all(&self) -> Vec<Arc<Server>> {
        self.lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The sessions that known servers run in.
    pub(super) fn sessions(&self) -> HashSet<SessionId> {
        self.lock().values().flat_map(BTreeMap::values).filter_map(|server| server.session()).collect()
    }

    /// Forgets a server that is stopped without a failure.
    pub(super) fn forget(&self, server: &Arc<Server>) {
        let which = &server.which;
        let mut servers = self.lock();
        let Some(of_user) = servers.get_mut(&which.user) else { return };
        if of_user
            .get(&which.server)
            .is_some_and(|known| Arc::ptr_eq(known, server) && known.is_forgettable(old()))
        {
            of_user.remove(&which.server);
        }
        if of_user.is_empty() {
            servers.remove(&which.user);
        }
    }

    /// Remembers that the records of a server have to be cleaned.
    pub(super) fn remember_unclean(&self, which: Which) {
        self.unclean.lock().unwrap_or_else(PoisonError::into_inner).insert(which);
    }

    /// Servers whose records have to be cleaned.
    pub(super) fn take_unclean(&self) -> HashSet<Which> {
        std::mem::take(&mut *self.unclean.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets failures that are too old to be worth telling.
    pub(super) fn sweep(&self) {
        for server in self.all() {
            self.forget(&server);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, BTreeMap<ServerName, Arc<Server>>>> {
        // Each entry stands for itself, so a panic elsewhere leaves nothing half done.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Failures from before this moment are forgotten. Right after boot there is no such moment; then none is.
fn old() -> Option<Instant> {
    Instant::now().checked_sub(FAILURE_KEPT)
}
