//! All servers that the hub knows, by user and name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hubd_proto::{ServerName, SessionId, UserName};

use super::life::{Mark, Orders, Server};
use super::names::Which;
use super::{NotBegun, State};

/// How long a failure is worth telling; afterwards the server is as if never started.
const FAILURE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

type ByUser = HashMap<UserName, BTreeMap<ServerName, Arc<Server>>>;

/// How many servers there may be; 0 is no limit.
pub(super) struct Limits {
    /// Starting at once.
    pub starting: usize,
    /// Starting, running and stopping.
    pub active: usize,
    /// What those are told who would be one too many of the first kind.
    pub retry_seconds: u32,
}

impl Limits {
    fn check<'a>(&self, servers: impl Iterator<Item = &'a Arc<Server>>) -> Result<(), NotBegun> {
        if self.starting == 0 && self.active == 0 {
            return Ok(());
        }
        let (active, starting) = count(servers.map(|server| server.state()));
        if self.starting > 0 && starting >= self.starting {
            let seconds = self.retry_seconds;
            tracing::warn!("{starting} pending spawns, throttling. Suggested retry in {seconds} seconds.");
            return Err(NotBegun::Throttled(seconds));
        }
        if self.active > 0 && active >= self.active {
            tracing::info!("{active} servers active, no space available");
            return Err(NotBegun::Full);
        }
        Ok(())
    }
}

/// All servers that are not stopped, or whose last start failed.
#[derive(Default)]
pub struct Servers {
    /// Never locked across an `await`; whoever begins a run does so while holding it, so a server
    /// that is being forgotten cannot begin unseen.
    servers: Mutex<ByUser>,
    /// Servers that are gone while their records could not be cleaned; the disk was full, for instance.
    unclean: Mutex<HashSet<Which>>,
    /// How many starts have failed since the last one that succeeded.
    pub(super) failures: AtomicU32,
}

impl Servers {
    /// Begins a run, or says why not.
    pub(super) fn start(&self, which: Which) -> Result<(Arc<Server>, Orders), NotBegun> {
        start(&mut self.lock(), which)
    }

    /// The same for somebody who asks for it: within limits.
    pub(super) fn start_within(
        &self,
        which: Which,
        limits: Limits,
    ) -> Result<(Arc<Server>, Orders), NotBegun> {
        let mut servers = self.lock();
        let known = servers.get(&which.user).and_then(|of_user| of_user.get(&which.server));
        if known.is_none_or(|server| !server.state().is_active()) {
            limits.check(servers.values().flat_map(BTreeMap::values))?;
        }
        start(&mut servers, which)
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

    /// What stands for the states of a user's servers: others after every change.
    pub(crate) fn marks(&self, user: &UserName) -> Vec<Mark> {
        let servers = self.lock();
        servers.get(user).into_iter().flatten().map(|(_, server)| server.mark()).collect()
    }

    /// All known servers.
    pub(super) fn all(&self) -> Vec<Arc<Server>> {
        self.lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// How many servers run, start or stop, and how many of them start.
    pub fn count(&self) -> (usize, usize) {
        let servers = self.lock();
        let states = servers.values().flat_map(BTreeMap::values).map(|server| server.state());
        count(states)
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

    fn lock(&self) -> MutexGuard<'_, ByUser> {
        // Each entry stands for itself, so a panic elsewhere leaves nothing half done.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many are active, and how many of them start.
fn count(states: impl Iterator<Item = State>) -> (usize, usize) {
    states.filter(State::is_active).fold((0, 0), |(active, starting), state| {
        (active + 1, starting + usize::from(state == State::Starting))
    })
}

fn start(servers: &mut ByUser, which: Which) -> Result<(Arc<Server>, Orders), NotBegun> {
    let of_user = servers.entry(which.user.clone()).or_default();
    let server = of_user.entry(which.server.clone()).or_insert_with(|| Server::new(which));
    server.start().map(|orders| (Arc::clone(server), orders))
}

/// Failures from before this moment are forgotten. Right after boot there is no such moment; then none is.
fn old() -> Option<Instant> {
    Instant::now().checked_sub(FAILURE_KEPT)
}
