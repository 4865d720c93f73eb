//! What the rest of the program is told once: the policy, where things are, and on whose behalf.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hubd_policy::{Policy, paths::Paths, policy::POLICY_PATH};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};

/// Longest policy file, in bytes; the shipped one with all comments has 8 KiB.
const POLICY_BYTES_MAX: u64 = 256 * 1024;

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
    /// Where things are.
    pub paths: Paths,
}

impl Setup {
    /// Finds the daemon's account and makes missing directories.
    ///
    /// # Errors
    /// A text for root, with the cure.
    pub fn new(policy: Policy, runtime: Option<PathBuf>) -> Result<Self, String> {
        let (me, name) = (Uid::effective(), policy.daemon_user.as_str());
        let root = me.is_root();
        let by_uid = || users::get_user_by_uid(me.as_raw());
        let daemon = if root { users::get_user_by_name(name) } else { by_uid() }.ok_or_else(|| {
            format!("daemon_user {name}: no such user; run: systemd-sysusers, or: useradd --system {name}")
        })?;
        let (uid, gid) = (Uid::from_raw(daemon.uid()), Gid::from_raw(daemon.primary_group_id()));
        let paths = Paths::of(&policy, runtime, root);
        for (path, mode, daemons) in paths.directories() {
            let made = own_directory(&path, mode, daemons.then_some(gid));
            made.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { policy, root, daemon_uid: uid, daemon_gid: gid, paths })
    }
}

/// Reads and checks the policy. Without a file at its usual place the defaults hold.
///
/// # Errors
/// Names the file, the line or key, and the cure.
pub fn policy(named: Option<&Path>) -> Result<Policy, String> {
    let path = named.unwrap_or(Path::new(POLICY_PATH));
    let text = match read_own(path) {
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    Policy::of_file(path, &text)
}

/// The file's text, if nobody but root (or who runs this trial) could have written it.
fn read_own(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    if Uid::effective().is_root() && (found.uid() != 0 || found.mode() & 0o022 != 0) {
        let cure = format!("chown root:root {0} && chmod go-w {0}", path.display());
        let what = format!("it must belong to root and be writable by root alone; run: {cure}");
        return Err(io::Error::other(what));
    }
    let mut text = String::new();
    file.take(POLICY_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a directory, which nobody else can enter before it has its owner and mode.
pub fn make_directory(path: &Path, owner: Option<Uid>, group: Option<Gid>, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let directory = open_directory(path)?;
    fchown(&directory, owner, group)?;
    Ok(fchmod(&directory, Mode::from_bits_truncate(mode))?)
}

/// Makes `path` unless it is there, and refuses one that somebody else could change.
pub fn own_directory(path: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    match make_directory(path, None, group, mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = open_directory(path)?.metadata()?;
    if found.uid() == Uid::effective().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other("exists, but belongs to somebody else or others may write it; remove it"))
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

/// Whether something is gone: removed now, or before.
pub fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// A socket that the daemon's group may connect to, in place of one left behind.
pub fn bind(setup: &Setup, path: &Path) -> io::Result<UnixListener> {
    gone(fs::remove_file(path))?;
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
