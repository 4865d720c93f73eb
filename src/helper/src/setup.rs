//! What the rest of the program is told once: the policy, where things are, and on whose behalf.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use crate::policy::Policy;

/// Everything that a request needs beside itself.
pub struct Setup {
    /// What root decided.
    pub policy: Policy,
    /// Where things are.
    pub places: Places,
    /// Whether this program is root and serves everybody, or an ordinary user who serves himself.
    pub root: bool,
    /// The daemon's uid: the only one that may talk to this program.
    pub daemon_uid: Uid,
    /// The daemon's group, which may enter the servers' directories.
    pub daemon_gid: Gid,
}

/// The directories that this program works in.
pub struct Places {
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
}

impl Setup {
    /// Finds the daemon's account and makes missing directories.
    ///
    /// # Errors
    /// A text for root, with the cure.
    pub fn new(policy: Policy, runtime: Option<PathBuf>) -> Result<Self, String> {
        let root = Uid::effective().is_root();
        let runtime = runtime.unwrap_or_else(|| policy.runtime_dir.clone());
        let (daemon_uid, daemon_gid) = if root {
            let name = policy.daemon_user.as_str();
            let user = users::get_user_by_name(name).ok_or_else(|| {
                format!(
                    "daemon_user {name}: no such user; run: systemd-sysusers, or: useradd --system {name}"
                )
            })?;
            (Uid::from_raw(user.uid()), Gid::from_raw(user.primary_group_id()))
        } else {
            (Uid::effective(), Gid::effective())
        };
        let (state, log) = if root {
            (policy.state_dir.clone(), policy.log_dir.clone())
        } else {
            (runtime.join("helper-state"), runtime.join("helper-state/log"))
        };
        let places = Places {
            sessions: runtime.join("sessions"),
            servers: runtime.join("servers"),
            runtime,
            state,
            log,
        };
        let setup = Self { policy, places, root, daemon_uid, daemon_gid };
        setup.make_directories().map_err(|(path, error)| format!("{}: {error}", path.display()))?;
        Ok(setup)
    }

    fn make_directories(&self) -> Result<(), (PathBuf, io::Error)> {
        let places = &self.places;
        let make = |path: &Path, mode: u32, group: Option<Gid>| {
            own_directory(path, mode, group).map_err(|error| (path.to_owned(), error))
        };
        make(&places.runtime, 0o711, None)?;
        make(&places.sessions, 0o750, Some(self.daemon_gid))?;
        make(&places.servers, 0o711, None)?;
        make(&places.state, 0o700, None)?;
        make(&places.state.join("sessions"), 0o700, None)?;
        make(&places.state.join("tickets"), 0o700, None)
    }
}

/// Makes `path` unless it is there, and refuses one that somebody else could change.
pub fn own_directory(path: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let directory = open_directory(path)?;
            nix::unistd::fchown(&directory, None, group)?;
            nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(mode))?;
            Ok(())
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
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
