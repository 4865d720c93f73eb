//! A server's control group, see cgroups(7), version 2: limits that hold, figures, and an end for all of it.
//!
//! It lies below the group of this process, where systemd has delegated that (`--delegated`), or below the
//! policy's `cgroup_dir`. Without either there is none, and a limit in the policy is an error.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hubd_policy::{Refusal, limits::Limits};
use hubd_proto::SessionId;

use crate::setup::Setup;

/// How long the last process of a killed group may take to go.
const EMPTY_TIME_MAX: Duration = Duration::from_secs(2);

/// The group of one server. Dropping it ends what is in it, and removes it.
pub struct Cgroup {
    /// Its files, which everybody may read.
    pub directory: PathBuf,
    memory_max: u64,
}

/// This process's own group, which systemd has delegated; the process moves one down, because a group
/// either has processes or limits for the groups below it.
pub fn own() -> io::Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(io::ErrorKind::NotFound)?;
    let base = Path::new("/sys/fs/cgroup").join(path);
    fs::create_dir(base.join("helper"))?;
    fs::write(base.join("helper/cgroup.procs"), "0")?;
    Ok(base)
}

/// Makes the group of a session with its limits.
///
/// # Errors
/// `not-available` when a limit cannot be held.
pub fn make(setup: &Setup, session: &SessionId, limits: &Limits) -> Result<Option<Cgroup>, Refusal> {
    let files = limits.files();
    let Some(base) = &setup.paths.cgroup else {
        let missing = Err(Refusal::limit("there is no delegated control group (version 2)"));
        return if files.is_empty() { Ok(None) } else { missing };
    };
    for controller in ["+memory", "+cpu", "+pids"] {
        // One that is missing is missed where its file cannot be written.
        let _ = fs::write(base.join("cgroup.subtree_control"), controller);
    }
    let at_its_place = || Cgroup { directory: base.join(session.as_str()), memory_max: limits.mem_limit.0 };
    // What a killed process left behind goes first.
    drop(at_its_place());
    let group = at_its_place();
    fs::create_dir(&group.directory).map_err(|error| Refusal::limit(&error.to_string()))?;
    for (file, value) in files {
        let written = fs::write(group.directory.join(file), value);
        // Kernels without swap accounting have no such file, and swap is then part of the limit.
        let missed = written.err().filter(|_| file != "memory.swap.max");
        missed.map_or(Ok(()), |error| Err(Refusal::limit(&format!("{file}: {error}"))))?;
    }
    Ok(Some(group))
}

impl Cgroup {
    /// What the child writes itself into, see [`crate::become_user::Plan`].
    pub fn entrance(&self) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).open(self.directory.join("cgroup.procs"))
    }

    /// The limit, if the kernel has killed something here for reaching it.
    pub fn out_of_memory(&self) -> Option<u64> {
        let killed = figure(&self.directory, "memory.events", "oom_kill").is_some_and(|count| count > 0);
        (killed && self.memory_max > 0).then_some(self.memory_max)
    }

    /// Sends SIGKILL to everything in it.
    pub fn kill(&self) {
        // A kernel before 5.14 has no such file; then the processes were signalled one by one.
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
    }
}

/// The number behind `key` in a file of a group; a file of one number is one without a key, and no limit is a word.
pub fn figure(group: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let until = Instant::now() + EMPTY_TIME_MAX;
        self.kill();
        while fs::remove_dir(&self.directory).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
