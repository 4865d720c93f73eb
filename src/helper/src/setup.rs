//! What the rest of the program is told once: the policy, where things are, and on whose behalf.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use crate::policy::Policy;

/// Everything that a request needs beside itself.
pub struct Setup {
    /// What root decided.
    pub policy: Policy,
    /// Whether this program is root and serves everybody, or an ordinary user who serves himself.
    pub root: bool,
    /// The daemon's uid: the only one that may talk to this program.
    pub daemon_uid: Uid,
    /// The daemon's group, which may enter the servers' directories.
    pub daemon_gid: Gid,
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

impl Setup {
    /// Finds the daemon's account and makes missing directories.
    ///
    /// # Errors
    /// A text for root, with the cure.
    pub fn new(policy: Policy, runtime: Option<PathBuf>) -> Result<Self, String> {
        let root = Uid::effective().is_root();
        let name = policy.daemon_user.as_str();
        let daemon = if root {
            users::get_user_by_name(name)
        } else {
            users::get_user_by_uid(Uid::effective().as_raw())
        };
        let daemon = daemon.ok_or_else(|| {
            format!("daemon_user {name}: no such user; run: systemd-sysusers, or: useradd --system {name}")
        })?;
        let runtime = runtime.unwrap_or_else(|| policy.runtime_dir.clone());
        let own = runtime.join("helper-state");
        let (state, log) = if root {
            (policy.state_dir.clone(), policy.log_dir.clone())
        } else {
            (own.clone(), own.join("log"))
        };
        let (sessions, servers) = (runtime.join("sessions"), runtime.join("servers"));
        let (daemon_uid, daemon_gid) =
            (Uid::from_raw(daemon.uid()), Gid::from_raw(daemon.primary_group_id()));
        let cgroup = Some(policy.cgroup_dir.clone()).filter(|path| path.is_absolute());
        let setup =
            Self { policy, cgroup, root, daemon_uid, daemon_gid, runtime, sessions, servers, state, log };
        for (path, mode, group) in [
            (&setup.runtime, 0o711, None),
            (&setup.sessions, 0o750, Some(daemon_gid)),
            (&setup.servers, 0o711, None),
            (&setup.state, 0o700, None),
            (&setup.state.join("sessions"), 0o700, None),
            (&setup.state.join("tickets"), 0o700, None),
        ] {
            own_directory(path, mode, group).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(setup)
    }
}

/// Makes `path` unless it is there, and refuses one that somebody else could change.
pub fn own_directory(path: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let directory = open_directory(path)?;
            nix::unistd::fchown(&directory, None, group)?;
            Ok(nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(mode))?)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = open_directory(path)?.metadata()?;
            if found.uid() == Uid::effective().as_raw() && found.mode() & 0o022 == 0 {
                return Ok(());
            }
            Err(io::Error::other("exists, but belongs to somebody else or others may write it; remove it"))
        }
        Err(error) => Err(error),
    }
}

/// Opens a directory, never through a symbolic link.
pub fn open_directory(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Opens a file of this program's own, and makes it if it is not there.
pub fn open_own(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Waits for the lock of an open file or directory, which ends with the value or the process.
pub fn locked(file: File) -> io::Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Removes something that may be gone already.
pub fn remove_if_there(path: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A socket that the daemon's group may connect to, in place of one left behind.
pub fn bind(setup: &Setup, path: &Path) -> io::Result<UnixListener> {
    remove_if_there(path, |path| fs::remove_file(path))?;
    // The umask is 077: until the group is set, nobody else can connect.
    let listener = UnixListener::bind(path)?;
    lchown(path, None, Some(setup.daemon_gid.as_raw()))?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
