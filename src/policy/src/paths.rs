//! Where things are, as the policy says.

use std::path::{Path, PathBuf};

use crate::policy::Policy;

/// The directories of the root programs.
#[derive(Debug)]
pub struct Paths {
    /// `helper.sock`, `sessions` and `servers` are in here.
    pub runtime: PathBuf,
    /// Control sockets, one for each session.
    pub sessions: PathBuf,
    /// One directory for each server, for its own socket.
    pub servers: PathBuf,
    /// Ticket hashes, counters and locks; nobody else may enter.
    pub state: PathBuf,
    /// What servers print, where there is no journal.
    pub log: PathBuf,
    /// Below which servers have control groups, if anywhere.
    pub cgroup: Option<PathBuf>,
}

impl Paths {
    /// Those of the policy, or all below `runtime` in a trial without `root`.
    pub fn of(policy: &Policy, runtime: Option<PathBuf>, root: bool) -> Self {
        let runtime = runtime.unwrap_or_else(|| policy.runtime_dir.clone());
        let own = runtime.join("helper-state");
        Self {
            sessions: runtime.join("sessions"),
            servers: runtime.join("servers"),
            log: if root { policy.log_dir.clone() } else { own.join("log") },
            state: if root { policy.state_dir.clone() } else { own },
            cgroup: Some(policy.cgroup_dir.clone()).filter(|path| path.is_absolute()),
            runtime,
        }
    }

    /// The directories that must be there, with their modes, and whether they are the daemon's group's.
    pub fn directories(&self) -> [(PathBuf, u32, bool); 6] {
        let own = |path: &Path, mode| (path.to_owned(), mode, false);
        [
            own(&self.runtime, 0o711),
            (self.sessions.clone(), 0o750, true),
            own(&self.servers, 0o711),
            own(&self.state, 0o700),
            own(&self.state.join("sessions"), 0o700),
            own(&self.state.join("tickets"), 0o700),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_state_is_where_root_says_and_in_a_trial_below_the_sockets() {
        let policy = Policy::default();
        let (root, trial) = (Paths::of(&policy, None, true), Paths::of(&policy, Some("/t".into()), false));
        assert_eq!(
            (root.state.as_path(), root.sessions.as_path()),
            (Path::new("/run/hubd-helper"), Path::new("/run/hubd/sessions"))
        );
        assert_eq!(
            (trial.state.as_path(), trial.servers.as_path()),
            (Path::new("/t/helper-state"), Path::new("/t/servers"))
        );
        assert!(root.cgroup.is_none() && trial.log.starts_with("/t"));
        let private = root.directories().into_iter().filter(|(path, ..)| path.starts_with(&root.state));
        assert!(private.map(|(_, mode, daemons)| (mode, daemons)).all(|found| found == (0o700, false)));
    }
}
