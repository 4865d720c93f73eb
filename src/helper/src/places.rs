//! What a session has in the file system: its lock, its control socket, its server's directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hubd_policy::{Account, OrRefuse, Refusal};
use hubd_proto::SessionId;
use nix::fcntl::{Flock, FlockArg};
use nix::{errno::Errno, unistd::Uid};

use crate::setup::{Setup, gone, locked, make_directory, open_directory, open_own};

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
            lock_path: setup.paths.state.join(format!("sessions/{session}")),
            control: setup.paths.sessions.join(format!("{session}.sock")),
            directory: setup.paths.servers.join(session.as_str()),
            lock: None,
        }
    }

    /// Locks the session's own file for as long as this process lives, and counts the others'.
    pub fn reserve(&mut self, setup: &Setup, account: &Account) -> Result<(), Refusal> {
        let (policy, others) = (&setup.policy, self.others(setup, account));
        let (_all, of_user, in_all) = others.or_refuse("the session could not be reserved")?;
        if self.lock.is_none() {
            return Err(Refusal::runs_already());
        }
        if in_all >= policy.sessions_in_all || (setup.root && of_user >= policy.sessions_per_user) {
            return Err(Refusal::too_many_sessions(policy, of_user, in_all));
        }
        Ok(())
    }

    /// Takes the session's lock if nobody has it; counts the others' of the account and in all, as long as the first
    /// of what it gives is held.
    fn others(&mut self, setup: &Setup, account: &Account) -> io::Result<(Flock<File>, u32, u32)> {
        let sessions = setup.paths.state.join("sessions");
        let all = locked(open_directory(&sessions)?)?;
        let (mut in_all, mut of_user, mine) = (0, 0, format!("u{}-", account.uid));
        for entry in fs::read_dir(&sessions)? {
            let entry = entry?;
            if lock_file(&entry.path())?.is_some() {
                // Nobody holds it: left behind by a process that was killed.
                fs::remove_file(entry.path())?;
            } else if entry.path() != self.lock_path {
                in_all += 1;
                of_user += u32::from(entry.file_name().to_string_lossy().starts_with(&mine));
            }
        }
        self.lock = lock_file(&self.lock_path)?;
        Ok((all, of_user, in_all))
    }

    /// The directory for the server's own socket: for its user and the daemon's group, nobody else.
    pub fn make_directory(&self, setup: &Setup, account: &Account) -> io::Result<()> {
        gone(fs::remove_dir_all(&self.directory))?;
        make_directory(&self.directory, Some(Uid::from_raw(account.uid)), Some(setup.daemon_gid), 0o2710)
    }
}

/// The file's lock, or `None` when a living process holds it.
fn lock_file(path: &Path) -> io::Result<Option<Flock<File>>> {
    loop {
        match Flock::lock(open_own(path)?, FlockArg::LockExclusiveNonblock) {
            // Removed by its former owner between open and lock: it is nobody's lock any more.
            Ok(lock) if lock.metadata()?.nlink() == 0 => {}
            Ok(lock) => return Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
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
