//! What a session has in the file system: its lock, its control socket, its server's directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hubd_proto::SessionId;
use hubd_proto::message::RefusalCode;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;

use crate::account::Account;
use crate::refusal::Refusal;
use crate::setup::{Setup, open_directory};

/// The paths of one session; no name is part of them, only its id.
pub struct Places {
    lock: PathBuf,
    control: PathBuf,
    /// The server's own directory.
    pub directory: PathBuf,
    reserved: bool,
}

impl Places {
    /// Where things of this session are, or will be.
    pub fn of(setup: &Setup, session: &SessionId) -> Self {
        Self {
            lock: setup.places.state.join(format!("sessions/{session}")),
            control: setup.places.sessions.join(format!("{session}.sock")),
            directory: setup.places.servers.join(session.as_str()),
            reserved: false,
        }
    }

    /// Locks the session's own file for as long as this process lives, and counts the others'.
    pub fn reserve(&mut self, setup: &Setup, account: &Account) -> Result<Flock<File>, Refusal> {
        let failed = |error: io::Error| Refusal::system("the session could not be reserved", error);
        let sessions = setup.places.state.join("sessions");
        let all = Flock::lock(open_directory(&sessions).map_err(failed)?, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed(errno.into()))?;
        let (mut in_all, mut of_user, mine) = (0, 0, format!("u{}-", account.uid));
        for entry in fs::read_dir(&sessions).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if lock_file(&path).map_err(failed)?.is_some() {
                // Nobody holds it: left behind by a process that was killed.
                fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            if path == self.lock {
                let message = "This server runs already.";
                return Err(Refusal::new(RefusalCode::AlreadyRunning, message));
            }
            in_all += 1;
            of_user +=
                u32::from(path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&mine)));
        }
        let policy = &setup.policy;
        if in_all >= policy.sessions_in_all || (setup.root && of_user >= policy.sessions_per_user) {
            let message = format!(
                "Too many servers run: {of_user} of {} for this account, {in_all} of {} in all. Stop one first.",
                policy.sessions_per_user, policy.sessions_in_all
            );
            return Err(Refusal::new(RefusalCode::TooManySessions, message));
        }
        let lock = lock_file(&self.lock).map_err(failed)?;
        drop(all);
        self.reserved = lock.is_some();
        lock.ok_or_else(|| Refusal::new(RefusalCode::AlreadyRunning, "This server runs already."))
    }

    /// A socket left behind by a killed process is replaced: the session's lock is ours.
    pub fn listen(&self, setup: &Setup) -> io::Result<UnixListener> {
        match fs::remove_file(&self.control) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&self.control)?;
        std::os::unix::fs::lchown(&self.control, None, Some(setup.daemon_gid.as_raw()))?;
        fs::set_permissions(&self.control, fs::Permissions::from_mode(0o660))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The directory for the server's own socket: for its user and the daemon's group, nobody else.
    pub fn make_directory(&self, setup: &Setup, account: &Account) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        let directory = open_directory(&self.directory)?;
        nix::unistd::fchown(&directory, Some(account.uid), Some(setup.daemon_gid))?;
        nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(0o2710))?;
        Ok(())
    }
}

/// The file's lock, or `None` when a living process holds it.
fn lock_file(path: &Path) -> io::Result<Option<Flock<File>>> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
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
        // of this server removes, or says that it cannot. Without the lock nothing here was ours.
        if self.reserved {
            let _ = fs::remove_file(&self.control);
            let _ = fs::remove_dir_all(&self.directory);
            let _ = fs::remove_file(&self.lock);
        }
    }
}
