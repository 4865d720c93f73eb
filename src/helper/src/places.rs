//! What a session has in the file system: its lock, its control socket, its server's directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use hubd_proto::{SessionId, message::RefusalCode};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;

use crate::setup::{Setup, locked, open_directory, open_own, remove_if_there};
use crate::{account::Account, refusal::Refusal};

/// The paths of one session; no name is part of them, only its id. Dropping it removes them.
pub struct Places {
    lock_path: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// The server's own directory.
    pub directory: PathBuf,
    /// Held for as long as the session is there. Without it nothing here is ours to remove.
    lock: Option<Flock<File>>,
}

impl Places {
    /// Where things of this session will be.
    pub fn of(setup: &Setup, session: &SessionId) -> Self {
        Self {
            lock_path: setup.state.join(format!("sessions/{session}")),
            control: setup.sessions.join(format!("{session}.sock")),
            directory: setup.servers.join(session.as_str()),
            lock: None,
        }
    }

    /// Locks the session's own file for as long as this process lives, and counts the others'.
    pub fn reserve(&mut self, setup: &Setup, account: &Account) -> Result<(), Refusal> {
        let failed = |error: io::Error| Refusal::system("the session could not be reserved", error);
        let running = || Refusal::new(RefusalCode::AlreadyRunning, "This server runs already.");
        let sessions = setup.state.join("sessions");
        let _all = open_directory(&sessions).and_then(locked).map_err(failed)?;
        let (mut in_all, mut of_user, mine) = (0, 0, format!("u{}-", account.uid));
        for entry in fs::read_dir(&sessions).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if lock_file(&entry.path()).map_err(failed)?.is_some() {
                // Nobody holds it: left behind by a process that was killed.
                fs::remove_file(entry.path()).map_err(failed)?;
                continue;
            }
            if entry.path() == self.lock_path {
                return Err(running());
            }
            in_all += 1;
            of_user += u32::from(entry.file_name().to_string_lossy().starts_with(&mine));
        }
        let policy = &setup.policy;
        if in_all >= policy.sessions_in_all || (setup.root && of_user >= policy.sessions_per_user) {
            let message = format!(
                "Too many servers run: {of_user} of {} for this account, {in_all} of {} in all. Stop one first.",
                policy.sessions_per_user, policy.sessions_in_all
            );
            return Err(Refusal::new(RefusalCode::TooManySessions, message));
        }
        self.lock = lock_file(&self.lock_path).map_err(failed)?;
        self.lock.as_ref().map(|_| ()).ok_or_else(running)
    }

    /// The directory for the server's own socket: for its user and the daemon's group, nobody else.
    pub fn make_directory(&self, setup: &Setup, account: &Account) -> io::Result<()> {
        remove_if_there(&self.directory, |path| fs::remove_dir_all(path))?;
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        let directory = open_directory(&self.directory)?;
        nix::unistd::fchown(&directory, Some(account.uid), Some(setup.daemon_gid))?;
        Ok(nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(0o2710))?)
    }
}

/// The file's lock, or `None` when a living process holds it.
fn lock_file(path: &Path) -> io::Result<Option<Flock<File>>> {
    loop {
        match Flock::lock(open_own(path)?, FlockArg::LockExclusiveNonblock) {
            // Removed by its former owner between open and lock: it is nobody's lock any more.
            Ok(lock) if lock.metadata()?.nlink() == 0 => {}
            Ok(lock) => return Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

impl Drop for Places {
    /// Removes what a session has in the file system when it ends, however it ends.
    fn drop(&mut self) {
        // What cannot be removed now, for instance because the user still writes into it, the next start
        // of this server removes, or says that it cannot.
        if self.lock.is_some() {
            let _ = fs::remove_file(&self.control);
            let _ = fs::remove_dir_all(&self.directory);
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}
